"""What the check finds in the objects alone: each rule of Dashboards, broken one at a time."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auditpipe.dashboards.check import checking
from auditpipe.dashboards.objects.build import build
from auditpipe.dashboards.objects.saved import Reference, SavedObject

OBJECTS = build()
PATTERN = "index-pattern/audit-events"
SEARCH = "search/audit-search-failed-sign-ins"
CHART = "visualization/audit-vis-failed-sign-ins-by-account"
CONTROLS = "visualization/audit-vis-controls-overview"
BOARD = "dashboard/audit-dashboard-overview"
QUERY = "query/audit-query-login-fail"


def changed(name: str, change: Callable[[SavedObject], SavedObject]) -> list[str]:
    """What the check says of our objects with one of them changed."""
    objects = [change(one) if one.name == name else one for one in OBJECTS]
    assert objects != list(OBJECTS)
    return [str(problem) for problem in checking.offline(objects)]


def attribute(path: str, value: Any) -> Callable[[SavedObject], SavedObject]:
    """Set (or, with None, remove) the attribute at a dotted path. Behind `!` the path goes on inside its JSON."""

    def change(one: SavedObject) -> SavedObject:
        outer, _, inner = path.partition("!")
        attributes = json.loads(json.dumps(dict(one.attributes)))
        *way, last = outer.split(".")
        place = attributes
        for key in way:
            place = place[key]
        if inner:
            content = json.loads(place[last])
            _set(content, inner.split("."), value)
            place[last] = json.dumps(content)
        else:
            _set(place, [last], value)
        return replace(one, attributes=attributes)

    return change


def _set(content: Any, way: list[str], value: Any) -> None:
    *keys, last = [int(key) if key.isdigit() else key for key in way]
    for key in keys:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


def references(*wanted: Reference) -> Callable[[SavedObject], SavedObject]:
    return lambda one: replace(one, references=wanted)


META = "kibanaSavedObjectMeta.searchSourceJSON"
LINK = "../app/discover#/doc/x/y?id={{value}}"
INDEX = Reference(META + ".index", "index-pattern", "audit-events")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        # attributes
        (SEARCH, attribute("colour", "red"), "Dashboards refuses the attribute 'colour'"),
        (PATTERN, attribute("typeMeta", "{}"), "Dashboards refuses the attribute 'typeMeta'"),
        (QUERY, attribute("language", "lucene"), "Dashboards refuses the attribute 'language'"),
        (BOARD, attribute("title", None), "expected the attribute 'title'"),
        (CHART, attribute("visState", None), "expected the attribute 'visState'"),
        (CHART, attribute("visState", "{"), "visState: expected JSON in a string, an object"),
        (CHART, attribute("visState", {"type": "table"}), "visState: expected JSON in a string, an object"),
        (BOARD, attribute("panelsJSON", "{}"), "panelsJSON: expected JSON in a string, a list"),
        # versions
        (SEARCH, lambda one: replace(one, migration_version="7.10.0"), "expected 7.9.3 at most, got 7.10.0: 422"),
        (QUERY, lambda one: replace(one, migration_version="7.0.0"), "expected none, got 7.0.0: 422 at import"),
        (SEARCH, lambda one: replace(one, type="lens"), "expected one of the types index-pattern, search"),
        # references
        (SEARCH, references(), f"names '{INDEX.name}', which is not among its references"),
        (SEARCH, references(replace(INDEX, id="logs")), "refers to index-pattern/logs, which is not in the file"),
        (SEARCH, references(replace(INDEX, type="search")), "expected a index-pattern, got search/audit-events"),
        (SEARCH, references(INDEX, Reference("more", "search", "x")), "the reference 'more' is used by nothing in it"),
        (CHART, references(Reference("search_0", "search", "gone")), "refers to search/gone, which is not in the file"),
        (BOARD, attribute("panelsJSON!0.panelRefName", None), "panel 0 shows nothing: expected panelRefName"),
        (BOARD, attribute("panelsJSON!0.panelRefName", "panel_9"), "panel 0 names 'panel_9', which is not among"),
        (CONTROLS, attribute("visState!params.controls.1.indexPatternRefName", None), "control 1 reads no index"),
        (CHART, attribute("savedSearchRefName", None), "reads no index pattern: expected savedSearchRefName"),
        (SEARCH, attribute(META + "!indexRefName", None), "reads no index pattern: expected indexRefName"),
        (SEARCH, attribute(META + "!index", "audit-events"), "searchSourceJSON.index holds an id"),
        (BOARD, attribute("panelsJSON!0.id", "x"), "panel 0 holds an id"),
        # a form that Dashboards does not write
        (SEARCH, attribute("sort", ["@timestamp", "desc"]), "its JSON has another form than Dashboards writes"),
        (CONTROLS, attribute("visState!params.controls.1.fieldName", None), "another form than Dashboards writes: Key"),
        (BOARD, attribute("panelsJSON!0", 5), "another form than Dashboards writes: AttributeError"),
        # fields
        (SEARCH, attribute("columns", ["event.actions"]), "columns: no field 'event.actions' in the mapping"),
        (SEARCH, attribute("sort", [["message", "desc"]]), "sort: the field 'message' (text) is not aggregatable"),
        (SEARCH, attribute(META + "!query.query", "user.nme:ada"), "query: no field 'user.nme' in the mapping"),
        (SEARCH, attribute(META + "!query.query", "_exists_:audit.details"), "query: no field 'audit.details'"),
        (QUERY, attribute("query.query", "a OR (-event.acton:x)"), "query: no field 'event.acton' in the mapping"),
        (CHART, attribute("visState!aggs.1.params.field", "message"), "terms 2: the field 'message' (text) is not agg"),
        (CHART, attribute("visState!aggs.1.params.field", "user.nme"), "terms 2: no field 'user.nme' in the mapping"),
        (CONTROLS, attribute("visState!params.controls.0.fieldName", "message"), "control 'Action': the field"),
        (PATTERN, attribute("timeFieldName", "time"), "timeFieldName: no field 'time' in the mapping"),
        (PATTERN, attribute("fields!0.name", "gone"), "fields: no field 'gone' in the mapping"),
        (PATTERN, attribute("fields!1", None), "is in the mapping and not in the index pattern"),
        (PATTERN, attribute("fields!0.aggregatable", False), "expected aggregatable True, got False"),
        (
            PATTERN,
            attribute("fieldFormatMap", json.dumps({"event.id": {"params": {"urlTemplate": LINK}}})),
            "fieldFormatMap: 'event.id' links to index-pattern/x, not in the file",
        ),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_named(name: str, change: Callable[[SavedObject], SavedObject], said: str) -> None:
    found = changed(name, change)
    assert [sentence for sentence in found if said in sentence], found


def test_an_object_that_is_there_twice_is_found() -> None:
    assert [str(problem) for problem in checking.offline([*OBJECTS, OBJECTS[1]])] == [
        f"{OBJECTS[1].name}: is in the file 2 times"
    ]


def test_words_in_quotes_are_no_fields() -> None:
    said = changed(SEARCH, attribute(META + "!query.query", 'message:"no such: field" AND event.action:(a OR b)'))
    assert said == []
