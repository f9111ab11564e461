"""Dead letters read back: the lines of a `*.ndjson` file as events, to be looked at or sent again."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from auditpipe.pipeline.relay.protocol import Entry, decode
from auditpipe.pipeline.relay.records import Event, Reason, Refused, prepare, prepare_record


class Letter(NamedTuple):
    """One event that was given up. `record` is the document, None where only `packed`, its exact bytes, is there."""

    reason: Reason
    at: str | None
    tag: str
    time: int | None
    id: str | None
    record: Any = None
    packed: bytes | None = None


def read_letters(lines: Iterable[bytes]) -> Iterator[Letter]:
    """A letter for each line; a line that is none is a letter "unreadable" that holds it."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _letter(orjson.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            reason = Reason("unreadable", f"line {number}: expected a dead letter: {error}")
            yield Letter(reason, None, "", None, None, packed=line)


def to_event(letter: Letter) -> Event | Refused:
    """What to send for a letter, or why it still can't be sent."""
    if letter.reason.type in ("unreadable", "not_an_entry"):
        return Refused(letter.reason, letter.tag, letter.time, letter.id, packed=letter.packed)
    if letter.packed is not None:
        return prepare(Entry(letter.time, letter.packed), letter.tag)
    if not isinstance(letter.record, dict):
        reason = Reason("not_a_map", f"expected a map with string keys, got {type(letter.record).__name__}")
        return Refused(reason, letter.tag, letter.time, letter.id, document=orjson.dumps(letter.record))
    return prepare_record(letter.record, letter.time, letter.tag)


def from_refused(refused: Refused) -> Letter:
    """A refused event as the letter that it becomes."""
    record = orjson.loads(refused.document) if refused.document is not None else None
    return Letter(refused.reason, None, refused.tag, refused.time, refused.id, record, refused.packed)


def from_event(event: Event, reason: Reason) -> Letter:
    """An event that nothing is wrong with, as it lies in a rejected chunk."""
    return Letter(reason, None, event.tag, event.time, event.id, orjson.loads(event.document))


def best_record(letter: Letter) -> Any:
    """The record, from its MessagePack where it has no JSON; None where that can't be decoded either."""
    if letter.packed is None:
        return letter.record
    try:
        return decode(letter.packed)
    except ValueError:
        return None


def _letter(fields: Any) -> Letter:
    reason = Reason(str(fields["reason"]["type"]), str(fields["reason"]["detail"]))
    packed = base64.b64decode(fields["msgpack"], validate=True) if "msgpack" in fields else None
    time, event_id = fields["time"], fields["id"]
    if not isinstance(time, int | None) or not isinstance(event_id, str | None):
        raise ValueError("time must be an integer and id a string, or null")
    record = None if packed is not None else fields["record"]
    return Letter(reason, str(fields["at"]), str(fields["tag"]), time, event_id, record, packed)
