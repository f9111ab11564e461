"""What is stored against what the ledgers say: pure, and without a line of `auditpipe verify`, whose peer it is."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.chaos.ledger import Kept, Ledger

STREAM_CLOSED = "service.audit_stream.closed"


@dataclass(frozen=True, slots=True)
class Stored:
    """What counts of a stored document. `true_hash` is made from its content."""

    index: str
    id: str
    token: str | None
    action: str
    stream: str
    sequence: int
    hash: str
    true_hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind`: lost, doubled, altered or unexplained."""

    kind: str
    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Result:
    """`promised`: events in the ledgers. `undecided`: stored without a ledger's word, their emitter having been ended
    in between. `closed`: ends of streams, which no ledger has."""

    promised: int
    stored: int
    undecided: int
    closed: int
    findings: tuple[Finding, ...]

    def count(self, kind: str) -> int:
        """How many findings of a kind."""
        return sum(finding.kind == kind for finding in self.findings)


def stored_of(hit: dict[str, Any]) -> Stored:
    """A search hit."""
    source = hit["_source"]
    audit = source["audit"]
    return Stored(
        index=hit["_index"],
        id=hit["_id"],
        token=source.get("http", {}).get("request", {}).get("id"),
        action=source["event"]["action"],
        stream=audit["stream"],
        sequence=audit["sequence"],
        hash=audit["hash"],
        true_hash=true_hash(source),
    )


def true_hash(source: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON (RFC 8785) without `audit.hash`, as docs/export-and-verify.md gives it."""
    rest = {**source, "audit": {name: value for name, value in source["audit"].items() if name != "hash"}}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check(ledger: Ledger, documents: Iterable[Stored]) -> Result:
    """Every event of a ledger is stored exactly once and as it was; what else is stored can be explained."""
    by_id: dict[str, list[Stored]] = defaultdict(list)
    for document in documents:
        by_id[document.id].append(document)
    stored = [document for same in by_id.values() for document in same]
    promised = {kept.id for kept in ledger.kept}
    extra = [document for document in stored if document.id not in promised]
    streams = {kept.stream for kept in ledger.kept} | {d.stream for d in extra if d.token in ledger.undecided}
    findings = [
        *(finding for kept in ledger.kept for finding in _kept(kept, by_id.get(kept.id, []))),
        *_doubled(stored),
        *(finding for document in extra for finding in _extra(document, ledger, streams)),
    ]
    return Result(
        promised=len(ledger.kept),
        stored=len(stored),
        undecided=sum(document.token in ledger.undecided for document in extra),
        closed=sum(document.action == STREAM_CLOSED for document in extra),
        findings=tuple(findings),
    )


def _kept(kept: Kept, found: list[Stored]) -> Iterable[Finding]:
    if not found:
        yield Finding("lost", kept.id, f"{kept.token}: number {kept.sequence} of {kept.stream} is not stored")
    for document in found:
        if document.hash != kept.hash or document.true_hash != kept.hash:
            yield Finding("altered", kept.id, f"{kept.token}: emitted with the hash {kept.hash}, stored with another")
        elif (document.stream, document.sequence) != (kept.stream, kept.sequence):
            yield Finding("altered", kept.id, f"{kept.token}: stored in another place of its stream")


def _doubled(stored: list[Stored]) -> Iterable[Finding]:
    """By id over all months, by place in a stream, and by token: a call of `emit` made one event."""
    for what, key in _KEYS.items():
        for value, times in Counter(map(key, stored)).items():
            if times > 1 and value is not None:
                ids = sorted({document.id for document in stored if key(document) == value})
                yield Finding("doubled", ids[0], f"{times} documents have the {what} {value}: {', '.join(ids)}")


_KEYS = {
    "id": lambda document: document.id,
    "place": lambda document: (document.stream, document.sequence),
    "token": lambda document: document.token,
}


def _extra(document: Stored, ledger: Ledger, streams: set[str]) -> Iterable[Finding]:
    if document.true_hash != document.hash:
        yield Finding("altered", document.id, "its content does not have its hash")
    if document.token in ledger.refused:
        yield Finding("unexplained", document.id, f"{document.token}: emit refused it, and it is stored")
    elif document.action == STREAM_CLOSED and document.stream in streams:
        return
    elif document.token not in ledger.undecided:
        yield Finding("unexplained", document.id, f"no ledger knows of it (request {document.token})")
