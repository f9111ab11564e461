"""The page `/who-looked`: the node's own record of who searched, read and exported, for Super Admins."""

from urllib.parse import urlencode

from starlette.responses import Response

from auditpipe.dashboards.console.paging import Place
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.looked import ORDER, RECORDS, LookFilters, looks

SIZE = 100


def looked(visit: Visit) -> Response:
    """Of one person or of all: the newest, or those behind a place. NotAllowed for anyone but a Super Admin."""
    user = visit.query.get("user", "").strip()
    after = Place.read(visit.query["at"], len(ORDER)).values if "at" in visit.query else None
    found = looks(visit.who.client, LookFilters(user=user or None), SIZE, after=after)
    older = None
    if found.rest is not None:
        older = "/who-looked?" + urlencode(
            {**({"user": user} if user else {}), "at": str(Place(found.rest))}, errors="replace"
        )
    return visit.page("looked.html", looks=found.found, user=user, first=after is None, older=older, most=RECORDS)
