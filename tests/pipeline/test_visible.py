"""Text of strangers: nothing of it acts on a terminal, nothing of it is lost."""

import json
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.visible import cut, json_bytes, pad, printable, width

OBEYED = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
anything = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Dow", "Dow"),
        ("漢字 é", "漢字 é"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202e", r"\u202e"),
        ("\x9b0m", r"\x9b0m"),
        ("a\u200bb", r"a\u200bb"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("\x00", r"\x00"),
        ("ada\u3164", r"ada\u3164"),
        ("\u115f\u1160\uffa0\u2800\u034f", r"\u115f\u1160\uffa0\u2800\u034f"),
        ("\u17b4\u180b\u2065\ufff0\U000e01ef", r"\u17b4\u180b\u2065\ufff0\U000e01ef"),
        ("\u2764\ufe0f \U0001f600", "\u2764\\ufe0f \U0001f600"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(anything)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not [char for char in printable(text) if unicodedata.category(char) in OBEYED]


def test_json_writes_out_all_that_text_does() -> None:
    """But for what is not assigned yet, which shows as a box."""
    every = [chr(code) for code in (*range(0x20000), *range(0xE0000, 0xE2000), 0x10FFFD)]
    hidden = [char for char in every if printable(char) != char and unicodedata.category(char) != "Cn"]
    assert [char for char in hidden if json_bytes(char) == orjson_bytes(char)] == []


def orjson_bytes(char: str) -> bytes | None:
    return None if unicodedata.category(char) == "Cs" or ord(char) < 0x20 else orjson.dumps(char)


@given(anything)
def test_json_for_a_terminal_is_the_same_value_without_what_it_obeys(text: str) -> None:
    data = json_bytes({text: [text]})
    assert json.loads(data) == {text: [text]}
    assert not [char for char in data.decode() if unicodedata.category(char) in OBEYED]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf"))), st.integers(1, 40))
def test_a_padded_cell_has_exactly_its_width(text: str, columns: int) -> None:
    assert width(pad(text, columns)) == columns


def test_what_is_cut_says_so_and_wide_characters_count_twice() -> None:
    assert width("漢字") == 4
    assert cut("漢字漢字", 5) == "漢字…"
    assert cut("漢字漢字", 4) == "漢…"
    assert cut("short", 5) == "short"
    assert cut("anything", 0) == ""
