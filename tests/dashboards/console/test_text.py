"""Whatever a value holds, on a page it is text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from auditpipe.dashboards.console.text import breakable, shown
from auditpipe.pipeline.visible import printable

TAG = re.compile(r"</?[^>]*>")
OURS = {'<span class="esc">', "</span>", "<wbr>"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_value_makes_a_tag_or_an_invisible_character(text: str) -> None:
    page = breakable(text)
    assert set(TAG.findall(page)) <= OURS
    assert printable(page) == page


def test_escapes_are_set_apart_from_what_was_there() -> None:
    assert shown("\\x00") == "\\x00"
    assert shown("\x00\x01") == '<span class="esc">\\x00\\x01</span>'
    assert shown("a\u202eb<i>") == 'a<span class="esc">\\u202e</span>b&lt;i&gt;'


def test_values_that_are_no_text_are_shown_as_the_command_line_shows_them() -> None:
    assert shown(None) == "null"
    assert shown([True, 1]) == "[true, 1]"
    assert shown("") == ""


def test_a_long_value_is_cut_and_says_so() -> None:
    assert shown("x" * 8_000, 20) == "x" * 19 + "…"
    assert shown("x" * 20, 20) == "x" * 20
