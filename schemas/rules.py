"""What a document must hold beyond its form, which is the models': values, sizes, the catalogue, no secrets.

`emit` makes documents that keep all of it. These rules are for documents that come from elsewhere, whole: `emit --file`
refuses by them, `schema validate` reports by them.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditpipe.schemas import identity
from auditpipe.schemas.canonical import hashed_bytes
from auditpipe.schemas.catalogue import Action, Catalogue
from auditpipe.schemas.changes import changed_fields
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.secrets import Secrets
from auditpipe.schemas.values import (
    MAX_CHANGE_VALUE,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_INTEGER,
    MAX_KEY,
    MAX_MESSAGE_BYTES,
    json_text,
)

_SHOWN = 120
#: How deep `audit.details` lies: its levels are counted from there.
_DETAILS_AT = 2
_INTEGER = f"an integer within +-{MAX_INTEGER}; any other number as its decimal text"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a document: where (a dotted path), what was expected, what came."""

    path: str
    expected: str
    got: str


def shown(value: Any) -> str:
    """A value for a message: its JSON text, not too long. For values that are not nested deep."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def value_problems(document: Any) -> Iterator[Problem]:
    """Where a document, as read from JSON, has what the value table never makes."""
    yield from _values(document, "", -_DETAILS_AT)


def details_problems(details: Any) -> Iterator[Problem]:
    """The same of `audit.details` alone, the one part whose values no model looks at."""
    yield from _values(details, "audit.details", 0)


def _values(value: Any, path: str, depth: int) -> Iterator[Problem]:
    kind = type(value)
    if value is None or kind is bool:
        return
    if kind is str:
        if not value.isascii() and not _is_unicode(value):
            yield _problem(path, "Unicode text", "text with a lone surrogate")  # which may be a secret
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            yield _problem(path, _INTEGER, f"one of {value.bit_length()} bits")
    elif kind is not dict and kind is not list:
        yield _problem(path, _INTEGER, str(value)[:_SHOWN])
    elif depth >= MAX_DEPTH:
        yield _problem(path, f"at most {MAX_DEPTH} levels", "more")
    elif kind is list:
        for index, item in enumerate(value):
            yield from _values(item, f"{path}[{index}]", depth + 1)
    else:
        for key, inner in value.items():
            yield from _key(key, path)
            yield from _values(inner, f"{path}.{key}" if path else key, depth + 1)


def _key(key: str, path: str) -> Iterator[Problem]:
    if len(key) > MAX_KEY:
        yield _problem(path, f"keys of at most {MAX_KEY} characters", f"one of {len(key)}: {shown(key[:32])}...")
    if not key.isascii() and not _is_unicode(key):
        yield _problem(path, "keys of Unicode text", f"{shown(key)}, with a lone surrogate")


def _problem(path: str, expected: str, got: str) -> Problem:
    return Problem(path.encode(errors="backslashreplace").decode() or "the document", expected, got)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_problems(document: Mapping[str, Any], catalogue: Catalogue, secrets: Secrets) -> Iterator[Problem]:
    """What is wrong with a stored document, or a draft, whose form and values are right.

    An action that the catalogue does not have is a problem of its own, and then nothing is said by the catalogue.
    """
    yield from _time(document)
    yield from _size(document)
    audit = document.get("audit") or {}
    yield from _changes(audit)
    yield from _secrets(audit, secrets)
    try:
        action = catalogue.named(document["event"]["action"])
    except InvalidEvent as error:
        yield Problem(error.field, "what the catalogue says", error.problem)
        return
    yield from _by_catalogue(document["event"], audit, action, secrets)


def _time(document: Mapping[str, Any]) -> Iterator[Problem]:
    text, event_id = document.get("@timestamp"), document["event"].get("id")
    if text is None:
        return
    try:
        moment = identity.parse_time(text)
    except ValueError as error:
        yield Problem("@timestamp", str(error), shown(text))
        return
    if moment > identity.LATEST_NS:
        yield Problem("@timestamp", "a time from 1970 to 2106", shown(text))
    elif moment > time.time_ns() + identity.DAY:
        yield Problem("@timestamp", "a time at most a day ahead of this machine's clock", shown(text))
    if event_id is not None and identity.milliseconds_of(event_id) != moment // identity.MILLISECOND:
        wanted = f"a UUIDv7 whose milliseconds are those of @timestamp ({moment // identity.MILLISECOND})"
        yield Problem("event.id", wanted, str(identity.milliseconds_of(event_id)))


def _size(document: Mapping[str, Any]) -> Iterator[Problem]:
    size = len(hashed_bytes(document))
    if size > MAX_EVENT_BYTES:
        yield Problem("the document", f"at most {MAX_EVENT_BYTES} bytes of JSON", str(size))
    message_size = len((document.get("message") or "").encode())
    if message_size > MAX_MESSAGE_BYTES:  # JSON Schema counts characters
        yield Problem("message", f"at most {MAX_MESSAGE_BYTES} bytes of UTF-8", str(message_size))


def _changes(audit: Mapping[str, Any]) -> Iterator[Problem]:
    changes, changed = audit.get("changes") or [], audit.get("changed") or []
    wanted = changed_fields(changes)
    if changed != wanted:
        yield Problem("audit.changed", f"the fields of audit.changes: {shown(wanted)}", shown(changed))
    for index, change in enumerate(changes):
        for side in ("before", "after"):
            value = change.get(side)
            if isinstance(value, list) and (length := _length(value)) > MAX_CHANGE_VALUE:
                wanted_length = f"at most {MAX_CHANGE_VALUE} characters in all"
                yield Problem(f"audit.changes[{index}].{side}", wanted_length, str(length))


def _length(values: list[Any]) -> int:
    return sum(len(value if isinstance(value, str) else json_text(value)) for value in values)


def _secrets(audit: Mapping[str, Any], secrets: Secrets) -> Iterator[Problem]:
    """Their paths alone: what stands there is nobody's to print."""
    expected = "no value of a secret field; its name in audit.redacted"
    for index, change in enumerate(audit.get("changes") or []):
        if secrets.is_secret(change["field"]):
            yield Problem(f"audit.changes[{index}]", expected, f"one of {shown(change['field'])}")
    _, found = secrets.split(audit.get("details"), pairs=True)
    for path in found:
        yield Problem(f"audit.details.{path}", expected, "one")


def _by_catalogue(
    event: Mapping[str, Any], audit: Mapping[str, Any], action: Action, secrets: Secrets
) -> Iterator[Problem]:
    for part, wanted in (("category", action.category), ("type", action.type)):
        given = event.get(part)
        if given is not None and given != list(wanted):
            yield Problem(f"event.{part}", f"{shown(list(wanted))}, as {action.action} has it", shown(given))
    target = (audit.get("target") or {}).get("type")
    if target is not None and action.target_type is not None and target != action.target_type:
        yield Problem("audit.target.type", f"{action.target_type}, to which {action.action} is done", shown(target))
    try:
        action.outcome_of(event.get("outcome"), event.get("reason"))
        action.check_details(secrets.split(audit.get("details"), pairs=True)[0])  # an error may quote what it is of
    except InvalidEvent as error:
        yield Problem(error.field, "what the catalogue says", error.problem)
