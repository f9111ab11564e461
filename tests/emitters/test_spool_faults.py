"""Disks that are full and folders that go away under a running process."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.emitters.spool import archive
from auditpipe.schemas.errors import SpoolError
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, never, unused_address
from tests.waiting import until


def ids(peer: Peer) -> list[str]:
    return [record["event"]["id"] for record in peer.records]


def remove(spool: Path) -> None:
    """At once, so that nothing is made in it while it goes."""
    shutil.rmtree(spool.rename(spool.with_name("removed")))


def test_a_spool_that_is_removed_under_the_process_costs_no_event_that_was_not_sent(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    address = unused_address()
    with log_to(address, spool) as audit:
        before = [event.id for _ in range(50) if (event := audit.emit("user.login_succeeded"))]
        remove(spool)
        between = [event.id for _ in range(50) if (event := audit.emit("user.login_succeeded"))]
        until(lambda: spool.exists())
        after = [event.id for _ in range(50) if (event := audit.emit("user.login_succeeded"))]
        with Peer(port=int(address.rpartition(":")[2])) as peer:
            assert audit.flush(120)
            assert set(before + between + after) <= set(ids(peer))
            assert audit.stats().spooled == 0


def test_a_removed_spool_is_noticed_while_the_sender_hangs(tmp_path: Path) -> None:
    """Until it is, what is emitted is in no file that has a name. The peer never answers, the sender waits for it."""
    spool = tmp_path / "spool"
    patient = SpoolOptions(acknowledge_timeout=600, retry_cap=0.1)
    with Peer(never) as peer, log_to(peer, spool, spool=patient) as audit:
        events = [audit.emit("user.login_succeeded")]
        until(lambda: len(peer.chunks) == 1)
        remove(spool)
        events.append(audit.emit("user.login_succeeded"))
        until(lambda: spool.exists() and len(list(archive.entries(spool))) == 2)
        assert [entry.document for entry in archive.entries(spool)] == [event.document() for event in events if event]


def test_a_spool_that_cannot_be_made_again_refuses(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with log_to(unused_address(), spool) as audit:
        audit.emit("user.login_succeeded")
        remove(spool)
        spool.write_text("a file stands here now")

        def refuses() -> bool:
            try:
                audit.emit("user.login_succeeded")
            except SpoolError as error:
                assert "was removed while its process was running" in str(error)
                return True
            return False

        until(refuses)
        spool.unlink()
        until(lambda: not refuses())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


BIG = {"details": {"x": "y" * 20_000}}


def test_a_full_disk_is_freed_of_what_was_acknowledged(small_disk: Path) -> None:
    with Peer() as peer, log_to(peer, small_disk) as audit:
        emitted = []
        for _ in range(400):
            event = audit.emit("user.login_succeeded", **BIG)  # type: ignore[arg-type]
            assert event is not None
            emitted.append(event.id)
            assert audit.flush(120)
        assert emitted == ids(peer)


def test_a_full_disk_refuses_loses_nothing_and_recovers(small_disk: Path) -> None:
    taken, refused = [], 0
    with Peer(never) as peer, log_to(peer, small_disk, spool=SpoolOptions(acknowledge_timeout=0.3)) as audit:
        for _ in range(400):
            try:
                event = audit.emit("user.login_succeeded", **BIG)  # type: ignore[arg-type]
            except SpoolError as error:
                refused += 1
                assert "space" in str(error).lower()
            else:
                assert event is not None
                taken.append(event)
        assert refused
        assert [event.audit.sequence for event in taken] == list(range(1, len(taken) + 1))
        from tests.emitters.peer import acknowledge

        peer.manner = acknowledge
        assert audit.flush(120)
        assert {event.id for event in taken} <= set(ids(peer))
        assert audit.emit("user.login_succeeded", **BIG) is not None  # type: ignore[arg-type]


def test_a_read_only_spool_refuses_by_policy_until_it_can_be_written(small_disk: Path) -> None:
    """As after a disk error: `raise` names the reason, `continue` counts, and no number is spent."""
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Peer() as peer, log_to(peer, small_disk) as audit, log_to(peer, small_disk, on_failure="continue") as lenient:
        with pytest.raises(SpoolError, match=r"Read-only file system.*set AUDITPIPE_SPOOL_DIR"):
            audit.emit("user.login_succeeded")
        assert lenient.emit("user.login_succeeded") is None
        assert lenient.stats().refused == 1
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        for log in (audit, lenient):
            event = log.emit("user.login_succeeded")
            assert event is not None
            assert event.audit.sequence == 1
            assert log.flush(120)


def test_stats_say_when_the_spool_is_nearly_full_and_when_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In this order: ok, a warning in the log and `nearly_full`, `full` with the first refusal, ok when it was sent."""
    address = unused_address()
    with log_to(address, tmp_path, spool=SpoolOptions(limit_bytes=100_000, retry_cap=0.1)) as audit:
        seen = [audit.stats().state]
        try:
            while True:
                audit.emit("user.login_succeeded", details={"x": "y" * 1000})
                if audit.stats().state != seen[-1]:
                    seen.append(audit.stats().state)
                    assert "emit fails at the limit" in caplog.text
        except SpoolError:
            seen.append(audit.stats().state)
        assert seen == ["ok", "nearly_full", "full"]
        stats = audit.stats()
        assert stats.limit_bytes == 100_000
        assert 80_000 < stats.waiting_bytes <= 100_000
        with Peer(port=int(address.rpartition(":")[2])):
            assert audit.flush(120)
            assert audit.stats().state == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may own a folder for another")
def test_a_spool_that_others_may_write_is_refused(tmp_path: Path) -> None:
    for mode, owner in ((0o777, 0), (0o720, 0), (0o700, 61742)):
        spool = tmp_path / f"{mode:o}-{owner}"
        spool.mkdir()
        os.chown(spool, owner, owner)
        spool.chmod(mode)
        audit = AuditLog("s", forward="127.0.0.1:1", spool_dir=spool, exit_timeout=0)
        with audit, pytest.raises(SpoolError, match="can be written by others"):
            audit.emit("user.login_succeeded")


def test_what_others_left_does_not_hold_up_our_own(tmp_path: Path) -> None:
    """A chunk of a dead process that is never acknowledged, and one folder that can't be read."""
    with Peer(never) as hanging:
        with log_to(hanging, tmp_path) as first:
            first.emit("user.user.exported", details={"poison": True})

        def manner(peer: Peer, connection: object, chunk: str) -> None:
            if not any("poison" in record["audit"].get("details", {}) for record in peer.records[-1:]):
                from tests.emitters.peer import acknowledge

                acknowledge(peer, connection, chunk)  # type: ignore[arg-type]

        hanging.manner = manner
        hanging.records.clear()
        options = SpoolOptions(acknowledge_timeout=60, orphan_interval=0.05)
        with log_to(hanging, tmp_path, spool=options) as second:
            second.emit("user.login_succeeded")
            time.sleep(0.5)  # the adopter is waiting for its acknowledgement by now
            second.emit("user.login_succeeded")
            assert second.flush(120)


def test_drain_waits_for_what_others_left(tmp_path: Path) -> None:
    with log_to(unused_address(), tmp_path) as first:
        first.emit("user.user.exported")
    with Peer() as peer, log_to(peer, tmp_path) as second:
        assert second.drain(120)
        assert "user.user.exported" in [record["event"]["action"] for record in peer.records]
    with log_to(unused_address(), tmp_path) as third:
        third.emit("user.user.exported")
    with log_to(unused_address(), tmp_path) as fourth:
        assert not fourth.drain(0.5)
