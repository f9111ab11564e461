"""The tenant of OpenSearch Dashboards on a real node: the requests that Dashboards makes for a person, and who may.

Dashboards itself is not here. It sends each person's own name and the tenant in a header, and asks for the index
`.kibana`; Security puts the tenant's own index in its place.
"""

import json
import secrets
import time
from typing import Any

import pytest
from opensearchpy.exceptions import TransportError

from auditpipe.pipeline import access, container, principals, roles
from auditpipe.pipeline.plan import State
from auditpipe.schemas.identity import index_of
from auditpipe.schemas.settings import Settings
from tests.conftest import RealOpenSearch

pytestmark = pytest.mark.opensearch
OBJECT = "search:audit-of-a-test"


def ask(
    opensearch: RealOpenSearch, who: Settings, method: str, path: str, body: Any = None, tenant: str | None = "audit"
) -> tuple[int, Any]:
    headers = {"securitytenant": tenant} if tenant else None
    try:
        answer = opensearch.client(who).transport.perform_request(method, path, body=body, headers=headers)
    except TransportError as error:
        return int(error.status_code), error.info
    return 200, answer


def bulk(index: str, name: str) -> str:
    return "".join(json.dumps(row) + "\n" for row in ({"index": {"_index": index, "_id": name}}, {"type": "search"}))


@pytest.fixture(scope="module")
def server(opensearch: RealOpenSearch) -> Settings:
    """The user that the server of Dashboards signs in as, and the index that it makes at its start."""
    user = opensearch.add_user("kibana_server", name=container.DASHBOARDS)
    body = {"aliases": {".kibana": {}}, "settings": {"auto_expand_replicas": "0-1"}}
    opensearch.client(user).transport.perform_request("PUT", "/.kibana_1", body=body)
    return user


@pytest.fixture(scope="module")
def written(opensearch: RealOpenSearch, server: Settings) -> str:
    """An object in our tenant, written by a Super Admin as Dashboards writes it."""
    status, answer = ask(opensearch, opensearch.super_admin, "POST", "/_bulk?refresh=true", bulk(".kibana", OBJECT))
    assert (status, answer["errors"]) == (200, False)
    return str(answer["items"][0]["index"]["_index"])


def reads(opensearch: RealOpenSearch, who: Settings, tenant: str | None = "audit") -> list[int]:
    """How Dashboards finds objects and loads one and many."""
    asked = {"docs": [{"_index": ".kibana", "_id": OBJECT}]}
    status, many = ask(opensearch, who, "POST", "/_mget", asked, tenant)
    item = 403 if "no permissions" in json.dumps(many) else status
    loaded = ask(opensearch, who, "GET", f"/.kibana/_doc/{OBJECT}", None, tenant)[0]
    return [ask(opensearch, who, "POST", "/.kibana/_search", {}, tenant)[0], loaded, item]


def test_the_server_of_dashboards_may_do_what_it_does_at_its_start(
    opensearch: RealOpenSearch, server: Settings, written: str
) -> None:
    """Its own objects, and which indices the tenants have: without it, it does not start."""
    assert ask(opensearch, server, "PUT", "/.kibana/_doc/config:3.4.0", {"type": "config"}, None)[0] == 200
    status, tenants = ask(opensearch, server, "GET", "/_plugins/_security/tenantinfo", None, None)
    assert (status, tenants) == (200, {written.removesuffix("_1"): "audit"})


@pytest.mark.parametrize("role", [roles.ADMIN, roles.AUDITOR])
def test_who_looks_sees_the_objects_and_changes_none(opensearch: RealOpenSearch, written: str, role: str) -> None:
    person = opensearch.add_user(role)
    assert reads(opensearch, person) == [200, 200, 200]
    for method, path, body in (
        ("POST", "/_bulk", bulk(".kibana", "search:theirs")),
        ("PUT", "/.kibana/_doc/search:theirs", {"type": "search"}),
        ("DELETE", f"/.kibana/_doc/{OBJECT}", None),
        ("POST", f"/.kibana/_update/{OBJECT}", {"doc": {}}),
        ("PUT", f"/{written}/_doc/search:theirs", {"type": "search"}),
    ):
        assert ask(opensearch, person, method, path, body)[0] == 403, path


def test_who_looks_for_one_organization_sees_the_same_objects(opensearch: RealOpenSearch, written: str) -> None:
    """The rule about events hides none of them."""
    person = opensearch.add_user()
    name = str(person.get("username"))
    access.grant(opensearch.client(opensearch.super_admin), access.Grant(name, "admin", f"o-{secrets.token_hex(4)}"))
    assert reads(opensearch, person) == [200, 200, 200]
    assert ask(opensearch, person, "PUT", "/.kibana/_doc/search:theirs", {"type": "search"})[0] == 403


@pytest.mark.parametrize("role", [None, roles.WRITER])
def test_nobody_else_sees_them(opensearch: RealOpenSearch, written: str, role: str | None) -> None:
    person = opensearch.add_user(*([role] if role else []))
    assert reads(opensearch, person) == [403, 403, 403]


@pytest.mark.parametrize("role", [roles.ADMIN, roles.SUPER_ADMIN, roles.AUDITOR])
def test_our_roles_reach_no_other_tenant_and_not_the_indices_themselves(
    opensearch: RealOpenSearch, written: str, role: str
) -> None:
    person = opensearch.add_user(role)
    assert reads(opensearch, person, None) == [403, 403, 403]  # the global one
    assert reads(opensearch, person, "another") == [403, 403, 403]
    assert ask(opensearch, person, "POST", "/.kibana_*/_search", {}, None)[0] == 403
    assert ask(opensearch, person, "POST", f"/{written}/_search", {}, None)[0] == 403


def test_the_right_to_bulk_gives_a_super_admin_no_other_index(opensearch: RealOpenSearch, written: str) -> None:
    for index in (index_of(time.time_ns()), "something-else", "security-auditlog-2026.10.10", ".opendistro_security"):
        status, answer = ask(opensearch, opensearch.super_admin, "POST", "/_bulk", bulk(index, "x"))
        refused = status if status == 403 else next(iter(answer["items"][0].values()))["status"]
        assert refused == 403, (index, answer)


def test_dashboards_is_told_that_everyone_lands_in_our_tenant_and_may_only_see_it(
    opensearch: RealOpenSearch, written: str
) -> None:
    admin = opensearch.add_user(roles.ADMIN)
    info = ask(opensearch, admin, "GET", "/_plugins/_security/dashboardsinfo", None, None)[1]
    assert (info["default_tenant"], info["private_tenant_enabled"]) == (roles.TENANT, False)
    assert info["opensearch_dashboards_server_user"] == container.DASHBOARDS
    for who, may_change in ((admin, False), (opensearch.super_admin, True)):
        tenants = ask(opensearch, who, "GET", "/_plugins/_security/authinfo", None, None)[1]["tenants"]
        assert tenants[roles.TENANT] is may_change


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, State.CREATE),
        ({"audit": {"description": "ours", "reserved": True}}, State.CONFLICT),
        ({"audit": {"description": f"{roles.MARK}older words", "reserved": True}}, State.UPDATE),
    ],
)
def test_provisioning_makes_the_tenant_and_leaves_another_of_its_name(found: dict[str, Any], state: State) -> None:
    assert principals.tenant_step(found).state is state


def test_the_tenant_reads_back_as_it_was_written(opensearch: RealOpenSearch) -> None:
    assert principals.tenant_step(principals.read_tenants(opensearch.client())).state is State.OK
