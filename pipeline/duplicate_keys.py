"""Whether JSON says one thing to every reader: RFC 8259 leaves open what an object with a key twice means.

Some readers take the first value, some the last, and a person with grep sees both. Evidence must not depend on it.
"""

import json
from typing import Any


class _TwiceError(ValueError):
    """Carries the key."""


def key_given_twice(data: bytes) -> str | None:
    """A key that some object in this JSON (already known to be valid) has twice, None where none has.

    ValueError: nested deeper than any event or manifest is.
    """
    try:
        # Numbers are not of interest, and int() refuses those of thousands of digits.
        json.loads(data.decode(), object_pairs_hook=_distinct, parse_int=_nothing, parse_float=_nothing)
    except _TwiceError as twice:
        return str(twice)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return None


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _TwiceError(key)
        seen.add(key)


def _nothing(_digits: str) -> None:
    return None
