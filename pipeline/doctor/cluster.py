"""What is wrong with a cluster, and what to do about it. Reads only; works on any cluster that settings name.

Each check gives one line, so that a person sees what was looked at as well as what was found. What the settings do not
allow to look at is a warning that says so, never silence.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import principals, provision, rest, writeonce
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.doctor import people, retention, rules, shipper
from auditpipe.pipeline.doctor.check import Check, finding, ok, warn
from auditpipe.pipeline.plan import Plan, State
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.pipeline.writeonce import WriteOnce
from auditpipe.schemas.errors import AuditpipeError, NotAllowed, OutOfReach
from auditpipe.schemas.identity import INDEX_PATTERN, RECORDS_PATTERN
from auditpipe.schemas.settings import Settings

_RENEW_WITHIN_DAYS = 30
_TIMEOUT_S = 10.0
_WATERMARK = "cluster.routing.allocation.disk.watermark."
#: The node sets these when its disk is over the flood stage, and lifts them when it is not.
_FULL_DISK_BLOCKS = ("index.blocks.read_only_allow_delete", "cluster.blocks.create_index")
_HIDDEN = "index.hidden"
#: Settings of every month: from the template, by provisioning, by the node itself, or with a check of their own.
_USUAL = (
    *("index.blocks.", "index.default_pipeline", "index.final_pipeline", "index.search.default_pipeline"),
    *(
        "index.number_of_",
        "index.auto_expand_replicas",
        "index.query.default_field",
        "index.mapping.total_fields.limit",
    ),
    *("index.creation_date", "index.provided_name", "index.uuid", "index.version.", "index.replication.type"),
    *("index.history.uuid", "index.verified_before_close", "index.routing.allocation.include._tier"),
)
_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


def examine(settings: Settings, reader: Settings | None = None) -> Iterator[Check]:
    """Look at the cluster of `settings`. `reader` is someone without the admin certificate, to try write-once as."""
    client = connect(settings, opaque_id=tool_id("doctor"), read_seconds=_TIMEOUT_S)
    try:
        answer = rest.get(client, "/")
    except AuditpipeError as error:
        yield finding("cluster", str(error), "put this right first: nothing else can be looked at")
        return
    if not isinstance(answer, dict) or "version" not in answer:
        yield finding("cluster", f"{settings.url} does not answer as OpenSearch does", "is the path in the URL right?")
        return
    yield ok("cluster", f"{settings.url} is OpenSearch {answer['version']['number']}")
    for check in (_certificate, _security, _health, _closed, _disk, _blocks, _pipelines, _settings, _who_looked):
        yield from _guarded(check.__name__.strip("_").replace("_", " "), check(settings, client))
    if reader is not None:
        yield from _guarded("shipper's sign-in", shipper.sign_in(reader))
    yield from _guarded("write-once", _write_once(settings, client, reader))
    yield from _guarded("provisioning", _provisioned(client))
    yield from _guarded("access", _people(client))
    yield from _guarded("retention", retention.examine(settings, client))


def _guarded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """A check that is not allowed, or gets no answer, does not hide the others."""
    try:
        yield from checks
    except NotAllowed as error:
        yield warn(name, f"not looked at: {error}", "look again with the admin certificate (--profile operator)")
    except AuditpipeError as error:
        yield finding(name, str(error), "look again; if it stays so, read the node's log")


def _certificate(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    connection = client.transport.get_connection()
    if not connection.host.startswith("https"):
        yield warn("TLS", f"{settings.url} has none", "fine on this machine alone; anywhere else use https://")
        return
    context = ssl.create_default_context(cafile=settings.get("ca_file"))
    host, _, port = connection.host.removeprefix("https://").rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    try:
        with socket.create_connection((name, int(port)), timeout=_TIMEOUT_S) as plain:  # noqa: SIM117
            with context.wrap_socket(plain, server_hostname=name) as secure:
                peer, version = secure.getpeercert() or {}, secure.version()
    except OSError as error:
        raise OutOfReach(f"{settings.url}: no TLS connection: {error}") from error
    end = str(peer["notAfter"])
    days = (ssl.cert_time_to_seconds(end) - time.time()) / 86_400
    sentence = f"{version}, the node's certificate ends {end} (in {days:.0f} days)"
    if days > _RENEW_WITHIN_DAYS:
        yield ok("TLS", sentence)
    else:
        yield warn("TLS", sentence, "renew it; `auditpipe up` does so for the local stack")


def _security(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    answer = rest.get(client, "/_plugins/_security/health") or {}
    if answer.get("status") == "UP":
        yield ok("security", "initialised")
    else:
        said = answer.get("message") or "no answer from the Security plugin"
        yield finding("security", f"not initialised: {said}", "wait a minute, then read the node's log")


def _health(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    health = rest.get(client, "/_cluster/health", level="indices")
    sentence = f"{health['status']}, {health['number_of_data_nodes']} data nodes"
    if health["status"] == "green":
        yield ok("health", sentence)
    elif health["status"] == "yellow":
        yield warn("health", f"{sentence}: a copy is missing", "add a node, or `auditpipe provision --replicas 0`")
    else:
        red = ", ".join(name for name, index in sorted(health["indices"].items()) if index["status"] == "red")
        remedy = "bring the missing nodes back; GET _cluster/allocation/explain says why a shard is nowhere"
        yield finding("health", f"{sentence}: a part is missing of {red}: nothing is stored there", remedy)


def _closed(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    """A closed index is green. Our commands refuse to read beside it, others pass over it without a word."""
    columns = {"h": "index,status", "format": "json", "expand_wildcards": "all"}
    found = rest.get(client, f"/_cat/indices/{INDEX_PATTERN}", **columns) or []
    closed = sorted(row["index"] for row in found if row["status"] == "close")
    if closed:
        told = f"{', '.join(closed)} closed: search, export and verify refuse, and what belongs in it is not stored"
        yield finding("closed", told, f"POST {closed[0]}/_open with the admin certificate")
    else:
        yield ok("closed", f"none of {INDEX_PATTERN}")


def _disk(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    layers = rest.get(client, "/_cluster/settings", include_defaults="true", flat_settings="true") or {}
    marks = {**layers.get("defaults", {}), **layers.get("persistent", {}), **layers.get("transient", {})}
    nodes = (rest.get(client, "/_nodes/stats/fs") or {}).get("nodes", {})
    for node in nodes.values():
        total, free = node["fs"]["total"]["total_in_bytes"], node["fs"]["total"]["available_in_bytes"]
        name, sentence = f"disk of {node['name']}", f"{free / 2**30:.1f} GiB of {total / 2**30:.0f} GiB are free"
        if free < _must_be_free(marks.get(f"{_WATERMARK}flood_stage", "95%"), total):
            yield finding(name, f"{sentence}: over the flood stage, nothing is stored", "free some of it, now")
        elif free < _must_be_free(marks.get(f"{_WATERMARK}high", "90%"), total):
            yield finding(name, f"{sentence}: over the high watermark", "free some of it, or add a disk")
        elif free < _must_be_free(marks.get(f"{_WATERMARK}low", "85%"), total):
            yield warn(name, f"{sentence}: over the low watermark, a new month may find no place", "free some of it")
        else:
            yield ok(name, sentence)


def _must_be_free(mark: str, total: int) -> float:
    """Bytes that must be free below a watermark: `85%` and `0.85` are used shares, `10gb` is what must be free."""
    text = mark.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz%")
    unit = text[len(digits) :]
    try:
        value = float(digits)
    except ValueError:
        return 0.0
    if unit in _UNITS:
        return value * _UNITS[unit]
    return total * (1 - (value / 100 if unit == "%" else value))


def _blocks(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    layers = rest.get(client, "/_cluster/settings", flat_settings="true") or {}
    path = f"/{INDEX_PATTERN}/_settings/index.blocks.*"
    indices = rest.get(client, path, flat_settings="true", expand_wildcards="all") or {}
    blocked: dict[str, list[str]] = {}
    shut = {(index, "index.blocks.write") for index in retention.kept_shut(client)}
    for layer, found in layers.items():
        for key, value in found.items():
            if key.startswith("cluster.blocks.") and value == "true":
                blocked.setdefault(key, []).append(f"the whole cluster ({layer})")
    for index, body in sorted(indices.items()):
        for key, value in body["settings"].items():
            if value == "true" and (index, key) not in shut:
                blocked.setdefault(key, []).append(index)
    for key, names in blocked.items():
        which = names[0] if len(names) == 1 else f"{len(names)}, {names[0]} to {names[-1]}"
        if key in _FULL_DISK_BLOCKS:
            remedy = "free the disk; the node lifts this by itself, in a minute or two"
            yield finding("blocks", f"{which}: blocked by {key}: the disk was full", remedy)
        else:
            yield finding("blocks", f"{which}: blocked by {key}", "set it to null with the admin certificate")
    if not blocked:
        yield ok("blocks", f"none on {INDEX_PATTERN}")


def _pipelines(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    """An ingest pipeline changes an event before it is stored, a search pipeline what a reader is shown."""
    path = f"/{INDEX_PATTERN}/_settings/index.default_pipeline,index.final_pipeline,index.search.default_pipeline"
    found = rest.get(client, path, flat_settings="true", expand_wildcards="all") or {}
    named = [
        f"{index} ({key} {value})"
        for index, body in sorted(found.items())
        for key, value in sorted(body["settings"].items())
        if value != "_none"
    ]
    if named:
        remedy = "find out in security-auditlog-* who set it, then set it to null with the admin certificate"
        yield finding("pipelines", f"{', '.join(named)}: events may not be as they were sent, or shown", remedy)
    else:
        yield ok("pipelines", f"none on {INDEX_PATTERN}: events are stored as they come")


def _settings(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    """What somebody has set on a month beside the template: most of it is harmless, some of it hides events."""
    found = rest.get(client, f"/{INDEX_PATTERN}/_settings", flat_settings="true", expand_wildcards="all") or {}
    odd: dict[str, list[str]] = {}
    for index, body in sorted(found.items()):
        for key, value in body["settings"].items():
            if not key.startswith(_USUAL):
                odd.setdefault(f"{key} {value}", []).append(index)
    for told, names in odd.items():
        which = names[0] if len(names) == 1 else f"{len(names)}, {names[0]} to {names[-1]}"
        remedy = "find out in security-auditlog-* who set it, then set it to null with the admin certificate"
        hidden = told == f"{_HIDDEN} true"
        why = ": Dashboards and requests by pattern pass it over" if hidden else ", which the template does not say"
        yield (finding if hidden else warn)("settings", f"{which}: {told}{why}", remedy)
    if not odd:
        yield ok("settings", f"of {INDEX_PATTERN} as the template says")


def _people(client: OpenSearch) -> Iterator[Check]:
    found = principals.read(client)
    yield from people.examine(found)
    yield from rules.examine(client, found)


def _who_looked(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    name = "who looked"
    config: Any = (rest.get(client, "/_plugins/_security/api/audit") or {}).get("config", {})
    audit = config.get("audit", {})
    remedy = "put opensearch-security/audit.yml of auditpipe in place: PUT /_plugins/_security/api/audit/config"
    if not config.get("enabled") or not audit.get("enable_transport"):
        yield finding(name, "the node's own audit log is off: nobody knows who searched", remedy)
    elif "GRANTED_PRIVILEGES" in audit.get("disabled_transport_categories", []):
        yield finding(name, "GRANTED_PRIVILEGES is not recorded: nobody knows who searched", remedy)
    elif not rest.get(client, f"/{WHO_LOOKED_PATTERN}"):
        line = "plugins.security.audit.type: internal_opensearch"
        yield finding(name, f"{WHO_LOOKED_PATTERN} holds nothing", f"add to opensearch.yml of every node: {line}")
    else:
        yield ok(name, f"recorded in {WHO_LOOKED_PATTERN}")


def _write_once(settings: Settings, client: OpenSearch, reader: Settings | None) -> Iterator[Check]:
    asked = reader if settings.get("cert_file") else settings
    if asked is None:
        yield warn("write-once", "not tried: the admin certificate passes it", "look again as anyone else (--profile)")
        return
    anyone = client if asked is settings else connect(asked, opaque_id=tool_id("doctor"))
    try:
        events = writeonce.probe(anyone)
    except NotAllowed as error:
        yield warn("write-once", f"not tried: {error}", "put that sign-in right first")
        return
    if events is WriteOnce.YES:
        yield ok("write-once", f"holds on {INDEX_PATTERN}")
    else:
        yield finding("write-once", "NO", events.sentence.removeprefix("write-once: NO: "))
    for what, pattern in (("who looked", WHO_LOOKED_PATTERN), ("records", RECORDS_PATTERN)):
        if writeonce.probe(anyone, pattern.replace("*", "-write-once-probe").replace("--", "-")) is WriteOnce.YES:
            yield ok(f"{what}, write-once", f"holds on {pattern}")
        else:
            remedy = f"add {pattern!r} to plugins.security.compliance.immutable_indices of every node"
            yield warn(f"{what}, write-once", "NO: whoever is given the right could remove it", remedy)


def _provisioned(client: OpenSearch) -> Iterator[Check]:
    planned = provision.plan(client, provision.Options())
    for step in planned.steps:
        name = f"{step.kind} {step.name}"
        if step.state is State.CONFLICT:
            yield finding(name, step.sentence, "remove or rename what is not auditpipe's, then `auditpipe provision`")
        elif step.changes:
            there = "missing" if step.state is State.CREATE else step.sentence
            yield finding(name, there, "`auditpipe provision`")
    yield from _summary(planned)


def _summary(planned: Plan) -> Iterator[Check]:
    """One line for each kind of thing that is all right: thirteen months are one line."""
    for kind in dict.fromkeys(step.kind for step in planned.steps):
        steps = [step for step in planned.steps if step.kind == kind]
        if all(step.state is State.OK for step in steps):
            names = steps[0].name if len(steps) == 1 else f"{len(steps)}, {steps[0].name} to {steps[-1].name}"
            yield ok(kind, f"as it should be: {names}")
