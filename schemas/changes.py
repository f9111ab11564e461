"""What changed between a before and an after.

A change is `{"field", "before", "after"}`: a dotted path, and a scalar or a list of scalars on each side. A side that
is absent was nothing; a side that is null was null. Nested objects are walked; lists of scalars, and of objects that
each have an `id` of their own, are compared as sets, one change for each member that came or went; where only order or
repetition differ, the list is one change. Whatever has no path of its own (an added object) travels as its JSON text.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from auditpipe.schemas.errors import InvalidEvent, LimitExceeded
from auditpipe.schemas.values import CUT, MAX_CHANGE_VALUE, MAX_ID, cut, json_text, plain

Change = dict[str, Any]
_SCALARS = (str, int, bool, type(None))
_ABSENT: Any = object()


def diff(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    """The changes from one state to another, in the order of the fields. None is: nothing there at all."""
    return compare(state(before, "before"), state(after, "after"))


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The same for states that are of the value table already."""
    found: list[Change] = []
    _objects("", old, new, found)
    return found


def ready_made(
    changes: Iterable[Mapping[str, Any]], clean: Callable[[Any, str], Any] = lambda value, field: value
) -> list[Change]:
    """Changes that the caller made itself, checked and brought into the stored form.

    `clean(value, field)` may take something out of a value before an object becomes text.
    """
    if isinstance(changes, (str, Mapping)) or not isinstance(changes, Iterable):
        raise InvalidEvent("changes", f"expected a list of changes, got {type(changes).__name__}")
    result = []
    for index, given in enumerate(changes):
        where = f"changes[{index}]"
        if not isinstance(given, Mapping) or not isinstance(given.get("field"), str) or not given["field"]:
            raise InvalidEvent(where, 'expected {"field": "a.dotted.path", "before": ..., "after": ...}')
        unknown = sorted(set(given) - {"field", "before", "after"}, key=str)
        if unknown:
            raise InvalidEvent(where, f"unknown key {unknown[0]!r}; known: field, before, after")
        before, after = (
            clean(plain(given[side], f"{where}.{side}"), given["field"]) if side in given else _ABSENT
            for side in ("before", "after")
        )
        result.append(_change(_text(given["field"], f"{where}.field"), before, after))
    return result


def _text(field: str, where: str) -> str:
    text = plain(field, where)
    assert isinstance(text, str)  # noqa: S101  # a string stays one
    return text


def changed_fields(changes: Iterable[Change]) -> list[str]:
    """Each field once, in order of appearance: `audit.changed`."""
    return list(dict.fromkeys([change["field"] for change in changes]))


def state(given: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """A state by the value table; empty where there was none. InvalidEvent names the field."""
    if given is None:
        return {}
    if type(given) is not dict and not isinstance(given, Mapping):
        raise InvalidEvent(name, f"expected a mapping of field to value, got {type(given).__name__}")
    return plain(given, name)  # type: ignore[return-value]  # a mapping becomes an object


# Each of these adds to `found`: as generators within generators they cost an event twice as much.


def _objects(prefix: str, old: dict[str, Any], new: dict[str, Any], found: list[Change]) -> None:
    if "" in old or "" in new:
        raise InvalidEvent(f"changes.{prefix}".rstrip("."), "expected a field's name, got an empty key")
    for key, value in old.items():
        _values(prefix + key, value, new.get(key, _ABSENT), found)
    for key, value in new.items():
        if key not in old:
            _values(prefix + key, _ABSENT, value, found)


def _values(path: str, old: Any, new: Any, found: list[Change]) -> None:
    if _same(old, new):
        return
    old_is_object, new_is_object = isinstance(old, dict), isinstance(new, dict)
    if (old_is_object and (new_is_object or new is _ABSENT)) or (new_is_object and old is _ABSENT):
        known = len(found)
        _objects(f"{path}.", old if old_is_object else {}, new if new_is_object else {}, found)
        if len(found) == known:  # {} against nothing has no field to tell of, and is a change all the same
            found.append(_change(path, old, new))
    elif isinstance(old, list) and isinstance(new, list):
        _lists(path, old, new, found)
    else:
        found.append(_change(path, old, new))


def _lists(path: str, old: list[Any], new: list[Any], found: list[Change]) -> None:
    if all(isinstance(item, _SCALARS) for item in (*old, *new)):
        _sets(path, old, new, found)
    elif (gone := _by_id(old)) is not None and (come := _by_id(new)) is not None:
        known = len(found)
        _members(path, gone, come, found)
        if len(found) == known:  # only the order differs: say so whole
            found.append(_change(path, old, new))
    else:
        found.append(_change(path, old, new))


def _by_id(items: list[Any]) -> dict[str, Any] | None:
    """Objects by their ids; None where one has none, or two have the same."""
    if not all(isinstance(item, dict) and isinstance(item.get("id"), (str, int)) for item in items):
        return None
    members = {str(item["id"]): item for item in items}
    return members if len(members) == len(items) else None


def _sets(path: str, old: list[Any], new: list[Any], found: list[Change]) -> None:
    # JSON text tells true from 1, which Python's sets do not.
    gone, come = {json_text(item): item for item in old}, {json_text(item): item for item in new}
    if gone.keys() == come.keys():  # only order or repetition differ: say so whole
        found.append(_change(path, old, new))
        return
    found += (_change(path, item, _ABSENT) for key, item in gone.items() if key not in come)
    found += (_change(path, _ABSENT, item) for key, item in come.items() if key not in gone)


def _members(path: str, old: dict[str, Any], new: dict[str, Any], found: list[Change]) -> None:
    for key, item in old.items():
        if key in new:
            _values(f"{path}.{key}", item, new[key], found)
        else:
            found.append(_change(path, item, _ABSENT))
    found += (_change(path, _ABSENT, item) for key, item in new.items() if key not in old)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, _SCALARS) and isinstance(new, _SCALARS):
        return type(old) is type(new) and old == new
    return old is new or (old is not _ABSENT and new is not _ABSENT and json_text(old) == json_text(new))


def _change(path: str, before: Any, after: Any) -> Change:
    if len(path) > MAX_ID:
        raise LimitExceeded("changes", f"a field's path has at most {MAX_ID} characters, got {len(path)}")
    change: Change = {"field": path}
    if before is not _ABSENT:
        change["before"] = leaf(before)
    if after is not _ABSENT:
        change["after"] = leaf(after)
    return change


def leaf(value: Any) -> Any:
    """One side of a change as it is stored: a scalar or a list of scalars, cut and marked at 8,000 characters."""
    if isinstance(value, str):
        return cut(value, MAX_CHANGE_VALUE)
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list) and all(isinstance(item, _SCALARS) for item in value):
        return _short_list(value)
    return cut(json_text(value), MAX_CHANGE_VALUE)


def _short_list(values: list[Any]) -> list[Any]:
    """The whole list is one value: beyond its 8,000 characters the rest is left out, marked by a last `...`."""
    kept: list[Any] = []
    room = MAX_CHANGE_VALUE - len(CUT)
    for value in values:
        room -= len(value) if isinstance(value, str) else len(json_text(value))
        if room < 0:
            return [*kept, CUT]
        kept.append(value)
    return kept
