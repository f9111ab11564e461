"""Who looked: the node's own record of who searched, read and exported, for Super Admins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from opensearchpy import OpenSearch
from starlette.responses import Response

from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.pipeline.tabular import text_at
from auditpipe.schemas.identity import ALIAS

SIZE = 100
_TOOL = re.compile(r"(auditpipe/\S+(?: \S+)*?)(?: purpose=(\S*))?")
_ACTIONS = {
    "indices:data/read/search": "searched",
    "indices:data/read/get": "read one event",
    "indices:data/read/mget": "read events by id",
    "indices:data/read/point_in_time/create": "began to read many",
}


@dataclass(frozen=True, slots=True)
class Look:
    """One request to the node. `asked` is its body, or the id of the document that was read."""

    time: str
    user: str
    address: str
    did: str
    tool: str
    purpose: str
    asked: str


def looked(visit: Visit) -> Response:
    """The page `/who-looked`."""
    user = visit.query.get("user", "").strip()
    return visit.page("looked.html", looks=looks(visit.who.client, user or None), user=user, size=SIZE)


def looks(client: OpenSearch, user: str | None = None) -> list[Look]:
    """The newest requests on audit events, of one user or of all. NotAllowed for anyone but a Super Admin."""
    clauses: list[dict[str, Any]] = [
        {"terms": {"audit_request_privilege.keyword": list(_ACTIONS)}},
        {"prefix": {"audit_trace_resolved_indices.keyword": ALIAS}},
    ]
    if user is not None:
        clauses.append({"term": {"audit_request_effective_user.keyword": user}})
    body = {"query": {"bool": {"filter": clauses}}, "sort": [{"@timestamp": "desc"}], "size": SIZE}
    answer = ask_all_shards(client, body, index=WHO_LOOKED_PATTERN)
    return [_look(hit["_source"]) for hit in answer["hits"]["hits"]]


def _look(record: Mapping[str, Any]) -> Look:
    opaque = str((record.get("audit_transport_headers") or {}).get("X-Opaque-Id", ""))
    match = _TOOL.fullmatch(opaque)
    privilege = text_at(record, "audit_request_privilege")
    return Look(
        time=text_at(record, "@timestamp"),
        user=text_at(record, "audit_request_effective_user"),
        address=text_at(record, "audit_request_remote_address"),
        did=_ACTIONS.get(privilege, privilege),
        tool=match[1] if match else opaque,
        purpose=unquote(match[2] or "") if match else "",
        asked=text_at(record, "audit_trace_doc_id") or text_at(record, "audit_request_body"),
    )
