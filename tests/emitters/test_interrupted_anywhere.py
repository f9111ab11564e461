"""Ctrl-C, or a SIGTERM that an application turns into SystemExit, anywhere in `emit` and `flush`."""

import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.spool.writer import Fsync
from auditpipe.schemas.event import Event
from tests.emitters.peer import Peer

#: Ours, and what of the standard library is Python itself and takes locks.
OURS = (str(Path(__file__).resolve().parents[2] / "emitters"), threading.__file__)
#: So many moments an emit has at least.
MANY = 30


def interrupted(number: int, call: Callable[[], Any]) -> bool:
    """Call it and raise KeyboardInterrupt at the so-manieth moment at which Python itself would: where a function of
    ours begins, and where a function in C has returned to ours. False if it has fewer.
    """
    moments = itertools.count(1)

    def profile(frame: FrameType, kind: str, _: Any) -> None:
        is_moment = kind in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS)
        if is_moment and next(moments) == number:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def check_streams(records: list[dict[str, Any]]) -> None:
    """Each stream has the numbers 1, 2, 3, ... once, and each event the hash of the one before it."""
    documents = {record["event"]["id"]: record["audit"] for record in records}
    streams: dict[str, dict[int, dict[str, Any]]] = {}
    for audit in documents.values():
        assert audit["sequence"] not in streams.setdefault(audit["stream"], {}), "a number is there twice"
        streams[audit["stream"]][audit["sequence"]] = audit
    for stream in streams.values():
        assert sorted(stream) == list(range(1, len(stream) + 1))
        previous = "0" * 64
        for _, audit in sorted(stream.items()):
            assert audit["previous"] == previous
            previous = audit["hash"]


def in_another_thread(call: Callable[[], Any]) -> None:
    """A lock that was left to nobody holds up the other threads, if not its own."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(120)
    assert not thread.is_alive(), "it hangs"


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_wherever_emit_is_interrupted_its_streams_hold_and_what_it_returned_is_sent(
    tmp_path: Path, fsync: Fsync
) -> None:
    returned: list[Event | None] = []
    with Peer() as peer:
        audit = AuditLog("tests", forward=peer.address, spool_dir=tmp_path / "spool", fsync=fsync)

        def emit() -> None:
            returned.append(audit.emit("user.login_succeeded", actor="u1"))

        emit()
        number = 1
        while interrupted(number, emit):
            in_another_thread(emit)
            number += 1
        assert number > MANY
        assert audit.flush(120)
        assert audit.stats().spooled == 0
        assert {event.id for event in returned if event} <= {record["event"]["id"] for record in peer.records}
        audit.close()
    check_streams(peer.records)


def test_wherever_flush_is_interrupted_the_sender_goes_on(tmp_path: Path) -> None:
    with Peer() as peer, AuditLog("tests", forward=peer.address, spool_dir=tmp_path / "spool") as audit:
        number, is_interrupted = 1, True
        while is_interrupted:
            audit.emit("user.login_succeeded", actor="u1")
            is_interrupted = interrupted(number, lambda: audit.flush(120))
            assert audit.flush(120), number
            number += 1
        assert number > 10


def test_wherever_the_first_emit_is_interrupted_the_next_one_is_sent(tmp_path: Path) -> None:
    """The first makes the folder and starts the threads."""
    with Peer() as peer:
        number, is_interrupted = 1, True
        while is_interrupted:
            audit = AuditLog("tests", forward=peer.address, spool_dir=tmp_path / f"spool-{number}")
            is_interrupted = interrupted(number, lambda audit=audit: audit.emit("user.login_succeeded", actor="u1"))
            event = audit.emit("user.login_succeeded", actor="u2")
            assert audit.flush(120), (number, audit.stats())
            assert event is not None
            assert event.id in {record["event"]["id"] for record in peer.records}, number
            audit.close()
            number += 1
        assert number > MANY
    check_streams(peer.records)
