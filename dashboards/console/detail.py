"""One event: its sentence, what was changed before and after, every field, its proof, and what is around it."""

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response

from auditpipe.dashboards.console.difference import LONG, differences
from auditpipe.dashboards.console.filters import link
from auditpipe.dashboards.console.proof import proof
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.query import MAX_LUCENE
from auditpipe.pipeline.retention.shown import show
from auditpipe.pipeline.tabular import flat, text_at, value_text
from auditpipe.pipeline.visible import json_bytes

#: Shown by themselves, above the fields.
_APART = ("message", "audit.changes")
#: (title, filter, path of the value) of what leads from an event to others.
_AROUND = (
    ("Same actor", "actor", "user.id"),
    ("Same session", "session", "audit.session.id"),
    ("Same request", "request", "http.request.id"),
    ("Same trace", "request", "trace.id"),
    ("Same address", "ip", "source.ip"),
)


def detail(visit: Visit) -> Response:
    """The page `/events/ID`."""
    document = show(visit.who.client, visit.who.settings, visit.request.path_params["id"])
    return visit.page(
        "detail.html",
        document=document,
        message=text_at(document, "message"),
        time=text_at(document, "@timestamp"),
        outcome=text_at(document, "event.outcome"),
        action=text_at(document, "event.action"),
        event_id=text_at(document, "event.id"),
        differences=differences(document),
        fields=[(path, value_text(value)) for path, value in flat(document, _APART)],
        long=LONG,
        raw=json_bytes(document, indent=True).decode(),
        proof=proof(visit.who.client, document),
        around=list(_around(document)),
    )


def _around(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(title, value, name of what it is the id of, link to the list)."""
    kind, target = text_at(document, "audit.target.type"), text_at(document, "audit.target.id")
    if kind and target:
        what = f"{kind}:{target}"
        yield "Same target", what, text_at(document, "audit.target.name"), link({}, target=what)
    for title, name, path in _AROUND:
        value = text_at(document, path)
        if value.strip() and len(value) <= MAX_LUCENE:
            called = text_at(document, "user.name") if name == "actor" else ""
            yield title, value, called, link({}, **{name: value})
