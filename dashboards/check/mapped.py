"""Whether every field that an object speaks of is in the mapping, and can do what it is needed for."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from auditpipe.dashboards.check import inner
from auditpipe.dashboards.check.problem import Problem
from auditpipe.dashboards.objects.fields import Field
from auditpipe.dashboards.objects.saved import SavedObject

#: In a Lucene query string: `field:`, not inside quotes, and what `_exists_:` asks for.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ASKED = re.compile(r"(?:^|[\s(+!-])(@?[A-Za-z_][\w.]*):(?:([A-Za-z_@][\w.]*))?")
#: In the link of a field format: /doc/INDEX-PATTERN-ID/INDEX
_LINK = re.compile(r"#/doc/([^/]+)/")


@dataclass(frozen=True, slots=True)
class Use:
    """A field that an object needs, where, and what it must be able to do: "" is no more than to exist."""

    where: str
    field: str
    able: str = ""


def problems(objects: Sequence[SavedObject], fields: Sequence[Field]) -> list[Problem]:
    """Everything that does not fit the mapping. Of objects that `form` found nothing wrong with."""
    known = {field.name: field for field in fields}
    patterns = {one.id for one in objects if one.type == "index-pattern"}
    return [problem for one in objects for problem in inner.readable(one, partial(_problems, one, known, patterns))]


def _problems(one: SavedObject, known: Mapping[str, Field], patterns: set[str]) -> Iterator[Problem]:
    for use in uses(one):
        if (problem := _problem(one, use, known)) is not None:
            yield problem
    if one.type == "index-pattern":
        yield from _pattern(one, known)
        yield from _links(one, patterns)


def uses(one: SavedObject) -> Iterator[Use]:
    """Every field that an object speaks of."""
    if one.type == "index-pattern":
        yield Use("timeFieldName", one.attributes["timeFieldName"], "aggregatable")
        yield from (Use("fieldFormatMap", name) for name in _formats(one))
    elif one.type == "query":
        yield from _asked(one.attributes["query"])
    else:
        yield from _asked(inner.source(one).get("query", {}))
    if one.type == "search":
        yield from (Use("columns", name) for name in one.attributes["columns"])
        yield from (Use("sort", name, "aggregatable") for name, _ in one.attributes["sort"])
    if one.type == "visualization":
        for agg in inner.aggregations(one):
            if "field" in agg.get("params", {}):
                yield Use(f"{agg['type']} {agg['id']}", agg["params"]["field"], "aggregatable")
        yield from (Use(f"control {row['label']!r}", row["fieldName"], "aggregatable") for row in inner.controls(one))


def _asked(query: Mapping[str, Any]) -> Iterator[Use]:
    for name, value in _ASKED.findall(_QUOTED.sub('""', str(query.get("query", "")))):
        yield Use("query", value if name == "_exists_" else name, "searchable")


def _problem(one: SavedObject, use: Use, known: Mapping[str, Field]) -> Problem | None:
    field = known.get(use.field)
    if field is None:
        return Problem(one.name, f"{use.where}: no field {use.field!r} in the mapping")
    if use.able and not getattr(field, use.able):
        return Problem(one.name, f"{use.where}: the field {use.field!r} ({field.os_type}) is not {use.able}")
    return None


def _pattern(one: SavedObject, known: Mapping[str, Field]) -> Iterator[Problem]:
    """The pattern's own list of fields: what is missing there, Discover does not offer."""
    listed = {entry.get("name"): entry for entry in json.loads(one.attributes["fields"])}
    for name in sorted(known.keys() - listed.keys()):
        yield Problem(one.name, f"fields: {name!r} is in the mapping and not in the index pattern")
    for name in sorted(listed.keys() - known.keys()):
        yield Problem(one.name, f"fields: no field {name!r} in the mapping")
    for name in sorted(known.keys() & listed.keys()):
        wanted, entry = known[name].entry(), listed[name]
        for key in ("type", "searchable", "aggregatable"):
            if entry.get(key) != wanted[key]:
                yield Problem(one.name, f"fields: {name!r}: expected {key} {wanted[key]}, got {entry.get(key)}")


def _formats(one: SavedObject) -> dict[str, Any]:
    formats: dict[str, Any] = json.loads(one.attributes.get("fieldFormatMap", "{}"))
    return formats


def _links(one: SavedObject, patterns: set[str]) -> Iterator[Problem]:
    for name, shown in _formats(one).items():
        for pattern in _LINK.findall(str(shown.get("params", {}).get("urlTemplate", ""))):
            if pattern not in patterns:
                yield Problem(one.name, f"fieldFormatMap: {name!r} links to index-pattern/{pattern}, not in the file")
