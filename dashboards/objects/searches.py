"""The saved searches: lists of events, with the columns of the article."""

from dataclasses import dataclass

from auditpipe.dashboards.objects.pattern import TIME_FIELD, index_reference
from auditpipe.dashboards.objects.saved import INDEX_REFERENCE, SavedObject, make, text

#: Beside the time: action, actor, target, what was changed, outcome, from where. Dashboards shows the changes
#: themselves as raw JSON; `message` has them as a sentence. The id is the link to the event in full.
COLUMNS = ("event.action", "user.name", "audit.target.name", "message", "event.outcome", "source.ip", "event.id")
#: The same, with why.
REFUSED_COLUMNS = (*COLUMNS[:5], "event.reason", *COLUMNS[5:])


@dataclass(frozen=True, slots=True)
class Search:
    """One list. `query` is a Lucene query string, as `auditpipe search -q` takes it."""

    id: str
    title: str
    description: str
    query: str
    columns: tuple[str, ...] = COLUMNS


ALL = Search("audit-search-all", "Audit: all events", "Every event, newest first.", "")
FAILED_SIGN_INS = Search(
    "audit-search-failed-sign-ins",
    "Audit: failed sign-ins",
    "Who failed to sign in, from where and why. A name that nobody has is kept as a keyed hash.",
    "event.category:authentication AND event.outcome:failure",
    REFUSED_COLUMNS,
)
PROFILE_CHANGES = Search(
    "audit-search-profile-changes",
    "Audit: profile changes",
    "Changes of a user's profile, with before and after in the message.",
    "event.action:user.user.updated AND event.outcome:success",
)
ROLE_AND_TEAM_CHANGES = Search(
    "audit-search-role-and-team-changes",
    "Audit: role and team changes",
    "Roles granted, revoked, made, changed and deleted; teams and who is in them.",
    "event.action:(user.user.role_changed OR user.role.* OR user.team.*) AND event.outcome:success",
)
EXPORTS = Search("audit-search-exports", "Audit: exports", "Who took data out, and which.", "event.action:*.exported")
REFUSED = Search(
    "audit-search-refused",
    "Audit: refused access",
    "Everything that was attempted and refused: sign-ins, recoveries, and what a role does not allow.",
    "event.outcome:failure",
    REFUSED_COLUMNS,
)
CHANGES = Search(
    "audit-search-changes", "Audit: all changes", "Every event that says what was changed.", "_exists_:audit.changed"
)
SEARCHES = (ALL, FAILED_SIGN_INS, PROFILE_CHANGES, ROLE_AND_TEAM_CHANGES, EXPORTS, REFUSED, CHANGES)


def saved_search(search: Search) -> SavedObject:
    """The object of a list."""
    source = {
        "query": {"query": search.query, "language": "lucene"},
        "filter": [],
        "highlightAll": True,
        "version": True,
        "indexRefName": INDEX_REFERENCE,
    }
    attributes = {
        "title": search.title,
        "description": search.description,
        "hits": 0,
        "columns": list(search.columns),
        "sort": [[TIME_FIELD, "desc"]],
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
    }
    return make("search", search.id, attributes, [index_reference()])
