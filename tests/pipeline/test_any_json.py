"""JSON that orjson refuses: read and written all the same, and what is written says what was read."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline import any_json
from auditpipe.pipeline.any_json import answered, dumped, loaded, utf8

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


#: What orjson takes.
plain = st.text(st.characters(exclude_categories=["Cs"]))
ordinary = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.sampled_from([0.5, float("inf"), float("nan")])
    | plain,
    lambda inner: st.lists(inner) | st.dictionaries(plain, inner),
)


@given(ordinary)
def test_what_orjson_refuses_is_laid_out_as_it_lays_out(value: object) -> None:
    for indent, option in ((False, 0), (True, orjson.OPT_INDENT_2)):
        assert "".join(any_json._texts(value, indent)) == orjson.dumps(value, option=option).decode()


def nested(levels: int, inner: str) -> str:
    """So many objects and lists by turns, beside texts that hold brackets."""
    text = inner
    for level in range(levels):
        text = f'["}}\\\\",{text},1]' if level % 2 else f'{{"[\\"":{text}}}'
    return text


def innermost(value: Any, levels: int) -> Any:
    for level in reversed(range(levels)):
        value = value[1] if level % 2 else value['["']
    return value


@pytest.mark.parametrize("inner", ["1", r'"\ud800"', "1e999", r'{"\udfff": [-0.5, null, "é"]}'])
@pytest.mark.parametrize("levels", [250, 512, 950, 1_000])
def test_a_thousand_levels_are_read_and_written(levels: int, inner: str) -> None:
    """As many as a node takes; in its answer some more are around them."""
    answer = loaded(f'{{"hits":{{"hits":[{{"_source":{nested(levels, inner)}}},{{"_source":"the next"}}]}}}}')
    for value in (answer, loaded(dumped(answer)), loaded(dumped(answer, indent=True))):
        hit, following = value["hits"]["hits"]
        assert following == {"_source": "the next"}
        assert dumped(innermost(hit["_source"], levels)) == dumped(loaded(inner))


@pytest.mark.parametrize(
    "text", ["[" * 1_100 + "]" * 1_100, nested(1_000, "1")[:-1], nested(1_000, "1") + "]", nested(990, "NaN")]
)
def test_what_is_deep_and_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        loaded(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"hits":[\ufeff{"a":1}]}', {"hits": [{"a": 1}]}),
        ('{"a":/* } */1,// ]\n"b":[2/**/]}', {"a": 1, "b": [2]}),
        ('["/* a */", "// b", "\\"/*", "\ufeff", /*"*/ "*/"]', ["/* a */", "// b", '"/*', "\ufeff", "*/"]),
        (r'["\ud800" /* */]', ["\ud800"]),
    ],
)
def test_an_answer_is_read_in_spite_of_what_jackson_passes_over(text: str, value: object) -> None:
    assert answered(text) == value
    if text[1] != '"' or "ud800" in text:
        with pytest.raises(ValueError):
            loaded(text)


@pytest.mark.parametrize("text", ["<html>/* */</html>", "[/* ]", "[1/**/2]", "//"])
def test_what_is_no_json_without_comments_either_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        answered(text)


def test_what_has_no_end_is_not_written() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="nested too deeply"):
        dumped(endless)
