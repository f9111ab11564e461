"""JSON that orjson refuses: read and written all the same, and what is written says what was read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.any_json import dumped, loaded, utf8

anything = st.text(st.characters(exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | anything,
    lambda inner: st.lists(inner) | st.dictionaries(anything, inner),
)


@given(values, st.booleans())
def test_what_is_written_is_read_as_the_same(value: object, indent: bool) -> None:
    assert json.loads(dumped(value, indent=indent)) == value


def test_both_writers_write_alike() -> None:
    value = {"a": [1, {"b": "é", "c": [], "d": {}}], "e": None, "f": 1.5, "g": True}
    for indent in (False, True):
        assert dumped({**value, "g": "\ud800"}, indent=indent) == dumped(value, indent=indent).replace(
            "true", '"\ud800"'
        )
    assert dumped(["\ud800", float("inf")]) == '["\ud800",null]'


def test_what_has_no_form_in_json_is_an_error() -> None:
    with pytest.raises(TypeError):
        dumped({"\ud800": object()})


@pytest.mark.parametrize("data", [b"{", b'"\xff"', b"\xff\xfe\x22\x00\x22\x00", b"\xef\xbb\xbf1", b"[" * 100_000])
def test_what_is_no_json_in_utf8_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        loaded(data)


def test_halves_that_came_as_bytes_are_a_character_as_they_are_for_the_node() -> None:
    halves = b'"\xed\xa0\xbd\xed\xb8\x80"'
    assert loaded(utf8(halves).decode("utf-8", "surrogatepass")) == "\U0001f600" == loaded(rb'"\ud83d\ude00"')


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xed\xa0\x80", "\ud800"),
        (b"\xc0\x80", "\udcc0\udc80"),
        (b"a\xf7\xbf\xbf\xbf", "a\udcf7\udcbf\udcbf\udcbf"),
        (b"\xc0\xed\xa0\x80\xed\xff", "\udcc0\ud800\udced\udcff"),
    ],
)
def test_no_byte_is_too_odd_to_be_read(data: bytes, text: str) -> None:
    assert utf8(data).decode("utf-8", "surrogatepass") == text
