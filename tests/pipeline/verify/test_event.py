"""What one event shows by itself."""

from dataclasses import replace
from typing import Any

import pytest

from auditpipe.emitters import sealing
from auditpipe.pipeline.verify import form as forms
from auditpipe.pipeline.verify.event import Flaw, Row, placed, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import latest_ns
from auditpipe.schemas.canonical import hashed_bytes
from auditpipe.schemas.errors import LimitExceeded
from auditpipe.schemas.identity import DAY, MICROSECOND, SECOND, index_of, parse_time
from auditpipe.schemas.values import MAX_EVENT_BYTES
from tests.builders import START_NS, Document, event, put, seal


def row(document: Document) -> Row:
    made = row_of(document, Form())
    assert isinstance(made, Row)
    return made


def problem_of(document: Document) -> tuple[str, str] | None:
    return row(document).problem


def test_an_untouched_event_has_no_problem() -> None:
    assert problem_of(event()) is None


@pytest.mark.parametrize("time", ["2026-02-30T00:00:00Z", "2106-12-31T00:00:00Z"])
def test_a_time_that_the_pattern_lets_through_and_no_event_has_is_a_misfit(time: str) -> None:
    document = event()
    document["@timestamp"] = time
    problem = problem_of(seal(document))
    assert problem is not None
    assert problem[0] == "misfit"
    assert problem[1].startswith("@timestamp: ")


def test_an_event_more_than_a_day_ahead_is_a_misfit() -> None:
    """No emitter makes one: `occurred_at` may be a day ahead."""
    form = Form(latest_ns=latest_ns(START_NS))
    ahead, beyond = (row_of(event(START_NS + DAY + more), form) for more in (0, MICROSECOND))
    assert isinstance(ahead, Row) and ahead.problem is None
    assert isinstance(beyond, Row) and beyond.problem is not None
    assert beyond.problem[0] == "misfit"
    assert beyond.problem[1].startswith(
        "@timestamp: expected at most a day ahead, up to 2026-10-11T10:00:00.000000Z, got"
    )


def test_what_was_altered_is_not_called_a_misfit() -> None:
    document = event()
    document["event"]["outcome"] = "maybe"
    assert problem_of(document) == ("altered", "its content does not have the hash that it carries")
    assert row(seal(document)).problem == (
        "misfit",
        "event.outcome: expected 'success', 'failure' or 'unknown', got 'maybe'",
    )


def sized(size: int) -> Document:
    document = event(audit__details={"text": ""})
    put(document, "audit.details.text", "x" * (size - len(hashed_bytes(document))))
    return seal(document)


def test_the_largest_event_is_that_which_an_emitter_makes() -> None:
    sealing.seal(sized(MAX_EVENT_BYTES))
    assert problem_of(sized(MAX_EVENT_BYTES)) is None
    with pytest.raises(LimitExceeded):
        sealing.seal(sized(MAX_EVENT_BYTES + 1))
    assert problem_of(sized(MAX_EVENT_BYTES + 1)) == (
        "misfit",
        "the event: expected at most 262144 bytes of JSON, got 262145",
    )


def test_what_is_too_large_is_not_looked_at_for_what_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error for each of some million elements would be gigabytes."""
    monkeypatch.setattr(forms, "_validate", None)
    problem = problem_of(event(related__user=[1] * MAX_EVENT_BYTES))
    assert problem is not None and problem[1].startswith("the event: expected at most 262144 bytes of JSON, got ")


@pytest.mark.parametrize("schema", ["1.0", "1.1"])
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_no_json_has_is_altered_though_its_bytes_would_be_those_of_null(
    number: float, schema: str
) -> None:
    document = event(audit__details={"amount": [None]}, audit__schema=schema)
    document["audit"]["details"]["amount"][0] = number
    assert problem_of(document) == (
        "altered",
        "it holds a value that no event can hold: no canonical JSON: a number is not finite",
    )


@pytest.mark.parametrize("path", ["audit.stream", "audit.sequence", "audit.previous", "audit.hash", "audit"])
def test_an_event_without_its_place_is_unlinked(path: str) -> None:
    document = event()
    put(document, path, None)
    flaw = row_of(document, Form())
    assert isinstance(flaw, Flaw)
    assert flaw.kind == "unlinked"
    assert flaw.event_id == document["event"]["id"]


@pytest.mark.parametrize("sequence", [0, -1, True, "1", 1.0, 2**53])
def test_a_number_that_is_none_is_unlinked(sequence: Any) -> None:
    assert isinstance(row_of(event() | {"audit": {"sequence": sequence}}, Form()), Flaw)


def test_an_id_of_another_time_is_found() -> None:
    document = event()
    document["event"]["id"] = event(START_NS + SECOND)["event"]["id"]
    assert problem_of(seal(document)) == ("wrong_id", "event.id is not of @timestamp")


def stored(**place: Any) -> tuple[str, str] | None:
    document = event()
    right = {"index": index_of(parse_time(document["@timestamp"])), "doc_id": document["event"]["id"], "version": 1}
    return placed(row(document), **{**right, **place}).problem


def test_where_an_event_is_stored_is_checked() -> None:
    assert stored() is None
    for place, kind in (
        ({"index": "audit-events-2020.01"}, "wrong_index"),
        ({"doc_id": "x"}, "wrong_id"),
        ({"version": 2}, "overwritten"),
    ):
        problem = stored(**place)
        assert problem is not None
        assert problem[0] == kind


def test_an_altered_event_stays_altered_wherever_it_is_stored() -> None:
    altered = replace(row(event()), problem=("altered", "so"))
    assert placed(altered, index="elsewhere", doc_id="x", version=3).problem == ("altered", "so")
