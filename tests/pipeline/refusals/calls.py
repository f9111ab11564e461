"""The rows of the refusal table: one call each, and what undoes it where somebody could do it.

The calls of a reader's work, and those of somebody who tries to go past it. Anything that alters is small, and on the
test's own ground.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import roles
from tests.pipeline.refusals.ground import API, Ground, Request, id_of
from tests.pipeline.refusals.verdicts import NOT_WRITTEN, Judge, counted, done, removal, shown, told

_NO_CHANGE = [{"op": "add", "path": "/config/enabled", "value": True}]


class Area(StrEnum):
    """A section of the table."""

    READ = "Reading events"
    ABOUT = "About indices, templates and the node"
    CREATE = "Adding events"
    ALTER = "Altering and removing events"
    INDEX = "Altering months"
    COPY = "Copies, snapshots, pipelines, scripts"
    NODE = "The cluster"
    ACCESS = "Users and roles"
    SECURITY = "Security's own administration"
    OTHER = "Other indices"
    RECORD = "Who looked"
    REMOVED = "What retention removed, and what is held"
    SELF = "About oneself"


@dataclass(frozen=True)
class Call:
    """One request, or what makes it with the admin certificate before each try.

    `refusals` are the statuses that refuse it; any other but 200 is a mistake in this table.
    """

    area: Area
    words: str
    request: Request | Callable[[OpenSearch], Request]
    judge: Judge = done
    undo: tuple[Request, ...] = ()
    refusals: frozenset[int] = frozenset({403})


def calls(ground: Ground) -> list[Call]:
    """All of them, in the order in which they are made and shown."""
    parts = (_read, _about, _create, _alter, _index, _write_once, _resize, _copy, _snapshots, _pipelines, _node)
    rest = (_access, _reserved, _security, _other, _record, _removed, _self)
    return [call for part in (*parts, *rest) for call in part(ground)]


def _read(g: Ground) -> Iterator[Call]:
    search = {"query": g.both}
    two = [id_of(g.mine), id_of(g.theirs)]
    lines = "".join(json.dumps(line) + "\n" for line in ({"index": g.month}, search))
    for words, request, judge in (
        ("search", ("POST", "/audit-events-*/_search", search), shown),
        ("search by the alias", ("POST", "/audit-events/_search", search), shown),
        ("search in all indices", ("POST", "/_search", search), shown),
        ("count", ("POST", "/audit-events-*/_count", search), counted),
        ("get by id", ("GET", f"/{g.month}/_doc/{two[0]}", None), told(lambda g: g.mine["message"])),
        (
            "get another organization's by id",
            ("GET", f"/{g.month}/_doc/{two[1]}", None),
            told(lambda g: g.theirs["message"]),
        ),
        ("mget", ("POST", f"/{g.month}/_mget", {"ids": two}), shown),
        ("msearch", ("POST", "/_msearch", lines), shown),
        ("search and keep a scroll", ("POST", f"/{g.month}/_search?scroll=1s", search), shown),
        ("go on with a scroll", g.scroll, done),
        ("open a point in time", ("POST", f"/{g.month}/_search/point_in_time?keep_alive=1s", None), done),
        ("search in a point in time", ("POST", "/_search", {"pit": {"id": g.pit}, **search}), shown),
        ("list all points in time", ("GET", "/_search/point_in_time/_all", None), done),
        ("termvectors", ("GET", f"/{g.month}/_termvectors/{two[0]}?fields=message", None), done),
        ("explain", ("POST", f"/{g.month}/_explain/{two[0]}", {"query": {"match_all": {}}}), done),
        ("validate a query", ("POST", f"/{g.month}/_validate/query?explain=true", search), done),
        (
            "field_caps",
            ("GET", f"/{g.month}/_field_caps?fields=event.action", None),
            told(lambda _g: '"event.action"'),
        ),
    ):
        # A document that is not for the reader is not there.
        hidden = {404} if "another" in words else set()
        yield Call(Area.READ, words, request, judge, refusals=frozenset({403} | hidden))


def _about(g: Ground) -> Iterator[Call]:
    def month(ground: Ground) -> str:
        return ground.month

    for words, path, judge in (
        ("version of the node", "/", done),
        ("cat indices", "/_cat/indices?format=json", told(month)),
        ("mapping", f"/{g.month}/_mapping", told(month)),
        ("settings", f"/{g.month}/_settings", told(month)),
        ("aliases", "/_alias", told(month)),
        ("statistics", f"/{g.month}/_stats", done),
        ("segments", f"/{g.month}/_segments", done),
        ("resolve names", "/_resolve/index/audit-events-*", told(month)),
        ("index templates", "/_index_template", told(lambda _g: "audit-events")),
        ("cluster health", "/_cluster/health", done),
        ("cluster state", "/_cluster/state/metadata", told(month)),
        ("cluster settings", "/_cluster/settings", done),
        ("nodes", "/_nodes", done),
        ("tasks", "/_tasks", done),
    ):
        yield Call(Area.ABOUT, words, ("GET", path, None), judge)


def _bulk(g: Ground, action: str, event_id: str, *rows: Any, **more: Any) -> Request:
    lines = [{action: {"_index": g.month, "_id": event_id, **more}}, *rows]
    return ("POST", "/_bulk?refresh=true", "".join(json.dumps(line) + "\n" for line in lines))


def _create(g: Ground) -> Iterator[Call]:
    row = {"message": f"added by {g.name}"}
    gone = (("DELETE", f"/{g.month}/_doc/added", None),)
    yield Call(Area.CREATE, "create", ("PUT", f"/{g.month}/_create/added", row), undo=gone)
    yield Call(Area.CREATE, "index under a new id", ("PUT", f"/{g.month}/_doc/added", row), undo=gone)
    yield Call(Area.CREATE, "bulk create", _bulk(g, "create", "added", row), undo=gone)
    yield Call(Area.CREATE, "bulk index under a new id", _bulk(g, "index", "added", row), undo=gone)


def _alter(g: Ground) -> Iterator[Call]:
    victim, row = id_of(g.victim), {"message": f"altered by {g.name}"}
    again, query = (g.put_victim,), {"query": {"term": {"event.id": id_of(g.victim)}}}
    # The versions that are there: these two are the first documents of their month, in this order.
    same_id = {"query": {"ids": {"values": [victim]}}}
    over = {"source": {"index": g.name, **same_id}, "dest": {"index": g.month}}
    second = _bulk(g, "index", id_of(g.mine), row, if_seq_no=1, if_primary_term=1)
    yield Call(Area.ALTER, "bulk overwrite by if_seq_no", second, undo=(g.put_mine,), refusals=NOT_WRITTEN)
    replaced = f"/{g.month}/_doc/{victim}"
    for words, request in (
        ("overwrite by if_seq_no", ("PUT", f"{replaced}?if_seq_no=0&if_primary_term=1", row)),
        ("overwrite", ("PUT", replaced, row)),
        ("update", ("POST", f"/{g.month}/_update/{victim}", {"doc": row})),
        ("delete", ("DELETE", replaced, None)),
        ("bulk overwrite", _bulk(g, "index", victim, row)),
        ("bulk update", _bulk(g, "update", victim, {"doc": row})),
        ("bulk delete", _bulk(g, "delete", victim)),
        ("update_by_query", ("POST", f"/{g.month}/_update_by_query?refresh=true", query)),
        ("delete_by_query", ("POST", f"/{g.month}/_delete_by_query?refresh=true", query)),
        ("reindex over an event", ("POST", "/_reindex?refresh=true", over)),
    ):
        yield Call(Area.ALTER, words, request, undo=again, refusals=NOT_WRITTEN)


def _index(g: Ground) -> Iterator[Call]:
    def alias(action: str, name: str, index: str = g.month) -> Request:
        return ("POST", "/_aliases", {"actions": [{action: {"index": index, "alias": name}}]})

    def both(*requests: Request) -> Request:
        return ("POST", "/_aliases", {"actions": [action for request in requests for action in request[2]["actions"]]})

    def hidden(value: bool | None) -> Request:
        return ("PUT", f"/{g.month}/_settings", {"index.hidden": value})

    add_ours, remove_ours = alias("add", "audit-events"), alias("remove", "audit-events")
    add_other, remove_other = alias("add", "audit-events", g.name), alias("remove", "audit-events", g.name)
    month, limit, nowhere = f"/{g.month}", "index.max_result_window", "audit-events-1971.06"
    reset = ("PUT", f"{month}/_settings", {"index.blocks.write": None, limit: None})
    template = {"index_patterns": [f"{g.name}-none-*"]}
    for words, request, *undo in (
        ("make a month", ("PUT", "/audit-events-1971.04", None), ("DELETE", "/audit-events-1971.04", None)),
        ("add an alias", alias("add", f"{g.name}-alias"), alias("remove", f"{g.name}-alias")),
        ("take our alias away", remove_ours, add_ours),
        ("put another index under our alias", add_other, remove_other),
        ("put another index in a month's place", both(remove_ours, add_other), both(add_ours, remove_other)),
        ("give another index a month's name", alias("add", nowhere, g.name), alias("remove", nowhere, g.name)),
        ("hide", hidden(True), hidden(None)),
        ("change a setting", ("PUT", f"{month}/_settings", {limit: 20_000}), reset),
        ("set an ingest pipeline", ("PUT", f"{month}/_settings", {"index.default_pipeline": "_none"})),
        ("block writing", ("PUT", f"{month}/_block/write", None), reset),
        ("change the mapping", ("PUT", f"/{g.spare}/_mapping", {"properties": {"theirs": {"type": "keyword"}}})),
        ("close", ("POST", f"{month}/_close", None), ("POST", f"{month}/_open", None)),
        ("open", ("POST", f"{month}/_open", None)),
        ("refresh", ("POST", f"{month}/_refresh", None)),
        ("force a merge", ("POST", f"{month}/_forcemerge", None)),
        ("delete", ("DELETE", f"/{g.spare}", None), g.put_spare),
        ("put an index template", ("PUT", f"/_index_template/{g.name}", template)),
        ("delete an index template", ("DELETE", f"/_index_template/{g.name}", None),
         ("PUT", f"/_index_template/{g.name}", template)),
    ):  # fmt: skip
        yield Call(Area.INDEX, words, request, undo=tuple(undo))


def _write_once(g: Ground) -> Iterator[Call]:
    """Nobody takes it off while the node runs: 400 to whoever may change the settings of the cluster."""
    name = "plugins.security.compliance.immutable_indices"
    for words, request in (
        ("take write-once off the cluster", ("PUT", "/_cluster/settings", {"persistent": {name: []}})),
        ("take write-once off a month", ("PUT", f"/{g.month}/_settings", {name: []})),
    ):
        yield Call(Area.INDEX, words, request, refusals=frozenset({400, 403}))


def _resize(g: Ground) -> Iterator[Call]:
    for words, shards in (("shrink", 1), ("split", 4), ("clone", 2)):
        target = f"{g.name}-{words}"
        body = {"settings": {"index.number_of_shards": shards, "index.blocks.write": None}}
        request = ("POST", f"/{g.spare}/_{words}/{target}", body)
        yield Call(Area.INDEX, words, request, undo=(("DELETE", f"/{target}", None),))


def _copy(g: Ground) -> Iterator[Call]:
    def reindex(source: str, row_id: str, target: str) -> tuple[Request, Request]:
        asked = {"index": source, "query": {"ids": {"values": [row_id]}}}
        body = {"source": asked, "dest": {"index": target}}
        return ("POST", "/_reindex?refresh=true", body), ("DELETE", f"/{target}/_doc/{row_id}", None)

    for words, (request, undo) in (
        ("reindex out of a month", reindex(g.month, id_of(g.mine), g.name)),
        ("reindex into a month", reindex(g.name, "seed", g.month)),
    ):
        yield Call(Area.COPY, words, request, undo=(undo,))


def _snapshots(g: Ground) -> Iterator[Call]:
    there, other = f"/_snapshot/{g.name}", f"/_snapshot/{g.name}-other"
    repository = {"type": "fs", "settings": {"location": f"{g.name}-other"}}
    snapshot = f"{there}/second?wait_for_completion=true"
    renamed = {"indices": g.name, "rename_pattern": "(.+)", "rename_replacement": "$1-restored"}
    restore = f"{there}/taken/_restore?wait_for_completion=true"
    only = {"indices": g.name, "include_global_state": False}
    month = {"indices": g.name, "rename_pattern": ".+", "rename_replacement": "audit-events-1971.06"}
    over = {"indices": g.closed, "include_global_state": False}
    for words, request, *undo in (
        ("snapshots", ("GET", f"{there}/_all", None)),
        ("register a snapshot repository", ("PUT", other, repository), ("DELETE", other, None)),
        ("take a snapshot", ("PUT", snapshot, only), ("DELETE", f"{there}/second", None)),
        ("restore a snapshot", ("POST", restore, renamed), ("DELETE", f"/{g.name}-restored", None)),
        ("restore another index as a month", ("POST", restore, month), ("DELETE", "/audit-events-1971.06", None)),
        ("restore over a month", ("POST", restore, over), ("POST", f"/{g.closed}/_close", None)),
        ("delete a snapshot", ("DELETE", f"{there}/taken", None), g.take_snapshot),
    ):
        yield Call(Area.COPY, words, request, undo=tuple(undo))


def _pipelines(g: Ground) -> Iterator[Call]:
    processor = {"set": {"field": "x", "value": "y"}}
    pipeline, script = {"processors": [processor]}, {"script": {"lang": "painless", "source": "1"}}
    source = {"docs": [{"_source": {}}], "pipeline": pipeline}
    for words, request, *undo in (
        ("put an ingest pipeline", ("PUT", f"/_ingest/pipeline/{g.name}", pipeline),
         ("DELETE", f"/_ingest/pipeline/{g.name}", None)),
        ("try an ingest pipeline", ("POST", "/_ingest/pipeline/_simulate", source)),
        ("put a search pipeline", ("PUT", f"/_search/pipeline/{g.name}", {"request_processors": []}),
         ("DELETE", f"/_search/pipeline/{g.name}", None)),
    ):  # fmt: skip
        yield Call(Area.COPY, words, request, undo=tuple(undo))
    # The node runs no script at all (opensearch.yml): 400 to whoever could else keep one.
    request = ("PUT", f"/_scripts/{g.name}", script)
    yield Call(Area.COPY, "keep a script", request, refusals=frozenset({400, 403}))


def _node(_g: Ground) -> Iterator[Call]:
    name = "cluster.routing.allocation.node_concurrent_recoveries"

    def setting(value: int | None) -> Request:
        return ("PUT", "/_cluster/settings", {"transient": {name: value}})

    yield Call(Area.NODE, "change a cluster setting", setting(3), undo=(setting(None),))
    yield Call(Area.NODE, "cancel tasks", ("POST", "/_tasks/_cancel?actions=no-such-action", None))
    yield Call(Area.NODE, "move shards", ("POST", "/_cluster/reroute?dry_run=true", None))


def _access(g: Ground) -> Iterator[Call]:
    role, user = f"{API}/roles/{g.name}-new", f"{API}/internalusers/{g.name}-new"
    mapping = f"{API}/rolesmapping/{g.name}"
    for words, request, *undo in (
        ("users", ("GET", f"{API}/internalusers", None)),
        ("roles", ("GET", f"{API}/roles", None)),
        ("who has which role", ("GET", f"{API}/rolesmapping", None)),
        ("make a user", g.put_user(f"{g.name}-new"), ("DELETE", user, None)),
        ("make a role", ("PUT", role, {"cluster_permissions": []}), ("DELETE", role, None)),
        ("give a role", ("PUT", mapping, {"users": [g.name]}), ("DELETE", mapping, None)),
        ("delete a user", ("DELETE", f"{API}/internalusers/{g.name}", None), g.put_user(g.name)),
    ):
        yield Call(Area.ACCESS, words, request, undo=tuple(undo))


def _reserved(_g: Ground) -> Iterator[Call]:
    """Each puts the value that is there already."""
    described = roles.BY_NAME[roles.ADMIN].body()["description"]
    for words, path, field, value in (
        ("alter a role of ours", f"roles/{roles.ADMIN}", "description", described),
        ("alter the shipper's user", f"internalusers/{roles.WRITER_USER}", "backend_roles", []),
        ("alter who is the writer", f"rolesmapping/{roles.WRITER}", "users", [roles.WRITER_USER]),
    ):
        patch = [{"op": "add", "path": f"/{field}", "value": value}]
        yield Call(Area.SECURITY, words, ("PATCH", f"{API}/{path}", patch))


def _security(g: Ground) -> Iterator[Call]:
    tenant = f"{API}/tenants/{g.name}"
    for words, request, *undo in (
        ("what is on record (audit.yml)", ("GET", f"{API}/audit", None)),
        ("change what is on record", ("PATCH", f"{API}/audit", _NO_CHANGE)),
        ("ways to sign in (config.yml)", ("GET", f"{API}/securityconfig", None)),
        ("action groups", ("GET", f"{API}/actiongroups", None)),
        ("tenants", ("GET", f"{API}/tenants", None)),
        ("make a tenant", ("PUT", tenant, {"description": ""}), ("DELETE", tenant, None)),
        ("allowed requests", ("GET", f"{API}/allowlist", None)),
        ("the node's certificates", ("GET", f"{API}/ssl/certs", None)),
        ("forget who is signed in", ("DELETE", f"{API}/cache", None)),
        ("search in Security's own index", ("POST", "/.opendistro_security/_search", {})),
        ("write into Security's own index", ("PUT", f"/.opendistro_security/_doc/{g.name}", {}),
         ("DELETE", f"/.opendistro_security/_doc/{g.name}", None)),
    ):  # fmt: skip
        judge = told(lambda _g: "internalusers") if request[1].endswith("_search") else done
        yield Call(Area.SECURITY, words, request, judge, tuple(undo))


def _other(g: Ground) -> Iterator[Call]:
    def seed(ground: Ground) -> str:
        return f"seed of {ground.name}"

    row = f"/{g.name}/_doc/theirs"
    gone = (("DELETE", row, None),)
    yield Call(Area.OTHER, "search", ("POST", f"/{g.name}/_search", {}), told(seed))
    yield Call(Area.OTHER, "get by id", ("GET", f"/{g.name}/_doc/seed", None), told(seed))
    yield Call(Area.OTHER, "create", ("PUT", f"/{g.name}/_create/theirs", {}), undo=gone)
    made = f"/{g.name}-made"
    yield Call(Area.OTHER, "make an index", ("PUT", made, None), undo=(("DELETE", made, None),))


def _record(g: Ground) -> Iterator[Call]:
    def looked(ground: Ground) -> str:
        return f"looked of {ground.name}"

    row, body = f"/{g.record}/_doc/looked", {"query": {"ids": {"values": ["looked"]}}}
    record = {"@timestamp": "1971-02-03T04:05:06.000Z", "audit_request_body": f"looked of {g.name}"}
    again = (("PUT", f"{row}?refresh=true", record),)
    yield Call(Area.RECORD, "search", ("POST", "/security-auditlog-*/_search", body), told(looked))
    yield Call(Area.RECORD, "get by id", ("GET", row, None), told(looked))
    for words, request in (
        ("overwrite", ("PUT", row, {})),
        ("delete", ("DELETE", row, None)),
        ("delete_by_query", ("POST", f"/{g.record}/_delete_by_query?refresh=true", body)),
    ):
        yield Call(Area.RECORD, words, request, undo=again, refusals=NOT_WRITTEN)
    yield Call(Area.RECORD, "add a record", ("PUT", f"/{g.record}/_create/theirs", record),
               undo=(("DELETE", f"/{g.record}/_doc/theirs", None),))  # fmt: skip
    yield Call(Area.RECORD, "delete the index", ("DELETE", f"/{g.record}", None), undo=again)


def _removed(g: Ground) -> Iterator[Call]:
    row, body = f"/audit-records/_doc/{g.name}", {"query": {"ids": {"values": [g.name]}}}
    again, spare = (g.put_removal,), f"/audit-records-{g.name}"
    yield Call(Area.REMOVED, "search", ("POST", "/audit-records/_search", body), removal)
    yield Call(Area.REMOVED, "get by id", ("GET", row, None), removal)
    yield Call(Area.REMOVED, "mget", ("POST", "/_mget", {"docs": [{"_index": "audit-records", "_id": g.name}]}),
               removal)  # fmt: skip
    for words, request in (
        ("overwrite", ("PUT", row, {})),
        ("update", ("POST", f"/audit-records/_update/{g.name}", {"doc": {"month": "1971-03"}})),
        ("delete", ("DELETE", row, None)),
        ("delete_by_query", ("POST", "/audit-records/_delete_by_query?refresh=true", body)),
    ):
        yield Call(Area.REMOVED, words, request, undo=again, refusals=NOT_WRITTEN)
    added = ("PUT", f"/audit-records/_create/{g.name}-theirs", {"kind": "removed"})
    yield Call(Area.REMOVED, "add a record", added, undo=(("DELETE", f"/audit-records/_doc/{g.name}-theirs", None),))
    yield Call(Area.REMOVED, "delete the index", ("DELETE", spare, None), undo=(("PUT", spare, None),))


def _self(_g: Ground) -> Iterator[Call]:
    for words, path in (
        ("who am I, with which roles", "/_plugins/_security/authinfo"),
        ("my account", f"{API}/account"),
        ("may I use Security's REST API", f"{API}/permissionsinfo"),
        ("the certificate of this connection", "/_opendistro/_security/sslinfo"),
        ("is Security up", "/_plugins/_security/health"),
    ):
        yield Call(Area.SELF, words, ("GET", path, None))
