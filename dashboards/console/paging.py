"""Pages of a list that neither repeat nor miss an event.

The order is total and what is stored never changes, so that a place in it means the same for ever: a link to the next
page is the sort values of the last event. From the second page on a point in time holds the total and the counts still.
It is opened only then, because a node has room for few (`search.max_open_pit_context`, one for each shard).
"""

import base64
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import (
    KEEP_ALIVE,
    Hit,
    ask_all_shards,
    by_time,
    close_point_in_time,
    open_point_in_time,
)
from auditpipe.schemas.errors import BadFilter, NotFinished, OutOfReach
from auditpipe.schemas.identity import INDEX_PATTERN

SIZE = 50
#: Points in time that one session may hold: two lists side by side.
KEPT = 2
_LONGEST_PLACE = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind the event with these sort values, towards older or newer ones."""

    values: list[Any]
    newer: bool = False

    def __str__(self) -> str:
        text = orjson.dumps([self.newer, self.values])
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, keys: int = len(by_time())) -> "Place":
        """The place in a link, in an order by so many keys. BadFilter: it is none."""
        try:
            padded = text[:_LONGEST_PLACE] + "=" * (-len(text) % 4)
            newer, values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError) as error:
            raise BadFilter("this link to a page is damaged: begin again with the newest events") from error
        fits = isinstance(values, list) and len(values) == keys
        if not isinstance(newer, bool) or not fits or not all(isinstance(v, (int, str, type(None))) for v in values):
            raise BadFilter("this link to a page is damaged: begin again with the newest events")
        return cls(values, newer)


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first; the number of all; where the pages beside it begin, where there are any."""

    hits: list[Hit]
    total: int
    aggregations: Mapping[str, Any]
    older: Place | None
    newer: Place | None


class Views:
    """The points in time of one session, the least recently used freed first. Safe for threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, client: OpenSearch, what: str) -> str:
        """The one for this list, opened if it is not there."""
        with self._lock:
            if what in self._kept:
                self._kept.move_to_end(what)
                return self._kept[what]
        pit = open_point_in_time(client)
        with self._lock:
            gone = [] if self._kept.setdefault(what, pit) is pit else [pit]  # another tab was faster
            gone += [self._kept.popitem(last=False)[1] for _ in range(len(self._kept) - KEPT)]
            pit = self._kept[what]
        for old in gone:
            close_point_in_time(client, old)
        return pit

    def forget(self, what: str) -> None:
        """It has expired on the node."""
        with self._lock:
            self._kept.pop(what, None)

    def close(self, client: OpenSearch) -> None:
        """Free all of them."""
        with self._lock:
            gone, self._kept = list(self._kept.values()), OrderedDict()
        for pit in gone:
            close_point_in_time(client, pit)


def page(
    client: OpenSearch, views: Views, filters: Filters, place: Place | None, aggregations: Mapping[str, Any]
) -> Page:
    """The newest events, or those at a place. OutOfReach, NotAllowed, BadFilter."""
    body = search_body(filters, place, aggregations)
    if place is None:
        answer = ask_all_shards(client, body)
        if answer["_shards"]["total"] == 0:
            raise OutOfReach(f"this cluster has no {INDEX_PATTERN} index: run `auditpipe provision` first")
    else:
        answer = _at_place(client, views, str(filters), {**body, "search_after": place.values})
    return _cut(answer, place)


def search_body(filters: Filters, place: Place | None, aggregations: Mapping[str, Any]) -> dict[str, Any]:
    """The search behind a page; one event more than it shows tells whether there is another page."""
    body: dict[str, Any] = {"query": filters.query(), "size": SIZE + 1, "track_total_hits": True}
    return body | {"sort": by_time("asc" if place and place.newer else "desc"), "aggs": dict(aggregations)}


def _at_place(client: OpenSearch, views: Views, what: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return _ask(client, views, what, body)
    except NotFinished as error:
        if not isinstance(error.__cause__, NotFoundError):
            raise
        # It has expired: another one, from the same place in the same order, goes on where that one was.
        views.forget(what)
        return _ask(client, views, what, body)


def _ask(client: OpenSearch, views: Views, what: str, body: dict[str, Any]) -> dict[str, Any]:
    pit = {"id": views.get(client, what), "keep_alive": KEEP_ALIVE}
    return ask_all_shards(client, {**body, "pit": pit}, index=None)


def _cut(answer: Mapping[str, Any], place: Place | None) -> Page:
    hits: list[Hit] = answer["hits"]["hits"]
    more, hits = len(hits) > SIZE, hits[:SIZE]
    backwards = place is not None and place.newer
    if backwards:
        hits.reverse()
    has_older = more if not backwards else True
    has_newer = more if backwards else place is not None
    return Page(
        hits=hits,
        total=answer["hits"]["total"]["value"],
        aggregations=answer.get("aggregations", {}),
        older=Place(hits[-1]["sort"]) if hits and has_older else None,
        newer=Place(hits[0]["sort"], newer=True) if hits and has_newer else None,
    )
