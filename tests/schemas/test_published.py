"""The published schema, the mapping, and what is said about documents from elsewhere."""

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auditpipe.emitters import AuditLog
from auditpipe.schemas import mapping, published
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import Action, builtin
from auditpipe.schemas.compare import differences
from auditpipe.schemas.event import IGNORE_ABOVE
from auditpipe.schemas.values import MAX_CHANGE_VALUE


@pytest.mark.parametrize("name", [published.EVENT, published.DRAFT])
def test_the_published_schema_is_valid_2020_12(name: str) -> None:
    schema = published.load(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_the_mapping_is_flat_and_guesses_nothing() -> None:
    content = mapping.load()["mappings"]
    assert content["dynamic"] == "false"
    text = str(content)
    assert "nested" not in text
    assert content["properties"]["audit"]["properties"]["changes"]["properties"]["before"]["type"] == "keyword"
    assert content["properties"]["audit"]["properties"]["details"] == {"type": "object", "enabled": False}
    assert MAX_CHANGE_VALUE < IGNORE_ABOVE  # so that no value is stored and not found


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value  # type: ignore[no-any-return]


@pytest.fixture
def document(audit_log: AuditLog) -> dict[str, Any]:
    event = audit_log.emit(
        "user.user.updated", actor={"id": "u1", "roles": ["a"]}, target="user:u7", ip="192.0.2.1",
        before={"a": 1, "b": None}, after={"a": [1, "x"]}, details={"x": [1, {"y": None}]}, session="s",
    )  # fmt: skip
    assert event is not None
    return event.document()


def draft_of(document: dict[str, Any]) -> dict[str, Any]:
    draft = copy.deepcopy(document)
    for part in published.SEAL:
        del draft["audit"][part]
    return draft


def test_what_emit_makes_is_valid_sealed_and_as_a_draft(document: dict[str, Any]) -> None:
    assert published.problems(document, builtin()) == []
    assert published.problems(draft_of(document), builtin()) == []


@pytest.mark.parametrize(
    ("path", "value", "where", "expected"),
    [
        ("user.id", 7, "user.id", "type string"),
        ("user.id", "x" * 257, "user.id", "at most 256 characters"),
        ("event.outcome", "ok", "event.outcome", 'one of "success", "failure", "unknown"'),
        ("event.kind", "alert", "event.kind", '"event"'),
        ("event.category", [], "event.category", "non-empty"),
        ("event.action", "nope", "event.action", "matches"),
        ("event.action", "user.user.update", "event.action", "what the catalogue says"),
        ("event.id", "e1", "event.id", "matches"),
        ("@timestamp", "2026-02-31T00:00:00Z", "@timestamp", "day is out of range"),
        ("@timestamp", "2026-01-01T00:00:00", "@timestamp", "matches"),
        ("@timestamp", "2026-01-01T00:00:00Z", "event.id", "milliseconds are those of @timestamp"),
        ("colour", "red", "the document", "'colour' was unexpected"),
        ("audit.sequence", 0, "audit.sequence", "at least 1"),
        ("audit.sequence", 2**53, "audit.sequence", "an integer within"),
        ("audit.details", {"x": [1.5]}, "audit.details.x[0]", "an integer within"),
        ("audit.details", {"x": 2**53}, "audit.details.x", "an integer within"),
        ("audit.details", {"x": "\ud800"}, "audit.details.x", "Unicode text"),
        ("audit.details", {"x": {"\ud800": 1}}, "audit.details.x", "keys of Unicode text"),
        ("audit.details", {"k" * 257: 1}, "audit.details", "keys of at most 256"),
        ("audit.details", nested(17), "audit.details" + ".a" * 16, "at most 16 levels"),
        ("audit.details", nested(5000), "audit.details" + ".a" * 16, "at most 16 levels"),
        ("audit.details", {"x": "y" * 2**18}, "the document", "at most 262144 bytes"),
        ("audit.details", {"a": {"password": "x"}}, "audit.details.a.password", "no value of a secret field"),
        ("audit.details", {"h": ["Authorization", "x"]}, "audit.details.h.Authorization", "no value of a secret field"),
        ("audit.changes", [{"field": "new_pwd", "after": "x"}], "audit.changes[0]", "no value of a secret field"),
        ("audit.changes", [{"field": "a", "after": ["x" * 8000, "y"]}], "audit.changes[0].after", "8000 characters"),
        ("audit.changed", ["zz"], "audit.changed", "the fields of audit.changes"),
        ("audit.target.type", "team", "audit.target.type", "user"),
        ("event.category", ["web"], "event.category", '["iam"]'),
        ("event.type", ["change", "user"], "event.type", '["user", "change"]'),
        ("event.reason", "zzz", "event.reason", "what the catalogue says"),
        ("message", "\u00e9" * 1000, "message", "at most 1024 bytes"),
        ("audit.changes", [{"field": "a", "before": {"x": 1}}], "audit.changes[0].before", "type"),
        ("audit.hash", "0" * 64, "audit.hash", "SHA-256"),
        ("message", "altered", "audit.hash", "SHA-256"),
    ],
)
def test_each_problem_names_path_expected_and_got(
    document: dict[str, Any], path: str, value: Any, where: str, expected: str
) -> None:
    inner = document
    *outer, last = path.split(".")
    for part in outer:
        inner = inner[part]
    inner[last] = value
    found = published.problems(document, builtin())
    assert any(problem.path == where and expected in problem.expected for problem in found), found
    assert all(problem.got for problem in found)


def test_a_secret_is_not_printed(document: dict[str, Any]) -> None:
    document["audit"]["details"] = {"password": "canary-4711"}
    assert "canary" not in str(published.problems(document, builtin()))


@pytest.mark.parametrize(
    "line",
    [
        {"event": {"action": "user.deleted"}, "nonsense": 1, "password": "canary-4711"},
        {"event": {"action": "user.deleted"}, "audit": {"hash": "0", "details": {"token": ["canary-4711"]}}},
        {"event": {"action": "user.deleted"}, "audit": {"changes": [{"field": "pwd", "after": {"x": "canary-4711"}}]}},
        {"event": {"action": "user.deleted"}, "audit": {"changes": [{"field": "pwd", "after": ["canary-4711", []]}]}},
        {"event": {"action": "user.deleted"}, "audit": {"details": {"password": "canary-4711\ud800"}}},
        {"event": {"action": "user.deleted", "secret": "canary-4711"}, "user": [["Cookie", "canary-4711"]]},
    ],
)
def test_no_secret_is_printed_where_the_form_is_wrong(line: dict[str, Any]) -> None:
    found = published.problems(line, builtin())
    assert found
    assert "canary" not in str(found)


def test_no_secret_is_printed_where_the_catalogue_takes_no_such_details() -> None:
    schema = {"properties": {"nested": {"type": "string"}}}
    act = Action("user.mail.sent", "Sent", "{actor} sent", ("email",), ("info",), details_schema=schema)
    line = {"event": {"action": "user.mail.sent"}, "audit": {"details": {"nested": {"pwd": "canary-4711", "n": 1}}}}
    found = published.problems(line, builtin().extended([act]))
    assert any("is not of type" in str(problem) for problem in found), found
    assert "canary" not in str(found)


def test_a_draft_says_what_it_likes(document: dict[str, Any]) -> None:
    assert published.problems({"event": {"action": "user.login_succeeded"}}, builtin()) == []
    draft = draft_of(document)
    del draft["event"]["id"], draft["message"], draft["event"]["outcome"], draft["service"]
    assert published.problems(draft, builtin()) == []
    draft["event"]["category"] = ["web"]
    draft["audit"]["details"] = {"token": "x"}
    assert {problem.path for problem in published.problems(draft, builtin())} == {
        "event.category",
        "audit.details.token",
    }


def test_a_missing_field_is_named(document: dict[str, Any]) -> None:
    del document["service"]
    (problem,) = published.problems(document, builtin())
    assert "'service'" in problem.expected
    assert published.problems([], builtin())[0].expected == "a value of type object"


def test_a_document_without_canonical_form_is_told(document: dict[str, Any]) -> None:
    document["audit"]["details"] = {"n": 2**60}
    assert published.problems(document, builtin())[0].path == "audit.details.n"
    with pytest.raises(ValueError, match="canonical"):
        document_hash(document)


def altered(change: Any) -> dict[str, Any]:
    schema = copy.deepcopy(published.load(published.EVENT))
    change(schema)
    return schema


@pytest.mark.parametrize(
    ("change", "path", "breaking"),
    [
        (lambda s: s["properties"].pop("trace"), "trace", False),
        (lambda s: s["properties"].update(extra={"type": "string"}), "extra", True),
        (lambda s: s["required"].remove("message"), "message", True),
        (lambda s: s["required"].append("trace"), "trace", False),
        (lambda s: s["$defs"]["Host"]["properties"]["name"].update(maxLength=2000), "host.name", True),
        (lambda s: s["$defs"]["Host"]["properties"]["name"].update(maxLength=20), "host.name", False),
        (lambda s: s["$defs"]["EventFields"]["properties"]["outcome"]["enum"].append("odd"), "event.outcome", True),
        (lambda s: s["$defs"]["EventFields"]["properties"]["outcome"]["enum"].pop(), "event.outcome", False),
        (lambda s: s["$defs"]["Actor"]["properties"]["type"].update(type="integer"), "audit.actor.type", True),
        (lambda s: s.update(additionalProperties=True), "the document", True),
    ],
)
def test_diff_tells_breaking_changes(change: Any, path: str, breaking: bool) -> None:
    """`altered` plays the older version."""
    found = differences(altered(change), published.load(published.EVENT))
    assert any(difference.path == path and difference.breaking is breaking for difference in found), found


def test_a_schema_does_not_differ_from_itself() -> None:
    assert differences(published.load(published.EVENT), published.load(published.EVENT)) == []
