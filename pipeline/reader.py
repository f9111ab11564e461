"""Reading events: a page, one by its id, or all of them, and never a part without saying so.

OpenSearch answers 200 with what the reachable shards had, and while it recovers it does not even count the others as
failed. Here that is an error: an audit that leaves out what could not be read is wrong, not short.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from auditpipe.pipeline import unreadable
from auditpipe.pipeline.answers import peer_of, rule_not_applied
from auditpipe.pipeline.client import Answer, edge
from auditpipe.pipeline.query import Filters
from auditpipe.schemas.errors import AuditpipeError, BadFilter, NoSuchEvent, OutOfReach, UsageError
from auditpipe.schemas.identity import (
    INDEX_PATTERN,
    LATEST_NS,
    MILLISECOND,
    index_of_id,
    is_event_id,
    milliseconds_of,
)

Document = dict[str, Any]
Hit = dict[str, Any]
Order = Literal["asc", "desc"]

#: How long a point in time outlives the last request on it; a slow disk may pause an export for so long.
KEEP_ALIVE = "5m"
#: A month that was closed is asked too, and refuses; one that somebody has hidden is read. By default both would be
#: passed over without a word.
ALL_MONTHS = "all"
#: Documents in one answer, at most: at 1 kB each about 2 MB, large enough that the round trip does not count.
BATCH = 2_000
#: In the first one, and how many times as many in each after it, as long as they are small.
FIRST = 100
_GROWTH = 4
#: Characters of JSON that an answer is to have at most, if its documents are like those before it.
ANSWER_SIZE = 8 << 20
#: A page up to this size is one request; beyond, a point in time holds the view still between requests.
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Results:
    """`total` counts all that match; `documents` gives those asked for, once."""

    documents: Iterator[Document]
    total: int


def by_time(order: Order = "asc") -> list[dict[str, Any]]:
    """A total order: events of one nanosecond by id, and doubles, which should not be, by where they are stored."""
    return [_key("@timestamp", order, 0), _key("event.id", order, ""), {"_index": order}, {"_seq_no": order}]


def _key(field: str, order: Order, missing: str | int) -> dict[str, Any]:
    """Documents without the field come as if they had `missing`.

    Else their sort value is null or the largest there is: `search_after` fails on the one, and finds nothing behind
    the other.
    """
    return {field: {"order": order, "missing": missing}}


BY_STREAM = [
    *(_key("audit.stream", "asc", ""), _key("audit.sequence", "asc", 0)),
    *({"_index": "asc"}, {"_seq_no": "asc"}),
]


@contextmanager
def search(client: OpenSearch, filters: Filters, *, limit: int = 50, order: Order = "desc") -> Iterator[Results]:
    """The newest (or oldest) `limit` events and the number of all. OutOfReach, NotAllowed, BadFilter."""
    if limit < 0:
        raise UsageError(f"--limit: expected 0 or more, got {limit}")
    if limit <= PAGE:
        yield _page(client, filters, limit, order)
        return
    with Snapshot.open(client, filters.query(), by_time(order), batch=min(limit, BATCH)) as snapshot:
        yield Results((hit["_source"] for hit in islice(snapshot.hits(), limit)), snapshot.total)


def _page(client: OpenSearch, filters: Filters, limit: int, order: Order) -> Results:
    body = {"query": filters.query(), "sort": by_time(order), "size": limit, "track_total_hits": True}
    answer = ask_all_shards(client, body)
    if answer["_shards"]["total"] == 0:
        raise _no_indices()
    return Results((hit["_source"] for hit in answer["hits"]["hits"]), answer["hits"]["total"]["value"])


def show(client: OpenSearch, event_id: str) -> Document:
    """One event. Its id names its index, and a GET by id sees it before a refresh.

    UsageError: not an event id. NoSuchEvent: there is none, or none that this reader may see; the two look the same
    on purpose.
    """
    wanted = event_id.strip().lower()
    if not is_event_id(wanted):
        raise UsageError(
            f"expected an event id (a UUIDv7) such as 0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071, got {event_id!r}"
        )
    if milliseconds_of(wanted) * MILLISECOND > LATEST_NS:
        raise NoSuchEvent(f"no event {wanted}: by its id it would be of a time after 2106, and no event is")
    if (found := _get(client, index_of_id(wanted), wanted)) is not None:
        return found
    # Stored under another month by other means than ours: still the event with this id.
    query = {"bool": {"should": [{"ids": {"values": [wanted]}}, {"term": {"event.id": wanted}}]}}
    hits = ask_all_shards(client, {"query": query, "size": 1})["hits"]["hits"]
    if not hits:
        raise NoSuchEvent(f"no event {wanted} that you may see")
    return dict(hits[0]["_source"])


def _get(client: OpenSearch, index: str, doc_id: str) -> Document | None:
    try:
        with edge():
            answer = client.get(index=index, id=doc_id, params={"ignore": 404})
    except AuditpipeError as error:
        if unreadable.is_of_a_document(error):
            return _get_damaged(client, index, doc_id)
        if isinstance(error, BadFilter):  # it has none: what the node can't read is the rule of a role
            raise rule_not_applied(peer_of(error)) from error
        raise
    return dict(answer["_source"]) if answer.get("found") else None


def _get_damaged(client: OpenSearch, index: str, doc_id: str) -> Document:
    hits = ask_all_shards(client, {"query": {"ids": {"values": [doc_id]}}, "size": 1}, index=index)["hits"]["hits"]
    if hits:
        return dict(hits[0]["_source"])
    read = unreadable.by_itself(client, index, doc_id)  # no search finds it yet
    return unreadable.stand_in(index, doc_id, read, {}) if isinstance(read, str) else read


def ask_all_shards(
    client: OpenSearch, body: Mapping[str, Any], *, index: str | None = INDEX_PATTERN, **params: str
) -> dict[str, Any]:
    """What a search answers, if every shard took part. OutOfReach otherwise, NotAllowed, BadFilter.

    In place of a document that can't be read stands `unreadable.stand_in`.

    `index` is None for a body that names a point in time.
    """
    whole = {"allow_partial_search_results": "false", **({"expand_wildcards": ALL_MONTHS} if index else {})}

    def ask(body: Mapping[str, Any]) -> dict[str, Any]:
        with edge():
            return complete(client.search(index=index, body=body, params={**params, **whole}))

    try:
        return _read(client, ask, body)
    except BadFilter as error:
        _refuse_rule(client, error)
        raise


def _read(client: OpenSearch, ask: unreadable.Ask, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return ask(body)
    except AuditpipeError as error:
        if not (unreadable.is_of_a_document(error) and _wants_documents(body)):
            raise
    return unreadable.in_halves(client, ask, body)


def _wants_documents(body: Mapping[str, Any]) -> bool:
    size, in_order = body.get("size", 0), "sort" in body
    return body.get("_source") is not False and (size == 1 or (size > 1 and in_order))


def _refuse_rule(client: OpenSearch, error: BadFilter) -> None:
    """NotAllowed if a search for anything at all fails as well: then it is no filter, but the rule of a role.

    The node adds the rule to the query, and its error quotes it.
    """
    try:
        with edge():
            client.search(index=INDEX_PATTERN, body={"size": 0})
    except BadFilter:
        raise rule_not_applied(peer_of(error)) from error


def complete(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, if every shard gave it and in time. OutOfReach otherwise.

    `successful` holds what was skipped, because it could not match. A shard that has no started copy is in `total`
    alone: neither successful nor failed.
    """
    shards = answer.get("_shards", {})
    total, successful = shards.get("total", 0), shards.get("successful", 0)
    if answer.get("timed_out") or shards.get("failed", 0):
        failures = shards.get("failures") or [{}]
        reason = (failures[0].get("reason") or {}).get("reason", "it took too long")
        raise OutOfReach(
            f"OpenSearch could read only {successful} of {total} shards ({reason}): "
            "nothing is shown, because it would not be all; try again, or see `auditpipe doctor`"
        )
    if successful != total:
        raise OutOfReach(
            f"{successful} of {total} shards answered: the cluster is still recovering; "
            "nothing is shown, because it would not be all; try again"
        )
    return answer


def open_point_in_time(client: OpenSearch, index: str = INDEX_PATTERN) -> str:
    """The id of a view that holds still, on all audit indices. OutOfReach if there are none, or not all answer."""
    with edge():
        whole = {"keep_alive": KEEP_ALIVE, "allow_partial_pit_creation": "false", "expand_wildcards": ALL_MONTHS}
        opened = complete(client.create_pit(index=index, params=whole))
    pit = str(opened["pit_id"])
    if opened["_shards"]["total"] == 0:
        close_point_in_time(client, pit)
        raise _no_indices()
    return pit


def close_point_in_time(client: OpenSearch, pit: str) -> None:
    """Free it on the node. It would expire by itself; an error here must not hide the one that led here."""
    with suppress(OpenSearchException):
        client.delete_pit(body={"pit_id": [pit]})


class Snapshot:
    """All events that match, as they were at one moment (a point in time), in constant memory."""

    def __init__(self, client: OpenSearch, pit: str, body: dict[str, Any], most: int) -> None:
        self._client = client
        self._pit = pit
        self._body = body
        self._most = most
        self.total = 0

    @classmethod
    @contextmanager
    def open(
        cls,
        client: OpenSearch,
        query: Mapping[str, Any],
        sort: list[dict[str, Any]],
        *,
        batch: int = BATCH,
        extra: Mapping[str, Any] | None = None,
        index: str = INDEX_PATTERN,
    ) -> Iterator["Snapshot"]:
        """Opened, counted, and closed on the node whatever happens. OutOfReach, NotAllowed, BadFilter.

        `batch`: hits in one answer, at most.
        """
        body = {"query": dict(query), "sort": sort, **(extra or {})}
        snapshot = cls(client, open_point_in_time(client, index), body, batch)
        try:
            snapshot.total = snapshot._count()
            yield snapshot
        finally:
            close_point_in_time(client, snapshot._pit)

    def hits(self) -> Iterator[Hit]:
        """Every hit in order. OutOfReach if a shard fails on the way, NotFinished if the point in time expired.

        The next answer is fetched while this one is used; two are in memory.
        """
        from concurrent.futures import ThreadPoolExecutor

        size = min(FIRST, self._most)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="auditpipe-read-ahead") as ahead:
            coming = ahead.submit(self._next, size, None)
            while True:
                answer = coming.result()
                hits: list[Hit] = answer["hits"]["hits"]
                last = len(hits) < size
                if not last:
                    size = min(_following(len(hits), answer), self._most)
                    coming = ahead.submit(self._next, size, hits[-1]["sort"])
                yield from hits
                if last:
                    return

    def _next(self, size: int, after: list[Any] | None) -> dict[str, Any]:
        behind = {} if after is None else {"search_after": after}
        return self._ask({**self._body, **behind, "size": size, "track_total_hits": False})

    def _count(self) -> int:
        answer = self._ask({"query": self._body["query"], "size": 0, "track_total_hits": True})
        return int(answer["hits"]["total"]["value"])

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        pit = {"id": self._pit, "keep_alive": KEEP_ALIVE}
        answer = ask_all_shards(self._client, {**body, "pit": pit}, index=None)
        self._pit = answer.get("pit_id", self._pit)
        return answer


def _following(hits: int, answer: Mapping[str, Any]) -> int:
    """How many hits to ask for after an answer of so many."""
    size = answer.size if isinstance(answer, Answer) else 0
    return max(1, min(hits * _GROWTH, hits * ANSWER_SIZE // max(size, 1)))


def _no_indices() -> OutOfReach:
    return OutOfReach(f"this cluster has no {INDEX_PATTERN} index: run `auditpipe provision` first")
