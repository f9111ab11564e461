"""A stored document that the node can't write out hides none of its neighbours, and is itself named.

OpenSearch keeps the bytes that a writer sent. Those that begin with `{` it writes into an answer as they are, be they
YAML; others (CBOR, SMILE, YAML) it writes as JSON, and where it can't (`.nan`, bytes that are no UTF-8, a hundred
levels) it refuses the whole answer. So the page is asked for in halves until such a document is alone. Then it is read
by itself, where no comment or bracket of it reaches others; or what the node's index knows of it stands in for it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError, SerializationError, TransportError

from auditpipe.pipeline.answers import reason_of
from auditpipe.pipeline.any_json import answered
from auditpipe.pipeline.client import Answer, translate
from auditpipe.pipeline.tabular import UNREADABLE
from auditpipe.pipeline.tabular import field as value_of
from auditpipe.schemas.errors import AuditpipeError

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]

#: What the node's index tells of a document without reading it. `audit.*` keeps its place in its stream.
_KNOWN = (
    {"field": "@timestamp", "format": "strict_date_optional_time_nanos"},
    *("event.id", "event.action", "event.outcome", "organization.id", "user.id", "user.name", "service.name"),
    *("audit.stream", "audit.sequence", "audit.previous", "audit.hash"),
)
#: Types of errors of Jackson's, who reads what is stored and writes it; and what Security says where it can't mask or
#: hide fields of it, whatever the cause.
_JACKSON = re.compile(r"(json_[a-z_]+|stream_constraints)_exception", re.ASCII)
_SECURITY = "Cannot filter source of document"


def is_of_a_document(error: BaseException) -> bool:
    """Whether an error of ours is of an answer that a stored document has spoilt, as far as it shows by itself."""
    cause = error.__cause__
    if isinstance(cause, SerializationError):
        return True
    if not isinstance(cause, TransportError) or cause.status_code not in (400, 500):
        return False
    return reason_of(cause) == _SECURITY or any(map(_JACKSON.fullmatch, _types(cause.args[2:])))


def in_halves(client: OpenSearch, ask: Ask, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a search would answer that failed over a document. The error of `ask`, where that is not the cause.

    The search wants documents, in a total order unless it is one.
    """
    halves = _Halves(client, ask)
    hits = list(halves.hits(dict(body), body["size"]))
    # Last: what arrives meanwhile is counted and not shown, and never the other way round.
    left_out = ("sort", "search_after", "docvalue_fields")
    answer = Answer(ask({**{key: value for key, value in body.items() if key not in left_out}, "size": 0}))
    answer.size = halves.size
    answer["hits"] = {**answer["hits"], "hits": hits}
    return answer


def stand_in(index: str, doc_id: str, why: str, fields: Mapping[str, list[Any]]) -> dict[str, Any]:
    """A document in place of one that can't be read. `audit.unreadable` says so; no event has that."""
    document: dict[str, Any] = {"message": f"This event can't be read: {why}", "event": {"id": doc_id}}
    for path, values in {**fields, UNREADABLE: [f"{index}/_doc/{doc_id} can't be read: {why}"]}.items():
        *parents, last = path.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = values[0] if len(values) == 1 else values
    return document


class _Halves:
    """`size` is how many characters of JSON came, in all."""

    def __init__(self, client: OpenSearch, ask: Ask) -> None:
        self._client = client
        self._ask = ask
        self.size = 0

    def hits(self, body: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
        """The first `size` of a search that failed when so many were asked for."""
        if size == 1:
            yield from self._alone(body)
            return
        half = size // 2
        first = list(self._some(body, half))
        yield from first
        if len(first) == half:
            yield from self._some({**body, "search_after": first[-1]["sort"]}, size - half)

    def _some(self, body: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
        try:
            answer = self._ask({**body, "aggs": {}, "size": size, "track_total_hits": False})
        except AuditpipeError as error:
            if not is_of_a_document(error):
                raise
            yield from self.hits(body, size)
            return
        self.size += answer.size if isinstance(answer, Answer) else 0
        yield from answer["hits"]["hits"]

    def _alone(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        bare = {"aggs": {}, "size": 1, "track_total_hits": False, "_source": False, "docvalue_fields": _KNOWN}
        for hit in self._ask({**body, **bare})["hits"]["hits"]:
            index, doc_id, fields = hit["_index"], hit["_id"], hit.pop("fields", {})
            read = by_itself(self._client, index, doc_id)
            if isinstance(read, dict) and not _is_as_indexed(read, fields):
                read = "read as JSON it is not what the index has of it"
            yield {**hit, "_source": stand_in(index, doc_id, read, fields) if isinstance(read, str) else read}


def by_itself(client: OpenSearch, index: str, doc_id: str) -> dict[str, Any] | str:
    """A document, or why it can't be read. OutOfReach."""
    try:
        return dict(client.get_source(index=index, id=doc_id))
    except SerializationError as error:
        return _read(str(error.args[0]))
    except ConnectionError as error:
        raise translate(error) from error
    except TransportError as error:
        return f"OpenSearch: {reason_of(error).partition(' at [Source')[0] or error.status_code}"


def _read(stored: str) -> dict[str, Any] | str:
    try:
        value = answered(stored)
    except ValueError:
        return "what is stored is no JSON"
    return value if isinstance(value, dict) else "what is stored is no JSON object"


def _is_as_indexed(document: Mapping[str, Any], fields: Mapping[str, list[Any]]) -> bool:
    """Whether who reads YAML, as the index did, sees the same: what is a comment to one may be none to the other."""
    told = ((value_of(document, path), values) for path, values in fields.items() if path != "@timestamp")
    return all([value] == values for value, values in told if isinstance(value, (str, int)))


def _types(info: Any) -> Iterator[str]:
    """All types that an error names, those of causes too."""
    if isinstance(info, Mapping):
        if isinstance(info.get("type"), str):
            yield info["type"]
        for value in info.values():
            yield from _types(value)
    elif isinstance(info, (list, tuple)):
        for value in info:
            yield from _types(value)
