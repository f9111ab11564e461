"""Who looked: the node's own record of who searched, read, exported, was refused, or changed access.

The node writes it for every way in (`plugins.security.audit.type: internal_opensearch`), Dashboards and curl included;
no reader can leave it out. Tools add their name and the purpose in `X-Opaque-Id`, which is the reader's own word: it
makes an export of a search, which nobody gains by, and never something smaller of something greater.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from opensearchpy import OpenSearch

from auditpipe.pipeline.reader import Hit, ask_all_shards
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.pipeline.tabular import field, text_at
from auditpipe.schemas.errors import NotAllowed
from auditpipe.schemas.identity import ALIAS, MILLISECOND, format_time

#: What a record says was done, by the privilege that the node checked.
_READS = {
    "indices:data/read/search": "searched",
    "indices:data/read/get": "looked at",
    "indices:data/read/mget": "looked at",
    "indices:data/read/point_in_time/create": "searched",
    "indices:data/read/scroll": "searched",
}
#: The tools whose searches are exports.
_EXPORTS = frozenset({"export", "console export"})
#: What was asked for by a request for the version that says so, and what was done, if a change of Security followed.
_ABOUT_ACCESS = {"access grant": "asked to grant", "access revoke": "asked to revoke"}
_DONE = {"asked to grant": "granted", "asked to revoke": "revoked"}
_CHANGED = "changed Security"
#: A grant is some requests, one after the other.
_FOLLOWS = timedelta(seconds=60)
_BY_CATEGORY = {
    "FAILED_LOGIN": "failed to sign in",
    "MISSING_PRIVILEGES": "was refused",
    "COMPLIANCE_INTERNAL_CONFIG_WRITE": _CHANGED,
}
_CHANGES = [category for category, did in _BY_CATEGORY.items() if did == _CHANGED]
#: A request for the version, which `access grant` sends so that its reason is on record.
_VERSION = "cluster:monitor/main"

_TOOL = re.compile(
    r"auditpipe/\S+(?: (?P<command>(?!purpose=)\S+(?: (?!purpose=)\S+)*))?(?: purpose=(?P<purpose>\S*))?"
)
#: What differs from page to page of one search, and what a count leaves out.
_OF_A_PAGE = frozenset({"search_after", "pit", "track_total_hits", "size", "sort", "from"})
_OF_ONE_SEARCH = ("user", "address", "did", "tool", "purpose")
#: Each of these is something of its own.
_APART = frozenset({"looked at", *_DONE, *_DONE.values(), *_BY_CATEGORY.values()})
_BATCH = 500
#: Records that are read for one answer: nothing bounds how many requests are one look.
RECORDS = 20_000
#: Newest first; in one index `_seq_no` tells records of one millisecond apart.
ORDER = [{"@timestamp": "desc"}, {"_index": "desc"}, {"_seq_no": "desc"}]
#: Sort values of a record: milliseconds since 1970, its index, its number there.
Place = list[Any]


@dataclass(frozen=True, slots=True)
class LookFilters:
    """Which records: of one person, on one event by its id, in a half-open range (nanoseconds since 1970)."""

    user: str | None = None
    event_id: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    def query(self) -> dict[str, Any]:
        """The clauses, and those that leave out what is neither a look nor a change of access."""
        clauses: list[dict[str, Any]] = [{"bool": {"should": _kinds(), "minimum_should_match": 1}}]
        for name, value in (("audit_request_effective_user", self.user), ("audit_trace_doc_id", self.event_id)):
            if value is not None:
                clauses.append({"term": {f"{name}.keyword": value}})
        bounds = {"gte": self.since_ns, "lt": self.until_ns}
        if given := {name: format_time(ns) for name, ns in bounds.items() if ns is not None}:
            clauses.append({"range": {"@timestamp": given}})
        return {"bool": {"filter": clauses}}


@dataclass(frozen=True, slots=True)
class Look:
    """What one person did: one request, or `requests` that are the pages of one search or export.

    `time` is that of the first and `last` that of the last (RFC 3339). `tool` and `purpose` are the reader's own word,
    and that a search is an export; all else is the node's. `about`: the id of the event, the query (JSON), or what was
    refused.
    """

    time: str
    last: str
    user: str
    address: str
    did: str
    tool: str
    purpose: str
    about: str
    requests: int = 1

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Looks:
    """What is on record, newest first. `rest`: the place behind which older records are, None where these are all."""

    found: list[Look]
    rest: Place | None

    @property
    def until_ns(self) -> int | None:
        """The same as `until_ns` of filters: none is missed, and those of its millisecond may come again."""
        return None if self.rest is None else (max(0, self.rest[0]) + 1) * MILLISECOND


def looks(
    client: OpenSearch, filters: LookFilters, limit: int, *, most: int = RECORDS, after: Place | None = None
) -> Looks:
    """At most `limit` looks of at most `most` records. NotAllowed for anyone but a Super Admin; OutOfReach.

    The record of a request is there a few seconds after it. Requests of one search or export that follow each other are
    one look: who pages by hand is not hidden behind the first page. Whoever said that they would grant access has
    granted it only where the node has a change of Security by them right after it.
    """
    found: list[Look] = []
    begin = filters.until_ns if after is None else max(0, after[0]) * MILLISECOND
    changed = {} if begin is None else _changes(client, begin)
    for number, (record, place) in enumerate(_records(client, filters, after)):
        if number == most:
            return Looks(found, after)
        if (look := look_of(record)) is not None:
            look = _granted(look, changed)
            if found and (joined := _joined(found[-1], look)):
                found[-1] = joined
            elif len(found) == limit:
                return Looks(found, after)
            else:
                found.append(look)
        after = place
    return Looks(found, None)


def _granted(look: Look, changed: dict[str, str]) -> Look:
    """The same, and done where a change by them came right after it. `changed`: the time of it by user, kept here."""
    if look.did == _CHANGED:
        changed[look.user] = look.time
    elif look.did in _DONE and _follows(look.time, changed.get(look.user)):
        return replace(look, did=_DONE[look.did])
    return look


def look_of(record: Mapping[str, Any]) -> Look | None:
    """One record of the node; None for one that is no look and no change of access."""
    tool, purpose = _tool(record)
    did = _did(record, tool)
    if did is None:
        return None
    time = text_at(record, "@timestamp").replace("+00:00", "Z")
    return Look(
        time=time,
        last=time,
        user=text_at(record, "audit_request_effective_user") or text_at(record, "audit_request_initiating_user"),
        address=text_at(record, "audit_request_remote_address"),
        did=did,
        tool=tool,
        purpose=purpose,
        about=_about(record),
    )


def _kinds() -> list[dict[str, Any]]:
    """What is a look or a change of access: any of these."""
    patterns = (ALIAS, WHO_LOOKED_PATTERN.removesuffix("*"))
    indices: list[dict[str, Any]] = [{"prefix": {"audit_trace_resolved_indices.keyword": name}} for name in patterns]
    # A request that names its indices in its body (_mget) or by a point in time.
    indices.append({"bool": {"must_not": {"exists": {"field": "audit_trace_resolved_indices"}}}})
    reads = {"terms": {"audit_request_privilege.keyword": list(_READS)}}
    version = {"term": {"audit_request_privilege.keyword": _VERSION}}
    return [
        {"terms": {"audit_category.keyword": list(_BY_CATEGORY)}},
        {"bool": {"filter": [reads, {"bool": {"should": indices, "minimum_should_match": 1}}]}},
        {"bool": {"filter": [version, {"match": {"audit_transport_headers.X-Opaque-Id": "access"}}]}},
    ]


def _records(
    client: OpenSearch, filters: LookFilters, after: Place | None
) -> Iterator[tuple[Mapping[str, Any], Place]]:
    # No point in time: a record is never altered, and what comes meanwhile is newer than where this began.
    body: dict[str, Any] = {"query": filters.query(), "sort": ORDER, "size": _BATCH, "track_total_hits": False}
    if after is not None:
        body["search_after"] = after
    while True:
        hits = _ask(client, body)
        for hit in hits:
            yield hit["_source"], hit["sort"]
        if len(hits) < _BATCH:
            return
        body["search_after"] = hits[-1]["sort"]


def _changes(client: OpenSearch, since_ns: int) -> dict[str, str]:
    """When each person changed Security first, from then on: what is asked for before it may have been done by that."""
    span = {"gte": format_time(since_ns), "lte": format_time(since_ns + _FOLLOWS // timedelta(microseconds=1) * 1_000)}
    clauses = [{"terms": {"audit_category.keyword": _CHANGES}}, {"range": {"@timestamp": span}}]
    hits = _ask(client, {"query": {"bool": {"filter": clauses}}, "sort": [{"@timestamp": "asc"}], "size": _BATCH})
    changes = filter(None, (look_of(hit["_source"]) for hit in reversed(hits)))
    return {look.user: look.time for look in changes}


def _ask(client: OpenSearch, body: Mapping[str, Any]) -> list[Hit]:
    try:
        hits: list[Hit] = ask_all_shards(client, body, index=WHO_LOOKED_PATTERN)["hits"]["hits"]
    except NotAllowed as error:
        raise NotAllowed(f"who looked is for a Super Admin alone to see: {error}") from error
    return hits


def _did(record: Mapping[str, Any], tool: str) -> str | None:
    category, privilege = text_at(record, "audit_category"), text_at(record, "audit_request_privilege")
    if category in _BY_CATEGORY:
        return _BY_CATEGORY[category]
    if privilege == _VERSION:
        return _ABOUT_ACCESS.get(tool)
    if privilege not in _READS:
        return None
    if _is_about_the_record(record):
        return "looked who looked"
    return "exported" if tool in _EXPORTS and _READS[privilege] == "searched" else _READS[privilege]


def _follows(asked: str, changed: str | None) -> bool:
    """Whether the next change of the same person came right after it."""
    if changed is None:
        return False
    try:
        return datetime.fromisoformat(changed) - datetime.fromisoformat(asked) <= _FOLLOWS
    except (ValueError, TypeError):  # no times that the node writes
        return False


def _is_about_the_record(record: Mapping[str, Any]) -> bool:
    named = field(record, "audit_trace_resolved_indices")
    return isinstance(named, list) and any(str(name).startswith(WHO_LOOKED_PATTERN.rstrip("*")) for name in named)


def _tool(record: Mapping[str, Any]) -> tuple[str, str]:
    """(what the reader's tool calls itself, the purpose that it gave); a tool that is not ours as it is."""
    headers = record.get("audit_transport_headers")
    given = headers.get("X-Opaque-Id") if isinstance(headers, Mapping) else None
    opaque = str(given or _rest_header(record))
    match = _TOOL.fullmatch(opaque)
    if match is None:
        return opaque, ""
    return str(match["command"] or "auditpipe"), unquote(match["purpose"] or "")


def _rest_header(record: Mapping[str, Any]) -> str:
    headers = record.get("audit_rest_request_headers")
    given = headers.get("x-opaque-id") if isinstance(headers, Mapping) else None
    return str(given[0]) if isinstance(given, list) and given else ""


def _about(record: Mapping[str, Any]) -> str:
    if doc_id := text_at(record, "audit_trace_doc_id"):
        return doc_id
    privilege, body = text_at(record, "audit_request_privilege"), text_at(record, "audit_request_body")
    asked = _query(body) if body else ""
    if (privilege and privilege not in (_VERSION, *_READS)) or text_at(record, "audit_category") in _BY_CATEGORY:
        return " ".join(filter(None, (privilege, asked))) or text_at(record, "audit_rest_request_path")
    return asked


def _query(body: str) -> str:
    """The query of a search as compact JSON, without what tells its pages apart; another body as it is."""
    try:
        parsed = json.loads(body)
        return _asked(parsed) if isinstance(parsed, dict) else body
    except (ValueError, RecursionError):  # the json module calls itself for each level
        return body


def _asked(parsed: Mapping[str, Any]) -> str:
    asked = {name: value for name, value in parsed.items() if name not in _OF_A_PAGE}
    query = asked.pop("query", None)
    if asked:
        return json.dumps({"query": query, **asked} if query else asked, ensure_ascii=False)
    return json.dumps(query, ensure_ascii=False) if query else ""


def _joined(newer: Look, older: Look) -> Look | None:
    """Both as one, where they are requests of one search; None where they are not."""
    if newer.did in _APART or any(getattr(newer, name) != getattr(older, name) for name in _OF_ONE_SEARCH):
        return None
    if newer.about and older.about and newer.about != older.about:
        return None
    # The request that opens a point in time has no query.
    about = newer.about or older.about
    return replace(newer, time=older.time, about=about, requests=newer.requests + older.requests)
