"""What retention would do with a month."""

from typing import Any

import pytest

from auditpipe.pipeline.retention.months import Fate, Month, check_clock, check_keep, month_of_index, to_remove
from auditpipe.schemas.errors import Finding, NotFinished, UsageError
from auditpipe.schemas.identity import parse_time
from auditpipe.schemas.records import MonthRemoved

NOW = parse_time("2026-11-28T10:00:00Z")
REMOVED = MonthRemoved.model_validate({"@timestamp": "2026-11-01T00:00:00Z", "record": "r", "month": "2025-10"})


@pytest.mark.parametrize(
    ("month", "keep", "fate"),
    [
        ("2026-11", 1, Fate.STAYS),
        ("2026-10", 1, Fate.STAYS),
        ("2026-09", 1, Fate.REMOVE),
        ("2027-01", 1, Fate.STAYS),
        ("2025-11", 12, Fate.STAYS),
        ("2025-10", 12, Fate.REMOVE),
        ("1970-01", 12, Fate.REMOVE),
    ],
)
def test_this_month_and_those_kept_before_it_stay(month: str, keep: int, fate: Fate) -> None:
    assert Month(month, events=5).fate(keep, NOW) is fate


@pytest.mark.parametrize(
    ("about", "fate"),
    [
        ({"events": 5, "kept": 2}, Fate.REMOVE_PART),
        ({"events": 5, "kept": 5}, Fate.HELD),
        ({"events": 2, "kept": 2, "removed": REMOVED, "blocked": True}, Fate.HELD),
        ({"events": 2, "kept": 2, "removed": REMOVED, "blocked": False}, Fate.REMOVE_PART),
        ({"exists": False, "removed": REMOVED}, Fate.GONE),
        ({"events": 0}, Fate.REMOVE),
    ],
)
def test_what_is_held_stays_and_what_was_interrupted_is_finished(about: dict[str, Any], fate: Fate) -> None:
    assert Month("2025-10", **about).fate(12, NOW) is fate


def test_a_closed_month_stops_it_before_anything_is_removed() -> None:
    months = [Month("2025-09", events=1), Month("2025-10", closed=True), Month("2026-10", closed=True)]
    with pytest.raises(Finding, match=r"audit-events-2025\.10 closed"):
        to_remove(months, 12, NOW)
    assert to_remove(months[:1], 12, NOW) == months[:1]


def test_at_least_one_month_is_kept() -> None:
    for keep in (0, -1):
        with pytest.raises(UsageError, match="expected 1 or more"):
            check_keep(keep)


@pytest.mark.parametrize("name", ["audit-events-2026.13", "audit-events-x", "audit-events-2026.1", "audit-records"])
def test_an_index_of_another_name_is_no_month(name: str) -> None:
    assert month_of_index(name) is None
    assert month_of_index("audit-events-2026.01") == "2026-01"


@pytest.mark.opensearch
def test_by_a_clock_that_is_not_the_nodes_nothing_is_old(opensearch: Any) -> None:
    check_clock(opensearch.client())
    with pytest.raises(NotFinished, match="clocks"):
        check_clock(opensearch.client(), lambda: parse_time("2036-01-01T00:00:00Z"))
