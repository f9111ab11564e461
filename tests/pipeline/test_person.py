"""`access check`: what one person may see, on a real node."""

import json

import pytest

from auditpipe.pipeline import granted, roles
from auditpipe.pipeline.access import Grant
from auditpipe.pipeline.doctor import people
from auditpipe.pipeline.person import of, standing
from auditpipe.pipeline.principals import Principals
from auditpipe.schemas.errors import NotAllowed, UsageError
from tests.conftest import RealOpenSearch
from tests.stored import run

READS_ALL = {"index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["indices:data/read/*"]}]}


@pytest.mark.opensearch
def test_a_grant_is_told_and_a_person_without_one_is_a_finding(opensearch: RealOpenSearch) -> None:
    name = str(opensearch.add_user().get("username"))
    env = opensearch.environment()
    done = run("access", "check", name, env=env)
    assert done.code == 1 and "may not look" in done.out
    assert run("access", "grant", name, "--role", "admin", "--org", "acme", "--until", "30d", env=env).code == 0
    done = run("access", "check", name, "-o", "json", env=env)
    told = json.loads(done.out)
    assert done.code == 0 and told["may_look"] is True and told["internal_user"] is True
    assert [(one["role"], one["organization"]) for one in told["grants"]] == [("admin", "acme")]
    assert "admin, organization acme, until 20" in run("access", "check", name, env=env).out
    assert run("access", "revoke", name, env=env).code == 0


@pytest.mark.opensearch
def test_only_a_super_admin_may_ask(opensearch: RealOpenSearch) -> None:
    with pytest.raises(NotAllowed, match="Super Admin"):
        standing(opensearch.client(opensearch.add_user(roles.ADMIN)), "ada")
    with pytest.raises(UsageError, match="pattern"):
        standing(opensearch.client(opensearch.super_admin), "a*")


def test_a_foreign_role_lets_in_by_name_by_pattern_and_by_backend_role() -> None:
    users = {"ada": {"backend_roles": ["staff"]}, "kim": {}}
    for mapping in ({"users": ["ada"]}, {"users": ["a*"]}, {"backend_roles": ["staff"]}):
        found = Principals({"readall": READS_ALL}, {"readall": mapping}, users)
        assert of(found, "ada").others == ("readall",) and of(found, "ada").may_look
        assert of(found, "kim").others == () and not of(found, "kim").may_look


def test_an_ended_grant_shuts_out_of_all() -> None:
    role = {"audit_admin": {"description": "auditpipe: x", "index_permissions": []}}
    found = Principals(role, {"audit_admin": {"users": ["ada"]}}, {})
    person = of(found, "ada")
    assert person.may_look and [one.word for one in person.grants] == ["admin"]
    ended = type(person)("ada", False, (*person.grants, Grant("ada", "auditor", "acme", until=1)), (), False)
    assert not ended.may_look
    assert any("has ended" in line for line in ended.sentences())


@pytest.mark.parametrize("mapping", [{"hosts": ["10.0.0.1"]}, {"and_backend_roles": [["a", "b"]]}])
def test_a_role_of_a_grants_name_that_was_widened_or_mapped_by_other_means_is_a_finding(
    mapping: dict[str, list[object]],
) -> None:
    mine = granted.limited_role(Grant("", "admin", "x")).body()
    wide = {"description": "auditpipe: x", **READS_ALL}
    for role, level, said in ((mine, "warn", "by other means than a grant"), (wide, "finding", "was altered by")):
        found = Principals({"audit_admin__x": role}, {"audit_admin__x": mapping}, {})
        [check] = people.examine(found)
        assert (check.level.value, said in check.sentence) == (level, True), check
