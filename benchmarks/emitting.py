"""`emit` against a bare `FluentSender.emit` of the same document, which neither checks nor survives a crash."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from fluent.sender import FluentSender

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.emitters.spool.writer import Fsync
from benchmarks.figures import Figure, at_most, microseconds_each, paired

COUNT, ROUNDS = 2_000, 9
CHANGE = {
    "actor": {"id": "u1", "name": "ada", "full_name": "Ada Lovelace"},
    "target": {"type": "user", "id": "u7", "name": "Tess Test"},
    "before": {"last_name": "Doe"},
    "after": {"last_name": "Dow"},
    "ip": "192.0.2.1",
    "session": "s1",
    "request": "r1",
}


@contextmanager
def sink() -> Iterator[int]:
    """A process of its own that reads and acknowledges, so that neither side pays for the reader."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def figures() -> Iterator[Figure]:
    with sink() as port, tempfile.TemporaryDirectory() as folder:
        for fsync in ("interval", "off"):
            yield _figure(fsync, port, folder)


def _figure(fsync: Fsync, port: int, folder: str) -> Figure:
    bare = FluentSender("audit", port=port, nanosecond_precision=True)
    forward, spool = f"127.0.0.1:{port}", SpoolOptions(fsync=fsync)
    with AuditLog("accounts", organization="acme", spool_dir=folder, forward=forward, spool=spool) as audit:
        event = audit.emit("user.user.updated", **CHANGE)
        assert event is not None
        document = event.document()
        ours, theirs = paired(
            ROUNDS,
            lambda: microseconds_each(COUNT, lambda: audit.emit("user.user.updated", **CHANGE)),
            lambda: microseconds_each(COUNT, lambda: bare.emit("", document)),
        )
        assert audit.flush(60)
    return at_most(1.0, name=f"emit, fsync {fsync}", peer="FluentSender.emit", unit="us", ours=ours, theirs=theirs)
