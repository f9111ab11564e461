"""What is said of missing numbers: lost, on their way or out of view, of which month, and where they still are."""

import shlex
from collections.abc import Iterator

from auditpipe.pipeline.verify.event import Flaw, Kind, Row, nanoseconds
from auditpipe.pipeline.verify.view import View
from auditpipe.schemas.identity import (
    INDEX_PREFIX,
    LATEST_NS,
    MICROSECOND,
    MILLISECOND,
    format_time,
    is_event_id,
    milliseconds_of,
    month_of,
)

_NAMED_MONTHS = 3


def gap(before: Row | None, row: Row, first: int, view: View, last: int | None = None) -> Flaw:
    """The flaw of the numbers from `first` to `last`, or up to `row`. `before`: the row before them, None for the
    stream's begin.
    """
    last = row.sequence - 1 if last is None else last
    count = last - first + 1
    span = f"number {first}" if count == 1 else f"numbers {first} to {last} ({count} events)"
    kind, why = _verdict(row, view)
    parts = [f"{span} before it: {why}"]
    if kind == "gap":
        parts += _months(before, row, view)
        if view.unrecorded:
            parts.append(f"whether retention removed them can't be told: {view.unrecorded}")
    if view.held and (held := view.held(row.stream, first, last)):
        which = "it is" if count == 1 else f"{held} of them are"
        again = f"auditpipe spool replay --stream {shlex.quote(row.stream)} --from {first} --to {last}"
        parts.append(f"{which} still in the spool of this machine: {again}")
    if kind == "out_of_view":
        parts.append(f"ask the index: {_command(before, row)}")
    return Flaw(kind, "; ".join(parts), row.stream, row.sequence, row.event_id, row.time)


def _verdict(row: Row, view: View) -> tuple[Kind, str]:
    young = view.settled_ns is not None and view.settled_ns <= nanoseconds(row.time) <= view.latest_ns
    if view.is_file and (young or view.is_range):
        why = "the file was written when they may have been on their way" if young else "they may be of another time"
        return "out_of_view", f"not in this file; by its manifest {why}"
    if view.is_file and view.unrecorded:
        return "out_of_view", f"not in this file; whether retention removed them can't be told: {view.unrecorded}"
    if young:
        return "not_arrived", "not there yet, but young enough to be on the way"
    return "gap", "missing"


def _months(before: Row | None, row: Row, view: View) -> Iterator[str]:
    """Of when they must have been, unless they were emitted for another time (`occurred_at`)."""
    moments = [ns for ns in (_begin(before, row), nanoseconds(row.time)) if 0 < ns <= LATEST_NS]
    if not moments:
        return
    first, last = month_of(min(moments)), month_of(max(moments))
    names = [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(_ordinal(first), _ordinal(last) + 1)]
    if before is None and len(moments) == 1:
        yield f"by its neighbour's time of {names[0]} or earlier"
    else:
        yield f"by their neighbours' times of {' to '.join(dict.fromkeys((names[0], names[-1])))}"
    stored = view.months() if view.months else None
    if stored is not None and (gone := [name for name in names if INDEX_PREFIX + name.replace("-", ".") not in stored]):
        more = f" and {len(gone) - _NAMED_MONTHS} more months" if len(gone) > _NAMED_MONTHS else ""
        yield f"nothing at all is stored of {', '.join(gone[:_NAMED_MONTHS])}{more}: removed as a whole, or never kept"


def _begin(before: Row | None, row: Row) -> int:
    """The earliest moment that they can be of, 0 where it is not known."""
    if before is not None:
        return nanoseconds(before.time)
    return milliseconds_of(row.stream) * MILLISECOND if is_event_id(row.stream) else 0


def _ordinal(month: tuple[int, int]) -> int:
    return month[0] * 12 + month[1] - 1


def _command(before: Row | None, row: Row) -> str:
    """The command that looks at both sides of a gap; without --since if there is only one side."""
    times = [nanoseconds(side.time) for side in (before, row) if side is not None]
    if not all(0 < ns < LATEST_NS for ns in times):
        return "auditpipe verify"
    since = f"--since {format_time(min(times))} " if before else ""
    return f"auditpipe verify {since}--until {format_time(min(max(times) + MICROSECOND, LATEST_NS))}"
