"""What changed between two versions of the published schema, and which of it breaks those who write events."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditpipe.schemas.values import json_text

_LOWER_IS_STRICTER = ("maxLength", "maximum", "maxItems", "maxProperties")
_HIGHER_IS_STRICTER = ("minLength", "minimum", "minItems", "minProperties")
_ANY_CHANGE_BREAKS = ("pattern", "const", "format")
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `breaking`: a document that was valid before need not be now."""

    path: str
    what: str
    breaking: bool


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every difference that matters to a writer, breaking ones first."""
    found = list(_compare("", old, new, old, new, 0))
    return sorted(dict.fromkeys(found), key=lambda d: (not d.breaking, d.path))


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    while isinstance(schema, Mapping) and "$ref" in schema:
        reference: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            reference = reference[part]
        schema = {**reference, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema if isinstance(schema, Mapping) else {}


def _compare(path: str, old: Any, new: Any, old_root: Any, new_root: Any, depth: int) -> Iterator[Difference]:
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    where = path or "the document"
    yield from _keywords(where, old, new)
    if depth >= _MAX_DEPTH:
        return
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in [*before, *(name for name in after if name not in before)]:
        inner = f"{path}.{name}".lstrip(".")
        if name not in after:
            yield Difference(inner, "removed", breaking=True)
        elif name not in before:
            yield Difference(inner, "added", breaking=False)
        else:
            yield from _compare(inner, before[name], after[name], old_root, new_root, depth + 1)
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield Difference(f"{path}.{name}".lstrip("."), "is required now", breaking=True)
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield Difference(f"{path}.{name}".lstrip("."), "is optional now", breaking=False)
    if "items" in old and "items" in new:
        yield from _compare(f"{path}[]", old["items"], new["items"], old_root, new_root, depth + 1)
    yield from _alternatives(path, old, new, old_root, new_root, depth)


def _alternatives(path: str, old: Any, new: Any, old_root: Any, new_root: Any, depth: int) -> Iterator[Difference]:
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _compare(path, one, other, old_root, new_root, depth + 1)
    elif before or after:
        yield Difference(path, f"has {len(after)} alternatives, had {len(before)}", breaking=len(after) < len(before))


def _keywords(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in (*_LOWER_IS_STRICTER, *_HIGHER_IS_STRICTER):
        if old.get(key) != new.get(key):
            yield Difference(where, _changed(key, old, new), breaking=_is_stricter(key, old.get(key), new.get(key)))
    for key in _ANY_CHANGE_BREAKS:
        if old.get(key) != new.get(key):
            yield Difference(where, _changed(key, old, new), breaking=key in new)
    if old.get("type") != new.get("type"):
        yield Difference(where, _changed("type", old, new), breaking=True)
    if old.get("enum") != new.get("enum"):
        gone = [value for value in old.get("enum", []) if value not in new.get("enum", [])]
        yield Difference(where, _changed("enum", old, new), breaking=bool(gone) or "enum" not in old)
    if old.get("additionalProperties", True) is not False and new.get("additionalProperties", True) is False:
        yield Difference(where, "takes no further fields now", breaking=True)


def _is_stricter(key: str, old: Any, new: Any) -> bool:
    if new is None:
        return False
    if old is None:
        return True
    return bool(new < old if key in _LOWER_IS_STRICTER else new > old)


def _changed(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    before, after = (json_text(side[key]) if key in side else "none" for side in (old, new))
    return f"{key} is {after}, was {before}"
