"""What was typed for an unknown account is nowhere in the event, and nothing else is lost by that."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.concealment import concealment_key
from auditpipe.schemas import published
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.event import Event

TYPED = "Hunter2 & co"
WITH = {"actor": {"name": TYPED}}


def failed(audit: AuditLog, **arguments: Any) -> Event:
    event = audit.emit("user.login_failed", reason="unknown_account", **arguments)
    assert event is not None
    assert published.problems(event.document(), builtin()) == []
    return event


@pytest.mark.parametrize(
    "arguments",
    [
        {"actor": TYPED},
        {"actor": {"name": TYPED, "roles": [TYPED]}, "details": {"username": TYPED, "log": f"no such user {TYPED}!"}},
        {"actor": {"email": TYPED}, "target": {"type": "user", "id": "u", "name": TYPED}},
        {**WITH, "involved": [{"type": "user", "name": TYPED}, {"type": "device", "id": "d", "name": f"of {TYPED}"}]},
        {"involved": [{"type": "user", "name": TYPED}], "details": {"typed": TYPED}},
        {**WITH, "changes": [{"field": "name", "before": TYPED, "after": [TYPED, "x"]}, {"field": TYPED, "after": 1}]},
        {**WITH, "before": {"x": {TYPED: 1}}, "after": {"x": {TYPED.upper(): 2}, "y": [{"z": f'"{TYPED}"'}]}},
        {**WITH, "session": TYPED, "request": f"r-{TYPED}", "trace": TYPED, "key": f"login:{TYPED}"},
        {**WITH, "user_agent": f"{'x' * 1000} {TYPED}", "organization": {"id": "acme", "name": TYPED}},
        {
            **WITH,
            "details": {TYPED: 1, f"a {TYPED}": [{TYPED.lower(): TYPED.upper()}], "field": TYPED, f"{TYPED} pwd": 1},
        },
        {"actor": {"name": f"  {TYPED}\t"}, "details": {"t": TYPED, "u": f"{TYPED.swapcase()} "}},
    ],
)
def test_what_was_typed_is_nowhere(audit_log: AuditLog, arguments: dict[str, Any]) -> None:
    event = failed(audit_log, **arguments)
    text = json.dumps(event.document(), ensure_ascii=False).casefold()
    assert TYPED.casefold() not in text
    assert event.audit.redacted is not None
    assert event.audit.redacted[-1] == "user.name"


@pytest.mark.parametrize(
    ("typed", "other"),
    [("P\u00e4ssw\u00f6rd", "P\u00c4SSW\u00d6RD"), ("Stra\u00dfe1", "STRASSE1"), ('a"b\\c', 'A"B\\C')],
)
def test_letters_of_other_case_are_the_same(audit_log: AuditLog, typed: str, other: str) -> None:
    changes = [{"field": "x", "after": {"json": other}}]
    event = failed(audit_log, actor={"name": typed}, details={"t": f"is {other}.", other: 1}, changes=changes)
    text = json.dumps(event.document(), ensure_ascii=False).casefold()
    for form in (typed.casefold(), json.dumps(typed.casefold(), ensure_ascii=False)[1:-1]):
        assert form not in text.replace("hmac-sha256", "")


def test_a_number_that_was_typed_is_concealed_as_a_number_too(audit_log: AuditLog) -> None:
    event = failed(audit_log, actor=12345678, details={"typed": 12345678, "port": 443}, after={"x": [12345678]})
    text = json.dumps(event.document()["audit"]["details"]) + json.dumps(event.document()["audit"]["changes"])
    assert "12345678" not in text
    assert '"port": 443' in text


def test_equal_names_stay_equal_and_keys_stay_apart(audit_log: AuditLog) -> None:
    details = {"t": TYPED.lower(), "u": f"<{TYPED}>", TYPED: 1, TYPED.lower(): 2}
    event = failed(audit_log, **WITH, details=details)
    assert event.user is not None
    assert event.audit.details is not None
    name = event.user.name
    assert event.audit.details["t"] == name
    assert event.audit.details["u"] == f"<{name}>"
    assert sorted(map(str, event.audit.details.values()))[:2] == ["1", "2"]


def test_a_short_name_is_concealed_only_where_it_stands_alone(audit_log: AuditLog) -> None:
    event = failed(audit_log, actor={"name": "abc"}, details={"t": " ABC", "u": "xabcx", "abc": 1}, session="abc")
    assert event.audit.details is not None
    assert re.fullmatch("hmac-sha256:[0-9a-f]{64}", str(event.audit.details["t"]))
    assert (event.audit.details["u"], event.audit.details["abc"]) == ("xabcx", 1)
    assert event.audit.session is not None
    assert event.audit.session.id.startswith("hmac-sha256:")


def test_whoever_types_a_tenant_s_name_does_not_hide_from_it(audit_log: AuditLog) -> None:
    event = failed(audit_log, actor={"name": "globex"}, organization="globex")
    assert event.organization is not None
    assert event.organization.id == "globex"


def test_a_typed_name_that_is_a_word_of_ours_breaks_nothing(audit_log: AuditLog) -> None:
    event = failed(audit_log, actor={"name": "user"})
    assert event.audit.target is not None
    assert event.audit.target.type == "user"


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_key_that_can_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Each failed sign-in would leave a file on a disk that is full already; once there is room the key is made."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "names.key"
    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(os, "urandom", lambda count: refuse() if count == 32 else bytes(count))
        else:
            patch.setattr(os, call, refuse)
        for _ in range(3):
            with pytest.raises(SpoolError, match="No space left"):
                concealment_key(path)
        assert list(tmp_path.iterdir()) == []
    assert len(concealment_key(path)) == 32
    assert [(left.name, left.stat().st_mode & 0o777) for left in tmp_path.iterdir()] == [("names.key", 0o600)]


def test_a_key_that_another_made_meanwhile_is_everybody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "names.key"
    real, made = os.link, []

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", real)
        made.append(concealment_key(path))
        real(source, target)

    monkeypatch.setattr(os, "link", late)
    assert [concealment_key(path)] == made
    assert list(tmp_path.iterdir()) == [path]
