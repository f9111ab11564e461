"""Before and after, with what differs marked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.dashboards.console import difference
from auditpipe.dashboards.console.difference import Difference, Side, differences
from tests.builders import event

WORDS = st.text("ab \n\u0301é", max_size=20)


def made(*changes: dict[str, Any], **fields: Any) -> list[Difference]:
    return differences(event(audit__changes=list(changes), **fields))


def marks(side: Side) -> list[str]:
    return ["".join(f"[{part.text}]" if part.marked else part.text for part in line) for line in side.lines]


def unmarked(side: Side) -> str:
    return "".join(part.text for line in side.lines for part in line if not part.marked)


def test_the_words_that_differ_are_marked() -> None:
    [found] = made({"field": "name", "before": "Tess Doe, Berlin", "after": "Tess Dow, Berlin"})
    assert (marks(found.before), marks(found.after)) == (["Tess [Doe], Berlin"], ["Tess [Dow], Berlin"])


@given(WORDS, WORDS)
def test_nothing_of_a_value_is_lost_and_what_is_not_marked_is_on_both_sides(before: str, after: str) -> None:
    [found] = made({"field": "f", "before": before, "after": after})
    for side, value in ((found.before, before or '""'), (found.after, after or '""')):
        assert "".join(part.text for line in side.lines for part in line) == value
    same = [
        [part.text for line in side.lines for part in line if not part.marked] for side in (found.before, found.after)
    ]
    assert "".join(same[0]) == "".join(same[1])


def test_of_a_list_the_members_that_the_other_side_lacks_are_marked() -> None:
    [found] = made({"field": "roles", "before": ["agent", True], "after": ["agent", 1]})
    assert (marks(found.before), marks(found.after)) == (["agent", "[true]"], ["agent", "[1]"])
    [found] = made({"field": "roles", "before": [], "after": ["agent"]})
    assert (marks(found.before), marks(found.after)) == (["[[]]"], ["[agent]"])


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({"after": "x"}, difference.NOTHING, None),
        ({"before": "x"}, None, difference.REMOVED),
        ({}, difference.NOT_RECORDED, difference.NOT_RECORDED),
    ],
)
def test_a_side_that_is_not_there_says_why(change: dict[str, str], before: Side | None, after: Side | None) -> None:
    [found] = made({"field": "f", **change})
    assert before in (None, found.before)
    assert after in (None, found.after)


def test_null_is_a_value_and_a_redacted_field_shows_none() -> None:
    changes = [{"field": "f", "before": None, "after": "x"}, {"field": "password", "before": "old", "after": "new"}]
    plain, secret = made(*changes, audit__redacted=["password"])
    assert marks(plain.before) == ["[null]"]
    assert (secret.field, secret.before, secret.after) == ("password", difference.REDACTED, difference.REDACTED)


def test_a_member_has_the_name_that_people_call_it() -> None:
    involved = [{"type": "user", "id": "u7", "name": "Tess Test"}]
    [found] = made({"field": "members", "after": "u7"}, audit__involved=involved)
    assert marks(found.after) == ["[u7 (Tess Test)]"]
