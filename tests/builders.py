"""Valid, linked documents as they are stored, for tests that need events without an emitter."""

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

from auditpipe.schemas.canonical import GENESIS, document_hash
from auditpipe.schemas.identity import SECOND, format_time, index_of, new_event_id, parse_time

Document = dict[str, Any]
START_NS = parse_time("2026-10-10T10:00:00Z")


def seal(document: Document) -> Document:
    """The document with the hash that its content has."""
    document["audit"].pop("hash", None)
    document["audit"]["hash"] = document_hash(document)
    return document


def event(ns: int = START_NS, **fields: Any) -> Document:
    """One event, the first of its stream. `fields` are dotted paths with `__` for the dot: user__name="ada"."""
    document: Document = {
        "@timestamp": format_time(ns),
        "message": "Ada changed last_name of Tess Test: Doe -> Dow",
        "event": {
            **{"id": new_event_id(ns), "kind": "event", "dataset": "audit", "action": "user.user.updated"},
            **{"category": ["iam"], "type": ["user", "change"], "outcome": "success"},
        },
        "ecs": {"version": "8.17.0"},
        "organization": {"id": "acme", "name": "Acme"},
        "user": {
            **{"id": "u1", "name": "ada", "full_name": "Ada Lovelace", "email": "ada@example.com", "roles": ["admin"]},
            "target": {"id": "u7", "name": "Tess Test"},
        },
        "source": {"ip": "192.0.2.1"},
        "http": {"request": {"id": "r1"}},
        "service": {"name": "accounts", "version": "1"},
        "related": {"user": ["u1", "ada", "ada@example.com", "u7", "Tess Test"], "ip": ["192.0.2.1"]},
        "audit": {
            "schema": "1.0",
            "actor": {"type": "user"},
            "session": {"id": "s1"},
            "target": {"type": "user", "id": "u7", "name": "Tess Test"},
            "changes": [{"field": "last_name", "before": "Doe", "after": "Dow"}],
            "changed": ["last_name"],
            "stream": str(uuid.uuid4()),
            "sequence": 1,
            "previous": GENESIS,
        },
    }
    for path, value in fields.items():
        put(document, path.replace("__", "."), value)
    return seal(document)


def put(document: Document, path: str, value: Any) -> None:
    """Set the value at a dotted path; None takes it away."""
    *parents, last = path.split(".") if path != "@timestamp" else ["@timestamp"]
    for parent in parents:
        document = document.setdefault(parent, {})
    if value is None:
        document.pop(last, None)
    else:
        document[last] = value


def stream(
    count: int, *, start_ns: int = START_NS, step_ns: int = SECOND, name: str | None = None, **fields: Any
) -> list[Document]:
    """So many events of one stream, numbered from 1 and linked."""
    return list(itertools.islice(endless(start_ns=start_ns, step_ns=step_ns, name=name, **fields), count))


def endless(
    *, start_ns: int = START_NS, step_ns: int = SECOND, name: str | None = None, **fields: Any
) -> Iterator[Document]:
    """Events of one stream for as long as they are asked for."""
    name, previous = name or str(uuid.uuid4()), GENESIS
    for sequence in itertools.count(1):
        place = {"audit__stream": name, "audit__sequence": sequence, "audit__previous": previous}
        document = event(start_ns + (sequence - 1) * step_ns, **fields, **place)
        previous = document["audit"]["hash"]
        yield document


def bulk(documents: list[Document]) -> list[dict[str, Any]]:
    """The lines of a bulk request that stores each in its month, as the shippers do."""
    lines: list[dict[str, Any]] = []
    for document in documents:
        place = {"_index": index_of(parse_time(document["@timestamp"])), "_id": document["event"]["id"]}
        lines += [{"create": place}, document]
    return lines
