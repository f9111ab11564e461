"""One event in full: the sentence first, then before and after, then every field."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.cli import detail
from tests.builders import event


def shown(**fields: Any) -> str:
    return "\n".join(detail.lines(event(**fields)))


def test_the_sentence_comes_first_and_the_change_as_such() -> None:
    lines = list(detail.lines(event()))
    assert lines[0] == "Ada changed last_name of Tess Test: Doe -> Dow"
    assert "  last_name: Doe -> Dow" in lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"field": "members", "after": "u7"}, "  members: (nothing) -> u7"),
        ({"field": "members", "before": "u7"}, "  members: u7 -> (removed)"),
        ({"field": "email", "before": None, "after": ""}, '  email: null -> ""'),
        ({"field": "active", "before": False, "after": True}, "  active: false -> true"),
    ],
)
def test_nothing_removed_and_null_are_told_apart(change: dict[str, Any], line: str) -> None:
    assert line in shown(audit__changes=[change]).splitlines()


def test_an_id_that_is_involved_is_shown_with_its_name() -> None:
    involved = [{"type": "user", "id": "u7", "name": "Tess \x1b[2J"}]
    text = shown(audit__changes=[{"field": "members", "after": "u7"}], audit__involved=involved)
    assert "  members: (nothing) -> u7 (Tess \\x1b[2J)" in text.splitlines()


def test_redacted_says_that_the_value_was_withheld() -> None:
    text = shown(audit__redacted=["password"], audit__changes=[{"field": "password"}])
    assert "  password: (redacted), its values never left the application" in text.splitlines()
    assert text.count("password: ") == 1


def test_lists_are_shown_an_item_a_line() -> None:
    text = shown(audit__changes=[{"field": "roles", "before": ["admin", "agent"], "after": ["agent"]}])
    assert "  roles:\n    - admin\n    - agent\n    + agent" in text


def test_a_long_value_is_wrapped_and_nothing_of_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    value = "".join(f"{number:05d} " for number in range(1300))
    lines = shown(audit__changes=[{"field": "bio", "before": "short", "after": value}], message="m").splitlines()
    assert max(map(len, lines)) <= 80
    start = lines.index("    - short") + 1
    taken = [line[6:] for line in lines[start : lines.index("", start)]]
    assert "".join(taken).replace(" ", "") == value.replace(" ", "")


def test_every_field_is_shown() -> None:
    document = event(audit__details={"deep": {"er": [1, {"x": None}]}})
    text = "\n".join(detail.lines(document))
    for expected in (
        document["event"]["id"],
        document["audit"]["hash"],
        "audit.details.deep.er",
        "192.0.2.1",
        "ada@example.com",
    ):
        assert expected in text


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_hostile_values_show_as_text(text: str) -> None:
    document = event(message=text, user__name=text, audit__changes=[{"field": text, "after": text}])
    document["audit"]["details"] = {text: text}
    for line in detail.lines(document):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Co")]


def test_an_event_of_another_shape_is_still_shown() -> None:
    assert "only" in "\n".join(detail.lines({"only": "this", "audit": {"changes": "none", "redacted": 7}}))
