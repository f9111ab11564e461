"""What `emit` makes of its arguments, and what it refuses."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from auditpipe.emitters import AuditLog, MemoryTransport, context
from auditpipe.emitters.transport import Stats
from auditpipe.schemas import identity
from auditpipe.schemas.canonical import GENESIS, document_hash
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import InvalidEvent, LimitExceeded, SpoolError, UnknownAction, UsageError
from auditpipe.schemas.event import Event
from auditpipe.schemas.published import problems

ADA = {"id": "u1", "name": "ada", "full_name": "Ada", "email": "ada@example.org", "roles": ["admin"]}
TESS = {"type": "user", "id": "u7", "name": "Tess Test"}


@pytest.fixture
def audit(audit_log: AuditLog) -> AuditLog:
    return audit_log


def emitted(audit: AuditLog, action: str = "user.user.updated", **arguments: Any) -> Event:
    event = audit.emit(action, **arguments)
    assert event is not None
    return event


def test_the_event_of_the_design(audit: AuditLog) -> None:
    event = emitted(
        audit, actor=ADA, target=TESS, before={"last_name": "Doe"}, after={"last_name": "Dow"},
        organization={"id": "acme", "name": "Acme"}, session="s1", request="r1", trace="t1", ip="2001:DB8::1",
        user_agent="curl", details={"n": 1.5}, involved=["team:t1", {"type": "user", "id": 9, "name": "Bob"}], key="k",
    )  # fmt: skip
    document = event.document()
    assert problems(document, builtin()) == []
    assert document["message"] == "Ada changed last_name of Tess Test: Doe -> Dow"
    assert document["user"] == {**ADA, "target": {"id": "u7", "name": "Tess Test"}}
    assert document["audit"]["changes"] == [{"field": "last_name", "before": "Doe", "after": "Dow"}]
    assert document["audit"]["changed"] == ["last_name"]
    assert document["audit"]["involved"] == [{"type": "team", "id": "t1"}, {"type": "user", "id": "9", "name": "Bob"}]
    assert document["audit"]["details"] == {"n": "1.5"}
    assert document["source"]["ip"] == "2001:db8::1"
    related = document["related"]
    assert related == {"user": ["u1", "ada", "ada@example.org", "u7", "Tess Test", "9", "Bob"], "ip": ["2001:db8::1"]}
    assert identity.milliseconds_of(event.id) == identity.parse_time(document["@timestamp"]) // identity.MILLISECOND


def test_events_of_a_stream_are_linked(audit: AuditLog) -> None:
    events = [emitted(audit, "user.login_succeeded", actor=ADA) for _ in range(3)]
    assert [event.audit.sequence for event in events] == [1, 2, 3]
    assert [event.audit.previous for event in events] == [GENESIS, events[0].hash, events[1].hash]
    assert all(event.hash == document_hash(event.document()) for event in events)
    assert len({event.audit.stream for event in events}) == 1


def test_each_organization_has_a_stream_of_its_own(audit: AuditLog) -> None:
    pairs = [(emitted(audit, "user.login_succeeded", organization=org)).audit for org in ("a", "b", None, "a")]
    assert [audit.sequence for audit in pairs] == [1, 1, 1, 2]
    assert len({audit.stream for audit in pairs}) == 3


def test_close_ends_every_stream(audit: AuditLog, audit_events: MemoryTransport) -> None:
    first = emitted(audit, "user.login_succeeded", organization="a")
    audit.close()
    audit.close()
    last = audit_events.events[-1]
    assert last.event.action == "service.audit_stream.closed"
    assert (last.audit.stream, last.audit.sequence, last.audit.previous) == (first.audit.stream, 2, first.hash)
    assert last.organization == first.organization
    with pytest.raises(SpoolError, match="closed"):
        audit.emit("user.login_succeeded")


def test_a_number_is_spent_only_by_a_successful_append(audit: AuditLog, audit_events: MemoryTransport) -> None:
    emitted(audit, "user.login_succeeded")
    append, audit_events.append = audit_events.append, _refuse  # type: ignore[method-assign]
    with pytest.raises(SpoolError):
        audit.emit("user.login_succeeded")
    with pytest.raises(InvalidEvent):
        audit.emit("user.login_succeeded", details={"x": object()})
    audit_events.append = append  # type: ignore[method-assign]
    assert emitted(audit, "user.login_succeeded").audit.sequence == 2
    assert audit.stats().refused == 2


def _refuse(*_: object) -> None:
    raise SpoolError("full")


def test_a_stream_that_can_t_be_closed_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = MemoryTransport()
    audit = AuditLog("s", transport=memory, spool_dir=tmp_path)
    emitted(audit, "user.login_succeeded")
    memory.append = _refuse  # type: ignore[method-assign]
    with caplog.at_level("INFO"):
        audit.close()
    (record,) = caplog.records
    assert record.getMessage() == "the audit stream of s can't be closed, and verify will call it abandoned: full"
    assert not record.exc_info


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"organization": ""}, r"organization\.id: expected an id"),
        ({"organization": {"name": "x"}}, r"organization\.id: expected an id"),
        ({"on_failure": None}, "on_failure: expected raise, continue, or a mapping"),
        ({"on_failure": {"*": "ignore"}}, r"on_failure: expected raise or continue for \*"),
        ({"on_failure": {"*": "raise", "user.*": "continue"}}, r"on_failure: user\.\* comes after \*"),
        ({"fsync": "allways"}, "fsync: expected off, interval or always, got 'allways'"),
        ({"actions": [1]}, r"actions\[0\]: expected an Action"),
        ({"forward_ca_file": "/nowhere"}, "forward_ca_file: /nowhere: expected certificates"),
        ({"forward_ca_file": __file__}, "forward_ca_file: .*: expected certificates"),
    ],
)
def test_what_an_audit_log_can_t_work_with_is_refused_at_once(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        AuditLog("s", spool_dir=tmp_path, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actor": [3]}, "actor: expected a mapping"),
        ({"actor": True}, "user.id: expected an id"),
        ({"actor": {"id": None, "nick": "x"}}, "actor.nick: unknown; known: id, name"),
        ({"actor": {"id": "x" * 257}}, "user.id: an id has at most 256"),
        ({"actor": {"id": "u", "type": "robot"}}, "audit.actor.type: expected one of user"),
        ({"actor": {"id": "u", "roles": "admin"}}, "user.roles: expected a list"),
        ({"target": {"type": "team", "id": "t"}}, "audit.target.type: user.user.updated is done to a user"),
        ({"target": {"type": "user", "id": ""}}, "audit.target.id: expected an id, got an empty"),
        ({"ip": "300.1.2.3"}, "source.ip: expected an IPv4 or IPv6"),
        ({"occurred_at": datetime(2026, 1, 1)}, "@timestamp: occurred_at: expected a datetime with a time zone"),
        ({"occurred_at": "yesterday"}, "@timestamp: expected an RFC 3339"),
        ({"occurred_at": datetime.now(UTC) + timedelta(days=2)}, "@timestamp: is over a day ahead"),
        ({"occurred_at": datetime(1969, 1, 1, tzinfo=UTC)}, "@timestamp: expected a time from 1970"),
        ({"outcome": "ok"}, "event.outcome: user.user.updated has success or failure"),
        ({"reason": "because"}, "event.reason: .*success"),
        ({"before": {}, "changes": []}, "changes: give either"),
        ({"details": [1]}, "audit.details: expected a mapping"),
        ({"details": {"a": object()}}, "audit.details.a: can't hold a object"),
        ({"who": "me"}, "who: no argument of emit; known: actor"),
        ({"organization": {"name": "Acme"}}, "organization.id: expected an id"),
        ({"details": {"a": "x" * 300_000}}, "event: an event has at most 262144 bytes"),
    ],
)
def test_what_is_refused_names_its_field(audit: AuditLog, arguments: dict[str, Any], message: str) -> None:
    if "reason" in arguments:
        message = "event.reason"
        arguments = {"outcome": "failure", **arguments}
    with pytest.raises(InvalidEvent, match=message.replace("[", r"\[")):
        audit.emit("user.user.updated", **arguments)
    assert emitted(audit).audit.sequence == 1


def test_an_actor_s_id_may_be_a_number_or_a_uuid(audit: AuditLog) -> None:
    for actor, wanted in ((5, "5"), (UUID(int=1), "00000000-0000-0000-0000-000000000001")):
        user = emitted(audit, actor=actor).user
        assert user is not None
        assert user.id == wanted


def test_an_unknown_action_is_refused(audit: AuditLog) -> None:
    with pytest.raises(UnknownAction, match=re.escape("user.user.updated")):
        audit.emit("user.user.update")


def test_long_names_are_cut_and_marked(audit: AuditLog) -> None:
    event = emitted(audit, actor={"id": "u", "name": "n" * 2000}, user_agent="a" * 2000)
    assert event.user is not None
    assert event.user.name == "n" * 1021 + "..."
    assert len(event.message.encode()) <= 1024


def test_backfill_keeps_its_time(audit: AuditLog) -> None:
    event = emitted(audit, occurred_at="2020-02-03T04:05:06.123456789+01:00")
    assert event.timestamp == "2020-02-03T03:05:06.123456789Z"
    assert identity.index_of_id(event.id) == "audit-events-2020.02"


def test_context_is_used_and_an_argument_goes_over_it(audit: AuditLog) -> None:
    with audit.context(actor="u1", organization="acme", ip="192.0.2.1"), context(request="r1"):
        event = emitted(audit, organization="globex")
        document = event.document()
    assert (document["user"]["id"], document["http"]["request"]["id"]) == ("u1", "r1")
    assert document["organization"] == {"id": "globex"}
    assert "source" not in emitted(audit).document()
    with pytest.raises(InvalidEvent, match="tenant: is no part of the context"), audit.context(tenant="x"):
        pass


def test_changes_may_be_ready_made(audit: AuditLog) -> None:
    event = emitted(audit, changes=[{"field": "a.b", "before": None, "after": 2}])
    assert event.document()["audit"]["changes"] == [{"field": "a.b", "before": None, "after": 2}]


def test_secrets_leave_only_their_names(audit: AuditLog) -> None:
    canary = "canary-4711"
    event = emitted(
        audit,
        before={"newPassword": "a" + canary, "n": 1, "keys": [{"id": 1, "api_key": canary}], "same_token": canary},
        after={"newPassword": "b" + canary, "n": 2, "keys": [{"id": 1, "api_key": canary + "2"}], "same_token": canary},
        details={"nested": [{"Access-Token": canary}], "ok": 1},
    )
    text = str(event.document())
    assert canary not in text
    assert event.audit.redacted == ["newPassword", "keys.api_key", "details.nested.Access-Token"]
    assert event.audit.changed == ["n"]
    made = emitted(audit, changes=[{"field": "auth.client_secret", "after": canary}])
    assert canary not in str(made.document())
    assert made.audit.redacted == ["auth.client_secret"]


def test_the_application_names_further_secrets(tmp_path: Path) -> None:
    memory = MemoryTransport()
    with AuditLog(service="s", transport=memory, spool_dir=tmp_path, redact=["ssn", "profile.salary"]) as audit:
        event = emitted(audit, after={"SSN": 1, "salary": 2, "profile": {"salary": 3, "x": 4}})
    assert event.audit.redacted == ["SSN", "profile.salary"]
    assert event.audit.changed == ["salary", "profile.x"]


def test_a_name_typed_for_an_unknown_account_is_kept_as_a_keyed_hash(audit: AuditLog) -> None:
    def failed(name: str) -> Event:
        typed = {"name": name}
        return emitted(
            audit, "user.login_failed", reason="unknown_account", actor=typed, target={"type": "user"} | typed
        )

    first, second, other = failed("hunter2"), failed("hunter2"), failed("hunter3")
    assert "hunter" not in str(first.document())
    assert first.user is not None and second.user is not None and other.user is not None
    assert first.user.name == second.user.name != other.user.name
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{64}", first.user.name or "")
    assert first.message == "Someone unknown failed to sign in: unknown account"
    known = emitted(audit, "user.login_failed", reason="bad_credentials", actor={"id": "u1", "name": "ada"})
    assert known.user is not None and known.user.name == "ada"


def test_policy_continue_counts_logs_and_returns_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policies: Any = {"user.user.exported": "raise", "*": "continue"}
    with AuditLog(service="s", transport=MemoryTransport(), spool_dir=tmp_path, on_failure=policies) as audit:
        assert audit.emit("no.such.action") is None
        assert audit.emit("no.such.action") is None
        with pytest.raises(InvalidEvent):
            audit.emit("user.user.exported", outcome="odd")
        assert audit.stats() == Stats(refused=3)
    assert len([record for record in caplog.records if "was not taken" in record.message]) == 1
    with pytest.raises(UsageError, match="expected raise or continue"):
        AuditLog(service="s", on_failure="ignore")  # type: ignore[arg-type]


def test_an_event_is_frozen(audit: AuditLog) -> None:
    event = emitted(audit)
    with pytest.raises(ValueError, match="frozen"):
        event.message = "x"  # type: ignore[misc]


def test_limits_hold_by_kind(audit: AuditLog) -> None:
    with pytest.raises(LimitExceeded):
        audit.emit("user.user.updated", key="k" * 257)
