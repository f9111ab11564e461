"""A document's place in its stream, and the hash that seals it there."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from auditpipe.emitters.build import Document
from auditpipe.schemas import rules
from auditpipe.schemas.canonical import GENESIS, canonical_bytes
from auditpipe.schemas.errors import InvalidEvent, LimitExceeded
from auditpipe.schemas.event import Event
from auditpipe.schemas.values import MAX_EVENT_BYTES

_validate = Event.__pydantic_validator__.validate_python

#: Parts of an event, frozen. Events may share them.
Parts = Mapping[str, BaseModel]
NO_PARTS: Parts = MappingProxyType({})


@dataclass(slots=True)
class Stream:
    """One stream's head: its id, its last number, the hash of its last event."""

    id: str
    sequence: int = 0
    previous: str = GENESIS


def seal(document: Document, checked: Parts = NO_PARTS) -> Event:
    """Hash a linked document into `audit.hash` and check it whole. InvalidEvent names the field.

    `checked`: parts of it that are known to be good, as an earlier event has them.
    """
    audit = document["audit"]
    audit.pop("hash", None)
    try:
        data = canonical_bytes(document)
    except ValueError as error:
        raise InvalidEvent("event", str(error)) from error
    if len(data) > MAX_EVENT_BYTES:
        raise LimitExceeded("event", f"an event has at most {MAX_EVENT_BYTES} bytes of JSON, got {len(data)}")
    audit["hash"] = hashlib.sha256(data).hexdigest()
    return checked_whole({**document, **checked})


def check_unlinked(document: Document) -> None:
    """Check a built document as `seal` will, before it has its place in a stream. InvalidEvent names the field."""
    place = {"stream": "0" * 36, "sequence": 1, "previous": GENESIS}
    seal({**document, "audit": {**document["audit"], **place}})


def refuse_first(problems: Iterable[rules.Problem]) -> None:
    """InvalidEvent of the first problem, if there is one."""
    first = next(iter(problems), None)
    if first is not None:
        raise InvalidEvent(first.path, f"expected {first.expected}, got {first.got}")


def checked_whole(document: Document) -> Event:
    """The event of a document that has its seal. InvalidEvent names the field."""
    try:
        return _validate(document)  # type: ignore[no-any-return]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidEvent(".".join(str(part) for part in first["loc"]), first["msg"]) from error
