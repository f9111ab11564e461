"""What an answer of `_bulk` means for an event: done, again later, or never. There is no fourth.

Pure functions over what OpenSearch said. "Never" is a list of errors that are the document's own and stay so; all
else, also what is not understood, is "again": a wrong "again" waits and raises an alarm, a wrong "never" gives up
events for an outage. The status does not tell: a write block, a missing pipeline and a bad document
are all 400 or 403.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

#: Error types of a document that no index of ours will ever take.
DOCUMENT_ERRORS = frozenset(
    {
        "mapper_parsing_exception",
        "document_parsing_exception",
        "strict_dynamic_mapping_exception",
        "parsing_exception",
        "json_parse_exception",
        "x_content_parse_exception",
    }
)

#: illegal_argument_exception is also what a missing pipeline or a full shard answer. These words are a document's.
DOCUMENT_ARGUMENTS = (
    "Document contains at least one immense term",
    "is too long, must be no longer than",
    "can't be empty",
    "cannot be changed from type",
    "The nesting depth",
    "object field starting or ending with",
    "mapper [",
)

#: Document errors that fail a whole request with 400, not an item.
REQUEST_ERRORS = DOCUMENT_ERRORS | {"action_request_validation_exception"}

#: The reason of an event whose month retention removed.
REMOVED = "removed_by_retention"

_LONGEST_DETAIL = 500

#: Troubles that have a cause of their own, which the status alone does not tell.
_TROUBLES = {
    (404, "index_not_found_exception"): "missing_index",
    (400, "index_closed_exception"): "closed_index",
    (403, "cluster_block_exception"): "write_block",
    (429, "cluster_block_exception"): "disk_full",  # the flood stage: the node sets and lifts this block by itself
    (503, "unavailable_shards_exception"): "missing_shard",
    (503, "no_shard_available_action_exception"): "missing_shard",
}


class Outcome(Enum):
    """What becomes of an event."""

    DONE = "done"
    AGAIN = "again"
    NEVER = "never"


class Verdict(NamedTuple):
    """An outcome, and why: one word for metrics, OpenSearch's own words for a person."""

    outcome: Outcome
    type: str
    detail: str = ""


class Stored(NamedTuple):
    """What is stored under an id: whether anything was found, and its `audit.hash`."""

    found: bool
    digest: str | None = None


CREATED = Verdict(Outcome.DONE, "created")
DUPLICATE = Verdict(Outcome.DONE, "duplicate")


def again(kind: str, detail: str = "") -> Verdict:
    """Not now: `kind` is what an alarm says."""
    return Verdict(Outcome.AGAIN, kind, detail[:_LONGEST_DETAIL])


def is_conflict(item: Any) -> bool:
    """Whether this item's id is taken, so that what is stored has to be looked at."""
    answer = _create(item)
    return answer.get("status") == 409 and _error(answer)[0] == "version_conflict_engine_exception"


def classify(item: Any, digest: str | None, stored: Stored | None) -> Verdict:
    """The verdict on an event from its item in the answer.

    `digest` is the event's own `audit.hash`; `stored` what stands under its id, where the item is a conflict and that
    could be read.
    """
    answer = _create(item)
    status = answer.get("status")
    kind, reason = _error(answer)
    if status == 201:
        return CREATED
    if is_conflict(item):
        return _conflict(digest, stored)
    if status == 400 and is_document_error(kind, reason):
        return Verdict(Outcome.NEVER, kind, reason)
    return again(_trouble(status, kind), f"{status} {kind}: {reason}" if kind else f"item answered {answer!r}")


def classify_request(status: int, body: Any) -> Verdict:
    """The verdict on every event of a request that failed whole, and that can't be divided any more."""
    kind, reason = _error(body) if isinstance(body, Mapping) else ("", "")
    detail = ": ".join(part for part in (f"{status} {kind}".rstrip(), reason) if part)
    if status == 413:
        return Verdict(Outcome.NEVER, "request_too_large", f"{detail}: this event alone is too large for a request")
    if status == 400 and (kind in REQUEST_ERRORS or is_document_error(kind, reason)):
        return Verdict(Outcome.NEVER, kind, reason)
    return again(_trouble(status, kind), detail)


def is_document_error(kind: str, reason: str) -> bool:
    """Whether this error is the document's own."""
    if kind in DOCUMENT_ERRORS:
        return True
    return kind == "illegal_argument_exception" and any(words in reason for words in DOCUMENT_ARGUMENTS)


def read_items(body: Any, count: int) -> list[Any] | None:
    """The items of a `_bulk` answer, or None if it is not the answer to `count` events."""
    items = body.get("items") if isinstance(body, Mapping) else None
    return items if isinstance(items, list) and len(items) == count else None


def read_stored(body: Any, count: int) -> list[Stored | None] | None:
    """What a `_mget` answer says for each id; None for an id whose answer is an error or not understood."""
    docs = body.get("docs") if isinstance(body, Mapping) else None
    if not isinstance(docs, list) or len(docs) != count:
        return None
    return [_stored(doc) for doc in docs]


def read_removed(body: Any, count: int) -> list[str | None]:
    """What a `_mget` answer says of each month: that it was removed, or None where there is no such record."""
    docs = body.get("docs") if isinstance(body, Mapping) else None
    if not isinstance(docs, list) or len(docs) != count:
        return [None] * count
    return [_removal(doc) for doc in docs]


def classify_late(removed: str, digest: str | None, stored: Stored | None) -> Verdict:
    """The verdict on an event of a month that retention removed, and whose index takes nothing any more.

    What a hold keeps is there still, and one that comes again is done.
    """
    if stored is not None and stored.found:
        return _conflict(digest, stored)
    return Verdict(Outcome.NEVER, REMOVED, removed)


def _removal(doc: Any) -> str | None:
    source = doc.get("_source") if isinstance(doc, Mapping) and doc.get("found") is True else None
    if not isinstance(source, Mapping) or "record" not in source:
        return None
    return f"{source.get('month')} was removed by retention on {source.get('@timestamp')}, record {source['record']}"


def _stored(doc: Any) -> Stored | None:
    if not isinstance(doc, Mapping) or not isinstance(doc.get("found"), bool):
        return None
    source = doc.get("_source")
    audit = source.get("audit") if isinstance(source, Mapping) else None
    digest = audit.get("hash") if isinstance(audit, Mapping) else None
    return Stored(doc["found"], digest if isinstance(digest, str) else None)


def _conflict(digest: str | None, stored: Stored | None) -> Verdict:
    if stored is None:
        return again("unread_conflict", "the id is taken, and what is stored under it could not be read")
    if not stored.found:
        return again("unread_conflict", "the id is taken, and nothing is found under it")
    if digest is None:
        # The writer reads nothing of a stored event but its hash.
        return Verdict(Outcome.NEVER, "conflict", "the id is taken; without audit.hash the two can't be compared")
    if stored.digest == digest:
        return DUPLICATE
    return Verdict(Outcome.NEVER, "conflict", f"the id is taken by another event, whose audit.hash is {stored.digest}")


def _create(item: Any) -> Mapping[str, Any]:
    answer = item.get("create") if isinstance(item, Mapping) else None
    return answer if isinstance(answer, Mapping) else {}


def _error(answer: Mapping[str, Any]) -> tuple[str, str]:
    """(type, reason with its causes) of an error; empty strings where there is none."""
    error = answer.get("error")
    if isinstance(error, str):
        return "", error[:_LONGEST_DETAIL]
    if not isinstance(error, Mapping):
        return "", ""
    words, cause = [str(error.get("reason"))], error.get("caused_by")
    while isinstance(cause, Mapping) and len(words) < 5:
        words.append(str(cause.get("reason")))
        cause = cause.get("caused_by")
    return str(error.get("type") or ""), ": ".join(words)[:_LONGEST_DETAIL]


def _trouble(status: Any, kind: str) -> str:
    """One word for an alarm."""
    if (status, kind) in _TROUBLES:
        return _TROUBLES[status, kind]
    return {401: "credentials", 403: "permission", 429: "busy"}.get(status) or (
        "server_error" if isinstance(status, int) and status >= 500 else "not_understood"
    )
