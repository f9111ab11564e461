"""The dashboards: which panels, and where on a grid 48 columns wide."""

from dataclasses import dataclass
from typing import Any

from auditpipe.dashboards.objects import charts, searches
from auditpipe.dashboards.objects.saved import Reference, SavedObject, make, text

#: Of a panel. Dashboards rearranges panels of a version below 7.3, and takes its own 3.4 for one.
_PANEL_VERSION = "7.10.0"
_WIDTH = 48
_CONTROLS_HEIGHT, _CHART_HEIGHT, _LIST_HEIGHT = 7, 15, 22


@dataclass(frozen=True, slots=True)
class Board:
    """Filter controls on top, then rows of charts that share the width, a list of events last."""

    id: str
    title: str
    description: str
    controls: charts.Controls
    rows: tuple[tuple[charts.Chart, ...], ...]
    events: searches.Search


BOARDS = (
    Board(
        "audit-dashboard-overview",
        "Audit: Overview",
        "What happened, by whom, and what was refused.",
        charts.OVERVIEW_CONTROLS,
        ((charts.OVER_TIME,), (charts.ACTIONS, charts.ACTORS)),
        searches.ALL,
    ),
    Board(
        "audit-dashboard-sign-ins",
        "Audit: Sign-ins",
        "Failed sign-ins: whose account, from where, and why.",
        charts.SIGN_IN_CONTROLS,
        ((charts.FAILED_BY_ACCOUNT, charts.FAILED_BY_ADDRESS),),
        searches.FAILED_SIGN_INS,
    ),
    Board(
        "audit-dashboard-changes",
        "Audit: Changes",
        "What was changed of users, teams and roles, with before and after.",
        charts.CHANGE_CONTROLS,
        ((charts.CHANGES_BY_FIELD,),),
        searches.CHANGES,
    ),
    Board(
        "audit-dashboard-exports",
        "Audit: Exports",
        "Who took which data out.",
        charts.EXPORT_CONTROLS,
        ((charts.EXPORTS_BY_PERSON,),),
        searches.EXPORTS,
    ),
)


def dashboard(board: Board) -> SavedObject:
    """The object of a dashboard."""
    placed = _placed(board)
    panels = [_panel(number, place) for number, (_, _, place) in enumerate(placed)]
    references = [Reference(f"panel_{number}", kind, name) for number, (kind, name, _) in enumerate(placed)]
    attributes = {
        "title": board.title,
        "description": board.description,
        "hits": 0,
        "panelsJSON": text(panels),
        "optionsJSON": text({"hidePanelTitles": False, "useMargins": True}),
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-30d",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": text({"query": {"query": "", "language": "lucene"}, "filter": []})
        },
    }
    return make("dashboard", board.id, attributes, references)


def _placed(board: Board) -> list[tuple[str, str, dict[str, int]]]:
    """(type, id, place) of each panel, from the top."""
    rows: list[tuple[int, list[tuple[str, str]]]] = [(_CONTROLS_HEIGHT, [("visualization", board.controls.id)])]
    rows += [(_CHART_HEIGHT, [("visualization", chart.id) for chart in row]) for row in board.rows]
    rows += [(_LIST_HEIGHT, [("search", board.events.id)])]
    placed, y = [], 0
    for height, row in rows:
        width = _WIDTH // len(row)
        for column, (kind, name) in enumerate(row):
            placed.append((kind, name, {"x": column * width, "y": y, "w": width, "h": height}))
        y += height
    return placed


def _panel(number: int, place: dict[str, int]) -> dict[str, Any]:
    index = str(number + 1)
    return {
        "version": _PANEL_VERSION,
        "gridData": {**place, "i": index},
        "panelIndex": index,
        "embeddableConfig": {},
        "panelRefName": f"panel_{number}",
    }
