"""Whether anything was lost, doubled, altered or moved: the decision, on rows from wherever they come.

A row is one stored event, reduced to what its place and its proof are. Rows come by stream and rising number; one
stream is held at a time, so memory does not grow with the number of events. Nothing is opened here.

What it can't see (promise 4): a chain rewritten whole by the holder of the admin certificate, a cut-off tail, a stream
that is gone whole.
"""

import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from auditpipe.pipeline.tabular import field as value_of
from auditpipe.schemas.canonical import GENESIS, document_hash
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.identity import (
    LATEST_NS,
    MICROSECOND,
    MILLISECOND,
    SECOND,
    format_time,
    index_of,
    is_event_id,
    milliseconds_of,
    parse_time,
)

Kind = Literal[
    "altered",  # audit.hash is not the hash of the event
    "unlinked",  # an event without stream, number, previous or hash
    "gap",  # numbers are missing
    "double",  # a number twice
    "broken_link",  # audit.previous is not the hash of the event before
    "overwritten",  # _version above 1
    "wrong_id",  # _id is not event.id, or event.id is not of @timestamp
    "wrong_index",  # not in the index of its month
    "repeated_key",  # a call with one audit.key arrived twice
    "reordered",  # not in the order that the file was written in
    "unreadable",  # a line that is no event
    "manifest",  # the file is not the one that its manifest is about
    "out_of_view",  # missing in a file, and by its manifest it need not be in it: the index can tell
    "not_arrived",  # missing, but so young that it may still come
    "other_name",  # the manifest has another name for the file
]

#: What is said without being a finding.
NOTES: frozenset[Kind] = frozenset({"not_arrived", "other_name"})


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event. `problem` is what is wrong with it by itself, None where nothing is."""

    stream: str
    sequence: int
    event_id: str
    time: str
    previous: str
    own_hash: str
    problem: tuple[Kind, str] | None = None
    closes: bool = False
    #: (organization, service, audit.key), where it has a key.
    key: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Flaw:
    """A finding, or a note (see NOTES), and where."""

    kind: Kind
    detail: str
    stream: str | None = None
    sequence: int | None = None
    event_id: str | None = None
    time: str | None = None

    @property
    def is_note(self) -> bool:
        """Whether it is no finding."""
        return self.kind in NOTES


@dataclass(slots=True)
class Tally:
    """What was looked at, for the summary; filled while the rows go by."""

    events: int = 0
    streams: int = 0
    open_streams: int = 0
    #: Events whose own hash does not hold.
    unhashed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def findings(self) -> int:
        """All but the notes."""
        return sum(number for kind, number in self.kinds.items() if kind not in NOTES)

    def note(self, flaw: Flaw) -> Flaw:
        """Count it, and hand it on."""
        self.kinds[flaw.kind] += 1
        return flaw


@dataclass(frozen=True, slots=True)
class View:
    """What the rows are a view of, which decides what a missing number means."""

    #: False where a filter drops events out of the middle of a stream: gaps then mean nothing.
    whole: bool = True
    #: Whether a stream may begin or end outside the view (a range of time).
    since: bool = False
    #: Events younger than this moment (nanoseconds since 1970) may have neighbours that are on their way.
    settled_ns: int | None = None
    #: Says how many of the numbers first..last of a stream are stored outside of the view.
    stored_elsewhere: Callable[[str, int, int], int] | None = None
    #: A file: what is missing in it will not come, and can't be looked up.
    is_file: bool = False
    #: A file of a range of time, from whose middle an event of another time may be missing.
    is_range: bool = False


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


def row_of(document: Mapping[str, Any]) -> Row | Flaw:
    """An event as a row; a Flaw where it has no place in a stream at all."""
    event_id, time = _text(value_of(document, "event.id")), _text(value_of(document, "@timestamp"))
    audit = document.get("audit")
    audit = audit if isinstance(audit, Mapping) else {}
    stream, sequence = audit.get("stream"), audit.get("sequence")
    previous, own_hash = audit.get("previous"), audit.get("hash")
    number = sequence if isinstance(sequence, int) and not isinstance(sequence, bool) and 0 < sequence < 2**53 else None
    name = stream if isinstance(stream, str) and stream else None
    if name is None or number is None or not isinstance(previous, str) or not isinstance(own_hash, str):
        missing = "it has no valid audit.stream, audit.sequence, audit.previous and audit.hash"
        return Flaw("unlinked", missing, name, number, event_id, time)
    return Row(
        stream=name,
        sequence=number,
        event_id=event_id,
        time=time,
        previous=previous,
        own_hash=own_hash,
        problem=_hash_problem(document, own_hash) or _time_problem(event_id, time),
        closes=value_of(document, "event.action") == STREAM_CLOSED,
        key=_key(document, audit.get("key")),
    )


def placed(row: Row, *, index: str, doc_id: str, version: int) -> Row:
    """The row, with what is wrong with where it is stored, unless something is wrong with it already."""
    problem = row.problem or _place_problem(row, index, doc_id, version)
    return row if problem is row.problem else _with_problem(row, problem)


def check(rows: Iterable[Row | Flaw], view: View, tally: Tally) -> Iterator[Flaw]:
    """Findings and notes, stream by stream. Rows must come by stream and rising number; flaws pass through."""
    before: Row | None = None
    for row in rows:
        if isinstance(row, Flaw):
            yield tally.note(row)
            continue
        new_stream = before is None or before.stream != row.stream
        if new_stream:
            tally.streams += 1
            tally.open_streams += before is not None and not before.closes
        tally.events += 1
        tally.unhashed += row.problem is not None and row.problem[0] == "altered"
        for flaw in _flaws(None if new_stream else before, row, view):
            yield tally.note(flaw)
        before = row
    tally.open_streams += before is not None and not before.closes


def _flaws(before: Row | None, row: Row, view: View) -> Iterator[Flaw]:
    if row.problem is not None:
        yield _at(row, *row.problem)
    if before is not None and before.sequence == row.sequence:
        yield _at(row, "double", f"number {row.sequence} is there again: event {before.event_id} has it too")
        return
    expected = 1 if before is None else before.sequence + 1
    if row.sequence > expected:
        yield from _gap(before, row, expected, view)
    elif row.previous != (GENESIS if before is None else before.own_hash):
        whose = "64 zeros, as for the first" if before is None else f"the hash of number {before.sequence}"
        yield _at(row, "broken_link", f"audit.previous is not {whose}")


def _gap(before: Row | None, row: Row, first: int, view: View) -> Iterator[Flaw]:
    if not view.whole or (before is None and view.since):
        return
    last = row.sequence - 1
    missing = last - first + 1
    span = f"number {first}" if missing == 1 else f"numbers {first} to {last} ({missing} events)"
    elsewhere = view.stored_elsewhere(row.stream, first, last) if view.stored_elsewhere else 0
    if elsewhere >= missing:
        return
    if elsewhere:
        span = f"{missing - elsewhere} of {span}"
    young = view.settled_ns is not None and _nanoseconds(row.time) >= view.settled_ns
    if view.is_file and (young or view.is_range):
        why = "the file was written when they may have been on their way" if young else "they may be of another time"
        ask = f"ask the index: {_command(before, row)}"
        yield _at(row, "out_of_view", f"{span} before it: not in this file; by its manifest {why}; {ask}")
    elif young:
        yield _at(row, "not_arrived", f"{span} before it: not there yet, but young enough to be on the way")
    else:
        yield _at(row, "gap", f"{span} before it: missing")


def _command(before: Row | None, row: Row) -> str:
    """The command that looks at both sides of a gap; without --since if there is only one side."""
    times = [_nanoseconds(side.time) for side in (before, row) if side is not None]
    if not all(0 < ns < LATEST_NS for ns in times):
        return "auditpipe verify"
    since = f"--since {format_time(min(times))} " if before else ""
    return f"auditpipe verify {since}--until {format_time(min(max(times) + MICROSECOND, LATEST_NS))}"


def _at(row: Row, kind: Kind, detail: str) -> Flaw:
    return Flaw(kind, detail, row.stream, row.sequence, row.event_id, row.time)


def _hash_problem(document: Mapping[str, Any], own_hash: str) -> tuple[Kind, str] | None:
    try:
        computed = document_hash(document)
    except ValueError as error:
        return "altered", f"it holds a value that no event can hold: {error}"
    return None if computed == own_hash else ("altered", "its content does not have the hash that it carries")


def _time_problem(event_id: str, time: str) -> tuple[Kind, str] | None:
    if not is_event_id(event_id):
        return "wrong_id", f"event.id {event_id!r} is no UUIDv7"
    try:
        ns = parse_time(time)
    except ValueError:
        return "altered", f"@timestamp {time!r} is no time"
    return None if milliseconds_of(event_id) == ns // MILLISECOND else ("wrong_id", "event.id is not of @timestamp")


def _place_problem(row: Row, index: str, doc_id: str, version: int) -> tuple[Kind, str] | None:
    if doc_id != row.event_id:
        return "wrong_id", f"stored under _id {doc_id!r}"
    if index != index_of(parse_time(row.time)):
        return "wrong_index", f"stored in {index}, belongs in {index_of(parse_time(row.time))}"
    return ("overwritten", f"its _version is {version}: it was written again") if version > 1 else None


def _with_problem(row: Row, problem: tuple[Kind, str] | None) -> Row:
    return Row(
        row.stream, row.sequence, row.event_id, row.time, row.previous, row.own_hash, problem, row.closes, row.key
    )


def _key(document: Mapping[str, Any], key: object) -> tuple[str, str, str] | None:
    if not isinstance(key, str):
        return None
    return _text(value_of(document, "organization.id")), _text(value_of(document, "service.name")), key


def _text(value: object) -> str:
    """What should be a text, short where it is something else: a forged line may nest a thousand lists."""
    return value if isinstance(value, str) else reprlib.repr(value)


def _nanoseconds(time: str) -> int:
    try:
        return parse_time(time)
    except ValueError:
        return 0


def settled_before(now_ns: int, grace_seconds: float) -> int:
    """Events younger than this (nanoseconds since 1970) may have neighbours that are still on their way."""
    return now_ns - int(grace_seconds * SECOND)
