"""From an entry to what the bulk request needs, or to the reason why OpenSearch will never take it.

These are the checks that a document's own error would otherwise answer, or that no error would: a record without an id
would be stored under a random one and doubled by the next resend, one with a time of another month would be
stored in another index and doubled by another shipper.
"""

import math
import re
from typing import Any, NamedTuple

import orjson

from auditpipe.pipeline.relay.protocol import Entry, decode
from auditpipe.schemas.identity import (
    LATEST_NS,
    MILLISECOND,
    format_time,
    index_of,
    milliseconds_of,
    parse_time,
)

#: Largest record that is decoded, in bytes of MessagePack. An emitter's events end at 256 kB; a MessagePack byte can
#: become 64 bytes of memory.
LARGEST_RECORD = 2**20

# The markers of a float that is NaN or infinite. They may also occur by chance across other values.
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]")


class Reason(NamedTuple):
    """Why an event was given up: one word for counting, a sentence for a person."""

    type: str
    detail: str


class Event(NamedTuple):
    """An event as OpenSearch gets it. `digest` is its `audit.hash`, if it has one."""

    id: str
    index_name: str
    digest: str | None
    document: bytes
    time: int
    tag: str

    @property
    def size(self) -> int:
        """Bytes that it takes in a bulk request."""
        return len(self.document) + 110

    def lines(self) -> bytes:
        """Its two lines of a bulk request."""
        # Neither id nor index can hold a character that JSON escapes.
        return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (
            self.index_name.encode("ascii"),
            self.id.encode("ascii"),
            self.document,
        )


class Refused(NamedTuple):
    """An event that no retry would bring in. `document` is its JSON if it has one, `packed` its exact MessagePack."""

    reason: Reason
    tag: str
    time: int | None
    id: str | None = None
    document: bytes | None = None
    packed: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return len(self.document or self.packed or b"")


def prepare(entry: Entry, tag: str) -> Event | Refused:
    """The event in an entry, checked."""
    record = _record(entry.packed)
    if isinstance(record, Reason):
        return Refused(record, tag, entry.time, packed=entry.packed)
    return prepare_record(record, entry.time, tag, entry.packed)


def prepare_record(record: dict[Any, Any], time: int | None, tag: str, packed: bytes | None = None) -> Event | Refused:
    """The event in a record, checked. `packed` is its MessagePack, if that is what came."""
    event_id = _event_id(record)
    checked = check(record, event_id, time)
    if isinstance(checked, Reason):
        return _refuse(checked, record, time, tag, event_id, packed)
    try:
        document = to_json(record, packed)
    except ValueError as error:
        reason = Reason("not_json", f"expected what JSON can hold: {error}")
        return _refuse(reason, record, time, tag, event_id, packed)
    audit = record.get("audit")
    digest = audit.get("hash") if isinstance(audit, dict) else None
    return Event(
        str(event_id),
        index_of(checked),
        digest if isinstance(digest, str) else None,
        document,
        checked if time is None else time,
        tag,
    )


def _refuse(
    reason: Reason, record: dict[Any, Any], time: int | None, tag: str, event_id: str | None, packed: bytes | None
) -> Refused:
    document = to_json(record) if packed is None else None
    return Refused(reason, tag, time, event_id, document, packed)


def check(record: dict[Any, Any], event_id: str | None, time: int | None) -> int | Reason:
    """The record's own time in nanoseconds, if its id, its time and the Forward time are there and agree."""
    try:
        milliseconds = milliseconds_of(event_id or "")
    except ValueError:
        return Reason("bad_id", f"expected event.id to be a UUIDv7 in lower case, got {_short(event_id)}")
    timestamp = record.get("@timestamp")
    if not isinstance(timestamp, str):
        return Reason("bad_time", f"expected @timestamp as an RFC 3339 string, got {_short(timestamp)}")
    try:
        own = parse_time(timestamp)
    except (ValueError, OverflowError):
        return Reason("bad_time", f"expected @timestamp as an RFC 3339 time with a zone, got {_short(timestamp)}")
    if not 0 <= own <= LATEST_NS:
        return Reason("bad_time", f"expected @timestamp from 1970 to 2106, got {_short(timestamp)}")
    if time is None or not 0 <= time <= LATEST_NS:
        return Reason("bad_time", "expected the Forward time as EventTime or seconds since 1970")
    # Mostly they are the same to the digit, and naming the index is what costs.
    if time != own and index_of(time) != index_of(own):
        return Reason("disagreeing_time", f"the Forward time {format_time(time)} is of another month than {timestamp}")
    by_id = milliseconds * MILLISECOND
    if milliseconds != own // MILLISECOND and (by_id > LATEST_NS or index_of(by_id) != index_of(own)):
        return Reason("disagreeing_id", f"event.id {event_id} is of another month than {timestamp}")
    return own


def _record(packed: bytes) -> dict[Any, Any] | Reason:
    if len(packed) > LARGEST_RECORD:
        return Reason("too_large", f"expected at most {LARGEST_RECORD} bytes, got {len(packed)}")
    try:
        record = decode(packed)
    except ValueError as error:
        return Reason("undecodable", f"expected a map with string keys: {error}")
    if not isinstance(record, dict):
        return Reason("not_a_map", f"expected a map with string keys, got {type(record).__name__}")
    return record


def _event_id(record: dict[Any, Any]) -> str | None:
    event = record.get("event")
    event_id = event.get("id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) else None


def to_json(record: dict[Any, Any], packed: bytes | None = None) -> bytes:
    """The record as JSON; `packed` is its MessagePack, if that is what came.

    ValueError for bytes, ext values, keys that are no strings, invalid UTF-8, NaN, depth.
    """
    if packed and _may_be_infinite(packed) and not _finite(record):
        raise ValueError("a number is NaN or infinite")
    try:
        return orjson.dumps(record)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _may_be_infinite(packed: bytes) -> bool:
    # The plain search is ten times as fast, and events of ours hold no floats.
    return (b"\xcb" in packed or b"\xca" in packed) and _NOT_FINITE.search(packed) is not None


def _finite(value: Any) -> bool:
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, float) and not math.isfinite(inner):
            return False
        if isinstance(inner, dict):
            waiting.extend(inner.values())
        elif isinstance(inner, list):
            waiting.extend(inner)
    return True


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
