"""Time, id and index of an event."""

import sys
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.schemas import identity

moments = st.integers(0, identity.LATEST_NS)


@given(moments)
def test_a_time_survives_its_text(ns: int) -> None:
    assert identity.parse_time(identity.format_time(ns)) == ns


@given(moments)
def test_an_id_alone_names_the_index_of_its_time(ns: int) -> None:
    event_id = identity.new_event_id(ns)
    assert identity.is_event_id(event_id)
    assert identity.milliseconds_of(event_id) == ns // identity.MILLISECOND
    assert identity.index_of_id(event_id) == identity.index_of(ns)


@given(st.lists(moments, min_size=2, max_size=2, unique_by=lambda ns: ns // identity.MILLISECOND))
def test_ids_sort_as_their_milliseconds(pair: list[int]) -> None:
    ids = [identity.new_event_id(ns) for ns in sorted(pair)]
    assert ids == sorted(ids)


def test_the_last_nanosecond_of_a_month_stays_in_it() -> None:
    ns = identity.parse_time("2026-01-31T23:59:59.999999999Z")
    assert identity.index_of(ns) == "audit-events-2026.01"
    assert identity.index_of(ns + 1) == "audit-events-2026.02"
    assert identity.month_of(ns) == (2026, 1)


def test_a_zone_is_brought_to_utc() -> None:
    assert identity.format_time(identity.parse_time("2026-01-01T00:30:00+01:00")) == "2025-12-31T23:30:00.000000Z"
    moment = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    assert identity.format_time(identity.datetime_to_ns(moment)) == "2026-02-03T04:05:06.000789Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "yesterday",
        "",
        "2026-01-01T00:00:00.0000000001Z",
        "2026-06-30T23:59:60Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|month|day|leap second"):
        identity.parse_time(text)


def test_what_is_no_uuid7_is_refused() -> None:
    for text in ("", "x" * 36, "01A208D3-C3C1-7EF5-9109-90509916D72D", "01a208d3-c3c1-4ef5-9109-90509916d72d", None):
        assert not identity.is_event_id(text)
    with pytest.raises(ValueError, match="expected a UUIDv7"):
        identity.milliseconds_of("e1")


def test_no_two_threads_get_one_id() -> None:
    """Without a lock: a signal's handler may ask for one in the middle of another."""
    made: list[str] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: made.extend([identity.new_event_id(0) for _ in range(5000)]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(made)) == len(made) == 40_000
