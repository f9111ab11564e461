"""Whether anything was lost, doubled, altered or moved: the decision, on rows from wherever they come.

Rows come by stream and rising number; one stream is held at a time, so memory does not grow with the number of events.
What order an event has is said by its number and its link alone: neither by its time, which `occurred_at` sets, nor by
when it arrived. Nothing is opened here.

What it can't see (promise 4): a chain rewritten whole by the holder of the admin certificate, a cut-off tail, a stream
that is gone whole.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from auditpipe.pipeline.verify.event import NOTES, Flaw, Kind, Row, nanoseconds
from auditpipe.pipeline.verify.gap import gap
from auditpipe.pipeline.verify.removed import Removals
from auditpipe.pipeline.verify.view import View
from auditpipe.schemas.canonical import GENESIS

#: Hashes kept of events that claim one number: enough to tell which one the next is linked to.
_TWINS = 16


@dataclass(slots=True)
class Tally:
    """What was looked at, for the summary; filled while the rows go by."""

    events: int = 0
    streams: int = 0
    #: The rest of the streams may go on outside of the view.
    closed_streams: int = 0
    open_streams: int = 0
    abandoned_streams: int = 0
    #: Events whose own hash does not hold, or is not there.
    unhashed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def findings(self) -> int:
        """All but the notes."""
        return sum(number for kind, number in self.kinds.items() if kind not in NOTES)

    def note(self, flaw: Flaw) -> Flaw:
        """Count it, and hand it on."""
        self.kinds[flaw.kind] += 1
        if flaw.kind == "unlinked":
            self.count(hashed=False)
        return flaw

    def count(self, *, hashed: bool) -> None:
        """Count an event."""
        self.events += 1
        self.unhashed += not hashed


Verdict = Literal["sound", "findings", "ask the index", "not finished", "hash only", "not verifiable", "empty"]


def verdict(tally: Tally, view: View) -> Verdict:
    """What may be said at the end. Only a whole view without any doubt is "sound"."""
    if tally.events and tally.unhashed == tally.events:
        # One event altered is a finding; every single one is what a masked or cut view of the data looks like, too.
        return "not verifiable"
    if tally.findings:
        return "findings" if tally.findings > tally.kinds["out_of_view"] else "ask the index"
    if not tally.events:
        return "empty"
    if not view.whole:
        return "hash only"
    return "not finished" if tally.kinds["not_arrived"] else "sound"


def check(rows: Iterable[Row | Flaw], view: View, tally: Tally) -> Iterator[Flaw]:
    """Findings and notes, stream by stream. Rows must come by stream and rising number; flaws pass through."""
    walk = _Walk(view, tally)
    for row in rows:
        if isinstance(row, Flaw):
            yield tally.note(row)
            continue
        tally.count(hashed=row.problem is None or row.problem[0] not in ("altered", "unreadable"))
        for other in walk.between(row):
            yield from map(tally.note, [other] if isinstance(other, Flaw) else walk.step(other))
        yield from map(tally.note, walk.step(row))
    walk.end_stream()
    yield from map(tally.note, walk.removals.notes())


class _Walk:
    """Where the walk along a stream is: its last row, the hashes that this number has, and those before it."""

    def __init__(self, view: View, tally: Tally) -> None:
        self._view = view
        self._tally = tally
        self._last: Row | None = None
        self._hashes: tuple[str, ...] = ()
        #: What the last row may follow; None where the number before it is missing.
        self._before: tuple[str, ...] | None = None
        self.removals = Removals()

    def between(self, row: Row) -> Iterable[Row | Flaw]:
        """What the view leaves out between the last row and this one, if it is stored elsewhere."""
        first = self._expected(row)
        if not self._view.elsewhere or first is None or row.sequence <= first:
            return ()
        return self._view.elsewhere(row.stream, first, row.sequence - 1)

    def step(self, row: Row) -> Iterator[Flaw]:
        """What is wrong with this row, and between it and the last one."""
        if row.problem is not None:
            yield _at(row, *row.problem)
        last = self._last if self._last is not None and self._last.stream == row.stream else None
        if last is not None and last.sequence == row.sequence:
            yield from self._twin(last, row)
            return
        self._before = self._hashes if last is not None else (GENESIS,)
        if row.sequence > (1 if last is None else last.sequence + 1):
            first = self._expected(row)
            before, self._before = self._before, None
            if first is not None:
                yield from self._missing(last, row, first, before)
        yield from self._link(row)
        if last is None:
            self.end_stream()
            self._tally.streams += 1
        elif last.closes:
            yield _at(row, "after_closed", f"its stream was closed before it, by number {last.sequence}")
        self._last, self._hashes = row, (row.own_hash,)

    def _missing(self, last: Row | None, row: Row, first: int, linked: tuple[str, ...] | None) -> Iterator[Flaw]:
        """The numbers from `first` up to the row: those that retention removed by its record, and those that are lost.

        `linked`: the hashes that number `first` may be linked to.
        """
        parts = self._view.removed(row.stream, first, row.sequence - 1) if self._view.removed else ()
        for part in parts:
            if part.last < first:
                continue  # of two records about the same numbers
            if part.first > first:
                yield gap(last, row, first, self._view, part.first - 1)
            elif part.first == first and linked is not None and part.previous not in linked:
                yield _at(
                    row, "broken_link", f"number {first}, which retention removed, is not linked to the one before"
                )
            self.removals.add(part, row, max(first, part.first), min(part.last, row.sequence - 1))
            first, linked = part.last + 1, (part.hash,)
        if first < row.sequence:
            yield gap(last, row, first, self._view)
        elif first == row.sequence:
            self._before = linked

    def end_stream(self) -> None:
        """Count what the stream of the last row is."""
        if self._last is None:
            return
        state = _state(self._last, self._view)
        self._tally.closed_streams += state == "closed"
        self._tally.open_streams += state == "open"
        self._tally.abandoned_streams += state == "abandoned"

    def _expected(self, row: Row) -> int | None:
        """The number that has to come here; None where the view does not tell."""
        if not self._view.whole:
            return None
        if self._last is not None and self._last.stream == row.stream:
            return self._last.sequence + 1
        return 1 if self._view.begins_within(row.stream) else None

    def _twin(self, last: Row, row: Row) -> Iterator[Flaw]:
        what = "the same event" if row.own_hash in self._hashes else f"event {last.event_id} has it too"
        yield _at(row, "double", f"number {row.sequence} is there again: {what}")
        if self._before is not None:
            yield from self._link(row)
        if row.own_hash not in self._hashes and len(self._hashes) < _TWINS:
            self._hashes += (row.own_hash,)

    def _link(self, row: Row) -> Iterator[Flaw]:
        if self._before is not None and row.previous not in self._before:
            whose = "64 zeros, as for the first" if row.sequence == 1 else f"the hash of number {row.sequence - 1}"
            yield _at(row, "broken_link", f"audit.previous is not {whose}")


def _state(last: Row, view: View) -> Literal["closed", "open", "abandoned"] | None:
    """What a stream is by its last row in the view; None where it may go on outside of it."""
    if last.closes:
        return "closed"
    if view.until or not view.whole:
        return None
    lives = view.lives(last.stream) if view.lives else None
    if lives is None:
        lives = view.abandoned_ns is None or nanoseconds(last.time) >= view.abandoned_ns
    return "open" if lives else "abandoned"


def _at(row: Row, kind: Kind, detail: str) -> Flaw:
    return Flaw(kind, detail, row.stream, row.sequence, row.event_id, row.time)
