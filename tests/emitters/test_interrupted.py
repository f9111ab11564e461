"""A signal's handler that raises in the middle of `emit`, as Ctrl-C and servers' timeouts do."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from auditpipe.emitters.spool import archive, writer
from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, unused_address
from tests.emitters.test_kill import assert_linked


def interrupted_once(real: Callable[..., int], *, after: bool) -> Callable[..., int]:
    """The system call, with Ctrl-C before or after its first in this thread: the spool's own threads get none."""
    left = [KeyboardInterrupt()]
    here = threading.current_thread()

    def call(*arguments: object) -> int:
        if threading.current_thread() is not here:
            return real(*arguments)
        if left and not after:
            raise left.pop()
        result = real(*arguments)
        if left:
            raise left.pop()
        return result

    return call


@pytest.mark.parametrize("recent_bytes", [2_000, 10**6])
@pytest.mark.parametrize("after", [False, True])
def test_an_event_that_was_interrupted_is_there_or_not_and_the_next_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool, recent_bytes: int
) -> None:
    """Whether what is sent is read from memory or, having left it, from disk."""
    monkeypatch.setattr(writer, "RECENT_BYTES", recent_bytes)
    address = unused_address()
    with log_to(address, tmp_path) as audit:
        returned = [audit.emit("user.login_succeeded")]
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted_once(os.write, after=after))
            with pytest.raises(KeyboardInterrupt):
                audit.emit("user.login_succeeded")
        returned += [audit.emit("user.login_succeeded") for _ in range(20)]
        assert audit.stats().spooled == 21 + after
        assert_linked(entry.document for entry in archive.entries(tmp_path))
        with Peer(port=int(address.rpartition(":")[2])) as peer:
            assert audit.flush(120)
            assert [event.document() for event in returned if event] == [
                record for record in peer.records if record["event"]["id"] in {event.id for event in returned if event}
            ]
            assert len(peer.records) == 21 + after
            stats = audit.stats()
            assert (stats.spooled, stats.waiting_bytes, stats.damaged_bytes) == (0, 0, 0)


def test_a_segment_whose_making_was_interrupted_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 10)
    with Peer() as peer, log_to(peer, tmp_path) as audit:
        audit.emit("user.login_succeeded")
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", interrupted_once(os.open, after=True))
            with pytest.raises(KeyboardInterrupt):
                audit.emit("user.login_succeeded")
        event = audit.emit("user.login_succeeded")
        assert event is not None
        assert audit.flush(120)
        assert event.id in {record["event"]["id"] for record in peer.records}
