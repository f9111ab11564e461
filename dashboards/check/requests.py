"""The requests that Dashboards would send to OpenSearch for an object. Pure: nothing is asked here.

After Dashboards 3.4: `buildOpenSearchQuery`, `AggConfigs.toDsl`, the terms request of a list control and Discover's own
request. Its settings are taken as they come: `query:queryString:options` analyze_wildcard, 500 rows, 50 bars.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.identity import DAY, MILLISECOND, SECOND, format_time

Body = dict[str, Any]

_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND
_UNITS = {"s": SECOND, "m": _MINUTE, "h": _HOUR, "d": DAY, "w": 7 * DAY, "M": 30 * DAY, "y": 365 * DAY}
_AGO = re.compile(r"now(?:-(\d{1,6})([smhdwMy]))?")

#: Where a bar would be wider than so many nanoseconds, it is so wide: `calcAutoIntervalNear`, the highest first.
_WIDTHS: tuple[tuple[int, str], ...] = (
    *((365 * DAY, "1y"), (21 * DAY, "1M"), (7 * DAY, "1w"), (DAY, "1d"), (6 * _HOUR, "12h"), (2 * _HOUR, "3h")),
    *((45 * _MINUTE, "1h"), (20 * _MINUTE, "30m"), (9 * _MINUTE, "10m"), (3 * _MINUTE, "5m"), (45 * SECOND, "1m")),
    *((15 * SECOND, "30s"), (7_500 * MILLISECOND, "10s"), (5 * SECOND, "5s"), (500 * MILLISECOND, "1s"), (0, "100ms")),
)
_BARS = 50
_ROWS = 500
#: `autocompleteTerminateAfter`: a list control reads so many events of a shard, and no more.
_CONTROL_READS = 100_000


@dataclass(frozen=True, slots=True)
class Period:
    """A closed range of time in nanoseconds since 1970, as a dashboard restores it."""

    since: int
    until: int

    @classmethod
    def parse(cls, since: str, until: str, now_ns: int) -> "Period":
        """Of `now-30d` and `now`. UsageError for anything else."""
        period = cls(_moment(since, now_ns), _moment(until, now_ns))
        if period.since >= period.until:
            raise UsageError(f"expected a time range that ends after it begins, got {since} to {until}")
        return period

    def clause(self, field: str) -> Body:
        """The filter that the time picker adds."""
        bounds = {"gte": format_time(self.since), "lte": format_time(self.until)}
        return {"range": {field: {**bounds, "format": "strict_date_optional_time"}}}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which events an object is about: its own query and filters, and those of whatever it stands in or reads."""

    queries: tuple[Mapping[str, Any], ...] = ()
    filters: tuple[Mapping[str, Any], ...] = ()
    period: Period | None = None
    time_field: str | None = None

    def query(self) -> Body:
        """The query of a request. UsageError for a query language other than Lucene."""
        must = [_query(query) for query in self.queries]
        must_not: list[Body] = []
        for row in self.filters:
            meta = row.get("meta", {})
            if not meta.get("disabled"):
                (must_not if meta.get("negate") else must).append(_filter(row))
        if self.period is not None and self.time_field is not None:
            must.append(self.period.clause(self.time_field))
        return {"bool": {"must": must, "filter": [], "should": [], "must_not": must_not}}


def discover(scope: Scope, sort: Sequence[Sequence[str]], dates: Iterable[str]) -> Body:
    """What Discover, or a saved search as a panel, asks for a page of events. `dates` are the pattern's date fields."""
    return {
        "size": _ROWS,
        "version": True,
        "track_total_hits": True,
        "sort": [{name: {"order": order, "unmapped_type": "boolean"}} for name, order in sort],
        "query": scope.query(),
        "highlight": {
            "pre_tags": ["@opensearch-dashboards-highlighted-field@"],
            "post_tags": ["@/opensearch-dashboards-highlighted-field@"],
            "fields": {"*": {}},
            "fragment_size": 2**31 - 1,
        },
        "_source": {"excludes": []},
        **_computed(dates),
    }


def chart(scope: Scope, aggregations: Sequence[Mapping[str, Any]], dates: Iterable[str]) -> Body:
    """What a visualization asks. UsageError for an aggregation that this does not know how to build."""
    aggs: Body = {}
    inner = aggs
    for agg in aggregations:
        if agg.get("schema") == "metric":
            if agg["type"] != "count":
                raise UsageError(f"aggregation {agg['id']}: expected count, got {agg['type']}, which is not checked")
            continue
        inner[agg["id"]] = {**_bucket(agg, scope.period), "aggs": {}}
        inner = inner[agg["id"]]["aggs"]
    return {"size": 0, "query": scope.query(), "aggs": _without_empty(aggs), **_computed(dates)}


def control(scope: Scope, field: str) -> Body:
    """What a list control asks for its choices. It does not look at the dashboard's query."""
    terms = {"field": field, "order": {"_count": "desc"}}
    query = Scope(period=scope.period, time_field=scope.time_field).query()
    return {
        "size": 0,
        "terminate_after": _CONTROL_READS,
        "query": query,
        "aggs": {"termsAgg": {"terms": terms}},
    }


def document(event_id: str, dates: Iterable[str]) -> Body:
    """What the page of a single document asks."""
    return {"query": {"ids": {"values": [event_id]}}, "_source": True, **_computed(dates)}


def interval(period: Period | None) -> Body:
    """How wide the bars of an automatic histogram are, as its request says it."""
    length = (period.until - period.since) // _BARS if period is not None else DAY
    width = next(width for above, width in _WIDTHS if length >= above)
    # A single unit goes by the calendar, several are a fixed time (`parseOpenSearchInterval`).
    fixed = width.endswith("ms") or width.endswith("s") or not width.startswith("1") or width[1].isdigit()
    return {"fixed_interval" if fixed else "calendar_interval": width}


def _bucket(agg: Mapping[str, Any], period: Period | None) -> Body:
    params = agg["params"]
    if agg["type"] == "terms":
        return {
            "terms": {
                "field": params["field"],
                "order": {"_count": params.get("order", "desc")},
                "size": params.get("size", 5),
            }
        }
    if agg["type"] == "date_histogram" and params.get("interval", "auto") == "auto":
        more = {"time_zone": "UTC", "min_doc_count": params.get("min_doc_count", 1)}
        return {"date_histogram": {"field": params["field"], **interval(period), **more}}
    raise UsageError(f"aggregation {agg['id']}: expected terms or an automatic date_histogram, got {agg['type']}")


def _without_empty(aggs: Body) -> Body:
    return {
        name: {key: _without_empty(value) if key == "aggs" else value for key, value in agg.items() if value}
        for name, agg in aggs.items()
    }


def _computed(dates: Iterable[str]) -> Body:
    """`getComputedFields`: dates in one form, and no scripts, which Dashboards says even where there are none."""
    docvalues = [{"field": name, "format": "strict_date_time"} for name in dates]
    return {"stored_fields": ["*"], "script_fields": {}, "docvalue_fields": docvalues}


def _query(query: Mapping[str, Any]) -> Body:
    if query.get("language") != "lucene" or not isinstance(query.get("query"), str):
        raise UsageError(f"query: expected Lucene (language lucene), got {query.get('language')!r}")
    if not query["query"].strip():
        return {"match_all": {}}
    return {"query_string": {"query": query["query"], "analyze_wildcard": True, "time_zone": "UTC"}}


def _filter(row: Mapping[str, Any]) -> Body:
    body = {key: value for key, value in row.items() if key not in ("meta", "$state")}
    return dict(body.get("query", body))


def _moment(text: str, now_ns: int) -> int:
    match = _AGO.fullmatch(text)
    if match is None:
        raise UsageError(f"expected a time such as now-30d, got {text!r}")
    return now_ns - (int(match[1]) * _UNITS[match[2]] if match[1] else 0)
