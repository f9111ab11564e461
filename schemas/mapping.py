"""The index mappings, made from the models. Of events: flat, `dynamic: false`, every value searchable, none refused.

`load()` reads the generated file and needs the standard library alone; `generate()` makes its content.
"""

import json
import types
from importlib import resources
from typing import Any, Union, get_args, get_origin

GENERATED = "index-mapping.json"
RECORDS_GENERATED = "records-mapping.json"


def load() -> dict[str, Any]:
    """`{"settings": ..., "mappings": ...}` of a monthly index, for an index template (OpenSearch)."""
    return _read(GENERATED)


def load_records() -> dict[str, Any]:
    """The same of the index of retention's and holds' records."""
    return _read(RECORDS_GENERATED)


def generate() -> dict[str, Any]:
    """The content of the generated file, from the models."""
    from auditpipe.schemas.event import Event

    return {
        "settings": {
            "index": {
                # A search box that names no field searches the sentence.
                "query": {"default_field": ["message"]},
                "mapping": {"total_fields": {"limit": 200}},
            }
        },
        # Nothing is guessed: a field that is not here is stored and not indexed, and so can't be refused.
        "mappings": {"dynamic": "false", "date_detection": False, "properties": _properties(Event)},
    }


def generate_records() -> dict[str, Any]:
    """The content of the generated file for records: strict, because nobody but auditpipe writes there."""
    from auditpipe.schemas.records import KINDS

    properties: dict[str, Any] = {}
    for model in KINDS.values():
        properties |= _properties(model)
    return {
        "settings": {"index": {"auto_expand_replicas": "0-1", "number_of_shards": 1}},
        "mappings": {"dynamic": "strict", "date_detection": False, "properties": properties},
    }


def _read(name: str) -> dict[str, Any]:
    text = resources.files("auditpipe.schemas").joinpath(name).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def _properties(model: Any) -> dict[str, Any]:
    return {
        (info.alias or name): _definition(info.annotation, info.metadata, f"{model.__name__}.{name}")
        for name, info in model.model_fields.items()
    }


def _definition(annotation: Any, metadata: list[Any], where: str) -> dict[str, Any]:
    from auditpipe.schemas.event import Mapped, Model

    for extra in metadata:
        if isinstance(extra, Mapped):
            return dict(extra.definition)
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if hasattr(annotation, "__metadata__"):
        inner, *extras = get_args(annotation)
        return _definition(inner, extras, where)
    if get_origin(annotation) is list:
        return _definition(get_args(annotation)[0], [], where)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return {"properties": _properties(annotation)}
    raise TypeError(f"{where} has no Mapped annotation: say how it is indexed")
