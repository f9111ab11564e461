"""What one stored event shows by itself: its place in its stream, and whether its hash, form, id and place hold.

A row is an event reduced to what its place and its proof are. Nothing is opened here.
"""

import hashlib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from auditpipe.pipeline.tabular import UNREADABLE, text_at
from auditpipe.pipeline.tabular import field as value_of
from auditpipe.pipeline.verify.form import Form, Misfit
from auditpipe.schemas.canonical import hashed_bytes
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.identity import LATEST_NS, MILLISECOND, format_time, index_of, milliseconds_of, parse_time

Kind = Literal[
    "altered",  # audit.hash is not the hash of the event
    "unlinked",  # an event without stream, number, previous or hash
    "misfit",  # its hash holds, and it does not fit the schema or the catalogue that was named
    "gap",  # numbers are missing
    "double",  # a number twice
    "broken_link",  # audit.previous is not the hash of the event before
    "overwritten",  # _version above 1
    "wrong_id",  # _id is not event.id, or event.id is not of @timestamp
    "wrong_index",  # not in the index of its month
    "repeated_key",  # a call with one audit.key arrived twice
    "reordered",  # not in the order that the file was written in
    "unreadable",  # a line that is no event; a stored document that can't be read
    "manifest",  # the file is not the one that its manifest is about
    "out_of_view",  # missing in a file, and by its manifest it need not be in it: the index can tell
    "record",  # a record of retention or of a hold that is not to be believed
    "removed",  # missing, and a signed record says that retention removed them
    "not_arrived",  # missing, but so young that it may still come
    "other_name",  # the manifest has another name for the file
    "after_closed",  # an event after the one that closed its stream
    "off_catalogue",  # not as the built-in catalogue has it: the application may have its own
    "other_schema",  # of a version of the envelope that is not known here
]

#: What is said without being a finding.
NOTES: frozenset[Kind] = frozenset(
    {"removed", "not_arrived", "other_name", "after_closed", "off_catalogue", "other_schema"}
)

Problem = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event. `problem` is what is wrong with it by itself, None where nothing is."""

    stream: str
    sequence: int
    event_id: str
    time: str
    previous: str
    own_hash: str
    problem: Problem | None = None
    closes: bool = False
    #: (organization, service, audit.key), where it has a key.
    key: tuple[str, str, str] | None = None
    #: What is to be noted of it and of all that are like it.
    aside: Misfit | None = None


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


def row_of(document: Mapping[str, Any], form: Form) -> Row | Flaw:
    """An event as a row; a Flaw where it has no place in a stream at all."""
    event, audit = _object(document.get("event")), _object(document.get("audit"))
    event_id, time = _text(event.get("id")), _text(document.get("@timestamp"))
    unreadable = text_at(document, UNREADABLE)
    stream, sequence = audit.get("stream"), audit.get("sequence")
    previous, own_hash = audit.get("previous"), audit.get("hash")
    number = sequence if isinstance(sequence, int) and not isinstance(sequence, bool) and 0 < sequence < 2**53 else None
    name = stream if isinstance(stream, str) and stream else None
    if name is None or number is None or not isinstance(previous, str) or not isinstance(own_hash, str):
        missing = "it has no valid audit.stream, audit.sequence, audit.previous and audit.hash"
        return Flaw("unlinked", unreadable or missing, name, number, event_id, time)
    size, problem = (0, ("unreadable", unreadable)) if unreadable else _hashed(document, own_hash)
    aside = None
    if problem is None:
        # Said of what is as it was written; what was altered is that, whatever it looks like now.
        problem, aside = _form_problem(form.misfit(document, size))
    return Row(
        stream=name,
        sequence=number,
        event_id=event_id,
        time=time,
        previous=previous,
        own_hash=own_hash,
        problem=problem or _time_problem(event_id, time, form.latest_ns),
        closes=event.get("action") == STREAM_CLOSED,
        key=_key(document, audit.get("key")),
        aside=aside,
    )


def placed(row: Row, *, index: str, doc_id: str, version: int) -> Row:
    """The row, with what is wrong with where it is stored, unless something is wrong with it already."""
    problem = row.problem or _place_problem(row, index, doc_id, version)
    return row if problem is row.problem else replace(row, problem=problem)


def nanoseconds(time: str) -> int:
    """Since 1970; 0 for what is no time."""
    try:
        return parse_time(time)
    except ValueError:
        return 0


def _hashed(document: Mapping[str, Any], own_hash: str) -> tuple[int, Problem | None]:
    """How many bytes the hash is of, and what is wrong with it."""
    try:
        data = hashed_bytes(document)
    except ValueError as error:
        return 0, ("altered", f"it holds a value that no event can hold: {error}")
    if hashlib.sha256(data).hexdigest() != own_hash:
        return len(data), ("altered", "its content does not have the hash that it carries")
    return len(data), None


def _form_problem(misfit: Misfit | None) -> tuple[Problem | None, Misfit | None]:
    if misfit is None or misfit.kind != "misfit":
        return None, misfit
    return (misfit.kind, misfit.detail), None


def _time_problem(event_id: str, time: str, latest_ns: int) -> Problem | None:
    try:
        ns = parse_time(time)
    except ValueError as error:
        return "misfit", f"@timestamp: {error}"
    if not 0 <= ns <= LATEST_NS:
        return "misfit", f"@timestamp: expected a time from 1970 to 2106, got {time!r}"
    if ns > latest_ns:
        return "misfit", f"@timestamp: expected at most a day ahead, up to {format_time(latest_ns)}, got {time!r}"
    try:
        milliseconds = milliseconds_of(event_id)
    except ValueError:
        return "wrong_id", f"event.id {event_id!r} is no UUIDv7"
    return None if milliseconds == ns // MILLISECOND else ("wrong_id", "event.id is not of @timestamp")


def _place_problem(row: Row, index: str, doc_id: str, version: int) -> Problem | None:
    if doc_id != row.event_id:
        return "wrong_id", f"stored under _id {doc_id!r}"
    if index != index_of(parse_time(row.time)):
        return "wrong_index", f"stored in {index}, belongs in {index_of(parse_time(row.time))}"
    return ("overwritten", f"its _version is {version}: it was written again") if version > 1 else None


def _key(document: Mapping[str, Any], key: object) -> tuple[str, str, str] | None:
    if not isinstance(key, str):
        return None
    return _text(value_of(document, "organization.id")), _text(value_of(document, "service.name")), key


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    """What should be a text, short where it is something else: a forged line may nest a thousand lists."""
    return value if isinstance(value, str) else reprlib.repr(value)
