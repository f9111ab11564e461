"""Which streams of a spool go on."""

from pathlib import Path

import pytest

from auditpipe.emitters.spool import living
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.errors import SpoolError
from tests.emitters.test_archive import event, folder_of
from tests.emitters.test_delivery import log_to, unused_address
from tests.waiting import until


def test_a_stream_goes_on_while_the_process_that_writes_it_lives(tmp_path: Path) -> None:
    folder_of(tmp_path, "dead", [event(1, "dead")])
    with log_to(unused_address(), tmp_path) as audit:
        emitted = audit.emit("user.user.exported")
        assert emitted is not None
        # For an instant between its two locks, who sends what the dead one left is taken for its owner.
        until(lambda: living.streams(tmp_path) == {"dead": False, emitted.audit.stream: True})


@pytest.mark.parametrize(("acknowledged", "goes_on"), [(1, True), (2, False)])
def test_a_stream_whose_end_still_waits_goes_on(tmp_path: Path, acknowledged: int, goes_on: bool) -> None:
    """Its end was not seen by anyone yet: it is on its way."""
    end = event(2, event={"action": STREAM_CLOSED})
    folder_of(tmp_path, "dead", [event(1), end], acknowledged)
    assert living.streams(tmp_path) == {"s1": goes_on}


def test_what_is_no_event_tells_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, "dead", [event(1)[:9] + b"\xc0", event(1, stream=7), event(3)])  # type: ignore[arg-type]
    assert living.streams(tmp_path) == {"s1": False}
    assert living.streams(tmp_path / "absent") == {}


def test_a_spool_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="can't be read"):
        living.streams(tmp_path / "file")
