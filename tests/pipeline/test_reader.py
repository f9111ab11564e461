"""Reading from a real node: each filter, pages, order, one by its id, and never a part."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from auditpipe.pipeline import reader
from auditpipe.pipeline.export import Request, to_file
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import BY_STREAM, Snapshot, by_time, complete, search, show
from auditpipe.pipeline.tail import Tail
from auditpipe.schemas.errors import BadFilter, NoSuchEvent, OutOfReach, UsageError
from auditpipe.schemas.identity import DAY, SECOND, index_of, new_event_id, parse_time
from tests.builders import START_NS, Document, event, stream
from tests.conftest import RealOpenSearch
from tests.stored import ids, organization, overwrite, store

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    """What tells the event that filters look for from the others."""
    return {
        **{"event__action": "user.team.updated", "event__outcome": "failure", "event__reason": "not_allowed"},
        **{"user__id": "u42", "user__name": "bob", "user__email": "bob@example.com"},
        **{"audit__target__type": "team", "audit__target__id": "t:4", "audit__target__name": "Blue"},
        **{"audit__changed": ["address.city"], "audit__session__id": "s42", "http__request__id": "r42"},
        **{"trace__id": "tr42", "source__ip": "198.51.100.7", "related__ip": ["198.51.100.7", "2001:db8::7"]},
        **{"related__user": ["u42", "bob", "u99"], "service__name": "billing", "message": "Bob renamed Blue to Green"},
    }


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch, one: dict[str, Any]) -> str:
    name = organization()
    store(opensearch, [*stream(3, organization__id=name), event(START_NS + 10 * SECOND, organization__id=name, **one)])
    return name


def found(opensearch: RealOpenSearch, filters: Filters, **how: Any) -> list[Document]:
    with search(opensearch.client(opensearch.super_admin), filters, **how) as results:
        return list(results.documents)


@pytest.mark.parametrize(
    "given",
    [
        {"actions": ("user.team.updated",)},
        {"actions": ("user.team.*",)},
        {"actions": ("*.team.*", "user.role.created")},
        {"actor": "u42"},
        {"actor": "bob"},
        {"actor": "bob@example.com"},
        {"user": "u99"},
        {"target": "team"},
        {"target": "team:t:4"},
        {"changed": "address.city"},
        {"changed": "address"},
        {"changed": "address.*"},
        {"outcome": "failure"},
        {"reason": "not_allowed"},
        {"ip": "198.51.100.7"},
        {"ip": "198.51.100.0/24"},
        {"ip": "2001:db8::/32"},
        {"service": "billing"},
        {"session": "s42"},
        {"request": "r42"},
        {"request": "tr42"},
        {"since_ns": START_NS + 10 * SECOND},
        {"since_ns": START_NS + 3 * SECOND, "until_ns": START_NS + 11 * SECOND},
        {"lucene": "Green"},
        {"lucene": "renamed Green"},
        {"lucene": "event.outcome:failure AND user.name:b*"},
        {"actor": "bob", "outcome": "failure", "ip": "198.51.100.7", "lucene": "Blue"},
    ],
    ids=str,
)
def test_each_filter_finds_the_one_and_no_other(opensearch: RealOpenSearch, org: str, given: dict[str, Any]) -> None:
    [document] = found(opensearch, Filters(organization=org, **given))
    assert document["user"]["id"] == "u42"


@pytest.mark.parametrize(
    "given",
    [
        {"actor": "u99"},
        {"actor": "Bob"},
        {"target": "team:t"},
        {"changed": "addr"},
        {"until_ns": START_NS},
        {"since_ns": START_NS + 10 * SECOND + 1},
        {"lucene": "Green Dow"},
        {"actor": "bob", "outcome": "success"},
    ],
    ids=str,
)
def test_what_does_not_match_is_not_found(opensearch: RealOpenSearch, org: str, given: dict[str, Any]) -> None:
    assert found(opensearch, Filters(organization=org, **given)) == []


def test_a_query_string_that_is_none_is_a_bad_filter(opensearch: RealOpenSearch, org: str) -> None:
    for text in ("message:(", "source.ip:nowhere", "AND"):
        with pytest.raises(BadFilter, match="can't read this query"):
            found(opensearch, Filters(organization=org, lucene=text))


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 12, 1000])
def test_a_limit_beyond_a_page_goes_on_through_a_point_in_time(
    opensearch: RealOpenSearch, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(reader, "PAGE", 2)
    monkeypatch.setattr(reader, "BATCH", 3)
    org = organization()
    documents = store(opensearch, [*stream(5, organization__id=org), *stream(5, organization__id=org, step_ns=0)])
    with search(opensearch.client(), Filters(organization=org), limit=limit, order="asc") as results:
        got = list(results.documents)
        assert results.total == 10
    expected = sorted(documents, key=lambda d: (d["@timestamp"], d["event"]["id"]))[:limit]
    assert ids(got) == ids(expected)


def test_newest_first_unless_asked_otherwise(opensearch: RealOpenSearch, org: str) -> None:
    newest = found(opensearch, Filters(organization=org))
    assert ids(newest) == ids(found(opensearch, Filters(organization=org), order="asc"))[::-1]
    assert newest[0]["user"]["id"] == "u42"


def test_a_stored_document_comes_back_exactly(opensearch: RealOpenSearch) -> None:
    details = {"big": 2**53 - 1, "small": -(2**53) + 1, "text": "\u2028 é 漢 \U0001f600 \x00", "list": [None, True, []]}
    [document] = store(opensearch, [event(organization__id=organization(), audit__details=details)])
    assert show(opensearch.client(opensearch.super_admin), document["event"]["id"]) == document


def test_show_sees_an_event_before_any_refresh(opensearch: RealOpenSearch) -> None:
    [document] = store(opensearch, [event()], refresh=False)
    assert show(opensearch.client(opensearch.super_admin), f" {document['event']['id'].upper()} ") == document


def test_show_knows_no_event_of_a_time_that_no_event_can_have(opensearch: RealOpenSearch) -> None:
    with pytest.raises(NoSuchEvent, match="2106"):
        show(opensearch.client(opensearch.super_admin), "ffffffff-ffff-7fff-8fff-ffffffffffff")


def test_show_finds_an_event_that_is_stored_in_another_month(opensearch: RealOpenSearch) -> None:
    [there] = store(opensearch, [event()])
    lost = event(parse_time("1985-05-05T05:05:05Z"))
    index = f"audit-events-{there['@timestamp'][:7].replace('-', '.')}"
    overwrite(opensearch, index, lost["event"]["id"], lost)
    assert show(opensearch.client(opensearch.super_admin), lost["event"]["id"]) == lost


@pytest.mark.parametrize("ns", [START_NS, parse_time("1971-01-01T00:00:00Z")])
def test_no_such_event(opensearch: RealOpenSearch, ns: int) -> None:
    with pytest.raises(NoSuchEvent):
        show(opensearch.client(opensearch.super_admin), new_event_id(ns))


@pytest.mark.parametrize("text", ["", "x", "../_search", "0197b3c4-5d6e-4f80-9a1b-2c3d4e5f6071"])
def test_what_is_no_event_id_is_wrong_usage(opensearch: RealOpenSearch, text: str) -> None:
    with pytest.raises(UsageError, match="expected an event id"):
        show(opensearch.client(), text)


def test_a_snapshot_does_not_see_what_comes_later_and_is_closed(opensearch: RealOpenSearch) -> None:
    org, client = organization(), opensearch.client()
    store(opensearch, stream(3, organization__id=org))
    with Snapshot.open(client, Filters(organization=org).query(), by_time(), batch=2) as snapshot:
        store(opensearch, stream(2, organization__id=org))
        assert len(list(snapshot.hits())) == snapshot.total == 3
    open_now = opensearch.request("GET", "/_search/point_in_time/_all").get("pits", [])
    assert snapshot._pit not in [pit["pit_id"] for pit in open_now]


def test_a_snapshot_is_closed_when_its_reader_fails(opensearch: RealOpenSearch) -> None:
    client = opensearch.client()
    with (
        pytest.raises(ZeroDivisionError),
        Snapshot.open(client, Filters().query(), by_time()) as snapshot,
    ):
        raise ZeroDivisionError
    open_now = opensearch.request("GET", "/_search/point_in_time/_all").get("pits", [])
    assert snapshot._pit not in [pit["pit_id"] for pit in open_now]


@pytest.mark.parametrize(
    "answer",
    [
        {"timed_out": True, "_shards": {"total": 2, "successful": 2, "failed": 0}},
        {"timed_out": False, "_shards": {"total": 2, "successful": 1, "failed": 1}},
        {"_shards": {"total": 2, "successful": 1, "failed": 1, "failures": [{"reason": {"reason": "gone"}}]}},
        {"_shards": {"total": 107, "successful": 39, "skipped": 3, "failed": 0}},
    ],
)
def test_a_part_is_never_taken_for_the_whole(answer: dict[str, Any]) -> None:
    with pytest.raises(OutOfReach, match="nothing is shown, because it would not be all"):
        complete(answer)


def test_a_shard_that_was_skipped_because_nothing_in_it_can_match_is_no_missing_part() -> None:
    answer = {"timed_out": False, "_shards": {"total": 13, "successful": 13, "skipped": 12, "failed": 0}}
    assert complete(answer) == answer


@pytest.fixture
def recovering(opensearch: RealOpenSearch) -> Iterator[None]:
    """A month whose shard has no started copy, as all of them have after a crash until they are recovered."""
    index, nowhere = "audit-events-1979.09", {"index.routing.allocation.require._name": "nowhere"}
    opensearch.request("PUT", f"/{index}?wait_for_active_shards=0", {"settings": nowhere})
    try:
        yield
    finally:
        opensearch.request("DELETE", f"/{index}")


@pytest.mark.usefixtures("recovering")
def test_while_shards_recover_every_reader_is_out_of_reach(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    client = opensearch.client(opensearch.super_admin)
    readers: list[Callable[[], object]] = [
        lambda: found(opensearch, Filters()),
        lambda: found(opensearch, Filters(), limit=5_000),
        lambda: show(client, new_event_id(START_NS)),
        lambda: list(Tail(client, Filters()).poll()),
        lambda: to_file(client, Request(Filters()), tmp_path / "events.ndjson"),
        lambda: complete(client.count(index="audit-events-*")),
    ]
    for read in readers:
        with pytest.raises(OutOfReach, match="the cluster is still recovering"):
            read()
    assert list(tmp_path.iterdir()) == []


def test_a_tail_goes_on_where_it_was_when_the_shards_are_back(opensearch: RealOpenSearch) -> None:
    org, index, at = organization(), "audit-events-1979.10", parse_time("1979-10-10T00:00:00Z")
    rule = "index.routing.allocation.require._name"
    tail = Tail(opensearch.client(opensearch.super_admin), Filters(organization=org))
    assert list(tail.poll()) == []
    opensearch.request("PUT", f"/{index}?wait_for_active_shards=0", {"settings": {rule: "nowhere"}})
    try:
        with pytest.raises(OutOfReach):
            list(tail.poll())
        opensearch.request("PUT", f"/{index}/_settings", {rule: None})
        opensearch.request("GET", f"/_cluster/health/{index}?wait_for_status=green")
        documents = store(opensearch, [event(at, organization__id=org)])
        assert ids(list(tail.poll())) == ids(documents)
    finally:
        opensearch.request("DELETE", f"/{index}")


def test_a_cluster_without_audit_indices_says_what_makes_them() -> None:
    nothing = {"_shards": {"total": 0, "failed": 0}, "hits": {"hits": [], "total": {"value": 0}}}
    client = Mock(search=Mock(return_value=nothing), create_pit=Mock(return_value={**nothing, "pit_id": "p"}))
    for limit in (1, 5000):
        with pytest.raises(OutOfReach, match="auditpipe provision"), search(client, Filters(), limit=limit):
            pass
    client.delete_pit.assert_called_once_with(body={"pit_id": ["p"]})


def test_events_of_one_nanosecond_and_doubles_in_two_indices_are_all_read(opensearch: RealOpenSearch) -> None:
    org = organization()
    [document] = store(opensearch, [event(organization__id=org)])
    store(opensearch, [event(START_NS - 40 * DAY)])
    other = "audit-events-2026.08"
    overwrite(opensearch, other, document["event"]["id"], document)
    with Snapshot.open(opensearch.client(), Filters(organization=org).query(), by_time(), batch=1) as snapshot:
        assert [hit["_index"] for hit in snapshot.hits()] == [other, "audit-events-2026.10"]


def test_documents_without_what_is_sorted_by_are_read_too(opensearch: RealOpenSearch) -> None:
    """Whoever may write could else keep everyone from reading on behind them."""
    org, client = organization(), opensearch.client()
    store(opensearch, stream(2, organization__id=org))
    for _ in range(3):
        client.index(index="audit-events-2026.10", body={"organization": {"id": org}}, params={"refresh": "true"})
    for sort in (by_time(), by_time("desc"), BY_STREAM):
        with Snapshot.open(client, Filters(organization=org).query(), sort, batch=1) as snapshot:
            assert len(list(snapshot.hits())) == snapshot.total == 5


def test_a_closed_month_is_told_and_not_passed_over(opensearch: RealOpenSearch) -> None:
    """Closing needs the admin certificate; what is read meanwhile would not be all."""
    [document] = store(opensearch, [event(parse_time("1986-06-06T06:06:06Z"))])
    index = index_of(parse_time(document["@timestamp"]))
    client = opensearch.client(opensearch.super_admin)
    opensearch.request("POST", f"/{index}/_close")
    try:
        with pytest.raises(OutOfReach, match="a month is closed"), search(client, Filters()):
            pass
        with pytest.raises(OutOfReach, match="a month is closed"), Snapshot.open(client, {"match_all": {}}, by_time()):
            pass
    finally:
        opensearch.request("POST", f"/{index}/_open")
    with search(client, Filters(organization=document["organization"]["id"])) as results:
        assert results.total
