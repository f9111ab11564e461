"""The saved objects: the same each time, what the article asks for, and made from what they speak of."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.dashboards.check import checking
from auditpipe.dashboards.objects import boards, charts, queries, searches
from auditpipe.dashboards.objects.build import GENERATED, build, generate, load
from auditpipe.dashboards.objects.fields import all_fields
from auditpipe.dashboards.objects.pattern import index_pattern
from auditpipe.dashboards.objects.saved import SavedObject, ndjson, parse
from auditpipe.schemas import mapping
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.events_document import searches as documented

OBJECTS = build()


def of(kind: str) -> list[SavedObject]:
    return [one for one in OBJECTS if one.type == kind]


def test_the_same_code_makes_the_same_file() -> None:
    assert len({generate() for _ in range(3)}) == 1


def test_the_file_that_is_imported_is_what_the_code_makes() -> None:
    assert load() == OBJECTS


def test_nothing_is_wrong_with_them() -> None:
    assert checking.offline(OBJECTS) == []


def test_ids_are_readable_and_each_is_there_once() -> None:
    ids = [one.id for one in OBJECTS]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("audit-") and name == name.lower() and " " not in name for name in ids)


def test_what_was_asked_for_is_there() -> None:
    assert [len(of(kind)) for kind in ("index-pattern", "dashboard")] == [1, 4]
    titles = {one.attributes["title"].removeprefix("Audit: ") for one in OBJECTS}
    assert titles >= {
        *("all events", "failed sign-ins", "profile changes", "role and team changes", "exports", "refused access"),
        *("events over time by outcome", "actions", "most active actors", "failed sign-ins by account"),
        *("failed sign-ins by address", "changes by field", "exports by person"),
        *("Overview", "Sign-ins", "Changes", "Exports"),
    }


def test_every_item_of_the_article_has_a_saved_query_that_asks_what_the_document_says() -> None:
    found = {one.attributes["title"]: one.attributes["query"]["query"] for one in of("query")}
    assert found == {search.item.item: search.lucene for search in documented(builtin())}
    assert len(found) == sum(len(action.article) for action in builtin().values())


def test_every_list_shows_what_the_article_shows_and_the_message() -> None:
    """Time, action, actor, target, what was changed, outcome, address; the time is the pattern's own column."""
    for one in of("search"):
        columns = one.attributes["columns"]
        for name in ("event.action", "user.name", "audit.target.name", "message", "event.outcome", "source.ip"):
            assert name in columns
        assert one.attributes["sort"] == [["@timestamp", "desc"]]


def test_every_dashboard_begins_with_filter_controls_and_ends_with_the_events() -> None:
    for one in of("dashboard"):
        first, last = one.references[0], one.references[-1]
        control = next(o for o in OBJECTS if o.id == first.id)
        assert json.loads(control.attributes["visState"])["type"] == "input_control_vis"
        assert last.type == "search"


def places(one: SavedObject) -> list[dict[str, int]]:
    return [panel["gridData"] for panel in json.loads(one.attributes["panelsJSON"])]


def test_no_panel_lies_on_another_or_beyond_the_grid() -> None:
    for one in of("dashboard"):
        taken = [
            (x, y) for p in places(one) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
        ]
        assert len(taken) == len(set(taken))
        assert all(x < 48 for x, _ in taken)


def test_every_search_and_every_chart_is_made_into_an_object_and_no_id_is_of_something_else() -> None:
    assert {one.id for one in of("search")} == {search.id for search in searches.SEARCHES}
    assert {one.id for one in of("visualization")} == {one.id for one in (*charts.CHARTS, *charts.CONTROLS)}
    assert {one.id for one in of("dashboard")} == {board.id for board in boards.BOARDS}


def test_the_fields_are_those_of_the_mapping() -> None:
    def leaves(properties: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, definition in properties.items():
            inner = definition.get("properties")
            found |= leaves(inner, f"{prefix}{name}.") if inner else {prefix + name}
        return found

    own = {field.name for field in all_fields() if not field.meta}
    assert own == leaves(mapping.load()["mappings"]["properties"]) - {"audit.details"}  # that one is not indexed


@pytest.mark.parametrize("outcome", ["success", "failure", "unknown"])
def test_every_outcome_has_a_colour_that_can_be_read(outcome: str) -> None:
    formats = json.loads(index_pattern().attributes["fieldFormatMap"])
    [colour] = [c for c in formats["event.outcome"]["params"]["colors"] if c["regex"] == f"^{outcome}$"]
    assert contrast(colour["text"], colour["background"]) >= 4.5  # WCAG 2.2, 1.4.3


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@given(st.randoms(use_true_random=False))
def test_a_file_reads_back_as_what_was_written_in_any_order(shuffle: random.Random) -> None:
    objects = list(OBJECTS)
    shuffle.shuffle(objects)
    assert parse(ndjson(objects), "x.ndjson") == tuple(objects)


def test_the_last_line_of_an_export_of_dashboards_is_no_object() -> None:
    counted = '{"exportedCount":48,"missingRefCount":0,"missingReferences":[]}\n'
    assert parse(generate() + counted, GENERATED) == OBJECTS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "x.ndjson: expected saved objects, one a line"),
        ("{", "x.ndjson:1: expected a saved object as JSON"),
        ("[]", "x.ndjson:1: expected a JSON object, got list"),
        ('\n{"type": "search"}', "x.ndjson:2: expected type, id and attributes"),
        ('{"type": "search", "id": "a", "attributes": {}, "references": [{}]}', "x.ndjson:1: expected references"),
        ('{"type": "search", "id": "a", "attributes": {}, "migrationVersion": 1}', "x.ndjson:1: expected references"),
    ],
)
def test_a_file_of_something_else_is_refused_by_its_line(content: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(content, "x.ndjson")


def test_an_id_of_a_query_is_a_word_of_letters_and_digits() -> None:
    assert all(
        set(one.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        for one in map(queries.saved_query, documented(builtin()))
    )
