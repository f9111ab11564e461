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


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('x;=HYPERLINK("http://a.example")', 'x;\'=HYPERLINK("http://a.example")'),
        ("x; +1", "x;' +1"),
        ('x;"=1"', 'x;\'"=1"'),
        ("x|@SUM(A1)", "x|'@SUM(A1)"),
        ("x\t=1", "x\\t=1"),
        ("a;b;-1;c", "a;b;'-1;c"),
        ("Mozilla/5.0 (X11; Linux; rv:1)", "Mozilla/5.0 (X11; Linux; rv:1)"),
        ("a-b=c", "a-b=c"),
    ],
)
def test_behind_what_separates_cells_elsewhere_none_begins_as_a_formula(value: str, cell: str) -> None:
    document = event(user__name=value)
    assert cells(document)["user.name"] == cell
    quoted = '"' + cell.replace('"', '""') + '"'
    assert (quoted in csv_row(document)) == (";" in value or "|" in value)


@given(
    st.lists(st.sampled_from(["=", "-", "\uff1d", ";", "|", ",", '"', "'", " ", "\u00a0", "\t", "\n", "x"])).map(
        "".join
    )
)
def test_no_separator_makes_a_cell_that_a_spreadsheet_would_run(value: str) -> None:
    row = csv_row(event(user__name=value, message=value))
    formula = ("=", "-", "\uff1d")
    for separator in ";|":
        assert not [raw for raw in row.split(separator) if raw.strip('" \u00a0').startswith(formula)]
    for separator in ",;|":
        for read in csv.reader(io.StringIO(row, newline=""), delimiter=separator):
            assert not [cell for cell in read if cell.lstrip('" \u00a0').startswith(formula)]


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
