"""A spool on a terminal: folders as a table, events as lines."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from auditpipe.cli import terminal
from auditpipe.pipeline.tabular import field
from auditpipe.pipeline.visible import pad, printable, width
from auditpipe.schemas.identity import SECOND, format_time

if TYPE_CHECKING:
    from auditpipe.emitters.spool.archive import Entry
    from auditpipe.emitters.spool.summary import Summary

_TITLES = ("folder", "state", "waiting", "bytes", "oldest waiting (UTC)", "kept", "bytes", "newest (UTC)", "damaged")
_COLUMNS = (
    *("folder", "state", "waiting_events", "waiting_bytes", "oldest_waiting"),
    *("kept_events", "kept_bytes", "newest", "damaged_bytes"),
)
_NUMBERS = {2, 3, 5, 6, 8}
_COLOURS = {"left": "red", "unreadable": "red", "being sent": "yellow"}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def row(summary: "Summary") -> dict[str, Any]:
    """One folder as JSON has it."""
    waiting, kept = summary.waiting, summary.kept
    return {
        "folder": summary.folder.name,
        "state": summary.state.value,
        "waiting_events": waiting.events,
        "waiting_bytes": waiting.bytes,
        "oldest_waiting": _time(waiting.oldest),
        "kept_events": kept.events,
        "kept_bytes": kept.bytes,
        "oldest": _time(min((moment for moment in (waiting.oldest, kept.oldest) if moment is not None), default=None)),
        "newest": _time(max((moment for moment in (waiting.newest, kept.newest) if moment is not None), default=None)),
        "damaged_bytes": summary.damaged_bytes,
        "cut_short_bytes": summary.cut_short_bytes,
        "problem": summary.problem,
    }


def table(summaries: "Sequence[Summary]") -> Iterator[str]:
    """A header and a line a folder."""
    rows = [_cells(row(summary)) for summary in summaries]
    widths = [max(width(line[i]) for line in [_TITLES, *rows]) for i in range(len(_TITLES))]
    yield terminal.coloured(_joined(_TITLES, widths), bold=True) + "\n"
    for cells in rows:
        yield terminal.coloured(_joined(cells, widths), _COLOURS.get(cells[1])) + "\n"


def describe(summaries: "Sequence[Summary]") -> str:
    """All folders in one sentence."""
    if not summaries:
        return "nothing is here"
    waiting = sum(summary.waiting.events for summary in summaries)
    kept = sum(summary.kept.events for summary in summaries)
    oldest = min((s.waiting.oldest for s in summaries if s.waiting.oldest is not None), default=None)
    since = "" if oldest is None else f", the oldest for {age(time.time_ns() - oldest)}"
    return f"{waiting:,} events wait{since}; {kept:,} are acknowledged and kept"


def age(nanoseconds: int) -> str:
    """`3 h`, `12 min`: in the largest unit that fits, rounded down."""
    seconds = max(nanoseconds, 0) // SECOND
    name, size = next(((name, size) for name, size in _UNITS if seconds >= size), ("s", 1))
    return f"{seconds // size} {name}"


def text_line(entry: "Entry", document: dict[str, Any]) -> str:
    """id, time, action, stream/sequence, and whether it is acknowledged."""
    stream, sequence = field(document, "audit.stream"), field(document, "audit.sequence")
    cells = (
        pad(printable(str(field(document, "event.id"))), 36),
        format_time(entry.time)[:19].replace("T", " "),
        pad(printable(str(field(document, "event.action"))), 36),
        printable(f"{stream}/{sequence}"),
        "acknowledged" if entry.acknowledged else "waiting",
    )
    return "  ".join(cells) + "\n"


def _cells(shown: dict[str, Any]) -> list[str]:
    return [_cell(shown[name]) for name in _COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = printable(str(value or "-"))
    return text[:19].replace("T", " ") if text.endswith("Z") else text


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    filled = (
        cell.rjust(size) if i in _NUMBERS else pad(cell, size)
        for i, (cell, size) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(filled).rstrip()


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_time(moment)
