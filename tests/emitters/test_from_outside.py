"""Documents that come whole: refused where `emit` would have refused, and never where an emitter made them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.emitters.intake import Intake, parse
from auditpipe.pipeline.verify.event import Row, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.schemas import published
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import InvalidEvent

keys = st.sampled_from(["a", "b.c", "name", "value", "id", "password", "key", "user_pin", "\ufb01"]) | st.text(
    max_size=4
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals(allow_nan=True)
    | st.binary(max_size=4)
    | st.sampled_from(["password", "Authorization", "tess", "x" * 9000])
    | st.text(max_size=8)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
states = st.dictionaries(keys, values, max_size=4)
changes = st.lists(st.fixed_dictionaries({"field": keys}, optional={"before": values, "after": values}), max_size=3)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    return AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path_factory.mktemp("spool"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    st.fixed_dictionaries({}, optional={"before": states, "after": states, "details": states})
    | st.fixed_dictionaries({"changes": changes}, optional={"details": states}),
    st.sampled_from([("user.user.updated", None), ("user.login_failed", "unknown_account")]),
)
def test_whatever_emit_takes_is_valid(audit: AuditLog, arguments: dict[str, Any], what: tuple[str, str | None]) -> None:
    action, reason = what
    try:
        event = audit.emit(action, reason=reason, actor={"name": "Tess"}, **arguments)
    except InvalidEvent:
        return
    assert event is not None
    stored = event.document()
    assert published.problems(stored, builtin()) == []
    row = row_of(stored, Form())
    assert isinstance(row, Row) and row.problem is None
    again = json.loads(json.dumps(stored))
    assert audit.append_sealed(again).document() == stored


@pytest.fixture
def stored(audit: AuditLog) -> dict[str, Any]:
    event = audit.emit("user.user.updated", actor="u1", target="user:u7", before={"a": 1}, after={"a": 2})
    assert event is not None
    return copy.deepcopy(event.document())


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("audit.details", {"x": 0.5}, "audit.details.x: expected an integer within"),
        ("audit.details", {"x": 2**53}, "audit.details.x: expected an integer within"),
        ("audit.details", {"x": "\ud800"}, "audit.details.x: expected Unicode text"),
        ("audit.details", deep(17), "at most 16 levels"),
        ("audit.details", {"k" * 257: 1}, "keys of at most 256"),
        ("audit.details", {"x": "y" * 2**18}, "at most 262144 bytes"),
        ("audit.details", {"password": "canary"}, "audit.details.password: expected no value of a secret field"),
        ("audit.details", {"badge": "canary"}, "audit.details.badge: expected no value of a secret field"),
        ("audit.changes", [{"field": "password", "after": "canary"}], "no value of a secret field"),
        ("audit.changes", [{"field": "a", "after": "x" * 8001}], "audit.changes.0.after"),
        ("audit.changed", ["zz"], "audit.changed: expected the fields of audit.changes"),
        ("audit.target.type", "team", "audit.target.type: expected user"),
        ("user.id", "u" * 257, "user.id"),
        ("event.category", ["web"], "event.category: expected"),
        ("event.type", ["info"], "event.type: expected"),
        ("event.reason", "because", "event.reason: expected"),
        ("message", "\u00e9" * 600, "message: "),
        ("@timestamp", "2100-01-01T00:00:00Z", "a time at most a day ahead"),
    ],
)
def test_a_sealed_line_is_refused_where_emit_would_have_refused(
    tmp_path: Path, stored: dict[str, Any], path: str, value: Any, problem: str
) -> None:
    inner = stored
    *outer, last = path.split(".")
    for part in outer:
        inner = inner[part]
    inner[last] = value
    if path == "audit.changes":
        stored["audit"]["changed"] = [change["field"] for change in value]
    try:
        stored["audit"]["hash"] = document_hash(stored)
    except ValueError:
        assert problem.endswith(("Unicode text", "an integer within"))  # it has no hash to be right or wrong
    memory = MemoryTransport()
    audit = AuditLog("s", transport=memory, spool_dir=tmp_path, redact="badge")
    (found,) = Intake(audit).check([json.dumps(stored)])
    assert problem in found.problem
    assert "canary" not in found.problem
    with pytest.raises(InvalidEvent):
        audit.append_sealed(stored)
    assert memory.events == []


def test_an_action_of_another_application_s_catalogue_is_taken_sealed(audit: AuditLog, stored: dict[str, Any]) -> None:
    stored["event"]["action"], stored["event"]["category"] = "user.invoice.paid", ["web"]
    stored["audit"]["hash"] = document_hash(stored)
    assert audit.append_sealed(stored).event.action == "user.invoice.paid"


@pytest.mark.parametrize(
    ("event", "parts", "problem"),
    [
        ({"category": ["web"]}, {}, 'event.category: expected ["iam"]'),
        ({"type": ["info"]}, {}, "event.type: expected"),
        ({"kind": "alert"}, {}, 'event.kind: expected "event"'),
        ({}, {"schema": "9.9"}, 'audit.schema: expected "1.0"'),
        ({}, {"changes": [{"field": "a", "after": 1}], "changed": ["b"]}, "audit.changed: expected"),
        ({}, {"actor": {"type": "user", "mood": "x"}}, "audit.actor.mood: no event has this field"),
    ],
)
def test_a_draft_that_contradicts_itself_is_refused(
    audit: AuditLog, event: dict[str, Any], parts: dict[str, Any], problem: str
) -> None:
    draft = {"event": {"action": "user.user.updated", **event}, "user": {"id": "u1"}, "audit": parts}
    (found,) = Intake(audit).check([json.dumps(draft)])
    assert problem in found.problem
    assert published.problems(draft, builtin())


def test_a_draft_as_emit_takes_it_is_valid_as_it_stands(audit: AuditLog) -> None:
    """`schema validate` and `emit --file` agree on what may be left out, and on what is null."""
    draft = {"event": {"action": "user.user.updated", "reason": None}, "http": None, "audit": {"changed": []}}
    assert published.problems(draft, builtin()) == []
    assert list(Intake(audit).check([json.dumps(draft)])) == []


def test_numbers_of_a_draft_are_kept_to_the_last_digit(audit: AuditLog) -> None:
    line = '{"event":{"action":"user.user.updated"},"audit":{"details":{"a":1.10,"b":0.1234567890123456789,"c":9e99}}}'
    (event,) = Intake(audit).append([line])
    assert event.audit.details == {"a": "1.10", "b": "0.1234567890123456789", "c": "9E+99"}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999999999999999999999"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(InvalidEvent, match=r"is no number of JSON|beyond what"):
        parse(f'{{"x": {number}}}')
