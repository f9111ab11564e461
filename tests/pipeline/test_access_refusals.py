"""Grants that a real node would take and that would not do what they say, refused or told."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditpipe.pipeline import access, granted, principals, rest
from auditpipe.pipeline.doctor import cluster
from auditpipe.pipeline.doctor.check import Level
from auditpipe.pipeline.granted import Grant
from auditpipe.schemas.errors import NotAllowed, UsageError
from tests.conftest import RealOpenSearch
from tests.pipeline.test_access import listed, run

opensearch_test = pytest.mark.opensearch


@opensearch_test
def test_nobody_has_a_limited_grant_beside_an_unlimited_one(opensearch: RealOpenSearch) -> None:
    """The limit would hide events from both, without a word."""
    name = opensearch.add_user().get("username") or ""
    free, limited = ("--role", "admin"), ("--role", "auditor", "--org", "acme")
    for first, second in ((free, limited), (limited, free), (limited, ("--role", "super-admin"))):
        assert run(opensearch, "grant", name, *first).exception is None
        refused = run(opensearch, "grant", name, *second).exception
        assert isinstance(refused, UsageError)
        assert f"access revoke {name} --role {first[1]}" in str(refused)
        assert len(listed(opensearch, name)) == 1
        assert run(opensearch, "revoke", name).return_value == 0
    direct = opensearch.add_user("audit_admin").get("username") or ""
    assert isinstance(run(opensearch, "grant", direct, *limited).exception, UsageError)


@opensearch_test
def test_a_mix_that_was_made_by_other_means_is_told(opensearch: RealOpenSearch) -> None:
    name = opensearch.add_user().get("username") or ""
    run(opensearch, "grant", name, "--role", "admin", "--org", "acme")
    direct = [{"op": "add", "path": "/opendistro_security_roles", "value": ["audit_auditor"]}]
    opensearch.request("PATCH", f"/_plugins/_security/api/internalusers/{name}", direct)
    assert all("limited and unlimited" in row["note"] for row in listed(opensearch, name))
    found = [check.sentence for check in cluster.examine(opensearch.admin) if check.level is Level.FINDING]
    assert [name in sentence for sentence in found] == [True]
    assert run(opensearch, "revoke", name).return_value == 0


@opensearch_test
def test_who_ships_events_gets_no_other_role(opensearch: RealOpenSearch) -> None:
    """Its rule would hide from the shipper what it has to compare, and stop it."""
    second = opensearch.add_user("audit_writer").get("username") or ""
    for name in ("audit_shipper", second):
        refused = run(opensearch, "grant", name, "--role", "auditor", "--org", "zz").exception
        assert isinstance(refused, UsageError)
        assert "ships events" in str(refused)


@opensearch_test
def test_a_weak_password_is_the_askers_mistake(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc\n")
    name = f"weak-{secrets.token_hex(4)}"
    result = run(opensearch, "grant", name, "--role", "admin", "--user-password-file", str(tmp_path / "secret"))
    assert isinstance(result.exception, UsageError)
    assert "Weak password" in str(result.exception)
    assert "{" not in str(result.exception)


@opensearch_test
def test_the_shipper_in_another_role_is_found(opensearch: RealOpenSearch) -> None:
    name = opensearch.add_user("audit_writer", "audit_auditor").get("username") or ""
    try:
        (found,) = (check for check in cluster.examine(opensearch.admin) if name in check.sentence)
    finally:
        opensearch.request("DELETE", f"/_plugins/_security/api/internalusers/{name}")
    assert found.level is Level.FINDING
    assert "audit_auditor" in found.sentence


@opensearch_test
@pytest.mark.parametrize(
    "patterns", [["*"], ["audit-events-2026*"], ["/audit-.*/"], ["audit-event?"], ["audit-events"]]
)
def test_a_role_that_is_not_ours_and_reaches_the_events_is_told_with_its_people(
    opensearch: RealOpenSearch, patterns: list[str]
) -> None:
    """A Super Admin makes one with curl; our mark in its description makes it none of ours."""
    api, role = "/_plugins/_security/api", f"other-{secrets.token_hex(4)}"
    name = opensearch.add_user().get("username") or ""
    allowed: dict[str, Any] = {"index_patterns": patterns, "allowed_actions": ["read"]}
    body = {"description": "auditpipe: harmless", "index_permissions": [allowed]}
    opensearch.request("PUT", f"{api}/roles/{role}", body, settings=opensearch.super_admin)
    try:
        assert not any(role in check.sentence for check in cluster.examine(opensearch.admin))
        opensearch.request("PUT", f"{api}/rolesmapping/{role}", {"users": [name]}, settings=opensearch.super_admin)
        (found,) = (check for check in cluster.examine(opensearch.admin) if role in check.sentence)
    finally:
        opensearch.request("DELETE", f"{api}/roles/{role}")
    assert found.level is Level.WARN
    assert name in found.sentence


@opensearch_test
@pytest.mark.parametrize("setting", ["index.default_pipeline", "index.final_pipeline", "index.search.default_pipeline"])
def test_a_pipeline_that_could_change_events_is_found(opensearch: RealOpenSearch, setting: str) -> None:
    index = min(opensearch.request("GET", "/audit-events-*"))
    opensearch.request("PUT", f"/{index}/_settings", {setting: "doctored"})
    try:
        found = {check.name: check for check in cluster.examine(opensearch.admin)}["pipelines"]
    finally:
        opensearch.request("PUT", f"/{index}/_settings", {setting: None})
    assert found.level is Level.FINDING
    assert f"{index} ({setting} doctored)" in found.sentence


def test_the_last_super_admin_stays() -> None:
    ada, ben, kim = Grant("ada", "super-admin"), Grant("ben", "super-admin"), Grant("kim", "admin")
    access.refuse_last([ada, ben, kim], [ada])
    access.refuse_last([ada, kim], [kim])
    staff = Grant("ada", "super-admin", backend=True)
    access.refuse_last([ada, staff], [ada])
    access.refuse_last([ada, staff], [staff])
    for everyone in ([ada, kim], [ada, replace(ada, direct=True)]):
        with pytest.raises(NotAllowed, match="ada is the last Super Admin"):
            access.refuse_last(everyone, [one for one in everyone if one.user == "ada"])
    with pytest.raises(NotAllowed, match="backend role ada is the last Super Admin"):
        access.refuse_last([staff, kim], [staff])


@pytest.mark.parametrize(
    ("mapping", "users", "backend"),
    [
        ({"users": ["ada"]}, {"ada": {}}, False),
        ({}, {"ada": {"opendistro_security_roles": ["audit_super_admin"]}}, False),
        ({"backend_roles": ["ada"]}, {}, True),
    ],
)
@pytest.mark.parametrize("word", [None, "super-admin"])
def test_no_way_of_having_it_lets_the_last_super_admin_go(
    monkeypatch: pytest.MonkeyPatch, mapping: Any, users: Any, backend: bool, word: str | None
) -> None:
    """By whichever entry they have it, and though an Admin would be left: nothing is sent to the node."""
    made = {name: {"description": "auditpipe: x"} for name in granted.WORDS.values()}
    found = principals.Principals(made, {"audit_super_admin": mapping, "audit_admin": {"users": ["kim"]}}, users)
    sent: list[Any] = []
    monkeypatch.setattr(principals, "read", lambda _client: found)
    monkeypatch.setattr(rest, "get", lambda *_: {})
    monkeypatch.setattr(rest, "send", lambda _client, request: sent.append(request))
    with pytest.raises(NotAllowed, match="last Super Admin"):
        access.revoke(None, "ada", word, backend=backend)  # type: ignore[arg-type]
    assert sent == []
