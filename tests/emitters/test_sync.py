"""`fsync`: what is on the disk when, how threads share it, and what a disk that refuses costs."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.spool import archive, frames, writer
from auditpipe.emitters.spool.backlog import segment_path
from auditpipe.schemas.errors import SpoolError
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import unused_address
from tests.emitters.test_spool import make
from tests.waiting import until


def synced_log(folder: Path, fsync: writer.Fsync = "always") -> AuditLog:
    return AuditLog("s", forward=unused_address(), spool_dir=folder, fsync=fsync, exit_timeout=0)


def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """fdatasync(2) fails until the function that is returned is called."""
    real = os.fdatasync

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    return lambda: monkeypatch.setattr(os, "fdatasync", real)


def numbers(folder: Path) -> list[int]:
    return [entry.document["audit"]["sequence"] for entry in archive.entries(folder)]


def test_with_always_emit_returns_after_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When fdatasync(2) is called, the event is in the file; when `emit` returns, it was called."""
    seen: list[int] = []
    real = os.fdatasync

    def watch(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_size)
        real(descriptor)

    with synced_log(tmp_path) as audit:
        audit.emit("user.login_succeeded")
        monkeypatch.setattr(os, "fdatasync", watch)
        for _ in range(5):
            audit.emit("user.login_succeeded")
            [segment] = tmp_path.rglob("*.seg")
            assert seen[-1] == segment.stat().st_size


def test_threads_share_one_fdatasync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 events of 16 threads on a disk of 20 ms: group commit needs a few rounds, not 48."""
    calls: list[float] = []
    with synced_log(tmp_path) as audit:
        audit.emit("user.login_succeeded")

        def slow(_descriptor: int) -> None:
            calls.append(time.monotonic())
            time.sleep(0.02)

        monkeypatch.setattr(os, "fdatasync", slow)

        def work() -> None:
            for _ in range(3):
                audit.emit("user.login_succeeded")

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 3 <= len(calls) < 40
        assert numbers(tmp_path) == list(range(1, 50))


def test_a_disk_that_refuses_to_sync_leaves_no_number_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it; the event is in the spool all the same, and its number and hash are spent."""
    with synced_log(tmp_path) as audit:
        first = audit.emit("user.login_succeeded")
        heal = refusing(monkeypatch)
        with pytest.raises(SpoolError, match="disk refused"):
            audit.emit("user.login_succeeded")
        heal()
        third = audit.emit("user.login_succeeded")
        assert first is not None
        assert third is not None
        assert third.audit.sequence == 3
        assert numbers(tmp_path) == [1, 2, 3]
        documents = [entry.document for entry in archive.entries(tmp_path)]
        assert [d["audit"]["previous"] for d in documents[1:]] == [d["audit"]["hash"] for d in documents[:-1]]


def test_a_failed_fdatasync_is_not_forgotten_by_those_who_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second fdatasync(2) succeeds without the pages that the first one lost."""
    appender = make(tmp_path / "w", fsync="always")
    tickets = [appender.append(b"one"), appender.append(b"two")]
    heal = refusing(monkeypatch)
    with pytest.raises(SpoolError, match="disk refused"):
        appender.sync(tickets[0])
    heal()
    with pytest.raises(SpoolError, match="disk refused"):
        appender.sync(tickets[1])
    appender.sync(appender.append(b"three"))


def test_a_new_segment_on_a_disk_that_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 10)
    appender = make(tmp_path / "w", fsync="interval")
    appender.append(b"one")
    heal = refusing(monkeypatch)
    with pytest.raises(SpoolError, match="disk refused"):
        appender.append(b"two")
    assert appender.state == "full"
    assert not segment_path(tmp_path / "w", 2).exists()
    heal()
    appender.append(b"three")
    assert appender.state == "ok"
    assert segment_path(tmp_path / "w", 2).exists()


def test_with_interval_a_refusing_disk_is_told_and_emit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with synced_log(tmp_path, "interval") as audit:
        audit.emit("user.login_succeeded")
        heal = refusing(monkeypatch)

        def told() -> bool:
            assert audit.emit("user.login_succeeded") is not None
            return "disk refused" in (audit.stats().problem or "")

        until(told)
        heal()


def test_the_names_of_new_folders_are_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is synced in a folder whose name is not is lost with it."""
    synced: set[int] = set()
    real = os.fsync

    def watch(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    spool = tmp_path / "state" / "auditpipe" / "spool"
    with synced_log(spool) as audit:
        audit.emit("user.login_succeeded")
        [folder] = [path for path in spool.iterdir() if path.is_dir()]
        for path in (tmp_path, tmp_path / "state", spool.parent, spool, folder):
            assert path.stat().st_ino in synced, path


def test_a_segment_is_emptied_only_when_its_mark_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an older mark, as power loss brings it back, the events that come next would look acknowledged."""
    steps: list[str] = []
    with Peer() as peer, AuditLog("s", forward=peer.address, spool_dir=tmp_path, exit_timeout=0) as audit:
        audit.emit("user.login_succeeded")
        assert audit.flush(120)
        [segment] = tmp_path.rglob("*.seg")
        mark = segment.with_name("acknowledged").stat().st_ino
        sync, truncate, write = os.fdatasync, os.ftruncate, os.write
        full = [OSError(errno.ENOSPC, "No space left on device")]

        def refuse_once(descriptor: int, data: bytes) -> int:
            if data.startswith(frames.MAGIC) and full:
                raise full.pop()
            return write(descriptor, data)

        def note_sync(descriptor: int) -> None:
            steps.append("mark" if os.fstat(descriptor).st_ino == mark else "segment")
            sync(descriptor)

        def note_truncate(descriptor: int, size: int) -> None:
            steps.append("empty")
            truncate(descriptor, size)

        monkeypatch.setattr(os, "write", refuse_once)
        monkeypatch.setattr(os, "fdatasync", note_sync)
        monkeypatch.setattr(os, "ftruncate", note_truncate)
        audit.emit("user.login_succeeded")
        assert [step for step in steps if step != "segment"] == ["mark", "empty"]
        assert audit.flush(120)
