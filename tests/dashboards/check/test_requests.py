"""The requests that Dashboards would send, as its source makes them."""

from typing import Any

import pytest

from auditpipe.dashboards.check import requests
from auditpipe.dashboards.check.requests import Period, Scope
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.identity import DAY, SECOND, parse_time

NOW = parse_time("2026-11-25T12:00:00Z")
MONTH = Period.parse("now-30d", "now", NOW)
LUCENE = {"query": "event.outcome:failure", "language": "lucene"}


def test_a_scope_is_every_query_filter_and_time_around_an_object() -> None:
    hidden = {"meta": {"disabled": True}, "query": {"match_phrase": {"user.name": "x"}}}
    filters = (
        {"meta": {}, "query": {"match_phrase": {"user.name": "ada"}}},
        {"meta": {"negate": True}, "$state": {"store": "appState"}, "exists": {"field": "event.reason"}},
        hidden,
    )
    scope = Scope(({"query": " ", "language": "lucene"}, LUCENE), filters, MONTH, "@timestamp")
    time = {"gte": "2026-10-26T12:00:00.000000Z", "lte": "2026-11-25T12:00:00.000000Z"}
    assert scope.query() == {
        "bool": {
            "must": [
                {"match_all": {}},
                {"query_string": {"query": LUCENE["query"], "analyze_wildcard": True, "time_zone": "UTC"}},
                {"match_phrase": {"user.name": "ada"}},
                {"range": {"@timestamp": {**time, "format": "strict_date_optional_time"}}},
            ],
            "filter": [],
            "should": [],
            "must_not": [{"exists": {"field": "event.reason"}}],
        }
    }


@pytest.mark.parametrize("query", [{"query": "a: b", "language": "kuery"}, {"query": {"match_all": {}}}])
def test_another_language_than_lucene_is_not_guessed_at(query: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected Lucene"):
        Scope((query,)).query()


def test_buckets_lie_in_one_another_and_a_count_is_none() -> None:
    terms = {"field": "user.name", "order": "desc", "size": 20, "orderBy": "1"}
    time = {"field": "@timestamp", "interval": "auto", "min_doc_count": 1}
    aggregations = [
        {"id": "1", "type": "count", "schema": "metric", "params": {}},
        {"id": "2", "type": "date_histogram", "schema": "segment", "params": time},
        {"id": "3", "type": "terms", "schema": "group", "params": terms},
    ]
    body = requests.chart(Scope(period=MONTH, time_field="@timestamp"), aggregations, ["@timestamp"])
    histogram = {"field": "@timestamp", "fixed_interval": "12h", "time_zone": "UTC", "min_doc_count": 1}
    counted = {"terms": {"field": "user.name", "order": {"_count": "desc"}, "size": 20}}
    assert body["aggs"] == {"2": {"date_histogram": histogram, "aggs": {"3": counted}}}
    assert body["size"] == 0


@pytest.mark.parametrize(
    "agg",
    [
        {"id": "1", "type": "avg", "schema": "metric", "params": {"field": "audit.sequence"}},
        {"id": "2", "type": "filters", "schema": "segment", "params": {}},
        {"id": "2", "type": "date_histogram", "schema": "segment", "params": {"interval": "h"}},
    ],
)
def test_an_aggregation_that_is_not_known_is_not_left_out(agg: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"aggregation {agg['id']}: expected"):
        requests.chart(Scope(), [agg], [])


@pytest.mark.parametrize(
    ("length", "bars"),
    [
        (15 * 60 * SECOND, {"fixed_interval": "30s"}),
        (3600 * SECOND, {"calendar_interval": "1m"}),
        (DAY, {"fixed_interval": "30m"}),
        (7 * DAY, {"fixed_interval": "3h"}),
        (30 * DAY, {"fixed_interval": "12h"}),
        (90 * DAY, {"calendar_interval": "1d"}),
        (2 * 365 * DAY, {"calendar_interval": "1w"}),
        (SECOND, {"fixed_interval": "100ms"}),
    ],
)
def test_the_bars_are_as_wide_as_dashboards_makes_them(length: int, bars: dict[str, str]) -> None:
    """50 of them, rounded as `calcAutoIntervalNear` does; one unit goes by the calendar."""
    assert requests.interval(Period(NOW - length, NOW)) == bars


@pytest.mark.parametrize(("since", "until"), [("now", "now-1d"), ("now/d", "now"), ("2026-01-01", "now")])
def test_a_range_of_time_that_is_not_known_is_refused(since: str, until: str) -> None:
    with pytest.raises(UsageError, match="expected a time"):
        Period.parse(since, until, NOW)
