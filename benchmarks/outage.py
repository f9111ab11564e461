"""`emit` while the shipper is away or hangs, against itself with the shipper up; and what `fsync always` costs."""

import gc
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from auditpipe.emitters import AuditLog, SpoolOptions
from benchmarks.emitting import CHANGE, sink
from benchmarks.figures import Figure, at_least, at_most, paired

COUNT, ROUNDS = 1_000, 15
THREADS, SYNCED, SYNC_ROUNDS = 16, 50, 5


@contextmanager
def hanging() -> Iterator[str]:
    """An address where connections are accepted and nothing is ever read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in accepted:
            connection.close()


def nobody() -> str:
    """An address that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def figures() -> Iterator[Figure]:
    yield from _away()
    yield _synced()


def _away() -> Iterator[Figure]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        up = _log(stack, f"127.0.0.1:{stack.enter_context(sink())}", f"{folder}/up")
        for name, address in (("down", nobody()), ("hanging", stack.enter_context(hanging()))):
            away = _log(stack, address, f"{folder}/{name}")
            pairs = [(percentiles(away), percentiles(up)) for _ in range(ROUNDS + 1)][1:]
            for index, percentile in enumerate(("p50", "p99")):
                yield at_most(
                    1.5, name=f"emit {percentile}, shipper {name}", peer="emit, shipper up", unit="us",
                    ours=[ours[index] for ours, _ in pairs], theirs=[theirs[index] for _, theirs in pairs],
                )  # fmt: skip


def _log(stack: ExitStack, forward: str, folder: str) -> AuditLog:
    return stack.enter_context(
        AuditLog("accounts", organization="acme", spool_dir=folder, forward=forward, exit_timeout=0)
    )


def percentiles(audit: AuditLog) -> tuple[float, float]:
    """p50 and p99 of `emit` in microseconds, the collector held off."""
    taken = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(COUNT):
            start = time.perf_counter()
            audit.emit("user.user.updated", **CHANGE)
            taken.append((time.perf_counter() - start) * 1e6)
    finally:
        gc.enable()
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


def _synced() -> Figure:
    """Both sides write to the same disk; ours writes what `emit` makes, the peer the same bytes."""
    with sink() as port, tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        spool = SpoolOptions(fsync="always")
        forward = f"127.0.0.1:{port}"
        with AuditLog(
            "accounts", organization="acme", spool_dir=f"{folder}/spool", forward=forward, spool=spool
        ) as audit:
            event = audit.emit("user.user.updated", **CHANGE)
            assert event is not None
            data = event.model_dump_json(by_alias=True, exclude_none=True).encode()
            ours, theirs = paired(
                SYNC_ROUNDS,
                lambda: rate(lambda: lambda: audit.emit("user.user.updated", **CHANGE)),
                lambda: rate(lambda: _bare(Path(folder), data), threads=1),
            )
    return at_least(
        1.0, name=f"emit, fsync always, {THREADS} threads", peer="a bare loop of write and fdatasync", unit="events/s",
        ours=ours, theirs=theirs,
    )  # fmt: skip


def _bare(folder: Path, data: bytes) -> Callable[[], object]:
    descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_APPEND, 0o600)

    def write() -> None:
        os.write(descriptor, data)
        os.fdatasync(descriptor)

    return write


def rate(make: Callable[[], Callable[[], object]], threads: int = THREADS) -> float:
    """Calls a second of so many threads that together call THREADS times SYNCED times, each what it made."""
    calls = [make() for _ in range(threads)]
    count = THREADS * SYNCED

    def work(call: Callable[[], object]) -> None:
        for _ in range(count // threads):
            call()

    running = [threading.Thread(target=work, args=(call,)) for call in calls]
    start = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return count / (time.perf_counter() - start)
