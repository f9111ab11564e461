"""Whether a manifest says only what an export says of itself. It is not signed: nothing in it is taken on trust."""

import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from auditpipe.pipeline.query import WHOLE_STREAM_FLAGS
from auditpipe.schemas.identity import parse_time

MANIFEST_VERSION = "1.0"

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

#: (what is expected, whether a value is it)
_Rule = tuple[str, Callable[[Any], bool]]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_time(value)
    except ValueError:
        return False
    return True


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _or_null(rule: _Rule) -> _Rule:
    expected, fits = rule
    return f"{expected} or null", lambda value: value is None or fits(value)


def _values(expected: str, fits: Callable[[Any], bool]) -> _Rule:
    return expected, lambda value: isinstance(value, dict) and all(map(fits, value.values()))


_TEXT: _Rule = ("a text", _is_text)
_COUNT: _Rule = ("a number from 0", _is_count)
_TIME: _Rule = ("an RFC 3339 time", _is_time)

_MEMBERS: Mapping[str, _Rule] = {
    "manifest": _TEXT,
    "file": ("a file's name", lambda value: isinstance(value, str) and value != ""),
    "format": ("ndjson or csv", lambda value: value in ("ndjson", "csv")),
    "sha256": ("64 hex digits", lambda value: isinstance(value, str) and _SHA256.fullmatch(value) is not None),
    "size": _COUNT,
    "count": _COUNT,
    "filter": _values("filters by flag name", lambda value: _is_text(value) or _is_texts(value)),
    "since": _or_null(_TIME),
    "until": _or_null(_TIME),
    "whole_streams": ("true or false", lambda value: isinstance(value, bool)),
    "exported_at": _TIME,
    "exported_by": _TEXT,
    "purpose": _or_null(_TEXT),
    "tool": _TEXT,
    "cluster": _values("an object of texts", lambda value: value is None or _is_text(value)),
    "schemas": ("a list of texts", _is_texts),
    "streams": ("a list of objects", _is_objects),
    "removed": _or_null(("a list of objects", _is_objects)),
}
_HEAD: Mapping[str, _Rule] = {"stream": _TEXT, "first": _COUNT, "last": _COUNT, "count": _COUNT, "last_hash": _TEXT}


def problems(content: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, as sentences; none where nothing is."""
    version = content["manifest"]
    if version != MANIFEST_VERSION:
        yield f"its version is {reprlib.repr(version)}, this auditpipe knows {MANIFEST_VERSION!r}"
        return
    wrong = list(_members(content, _MEMBERS, ""))
    for number, head in enumerate(content["streams"]) if not wrong else ():
        wrong += _members(head, _HEAD, f"streams[{number}].")
    yield from wrong or _contradictions(content)


def _members(content: Mapping[str, Any], rules: Mapping[str, _Rule], prefix: str) -> Iterator[str]:
    for name, (expected, fits) in rules.items():
        if name not in content:
            yield f"{prefix}{name} is missing"
        elif not fits(content[name]):
            yield f"{prefix}{name}: expected {expected}, got {reprlib.repr(content[name])}"
    for name in content.keys() - rules.keys():
        yield f"{prefix}{reprlib.repr(name)} is no member of a manifest"


def _contradictions(content: Mapping[str, Any]) -> Iterator[str]:
    """Members that follow from each other, and do not."""
    filters = content["filter"]
    for name in ("since", "until"):
        if name in filters and filters[name] != content[name]:
            yield f"{name} is {content[name]}, its filter says {reprlib.repr(filters[name])}"
    if content["whole_streams"] != (filters.keys() <= WHOLE_STREAM_FLAGS):
        yield f"whole_streams is {str(content['whole_streams']).lower()}, its filter says otherwise"
    streams = [head["stream"] for head in content["streams"]]
    if len(set(streams)) < len(streams):
        yield "a stream is there twice"
    for head in content["streams"]:
        if not 0 < head["first"] <= head["last"] or not head["count"]:
            span = f"{head['count']} events from {head['first']} to {head['last']}"
            yield f"stream {reprlib.repr(head['stream'])}: {span}"
    if sum(head["count"] for head in content["streams"]) > content["count"]:
        yield f"count is {content['count']}, its streams have more"
