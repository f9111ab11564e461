"""From the spool to the shipper: nothing is forgotten before it is acknowledged, whatever the peer does."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.schemas import identity
from auditpipe.schemas.canonical import document_hash
from tests.emitters.peer import Peer, acknowledge
from tests.waiting import until

QUICK = SpoolOptions(acknowledge_timeout=0.5, retry_cap=0.1, orphan_interval=0.1)


def log_to(peer: Peer | str, folder: Path, **options: Any) -> AuditLog:
    address = peer if isinstance(peer, str) else peer.address
    return AuditLog(service="s", forward=address, spool_dir=folder, **({"spool": QUICK, "exit_timeout": 0.2} | options))


def sequences(peer: Peer) -> list[int]:
    return [record["audit"]["sequence"] for record in peer.records]


def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_what_arrives_is_what_was_emitted(tmp_path: Path) -> None:
    with Peer() as peer, log_to(peer, tmp_path) as audit:
        events = [audit.emit("user.login_succeeded", actor=f"u{n}", details={"n": n}) for n in range(50)]
        assert audit.flush(120)
        assert peer.records == [event.document() for event in events if event]
        assert peer.times == [identity.parse_time(record["@timestamp"]) for record in peer.records]
        assert all(record["audit"]["hash"] == document_hash(record) for record in peer.records)
        stats = audit.stats()
        assert (stats.spooled, stats.acknowledged, stats.oldest, stats.waiting_bytes) == (0, 50, None, 0)


def test_emit_does_not_wait_for_a_shipper_that_is_not_there(tmp_path: Path) -> None:
    address = unused_address()
    with log_to(address, tmp_path) as audit:
        for _ in range(20):
            audit.emit("user.login_succeeded")
        assert not audit.flush(0.3)
        stats = audit.stats()
        assert stats.spooled == 20
        assert stats.oldest is not None
        assert stats.problem is not None and "refused" in stats.problem
        with Peer(port=int(address.rpartition(":")[2])) as peer:
            assert audit.flush(120)
            assert sequences(peer) == list(range(1, 21))


def never(peer: Peer, connection: socket.socket, chunk: str) -> None:
    """Takes it and says nothing."""


def twice(peer: Peer, connection: socket.socket, chunk: str) -> None:
    connection.sendall(msgpack.packb({"ack": chunk}) * 2)


def wrongly_first(peer: Peer, connection: socket.socket, chunk: str) -> None:
    connection.sendall(msgpack.packb({"ack": "another"}) + msgpack.packb({"ack": chunk}))


def garbage(peer: Peer, connection: socket.socket, chunk: str) -> None:
    if len(peer.chunks) < 3:
        connection.sendall(b"\xc1\xc1\xc1")
    else:
        acknowledge(peer, connection, chunk)


def only_wrongly(peer: Peer, connection: socket.socket, chunk: str) -> None:
    if len(peer.chunks) < 3:
        connection.sendall(msgpack.packb({"ack": "another"}))
    else:
        acknowledge(peer, connection, chunk)


def hangs_up(peer: Peer, connection: socket.socket, chunk: str) -> None:
    if len(peer.chunks) < 3:
        connection.close()
    else:
        acknowledge(peer, connection, chunk)


@pytest.mark.parametrize("manner", [twice, wrongly_first, garbage, only_wrongly, hangs_up])
def test_an_odd_peer_costs_at_most_a_resend(tmp_path: Path, manner: Any) -> None:
    with Peer(manner) as peer, log_to(peer, tmp_path) as audit:
        ids = [event.id for _ in range(30) if (event := audit.emit("user.login_succeeded"))]
        assert audit.flush(120)
        assert set(ids) == {record["event"]["id"] for record in peer.records}
        assert audit.stats().acknowledged == 30


def test_without_an_acknowledgement_nothing_is_forgotten(tmp_path: Path) -> None:
    with Peer(never) as peer:
        with log_to(peer, tmp_path) as audit:
            audit.emit("user.login_succeeded")
            assert not audit.flush(1.5)
            assert audit.stats().spooled == 1
        peer.manner = acknowledge
        seen = len(peer.records)
        with log_to(peer, tmp_path) as second:
            second.emit("user.user.exported")
            assert second.flush(120)
            # the first event, and the closing of its stream, from the folder that the first one left
            until(lambda: Counter(map(action, peer.records[seen:]))["service.audit_stream.closed"] >= 1)
            assert "user.login_succeeded" in map(action, peer.records[seen:])


def test_close_does_not_wait_for_a_peer_that_says_nothing(tmp_path: Path) -> None:
    """And lets go of its folder, so that another AuditLog of this process may send what is in it."""
    patient = SpoolOptions(acknowledge_timeout=60, orphan_interval=0.1)
    with Peer(never) as peer:
        audit = log_to(peer, tmp_path, spool=patient)
        audit.emit("user.login_succeeded")
        until(lambda: len(peer.chunks) == 1)
        audit.close(timeout=0.3)
        assert not any(thread.name == "auditpipe-sender" for thread in threading.enumerate())
        peer.manner = acknowledge
        with log_to(peer, tmp_path, spool=patient) as second:
            assert second.drain(120)


def action(record: dict[str, Any]) -> str:
    return str(record["event"]["action"])


def run(code: str, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_what_a_killed_process_left_is_sent_by_the_next(tmp_path: Path) -> None:
    """SIGKILL between an emit and its sending: each id that was printed arrives, exactly as it was sealed."""
    code = """
        import os, sys
        from auditpipe.emitters import AuditLog
        audit = AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1])
        while True:
            os.write(1, (audit.emit("user.login_succeeded").id + "\\n").encode())
    """
    child = run(code, str(tmp_path), unused_address())
    assert child.stdout is not None
    printed = [child.stdout.readline().strip() for _ in range(200)]
    os.kill(child.pid, signal.SIGKILL)
    printed += child.stdout.read().split()
    child.wait()
    with Peer() as peer, log_to(peer, tmp_path) as audit:
        audit.emit("user.user.exported")
        until(lambda: set(printed) <= {record["event"]["id"] for record in peer.records})
        mine = [record for record in peer.records if action(record) == "user.login_succeeded"]
        assert [record["audit"]["sequence"] for record in mine] == list(range(1, len(mine) + 1))


def test_an_application_that_exits_at_once_has_sent_what_it_emitted(tmp_path: Path) -> None:
    code = """
        import sys
        from auditpipe.emitters import AuditLog
        AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1]).emit("user.login_succeeded")
    """
    with Peer() as peer:
        assert run(code, str(tmp_path), peer.address).wait(120) == 0
        assert list(map(action, peer.records)) == ["user.login_succeeded", "service.audit_stream.closed"]


def test_forked_children_have_streams_of_their_own(tmp_path: Path) -> None:
    """fork in the middle of emitting threads, and children that end as multiprocessing's do: without atexit."""
    code = """
        import os, sys, threading, time
        from auditpipe.emitters import AuditLog
        audit = AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1])
        def work(n):
            for _ in range(n):
                audit.emit("user.login_succeeded", details={"pid": os.getpid()})
        threads = [threading.Thread(target=work, args=(200,)) for _ in range(3)]
        for thread in threads: thread.start()
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                work(100)
                os._exit(0)
            children.append(pid)
        for thread in threads: thread.join()
        for pid in children: assert os.waitpid(pid, 0)[1] == 0
    """
    with Peer() as peer:
        assert run(code, str(tmp_path), peer.address).wait(60) == 0
        with log_to(peer, tmp_path) as audit:
            audit.emit("user.user.exported")
            distinct: dict[str, dict[str, Any]] = {}

            def all_there() -> bool:
                distinct.update({record["event"]["id"]: record for record in list(peer.records)})
                return sum(action(record) == "user.login_succeeded" for record in distinct.values()) == 1000

            until(all_there)
        streams: dict[str, list[tuple[int, str, str]]] = {}
        for record in distinct.values():
            audit_fields = record["audit"]
            row = (audit_fields["sequence"], audit_fields["previous"], audit_fields["hash"])
            streams.setdefault(audit_fields["stream"], []).append(row)
        for rows in streams.values():
            rows.sort()
            assert [number for number, _, _ in rows] == list(range(1, len(rows) + 1))
            assert [previous for _, previous, _ in rows[1:]] == [own for _, _, own in rows[:-1]]
        by_pid = Counter(r["audit"]["details"]["pid"] for r in distinct.values() if "details" in r["audit"])
        assert sorted(by_pid.values()) == [100] * 4 + [600]


def test_a_hundred_threads(tmp_path: Path) -> None:
    with Peer() as peer, log_to(peer, tmp_path, spool=SpoolOptions(fsync="always")) as audit:

        def work() -> None:
            for _ in range(10):
                audit.emit("user.login_succeeded")

        threads = [threading.Thread(target=work) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert audit.flush(120)
        assert sequences(peer) == list(range(1, 1001))


def test_asyncio_tasks_each_have_their_own_context(tmp_path: Path) -> None:
    """`emit` in an event loop, a hundred tasks interleaved."""

    async def request(audit: AuditLog, number: int) -> str:
        with audit.context(actor=f"u{number}", organization=f"o{number % 3}"):
            await asyncio.sleep(0)
            event = audit.emit("user.login_succeeded", details={"n": number})
            await asyncio.sleep(0)
            assert event is not None
            return event.id

    async def main(audit: AuditLog) -> list[str]:
        return list(await asyncio.gather(*(request(audit, number) for number in range(100))))

    with Peer() as peer, log_to(peer, tmp_path) as audit:
        ids = asyncio.run(main(audit))
        assert audit.flush(120)
        assert {record["event"]["id"] for record in peer.records} == set(ids)
        for record in peer.records:
            number = record["audit"]["details"]["n"]
            assert (record["user"]["id"], record["organization"]["id"]) == (f"u{number}", f"o{number % 3}")


def test_multiprocessing_s_workers_lose_nothing(tmp_path: Path) -> None:
    """A pool of forked workers, ended as multiprocessing ends them: without atexit."""
    code = """
        import multiprocessing, sys
        from auditpipe.emitters import AuditLog
        audit = AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1])
        def work(n):
            return audit.emit("user.login_succeeded", details={"n": n}).id
        if __name__ == "__main__":
            audit.emit("user.user.exported")
            with multiprocessing.get_context("fork").Pool(4) as pool:
                print(*pool.map(work, range(200)))
    """
    with Peer() as peer:
        child = run(code, str(tmp_path), peer.address)
        printed = set(child.communicate(timeout=180)[0].split())
        assert child.returncode == 0
        assert len(printed) == 200
        with log_to(peer, tmp_path) as audit:
            assert audit.drain(120)
        assert printed <= {record["event"]["id"] for record in peer.records}


def test_an_acknowledged_folder_is_removed_in_the_end(tmp_path: Path) -> None:
    gone = SpoolOptions(keep_seconds=0, orphan_interval=0.05)
    with Peer() as peer:
        with log_to(peer, tmp_path, spool=gone) as audit:
            audit.emit("user.login_succeeded")
        with log_to(peer, tmp_path, spool=gone) as audit:
            audit.emit("user.login_succeeded")
            until(lambda: sum(path.is_dir() for path in tmp_path.iterdir()) == 1)


def test_memory_and_disk_stay_private(tmp_path: Path) -> None:
    spool = tmp_path / "deep" / "spool"
    with Peer() as peer, log_to(peer, spool) as audit:
        audit.emit("user.login_failed", reason="unknown_account", actor={"name": "hunter2"})
        for path in [spool, *spool.rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
        assert not any(b"hunter2" in path.read_bytes() for path in spool.rglob("*") if path.is_file())
