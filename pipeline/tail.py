"""Events in order of arrival: none missed, none repeated, late ones included.

The order is that of `_seq_no`, which each shard gives out as it takes events in; `@timestamp` would miss whatever
arrives late. A number can become visible after its successor (two threads of the node, a refresh between them), so
each poll compares how many events there are with how many were given: where some are owed that are not at the end,
the recent numbers are looked through for those not yet seen.
An idle poll is one request, however many months there are.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import Document, ask_all_shards

log = logging.getLogger(__name__)

BATCH = 500
#: How many events back in a shard one may still turn up between those already given.
WINDOW = 50_000
#: What one search may return (`index.max_result_window` of OpenSearch).
_RESULT_WINDOW = 10_000
#: More months than events can have (1970 to 2106).
_MAX_INDICES = 2_000


@dataclass
class _Shard:
    """How far one shard was read. `seen` are the last numbers given, those above `floor`."""

    index: str
    number: int
    highest: int = -1
    #: No number up to this one is looked for any more.
    floor: int = -1
    seen: set[int] = field(default_factory=set)
    recent: deque[int] = field(default_factory=deque)
    #: (last number given, last number to give) of what was there before the first poll; None when that is done.
    backlog: tuple[int, int] | None = None

    def mark(self, number: int) -> None:
        self.highest = max(self.highest, number)
        self.seen.add(number)
        self.recent.append(number)
        if len(self.recent) > WINDOW:
            oldest = self.recent.popleft()
            self.seen.discard(oldest)
            self.floor = max(self.floor, oldest)


@dataclass
class _Month:
    """One index: its shards, and how many of its matching events are accounted for."""

    shards: list[_Shard]
    accounted: int = 0


class Tail:
    """Follows what matches the filters. Their `since` only says where to begin; `until` is not looked at."""

    def __init__(self, client: OpenSearch, filters: Filters) -> None:
        self._client = client
        self._since_ns = filters.since_ns
        self._filters = filters.without_times()
        self._months: dict[str, _Month] | None = None

    def poll(self) -> Iterator[Document]:
        """What arrived since the last poll; the first one gives what `since` asks for.

        An error in the middle loses nothing: the next poll goes on behind the last event given. OutOfReach, NotAllowed,
        BadFilter.
        """
        counts = self._counts()
        if self._months is None:
            self._months = self._present(sorted(counts))
        yield from self._earlier()
        for index in sorted(counts):
            month = self._months.get(index)
            if month is None:
                month = self._months[index] = self._new_month(index)
            if counts[index] > month.accounted:
                yield from self._arrived(month, counts[index])

    def _present(self, indices: list[str]) -> dict[str, _Month]:
        """Note what is there already: it is given only where `since` asks for it."""
        months = {index: self._new_month(index) for index in indices}
        for month in months.values():
            for shard in month.shards:
                month.accounted += self._note_present(shard)
                shard.backlog = None if self._since_ns is None else (-1, shard.highest)
        return months

    def _earlier(self) -> Iterator[Document]:
        wanted = replace(self._filters, since_ns=self._since_ns)
        for month in (self._months or {}).values():
            for shard in month.shards:
                if shard.backlog is None:
                    continue
                after, upto = shard.backlog
                for hit in self._in_order(shard, wanted, after=after, upto=upto):
                    shard.backlog = (hit["sort"][0], upto)
                    yield hit["_source"]
                shard.backlog = None

    def _arrived(self, month: _Month, count: int) -> Iterator[Document]:
        for shard in month.shards:
            for hit in self._in_order(shard, self._filters, after=shard.highest):
                shard.mark(hit["sort"][0])
                month.accounted += 1
                yield hit["_source"]
        for shard in month.shards:
            if count > month.accounted:
                for hit in self._overlooked(shard):
                    shard.mark(hit["sort"][0])
                    month.accounted += 1
                    yield hit["_source"]

    def _overlooked(self, shard: _Shard) -> Iterator[dict[str, Any]]:
        """What became visible between numbers already given."""
        there = self._in_order(
            shard, self._filters, after=shard.floor, upto=shard.highest, size=_RESULT_WINDOW, source=False
        )
        late = [hit["_id"] for hit in there if hit["sort"][0] not in shard.seen]
        for start in range(0, len(late), BATCH):
            clause = {"ids": {"values": late[start : start + BATCH]}}
            yield from self._ask(shard, {"query": self._filters.query(clause), "size": BATCH})["hits"]["hits"]

    def _in_order(
        self,
        shard: _Shard,
        filters: Filters,
        *,
        after: int,
        upto: int | None = None,
        size: int = BATCH,
        source: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Hits of a shard with after < _seq_no <= upto, ascending."""
        while True:
            bounds = {"gt": after} | ({} if upto is None else {"lte": upto})
            query = filters.query({"range": {"_seq_no": bounds}})
            hits = self._ask(shard, {"query": query, "size": size, "_source": source})["hits"]["hits"]
            yield from hits
            if len(hits) < size:
                return
            after = hits[-1]["sort"][0]

    def _note_present(self, shard: _Shard) -> int:
        """Mark what is there as given and return its number; both from one view of the shard."""
        body = {"query": self._filters.query(), "size": _RESULT_WINDOW, "_source": False, "track_total_hits": True}
        hits = self._ask(shard, {**body, "sort": [{"_seq_no": "desc"}]})["hits"]
        for hit in reversed(hits["hits"]):
            shard.mark(hit["sort"][0])
        if len(hits["hits"]) == _RESULT_WINDOW:
            shard.floor = min(shard.seen) - 1
        return int(hits["total"]["value"])

    def _ask(self, shard: _Shard, body: dict[str, Any]) -> dict[str, Any]:
        request = {"sort": [{"_seq_no": "asc"}], "track_total_hits": False, **body}
        return ask_all_shards(self._client, request, index=shard.index, preference=f"_shards:{shard.number}")

    def _counts(self) -> dict[str, int]:
        """Matching events by index; an index without any is not listed."""
        indices = {"terms": {"field": "_index", "size": _MAX_INDICES}}
        body = {"size": 0, "track_total_hits": False, "query": self._filters.query(), "aggs": {"indices": indices}}
        buckets = ask_all_shards(self._client, body).get("aggregations", {}).get("indices", {}).get("buckets", [])
        return {bucket["key"]: bucket["doc_count"] for bucket in buckets}

    def _new_month(self, index: str) -> _Month:
        answer = ask_all_shards(self._client, {"size": 0, "track_total_hits": False}, index=index)
        return _Month([_Shard(index, number) for number in range(answer["_shards"]["total"])])
