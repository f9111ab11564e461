"""Clocks that jump back, stand still or jump ahead: ids, numbers and links stay what they are."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.spool import archive
from auditpipe.schemas import identity
from auditpipe.schemas.errors import InvalidEvent
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, unused_address
from tests.emitters.test_kill import assert_linked

START = identity.parse_time("2026-10-10T10:00:00Z")
HOUR = 3600 * identity.SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the system's clock says: its one item, nanoseconds since 1970."""
    now = [START]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0] / identity.SECOND)
    return now


def jumps() -> Iterator[int]:
    """Back by an hour and a millisecond, still for a hundred events, back to 2001, ahead again."""
    yield from (START, START - HOUR, START - HOUR - identity.MILLISECOND)
    yield from [START - 2 * HOUR] * 100
    yield from (identity.parse_time("2001-01-01T00:00:00Z"), START + HOUR)


def test_whatever_the_clock_does_each_event_is_valid_and_the_chain_whole(tmp_path: Path, clock: list[int]) -> None:
    events = []
    with AuditLog("s", forward=unused_address(), spool_dir=tmp_path, exit_timeout=0) as audit:
        for now in jumps():
            clock[0] = now
            event = audit.emit("user.login_succeeded")
            assert event is not None
            assert identity.milliseconds_of(event.id) == now // identity.MILLISECOND
            assert identity.parse_time(event.timestamp) == now // 1000 * 1000  # RFC 3339, to the microsecond at least
            events.append(event)
    assert len({event.id for event in events}) == len(events)
    documents = [entry.document for entry in archive.entries(tmp_path)]
    assert len(documents) == len(events) + 1
    assert len({document["audit"]["stream"] for document in documents}) == 1
    assert_linked(documents)
    for document in documents:
        audit.check_sealed(document)


def test_processes_that_begin_in_the_same_instant_have_streams_and_folders_of_their_own(
    tmp_path: Path, clock: list[int]
) -> None:
    logs = [AuditLog("s", forward=unused_address(), spool_dir=tmp_path, exit_timeout=0) for _ in range(20)]
    for log in logs:
        log.emit("user.login_succeeded")
    entries = list(archive.entries(tmp_path))
    assert len({entry.folder for entry in entries}) == 20
    assert len({entry.document["audit"]["stream"] for entry in entries}) == 20
    for log in logs:
        log.close()


def test_what_was_left_in_the_future_is_sent_now(tmp_path: Path, clock: list[int]) -> None:
    """A folder whose name and events are of tomorrow, as of a machine whose clock was set back."""
    clock[0] = START + 20 * HOUR
    with log_to(unused_address(), tmp_path) as first:
        first.emit("user.user.exported")
    clock[0] = START
    with Peer() as peer, log_to(peer, tmp_path) as second:
        assert second.drain(120)
        assert "user.user.exported" in [record["event"]["action"] for record in peer.records]


def test_a_clock_that_says_before_1970_or_after_2106_is_refused(tmp_path: Path, clock: list[int]) -> None:
    """Forward times end there, and `_id` names the index: such an event would have no month. Nothing is spent."""
    with AuditLog("s", forward=unused_address(), spool_dir=tmp_path, exit_timeout=0) as audit:
        audit.emit("user.login_succeeded")
        for now in (-HOUR, identity.LATEST_NS + HOUR):
            clock[0] = now
            with pytest.raises(InvalidEvent, match="this machine's clock says"):
                audit.emit("user.login_succeeded")
        clock[0] = START
        event = audit.emit("user.login_succeeded")
        assert event is not None
        assert event.audit.sequence == 2
