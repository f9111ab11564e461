"""What hostile clients can make a relay process hold, in memory and descriptors, while it serves a good client."""

import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import msgpack
import pytest

from auditpipe.schemas.identity import new_event_id
from tests.conftest import free_port
from tests.pipeline.relay.fake import FakeOpenSearch, Fault
from tests.pipeline.relay.wire import START, Client, entry, message, record
from tests.waiting import until

#: What docs/relay.md says, in MiB.
LIMIT = 512


@dataclass
class Process:
    pid: int
    port: int
    metrics: int
    log: Path

    def peak(self) -> int:
        """The most memory that it ever had, in MiB (VmHWM of proc(5))."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
        raise AssertionError("no VmHWM")

    def metric(self, line: str) -> float:
        with urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=120) as answer:
            for one in answer.read().decode().splitlines():
                if one.startswith(f"auditpipe_relay_{line} "):
                    return float(one.rpartition(" ")[2])
        return 0.0

    def refused(self, reason: str) -> float:
        return self.metric(f'refused_connections_total{{reason="{reason}"}}')

    def serves(self) -> bool:
        client = Client(self.port, timeout=60)
        try:
            return client.send(message("packed", [entry(record())], "good")).acknowledgements(1) == ["good"]
        finally:
            client.close()


@pytest.fixture
def relay(fake: FakeOpenSearch, tmp_path: Path) -> Iterator[Process]:
    """`auditpipe relay` with its own limits. Fails at the end if it is gone, or did not stop as it should."""
    port, metrics, log = free_port(), free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "auditpipe.cli", "relay", "--url", f"http://127.0.0.1:{fake.port}"]
    command += ["--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--dead-letters", str(tmp_path / "dead")], stderr=output, env=os.environ)
    try:
        until(lambda: b"listening" in log.read_bytes())
        yield Process(process.pid, port, metrics, log)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert "Traceback" not in log.read_text()
    assert "ended with a bug" not in log.read_text()


def packed(*parts: object) -> bytes:
    data: bytes = msgpack.packb(list(parts))
    return data


def test_memory_is_bounded_whatever_hostile_clients_send(relay: Process) -> None:
    kept = half_messages(relay) + large_messages(relay)
    gzip_bombs(relay)
    assert relay.serves()
    nests = packed("audit", [[START // 10**9, {}]] * 50_000, {"chunk": "c"})
    for data in (b"\x91" * 10**6, b"\xdd\xff\xff\xff\xff" * 10**5, os.urandom(10**6), nests, b"\x80" * 10**6):
        with suppress(OSError):
            Client(relay.port).send(data).close()
    assert relay.serves()
    assert relay.peak() < LIMIT
    assert relay.refused("too_large") > 0
    assert relay.refused("nested_too_deep") > 0
    assert ": too_large: " in relay.log.read_text()
    for one in kept:
        one.close()


def half_messages(relay: Process) -> list[Client]:
    """As many as there are places, each with as much as is taken without asking, and with more; none ever ends."""
    claim = b"\x93\xa5audit\xc6" + (25 * 2**20).to_bytes(4, "big")
    clients = [Client(relay.port).send(claim + bytes(60_000)) for _ in range(240)]
    for _ in range(8):
        client = Client(relay.port, timeout=0.5)
        with suppress(OSError):  # it is not read on, as others hold the room for it
            client.send(claim + bytes(2 * 2**20))
        clients.append(client)
    assert relay.serves()
    return clients


def large_messages(relay: Process) -> list[Client]:
    """One after the other, each on a connection that stays and says no more: its memory has to come back."""
    large = message("packed", [entry({"x": "y" * 1000})] * 10_000, "c")
    clients = [Client(relay.port, timeout=120).send(large) for _ in range(8)]
    assert [one.acknowledgements(1) for one in clients] == [["c"]] * 8
    return clients


def gzip_bombs(relay: Process) -> None:
    def bomb(content: bytes) -> bytes:
        return packed("audit", gzip.compress(content, 1), {"compressed": "gzip", "chunk": "c"})

    too_large, kept = bomb(entry({"x": bytes(60_000_000)})), bomb(entry({"x": bytes(30_000_000)}))
    members = packed("audit", gzip.compress(b"") * 9_000, {"compressed": "gzip", "chunk": "c"})
    clients = [Client(relay.port, timeout=120).send(one) for one in (too_large, members, kept, too_large) * 2]
    for client in clients:
        with suppress(OSError):
            client.acknowledgements(1)
        client.close()


def test_memory_is_bounded_in_an_outage(relay: Process, fake: FakeOpenSearch) -> None:
    """Small events with all that goes with them, and events that grow sixfold on their way into JSON."""
    fake.outage = Fault()
    floods = [Client(relay.port, timeout=60)]
    for n in range(10):
        floods[0].send(b"".join(message("packed", [small()], f"{n}-{m}".ljust(256)) for m in range(500)))
    growing = message("packed", [entry(record(x="\0" * 1_000_000))], "c")
    for _ in range(60):
        floods.append(Client(relay.port, timeout=0.1))
        with suppress(OSError):
            floods[-1].send(growing)
    until(lambda: relay.metric("held_bytes") > 50 * 2**20)
    assert relay.peak() < LIMIT
    for client in floods:
        client.close()
    fake.outage = None
    assert relay.serves()
    assert relay.peak() < LIMIT


def test_idle_connections_that_use_up_the_file_descriptors_lock_nobody_out(relay: Process) -> None:
    descriptors = len(list(Path(f"/proc/{relay.pid}/fd").iterdir()))
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (descriptors + 20, descriptors + 20))
    idle = [Client(relay.port) for _ in range(40)]
    assert all(relay.serves() for _ in range(3))
    assert b"can't be accepted" in relay.log.read_bytes()
    for one in idle:
        one.close()
    assert relay.refused("displaced") > 0


def small() -> bytes:
    return entry({"@timestamp": "2026-10-10T10:00:00Z", "event": {"id": new_event_id(START)}})
