"""Events from lines of NDJSON: what other languages, scripts and backfills write.

A line is one of three things. A *sealed* document (it has `audit.hash`: a line of an export) is checked and appended
as it is. A *draft* document (the published draft schema, as far as it is filled) and the *arguments* of `emit`
(`{"action": ..., "actor": ...}`, with `event_id` for `event.id`) are built, linked and sealed.

A line with an id of its own can be given again: the lines with ids of one file and organization form one stream named
by the first of them, so that a second run makes the same documents and OpenSearch has each once.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from auditpipe.emitters.arguments import ARGUMENTS
from auditpipe.emitters.auditlog import AuditLog
from auditpipe.emitters.build import Document
from auditpipe.emitters.sealing import Stream, check_unlinked
from auditpipe.schemas import strict_json
from auditpipe.schemas.changes import changed_fields
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.event import Event
from auditpipe.schemas.published import is_sealed
from auditpipe.schemas.values import json_text

LINE_ARGUMENTS = ARGUMENTS | {"event_id", "redacted"}
_FILE_STREAMS = UUID("6f1b1f0e-7d2b-5c3a-9a54-2f1f6f0f7a11")  # a namespace of our own (RFC 9562, section 5.5)
_PLACES: Mapping[str, tuple[str, ...]] = {
    "occurred_at": ("@timestamp",),
    "action": ("event", "action"),
    "event_id": ("event", "id"),
    "outcome": ("event", "outcome"),
    "reason": ("event", "reason"),
    "organization": ("organization",),
    "ip": ("source", "ip"),
    "user_agent": ("user_agent", "original"),
    "request": ("http", "request", "id"),
    "trace": ("trace", "id"),
    "session": ("audit", "session", "id"),
    "target": ("audit", "target"),
    "involved": ("audit", "involved"),
    "changes": ("audit", "changes"),
    "details": ("audit", "details"),
    "redacted": ("audit", "redacted"),
    "key": ("audit", "key"),
}
#: Made from the rest, so that what a line says of them is not asked.
_DERIVED = ("message", "ecs", "related")
_DERIVED_IN = {"event": ("kind", "dataset", "category", "type"), "audit": ("schema", "changed")}
#: Made by us, and asked: what contradicts it is refused, and never replaced without a word.
_SAID_TWICE = {"event": ("kind", "dataset", "category", "type"), "audit": ("schema",)}


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is no event: its number, and why."""

    number: int
    problem: str


class Intake:
    """Takes lines into an `AuditLog`: first `check` all, then `append`, so that a bad line leaves nothing half."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._streams: dict[str | None, Stream] = {}  # of lines with ids, by organization

    def check(self, lines: Iterable[str | bytes]) -> Iterator[Line]:
        """What is wrong with each line that can't be taken: each is made and sealed once. Nothing is appended."""
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                self._check(parse(line))
            except InvalidEvent as error:
                yield Line(number, str(error))

    def _check(self, given: Document) -> None:
        document, _, _ = self._prepare(given)
        if not is_sealed(given):
            check_unlinked(document)

    def append(self, lines: Iterable[str | bytes]) -> Iterator[Event]:
        """Append each line. InvalidEvent, SpoolError as `AuditLog.emit`."""
        for line in lines:
            if line.strip():
                yield self._append(parse(line))

    def _append(self, given: Document) -> Event:
        if is_sealed(given):
            return self._audit.append_sealed(given)
        document, moment, keeps_id = self._prepare(given)
        stream = self._stream_for(document) if keeps_id else None
        return self._audit.append_built(document, moment, stream)

    def _stream_for(self, document: Document) -> Stream:
        tenant = document["organization"]["id"] if "organization" in document else None
        stream = self._streams.get(tenant)
        if stream is None:
            named = str(uuid5(_FILE_STREAMS, f"{document['event']['id']}\n{tenant or ''}"))
            stream = self._streams[tenant] = Stream(named)
        return stream

    def _prepare(self, given: Document) -> tuple[Document, int, bool]:
        if is_sealed(given):
            self._audit.check_sealed(given)
            return given, 0, True
        builder = self._audit.builder
        arguments = dict(given) if "action" in given else _arguments_of(given)
        service, host = arguments.pop("service", None), arguments.pop("host", None)
        if isinstance(service, str):
            service = {"name": service}
        if isinstance(host, dict):
            host = host.get("name")
        keeps_id = arguments.get("event_id") is not None
        if host is None and not keeps_id:  # a line with an id must become the same document on every machine
            host = builder.host
        builder = replace(builder, service=builder.service if service is None else service, host=host)
        action = arguments.pop("action", None)
        unknown = sorted(arguments.keys() - LINE_ARGUMENTS)
        if unknown:
            raise InvalidEvent(unknown[0], f"unknown; known: {', '.join(sorted(LINE_ARGUMENTS))}")
        try:
            document, moment = builder.document(action, **arguments)
        except TypeError as error:
            raise InvalidEvent("the line", f"has a part of a wrong type: {error}") from error
        if "action" not in given:
            _agree(given, document)
        return document, moment, keeps_id


def parse(line: str | bytes) -> Document:
    """The object of a line. InvalidEvent says where the JSON breaks off; a key that stands twice is refused."""
    try:
        value = strict_json.loads(line)
    except ValueError as error:
        raise InvalidEvent("the line", f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidEvent("the line", f"expected a JSON object, got {type(value).__name__}")
    return value


def _agree(given: Document, made: Document) -> None:
    """What a draft says of itself and the catalogue says too must be the same. InvalidEvent names the field."""
    for outer, inner in _SAID_TWICE.items():
        for key in inner:
            said, wanted = (given.get(outer) or {}).get(key), made[outer][key]
            if said is not None and said != wanted:
                raise InvalidEvent(f"{outer}.{key}", f"expected {json_text(wanted)}, got {said!r}")
    audit = given.get("audit") or {}
    wanted = changed_fields(audit.get("changes") or ())
    if audit.get("changed") is not None and audit["changed"] != wanted:
        raise InvalidEvent("audit.changed", f"expected the fields of audit.changes: {wanted}, got {audit['changed']!r}")


def _arguments_of(document: Document) -> dict[str, Any]:
    """`emit`'s arguments of a draft document. InvalidEvent names a field that no event has."""
    rest = copy.deepcopy(document)
    arguments: dict[str, Any] = {}
    for name, place in _PLACES.items():
        value = _take(rest, place)
        if value is not None:
            arguments[name] = value
    user = rest.pop("user", None) or {}
    kind = _take(rest, ("audit", "actor", "type"))
    if isinstance(user, dict):
        user.pop("target", None)
        arguments["actor"] = {**user, "type": kind} if kind or user else None
    else:
        arguments["actor"] = user
    if "service" in rest:
        arguments["service"] = rest.pop("service")
    arguments["host"] = _take(rest, ("host", "name"))
    for derived in _DERIVED:
        rest.pop(derived, None)
    for outer, inner in _DERIVED_IN.items():
        if isinstance(rest.get(outer), dict):
            for key in inner:
                rest[outer].pop(key, None)
    left = next(_leaves(rest, ""), None)
    if left is not None:
        raise InvalidEvent(left, "no event has this field; put it under audit.details")
    return arguments


def _take(document: Document, place: tuple[str, ...]) -> Any:
    for key in place[:-1]:
        document = document.get(key)  # type: ignore[assignment]
        if not isinstance(document, dict):
            return None
    return document.pop(place[-1], None)


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}".lstrip("."))
    elif value is not None:
        yield path
