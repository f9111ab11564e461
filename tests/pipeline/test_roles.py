"""Each role on a real node: what it may do, and what it may not."""

import json
import secrets
from typing import Any

import pytest
from opensearchpy.exceptions import TransportError

from auditpipe.pipeline import roles
from auditpipe.schemas.identity import index_of
from auditpipe.schemas.settings import Settings
from tests.builders import START_NS, Document, event
from tests.conftest import RealOpenSearch

pytestmark = pytest.mark.opensearch
INDEX = index_of(START_NS)
READERS = (roles.ADMIN, roles.SUPER_ADMIN, roles.AUDITOR)


@pytest.fixture(scope="module")
def stored(opensearch: RealOpenSearch) -> Document:
    """One event in the index."""
    if INDEX not in opensearch.request("GET", "/_alias/audit-events"):
        opensearch.request("PUT", f"/{INDEX}")
    document = event(message="a word " + secrets.token_hex(8))
    opensearch.request("PUT", f"/{INDEX}/_create/{document['event']['id']}?refresh=true", document)
    return document


@pytest.fixture(scope="module")
def people(opensearch: RealOpenSearch) -> dict[str, Settings]:
    """Someone with each role, and someone with none."""
    everyone = {role.name: opensearch.add_user(role.name) for role in roles.ROLES}
    return everyone | {"nobody": opensearch.add_user()}


def status(opensearch: RealOpenSearch, who: Settings, method: str, path: str, body: Any = None) -> int:
    try:
        opensearch.request(method, path, body, settings=who)
    except TransportError as error:
        return int(error.status_code)
    return 200


def reads(document: Document) -> list[tuple[str, str, Any]]:
    """The calls of search, show, tail, export, verify and Dashboards."""
    event_id = document["event"]["id"]
    return [
        ("POST", "/audit-events-*/_search", {"sort": [{"_seq_no": "asc"}], "size": 1}),
        (
            "POST",
            "/audit-events/_search?preference=_primary",
            {"size": 0, "aggs": {"a": {"terms": {"field": "user.id"}}}},
        ),
        ("POST", "/audit-events-*/_count", {"query": {"match_all": {}}}),
        ("GET", f"/{INDEX}/_doc/{event_id}", None),
        ("POST", "/_mget", {"docs": [{"_index": INDEX, "_id": event_id}]}),
        ("GET", "/audit-events-*/_field_caps?fields=*", None),
        ("GET", "/", None),
    ]


@pytest.mark.parametrize("role", READERS)
def test_readers_may_read(opensearch: RealOpenSearch, people: dict[str, Settings], stored: Document, role: str) -> None:
    for method, path, body in reads(stored):
        assert status(opensearch, people[role], method, path, body) == 200, path
    assert (
        opensearch.request("GET", f"/{INDEX}/_doc/{stored['event']['id']}", settings=people[role])["_source"] == stored
    )


@pytest.mark.parametrize("role", READERS)
def test_readers_are_told_the_fields_that_dashboards_asks_for(
    opensearch: RealOpenSearch, people: dict[str, Settings], stored: Document, role: str
) -> None:
    """Without the action's half in each index the answer is a 200 that says: no fields."""
    told = opensearch.request("GET", "/audit-events-*/_field_caps?fields=*", settings=people[role])["fields"]
    assert told["event.action"]["keyword"]["aggregatable"] is True


@pytest.mark.parametrize("role", READERS)
def test_readers_may_page_by_point_in_time_and_close_it(
    opensearch: RealOpenSearch, people: dict[str, Settings], stored: Document, role: str
) -> None:
    opened = opensearch.request("POST", f"/{INDEX}/_search/point_in_time?keep_alive=5s", settings=people[role])[
        "pit_id"
    ]
    body = {"pit": {"id": opened, "keep_alive": "1m"}, "query": {"term": {"event.id": stored["event"]["id"]}}}
    found = opensearch.request("POST", "/_search", body, settings=people[role])
    assert [hit["_source"] for hit in found["hits"]["hits"]] == [stored]
    closed = opensearch.request("DELETE", "/_search/point_in_time", {"pit_id": [opened]}, settings=people[role])
    assert closed["pits"][0]["successful"] is True


READS = [*roles.BY_NAME[roles.ADMIN].cluster, *roles.BY_NAME[roles.ADMIN].indices[0].actions]


@pytest.mark.parametrize("action", READS)
def test_each_action_of_a_reader_is_needed(opensearch: RealOpenSearch, stored: Document, action: str) -> None:
    body = roles.BY_NAME[roles.ADMIN].body()
    for allowed in (body["cluster_permissions"], body["index_permissions"][0]["allowed_actions"]):
        if action in allowed:
            allowed.remove(action)
    name = f"without-{secrets.token_hex(4)}"
    opensearch.request("PUT", f"/_plugins/_security/api/roles/{name}", body)
    person = opensearch.add_user(name)

    def works(method: str, path: str, body: Any) -> bool:
        try:
            answer = opensearch.request(method, path, body, settings=person)
        except TransportError as error:
            assert error.status_code == 403
            return False
        if "_field_caps" in path and not answer["fields"]:
            return False
        return "no permissions" not in json.dumps(answer)  # _mget and closing tell item by item

    calls = reads(stored)
    opened = opensearch.request("POST", f"/{INDEX}/_search/point_in_time?keep_alive=5s")["pit_id"]
    calls.append(("POST", f"/{INDEX}/_search/point_in_time?keep_alive=5s", None))
    calls.append(("DELETE", "/_search/point_in_time", {"pit_id": [opened]}))
    assert not all(works(*call) for call in calls)


@pytest.mark.parametrize("role", ["nobody", roles.WRITER])
def test_nobody_else_reads_anything(
    opensearch: RealOpenSearch, people: dict[str, Settings], stored: Document, role: str
) -> None:
    for method, path, body in reads(stored):
        if path != "/_mget":  # refused item by item, below; the writer's is the test after
            assert status(opensearch, people[role], method, path, body) == 403, path
    assert status(opensearch, people[role], "POST", f"/{INDEX}/_search/point_in_time?keep_alive=5s") == 403
    asked = {"docs": [{"_index": INDEX, "_id": stored["event"]["id"]}]}
    assert status(opensearch, people["nobody"], "POST", "/_mget", asked) == 403


def test_the_writer_reads_the_hash_of_an_event_whose_id_it_knows_and_nothing_else_of_it(
    opensearch: RealOpenSearch, people: dict[str, Settings], stored: Document
) -> None:
    asked = {"docs": [{"_index": INDEX, "_id": stored["event"]["id"]}]}
    answer = opensearch.request("POST", "/_mget", asked, settings=people[roles.WRITER])
    assert answer["docs"][0]["_source"] == {"audit": {"hash": stored["audit"]["hash"]}}
    assert stored["message"] not in json.dumps(answer)


def test_the_writer_creates_and_does_nothing_else(opensearch: RealOpenSearch, people: dict[str, Settings]) -> None:
    document = event()
    event_id = document["event"]["id"]

    def bulk(action: str, index: str = INDEX, more: dict[str, Any] | None = None) -> Any:
        lines = [{action: {"_index": index, "_id": event_id, **(more or {})}}]
        lines += [] if action == "delete" else [{"doc": document} if action == "update" else document]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        item = opensearch.request("POST", "/_bulk", body, settings=people[roles.WRITER])["items"][0]
        (outcome,) = item.values()
        return outcome["status"]

    assert bulk("create") == 201
    assert bulk("create") == 409
    assert bulk("index") == 409  # write-once makes a create of it
    assert bulk("index", more={"if_seq_no": 0, "if_primary_term": 1}) in (400, 403, 409)
    assert bulk("update") == 403
    assert bulk("delete") == 403
    assert bulk("create", index="something-else") == 403
    assert opensearch.request("GET", f"/{INDEX}/_doc/{event_id}")["_version"] == 1


FORBIDDEN: list[tuple[str, str, Any]] = [
    ("PUT", f"/{INDEX}/_create/refused", {"message": "x"}),
    ("POST", f"/{INDEX}/_update/refused", {"doc": {}}),
    ("POST", "/audit-events-*/_delete_by_query", {"query": {"match_all": {}}}),
    ("POST", "/audit-events-*/_update_by_query", {"query": {"match_all": {}}}),
    ("POST", "/_reindex", {"source": {"index": INDEX}, "dest": {"index": "copy"}}),
    ("PUT", "/audit-events-2098.01", None),
    ("DELETE", f"/{INDEX}", None),
    ("POST", f"/{INDEX}/_close", None),
    ("PUT", f"/{INDEX}/_settings", {"index": {"number_of_replicas": 0}}),
    ("PUT", f"/{INDEX}/_mapping", {"properties": {"x": {"type": "keyword"}}}),
    ("POST", "/_aliases", {"actions": [{"remove": {"index": INDEX, "alias": "audit-events"}}]}),
    ("PUT", "/_index_template/theirs", {"index_patterns": ["audit-events-*"], "priority": 9999}),
    ("DELETE", "/_index_template/audit-events", None),
    ("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}}),
    ("GET", "/_cat/indices", None),
    ("GET", "/_cluster/settings", None),
    ("GET", f"/{INDEX}/_mapping", None),
    ("GET", f"/{INDEX}/_settings", None),
    ("POST", "/.opendistro_security/_search", {}),
    ("POST", "/_snapshot/r/s", {}),
]


@pytest.mark.parametrize("role", [*READERS, roles.WRITER, "nobody"])
@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN, ids=lambda value: str(value)[:40])
def test_no_role_may(
    opensearch: RealOpenSearch,
    people: dict[str, Settings],
    stored: Document,
    role: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    if role == roles.WRITER and "_create" in path:
        return  # the one thing that it is for
    if path == "/.opendistro_security/_search":
        try:
            found = opensearch.request(method, path, body, settings=people[role])
        except TransportError as error:
            assert error.status_code == 403
        else:
            assert found["hits"]["hits"] == []
        return
    assert status(opensearch, people[role], method, path, body) == 403


@pytest.mark.parametrize("role", [roles.ADMIN, roles.AUDITOR, roles.WRITER, "nobody"])
def test_who_looked_is_for_super_admins(opensearch: RealOpenSearch, people: dict[str, Settings], role: str) -> None:
    assert status(opensearch, people[role], "POST", "/security-auditlog-*/_search", {}) == 403
    assert status(opensearch, people[roles.SUPER_ADMIN], "POST", "/security-auditlog-*/_search", {}) == 200


SECURITY = "/_plugins/_security/api"


@pytest.mark.parametrize("role", [roles.ADMIN, roles.AUDITOR, roles.WRITER, "nobody"])
def test_granting_is_for_super_admins(opensearch: RealOpenSearch, people: dict[str, Settings], role: str) -> None:
    for kind in ("roles", "rolesmapping", "internalusers"):
        assert status(opensearch, people[role], "GET", f"{SECURITY}/{kind}") == 403
    body = {"users": [people[role].get("username")]}
    assert status(opensearch, people[role], "PUT", f"{SECURITY}/rolesmapping/audit_admin", body) == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "roles/audit_writer", {"cluster_permissions": ["*"]}),
        ("DELETE", "roles/audit_admin", None),
        ("PATCH", "roles/audit_super_admin", [{"op": "replace", "path": "/cluster_permissions", "value": ["*"]}]),
        ("PATCH", "rolesmapping/audit_writer", [{"op": "replace", "path": "/users", "value": ["x"]}]),
        ("DELETE", "rolesmapping/audit_writer", None),
        ("PUT", "internalusers/audit_shipper", {"password": "Aa1-taken-over-by-a-super-admin"}),
        ("DELETE", "internalusers/audit_shipper", None),
        ("PATCH", "audit", [{"op": "replace", "path": "/config/enabled", "value": False}]),
        ("PATCH", "securityconfig", []),
        ("PUT", "tenants/theirs", {"description": ""}),
        ("DELETE", "cache", None),
    ],
)
def test_a_super_admin_can_not_alter_our_roles_the_writer_or_the_record_of_who_looked(
    opensearch: RealOpenSearch, people: dict[str, Settings], method: str, path: str, body: Any
) -> None:
    assert status(opensearch, people[roles.SUPER_ADMIN], method, f"{SECURITY}/{path}", body) == 403


def test_roles_hold_no_wildcard_and_no_action_group() -> None:
    for role in roles.ROLES:
        names = [*role.cluster, *(action for permission in role.indices for action in permission.actions)]
        assert all("*" not in name and name.count(":") == 1 for name in names)
        assert role.body()["reserved"] is True


@pytest.mark.parametrize("role", READERS)
@pytest.mark.parametrize("action", roles.READ_RECORDS.actions)
def test_each_action_on_the_records_is_needed(opensearch: RealOpenSearch, role: str, action: str) -> None:
    body = roles.BY_NAME[role].body()
    body["index_permissions"][1]["allowed_actions"].remove(action)
    body.pop("reserved")
    name = f"without-{secrets.token_hex(4)}"
    opensearch.request("PUT", f"/_plugins/_security/api/roles/{name}", body)
    person = opensearch.add_user(name)
    asked = {"search": ("POST", "/audit-records/_search", {}), "get": ("GET", "/audit-records/_doc/none", None)}
    answers = {verb: status(opensearch, person, *call) for verb, call in asked.items()}
    assert answers == {"search": 200, "get": 404} | {action.rpartition("/")[2]: 403}
