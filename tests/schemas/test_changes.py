"""Before and after become changes from which each can be had again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.schemas.changes import changed_fields, diff, ready_made
from auditpipe.schemas.errors import InvalidEvent, LimitExceeded

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
states = st.dictionaries(st.sampled_from(["a", "b", "c"]), scalars | st.lists(scalars, max_size=3), max_size=3)


def test_the_article_s_example() -> None:
    assert diff({"last_name": "Doe"}, {"last_name": "Dow"}) == [{"field": "last_name", "before": "Doe", "after": "Dow"}]


def test_one_added_member_is_one_change() -> None:
    assert diff({"members": ["u1", "u2"]}, {"members": ["u2", "u1", "u7"]}) == [{"field": "members", "after": "u7"}]
    assert diff({"members": ["u1", "u2"]}, {"members": ["u2"]}) == [{"field": "members", "before": "u1"}]
    with_ids = diff({"m": [{"id": 1, "r": "x"}]}, {"m": [{"id": 1, "r": "y"}, {"id": 2, "r": "z"}]})
    assert with_ids == [{"field": "m.1.r", "before": "x", "after": "y"}, {"field": "m", "after": '{"id":2,"r":"z"}'}]


def test_nothing_null_and_values_are_told_apart() -> None:
    assert diff({}, {"a": None}) == [{"field": "a", "after": None}]
    assert diff({"a": None}, {}) == [{"field": "a", "before": None}]
    assert diff({"a": None}, {"a": ""}) == [{"field": "a", "before": None, "after": ""}]
    assert diff({"a": True}, {"a": 1}) == [{"field": "a", "before": True, "after": 1}]
    assert diff({"a": {"b": 1}}, {"a": None}) == [{"field": "a", "before": '{"b":1}', "after": None}]
    assert diff({}, {"a": {}}) == [{"field": "a", "after": "{}"}]


def test_a_state_that_was_not_there_is_all_change() -> None:
    assert diff(None, {"a": 1, "b": {"c": [1, 2]}}) == [{"field": "a", "after": 1}, {"field": "b.c", "after": [1, 2]}]
    assert diff({"a": 1}, None) == [{"field": "a", "before": 1}]


def test_order_alone_is_a_change_of_the_whole_list_only_with_repetition() -> None:
    assert diff({"a": [1, 1]}, {"a": [1]}) == [{"field": "a", "before": [1, 1], "after": [1]}]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([{"id": 1, "r": "a"}, {"id": 1, "r": "b"}], [{"id": 1, "r": "b"}]),
        ([{"id": 1, "r": "a"}], [{"id": 1, "r": "a"}, {"id": "1", "r": "a"}]),
        ([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}]),
    ],
)
def test_objects_with_one_id_twice_are_compared_whole(old: list[Any], new: list[Any]) -> None:
    (change,) = diff({"m": old}, {"m": new})
    assert [json.loads(change[side]) for side in ("before", "after")] == [old, new]


def test_a_field_has_a_name() -> None:
    for nameless in ({"": 1}, {"f": {"": 1}}):
        with pytest.raises(InvalidEvent, match="expected a field's name"):
            diff({}, nameless)


@given(states)
def test_equal_states_have_no_changes(state: dict[str, Any]) -> None:
    assert diff(state, dict(state)) == []


@given(states, states)
def test_scalars_and_sets_can_be_rebuilt(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Applying the changes to the before gives the after, lists taken as sets."""
    state = dict(before)
    for change in diff(before, after):
        field = change["field"]
        ours, theirs = before.get(field), after.get(field)
        if isinstance(ours, list) and isinstance(theirs, list) and ("before" in change) != ("after" in change):
            members = list(state[field])
            if "after" in change:
                members.append(change["after"])
            else:
                members = [m for m in members if (type(m), m) != (type(change["before"]), change["before"])]
            state[field] = members
        elif "after" in change:
            state[field] = change["after"]
        else:
            del state[field]
    assert {k: _as_set(v) for k, v in state.items()} == {k: _as_set(v) for k, v in after.items()}


def _as_set(value: Any) -> Any:
    return frozenset((type(v), v) for v in value) if isinstance(value, list) else (type(value), value)


def test_long_values_are_cut_and_marked() -> None:
    change = diff({}, {"a": "x" * 9000, "b": ["y" * 5000, "z" * 5000]})
    assert len(change[0]["after"]) == 8000
    assert change[0]["after"].endswith("...")
    assert change[1]["after"] == ["y" * 5000, "..."]


def test_ready_made_changes_are_checked() -> None:
    assert ready_made([{"field": "a", "before": 1.5}]) == [{"field": "a", "before": "1.5"}]
    for bad in ({}, {"field": ""}, {"field": 3}, {"field": "a", "was": 1}, "a"):
        with pytest.raises(InvalidEvent, match=r"changes\[0\]"):
            ready_made([bad])  # type: ignore[list-item]
    with pytest.raises(LimitExceeded):
        ready_made([{"field": "x" * 257}])
    with pytest.raises(InvalidEvent, match="before: expected a mapping"):
        diff("Doe", {})  # type: ignore[arg-type]


def test_changed_fields_are_named_once() -> None:
    assert changed_fields(diff({"m": []}, {"m": ["a", "b"], "n": 1})) == ["m", "n"]
