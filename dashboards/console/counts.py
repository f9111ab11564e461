"""What is in a list: counts by action and outcome, a histogram over time, and suggestions for the form.

Never a `global` aggregation: OpenSearch does not apply an organization's limit to one (docs/access-roles.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.identity import MILLISECOND, SECOND, format_time

_BARS = 60
_ACTIONS = 8
_SUGGESTED = 40
_LONGEST_SUGGESTION = 100
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
#: Seconds that a bar may stand for.
_INTERVALS = (
    *(1, 5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY, 3_650 * _DAY),
)

#: Asked together with a page of the list.
AGGREGATIONS: Mapping[str, Any] = {
    "actions": {"terms": {"field": "event.action", "size": _ACTIONS}},
    "outcomes": {"terms": {"field": "event.outcome", "size": 3}},
    "oldest": {"min": {"field": "@timestamp"}},
    "newest": {"max": {"field": "@timestamp"}},
}

_SUGGESTIONS: Mapping[str, Any] = {
    "action": {"terms": {"field": "event.action", "size": 200, "order": {"_key": "asc"}}},
    "actor": {"terms": {"field": "user.name", "size": _SUGGESTED}},
    "target": {
        "terms": {"field": "audit.target.type", "size": 20},
        "aggs": {"id": {"terms": {"field": "audit.target.id", "size": 10}}},
    },
}


@dataclass(frozen=True, slots=True)
class Counts:
    """(value, number) by action and by outcome, most first; how many are of other actions."""

    actions: list[tuple[str, int]]
    other_actions: int
    outcomes: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the histogram: [since, until) in RFC 3339, how many, and how many of them failed."""

    since: str
    until: str
    count: int
    failures: int


def counts(answer: Mapping[str, Any]) -> Counts:
    """From the aggregations of an answer."""
    actions, outcomes = answer.get("actions", {}), answer.get("outcomes", {})
    return Counts(_terms(actions), actions.get("sum_other_doc_count", 0), _terms(outcomes))


def histogram(client: OpenSearch, filters: Filters, answer: Mapping[str, Any]) -> list[Bar]:
    """At most 60 bars over the time in which there are events, which the first answer has told.

    Not `auto_date_histogram`: with a shard for each month it made one bar, of a year, of an hour's events.
    """
    oldest, newest = (answer.get(name, {}).get("value") for name in ("oldest", "newest"))
    if oldest is None or newest is None:
        return []
    seconds = interval(int(oldest), int(newest))
    found = ask_all_shards(client, times_body(filters, seconds))
    return [_bar(bucket, seconds) for bucket in found["aggregations"]["times"]["buckets"]]


def times_body(filters: Filters, seconds: int) -> dict[str, Any]:
    """The search behind the histogram, of bars of so many seconds."""
    times = {
        "date_histogram": {"field": "@timestamp", "fixed_interval": f"{seconds}s", "min_doc_count": 0},
        "aggs": {"failures": {"filter": {"term": {"event.outcome": "failure"}}}},
    }
    return {"query": filters.query(), "size": 0, "aggs": {"times": times}}


def suggestions_body() -> dict[str, Any]:
    """The search behind the suggestions."""
    return {"query": Filters().query(), "size": 0, "aggs": dict(_SUGGESTIONS)}


def interval(oldest_ms: int, newest_ms: int) -> int:
    """Seconds of a bar, so that there are at most 60 from the one moment to the other (milliseconds since 1970)."""
    span = (newest_ms - oldest_ms) / 1_000
    return next((seconds for seconds in _INTERVALS if span / seconds < _BARS - 1), _INTERVALS[-1])


def suggestions(client: OpenSearch) -> dict[str, list[str]]:
    """Values that occur, by field of the form. OutOfReach, NotAllowed."""
    answer = ask_all_shards(client, suggestions_body())
    found = answer.get("aggregations", {})
    targets = found.get("target", {}).get("buckets", [])
    values = {
        "action": [value for value, _ in _terms(found.get("action", {}))],
        "actor": [value for value, _ in _terms(found.get("actor", {}))],
        "target": [value for kind in targets for value in _with_ids(kind)],
    }
    return {name: list(filter(_can_be_typed, listed)) for name, listed in values.items()}


def _bar(bucket: Mapping[str, Any], seconds: int) -> Bar:
    start = int(bucket["key"]) * MILLISECOND
    end = format_time(start + seconds * SECOND)
    return Bar(format_time(start), end, bucket["doc_count"], bucket["failures"]["doc_count"])


def _can_be_typed(value: str) -> bool:
    """A suggestion is the value itself, so that none is made of what only an escape would show."""
    return len(value) <= _LONGEST_SUGGESTION and printable(value) == value


def _with_ids(bucket: Mapping[str, Any]) -> list[str]:
    kind = str(bucket["key"])
    return [kind, *(f"{kind}:{value}" for value, _ in _terms(bucket["id"]))]


def _terms(aggregation: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(str(bucket["key"]), bucket["doc_count"]) for bucket in aggregation.get("buckets", [])]
