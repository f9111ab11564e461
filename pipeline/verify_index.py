"""Rows for `verify` from the index, through a point in time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opensearchpy import OpenSearch

from auditpipe.pipeline.export import Progress
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import BY_STREAM, Snapshot, ask_all_shards
from auditpipe.pipeline.verify import Flaw, Row, Tally, View, check, placed, row_of, settled_before
from auditpipe.pipeline.workspace import Workspace

#: Numbers that one look-up of a gap asks for; half of what a search may return, for doubles.
_LOOK_UP = 5_000
_REPORT_EVERY = 500


def view_of(client: OpenSearch, filters: Filters, grace_seconds: float) -> View:
    """What these filters leave to be said about missing numbers."""
    timed = filters.since_ns is not None or filters.until_ns is not None
    return View(
        whole=filters.keeps_streams_whole,
        since=filters.since_ns is not None,
        settled_ns=settled_before(time.time_ns(), grace_seconds),
        stored_elsewhere=(lambda *span: _stored(client, *span)) if timed else None,
    )


@contextmanager
def findings(
    client: OpenSearch, filters: Filters, view: View, tally: Tally, progress: Progress
) -> Iterator[Iterator[Flaw]]:
    """Findings and notes on what matches. OutOfReach, NotAllowed, BadFilter."""
    with (
        Workspace() as workspace,
        Snapshot.open(client, filters.query(), BY_STREAM, extra={"version": True}) as snapshot,
        progress(snapshot.total) as advance,
    ):
        yield check(_rows(snapshot, workspace, advance), view, tally)


def _rows(snapshot: Snapshot, workspace: Workspace, advance: Callable[[int], None]) -> Iterator[Row | Flaw]:
    for count, hit in enumerate(snapshot.hits(), start=1):
        row = row_of(hit["_source"])
        if isinstance(row, Row):
            row = placed(row, index=hit["_index"], doc_id=hit["_id"], version=hit["_version"])
            workspace.add_key(row)
        if count % _REPORT_EVERY == 0:
            advance(count)
        yield row
    advance(snapshot.total)
    yield from workspace.repeated_keys()


def _stored(client: OpenSearch, stream: str, first: int, last: int) -> int:
    """How many of these numbers the index has at any time."""
    found: set[int] = set()
    for start in range(first, last + 1, _LOOK_UP):
        numbers = {"gte": start, "lte": min(last, start + _LOOK_UP - 1)}
        clauses = [{"term": {"audit.stream": stream}}, {"range": {"audit.sequence": numbers}}]
        body = {
            "query": {"bool": {"filter": clauses}},
            "size": 2 * _LOOK_UP,
            "_source": False,
            "docvalue_fields": ["audit.sequence"],
        }
        hits = ask_all_shards(client, body)["hits"]["hits"]
        found.update(hit["fields"]["audit.sequence"][0] for hit in hits)
    return len(found)
