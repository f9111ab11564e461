"""Before and after, with what differs marked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.dashboards.console import difference
from auditpipe.dashboards.console.difference import Difference, Side, differences
from auditpipe.dashboards.console.edits import shared
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


def test_in_a_long_value_each_place_is_marked_by_itself() -> None:
    lazy = "The fox jumps over the dog. "
    [found] = made({"field": "note", "before": lazy * 100, "after": (lazy * 40).replace("fox", "cat", 1) + lazy * 59})
    [before], [after] = marks(found.before), marks(found.after)
    assert after == "The [cat] jumps over the dog. " + lazy * 98
    assert before.startswith("The [fox] jumps over the dog. The fox")
    assert before.replace("[", "").replace("]", "") == lazy * 100


def test_of_two_values_that_have_little_in_common_the_middle_is_marked() -> None:
    before, after = (" ".join(f"{letter}{number}" for number in range(2_000)) for letter in "ab")
    [found] = made({"field": "note", "before": f"to {before} end", "after": f"to {after} end"})
    assert (marks(found.before), marks(found.after)) == ([f"to [{before}] end"], [f"to [{after}] end"])


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_what_is_not_marked_is_as_much_as_can_be(old: list[str], new: list[str]) -> None:
    pairs = shared(old, new) or []
    assert all(old[there] == new[here] for there, here in pairs)
    assert pairs == sorted(pairs)
    assert len(pairs) == _longest(tuple(old), tuple(new))


def _longest(old: tuple[str, ...], new: tuple[str, ...]) -> int:
    """By the textbook's table."""
    row = [0] * (len(new) + 1)
    for one in old:
        above, row = row, [0]
        for place, other in enumerate(new):
            row.append(above[place] + 1 if one == other else max(above[place + 1], row[-1]))
    return row[-1]


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
