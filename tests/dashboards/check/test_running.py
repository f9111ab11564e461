"""The check on a real node, with the events of the demo: nothing is found; and whatever is broken then, is."""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from auditpipe.dashboards.check import checking
from auditpipe.dashboards.check.running import Run
from auditpipe.dashboards.objects.build import GENERATED, build
from auditpipe.dashboards.objects.fields import all_fields
from auditpipe.dashboards.objects.saved import SavedObject, ndjson
from auditpipe.emitters import MemoryTransport
from auditpipe.examples.accounts.app import application, audit_log
from auditpipe.examples.accounts.server import serving
from auditpipe.examples.accounts.store import sample
from auditpipe.examples.accounts.walkthrough import perform
from auditpipe.pipeline import roles
from auditpipe.pipeline.query import Filters
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import OutOfReach
from auditpipe.schemas.events_document import searches as documented
from auditpipe.schemas.settings import Settings
from tests.conftest import RealOpenSearch, free_port
from tests.dashboards.check.test_offline import CHART, META, PATTERN, SEARCH, attribute
from tests.stored import run, store

pytestmark = pytest.mark.opensearch
OBJECTS = build()
CONTROLS = "visualization/audit-vis-controls-sign-ins"
BOARD = "dashboard/audit-dashboard-sign-ins"
QUERY = "query/audit-query-login-fail"
#: What one dashboard needs, and one query: a check of all takes many requests.
FEW = {
    *(PATTERN, SEARCH, CHART, "visualization/audit-vis-failed-sign-ins-by-address", CONTROLS, BOARD, QUERY),
}


@pytest.fixture(scope="module")
def demo(opensearch: RealOpenSearch, tmp_path_factory: pytest.TempPathFactory) -> OpenSearch:
    """The events that `auditpipe demo` leaves, on a node; a client of an Admin."""
    events, password = MemoryTransport(), secrets.token_urlsafe(16)
    with (
        audit_log(transport=events, spool_dir=tmp_path_factory.mktemp("demo")) as audit,
        serving(application(audit, sample(password))) as address,
    ):
        list(perform(address, password, "run-1"))
    store(opensearch, [json.loads(one.model_dump_json(by_alias=True, exclude_none=True)) for one in events.events])
    return opensearch.client(opensearch.add_user(roles.ADMIN))


def found(client: OpenSearch, objects: list[SavedObject]) -> list[str]:
    return [str(problem) for problem in Run(client, objects, time.time_ns()).problems()]


def few(name: str = "", change: Callable[[SavedObject], SavedObject] = lambda one: one) -> list[SavedObject]:
    return [change(one) if one.name == name else one for one in OBJECTS if one.name in FEW]


def test_an_admin_finds_nothing_wrong_with_any_object_after_the_demo(demo: OpenSearch) -> None:
    assert [str(problem) for problem in checking.on_cluster(demo, OBJECTS)] == []


def test_the_fields_of_the_pattern_are_what_dashboards_would_be_told_of_the_indices(demo: OpenSearch) -> None:
    """`_field_caps`, from which Dashboards makes a pattern's fields; objects in it are no fields to it."""
    answer = demo.field_caps(index="audit-events-*", params={"fields": "*"})["fields"]
    told = {
        name: (next(iter(kinds)), kind["searchable"], kind["aggregatable"])
        for name, kinds in answer.items()
        for kind in kinds.values()
        if not name.startswith("_") and next(iter(kinds)) != "object"
    }
    assert {f.name: (f.os_type, f.searchable, f.aggregatable) for f in all_fields() if not f.meta} == told


def test_a_saved_query_finds_what_the_documented_search_finds(demo: OpenSearch) -> None:
    """docs/events.md has `auditpipe search` with filters, Dashboards the same as one query string."""
    asked = {}
    for search in documented(builtin()):
        given = dict(zip(search.arguments[::2], search.arguments[1::2], strict=True))
        filters = Filters(
            actions=(given["--action"],),
            outcome=given.get("--outcome"),
            reason=given.get("--reason"),
            changed=given.get("--changed"),
            lucene=given.get("-q"),
        ).query()
        lucene = {"query_string": {"query": search.lucene, "analyze_wildcard": True}}
        asked[f"{search.item.item}: both"] = {"bool": {"must": [lucene, filters]}}
        asked[f"{search.item.item}: one"] = {"bool": {"must": [lucene], "must_not": [filters]}}
        asked[f"{search.item.item}: other"] = {"bool": {"must": [filters], "must_not": [lucene]}}
    body = {"size": 0, "aggs": {"asked": {"filters": {"filters": asked}}}}
    told = demo.search(index="audit-events-*", body=body)["aggregations"]["asked"]["buckets"]
    assert {name: bucket["doc_count"] > 0 for name, bucket in told.items()} == {
        name: name.endswith(": both") for name in asked
    }


HIDDEN = json.dumps(
    {"event.id": {"id": "url", "params": {"urlTemplate": "#/doc/audit-events/audit-events-2099.*?id="}}}
)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            SEARCH,
            attribute(META + "!query.query", "event.action:user.never_happened"),
            [
                f"{SEARCH}: would be empty: expected at least one event that it shows",
                f"{BOARD}: panel {CHART}: would be empty: expected at least one event that it shows",
            ],
        ),
        (
            SEARCH,
            attribute(META + "!query.query", "event.action:(unclosed"),
            [f"{SEARCH}: broken: OpenSearch can't read"],
        ),
        (SEARCH, attribute(META + "!query.query", "source.ip:not-an-address"), [f"{SEARCH}: broken: "]),
        (SEARCH, attribute(META + "!query.language", "kuery"), [f"{SEARCH}: broken: query: expected Lucene"]),
        (SEARCH, attribute("sort", [["message", "desc"]]), [f"{SEARCH}: broken: "]),
        (CHART, attribute("visState!aggs.1.params.field", "message"), [f"{BOARD}: panel {CHART}: broken: "]),
        (CHART, attribute("visState!aggs.1.params.field", "trace.id"), [f"{BOARD}: panel {CHART}: would be empty"]),
        (CHART, attribute("visState!aggs.1.type", "filters"), ["broken: aggregation 2: expected terms"]),
        (
            CONTROLS,
            attribute("visState!params.controls.0.fieldName", "trace.id"),
            [f"{BOARD}: panel {CONTROLS}: control 'Account': would be empty"],
        ),
        (
            CONTROLS,
            attribute("visState!params.controls.0.fieldName", "message"),
            [f"{BOARD}: panel {CONTROLS}: control 'Account': broken: "],
        ),
        (BOARD, attribute("timeFrom", "yesterday"), [f"{BOARD}: expected a time such as now-30d"]),
        (QUERY, attribute("query.query", "event.action:user.never_happened"), [f"{QUERY}: would be empty"]),
        (PATTERN, attribute("fieldFormatMap", HIDDEN), [f"{PATTERN}: fieldFormatMap: 'event.id': its link finds no"]),
        (PATTERN, attribute("fields!1.name", "gone"), [f"{PATTERN}: no index that you may see has the field 'gone'"]),
    ],
)
def test_what_would_be_empty_or_broken_is_found(
    demo: OpenSearch, name: str, change: Callable[[SavedObject], SavedObject], said: list[str]
) -> None:
    told = found(demo, few(name, change))
    for sentence in said:
        assert [one for one in told if sentence in one], told


def test_a_panel_is_looked_at_in_the_time_of_its_dashboard(demo: OpenSearch) -> None:
    """The demo's events are of now; between 60 and 30 days ago there are none."""
    old = replace_times("now-60d", "now-30d")
    told = found(demo, few(BOARD, old))
    assert told
    assert all(one.startswith(f"{BOARD}: panel ") and "would be empty" in one for one in told)
    assert checking.on_cluster(demo, few(BOARD, old), allow_empty=True) == []


def replace_times(since: str, until: str) -> Callable[[SavedObject], SavedObject]:
    return lambda one: replace(one, attributes={**one.attributes, "timeFrom": since, "timeTo": until})


def test_a_cluster_that_does_not_answer_is_no_finding(opensearch: RealOpenSearch) -> None:
    away = Settings({**opensearch.super_admin.values, "url": f"https://127.0.0.1:{free_port()}"})
    with pytest.raises(OutOfReach):
        checking.on_cluster(opensearch.client(away), few())


def command(opensearch: RealOpenSearch, *arguments: str) -> Any:
    return run("dashboards", "check", *arguments, env=opensearch.environment())


def test_the_command_says_each_finding_in_a_line_and_ends_with_1(
    demo: OpenSearch, opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    path = tmp_path / GENERATED
    path.write_text(ndjson(few(QUERY, attribute("query.query", "event.action:user.never_happened"))))
    done = command(opensearch, str(path))
    assert (done.code, done.out) == (1, f"{QUERY}: would be empty: expected at least one event that it shows\n")
    assert "7 objects, 1 findings" in done.err
    done = command(opensearch, str(path), "--allow-empty", "-o", "json")
    assert (done.code, json.loads(done.out)) == (0, [])
