"""Whether each object works on a cluster: its requests are sent as Dashboards would send them, and find something.

For every dashboard, each of its panels in the dashboard's own range of time; then the searches and queries that stand
alone, over all time.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.dashboards.check import inner, requests
from auditpipe.dashboards.check.problem import Problem
from auditpipe.dashboards.check.requests import Period, Scope
from auditpipe.dashboards.objects.saved import SavedObject
from auditpipe.pipeline.client import edge
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.schemas.errors import UsageError


class Run:
    """The objects of a file on one cluster. Of objects that `form` and `mapped` found nothing wrong with."""

    def __init__(self, client: OpenSearch, objects: Sequence[SavedObject], now_ns: int) -> None:
        self._client = client
        self._objects = objects
        self._by_name = {one.name: one for one in objects}
        self._now_ns = now_ns

    def problems(self) -> Iterator[Problem]:
        """What is broken, and what would show nothing. OutOfReach, NotAllowed."""
        for one in self._objects:
            yield from self._of(one)

    def _of(self, one: SavedObject) -> Iterator[Problem]:
        if one.type == "index-pattern":
            yield from self._pattern(one)
        elif one.type == "dashboard":
            yield from self._dashboard(one)
        elif one.type == "query":
            yield from self._tried(one, partial(self._query, one))
        elif one.type == "search" or one.name not in self._shown:
            yield from self._panel(one, Scope())

    @cached_property
    def _shown(self) -> set[str]:
        """Which visualizations a dashboard shows: they are tried there."""
        boards = [one for one in self._objects if one.type == "dashboard"]
        return {f"{r.type}/{r.id}" for board in boards for r in board.references}

    def _dashboard(self, board: SavedObject) -> Iterator[Problem]:
        try:
            around = self._around(board)
        except UsageError as error:
            yield Problem(board.name, str(error))
            return
        for panel in inner.panels(board):
            shown = self._by_name[str(inner.target(board, panel["panelRefName"]))]
            for problem in self._panel(shown, around):
                yield replace(problem, object=board.name, sentence=f"panel {problem}")

    def _around(self, board: SavedObject) -> Scope:
        source, period = inner.source(board), None
        if board.attributes.get("timeRestore"):
            period = Period.parse(board.attributes["timeFrom"], board.attributes["timeTo"], self._now_ns)
        return Scope((source["query"],), tuple(source.get("filter", [])), period)

    def _panel(self, one: SavedObject, around: Scope) -> Iterator[Problem]:
        if one.type == "search":
            yield from self._tried(one, partial(self._search, one, around))
            return
        if inner.aggregations(one):
            yield from self._tried(one, partial(self._chart, one, around))
        for row in inner.controls(one):
            for problem in self._tried(one, partial(self._control, one, row, around)):
                yield replace(problem, sentence=f"control {row['label']!r}: {problem.sentence}")

    def _tried(self, one: SavedObject, ask: Callable[[], int]) -> Iterator[Problem]:
        try:
            found = ask()
        except UsageError as error:  # what only the request can cause; an outage or a missing role goes up
            yield Problem(one.name, f"broken: {error}")
            return
        if not found:
            yield Problem(one.name, "would be empty: expected at least one event that it shows", empty=True)

    def _search(self, one: SavedObject, around: Scope) -> int:
        pattern, scope = self._within(one, around)
        body = requests.discover(scope, one.attributes["sort"], _dates(pattern))
        return int(self._ask(pattern, body)["hits"]["total"]["value"])

    def _chart(self, one: SavedObject, around: Scope) -> int:
        pattern, scope = self._within(one, around)
        body = requests.chart(scope, inner.aggregations(one), _dates(pattern))
        answer = self._ask(pattern, body)
        if not body["aggs"]:
            return int(answer["hits"]["total"]["value"])
        return _leaves(answer["aggregations"])

    def _control(self, one: SavedObject, row: Mapping[str, Any], around: Scope) -> int:
        pattern = self._by_name[str(inner.target(one, row["indexPatternRefName"]))]
        body = requests.control(_timed(around, pattern), row["fieldName"])
        return len(self._ask(pattern, body)["aggregations"]["termsAgg"]["buckets"])

    def _query(self, one: SavedObject) -> int:
        """A saved query names no pattern: it is for whichever is looked at, and has to find something in one."""
        query = Scope((one.attributes["query"],), tuple(one.attributes.get("filters", ()))).query()
        body = {"size": 0, "track_total_hits": True, "query": query}
        patterns = [other for other in self._objects if other.type == "index-pattern"]
        return sum(int(self._ask(pattern, body)["hits"]["total"]["value"]) for pattern in patterns)

    def _within(self, one: SavedObject, around: Scope) -> tuple[SavedObject, Scope]:
        """The index pattern that it reads, and which events of it: its own query in those of what is around it."""
        source = inner.source(one)
        mine = replace(
            around,
            queries=(*around.queries, source["query"]),
            filters=(*around.filters, *source.get("filter", [])),
        )
        if name := one.attributes.get("savedSearchRefName"):
            return self._within(self._by_name[str(inner.target(one, name))], mine)
        pattern = self._by_name[str(inner.target(one, source["indexRefName"]))]
        return pattern, _timed(mine, pattern)

    def _pattern(self, one: SavedObject) -> Iterator[Problem]:
        """Its fields, as the indices have them: one month that can't do what others can makes a conflict."""
        with edge():
            answer = self._client.field_caps(index=one.attributes["title"], params={"fields": "*"})
        for entry in _own_fields(one):
            there = list(answer["fields"].get(entry["name"], {}).values())
            if not there:
                yield Problem(one.name, f"no index that you may see has the field {entry['name']!r}")
            for able in ("searchable", "aggregatable"):
                if entry[able] and not all(kind[able] for kind in there):
                    yield Problem(one.name, f"{entry['name']!r} is not {able} in every index")
        for name, template in _links(one).items():
            yield from self._link(one, name, template)

    def _link(self, one: SavedObject, name: str, template: str) -> Iterator[Problem]:
        """The page of a single document, asked for the newest event."""
        by_time = [{one.attributes["timeFieldName"]: "desc"}]
        newest = self._ask(one, {"size": 1, "query": {"match_all": {}}, "sort": by_time})["hits"]["hits"]
        if not newest:
            yield Problem(one.name, "would be empty: expected at least one event", empty=True)
            return
        index = template.partition("#/doc/")[2].partition("?id=")[0].partition("/")[2]
        body = requests.document(_value(newest[0]["_source"], name), _dates(one))
        if not ask_all_shards(self._client, body, index=index)["hits"]["hits"]:
            yield Problem(one.name, f"fieldFormatMap: {name!r}: its link finds no document")

    def _ask(self, pattern: SavedObject, body: Mapping[str, Any]) -> dict[str, Any]:
        return ask_all_shards(self._client, body, index=pattern.attributes["title"])


def _timed(scope: Scope, pattern: SavedObject) -> Scope:
    return replace(scope, time_field=pattern.attributes["timeFieldName"])


def _own_fields(pattern: SavedObject) -> Iterator[Mapping[str, Any]]:
    """Those that the indices have, without what every document has of itself."""
    for entry in json.loads(pattern.attributes["fields"]):
        if not entry["name"].startswith("_"):
            yield entry


def _links(pattern: SavedObject) -> dict[str, str]:
    """The fields that are shown as a link to the page of a single document, and the template of it."""
    formats = json.loads(pattern.attributes.get("fieldFormatMap", "{}"))
    templates = {name: str(shown.get("params", {}).get("urlTemplate", "")) for name, shown in formats.items()}
    return {name: template for name, template in templates.items() if "#/doc/" in template}


def _dates(pattern: SavedObject) -> list[str]:
    return [entry["name"] for entry in json.loads(pattern.attributes["fields"]) if entry["type"] == "date"]


def _leaves(aggregations: Mapping[str, Any]) -> int:
    """How many innermost buckets there are: what is drawn."""
    count = 0
    for result in aggregations.values():
        for bucket in result["buckets"]:
            deeper = {key: value for key, value in bucket.items() if isinstance(value, dict)}
            count += _leaves(deeper) if deeper else 1
    return count


def _value(document: Mapping[str, Any], name: str) -> str:
    value: Any = document
    for key in name.split("."):
        value = value.get(key, {}) if isinstance(value, Mapping) else ""
    return str(value)
