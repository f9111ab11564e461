"""What is about to be removed, as ranges of streams: enough to tell it from a loss, and to check the links across it.

Rows come by stream and rising number. A range ends where a number is missing or a link does not hold, so that what was
lost or altered before the removal stays a finding after it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from auditpipe.pipeline.tabular import field as value_of
from auditpipe.pipeline.verify.event import Flaw, Row, placed, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.schemas.errors import Finding
from auditpipe.schemas.event import Organization
from auditpipe.schemas.records import Range

#: Ranges in one record: about 50 kB.
BATCH = 200
#: Ranges in memory, of all organizations together.
_MOST_WAITING = 20_000


@dataclass(slots=True)
class Scanned:
    """What was seen: events, and those that `verify` would have found something wrong with, by its names."""

    events: int = 0
    flawed: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Open:
    """A range that may go on."""

    organization: str | None
    stream: str
    first: int
    last: int
    count: int
    previous: str
    hash: str

    def goes_on(self, organization: str | None, row: Row) -> bool:
        """Whether this row belongs to it: the next number, linked, or its last event once more."""
        if (self.organization, self.stream) != (organization, row.stream):
            return False
        return (row.sequence, row.previous) == (self.last + 1, self.hash) or (row.sequence, row.own_hash) == (
            self.last,
            self.hash,
        )


def ranges(hits: Iterable[Mapping[str, Any]], scanned: Scanned) -> Iterator[tuple[str | None, Range]]:
    """(organization, range) of events in the order of their streams. Finding for one that can't be read."""
    form, current = Form(None), None
    for hit in hits:
        if "_source" not in hit:
            raise Finding(f"{hit['_index']} keeps no documents: what is removed of it could not be recorded")
        row = _row(hit, form)
        scanned.events += 1
        if isinstance(row, Flaw):
            scanned.flawed[row.kind] += 1
            continue
        if row.problem is not None:
            scanned.flawed[row.problem[0]] += 1
        organization = _organization(hit["_source"])
        if current is not None and current.goes_on(organization, row):
            current.last, current.hash, current.count = row.sequence, row.own_hash, current.count + 1
            continue
        yield from _closed(current, scanned)
        one = row.sequence
        current = _Open(organization, row.stream, one, one, 1, row.previous, row.own_hash)
    yield from _closed(current, scanned)


def batches(
    found: Iterable[tuple[str | None, Range]], size: int = BATCH
) -> Iterator[tuple[str | None, tuple[Range, ...]]]:
    """(organization, ranges) with so many ranges each, in bounded memory."""
    waiting: dict[str | None, list[Range]] = {}
    total = 0
    for organization, one in found:
        waiting.setdefault(organization, []).append(one)
        total += 1
        largest = organization if total < _MOST_WAITING else max(waiting, key=lambda name: len(waiting[name]))
        if len(waiting[largest]) >= size or total >= _MOST_WAITING:
            full = waiting.pop(largest)
            total -= len(full)
            yield largest, tuple(full)
    for organization, rest in waiting.items():
        yield organization, tuple(rest)


def _row(hit: Mapping[str, Any], form: Form) -> Row | Flaw:
    row = row_of(hit["_source"], form)
    if isinstance(row, Flaw):
        return row
    return placed(row, index=hit["_index"], doc_id=hit["_id"], version=hit["_version"])


def _organization(document: Mapping[str, Any]) -> str | None:
    """None for what a record can't name either: no text, no Unicode, without end."""
    try:
        return Organization(id=value_of(document, "organization.id")).id
    except ValidationError:
        return None


def _closed(current: _Open | None, scanned: Scanned) -> Iterator[tuple[str | None, Range]]:
    if current is None:
        return
    names = ("stream", "first", "last", "count", "previous", "hash")
    try:
        yield current.organization, Range(**{name: getattr(current, name) for name in names})
    except ValidationError:
        # No emitter's: a hash of another form, a stream without end. A record can't name it.
        scanned.flawed["unlinked"] += current.count
