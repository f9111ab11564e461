"""A disk with no byte left, not even for a mark of 20: it heals by itself once the shipper is there."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.emitters.adopter import Adopter
from auditpipe.emitters.drain import drain
from auditpipe.emitters.forward import ForwardSender
from auditpipe.emitters.spool import writer as writers
from auditpipe.emitters.spool.backlog import Backlog, mark_path
from auditpipe.emitters.spool.writer import Writer
from auditpipe.emitters.spooled import _give_up_kept
from auditpipe.schemas.errors import SpoolError
from tests.emitters.peer import Peer, acknowledge
from tests.emitters.test_delivery import QUICK, log_to, unused_address
from tests.emitters.test_spool_faults import BIG, ids, small_disk
from tests.waiting import until

__all__ = ["small_disk"]


def the_folder(spool: Path) -> Path:
    (folder,) = (path for path in spool.iterdir() if path.is_dir())
    return folder


def emit_until_full(audit: AuditLog) -> list[str]:
    """The ids of what was taken."""
    taken = []
    try:
        while True:
            event = audit.emit("user.login_succeeded", **BIG)  # type: ignore[arg-type]
            assert event is not None
            taken.append(event.id)
    except SpoolError:
        return taken


def fill(disk: Path) -> Path:
    """As another program does that takes the last byte."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return filler


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_disk_that_was_full_when_the_shipper_came_is_emptied_and_nothing_is_sent_twice(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, is_marked: bool
) -> None:
    """Without a mark: a folder that an earlier version made, and file systems that write a byte elsewhere each time."""
    monkeypatch.setattr(writers, "SEGMENT_BYTES", 500_000)
    address = unused_address()
    with log_to(address, small_disk / "spool") as audit:
        taken = emit_until_full(audit)
        if not is_marked:
            mark_path(the_folder(small_disk / "spool")).unlink()
        fill(small_disk)
        with Peer(port=int(address.rpartition(":")[2])) as peer:
            assert audit.flush(120)
            assert ids(peer) == taken
            for _ in range(len(taken) + 10):  # there is room for all of it once more, in the place of what was sent
                event = audit.emit("user.login_succeeded", **BIG)  # type: ignore[arg-type]
                assert event is not None
                taken.append(event.id)
                assert audit.flush(120)
            assert ids(peer) == taken


def test_what_a_dead_process_left_on_a_full_disk_is_sent_once(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "SEGMENT_BYTES", 500_000)
    spool = small_disk / "spool"
    with log_to(unused_address(), spool) as audit:
        taken = emit_until_full(audit)
    mark_path(the_folder(spool)).unlink()
    fill(small_disk)
    with Peer() as peer:
        for _ in range(2):
            outcome = drain(Adopter(spool, lambda: ForwardSender("127.0.0.1", peer.port, timeout=5), QUICK), 20)
            assert outcome.left == []
            assert set(taken) <= set(ids(peer))
            assert max(Counter(ids(peer)).values()) == 1


#: Emits until the disk is full, prints the ids, takes the mark away and the disk's last byte, and lets the sender work.
DOOMED = """
    import sys, time
    from pathlib import Path
    from auditpipe.emitters.spool import writer
    from tests.emitters.test_delivery import QUICK, log_to
    from tests.emitters.test_full_disk import emit_until_full, fill, mark_path, the_folder
    disk, address = Path(sys.argv[1]), sys.argv[2]
    writer.SEGMENT_BYTES = 300_000
    audit = log_to(address, disk / "spool")
    taken = emit_until_full(audit)
    mark_path(the_folder(disk / "spool")).unlink()
    fill(disk)
    print(*taken, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("after_chunks", [1, 2, 3])
def test_sigkill_while_a_full_disk_is_emptied_loses_nothing(small_disk: Path, after_chunks: int) -> None:
    address = unused_address()
    command = [sys.executable, "-c", textwrap.dedent(DOOMED), str(small_disk), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        taken = process.stdout.readline().split()
        assert taken

        def deadly(peer: Peer, connection: object, chunk: str) -> None:
            acknowledge(peer, connection, chunk)  # type: ignore[arg-type]
            if len(peer.chunks) == after_chunks:
                process.send_signal(signal.SIGKILL)

        with Peer(deadly, port=int(address.rpartition(":")[2])) as peer:
            process.wait(120)
            adopter = Adopter(small_disk / "spool", lambda: ForwardSender("127.0.0.1", peer.port, timeout=5), QUICK)
            assert drain(adopter, 20).left == []
            assert set(taken) <= set(ids(peer))


def no_room_for_a_mark(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """pwrite(2), which writes nothing but marks, says ENOSPC until the function that is returned is called."""
    real = os.pwrite

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    return lambda: monkeypatch.setattr(os, "pwrite", real)


def test_a_segment_that_begins_anew_is_not_taken_for_what_an_older_mark_speaks_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark on the disk is too far for what is appended now: whoever reads it after a kill must not pass it over."""
    appender, backlog = Writer(tmp_path, fsync="off", limit_bytes=10**6), Backlog(tmp_path)
    for payload in (b"old 1", b"old 2"):
        if payload == b"old 2":
            heal = no_room_for_a_mark(monkeypatch)
        appender.append(payload)
        batch = appender.take(backlog.acknowledged, 10**6, 10) or backlog.read(appender.position, 10**6, 10)
        assert batch is not None
        backlog.acknowledge(batch.end)
        appender.acknowledged(batch)
    assert not backlog.is_noted
    _give_up_kept(appender, backlog)
    appender.append(b"new 1")
    found = Backlog(tmp_path).read(None, 10**6, 10)
    assert found is not None and found.entries == b"new 1"
    heal()
    backlog.acknowledge(found.end)
    assert backlog.is_noted
    assert Backlog(tmp_path).read(None, 10**6, 10) is None


def folders_in(spool: Path) -> list[str]:
    return [path.name for path in spool.iterdir() if path.is_dir()]


def test_a_folder_that_is_removed_on_a_full_disk_goes_on_in_another_once_there_is_room(small_disk: Path) -> None:
    spool = small_disk / "spool"
    with log_to(unused_address(), spool) as audit:
        taken = emit_until_full(audit)
        folder = the_folder(spool)
        shutil.rmtree(folder.rename(small_disk / "removed"))  # the space stays taken: the segment is open
        fill(small_disk)
        until(lambda: "no other can take over" in (audit.stats().problem or ""))
        with pytest.raises(SpoolError, match="no other can take over"):
            audit.emit("user.login_succeeded")
        until(lambda: audit._transport._keeper.failures > 2)  # type: ignore[attr-defined]
        assert len(folders_in(spool)) <= 1  # the one that is being tried
        subprocess.run(["mount", "-o", "remount,size=9m", small_disk], check=True)
        until(lambda: audit.stats().state == "ok")
        event = audit.emit("user.login_succeeded")
        assert event is not None
        (folder,) = (spool / name for name in folders_in(spool))
        waiting = Backlog(folder).read(None, 10**8, 10**6)
        assert waiting is not None and waiting.count == len(taken) + 1


def test_a_disk_that_refuses_to_sync_while_a_removed_folder_is_replaced_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an event lost, a folder left, or a lock held by nobody."""
    spool, address = tmp_path / "spool", unused_address()
    options = SpoolOptions(retry_cap=0.1, orphan_interval=0.1)
    with log_to(address, spool, spool=options) as audit:
        taken = [event.id for _ in range(5) if (event := audit.emit("user.login_succeeded"))]

        def refuse(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as ill:
            ill.setattr(os, "fdatasync", refuse)
            the_folder(spool).rename(tmp_path / "removed")
            until(lambda: "no other can take over" in (audit.stats().problem or ""))
            keeper = audit._transport._keeper  # type: ignore[attr-defined]
            until(lambda: keeper.failures > 3)
        until(lambda: audit.stats().state == "ok")
        assert len(folders_in(spool)) == 1
        with Peer(port=int(address.rpartition(":")[2])) as peer:
            event = audit.emit("user.login_succeeded")
            assert event is not None
            assert audit.flush(120)
            assert ids(peer) == [*taken, event.id]
