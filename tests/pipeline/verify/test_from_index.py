"""`verify` on a real node, with what only the admin certificate can do to it."""

import json
import secrets
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import orjson
import pytest

from auditpipe.pipeline.export import silent
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.verify.chain import Tally, verdict
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.from_index import findings, view_of
from auditpipe.pipeline.verify.view import Terms
from auditpipe.schemas.identity import DAY, SECOND, index_of, new_event_id, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import START_NS, Document, event, seal, stream
from tests.conftest import RealOpenSearch
from tests.stored import organization, overwrite, store

pytestmark = pytest.mark.opensearch


@pytest.fixture
def org() -> str:
    return organization()


def examine(opensearch: RealOpenSearch, filters: Filters, grace: float = 60) -> tuple[list[Flaw], str]:
    return examine_as(opensearch, opensearch.super_admin, filters, Terms(grace_seconds=grace))


def examine_as(opensearch: RealOpenSearch, reader: Settings, filters: Filters, terms: Terms) -> tuple[list[Flaw], str]:
    client, tally = opensearch.client(reader), Tally()
    view = view_of(client, filters, terms)
    with findings(client, filters, view, tally, silent, terms) as flaws:
        found = list(flaws)
    return found, verdict(tally, view)


def kinds(opensearch: RealOpenSearch, filters: Filters) -> list[str]:
    return [flaw.kind for flaw in examine(opensearch, filters)[0]]


def index(document: Document) -> str:
    return index_of(parse_time(document["@timestamp"]))


def remove(opensearch: RealOpenSearch, document: Document) -> None:
    opensearch.client().delete(index=index(document), id=document["event"]["id"], params={"refresh": "true"})


def alter(opensearch: RealOpenSearch, document: Document, **fields: Any) -> None:
    overwrite(opensearch, index(document), document["event"]["id"], {**document, **fields})


def test_untouched_streams_are_sound(opensearch: RealOpenSearch, org: str) -> None:
    month_end = parse_time("2026-09-30T23:59:57Z")
    store(opensearch, [*stream(6, organization__id=org, start_ns=month_end), *stream(3, organization__id=org)])
    assert examine(opensearch, Filters(organization=org)) == ([], "sound")


def test_an_altered_event_is_found_with_its_place(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(3, organization__id=org))
    alter(opensearch, documents[1], message="changed")
    [flaw], said = examine(opensearch, Filters(organization=org))
    assert said == "findings"
    assert (flaw.kind, flaw.stream, flaw.sequence) == ("altered", documents[1]["audit"]["stream"], 2)
    assert (flaw.event_id, flaw.time) == (documents[1]["event"]["id"], documents[1]["@timestamp"])


def test_an_event_written_again_is_found_even_if_it_is_the_same(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(3, organization__id=org))
    alter(opensearch, documents[1])
    assert kinds(opensearch, Filters(organization=org)) == ["overwritten"]


def test_a_removed_event_is_a_gap(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(5, organization__id=org))
    remove(opensearch, documents[2])
    assert kinds(opensearch, Filters(organization=org)) == ["gap"]


def test_a_month_that_was_removed_as_a_whole_is_told_from_a_loss(opensearch: RealOpenSearch, org: str) -> None:
    """By a month of its own, far from those of other tests."""
    month_end = parse_time("2019-03-31T23:59:57Z")
    documents = store(opensearch, stream(9, organization__id=org, start_ns=month_end, name=new_event_id(month_end)))
    assert examine(opensearch, Filters(organization=org)) == ([], "sound")
    opensearch.client().indices.delete(index="audit-events-2019.03")
    [flaw], said = examine(opensearch, Filters(organization=org))
    assert (flaw.kind, flaw.sequence, said) == ("gap", 4, "findings"), flaw
    assert flaw.detail == (
        "numbers 1 to 3 (3 events) before it: missing; by their neighbours' times of 2019-03 to 2019-04; "
        "nothing at all is stored of 2019-03: removed as a whole, or never kept"
    )
    remove(opensearch, documents[5])
    assert "nothing at all" not in examine(opensearch, Filters(organization=org))[0][1].detail


def test_many_documents_without_a_place_hide_nothing(opensearch: RealOpenSearch, org: str) -> None:
    """They sort behind all others, more of them than one answer holds."""
    store(opensearch, stream(3, organization__id=org))
    strays = [{"@timestamp": "2026-10-10T10:00:00Z", "organization": {"id": org}, "n": n} for n in range(2_500)]
    lines = [line for stray in strays for line in ({"create": {"_index": "audit-events-2026.10"}}, stray)]
    body = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    assert not opensearch.client().bulk(body=body, params={"refresh": "true"})["errors"]
    assert Counter(kinds(opensearch, Filters(organization=org))) == {"unlinked": 2_500}


def test_an_event_in_an_index_that_keeps_no_documents_is_found(opensearch: RealOpenSearch, org: str) -> None:
    documents, forged = store(opensearch, stream(3, organization__id=org)), f"audit-events-{org}"
    client, nothing_kept = opensearch.client(), {"mappings": {"_source": {"enabled": False}}}
    client.indices.create(index=forged, body=nothing_kept)
    try:
        overwrite(opensearch, forged, documents[1]["event"]["id"], documents[1])
        remove(opensearch, documents[1])
        found, _ = examine(opensearch, Filters(organization=org))
    finally:
        client.indices.delete(index=forged)
    assert sorted((flaw.kind, flaw.event_id) for flaw in found) == [
        ("gap", documents[2]["event"]["id"]),
        ("unlinked", documents[1]["event"]["id"]),
    ]


def test_contents_that_change_places_are_found(opensearch: RealOpenSearch, org: str) -> None:
    one, two, _ = store(opensearch, stream(3, organization__id=org))
    overwrite(opensearch, index(one), one["event"]["id"], two)
    overwrite(opensearch, index(two), two["event"]["id"], one)
    assert kinds(opensearch, Filters(organization=org)) == ["wrong_id", "wrong_id"]


def test_what_stands_in_for_a_removed_event_outside_of_a_range_must_fit(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(5, organization__id=org))
    ranged = Filters(organization=org, since_ns=START_NS, until_ns=START_NS + DAY)
    place = {"audit__stream": documents[0]["audit"]["stream"], "audit__sequence": 3}
    remove(opensearch, documents[2])
    assert kinds(opensearch, ranged) == ["gap"]
    store(opensearch, [event(START_NS - DAY, organization__id=org, **place)])
    assert kinds(opensearch, ranged) == ["broken_link", "broken_link"]


def test_a_copy_elsewhere_is_a_double_in_the_wrong_index(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(3, organization__id=org))
    store(opensearch, [event(START_NS - 30 * DAY)])
    overwrite(opensearch, index_of(START_NS - 30 * DAY), documents[1]["event"]["id"], documents[1])
    assert sorted(kinds(opensearch, Filters(organization=org))) == ["double", "wrong_index"]


def test_a_document_under_another_id_is_found(opensearch: RealOpenSearch, org: str) -> None:
    [document] = store(opensearch, stream(1, organization__id=org))
    remove(opensearch, document)
    overwrite(opensearch, index(document), "another-id", document)
    assert kinds(opensearch, Filters(organization=org)) == ["wrong_id"]


def test_a_document_without_a_place_is_unlinked(opensearch: RealOpenSearch, org: str) -> None:
    [document] = store(opensearch, stream(1, organization__id=org))
    alter(opensearch, document, audit={"schema": "1.0"})
    assert kinds(opensearch, Filters(organization=org)) == ["unlinked"]


def test_a_forged_event_breaks_the_link(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(3, organization__id=org))
    forged = seal({**documents[1], "message": "forged", "audit": {**documents[1]["audit"]}})
    alter(opensearch, forged)
    assert kinds(opensearch, Filters(organization=org)) == ["overwritten", "broken_link"]


def test_a_range_finds_nothing_missing_that_is_stored_outside_of_it(opensearch: RealOpenSearch, org: str) -> None:
    documents = list(stream(5, organization__id=org))
    # Number 3 happened a day before the others (a backfill), so its neighbours' range does not hold it.
    early = event(
        START_NS - DAY,
        organization__id=org,
        audit__stream=documents[0]["audit"]["stream"],
        audit__sequence=3,
        audit__previous=documents[1]["audit"]["hash"],
    )
    documents[2] = early
    for before, after in pairwise(documents[2:]):
        after["audit"]["previous"] = before["audit"]["hash"]
        seal(after)
    store(opensearch, documents)
    ranged = Filters(organization=org, since_ns=START_NS, until_ns=START_NS + DAY)
    assert examine(opensearch, ranged) == ([], "sound")
    remove(opensearch, early)
    assert kinds(opensearch, ranged) == ["gap"]


def test_a_range_that_begins_within_a_stream_is_sound(opensearch: RealOpenSearch, org: str) -> None:
    store(opensearch, stream(9, organization__id=org))
    assert examine(opensearch, Filters(organization=org, since_ns=START_NS + 4 * SECOND)) == ([], "sound")


def test_a_young_gap_is_not_arrived_yet(opensearch: RealOpenSearch, org: str) -> None:
    documents = list(stream(3, organization__id=org, start_ns=time.time_ns() - 3 * SECOND))
    store(opensearch, [documents[0], documents[2]])
    found, said = examine(opensearch, Filters(organization=org))
    assert ([flaw.kind for flaw in found], said) == (["not_arrived"], "not finished")
    assert examine(opensearch, Filters(organization=org), grace=0)[1] == "findings"


def test_a_filtered_view_is_hash_only(opensearch: RealOpenSearch, org: str) -> None:
    documents = store(opensearch, stream(3, organization__id=org))
    remove(opensearch, documents[1])
    assert examine(opensearch, Filters(organization=org, actor="ada")) == ([], "hash only")


def test_a_repeated_key_is_listed(opensearch: RealOpenSearch, org: str) -> None:
    store(opensearch, [event(organization__id=org, audit__key="k1"), event(organization__id=org, audit__key="k1")])
    assert kinds(opensearch, Filters(organization=org)) == ["repeated_key", "repeated_key"]


def test_nothing_is_empty(opensearch: RealOpenSearch, org: str) -> None:
    assert examine(opensearch, Filters(organization=org)) == ([], "empty")


def reader(opensearch: RealOpenSearch, **limits: Any) -> Settings:
    """Someone with a role of the cluster's own, that shows events with these limits."""
    name = f"test-{secrets.token_hex(4)}"
    permission = {"index_patterns": ["audit-events-*"], "allowed_actions": ["indices:data/read/*"], **limits}
    role = {"cluster_permissions": ["indices:data/read/point_in_time/*"], "index_permissions": [permission]}
    opensearch.request("PUT", f"/_plugins/_security/api/roles/{name}", role)
    return opensearch.add_user(name)


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({"masked_fields": ["user.name"]}, "altered"),
        ({"fls": ["~source.ip"]}, "altered"),
        ({"fls": ["~audit"]}, "unlinked"),
        ({"fls": ["organization.id", "audit.stream", "audit.sequence"]}, "unlinked"),
    ],
)
def test_a_masked_or_cut_view_is_not_verifiable(
    opensearch: RealOpenSearch, org: str, limits: dict[str, Any], kind: str
) -> None:
    """It changes or hides values and no events: not one has its hash then, and none is called lost."""
    store(opensearch, [*stream(3, organization__id=org), *stream(2, organization__id=org)])
    # By the rule on the node: a filter on a field that the reader can't see would find nothing.
    rule = json.dumps({"term": {"organization.id": org}})
    found, said = examine_as(opensearch, reader(opensearch, dls=rule, **limits), Filters(), Terms())
    assert [flaw.kind for flaw in found] == [kind] * 5
    assert said == "not verifiable"


def test_a_reader_of_one_organization_verifies_it_completely(opensearch: RealOpenSearch, org: str) -> None:
    """What others did, damaged or not, is neither shown nor missed; what is missing of its own is."""
    own = store(opensearch, [*stream(4, organization__id=org), *stream(3, organization__id=org)])
    other = store(opensearch, stream(4, organization__id=organization()))
    remove(opensearch, other[1])
    rule = json.dumps({"term": {"organization.id": org}})
    bound = reader(opensearch, dls=rule)
    assert examine_as(opensearch, bound, Filters(), Terms()) == ([], "sound")
    assert examine_as(opensearch, bound, Filters(since_ns=START_NS + SECOND), Terms()) == ([], "sound")
    remove(opensearch, own[1])
    found, said = examine_as(opensearch, bound, Filters(), Terms())
    assert ([(flaw.kind, flaw.sequence) for flaw in found], said) == ([("gap", 3)], "findings")
