"""The logging handler, the pytest fixtures, and NDJSON from elsewhere."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters import AuditHandler, AuditLog, MemoryTransport
from auditpipe.emitters.intake import Intake
from auditpipe.emitters.logging_handler import audit_logger
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.errors import InvalidEvent


def test_a_record_s_audit_extra_becomes_an_event(audit_log: AuditLog, audit_events: MemoryTransport) -> None:
    logger = audit_logger(audit_log)
    logger.debug("any level", extra={"audit": {"action": "user.login_succeeded", "actor": "u1"}})
    assert audit_events.actions == ["user.login_succeeded"]
    with pytest.raises(InvalidEvent, match=r"audit: the log record of .*test_integrations\.py:\d+ has no such extra"):
        logger.info("no extra")
    with pytest.raises(InvalidEvent, match="no such extra"):
        logger.info("no action", extra={"audit": {"actor": "u1"}})
    with pytest.raises(InvalidEvent):
        logger.info("wrong", extra={"audit": {"action": "user.login_succeeded", "ip": "x"}})
    assert audit_logger(audit_log) is logger
    assert len([handler for handler in logger.handlers if isinstance(handler, AuditHandler)]) == 1
    assert not logger.propagate
    assert logger.isEnabledFor(logging.DEBUG)


def test_the_handler_follows_the_failure_policy(tmp_path: Path) -> None:
    memory = MemoryTransport()
    with AuditLog(service="s", transport=memory, spool_dir=tmp_path, on_failure="continue") as audit:
        audit_logger(audit, "test.continue").info("x", extra={"audit": {"action": "no.such"}})
        audit_logger(audit, "test.continue").info("no extra")
        assert audit.stats().refused == 2


def take(audit: AuditLog, *lines: Any) -> list[dict[str, Any]]:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    intake = Intake(audit)
    assert list(intake.check(texts)) == []
    return [event.document() for event in intake.append(texts)]


ID = "019b76da-a800-7000-8000-000000000001"  # 2026-01-01T00:00:00.000Z
DRAFT = {
    "@timestamp": "2026-01-01T00:00:00.000Z",
    "event": {"id": ID, "action": "user.user.updated", "outcome": "success", "category": ["iam"]},
    "user": {"id": "u1", "name": "ada"},
    "organization": {"id": "acme"},
    "service": {"name": "billing", "version": "2"},
    "source": {"ip": "192.0.2.1"},
    "audit": {"target": {"type": "user", "id": "u7"}, "changes": [{"field": "a", "before": 1, "after": None}]},
}


def test_a_draft_document_is_built_linked_and_sealed(audit_log: AuditLog) -> None:
    (document,) = take(audit_log, DRAFT)
    assert document["message"] == "ada changed a of u7: 1 -> null"
    assert document["event"]["id"] == ID
    assert document["service"] == DRAFT["service"]
    assert document["audit"]["hash"] == document_hash(document)
    assert "host" not in document


def test_emit_s_arguments_are_taken_too(audit_log: AuditLog) -> None:
    first, second = take(
        audit_log, {"action": "user.login_succeeded", "actor": "u1"}, '{"action":"user.user.exported"}'
    )
    assert [first["audit"]["sequence"], second["audit"]["sequence"]] == [1, 2]
    assert first["audit"]["stream"] == second["audit"]["stream"]


def test_lines_with_ids_become_the_same_documents_again(tmp_path: Path) -> None:
    other = {**DRAFT, "event": {**DRAFT["event"], "id": ID[:-1] + "2"}, "organization": {"id": "globex"}}  # type: ignore[dict-item]
    lines = [DRAFT, {**DRAFT, "event": {**DRAFT["event"], "id": ID[:-1] + "3"}}, other]  # type: ignore[dict-item]
    runs = []
    for name in ("a", "b"):
        with AuditLog(service="x", host=name, transport=MemoryTransport(), spool_dir=tmp_path) as audit:
            runs.append(take(audit, *lines))
    assert runs[0] == runs[1]
    assert [document["audit"]["sequence"] for document in runs[0]] == [1, 2, 1]


def test_a_sealed_line_is_taken_as_it_is_or_not_at_all(audit_log: AuditLog) -> None:
    (document,) = take(audit_log, DRAFT)
    assert take(audit_log, document) == [document]
    document["message"] = "altered"
    (line,) = Intake(audit_log).check([json.dumps(document)])
    assert "audit.hash: is not the hash of this document" in line.problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is no JSON"),
        ("[1]", "expected a JSON object, got list"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"action": "user.login_succeeded", "colour": 1}', "colour: unknown; known: actor"),
        ('{"event": {"action": "user.login_succeeded"}, "colour": {"x": 1}}', "colour.x: no event has this field"),
        ('{"event": {}}', "event.action"),
        ('{"action": "user.login_succeeded", "event_id": "e1"}', "event.id: expected a UUIDv7"),
        (json.dumps({**DRAFT, "@timestamp": "2026-01-01T00:00:01Z"}), "event.id: its milliseconds"),
        ("[" * 100_000, "is no JSON"),
        ('{"action": "user.login_failed", "reason": {}}', "event.reason: expected a word"),
        ('{"action": "user.login_succeeded", "service": 5}', "service.name"),
        ('{"action": "user.login_succeeded", "host": 5}', "host.name"),
        ('{"action": "user.login_succeeded", "involved": ["Bad Type:x"]}', "audit.involved.0.type"),
        ('{"action": "user.user.updated", "details": {"x": "%s"}}' % ("y" * 300_000), "at most 262144 bytes"),
    ],
)
def test_a_line_that_is_no_event_is_named_and_nothing_is_appended(
    audit_log: AuditLog, audit_events: MemoryTransport, line: str, problem: str
) -> None:
    (found,) = Intake(audit_log).check(["", line])
    assert found.number == 2  # and nothing but it: the good line before it is not taken either
    assert problem in found.problem
    assert audit_events.events == []
