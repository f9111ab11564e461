"""The page `/who-looked`: the node's own record of who searched, read and exported, for Super Admins."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from auditpipe.dashboards.console.paging import Place
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.looked import ORDER, RECORDS, LookFilters, looks
from auditpipe.schemas.errors import BadFilter
from auditpipe.schemas.identity import LATEST_NS, MILLISECOND

SIZE = 100


def looked(visit: Visit) -> Response:
    """Of one person or of all: the newest, or those behind a place. NotAllowed for anyone but a Super Admin."""
    user = visit.query.get("user", "").strip()
    after = _place(visit.query["at"]) if "at" in visit.query else None
    found = looks(visit.who.client, LookFilters(user=user or None), SIZE, after=after)
    older = None
    if found.rest is not None:
        older = "/who-looked?" + urlencode(
            {**({"user": user} if user else {}), "at": str(Place(found.rest))}, errors="replace"
        )
    return visit.page("looked.html", looks=found.found, user=user, first=after is None, older=older, most=RECORDS)


def _place(text: str) -> list[Any]:
    """The place in a link. BadFilter: it is none."""
    values = Place.read(text, len(ORDER)).values
    if not isinstance(values[0], int) or values[0] * MILLISECOND > LATEST_NS:
        raise BadFilter("this link to a page is damaged: begin again with the newest")
    return values
