"""The table fits its width, and nothing in it acts on the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.cli import table
from auditpipe.pipeline.visible import width
from tests.builders import event, stream


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_each_column_of_the_article_is_there() -> None:
    header, row = list(table.lines([event()]))
    assert header.split() == ["time", "(UTC)", "action", "actor", "target", "what", "changed", "outcome", "address"]
    for text in (
        "2026-10-10 10:00:00",
        "user.user.updated",
        "ada",
        "user:Tess Test",
        "last_name: Doe -> Dow",
        "192.0.2.1",
    ):
        assert text in row


@pytest.mark.parametrize("columns", ["64", "80", "100", "120", "200"])
def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    documents = [event(user__name="漢字" * 40, audit__target__name="x" * 300), *stream(3)]
    assert max(width(line.rstrip("\n")) for line in table.lines(documents)) <= int(columns)


def test_a_failure_says_why() -> None:
    row = list(table.lines([event(event__outcome="failure", event__reason="bad_credentials")]))[1]
    assert "failure (bad_credentials)" in row or "failure (bad_" in row


def test_ids_come_when_asked_for() -> None:
    document = event()
    assert document["event"]["id"] in list(table.lines([document], with_id=True))[1]


def test_nothing_found_is_no_table() -> None:
    assert list(table.lines([])) == []


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_hostile_values_show_as_text(text: str) -> None:
    document = event(user__name=text, audit__target__name=text, audit__changes=[{"field": text, "before": text}])
    for line in table.lines([document]):
        assert not [c for c in line.rstrip("\n") if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Co")]


@given(st.lists(st.integers(0, 300), min_size=7, max_size=7), st.integers(40, 300))
def test_widths_use_the_room_and_no_more(sizes: list[int], total: int) -> None:
    widths = table.fit(table.COLUMNS, [["x" * size for size in sizes]], total)
    room = total - table.GAP * (len(widths) - 1)
    natural = [max(len(c.title), min(c.most, size)) for c, size in zip(table.COLUMNS, sizes, strict=True)]
    narrowest = [min(natural[0], 19), *(min(size, table.NARROWEST) for size in natural[1:])]
    assert sum(widths) == min(sum(natural), max(room, sum(narrowest)))


def test_rows_beyond_the_sample_are_shown_too() -> None:
    documents = [event()] * (table.SAMPLE + 3)
    assert len(list(table.lines(documents))) == table.SAMPLE + 4
