"""The value table: what goes in, what stands in the event."""

import enum
import ipaddress
import json
from collections import UserString
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.schemas.canonical import canonical_bytes
from auditpipe.schemas.errors import InvalidEvent, LimitExceeded
from auditpipe.schemas.values import MAX_INTEGER, cut, cut_bytes, identifier, plain


class Colour(enum.Enum):
    RED = "red"
    NESTED = date(2026, 1, 2)


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("x", "x"),
        (True, True),
        (None, None),
        (MAX_INTEGER, MAX_INTEGER),
        (MAX_INTEGER + 1, "9007199254740992"),
        (-MAX_INTEGER - 1, "-9007199254740992"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.10"), "1.10"),
        (Decimal("sNaN"), "NaN"),
        (Decimal("-Infinity"), "-Infinity"),
        (Fraction(1, 4), "0.25"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T02:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Colour.NESTED, "2026-01-02"),
        (Level.HIGH, 3),
        (b"\x00\xff", "AP8="),
        (memoryview(b"\x00x\xffx")[::2], "AP8="),
        ({b"k": 1, b"\xff": 2}, {"k": 1, "/w==": 2}),
        (ipaddress.ip_address("::1"), "::1"),
        (PurePosixPath("/a/b"), "/a/b"),
        (UserString("lazy"), "lazy"),
        ((1, [2]), [1, [2]]),
        ({"b", "a"}, ["a", "b"]),
        ({1: {"x": None}, UUID(int=1): 2}, {"1": {"x": None}, "00000000-0000-0000-0000-000000000001": 2}),
    ],
)
def test_the_table(given: Any, wanted: Any) -> None:
    assert plain(given, "f") == wanted
    assert type(plain(given, "f")) is type(wanted)


def test_long_integers_are_decimal_text_to_the_last_digit() -> None:
    """CPython's own `str` refuses more than 4,300 digits."""
    assert plain(-(10**5000) - 7, "f") == "-1" + "0" * 4999 + "7"
    with pytest.raises(LimitExceeded, match=r"^f: an event has at most"):
        plain(1 << 2**21, "f")
    with pytest.raises(LimitExceeded, match="at most 256 characters, got 301"):
        identifier(10**300, "user.id")


@pytest.mark.parametrize(
    "bad", [Fraction(10**400), datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))], ids=["fraction", "instant"]
)
def test_what_has_no_text_is_refused_with_its_field(bad: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"^details\.a: can't hold this"):
        plain({"a": bad}, "details")


@pytest.mark.parametrize("bad", [object(), timedelta(1), len, 1j, Exception("x")])
def test_anything_else_is_refused_with_its_field(bad: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"^details\.a\[1\]\.b: can't hold"):
        plain({"a": [0, {"b": bad}]}, "details")


def test_lone_surrogates_are_refused_in_values_and_keys() -> None:
    with pytest.raises(InvalidEvent, match=r"f\.a: has a lone surrogate"):
        plain({"a": "x\ud800"}, "f")
    with pytest.raises(InvalidEvent, match="lone surrogate"):
        plain({"\ud800": 1}, "f")


def test_limits_are_named() -> None:
    deep: Any = 1.5
    for _ in range(16):
        deep = {"a": deep}
    assert '"1.5"' in json.dumps(plain(deep, "f"))
    for outer in ([deep], {"a": deep}, (deep,), {"a": [deep]}):
        with pytest.raises(LimitExceeded, match="deeper than 16"):
            plain(outer, "f")
    with pytest.raises(LimitExceeded, match="a key has at most 256"):
        plain({"k" * 257: 1}, "f")
    with pytest.raises(InvalidEvent, match="two keys become '1'"):
        plain({1: "a", "1": "b"}, "f")


def test_ids() -> None:
    assert identifier(7, "user.id") == "7"
    assert identifier(UUID(int=7), "user.id").endswith("7")
    for bad in (None, True, 1.5, "", [], "\ud800"):
        with pytest.raises(InvalidEvent, match=r"user\.id"):
            identifier(bad, "user.id")
    with pytest.raises(LimitExceeded, match="at most 256"):
        identifier("x" * 257, "user.id")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(4, 40))
def test_what_is_cut_is_marked_and_fits(text: str, limit: int) -> None:
    for result, size in ((cut(text, limit), len), (cut_bytes(text, limit), lambda t: len(t.encode()))):
        assert size(result) <= limit
        assert result == text or result.endswith("...")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.dates()
    | st.binary()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(anything)
def test_what_is_not_refused_has_canonical_json(value: Any) -> None:
    try:
        result = plain({"v": value}, "f")
    except InvalidEvent:
        return
    assert json.loads(canonical_bytes(result)) == result  # type: ignore[arg-type]
