"""What is said of missing numbers."""

from typing import Any

from auditpipe.pipeline.verify.event import Row
from auditpipe.pipeline.verify.gap import gap
from auditpipe.pipeline.verify.view import View
from auditpipe.schemas.identity import new_event_id, parse_time

SEPTEMBER, OCTOBER, NOVEMBER = (f"2026-{month}-15T10:00:00Z" for month in ("09", "10", "11"))


def row(sequence: int, time: str, stream: str = "s") -> Row:
    return Row(stream, sequence, new_event_id(parse_time(OCTOBER)), time, "0" * 64, "1" * 64)


def said(before: Row | None, after: Row, **view: Any) -> str:
    first = 1 if before is None else before.sequence + 1
    return gap(before, after, first, View(**view)).detail


def test_the_month_is_that_of_the_neighbours() -> None:
    assert said(row(1, OCTOBER), row(3, OCTOBER)) == (
        "number 2 before it: missing; by their neighbours' times of 2026-10"
    )
    assert said(row(1, SEPTEMBER), row(5, NOVEMBER)).endswith("of 2026-09 to 2026-11")
    assert said(row(1, NOVEMBER), row(5, SEPTEMBER)).endswith("of 2026-09 to 2026-11")


def test_the_begin_of_a_stream_is_told_by_its_id_or_not_at_all() -> None:
    began = new_event_id(parse_time(SEPTEMBER))
    assert said(None, row(5, OCTOBER, began)).endswith("by their neighbours' times of 2026-09 to 2026-10")
    assert said(None, row(5, OCTOBER)).endswith("by its neighbour's time of 2026-10 or earlier")


def test_what_has_no_time_has_no_month() -> None:
    assert said(None, row(5, "garbage")) == "numbers 1 to 4 (4 events) before it: missing"
    assert said(row(1, "garbage"), row(3, OCTOBER)).endswith("by their neighbours' times of 2026-10")


def test_a_month_of_which_nothing_is_stored_is_named() -> None:
    """Removed as a whole is not the same as lost in the middle."""

    def months() -> frozenset[str]:
        return frozenset({"audit-events-2026.10", "audit-events-2026.11"})

    whole = said(row(1, SEPTEMBER), row(5, OCTOBER), months=months)
    assert whole.endswith("; nothing at all is stored of 2026-09: removed as a whole, or never kept")
    assert "nothing at all" not in said(row(1, OCTOBER), row(5, NOVEMBER), months=months)
    backfill = said(row(1, "2026-01-01T00:00:00Z"), row(5, OCTOBER), months=months)
    assert "of 2026-01, 2026-02, 2026-03 and 6 more months: removed" in backfill


def test_what_the_spool_still_holds_is_named_with_the_command_that_sends_it_again() -> None:
    asked: list[tuple[str, int, int]] = []

    def held(stream: str, first: int, last: int) -> int:
        asked.append((stream, first, last))
        return 2

    assert said(row(1, OCTOBER), row(5, OCTOBER), held=held).endswith(
        "; 2 of them are still in the spool of this machine: auditpipe spool replay --stream s --from 2 --to 4"
    )
    assert said(row(1, OCTOBER), row(3, OCTOBER), held=held).endswith(
        "; it is still in the spool of this machine: auditpipe spool replay --stream s --from 2 --to 2"
    )
    assert asked == [("s", 2, 4), ("s", 2, 2)]
    assert "spool" not in said(row(1, OCTOBER), row(5, OCTOBER), held=lambda *_: 0)


def test_a_forged_stream_gives_no_command_of_its_own() -> None:
    """The command is there to be copied into a shell."""
    forged = row(3, OCTOBER, "x; rm -rf ~")
    assert "--stream 'x; rm -rf ~' --from 1 --to 2" in said(None, forged, held=lambda *_: 1)


def test_the_command_for_the_index_stays_at_the_end() -> None:
    text = said(row(1, OCTOBER), row(3, OCTOBER), held=lambda *_: 1, is_file=True, is_range=True)
    assert "still in the spool" in text
    assert text.endswith(
        "; ask the index: auditpipe verify --since 2026-10-15T10:00:00.000000Z --until 2026-10-15T10:00:00.000001Z"
    )
