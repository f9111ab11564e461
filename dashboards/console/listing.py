"""The list: events, newest first, with their filters, counts and pages."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from auditpipe.dashboards.console import counts, filters, histogram, paging
from auditpipe.dashboards.console.sessions import SUGGESTED_S, Session
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.tabular import actor_text, changes_text, field, plain, target_text, text_at
from auditpipe.schemas.errors import BadFilter

#: Quick choices of `since`.
RANGES = (("1h", "hour"), ("24h", "day"), ("7d", "week"), ("30d", "month"))


@dataclass(frozen=True, slots=True)
class Row:
    """One event in the list."""

    id: str
    time: str
    action: str
    actor: str
    target: str
    changes: str
    outcome: str
    reason: str
    address: str


def listing(visit: Visit) -> Response:
    """The page `/`."""
    given = visit.query.multi_items()
    typed = filters.typed(given)
    if any(name in filters.NAMES and not value.strip() for name, value in given):
        return RedirectResponse(filters.link(typed), 303)  # a form sends its empty fields too: a link has none
    values: dict[str, Any] = {
        "typed": typed,
        "fields": filters.FIELDS,
        "choices": filters.CHOICES,
        "ranges": RANGES,
        "suggestions": _suggestions(visit.who),
        "picture": (histogram.WIDTH, histogram.HEIGHT),
    }
    try:
        meant = filters.meant(typed)
        place = paging.Place.read(visit.query["at"]) if "at" in visit.query else None
        page = paging.page(visit.who.client, visit.who.views, meant, place, counts.AGGREGATIONS)
        bars = counts.histogram(visit.who.client, meant, page.aggregations)
    except BadFilter as error:
        wrong, problem = filters.complaint(error)
        return visit.page("list.html", 400, **values, wrong=wrong, problem=problem, page=None)
    return visit.page(
        "list.html", **values, wrong=None, problem=None, columns=histogram.columns(bars), **_shown(page, meant, place)
    )


def _shown(page: paging.Page, meant: Filters, place: paging.Place | None) -> dict[str, Any]:
    # Times absolute: a page that began an hour ago ends where it ended then.
    absolute = meant.describe()
    return {
        "page": page,
        "first": place is None,
        "rows": [row(hit["_source"]) for hit in page.hits],
        "older": filters.link(absolute, at=str(page.older)) if page.older else None,
        "newer": filters.link(absolute, at=str(page.newer)) if page.newer else None,
        "counts": counts.counts(page.aggregations),
    }


def row(document: Mapping[str, Any]) -> Row:
    """What the list shows of an event."""
    return Row(
        id=plain(field(document, "event.id")),
        time=text_at(document, "@timestamp"),
        action=text_at(document, "event.action"),
        actor=actor_text(document),
        target=target_text(document),
        changes=changes_text(document),
        outcome=text_at(document, "event.outcome"),
        reason=text_at(document, "event.reason"),
        address=text_at(document, "source.ip"),
    )


def _suggestions(session: Session) -> dict[str, list[str]]:
    """Kept for a minute: they help to type, and need not be of this moment."""
    now = time.monotonic()
    if now - session.suggested > SUGGESTED_S:
        session.suggestions, session.suggested = counts.suggestions(session.client), now
    return session.suggestions
