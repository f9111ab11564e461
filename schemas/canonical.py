"""Canonical bytes of a document and the hash that links it to the one before.

`audit.hash` is the lower-case hex SHA-256 of the RFC 8785 (JSON Canonicalization Scheme) bytes of the stored document
without `audit.hash`. `audit.previous` is the `audit.hash` of the event before it in its stream.
Documents of auditpipe hold no floats and no integers beyond +-(2^53-1), so that every JSON writer prints them alike.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import orjson

#: `audit.previous` of the first event of a stream.
GENESIS = "0" * 64

# RFC 8785 orders keys by UTF-16 code units, orjson by code points. They part only where a key has a character from
# U+E000 up, whose UTF-8 begins with one of these bytes.
_REORDERED = re.compile(rb"[\xee-\xff]")
_OPTIONS = orjson.OPT_STRICT_INTEGER


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of a document that follows the value table.

    ValueError for what has no canonical form: an integer beyond +-(2^53-1), an infinite number, NaN, a lone surrogate,
    a key that is no string, a type that JSON lacks; and for more than 254 levels.
    """
    try:
        data = orjson.dumps(document, option=_OPTIONS | orjson.OPT_SORT_KEYS)
        if not data.isascii() and _REORDERED.search(data):
            data = orjson.dumps(_sorted_by_utf16(document), option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"no canonical JSON: {error}") from error
    if b"null" in data and _has_infinite(document):
        raise ValueError("no canonical JSON: a number is not finite")  # RFC 8785, section 3.2.2.3; orjson makes it null
    return data


def document_hash(document: Mapping[str, Any]) -> str:
    """What `audit.hash` of this document must be: 64 lower-case hex digits. ValueError as `canonical_bytes`."""
    return hashlib.sha256(hashed_bytes(document)).hexdigest()


def hashed_bytes(document: Mapping[str, Any]) -> bytes:
    """What `audit.hash` is the hash of, and what an event's size is counted by. ValueError as `canonical_bytes`."""
    audit = document.get("audit")
    if isinstance(audit, Mapping) and "hash" in audit:
        document = {**document, "audit": {key: value for key, value in audit.items() if key != "hash"}}
    return canonical_bytes(document)


def _has_infinite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_has_infinite, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_infinite, value))


def _sorted_by_utf16(value: Any) -> Any:
    if isinstance(value, Mapping):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return {key: _sorted_by_utf16(inner) for key, inner in ordered}
    if isinstance(value, (list, tuple)):
        return [_sorted_by_utf16(inner) for inner in value]
    return value
