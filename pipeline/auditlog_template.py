"""The index template of the node's own audit log (`security-auditlog-YYYY.MM.dd`): its fields are ours to choose.

The log holds headers, parameters and body of requests, of those that fail to sign in too. Without a template each
header becomes a field of the day's index, up to `index.mapping.total_fields.limit` (1000), and a value that looks like
a date makes its field one: from then on the node drops each record that has a new field, or another value there. So
every field that is searched is named here, and no other is one; whatever the node records is in the record anyhow.
"""

from collections.abc import Mapping
from typing import Any

from auditpipe.pipeline.ownership import OWNER, going_over, template_step
from auditpipe.pipeline.plan import Request, Step
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN

TEMPLATE = "security-auditlog"
#: Of both our templates, over what others may have for `*`; two of one priority may not overlap.
PRIORITY = 500

#: As dynamic mapping guesses them, so that one query fits older days too.
_TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
_TEXTS = (
    *("audit_category", "audit_compliance_operation", "audit_node_name", "audit_request_body", "audit_request_layer"),
    *("audit_request_effective_user", "audit_request_initiating_user", "audit_request_origin"),
    *("audit_request_privilege", "audit_request_remote_address", "audit_rest_request_method"),
    *("audit_rest_request_path", "audit_trace_doc_id", "audit_trace_indices", "audit_trace_resolved_indices"),
    *("audit_trace_task_id", "audit_trace_task_parent_id", "audit_transport_request_type"),
)


def mappings() -> dict[str, Any]:
    """The mapping of each day's index. Objects that are not named, and names in those that are, follow `dynamic`."""
    times = {"@timestamp": {"type": "date", "ignore_malformed": True}}
    headers = {"audit_transport_headers": {"properties": {"X-Opaque-Id": _TEXT}}}
    return {"_meta": OWNER, "dynamic": "false", "properties": {**times, **dict.fromkeys(_TEXTS, _TEXT), **headers}}


def body() -> dict[str, Any]:
    """The index template, complete."""
    template = {"settings": {"index.auto_expand_replicas": "0-1"}, "mappings": mappings()}
    return {"index_patterns": [WHO_LOOKED_PATTERN], "priority": PRIORITY, "template": template, "_meta": OWNER}


def conflict(templates: Mapping[str, Any]) -> str | None:
    """The name of a template of someone else's that goes over ours."""
    return next((name for name, _ in going_over(templates, WHO_LOOKED_PATTERN.removesuffix("*"), PRIORITY)), None)


def step(current: Mapping[str, Any] | None, differing: list[str], days: Mapping[str, Any]) -> Step:
    """Make or renew it, and close the days that were made without. `days`: each day's index with its `mappings`."""
    requests = [Request("PUT", f"/_index_template/{TEMPLATE}", body())] if current is None or differing else []
    open_days = {name: found.get("mappings", {}) for name, found in days.items() if _is_open(found)}
    requests += [Request("PUT", f"/{name}/_mapping", _closed(found)) for name, found in open_days.items()]
    differs = ", ".join([*differing[:5], *(f"the fields of {name}" for name in open_days)])
    made = f"mapping of {WHO_LOOKED_PATTERN}"
    return template_step(TEMPLATE, current, differs, tuple(requests), made=made, same=f"{made} as wanted")


def _is_open(found: Mapping[str, Any]) -> bool:
    return str(found.get("mappings", {}).get("dynamic", "true")) != "false"


def _closed(found: Mapping[str, Any]) -> dict[str, Any]:
    """What turns a guessed mapping into one that takes no more fields: those that it has can't be changed."""
    return {"dynamic": "false", "properties": _missing(mappings()["properties"], found.get("properties", {}))}


def _missing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    added = {name: field for name, field in wanted.items() if name not in there}
    for name in wanted.keys() & there.keys():
        if inner := _missing(wanted[name].get("properties", {}), there[name].get("properties", {})):
            added[name] = {"properties": inner}
    return added
