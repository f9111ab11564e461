"""The fields of the events as Dashboards sees them, from the mapping that the indices are made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from auditpipe.schemas import mapping

#: OpenSearch's type: (Dashboards' type, whether it can be sorted and counted). `castOpenSearchToOsdFieldTypeName`.
_KINDS = {
    "keyword": ("string", True),
    "text": ("string", False),
    "date_nanos": ("date", True),
    "ip": ("ip", True),
    "long": ("number", True),
}
#: Of every document, whatever its mapping (the setting `metaFields`): (name, type, searchable, aggregatable).
_META = (
    ("_id", "string", True, True),
    ("_index", "string", True, True),
    ("_score", "number", False, False),
    ("_source", "_source", False, False),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `kind` is Dashboards' type, `os_type` OpenSearch's."""

    name: str
    kind: str
    os_type: str
    searchable: bool
    aggregatable: bool
    meta: bool = False

    def entry(self) -> dict[str, Any]:
        """As an index pattern keeps it."""
        return {
            "count": 0,
            "name": self.name,
            "type": self.kind,
            "esTypes": [self.os_type],
            "scripted": False,
            "searchable": self.searchable,
            "aggregatable": self.aggregatable,
            "readFromDocValues": self.aggregatable and not self.meta,
        }


@cache
def all_fields() -> tuple[Field, ...]:
    """Every field by name, those of Dashboards itself included."""
    own = (Field(name, kind, name, searchable, counted, meta=True) for name, kind, searchable, counted in _META)
    return tuple(sorted((*own, *_mapped(mapping.load()["mappings"]["properties"])), key=lambda field: field.name))


def _mapped(properties: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    for name, definition in properties.items():
        if "properties" in definition:
            yield from _mapped(definition["properties"], f"{prefix}{name}.")
        elif definition.get("enabled", True):  # else it is in the document alone: nobody can ask for it
            kind, counted = _KINDS[definition["type"]]
            yield Field(prefix + name, kind, definition["type"], searchable=True, aggregatable=counted)
