"""Whether Dashboards would take the objects: attributes, versions, references. Reads nothing but the objects.

Import itself finds less: it refuses unknown attributes and versions from the future, but looks only for index patterns
and searches that are missing. A dashboard that names a chart which is not there imports well, and is broken.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from auditpipe.dashboards.check import inner
from auditpipe.dashboards.check.problem import Problem
from auditpipe.dashboards.objects.saved import MIGRATION_VERSIONS, SavedObject

#: `mappings.properties` of each type in Dashboards 3.4: the index of saved objects refuses anything else
#: (`dynamic: strict`).
ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "index-pattern": frozenset({"title", "timeFieldName", "fields", "fieldFormatMap"}),
    "search": frozenset({"title", "description", "hits", "columns", "sort", "version", "kibanaSavedObjectMeta"}),
    "visualization": frozenset(
        {"title", "description", "visState", "uiStateJSON", "version", "savedSearchRefName", "kibanaSavedObjectMeta"}
    ),
    "dashboard": frozenset(
        {"title", "description", "hits", "version", "panelsJSON", "optionsJSON", "timeRestore", "timeFrom", "timeTo"}
        | {"refreshInterval", "kibanaSavedObjectMeta"}
    ),
    "query": frozenset({"title", "description", "query", "filters", "timefilter"}),
}
#: Without which Dashboards shows an error in place of the object.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "index-pattern": ("title", "timeFieldName", "fields"),
    "search": ("title", "columns", "sort", "kibanaSavedObjectMeta"),
    "visualization": ("title", "visState", "kibanaSavedObjectMeta"),
    "dashboard": ("title", "panelsJSON", "kibanaSavedObjectMeta"),
    "query": ("title", "query"),
}


def problems(objects: Sequence[SavedObject]) -> list[Problem]:
    """Everything that is wrong with their form."""
    found = [Problem(name, f"is in the file {times} times") for name, times in _counted(objects) if times > 1]
    there = {one.name for one in objects}
    for one in objects:
        if one.type not in ATTRIBUTES:
            found.append(Problem(one.name, f"expected one of the types {', '.join(ATTRIBUTES)}"))
            continue
        broken = [*_attributes(one), *_versions(one), *_json(one)]
        found += broken or inner.readable(one, partial(_references, one, there))
    return found


def _counted(objects: Sequence[SavedObject]) -> list[tuple[str, int]]:
    return list(Counter(one.name for one in objects).items())


def _attributes(one: SavedObject) -> Iterator[Problem]:
    for name in sorted(set(one.attributes) - ATTRIBUTES[one.type]):
        yield Problem(one.name, f"Dashboards refuses the attribute {name!r}")
    for name in _REQUIRED[one.type]:
        if not one.attributes.get(name):
            yield Problem(one.name, f"expected the attribute {name!r}")


def _versions(one: SavedObject) -> Iterator[Problem]:
    highest = MIGRATION_VERSIONS[one.type]
    if one.migration_version is not None and (highest is None or _newer(one.migration_version, highest)):
        expected = f"{highest} at most" if highest else "none"
        yield Problem(one.name, f"migrationVersion: expected {expected}, got {one.migration_version}: 422 at import")


def _newer(version: str, than: str) -> bool:
    parts = [[int(part) if part.isdigit() else -1 for part in text.split(".")] for text in (version, than)]
    return parts[0] > parts[1]


def _json(one: SavedObject) -> Iterator[Problem]:
    for path, kind in inner.JSON_ATTRIBUTES[one.type].items():
        value = inner.raw(one, path)
        if value is None and path.partition(".")[0] not in _REQUIRED[one.type]:
            continue
        try:
            content = json.loads(value)
        except (TypeError, ValueError):
            content = None
        if not isinstance(content, kind):
            yield Problem(one.name, f"{path}: expected JSON in a string, {'a list' if kind is list else 'an object'}")


def _references(one: SavedObject, there: set[str]) -> Iterator[Problem]:
    known = {reference.name: reference for reference in one.references}
    used = list(inner.names(one))
    for named in used:
        reference = known.get(named.name)
        if reference is None:
            yield Problem(one.name, f"{named.where} names {named.name!r}, which is not among its references")
        elif reference.type not in named.types:
            expected = " or ".join(named.types)
            yield Problem(one.name, f"{named.where}: expected a {expected}, got {reference.type}/{reference.id}")
    for where in inner.unnamed(one):
        yield Problem(one.name, f"{where} holds an id: expected the name of one of its references")
    for reference in one.references:
        if reference.name not in {named.name for named in used}:
            yield Problem(one.name, f"the reference {reference.name!r} is used by nothing in it")
        if f"{reference.type}/{reference.id}" not in there:
            yield Problem(one.name, f"refers to {reference.type}/{reference.id}, which is not in the file")
    yield from _reads(one)


def _reads(one: SavedObject) -> Iterator[Problem]:
    """A search or a chart without an index pattern, a control or a panel without anything."""
    indexed = one.type in ("search", "visualization") and "indexRefName" in inner.source(one)
    if one.type == "search" and not indexed:
        yield Problem(one.name, "reads no index pattern: expected indexRefName in its searchSourceJSON")
    if one.type == "visualization":
        if inner.aggregations(one) and not indexed and "savedSearchRefName" not in one.attributes:
            yield Problem(one.name, "reads no index pattern: expected savedSearchRefName, or indexRefName")
        for number, control in enumerate(inner.controls(one)):
            if "indexPatternRefName" not in control:
                yield Problem(one.name, f"control {number} reads no index pattern: expected indexPatternRefName")
    if one.type == "dashboard":
        for number, panel in enumerate(inner.panels(one)):
            if "panelRefName" not in panel:
                yield Problem(one.name, f"panel {number} shows nothing: expected panelRefName")
