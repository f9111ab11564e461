"""A process at its limits of threads and open files: the event goes to the disk, or the caller is told, and no more."""

import errno
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters import SpoolOptions, worker
from auditpipe.emitters.adopter import Adopter
from auditpipe.emitters.drain import drain
from auditpipe.emitters.forward import ForwardSender
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool import writer as writers
from auditpipe.schemas.errors import SpoolError
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, unused_address
from tests.emitters.test_full_disk import folders_in
from tests.emitters.test_spool_faults import ids
from tests.waiting import until


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python raises where pthread_create(3) says EAGAIN."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "start_new_thread", refuse)


@pytest.mark.parametrize("policy", ["raise", "continue"])
def test_an_event_is_taken_without_a_thread_and_sent_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    with Peer() as peer, log_to(peer, tmp_path, on_failure=policy) as audit:
        with monkeypatch.context() as limited:
            no_threads(limited)
            taken = [event.id for _ in range(3) if (event := audit.emit("user.login_succeeded"))]
            assert len(taken) == 3
            assert "no thread can be started" in (audit.stats().problem or "")
            assert not audit.flush(0.1)
        until(lambda: audit.stats().acknowledged == 3)  # whoever only watches starts them too
        assert audit.stats().problem is None
        assert ids(peer) == taken


def test_a_process_that_never_gets_a_thread_leaves_its_events_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as limited:
        no_threads(limited)
        with log_to(unused_address(), tmp_path, exit_timeout=30) as audit:
            event = audit.emit("user.login_succeeded")
    assert event is not None
    with Peer() as peer, log_to(peer, tmp_path) as second:
        assert second.drain(120)
        assert event.id in ids(peer)


@pytest.mark.parametrize(("fsync", "syncs"), [("interval", 2), ("off", 0)])
def test_without_a_thread_each_emit_syncs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, syncs: int
) -> None:
    calls = []
    with log_to(unused_address(), tmp_path, spool=SpoolOptions(fsync=fsync)) as audit, monkeypatch.context() as limited:
        no_threads(limited)
        limited.setattr(os, "fdatasync", calls.append)
        for _ in range(2):
            audit.emit("user.login_succeeded")
        assert len(calls) == syncs


#: For each number of descriptors that are free: emits 20 times, and prints how many folders that left in a spool of its
#: own, how many descriptors, and the last error; then emits without a limit.
LIMITED = """
    import os, resource, sys
    from auditpipe.emitters import AuditLog
    from auditpipe.schemas.errors import SpoolError
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for free in range(4):
        spool = f"{sys.argv[1]}/{free}"
        os.mkdir(spool, 0o700)
        audit, error = AuditLog("s", forward="127.0.0.1:1", spool_dir=spool, exit_timeout=0), None
        open_files = len(os.listdir("/proc/self/fd")) - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + free, most))
        for _ in range(20):
            try:
                audit.emit("user.login_succeeded")
            except SpoolError as caught:
                error = caught
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        left = len(os.listdir("/proc/self/fd")) - 1 - open_files
        print(len(os.listdir(spool)), left if error else 0, error, sep="|")
        assert audit.emit("user.login_succeeded") is not None
        audit.close()
"""


def test_without_a_descriptor_an_emit_leaves_nothing_behind_and_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == 4
    refused = [line for line in lines if line[2] != "None"]
    assert len(refused) >= 2  # none free for the lock, one for the lock and none for the segment
    for made, left, error in refused:
        assert (made, left) == ("0", "0")
        assert "raise the limit of open files" in error
        assert "AUDITPIPE_SPOOL_DIR" not in error
    assert all(made == "1" for made, _, error in lines if error == "None")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("place", ["lock", "name", "segment"])
def test_a_folder_that_cannot_be_finished_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Its lock too: else a descriptor is lost with each try, and a folder that nobody may adopt."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with log_to(unused_address(), tmp_path) as audit:
        before = open_files()
        with monkeypatch.context() as ill:
            module, name = {
                "lock": (folders, "_lock"),
                "name": (folders, "sync_directory"),
                "segment": (writers, "sync_directory"),
            }[place]
            ill.setattr(module, name, refuse)
            for _ in range(5):
                with pytest.raises(SpoolError, match="Input/output error"):
                    audit.emit("user.login_succeeded")
        assert folders_in(tmp_path) == []
        assert open_files() == before
        assert audit.emit("user.login_succeeded") is not None


def test_thousands_of_small_folders_do_not_stay(tmp_path: Path) -> None:
    """As a script leaves them that calls `auditpipe emit` every second: each is looked at, again and again."""
    kept = 4
    with Peer() as peer:
        for _ in range(kept + 3):
            with log_to(peer, tmp_path) as audit:
                audit.emit("user.login_succeeded")
                assert audit.flush(120)
        everything = folders_in(tmp_path)
        options = SpoolOptions(keep_bytes=kept * 256 * 1024)
        adopter = Adopter(tmp_path, lambda: ForwardSender("127.0.0.1", peer.port, timeout=5), options)
        assert drain(adopter, 20).left == []
        assert sorted(folders_in(tmp_path)) == sorted(everything)[-kept:]


def test_draining_ends_where_each_look_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over thousands of folders: whoever waits has time for the look that is waited for."""
    look, orphans = 0.4, folders.orphans

    def slow(*spool: Path, **options: bool) -> Iterator[folders.Folder]:
        time.sleep(look)
        return orphans(*spool, **options)

    with log_to(unused_address(), tmp_path, exit_timeout=0) as audit:
        event = audit.emit("user.login_succeeded")
    assert event is not None
    monkeypatch.setattr(folders, "orphans", slow)
    with Peer() as peer:
        adopter = Adopter(tmp_path, lambda: ForwardSender("127.0.0.1", peer.port, timeout=5), SpoolOptions())
        heard: list[int] = []
        outcome = drain(adopter, 60, heard.append)
        assert (outcome.left, outcome.problem) == ([], None)
        assert event.id in ids(peer)
        assert heard[-1] == outcome.sent > 0
