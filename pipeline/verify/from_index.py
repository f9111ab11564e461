"""Rows for `verify` from the index, through a point in time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.export import Progress
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import BY_STREAM, Hit, Snapshot, ask_all_shards
from auditpipe.pipeline.retention import belief, removed_ranges
from auditpipe.pipeline.verify.chain import Tally, check
from auditpipe.pipeline.verify.event import Flaw, Row, placed, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import Terms, View, latest_ns
from auditpipe.pipeline.workspace import Workspace
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.identity import RECORDS_INDEX

_REPORT_EVERY = 500
#: Events that one look outside of the view brings.
_LOOK = 1_000
#: More months than anyone keeps.
_MONTHS = 10_000


def view_of(client: OpenSearch, filters: Filters, terms: Terms) -> View:
    """What these filters leave to be said about missing numbers and the ends of streams."""
    now_ns = time.time_ns()
    latest = latest_ns(now_ns)
    timed = filters.since_ns is not None or filters.until_ns is not None
    return View(
        whole=filters.keeps_streams_whole,
        since_ns=filters.since_ns,
        until=filters.until_ns is not None and filters.until_ns < now_ns,
        settled_ns=terms.settled_ns(now_ns),
        latest_ns=latest,
        abandoned_ns=terms.abandoned_ns(now_ns),
        elsewhere=partial(_elsewhere, client, Form(terms.catalogue, latest)) if timed else None,
        months=cache(partial(_months, client)),
        held=terms.held,
        **_removed(client, filters, terms),
        lives=terms.lives,
    )


def _removed(client: OpenSearch, filters: Filters, terms: Terms) -> dict[str, Any]:
    """How the view knows of what retention removed."""
    if terms.trust is None or not filters.keeps_streams_whole:
        return {}
    found = removed_ranges.of_index(client, terms.trust)
    if found is None:
        return {"unrecorded": f"you may not read {RECORDS_INDEX}"}
    every = partial(belief.every_flaw, client, terms.trust) if filters.without_times() == Filters() else found.flaws
    return {"removed": found.parts, "misrecorded": every}


@contextmanager
def findings(
    client: OpenSearch, filters: Filters, view: View, tally: Tally, progress: Progress, terms: Terms
) -> Iterator[Iterator[Flaw]]:
    """Findings and notes on what matches. OutOfReach, NotAllowed, BadFilter; NotFinished if fewer came than matched."""
    with (
        Workspace() as workspace,
        Snapshot.open(client, filters.query(), BY_STREAM, extra={"version": True}) as snapshot,
        progress(snapshot.total) as advance,
    ):
        rows = _rows(snapshot, workspace, Form(terms.catalogue, view.latest_ns), advance)
        yield check(chain(rows, view.misrecorded()), view, tally)


def _rows(snapshot: Snapshot, workspace: Workspace, form: Form, advance: Callable[[int], None]) -> Iterator[Row | Flaw]:
    count = 0
    for count, hit in enumerate(snapshot.hits(), start=1):
        row = _row(hit, form)
        if isinstance(row, Row):
            workspace.remember(row)
        if count % _REPORT_EVERY == 0:
            advance(count)
        yield row
    if count != snapshot.total:
        raise NotFinished(f"{snapshot.total} events were there and {count} came: run it again")
    advance(snapshot.total)
    yield from workspace.at_the_end()


def _row(hit: Hit, form: Form) -> Row | Flaw:
    if "_source" not in hit:
        return Flaw("unlinked", f"nothing of it can be read: {hit['_index']} keeps no documents", event_id=hit["_id"])
    row = row_of(hit["_source"], form)
    if isinstance(row, Flaw):
        return row
    return placed(row, index=hit["_index"], doc_id=hit["_id"], version=hit["_version"])


def _elsewhere(client: OpenSearch, form: Form, stream: str, first: int, last: int) -> Iterator[Row | Flaw]:
    """The numbers first..last of a stream that are stored, at any time."""
    clauses = [{"term": {"audit.stream": stream}}, {"range": {"audit.sequence": {"gte": first, "lte": last}}}]
    body: dict[str, Any] = {"query": {"bool": {"filter": clauses}}, "sort": BY_STREAM, "size": _LOOK, "version": True}
    while hits := ask_all_shards(client, body)["hits"]["hits"]:
        yield from (_row(hit, form) for hit in hits)
        body["search_after"] = hits[-1]["sort"]


def _months(client: OpenSearch) -> frozenset[str]:
    """The indices that hold anything which this reader may see, at any time."""
    body = {"size": 0, "aggs": {"months": {"terms": {"field": "_index", "size": _MONTHS}}}}
    buckets = ask_all_shards(client, body)["aggregations"]["months"]["buckets"]
    return frozenset(bucket["key"] for bucket in buckets)
