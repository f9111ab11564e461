"""The page `/who-looked`: the node's own record of who searched, read and exported, for Super Admins."""

from itertools import islice

from starlette.responses import Response

from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.looked import LookFilters, looks

SIZE = 100


def looked(visit: Visit) -> Response:
    """The newest, of one person or of all. NotAllowed for anyone but a Super Admin."""
    user = visit.query.get("user", "").strip()
    found = list(islice(looks(visit.who.client, LookFilters(user=user or None)), SIZE))
    return visit.page("looked.html", looks=found, user=user, size=SIZE)
