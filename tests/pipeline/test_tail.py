"""Following a real node: in order of arrival, nothing twice, nothing missed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from opensearchpy import OpenSearch

from auditpipe.pipeline import tail as module
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.tail import Tail
from auditpipe.schemas.errors import OutOfReach
from auditpipe.schemas.identity import SECOND, parse_time
from tests.builders import START_NS, event, stream
from tests.conftest import RealOpenSearch
from tests.stored import ids, organization, store

pytestmark = pytest.mark.opensearch


@pytest.fixture
def client(opensearch: RealOpenSearch) -> OpenSearch:
    return opensearch.client(opensearch.super_admin)


def test_only_what_arrives_and_each_once(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    org = organization()
    store(opensearch, stream(3, organization__id=org))
    tail = Tail(client, Filters(organization=org))
    assert list(tail.poll()) == []
    first = store(opensearch, stream(4, organization__id=org))
    assert ids(list(tail.poll())) == ids(first)
    assert list(tail.poll()) == []
    second = store(opensearch, stream(2, organization__id=org))
    assert ids(list(tail.poll())) == ids(second)


def test_late_events_of_older_months_and_of_new_months_come_too(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    org = organization()
    store(opensearch, stream(1, organization__id=org))
    tail = Tail(client, Filters(organization=org))
    list(tail.poll())
    old = store(opensearch, [event(parse_time("1988-08-08T08:08:08Z"), organization__id=org)])
    assert ids(list(tail.poll())) == ids(old)
    older = store(opensearch, [event(START_NS - 5 * SECOND, organization__id=org)])
    assert ids(list(tail.poll())) == ids(older)


def test_since_begins_earlier_and_then_follows_everything(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    org = organization()
    before = store(opensearch, stream(5, organization__id=org))
    tail = Tail(client, Filters(organization=org, since_ns=START_NS + 3 * SECOND))
    assert ids(list(tail.poll())) == ids(before[3:])
    late = store(opensearch, [event(START_NS, organization__id=org)])
    assert ids(list(tail.poll())) == ids(late)


def test_filters_hold(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    org = organization()
    tail = Tail(client, Filters(organization=org, outcome="failure"))
    list(tail.poll())
    store(opensearch, stream(2, organization__id=org))
    failed = store(opensearch, [event(organization__id=org, event__outcome="failure")])
    assert ids(list(tail.poll())) == ids(failed)


def test_more_than_a_batch(opensearch: RealOpenSearch, client: OpenSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    org = organization()
    tail = Tail(client, Filters(organization=org))
    list(tail.poll())
    documents = store(opensearch, stream(10, organization__id=org))
    assert ids(list(tail.poll())) == ids(documents)


def test_an_event_that_became_visible_between_earlier_ones_is_found(
    opensearch: RealOpenSearch, client: OpenSearch
) -> None:
    org = organization()
    tail = Tail(client, Filters(organization=org))
    list(tail.poll())
    documents = store(opensearch, stream(5, organization__id=org))
    given = list(tail.poll())
    # As if the third had not been there yet when it was read over.
    assert tail._months is not None
    [month] = [month for month in tail._months.values() if any(shard.seen for shard in month.shards)]
    [shard] = [shard for shard in month.shards if shard.seen]
    shard.seen.discard(sorted(shard.seen)[2])
    month.accounted -= 1
    assert ids(list(tail.poll())) == [ids(documents)[2]]
    assert list(tail.poll()) == []
    assert len(given) == 5


def test_an_outage_in_the_middle_loses_and_repeats_nothing(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    org = organization()
    before = store(opensearch, stream(4, organization__id=org))
    tail = Tail(client, Filters(organization=org, since_ns=0))
    got = []
    polled = tail.poll()
    got.append(next(polled))
    polled.close()  # what an error between two events leaves behind
    after = store(opensearch, stream(2, organization__id=org))
    got += tail.poll()
    assert ids(got) == ids(before) + ids(after)


def test_the_window_of_numbers_looked_back_on_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 3)
    shard = module._Shard("index", 0)
    for number in (1, 2, 5, 7, 9):
        shard.mark(number)
    assert (shard.seen, shard.floor, shard.highest) == ({5, 7, 9}, 2, 9)


def test_a_node_that_is_away_is_out_of_reach(opensearch: RealOpenSearch) -> None:
    away = replace(opensearch.super_admin, values={**opensearch.super_admin.values, "url": "https://127.0.0.1:9"})
    with pytest.raises(OutOfReach):
        list(Tail(opensearch.client(away), Filters()).poll())


def test_many_writers_at_once(opensearch: RealOpenSearch, client: OpenSearch) -> None:
    """Concurrent bulks and refreshes let numbers become visible out of order; each event still comes once."""
    org = organization()
    store(opensearch, stream(1, organization__id=org))
    tail = Tail(client, Filters(organization=org))
    list(tail.poll())

    def write(_writer: int) -> list[str]:
        documents = stream(200, organization__id=org)
        for start in range(0, 200, 20):
            store(opensearch, documents[start : start + 20], refresh=start % 40 == 0)
        return ids(documents)

    got = []
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(4)]
        while not all(future.done() for future in writing):
            got += tail.poll()
    opensearch.request("POST", "/audit-events-*/_refresh")
    got += tail.poll()
    written = [event_id for future in writing for event_id in future.result()]
    assert sorted(ids(got)) == sorted(written)
