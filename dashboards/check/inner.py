"""What is inside an object, as data: the JSON that Dashboards keeps in strings, and the names in it of other objects.

Of objects whose form was checked; `form` is what finds JSON that can't be read.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditpipe.dashboards.check.problem import Problem
from auditpipe.dashboards.objects.saved import SavedObject

#: Which attributes are JSON in a string, and what it must hold.
JSON_ATTRIBUTES: Mapping[str, Mapping[str, type]] = {
    "index-pattern": {"fields": list, "fieldFormatMap": dict},
    "search": {"kibanaSavedObjectMeta.searchSourceJSON": dict},
    "visualization": {"visState": dict, "uiStateJSON": dict, "kibanaSavedObjectMeta.searchSourceJSON": dict},
    "dashboard": {"panelsJSON": list, "optionsJSON": dict, "kibanaSavedObjectMeta.searchSourceJSON": dict},
    "query": {},
}


@dataclass(frozen=True, slots=True)
class Named:
    """A name by which an object speaks of another: where it says so, the name, and of which types that may be."""

    where: str
    name: str
    types: tuple[str, ...]


def readable(one: SavedObject, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What `look` finds in an object, or that its JSON is of another form than Dashboards writes."""
    try:
        return list(look())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return [Problem(one.name, f"its JSON has another form than Dashboards writes: {type(error).__name__}: {error}")]


def raw(one: SavedObject, path: str) -> Any:
    """The attribute at a dotted path, or None."""
    value: Any = one.attributes
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def source(one: SavedObject) -> dict[str, Any]:
    """Query, filters and index pattern of a search, a visualization or a dashboard."""
    content: dict[str, Any] = json.loads(raw(one, "kibanaSavedObjectMeta.searchSourceJSON"))
    return content


def state(one: SavedObject) -> dict[str, Any]:
    """What a visualization draws."""
    content: dict[str, Any] = json.loads(one.attributes["visState"])
    return content


def controls(one: SavedObject) -> Sequence[Mapping[str, Any]]:
    """The filter controls of a visualization."""
    found: Sequence[Mapping[str, Any]] = state(one).get("params", {}).get("controls", [])
    return found


def aggregations(one: SavedObject) -> Sequence[Mapping[str, Any]]:
    """What a visualization counts, metrics and buckets."""
    return [agg for agg in state(one).get("aggs", []) if agg.get("enabled", True)]


def panels(one: SavedObject) -> Sequence[Mapping[str, Any]]:
    """The panels of a dashboard."""
    found: Sequence[Mapping[str, Any]] = json.loads(one.attributes["panelsJSON"])
    return found


def names(one: SavedObject) -> Iterator[Named]:
    """Every name that this object speaks of another by."""
    if one.type in ("search", "visualization", "dashboard"):
        yield from _source_names(source(one))
    if one.type == "visualization":
        if name := one.attributes.get("savedSearchRefName"):
            yield Named("savedSearchRefName", name, ("search",))
        for number, control in enumerate(controls(one)):
            if name := control.get("indexPatternRefName"):
                yield Named(f"control {number}", name, ("index-pattern",))
    if one.type == "dashboard":
        for number, panel in enumerate(panels(one)):
            if name := panel.get("panelRefName"):
                yield Named(f"panel {number}", name, ("visualization", "search"))


def unnamed(one: SavedObject) -> Iterator[str]:
    """Where an object holds another's id itself. Only old versions did; Dashboards would not find it."""
    if one.type in ("search", "visualization", "dashboard"):
        found = source(one)
        if "index" in found:
            yield "searchSourceJSON.index"
        yield from (
            f"filter {number}" for number, row in enumerate(found.get("filter", [])) if "index" in row.get("meta", {})
        )
    if one.type == "visualization":
        if "savedSearchId" in one.attributes:
            yield "savedSearchId"
        yield from (f"control {number}" for number, row in enumerate(controls(one)) if "indexPattern" in row)
    if one.type == "dashboard":
        yield from (f"panel {number}" for number, panel in enumerate(panels(one)) if "id" in panel)


def target(one: SavedObject, name: str) -> str | None:
    """`type/id` of what this object calls so."""
    return next((f"{r.type}/{r.id}" for r in one.references if r.name == name), None)


def _source_names(found: Mapping[str, Any]) -> Iterator[Named]:
    if name := found.get("indexRefName"):
        yield Named("searchSourceJSON", name, ("index-pattern",))
    for number, row in enumerate(found.get("filter", [])):
        if name := row.get("meta", {}).get("indexRefName"):
            yield Named(f"filter {number}", name, ("index-pattern",))
