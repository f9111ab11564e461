"""Grants on a real node: given by a Super Admin, enforced by the node."""

import json
import secrets
import time
from dataclasses import replace
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy.exceptions import AuthorizationException

from auditpipe.cli.commands.access import command
from auditpipe.pipeline import access, grant_rule, granted, principals
from auditpipe.pipeline.access import Grant
from auditpipe.pipeline.client import edge
from auditpipe.schemas.errors import AuditpipeError, Conflict, NotAllowed, UsageError
from auditpipe.schemas.identity import index_of
from auditpipe.schemas.settings import Settings
from tests.builders import START_NS, event
from tests.conftest import RealOpenSearch
from tests.waiting import recorded

INDEX = index_of(START_NS)
opensearch_test = pytest.mark.opensearch
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HOUR_MS = 3_600_000


def run(opensearch: RealOpenSearch, *arguments: str, settings: Settings | None = None) -> Result:
    environment = opensearch.environment()
    if settings is not None:
        names = ("url", "username", "password_file", "ca_file")
        environment = {f"AUDITPIPE_{name.upper()}": str(settings.get(name)) for name in names}
    return CliRunner().invoke(command, arguments, env=environment, standalone_mode=False)


@pytest.fixture(scope="module")
def tenants(opensearch: RealOpenSearch) -> tuple[str, str]:
    """Two organizations with an event each."""
    if INDEX not in opensearch.request("GET", "/_alias/audit-events"):
        opensearch.request("PUT", f"/{INDEX}")
    names = (f"one-{secrets.token_hex(4)}", f"two_{secrets.token_hex(4)} ${{user.name}}")
    for name in names:
        document = event(organization__id=name)
        opensearch.request("PUT", f"/{INDEX}/_create/{document['event']['id']}?refresh=true", document)
    return names


def seen(opensearch: RealOpenSearch, who: Settings) -> set[str]:
    """The organizations whose events someone finds; nothing where they may not look at all."""
    body = {"size": 0, "aggs": {"organizations": {"terms": {"field": "organization.id", "size": 1000}}}}
    try:
        answer = opensearch.request("POST", "/audit-events-*/_search", body, settings=who)
    except AuthorizationException:
        return set()
    return {bucket["key"] for bucket in answer["aggregations"]["organizations"]["buckets"]}


def listed(opensearch: RealOpenSearch, user: str) -> list[dict[str, Any]]:
    rows = json.loads(run(opensearch, "list", "-o", "json").stdout)
    return [row for row in rows if row["user"] == user]


@given(TEXT, TEXT)
def test_a_roles_name_tells_its_organization_and_person_apart(organization: str, user: str) -> None:
    name = Grant(user, "admin", organization, until=1).role_name
    match = granted.LIMITED.fullmatch(name)
    assert match is not None
    assert (granted.decode(match[2]), granted.decode(match[3])) == (organization, user)
    assert name.isascii() and "/" not in name and "%" not in name


def test_a_role_of_a_backend_role_is_not_taken_for_one_of_a_user_of_that_name() -> None:
    """The end is in a role of its own, which names its holder."""
    user, staff = (Grant("soc", "admin", "acme", 4_000_000_000_000, backend=backend) for backend in (False, True))
    assert user.role_name != staff.role_name and not user.same(staff)
    for one in (user, staff):
        found = principals.Principals(
            {one.role_name: granted.limited_role(one).body()}, {one.role_name: {one.kind: ["soc"]}}, {}
        )
        (told,) = granted.grants_of(found)
        assert (told.holder, told.note) == (one.holder, "")
    (odd,) = granted.grants_of(replace(found, mappings={staff.role_name: {"users": ["soc"]}}))
    assert odd.note == "in a role of another name"


@given(TEXT.filter(bool), st.integers(min_value=0, max_value=2**42) | st.none())
def test_a_roles_rule_tells_what_it_limits(organization: str, until: int | None) -> None:
    rule = grant_rule.rule_of(organization, until)
    end = None if until is None else until // 1000 * 1000
    assert grant_rule.parse_rule({"index_permissions": [{"dls": rule}]}) == (organization, end)
    assert "$" not in rule


@opensearch_test
def test_a_grant_lets_in_and_its_end_shuts_out(opensearch: RealOpenSearch, tenants: tuple[str, str]) -> None:
    person = opensearch.add_user()
    name = person.get("username") or ""
    assert seen(opensearch, person) == set()
    assert run(opensearch, "grant", name, "--role", "admin").exception is None
    assert set(tenants) <= seen(opensearch, person)
    assert listed(opensearch, name) == [
        {"user": name, "backend_role": None, "role": "admin", "organization": None, "until": None, "note": None}
    ]
    assert run(opensearch, "revoke", name).return_value == 0
    assert seen(opensearch, person) == set()
    assert run(opensearch, "revoke", name).return_value == 1


@opensearch_test
def test_a_grant_for_an_organization_shows_that_one_alone_whatever_its_id_is(
    opensearch: RealOpenSearch, tenants: tuple[str, str]
) -> None:
    person = opensearch.add_user()
    name = person.get("username") or ""
    for organization in tenants:
        assert run(opensearch, "grant", name, "--role", "auditor", "--org", organization).exception is None
        assert seen(opensearch, person) == {organization}
        assert listed(opensearch, name)[0]["organization"] == organization
        assert run(opensearch, "revoke", name, "--org", organization).return_value == 0
    assert seen(opensearch, person) == set()
    assert access.Grant(name, "auditor", tenants[0]).role_name not in opensearch.request(
        "GET", "/_plugins/_security/api/roles"
    )


@opensearch_test
def test_a_person_may_have_several_organizations(opensearch: RealOpenSearch, tenants: tuple[str, str]) -> None:
    person = opensearch.add_user()
    name = person.get("username") or ""
    for organization in tenants:
        run(opensearch, "grant", name, "--role", "admin", "--org", organization)
    assert seen(opensearch, person) == set(tenants)


def _in_seconds(seconds: int) -> int:
    """A grant's end: whole seconds, as milliseconds since 1970."""
    return (time.time_ns() // 1_000_000_000 + seconds) * 1000


def past_the_limit(organization: str) -> dict[str, dict[str, Any]]:
    """What shows a person more than their searches do: OpenSearch adds a role's rule to the query and nothing else."""
    theirs = {"term": {"organization.id": organization}}
    hits = {"theirs": {"filter": theirs, "aggs": {"hits": {"top_hits": {}}}}}
    word = {"text": organization[:-1] + "~", "term": {"field": "organization.id"}}
    background = {"field": "organization.id", "min_doc_count": 1, "background_filter": theirs}
    return {
        "global": {"size": 0, "aggs": {"all": {"global": {}, "aggs": hits}}},
        "global, nothing found": {
            "size": 0,
            "query": {"match_none": {}},
            "aggs": {"all": {"global": {}, "aggs": hits}},
        },
        "suggest": {"size": 0, "suggest": {"word": word}},
        "background": {"size": 0, "aggs": {"words": {"significant_terms": background}}},
    }


@opensearch_test
def test_the_node_ends_a_grant_at_its_end(opensearch: RealOpenSearch, tenants: tuple[str, str]) -> None:
    """Whatever a request asks for: a rule that can't be evaluated lets nothing through, not even past the query."""
    person = opensearch.add_user()
    name = person.get("username") or ""
    as_super_admin = opensearch.client(opensearch.super_admin)
    access.grant(as_super_admin, Grant(name, "admin", tenants[0], _in_seconds(3600)))
    one = {"query": {"term": {"organization.id": tenants[0]}}}
    hit = opensearch.request("POST", "/audit-events-*/_search", one, settings=person)["hits"]["hits"][0]
    path = f"/{hit['_index']}/_doc/{hit['_id']}"
    assert opensearch.request("GET", path, settings=person)["found"] is True
    opened = opensearch.request("POST", f"/{INDEX}/_search/point_in_time?keep_alive=1m", settings=person)["pit_id"]
    view = {"pit": {"id": opened}, **one}
    assert opensearch.request("POST", "/_search", view, settings=person)["hits"]["hits"] == [hit | {"_score": ANY}]
    until = _in_seconds(2)
    access.grant(as_super_admin, Grant(name, "admin", tenants[0], until))
    # The node's clock decides, and both are this machine's.
    time.sleep(max(0.0, until / 1000 - time.time()) + 0.1)
    by_hand = past_the_limit(tenants[0]).values()
    requests: list[tuple[str, str, Any]] = [
        *(("POST", f"/{INDEX}/_search", body) for body in (one, {}, *by_hand)),
        *(("POST", "/_search", {**body, "pit": {"id": opened}}) for body in (one, *by_hand)),
        ("POST", "/audit-events-*/_count", {}),
        ("GET", path, None),
    ]
    for method, where, body in requests:
        with pytest.raises(NotAllowed, match="has ended"), edge():
            opensearch.request(method, where, body, settings=person)
    read = opensearch.request("POST", "/_mget", {"docs": [{"_index": INDEX, "_id": hit["_id"]}]}, settings=person)
    assert "_source" not in read["docs"][0]
    assert listed(opensearch, name)[0]["note"] == "ended: revoke it"
    assert run(opensearch, "revoke", name).return_value == 0


@opensearch_test
def test_whoever_limits_a_grant_to_an_organization_is_told_what_that_is_worth(
    opensearch: RealOpenSearch, tenants: tuple[str, str]
) -> None:
    """And it is true: the day that OpenSearch closes one of these ways, this test says so, and the words can go."""
    person = opensearch.add_user()
    name = person.get("username") or ""
    told = run(opensearch, "grant", name, "--role", "admin", "--org", tenants[0]).stderr
    assert access.SEES_PAST in told
    found = {
        what: opensearch.request("POST", f"/{INDEX}/_search", body, settings=person)
        for what, body in past_the_limit(tenants[1]).items()
    }
    for what in ("global", "global, nothing found"):
        hits = found[what]["aggregations"]["all"]["theirs"]["hits"]["hits"]["hits"]
        assert [hit["_source"]["organization"]["id"] for hit in hits] == [tenants[1]]
    assert tenants[1] in [option["text"] for option in found["suggest"]["suggest"]["word"][0]["options"]]
    assert found["background"]["aggregations"]["words"]["bg_count"] == 1
    # What it does hold for.
    assert seen(opensearch, person) == {tenants[0]}
    other = {"query": {"term": {"organization.id": tenants[1]}}}
    assert opensearch.request("POST", "/audit-events-*/_count", other, settings=person)["count"] == 0
    assert run(opensearch, "revoke", name).return_value == 0
    assert access.SEES_PAST not in run(opensearch, "grant", name, "--role", "admin", "--until", "1d").stderr
    assert run(opensearch, "revoke", name).return_value == 0


@opensearch_test
def test_a_grant_with_an_end_takes_the_place_of_one_without(
    opensearch: RealOpenSearch, tenants: tuple[str, str]
) -> None:
    person = opensearch.add_user()
    name = person.get("username") or ""
    run(opensearch, "grant", name, "--role", "admin")
    run(opensearch, "grant", name, "--role", "admin", "--until", "30d")
    assert [row["until"] is None for row in listed(opensearch, name)] == [False]
    assert set(tenants) <= seen(opensearch, person)
    run(opensearch, "grant", name, "--role", "admin", "--until", "60d")
    run(opensearch, "grant", name, "--role", "admin")
    assert [row["until"] for row in listed(opensearch, name)] == [None]


@opensearch_test
def test_granting_twice_is_granting_once(opensearch: RealOpenSearch) -> None:
    name = opensearch.add_user().get("username") or ""
    for _ in range(2):
        assert run(opensearch, "grant", name, "--role", "auditor", "--org", "acme").exception is None
    assert len(listed(opensearch, name)) == 1


@opensearch_test
def test_a_person_can_be_made_with_the_grant_and_keeps_their_password_at_the_next(
    opensearch: RealOpenSearch, tmp_path: Any
) -> None:
    name, secret, other = f"made-{secrets.token_hex(4)}", tmp_path / "secret", tmp_path / "other"
    secret.write_text("Aa1-made-with-the-grant\n")
    other.write_text("Aa1-another-password-now\n")
    run(opensearch, "grant", name, "--role", "admin", "--user-password-file", str(secret))
    again = run(opensearch, "grant", name, "--role", "admin", "--user-password-file", str(other))
    assert "the password is as it was" in again.stderr
    assert seen(opensearch, opensearch.settings(name, secret)) != set()


@opensearch_test
def test_only_a_super_admin_grants_revokes_and_lists(opensearch: RealOpenSearch) -> None:
    for role in ("audit_admin", "audit_auditor", "audit_writer"):
        person = opensearch.add_user(role)
        for arguments in (["grant", "x", "--role", "admin"], ["revoke", "x"], ["list"]):
            result = run(opensearch, *arguments, settings=person)
            assert isinstance(result.exception, NotAllowed)


@opensearch_test
def test_a_super_admin_made_by_a_grant_can_grant_until_it_is_taken_back(opensearch: RealOpenSearch) -> None:
    second = opensearch.add_user()
    name = second.get("username") or ""
    third = opensearch.add_user().get("username") or ""
    run(opensearch, "grant", name, "--role", "super-admin")
    assert run(opensearch, "grant", third, "--role", "admin", settings=second).exception is None
    assert run(opensearch, "revoke", name).return_value == 0
    assert isinstance(run(opensearch, "revoke", third, settings=second).exception, NotAllowed)


@opensearch_test
def test_access_that_was_given_by_other_means_is_listed_and_can_be_taken_back(
    opensearch: RealOpenSearch, tenants: tuple[str, str]
) -> None:
    person = opensearch.add_user("audit_admin")
    name = person.get("username") or ""
    assert set(tenants) <= seen(opensearch, person)
    assert [row["note"] for row in listed(opensearch, name)] == ["in the user's own entry"]
    assert run(opensearch, "revoke", name).return_value == 0
    assert seen(opensearch, person) == set()
    assert listed(opensearch, name) == []


@opensearch_test
def test_an_altered_grant_can_be_taken_back(opensearch: RealOpenSearch, tenants: tuple[str, str]) -> None:
    person = opensearch.add_user()
    name = person.get("username") or ""
    run(opensearch, "grant", name, "--role", "admin", "--org", tenants[0], "--until", "30d")
    role = f"audit_admin__{granted.encode(tenants[0])}__{granted.encode(name)}"
    path = f"/_plugins/_security/api/roles/{role}"
    body = opensearch.request("GET", path)[role]
    kept = {key: body[key] for key in ("description", "cluster_permissions", "index_permissions")}
    kept["index_permissions"][0]["dls"] = ""
    opensearch.request("PUT", path, kept, settings=opensearch.super_admin)
    assert set(tenants) <= seen(opensearch, person)
    assert [row["note"] for row in listed(opensearch, name)] == ["its role was altered by other means"]
    assert run(opensearch, "revoke", name).return_value == 0
    assert seen(opensearch, person) == set()


@opensearch_test
def test_a_role_that_was_altered_by_other_means_is_told_and_put_right_by_the_next_grant(
    opensearch: RealOpenSearch, tenants: tuple[str, str]
) -> None:
    name = opensearch.add_user().get("username") or ""
    one = Grant(name, "admin", tenants[0])
    run(opensearch, "grant", name, "--role", "admin", "--org", tenants[0])
    wider = granted.limited_role(one).body()
    wider["index_permissions"][0]["dls"] = ""
    opensearch.request("PUT", f"/_plugins/_security/api/roles/{one.role_name}", wider, settings=opensearch.super_admin)
    assert listed(opensearch, name)[0]["note"] == "its role was altered by other means"
    run(opensearch, "grant", name, "--role", "admin", "--org", tenants[0])
    assert listed(opensearch, name)[0]["note"] is None


@opensearch_test
def test_a_role_of_that_name_that_is_not_ours_is_a_conflict(opensearch: RealOpenSearch) -> None:
    organization = f"foreign-{secrets.token_hex(4)}"
    path = f"/_plugins/_security/api/roles/audit_admin__{organization}"
    opensearch.request("PUT", path, {"cluster_permissions": ["cluster:monitor/main"]})
    result = run(opensearch, "grant", "someone", "--role", "admin", "--org", organization)
    assert isinstance(result.exception, Conflict)
    assert "audit_admin__foreign-" in str(result.exception)


@opensearch_test
def test_what_and_why_are_on_the_nodes_own_record(opensearch: RealOpenSearch) -> None:
    name, reason = opensearch.add_user().get("username") or "", f"für {secrets.token_hex(8)}"
    run(opensearch, "grant", name, "--role", "admin", "--reason", reason)
    wanted = {"wildcard": {"audit_transport_headers.X-Opaque-Id.keyword": f"*{reason.removeprefix('für ')}*"}}
    record = recorded(opensearch, wanted)[0]
    assert record["audit_request_effective_user"] == opensearch.super_admin.get("username")
    assert (
        quote(f"admin to {name} for every organization: {reason}", safe="")
        in record["audit_transport_headers"]["X-Opaque-Id"]
    )


@pytest.mark.parametrize(
    "wanted",
    [
        Grant("*", "admin"),
        Grant("/a|b/", "admin"),
        Grant("a?", "admin"),
        Grant(" ", "admin"),
        Grant("kim ", "admin"),
        Grant("..", "admin"),
        Grant("\x1b[31m", "admin"),
        Grant("ada", "admin", ""),
        Grant("ada", "super-admin", "acme"),
        Grant("ada", "super-admin", until=2**42),
        Grant("*", "admin", backend=True),
        Grant("soc", "super-admin", until=2**42, backend=True),
        Grant("ada", "admin", until=1),
    ],
)
def test_a_grant_that_would_mean_something_else_is_refused(wanted: Grant) -> None:
    with pytest.raises(UsageError):
        access.check(wanted)


@opensearch_test
@pytest.mark.parametrize("until", ["soon", "2027-13-01", "2001-01-01", "2027", "7", "-3d"])
def test_until_takes_a_day_to_come(opensearch: RealOpenSearch, until: str) -> None:
    result = run(opensearch, "grant", "ada", "--role", "admin", "--until", until)
    assert isinstance(result.exception, AuditpipeError)
    assert result.exception.exit_code == 2
