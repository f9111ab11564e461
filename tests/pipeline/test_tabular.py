"""An event as a row: what was changed, in words, and CSV that no spreadsheet runs."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.tabular import COLUMNS, change_text, changes_text, csv_header, csv_row, field
from tests.builders import event


def cells(document: dict[str, Any]) -> dict[str, str]:
    header, row = csv.reader(io.StringIO(csv_header() + csv_row(document), newline=""))
    return dict(zip(header, row, strict=True))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"field": "last_name", "before": "Doe", "after": "Dow"}, "last_name: Doe -> Dow"),
        ({"field": "members", "after": "u7"}, "members: + u7"),
        ({"field": "members", "before": "u7"}, "members: - u7"),
        ({"field": "email", "before": None, "after": ""}, 'email: null -> ""'),
        ({"field": "tags", "before": ["a", "b"], "after": []}, "tags: [a, b] -> []"),
        ({"field": "active", "before": False, "after": True}, "active: false -> true"),
        ({"field": "age", "before": 9, "after": 10}, "age: 9 -> 10"),
        ({"field": "password"}, "password"),
    ],
)
def test_nothing_removed_null_and_empty_are_told_apart(change: dict[str, Any], text: str) -> None:
    assert change_text(change, {}) == text


def test_redacted_fields_are_named() -> None:
    document = event(audit__redacted=["password"])
    assert changes_text(document) == "last_name: Doe -> Dow; password: (redacted)"


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1", "\n=1"])
def test_a_cell_never_begins_as_a_formula(value: str) -> None:
    assert cells(event(user__name=value))["user.name"].startswith("'")


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_any_value_makes_one_line_with_all_columns(value: str) -> None:
    row = csv_row(event(user__name=value, message=value))
    assert row.count("\n") == 1
    assert len(next(csv.reader(io.StringIO(row, newline="")))) == len(COLUMNS)
    assert not cells(event(user__name=value))["user.name"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_columns_hold_what_their_path_names() -> None:
    document = event()
    row = cells(document)
    assert row["event.id"] == document["event"]["id"]
    assert row["audit.sequence"] == "1"
    assert row["changes"] == "last_name: Doe -> Dow"
    assert row["host.name"] == ""


def test_a_document_of_another_shape_gives_no_error() -> None:
    assert field({"user": "a string"}, "user.name") is None
    assert (
        changes_text({"audit": {"changes": ["no", {"field": "x", "after": {"deep": 1}}], "redacted": "no"}})
        == 'x: + {"deep":1}'
    )
