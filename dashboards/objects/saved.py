"""A saved object of OpenSearch Dashboards as data, and the `.ndjson` form in which its API takes them.

What is inside an object (a query, a chart, a layout) is JSON in a string, as Dashboards keeps it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from auditpipe.schemas.errors import UsageError

#: By which the objects of a search or a chart name their index pattern, and a chart its saved search.
INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
SEARCH_REFERENCE = "search_0"

#: Migrations that an object of that type has behind it (`migrations` of the type in Dashboards' source). The highest
#: that 3.4 knows: one above is refused with 422, and of one below Dashboards would change the object at import.
MIGRATION_VERSIONS: Mapping[str, str | None] = {
    "index-pattern": "7.6.0",
    "search": "7.9.3",
    "visualization": "7.10.0",
    "dashboard": "7.9.3",
    "query": None,
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Another object that this one needs, and the name by which its JSON speaks of it."""

    name: str
    type: str
    id: str


@dataclass(frozen=True, slots=True)
class SavedObject:
    """One object. `migration_version` is what a file says; None where it says nothing."""

    type: str
    id: str
    attributes: Mapping[str, Any]
    references: tuple[Reference, ...] = ()
    migration_version: str | None = None

    @property
    def name(self) -> str:
        """`type/id`, as Dashboards' own messages call it."""
        return f"{self.type}/{self.id}"

    def document(self) -> dict[str, Any]:
        """What an export of Dashboards holds of it."""
        version = {"migrationVersion": {self.type: self.migration_version}} if self.migration_version else {}
        references = [{"name": r.name, "type": r.type, "id": r.id} for r in self.references]
        return {
            "type": self.type,
            "id": self.id,
            "attributes": dict(self.attributes),
            "references": references,
            **version,
        }


def make(kind: str, name: str, attributes: Mapping[str, Any], references: Iterable[Reference] = ()) -> SavedObject:
    """An object of the version that this code writes."""
    return SavedObject(kind, name, attributes, tuple(references), MIGRATION_VERSIONS[kind])


def text(content: Any) -> str:
    """JSON in a string: the same content gives the same text."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def ndjson(objects: Iterable[SavedObject]) -> str:
    """One object a line."""
    return "".join(text(one.document()) + "\n" for one in objects)


def parse(content: str, name: str) -> tuple[SavedObject, ...]:
    """The objects of a file; `name` is for messages. UsageError for a line that is none.

    The last line of an export of Dashboards counts what it holds and is no object.
    """
    numbered = enumerate(content.splitlines(), start=1)
    rows = [(number, _row(line, f"{name}:{number}")) for number, line in numbered if line.strip()]
    found = tuple(_object(row, f"{name}:{number}") for number, row in rows if "exportedCount" not in row)
    if not found:
        raise UsageError(f"{name}: expected saved objects, one a line (.ndjson), got none")
    return found


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: expected a saved object as JSON: {error}") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def _object(row: Mapping[str, Any], where: str) -> SavedObject:
    kind, name, attributes = row.get("type"), row.get("id"), row.get("attributes")
    if not isinstance(kind, str) or not isinstance(name, str) or not isinstance(attributes, dict):
        raise UsageError(f"{where}: expected type, id and attributes of a saved object")
    try:
        references = tuple(Reference(r["name"], r["type"], r["id"]) for r in row.get("references", []))
        version = row.get("migrationVersion", {}).get(kind)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{where}: expected references with name, type and id, and migrationVersion") from error
    return SavedObject(kind, name, attributes, references, version)
