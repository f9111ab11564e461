"""Signal handlers that emit and close in the middle of a call of the same thread."""

import itertools
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from auditpipe.emitters import AuditLog, MemoryTransport, SpoolOptions, auditlog
from auditpipe.schemas import identity
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.errors import InvalidEvent, LimitExceeded, SpoolError
from auditpipe.schemas.event import Event
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, run, unused_address
from tests.emitters.test_interrupted_anywhere import check_streams

PACKAGE = str(Path(auditlog.__file__).parents[1])
#: An Event's lock is the standard library's, and no handler's either.
OURS = (PACKAGE, str(threading.__file__))
MANY = 30
#: Longer than any of these calls takes, unless it waits for ever.
HANGS = 30


def broken_into(number: int, call: Callable[[], Any], handler: Callable[[], Any]) -> bool:
    """Call it, with the handler at the so-manieth moment at which Python itself might run one. False: it has fewer."""
    moments = itertools.count(1)
    reached = False

    def profile(frame: FrameType, kind: str, _: Any) -> None:
        nonlocal reached
        is_moment = kind in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS)
        if is_moment and next(moments) == number:
            sys.setprofile(None)
            reached = True
            handler()

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return reached


def ends(body: Callable[[], None]) -> None:
    """Do it in a thread, and fail if it does not end."""
    errors: list[BaseException] = []

    def catching() -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=catching, daemon=True)
    thread.start()
    thread.join(HANGS)
    if thread.is_alive():
        auditlog._living.clear()  # else the interpreter's exit hangs as well
        pytest.fail("it waits for itself")
    if errors:
        raise errors[0]


def ids(peer: Peer) -> set[str]:
    return {record["event"]["id"] for record in peer.records}


def numbers(records: list[dict[str, Any]], actor: str) -> list[int]:
    found = {record["audit"]["details"]["n"] for record in records if record.get("user", {}).get("id") == actor}
    return sorted(found)


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_wherever_a_handler_emits_in_an_emit_both_events_arrive(tmp_path: Path, fsync: Any) -> None:
    """And streams hold, which a lock that lets the same thread in twice would not do."""
    returned: list[Event | None] = []
    with Peer() as peer, log_to(peer, tmp_path, spool=SpoolOptions(fsync=fsync)) as audit:

        def emit(actor: str, number: int) -> None:
            returned.append(audit.emit("user.login_succeeded", actor=actor, details={"n": number}))

        def everywhere() -> None:
            number, reached = 1, True
            while reached:
                reached = broken_into(number, lambda n=number: emit("u1", n), lambda n=number: emit("u2", n))
                number += 1
            assert number > MANY

        ends(everywhere)
        assert audit.flush(120)
        outer, inner = numbers(peer.records, "u1"), numbers(peer.records, "u2")
        assert outer == list(range(1, len(outer) + 1))
        assert inner == outer[:-1]
        assert None in returned
        assert {event.id for event in returned if event} <= ids(peer)
        check_streams(peer.records)


def test_wherever_a_handler_emits_in_the_first_emit_both_events_arrive(tmp_path: Path) -> None:
    """The first makes the folder and starts the threads."""
    with Peer() as peer:

        def everywhere() -> None:
            number, reached = 1, True
            while reached:
                with log_to(peer, tmp_path / str(number)) as audit:

                    def emit(actor: str, n: int = number, audit: AuditLog = audit) -> None:
                        audit.emit("user.login_succeeded", actor=actor, details={"n": n})

                    reached = broken_into(number, lambda emit=emit: emit("u1"), lambda emit=emit: emit("u2"))
                    assert audit.flush(120)
                number += 3
            assert number > MANY

        ends(everywhere)
        assert numbers(peer.records, "u2") == numbers(peer.records, "u1")[:-1]
        check_streams(peer.records)


def test_wherever_a_handler_closes_in_an_emit_its_streams_are_closed() -> None:
    """Also what the handler had emitted before that is in them; nothing comes after."""
    refused = 0

    def everywhere() -> None:
        nonlocal refused
        number, reached = 1, True
        while reached:
            memory = MemoryTransport()
            audit = AuditLog("tests", transport=memory)
            audit.emit("user.login_succeeded")

            def handler(audit: AuditLog = audit) -> None:
                audit.emit("user.user.exported")
                audit.close()

            try:
                reached = broken_into(number, lambda audit=audit: audit.emit("user.login_succeeded"), handler)
            except SpoolError:  # it was closed before the event had its turn
                refused += 1
            if reached:
                with pytest.raises(SpoolError, match="closed"):
                    audit.emit("user.login_succeeded")
                assert memory.actions.count("user.user.exported") == 1
                assert memory.actions[-1] == STREAM_CLOSED
                check_streams([event.document() for event in memory.events])
            audit.close()
            number += 1
        assert number - refused > 5

    ends(everywhere)
    assert refused


def test_wherever_a_handler_closes_in_an_emit_the_spool_is_closed(tmp_path: Path) -> None:
    address = unused_address()
    ends(lambda: closing_everywhere(address, tmp_path))


def closing_everywhere(address: str, folder: Path) -> None:
    number, reached = 1, True
    while reached:
        audit = log_to(address, folder / str(number), exit_timeout=0)
        audit.emit("user.login_succeeded")
        try:
            reached = broken_into(number, lambda audit=audit: audit.emit("user.login_succeeded"), audit.close)
        except SpoolError:
            assert audit._closed
        assert audit._closed == reached
        audit.close()
        number += 7


CALLS: dict[str, Callable[[AuditLog], object]] = {
    "flush": lambda audit: audit.flush(0.2),
    "drain": lambda audit: audit.drain(0.2),
    "close": lambda audit: audit.close(0.2),
    "stats": lambda audit: audit.stats(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_handler_in_any_other_call_waits_for_nobody(tmp_path: Path, call: str) -> None:
    """What it emits arrives, or is refused because the AuditLog is closed; each of its calls ends."""
    with Peer() as peer:

        def everywhere() -> None:
            number, reached, taken = 1, True, 0
            while reached:
                audit = log_to(peer, tmp_path / str(number), exit_timeout=0)
                audit.emit("user.login_succeeded")
                problems: list[SpoolError] = []

                def handler(audit: AuditLog = audit, problems: list[SpoolError] = problems) -> None:
                    audit.stats()
                    audit.flush(0.01)
                    audit.drain(0.01)
                    try:
                        audit.emit("user.user.exported", details={"n": 1})
                    except SpoolError as error:
                        problems.append(error)
                    audit.close(0)

                reached = broken_into(number, lambda audit=audit: CALLS[call](audit), handler)
                assert audit._closed or not reached
                audit.close()
                taken += reached and not problems and audit.stats().refused == 0
                number += 7
            assert taken or call == "close"

        ends(everywhere)


def test_what_a_handler_emitted_is_appended_though_it_raises_then(audit_log: AuditLog) -> None:
    """As `emit` and `sys.exit` in the handler of SIGTERM do."""
    memory = audit_log._transport
    assert isinstance(memory, MemoryTransport)

    def handler() -> None:
        audit_log.emit("user.user.exported")
        raise SystemExit

    number, ended, taken = 1, True, 0
    while ended:
        memory.clear()
        ended = False
        try:
            broken_into(number, lambda: audit_log.emit("user.login_succeeded"), handler)
        except SystemExit:
            ended = True
            taken += memory.actions.count("user.user.exported") == 1
        number += 1
    assert taken == number - 2 > 5


def in_the_middle(audit: AuditLog, monkeypatch: pytest.MonkeyPatch, handler: Callable[[], Any]) -> Event | None:
    """Emit, with the handler while it holds the AuditLog's lock."""
    real = identity.new_event_id

    def once(moment: int) -> str:
        if audit._lock.locked():
            monkeypatch.setattr(identity, "new_event_id", real)
            handler()
        return real(moment)

    monkeypatch.setattr(identity, "new_event_id", once)
    return audit.emit("user.login_succeeded")


def test_a_wrong_event_is_the_handler_s_own_error(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def handler() -> None:
        with pytest.raises(InvalidEvent, match="nothing"):
            audit_log.emit("user.login_succeeded", nothing=1)
        with pytest.raises(LimitExceeded, match="bytes of JSON"):
            audit_log.emit("user.login_succeeded", details={str(n): "x" * 8000 for n in range(40)})
        with pytest.raises(SpoolError, match="signal handler"):
            audit_log.append_built({}, 0)
        with pytest.raises(SpoolError, match="signal handler"):
            audit_log.append_sealed({})

    assert in_the_middle(audit_log, monkeypatch, handler) is not None
    assert audit_log.stats().refused == 2


def test_after_a_close_nothing_is_taken(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is not closed yet."""

    def handler() -> None:
        audit_log.close()
        with pytest.raises(SpoolError, match="closed"):
            audit_log.emit("user.user.exported")

    assert in_the_middle(audit_log, monkeypatch, handler) is not None
    assert audit_log._closed


def test_what_the_spool_refuses_later_is_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the failure policy: the event that was broken into is taken, and its emit must not say otherwise."""

    class Full(MemoryTransport):
        def append(self, event: Event, document: dict[str, object], moment: int) -> int:
            if event.event.action == "user.user.exported":
                raise SpoolError("the disk is full")
            return super().append(event, document, moment)

    with AuditLog("tests", transport=Full()) as audit, caplog.at_level(logging.ERROR):
        event = in_the_middle(audit, monkeypatch, lambda: audit.emit("user.user.exported"))
        assert event is not None
        assert audit.stats().refused == 1
        assert "user.user.exported: the disk is full" in caplog.text


def test_real_signals_in_the_main_thread(tmp_path: Path) -> None:
    """Hundreds of them, a few milliseconds apart; the last one closes and exits."""
    code = """
        import signal, sys, time
        from auditpipe.emitters import AuditLog
        audit = AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1])
        signals, emitted = 0, 0
        def handler(*_):
            global signals
            signals += 1
            audit.emit("user.user.exported")
            if time.monotonic() > end:
                audit.close(20)
                print(signals, emitted, flush=True)
                sys.exit()
            signal.setitimer(signal.ITIMER_REAL, 0.0031)
        signal.signal(signal.SIGALRM, handler)
        end = time.monotonic() + 1.5
        signal.setitimer(signal.ITIMER_REAL, 0.0031)
        while True:
            audit.emit("user.login_succeeded")
            emitted += 1
    """
    with Peer() as peer:
        child = run(code, str(tmp_path), peer.address)
        try:
            signals, emitted = map(int, child.communicate(timeout=HANGS)[0].split())
        finally:
            child.kill()
        assert child.returncode == 0
        actions = [record["event"]["action"] for record in peer.records]
        assert actions.count("user.user.exported") == signals
        assert actions.count("user.login_succeeded") - emitted in (0, 1)  # the last may have been on its way
        assert actions[-1] == STREAM_CLOSED
        check_streams(peer.records)
