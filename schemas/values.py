"""The value table: what an application may hand over, and what it becomes in the event.

| given | becomes |
|---|---|
| str, bool, None | itself; a lone surrogate is refused |
| int within +-(2^53-1) | itself |
| any other number: larger int, float, Decimal | its decimal text |
| datetime with a zone | RFC 3339 in UTC; one without: ISO 8601, no zone |
| date, time | ISO 8601 |
| UUID, IP address, path, lazy string | its text |
| Enum | its value, by this table |
| bytes | base64 (RFC 4648, section 4) |
| list, tuple | list |
| set | list, sorted by JSON text |
| mapping | object; its keys become strings by this table, bytes that are UTF-8 the text that they are |

Anything else is refused with the field's name. No float reaches the wire: shippers print doubles with their last
digit changed, and readers round integers beyond 2^53.
"""

import base64
import ipaddress
import math
import pathlib
from collections import UserString
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any
from uuid import UUID

import orjson

from auditpipe.schemas.errors import InvalidEvent, LimitExceeded

JsonValue = str | int | bool | list[Any] | dict[str, Any] | None

MAX_INTEGER = 2**53 - 1
MAX_ID = 256
MAX_NAME = 1_024
MAX_CHANGE_VALUE = 8_000
MAX_KEY = 256
MAX_DEPTH = 16
MAX_MESSAGE_BYTES = 1_024
MAX_EVENT_BYTES = 256 * 1024
CUT = "..."
#: Of an integer whose digits could fit into an event; log2(10) is 3.3.
_MAX_BITS = 4 * MAX_EVENT_BYTES

_CONTAINERS = (list, tuple, set, frozenset, Mapping)
_LAZY_TYPES = frozenset({"__proxy__", "LazyString", "_LazyString", "LazyProxy"})


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of it, marked with `...` where it was cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def cut_bytes(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8 of it, marked with `...` where it was cut, never inside a character."""
    data = text.encode()
    return text if len(data) <= limit else data[: limit - len(CUT)].decode(errors="ignore") + CUT


def plain(value: Any, field: str, depth: int = 0) -> JsonValue:
    """The JSON value of anything in the table. InvalidEvent or LimitExceeded names `field`."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value, field)
    if kind is bool or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if -MAX_INTEGER <= value <= MAX_INTEGER else _digits(value, field)
    if depth >= MAX_DEPTH and isinstance(value, _CONTAINERS):
        raise LimitExceeded(field, f"nested deeper than {MAX_DEPTH} levels")
    if kind is list or kind is tuple:
        return [plain(item, f"{field}[{index}]", depth + 1) for index, item in enumerate(value)]
    if kind is dict:
        return _object(value, field, depth)
    return _converted(value, field, depth)


def identifier(value: Any, field: str) -> str:
    """An id as a string of 1 to 256 characters; integers and UUIDs become strings."""
    if type(value) is str and 0 < len(value) <= MAX_ID and value.isascii():
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID, UserString)):
        raise InvalidEvent(field, f"expected an id (string, integer or UUID), got {_kind(value)}")
    text = _digits(value, field) if isinstance(value, int) else _text(str(value), field)
    if not text:
        raise InvalidEvent(field, "expected an id, got an empty string")
    if len(text) > MAX_ID:
        raise LimitExceeded(field, f"an id has at most {MAX_ID} characters, got {len(text)}")
    return text


def name(value: Any, field: str) -> str:
    """A name or other free text, cut and marked at 1,024 characters."""
    if type(value) is str and len(value) <= MAX_NAME and value.isascii():
        return value
    text = plain(value, field)
    if not isinstance(text, str):
        raise InvalidEvent(field, f"expected text, got {_kind(value)}")
    return cut(text, MAX_NAME)


def json_text(value: JsonValue) -> str:
    """The JSON text of a value that has no place of its own."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _text(value: str, field: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(
            field, f"has a lone surrogate at character {error.start}, which is no Unicode text"
        ) from error
    return value


def _object(value: Mapping[Any, Any], field: str, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, inner in value.items():
        text = key if type(key) is str else _key(key, field, depth)
        if len(text) > MAX_KEY:
            raise LimitExceeded(field, f"a key has at most {MAX_KEY} characters, got {len(text)}: {text[:32]!r}...")
        if text in result:
            raise InvalidEvent(field, f"two keys become {text!r}")
        if not text.isascii():
            _text(text, field)
        # Most values are short of any conversion, and need no path for a message.
        as_it_is = type(inner) is str and inner.isascii()
        result[text] = inner if as_it_is else plain(inner, f"{field}.{text}", depth + 1)
    return result


def _key(key: Any, field: str, depth: int) -> str:
    if isinstance(key, (bytes, bytearray)):
        with suppress(UnicodeDecodeError):  # else it becomes base64, as such a value does
            return key.decode()  # so that b"password" is known for what it is
    text = plain(key, f"{field} (a key)", depth)
    return text if isinstance(text, str) else json_text(text)


def _converted(value: Any, field: str, depth: int) -> JsonValue:
    for kind, convert in _TABLE:
        if isinstance(value, kind):
            try:
                return convert(value, field, depth)
            except (ArithmeticError, BufferError) as error:  # datetime.min of another zone, Fraction(10**400)
                raise InvalidEvent(field, f"can't hold this {_kind(value)[2:]}: {error}") from error
    if type(value).__name__ in _LAZY_TYPES:
        return _text(str(value), field)
    raise InvalidEvent(
        field,
        f"can't hold {_kind(value)}; pass text, a number, true/false, None, a date, a UUID, bytes, "
        "or lists and dicts of these",
    )


def _decimal_text(value: Real) -> str:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return str(number)


def _digits(value: int, field: str) -> str:
    if value.bit_length() > _MAX_BITS:
        raise LimitExceeded(field, f"an event has at most {MAX_EVENT_BYTES} bytes, and this number more digits")
    return str(Decimal(value))  # str(int) refuses over 4,300 digits (CVE-2020-10735); this is exact, and fast


def _instant(value: datetime, field: str, depth: int) -> str:
    if value.utcoffset() is None:
        return value.isoformat()
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _as_text(value: Any, field: str, depth: int) -> str:
    return _text(str(value), field)


def _kind(value: Any) -> str:
    return (
        "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")
    )


# Order matters: a datetime is a date, an IntEnum is an int, a bool never comes here.
_TABLE: tuple[tuple[Any, Callable[[Any, str, int], JsonValue]], ...] = (
    (Enum, lambda value, field, depth: plain(value.value, field, depth)),
    (datetime, _instant),
    ((date, time), lambda value, field, depth: value.isoformat()),
    ((str, UserString, UUID, pathlib.PurePath), _as_text),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), _as_text),
    (Decimal, lambda value, field, depth: "NaN" if value.is_nan() else str(value)),
    (Integral, lambda value, field, depth: plain(int(value), field, depth)),
    (Real, lambda value, field, depth: _decimal_text(value)),
    ((bytes, bytearray, memoryview), lambda value, field, depth: base64.b64encode(bytes(value)).decode()),
    ((list, tuple), lambda value, field, depth: plain(list(value), field, depth)),
    (
        (set, frozenset),
        lambda value, field, depth: sorted((plain(item, field, depth + 1) for item in value), key=json_text),
    ),
    (Mapping, _object),
)
