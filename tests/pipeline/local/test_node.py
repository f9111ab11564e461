"""The node that `up` starts, on a real one."""

import pytest
from opensearchpy.exceptions import AuthorizationException

from tests.waiting import recorded

pytestmark = pytest.mark.opensearch


def test_it_is_the_version_of_the_lock(opensearch):
    from auditpipe.pipeline.local.artifacts import read_lock

    assert opensearch.request("GET", "/")["version"]["number"] == read_lock().version


def test_write_once_holds_for_the_super_admin(opensearch):
    with pytest.raises(AuthorizationException, match="immutable"):
        opensearch.request("DELETE", "/audit-events-1970.01", settings=opensearch.super_admin)


def test_who_looked_can_not_be_removed_even_with_every_right(opensearch):
    """A Super Admin may make roles, so may give themselves every right."""
    api = "/_plugins/_security/api/roles/everything"
    permissions = [{"index_patterns": ["*"], "allowed_actions": ["*"]}]
    opensearch.request("PUT", api, {"cluster_permissions": ["*"], "index_permissions": permissions})
    someone = opensearch.add_user("everything")
    opensearch.request("GET", "/audit-events-*/_search", settings=opensearch.super_admin)
    (index, *_) = opensearch.request("GET", "/security-auditlog-*")
    try:
        with pytest.raises(AuthorizationException, match="immutable"):
            opensearch.request("DELETE", f"/{index}", settings=someone)
    finally:
        opensearch.request("DELETE", api)


def test_who_looked_is_still_recorded(opensearch):
    """Write-once on the record itself takes new records."""
    someone = opensearch.add_user("audit_admin")
    opensearch.request("GET", "/audit-events-*/_search", settings=someone)
    assert recorded(opensearch, {"term": {"audit_request_effective_user.keyword": someone.get("username")}})


def test_no_user_comes_with_the_node(opensearch):
    users = opensearch.request("GET", "/_plugins/_security/api/internalusers")
    assert {"admin", "kibanaserver", "anomalyadmin"}.isdisjoint(users)
    assert {"superadmin", "audit_shipper"} <= set(users)


def test_a_user_without_a_role_may_not_search(opensearch):
    with pytest.raises(AuthorizationException, match="no permissions"):
        opensearch.request("GET", "/audit-events-*/_search", settings=opensearch.add_user())
