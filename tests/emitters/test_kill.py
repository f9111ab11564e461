"""SIGKILL at any instant, of many processes on one spool, in containers of their own: what `emit` returned is there."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters.spool import archive
from auditpipe.emitters.spool.archive import Damaged
from auditpipe.emitters.spool.summary import State, summaries
from auditpipe.schemas.canonical import GENESIS, document_hash
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, unused_address
from tests.waiting import until

#: Forks rounds of workers that emit until they are killed, after a time of its own for each; prints every id that an
#: `emit` has returned. An id goes into the pipe before the next emit, and what is in a pipe survives its writer.
KILLER = """
    import os, random, signal, sys, time
    from auditpipe.emitters import AuditLog
    from auditpipe.emitters import SpoolOptions
    spool, forward, rounds, workers, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    dice = random.Random(seed)
    options = SpoolOptions(acknowledge_timeout=2, retry_cap=0.05, orphan_interval=0.02, linger=0.001, chunk_events=20)

    def work(pipe):
        audit = AuditLog("s", forward=forward, spool_dir=spool, spool=options)
        while True:
            event = audit.emit("user.login_succeeded", details={"pad": "x" * dice.randrange(3000)})
            os.write(pipe, event.id.encode() + b"\\n")

    for _ in range(rounds):
        reader, pipe = os.pipe()
        children = []
        for _ in range(workers):
            pid = os.fork()
            if pid == 0:
                dice.seed(os.getpid())
                work(pipe)
            children.append(pid)
        os.close(pipe)
        time.sleep(0.02)
        with os.fdopen(reader) as ids:
            # as long as a pipe is not full nobody waits for us; it holds 64 KiB
            for pid in children:
                time.sleep(dice.uniform(0, 0.03))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            sys.stdout.write(ids.read())
"""


def printed(code: str, *arguments: object) -> list[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def assert_linked(documents: Iterable[dict[str, Any]]) -> None:
    """Every stream counts 1, 2, 3, and each event has the hash of the one before it."""
    streams: dict[str, dict[int, dict[str, Any]]] = {}
    for document in documents:
        streams.setdefault(document["audit"]["stream"], {})[document["audit"]["sequence"]] = document
    for by_number in streams.values():
        assert sorted(by_number) == list(range(1, len(by_number) + 1))
        previous = GENESIS
        for number in sorted(by_number):
            assert by_number[number]["audit"]["previous"] == previous
            previous = by_number[number]["audit"]["hash"]
            assert document_hash(by_number[number]) == previous


def test_whatever_is_killed_every_event_that_emit_returned_is_in_the_spool(tmp_path: Path) -> None:
    """Sixty processes, killed at random instants, ten at a time on one spool, while nobody listens."""
    ids = printed(KILLER, tmp_path, unused_address(), 6, 10, 1)
    entries = list(archive.entries(tmp_path))
    documents = [entry.document for entry in entries]
    assert len(ids) > 100
    assert set(ids) <= {document["event"]["id"] for document in documents}
    assert not any(entry.acknowledged for entry in entries)
    assert_linked(documents)
    parts = [part for folder in archive.folders(tmp_path) for part in archive.contents(folder)]
    # A write(2) of several pages ends between two of them when the process is killed; then `emit` had not returned.
    assert all(part.cut_short for part in parts if isinstance(part, Damaged))


def test_killed_between_sending_acknowledgement_and_mark_nothing_is_lost(tmp_path: Path) -> None:
    """The same with a shipper, so that senders and adopters are killed too; the rest is sent by whoever comes next."""
    with Peer() as peer:
        ids = printed(KILLER, tmp_path, peer.address, 5, 6, 2)
        assert len(ids) > 50
        with log_to(peer, tmp_path) as audit:
            assert audit.drain(60)
        assert set(ids) <= {record["event"]["id"] for record in peer.records}
        assert_linked(peer.records)


UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture(scope="module")
def own_pids() -> tuple[str, ...]:
    """The command that runs another in a pid namespace of its own, as a container does."""
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0:
        pytest.skip("no pid namespace can be made here: unshare --pid is missing, or not allowed")
    return UNSHARE


def test_containers_that_share_a_spool_are_told_apart_by_locks(tmp_path: Path, own_pids: tuple[str, ...]) -> None:
    """Both processes have pid 1. What the killed one left is sent; the other keeps its folder until it is killed."""
    code = """
        import os, sys, time
        from auditpipe.emitters import AuditLog
        audit = AuditLog("s", forward=sys.argv[2], spool_dir=sys.argv[1])
        print(os.getpid(), *(audit.emit("user.login_succeeded").id for _ in range(5)), flush=True)
        time.sleep(600)
    """
    command = [*own_pids, sys.executable, "-c", textwrap.dedent(code), str(tmp_path), unused_address()]
    containers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        said = [container.stdout.readline().split() for container in containers if container.stdout]
        assert [pid for pid, *_ in said] == ["1", "1"]
        assert [summary.state for summary in summaries(tmp_path)] == [State.IN_USE, State.IN_USE]
        with Peer() as peer, log_to(peer, tmp_path) as audit:

            def arrived() -> set[str]:
                return {record["event"]["id"] for record in list(peer.records)}

            for number, container in enumerate(containers):
                assert audit.drain(120)
                assert len(arrived()) == 5 * number
                os.kill(container.pid, signal.SIGKILL)  # and its child with it
                container.wait(120)
                until(lambda n=number: len(arrived()) == 5 * (n + 1))  # type: ignore[misc]
            assert arrived() == {event for _, *events in said for event in events}
    finally:
        for container in containers:
            container.kill()
            container.wait(120)
            if container.stdout:
                container.stdout.close()


def test_a_forked_child_does_not_keep_the_folder_that_its_parent_was_sending(tmp_path: Path) -> None:
    """flock(2) is inherited: a long-lived child of a process that is killed would hold it for as long as it lives."""
    code = """
        import os, sys, time
        from auditpipe.emitters import AuditLog
        from auditpipe.emitters import SpoolOptions
        audit = AuditLog("s", forward=sys.argv[2], spool_dir=sys.argv[1], spool=SpoolOptions(acknowledge_timeout=600))
        audit.emit("user.login_succeeded")
        sys.stdin.readline()  # the adopter waits for an acknowledgement by now
        child = os.fork()
        if child == 0:
            os.close(1)
            time.sleep(600)
        print(child, flush=True)
        time.sleep(600)
    """
    with log_to(unused_address(), tmp_path) as first:
        first.emit("user.user.exported")

    def never(_peer: Peer, _connection: object, _chunk: str) -> None:
        """Takes it and says nothing."""

    with Peer(never) as hanging:
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), hanging.address]
        parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert parent.stdin is not None
        assert parent.stdout is not None
        until(lambda: any(record["event"]["action"] == "user.user.exported" for record in hanging.records))
        parent.stdin.write("\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            parent.wait(120)
            until(lambda: {summary.state for summary in summaries(tmp_path)} == {State.LEFT})
        finally:
            os.kill(child, signal.SIGKILL)
            parent.stdin.close()
            parent.stdout.close()
