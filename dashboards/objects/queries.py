"""The saved queries: one for each thing that people look for, as docs/events.md lists them."""

import re

from auditpipe.dashboards.objects.saved import SavedObject, make
from auditpipe.schemas.events_document import Search

_OTHER = re.compile(r"[^a-z0-9]+")


def saved_query(search: Search) -> SavedObject:
    """The object of a query; chosen by its title from the list behind the search box."""
    title = search.item.item
    attributes = {
        "title": title,
        "description": f"{search.action.title}. Told apart by: {search.item.told_apart_by}.",
        "query": {"query": search.lucene, "language": "lucene"},
    }
    return make("query", f"audit-query-{_OTHER.sub('-', title.lower()).strip('-')}", attributes)
