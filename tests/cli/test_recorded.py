"""Each grant, revocation and refused try as an audit event: begun before it is made, and ended after."""

import secrets
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from auditpipe.cli.commands.access import command
from auditpipe.emitters import AuditLog
from auditpipe.emitters.spool.archive import entries
from auditpipe.pipeline import access
from auditpipe.schemas.errors import NotAllowed, NotFinished, SpoolError, SpoolFull
from auditpipe.schemas.settings import Settings
from tests.conftest import RealOpenSearch, RealStack
from tests.stored import run

pytestmark = pytest.mark.opensearch


class Desk:
    """Where a Super Admin sits: the command, and the spool of its machine, to which no shipper listens."""

    def __init__(self, opensearch: RealOpenSearch, spool: Path) -> None:
        self.spool = spool
        self._opensearch = opensearch

    def run(self, *arguments: str, settings: Settings | None = None) -> Result:
        who = settings or self._opensearch.super_admin
        names = ("url", "username", "password_file", "ca_file")
        environment = {f"AUDITPIPE_{name.upper()}": str(who.get(name)) for name in names}
        environment |= {"AUDITPIPE_SPOOL_DIR": str(self.spool), "AUDITPIPE_FORWARD": "127.0.0.1:1"}
        return CliRunner().invoke(command, arguments, env=environment, standalone_mode=False)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What waits, in order, without the ends of streams."""
        found = [entry.document for entry in entries(self.spool)]
        return [one for one in found if one["event"]["action"].startswith("user.")]

    @property
    def outcomes(self) -> list[tuple[str, str, str | None]]:
        return [
            (e["event"]["action"].split(".")[-1], e["event"]["outcome"], e["event"].get("reason")) for e in self.events
        ]


@pytest.fixture
def desk(opensearch: RealOpenSearch, tmp_path: Path) -> Desk:
    return Desk(opensearch, tmp_path / "spool")


@pytest.fixture
def name(opensearch: RealOpenSearch) -> str:
    return str(opensearch.add_user().get("username"))


def has_any(opensearch: RealOpenSearch, user: str) -> bool:
    return any(one.user == user for one in access.grants(opensearch.client(opensearch.super_admin)))


def test_a_grant_and_its_end_are_events_that_say_who_whom_what_and_why(desk: Desk, name: str) -> None:
    done = desk.run("grant", name, "--role", "admin", "--org", "acme", "--until", "2100-01-01", "--reason", "case 7")
    assert done.exception is None, done.output
    assert "2 events only spooled" in done.stderr and "spool drain" in done.stderr
    assert desk.run("revoke", name).return_value == 0
    assert desk.outcomes == [
        ("granted", "unknown", "begun"),
        ("granted", "success", None),
        ("revoked", "unknown", "begun"),
        ("revoked", "success", None),
    ]
    begun, granted, _, revoked = desk.events
    assert begun["http"]["request"] == granted["http"]["request"] != revoked["http"]["request"]
    for event in (begun, granted, revoked):
        assert event["user"]["name"] == "superadmin" and event["audit"]["actor"] == {"type": "user"}
        assert event["audit"]["target"] == {"type": "user", "id": name, "name": name}
        assert event["service"]["name"] == "auditpipe-access"
    assert granted["organization"]["id"] == revoked["organization"]["id"] == "acme"
    assert granted["audit"]["details"] == {"reason": "case 7"}
    assert {change["field"]: change["after"] for change in granted["audit"]["changes"]} == {
        "role": "admin",
        "organization": "acme",
        "until": "2100-01-01T00:00:00.000000Z",
    }
    assert {change["field"] for change in revoked["audit"]["changes"] if "before" in change} == {
        *("role", "organization", "until")
    }
    assert granted["message"].startswith(f"superadmin granted {name} access to the audit log: ")


def test_each_grant_that_is_taken_back_at_once_is_an_event_of_its_own(desk: Desk, name: str) -> None:
    for organization in ("one", "two"):
        assert desk.run("grant", name, "--role", "auditor", "--org", organization).exception is None
    before = len(desk.events)
    assert desk.run("revoke", name).return_value == 0
    begun, *revoked = desk.events[before:]
    assert begun["event"]["reason"] == "begun" and "organization" not in begun
    assert {event["organization"]["id"] for event in revoked} == {"one", "two"}
    assert desk.run("revoke", name).return_value == 1
    assert desk.outcomes[-1] == ("revoked", "failure", "not_found")


def test_a_try_of_who_may_not_is_an_event_under_their_name(opensearch: RealOpenSearch, desk: Desk, name: str) -> None:
    person = opensearch.add_user("audit_admin")
    for arguments in (("grant", name, "--role", "admin"), ("revoke", name)):
        assert isinstance(desk.run(*arguments, settings=person).exception, NotAllowed)
    assert [outcome for outcome in desk.outcomes if outcome[2] != "begun"] == [
        ("granted", "failure", "not_allowed"),
        ("revoked", "failure", "not_allowed"),
    ]
    assert {event["user"]["name"] for event in desk.events} == {person.get("username")}
    assert not has_any(opensearch, name)


def test_who_can_not_sign_in_is_nobody_whatever_they_call_themselves(
    opensearch: RealOpenSearch, desk: Desk, name: str, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text("hunter2\n")
    result = desk.run("grant", name, "--role", "admin", settings=opensearch.settings("superadmin", tmp_path / "wrong"))
    assert isinstance(result.exception, NotAllowed)
    (event,) = desk.events
    assert desk.outcomes == [("granted", "failure", "bad_credentials")]
    assert event["audit"]["actor"] == {"type": "anonymous"} and event["audit"]["target"]["id"] == name
    assert b"superadmin" not in orjson.dumps(event) and b"hunter2" not in orjson.dumps(event)


def test_what_can_not_be_put_on_record_is_not_done(opensearch: RealOpenSearch, desk: Desk, name: str) -> None:
    desk.spool.write_text("no folder")
    assert isinstance(desk.run("grant", name, "--role", "admin").exception, SpoolError)
    assert not has_any(opensearch, name)


def test_a_grant_whose_end_can_not_be_put_on_record_says_that_it_was_made(
    opensearch: RealOpenSearch, desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = AuditLog.emit

    def full_after_the_first(audit: AuditLog, action: str, **arguments: Any) -> Any:
        if arguments["outcome"] != "unknown" or arguments["reason"] != "begun":
            raise SpoolFull("the spool has reached its limit")
        return emit(audit, action, **arguments)

    monkeypatch.setattr(AuditLog, "emit", full_after_the_first)
    error = desk.run("grant", name, "--role", "admin").exception
    assert isinstance(error, NotFinished) and not isinstance(error, SpoolError)
    assert "this was done, and only its beginning is on record" in str(error)
    assert has_any(opensearch, name)
    assert desk.outcomes == [("granted", "unknown", "begun")]


def test_a_grant_that_was_broken_off_stays_unknown(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(access, "grant", broken_off)
    desk.run("grant", name, "--role", "admin")
    assert desk.outcomes == [("granted", "unknown", "begun"), ("granted", "unknown", "interrupted")]


def test_with_a_shipper_they_are_found_by_a_search(stack: RealStack, name: str, tmp_path: Path) -> None:
    """And the command says nothing of where they are: they are where they should be."""
    env = {"AUDITPIPE_HOME": str(stack.home), "AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")}
    reason = f"case {secrets.token_hex(8)}"
    done = run("access", "grant", name, "--role", "admin", "--reason", reason, env=env)
    assert done.code == 0 and "spool" not in done.err, done
    stack.opensearch.request("POST", "/audit-events-*/_refresh")
    found = run("search", "--action", "user.audit_access.granted", "--user", name, "-o", "ndjson", env=env)
    assert [one["event"]["outcome"] for one in found.documents] == ["success", "unknown"]
    assert {one["audit"]["details"]["reason"] for one in found.documents} == {reason}
