"""How each kind of chart looks: the parameters that Dashboards' own editor would save (`visConfig.defaults`)."""

from collections.abc import Mapping
from typing import Any

_SERIES = {
    "show": True,
    "type": "histogram",
    "data": {"label": "Events", "id": "1"},
    "valueAxis": "ValueAxis-1",
    "drawLinesBetweenPoints": True,
    "lineWidth": 2,
    "showCircles": True,
}


def _axes(category: str, value: str, *, mode: str, legend: bool) -> dict[str, Any]:
    """A chart with bars. `category` and `value` say at which side each axis is."""
    lying = category == "left"
    labels = {"show": True, "filter": not lying, "truncate": 200 if lying else 100, **({"rotate": 0} if lying else {})}
    return {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": category,
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": labels,
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "position": value,
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {"show": True, "rotate": 75 if lying else 0, "filter": lying, "truncate": 100},
                "title": {"text": "Events"},
            }
        ],
        "seriesParams": [{**_SERIES, "mode": mode}],
        "addTooltip": True,
        "addLegend": legend,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {} if lying else {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }


PARAMS: Mapping[str, dict[str, Any]] = {
    "histogram": _axes("bottom", "left", mode="stacked", legend=True),
    "horizontal_bar": _axes("left", "bottom", mode="normal", legend=False),
    "table": {
        "perPage": 10,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    },
}

#: What a viewer could have set by hand; here, that an outcome has one colour everywhere.
UI_STATE: Mapping[str, dict[str, Any]] = {
    "histogram": {"vis": {"colors": {"success": "#2E8540", "failure": "#BD271E", "unknown": "#69707D"}}},
    "horizontal_bar": {},
    "table": {"vis": {"params": {"sort": {"columnIndex": None, "direction": None}}}},
}
