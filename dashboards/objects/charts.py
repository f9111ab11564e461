"""The visualizations: what is drawn, over which saved search, and the filter controls of each dashboard."""

from dataclasses import dataclass
from typing import Any

from auditpipe.dashboards.objects import searches, styles
from auditpipe.dashboards.objects.pattern import TIME_FIELD, index_reference
from auditpipe.dashboards.objects.saved import SEARCH_REFERENCE, Reference, SavedObject, make, text
from auditpipe.dashboards.objects.searches import Search

#: Rows of a table and bars of a chart, unless said otherwise.
TOP = 20
#: What a control offers before one types.
OPTIONS = 100


@dataclass(frozen=True, slots=True)
class Chart:
    """Events of a saved search, counted. `splits` are the buckets from the outside in: (schema, field, label)."""

    id: str
    title: str
    description: str
    search: Search
    style: str
    splits: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Controls:
    """A row of lists to choose from, each a filter on the whole dashboard: (field, label)."""

    id: str
    title: str
    fields: tuple[tuple[str, str], ...]


OVER_TIME = Chart(
    "audit-vis-events-over-time",
    "Audit: events over time by outcome",
    "How many events, and how many of them failed.",
    searches.ALL,
    "histogram",
    (("segment", TIME_FIELD, "Time"), ("group", "event.outcome", "Outcome")),
)
ACTIONS = Chart(
    "audit-vis-actions",
    "Audit: actions",
    "What was done, and how often.",
    searches.ALL,
    "horizontal_bar",
    (("segment", "event.action", "Action"),),
)
ACTORS = Chart(
    "audit-vis-actors",
    "Audit: most active actors",
    "Who did most.",
    searches.ALL,
    "table",
    (("bucket", "user.name", "Actor"), ("bucket", "audit.actor.type", "Kind")),
)
FAILED_BY_ACCOUNT = Chart(
    "audit-vis-failed-sign-ins-by-account",
    "Audit: failed sign-ins by account",
    "Whose password is guessed, and why it failed. A name that nobody has is a keyed hash.",
    searches.FAILED_SIGN_INS,
    "table",
    (("bucket", "user.name", "Account"), ("bucket", "event.reason", "Reason")),
)
FAILED_BY_ADDRESS = Chart(
    "audit-vis-failed-sign-ins-by-address",
    "Audit: failed sign-ins by address",
    "Where they come from.",
    searches.FAILED_SIGN_INS,
    "table",
    (("bucket", "source.ip", "Address"),),
)
CHANGES_BY_FIELD = Chart(
    "audit-vis-changes-by-field",
    "Audit: changes by field",
    "Which fields were changed, of what. An event that changed three fields counts for each.",
    searches.CHANGES,
    "table",
    (("bucket", "audit.changed", "Field"), ("bucket", "audit.target.type", "Of")),
)
EXPORTS_BY_PERSON = Chart(
    "audit-vis-exports-by-person",
    "Audit: exports by person",
    "Who took which data out.",
    searches.EXPORTS,
    "table",
    (("bucket", "user.name", "Person"), ("bucket", "event.action", "Export")),
)
CHARTS = (OVER_TIME, ACTIONS, ACTORS, FAILED_BY_ACCOUNT, FAILED_BY_ADDRESS, CHANGES_BY_FIELD, EXPORTS_BY_PERSON)

_ACTOR, _ORGANIZATION = ("user.name", "Actor"), ("organization.id", "Organization")
OVERVIEW_CONTROLS = Controls(
    "audit-vis-controls-overview",
    "Audit: filters of Overview",
    (("event.action", "Action"), _ACTOR, ("event.outcome", "Outcome"), _ORGANIZATION),
)
SIGN_IN_CONTROLS = Controls(
    "audit-vis-controls-sign-ins",
    "Audit: filters of Sign-ins",
    (("user.name", "Account"), ("source.ip", "Address"), ("event.reason", "Reason"), _ORGANIZATION),
)
CHANGE_CONTROLS = Controls(
    "audit-vis-controls-changes",
    "Audit: filters of Changes",
    (_ACTOR, ("audit.target.type", "Of"), ("audit.target.name", "Target"), ("audit.changed", "Field"), _ORGANIZATION),
)
EXPORT_CONTROLS = Controls(
    "audit-vis-controls-exports",
    "Audit: filters of Exports",
    (("user.name", "Person"), ("event.action", "Export"), _ORGANIZATION),
)
CONTROLS = (OVERVIEW_CONTROLS, SIGN_IN_CONTROLS, CHANGE_CONTROLS, EXPORT_CONTROLS)


def visualization(chart: Chart) -> SavedObject:
    """The object of a chart. Its query is that of the saved search, whose words are so in one place alone."""
    buckets = [_bucket(number, *split) for number, split in enumerate(chart.splits, start=2)]
    count = {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {"customLabel": "Events"}}
    state = {
        "title": chart.title,
        "type": chart.style,
        "aggs": [count, *buckets],
        "params": styles.PARAMS[chart.style],
    }
    reference = Reference(SEARCH_REFERENCE, "search", chart.search.id)
    attributes = _attributes(chart.title, chart.description, state, styles.UI_STATE[chart.style])
    return make("visualization", chart.id, {**attributes, "savedSearchRefName": SEARCH_REFERENCE}, [reference])


def controls(row: Controls) -> SavedObject:
    """The object of a row of controls."""
    listed = [_control(number, field, label) for number, (field, label) in enumerate(row.fields)]
    params = {"controls": listed, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}
    state = {"title": row.title, "type": "input_control_vis", "aggs": [], "params": params}
    references = [index_reference(_control_reference(number)) for number in range(len(listed))]
    return make("visualization", row.id, _attributes(row.title, "", state, {}), references)


def _attributes(title: str, description: str, state: Any, ui_state: Any) -> dict[str, Any]:
    source = {"query": {"query": "", "language": "lucene"}, "filter": []}
    return {
        "title": title,
        "description": description,
        "visState": text(state),
        "uiStateJSON": text(ui_state),
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
    }


def _bucket(number: int, schema: str, field: str, label: str) -> dict[str, Any]:
    if field == TIME_FIELD:
        kind, params = "date_histogram", _over_time()
    else:
        kind, params = "terms", _terms()
    params = {"field": field, **params, "customLabel": label}
    return {"id": str(number), "enabled": True, "type": kind, "schema": schema, "params": params}


def _over_time() -> dict[str, Any]:
    return {
        "useNormalizedOpenSearchInterval": True,
        "scaleMetricValues": False,
        "interval": "auto",
        "drop_partials": False,
        "min_doc_count": 1,
        "extended_bounds": {},
    }


def _terms() -> dict[str, Any]:
    # No "other" and no "missing" bucket: each asks OpenSearch once more, and neither names anything.
    return {
        "orderBy": "1",
        "order": "desc",
        "size": TOP,
        "otherBucket": False,
        "otherBucketLabel": "Other",
        "missingBucket": False,
        "missingBucketLabel": "Missing",
    }


def _control(number: int, field: str, label: str) -> dict[str, Any]:
    options = {"type": "terms", "multiselect": True, "dynamicOptions": True, "size": OPTIONS, "order": "desc"}
    return {
        "id": f"audit-{number}",
        "fieldName": field,
        "parent": "",
        "label": label,
        "type": "list",
        "options": options,
        "indexPatternRefName": _control_reference(number),
    }


def _control_reference(number: int) -> str:
    return f"control_{number}_index_pattern"
