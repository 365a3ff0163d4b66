"""Grafana's dashboard model, as far as we use it: rows of a table become panels on a grid of 24 columns.

In a query `{*}` stands for the chosen Caches: `redis_up{*}` is redis_up{namespace=~"$namespace",cache=~"$cache"}, and
`redis_db_keys{*,db="db0"}` adds to it. The label `cache` is the monitor's (resources/monitoring.py), so that other
exporters of metrics with these names stay out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "table"]

SCHEMA_VERSION = 39
COLUMNS = 24
HEIGHTS: dict[Kind, int] = {"timeseries": 8, "stat": 4, "table": 10}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = '{namespace=~"$namespace",cache=~"$cache"'
RATE = "$__rate_interval"
ONE_CACHE = "/d/cachefleet-cache?var-namespace=${__data.fields.namespace}&var-cache=${__data.fields.cache}"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Step = tuple[float | None, str]  # from this value on, this colour
GOOD_IF_ZERO: tuple[Step, ...] = ((None, "green"), (1, "red"))
BAD_IF_ZERO: tuple[Step, ...] = ((None, "red"), (1, "green"))
SHARE: tuple[Step, ...] = ((None, "green"), (0.8, "yellow"), (0.95, "red"))
LEVEL: tuple[Step, ...] = ((None, "red"), (0.99, "yellow"), (0.999, "green"))
NO_STEPS: tuple[Step, ...] = ((None, "text"),)


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str = ""  # the column's title in a table
    unit: str = ""  # of a column


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    help: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    stacked: bool = False
    max: float | None = None
    decimals: int | None = None
    steps: tuple[Step, ...] = NO_STEPS
    words: tuple[tuple[float, str], ...] = ()  # shown instead of these values


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    label: str
    query: str
    several: bool = True


def dashboard(
    uid: str, title: str, help: str, variables: Sequence[Variable], sections: Sequence[Section], refresh: str = "30s"
) -> Json:
    return {
        "uid": uid,
        "title": title,
        "description": help,
        "tags": ["cachefleet"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": refresh,
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "links": [_link()],
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), *(_variable(variable) for variable in variables)]},
        "panels": list(_layout(sections)),
    }


def _link() -> Json:
    """To the other dashboards of the fleet."""
    return {
        "type": "dashboards",
        "title": "Cachefleet",
        "tags": ["cachefleet"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _datasource() -> Json:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "current": {}}


def _variable(variable: Variable) -> Json:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATASOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "definition": variable.query,
        "refresh": 2,  # with the time range
        "sort": 1,
        "multi": variable.several,
        "includeAll": variable.several,
        **({"allValue": ".+", "current": {"text": "All", "value": "$__all"}} if variable.several else {"current": {}}),
    }


def _layout(sections: Sequence[Section]) -> Iterator[Json]:
    """Panels from left to right; a line is as high as its highest panel."""
    number, top = 0, 0
    for section in sections:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        left, height = 0, 0
        for panel in section.panels:
            if left + panel.width > COLUMNS:
                left, top, height = 0, top + height, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHTS[panel.kind]}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            left, height = left + panel.width, max(height, HEIGHTS[panel.kind])
        top += height


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": DATASOURCE,
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, LETTERS, strict=False)],
        **{"timeseries": _timeseries, "stat": _stat, "table": _table}[panel.kind](panel),
    }


def _target(panel: Panel, query: Query, letter: str) -> Json:
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expression.replace("{*", CHOSEN).replace("[*]", f"[{RATE}]"),
        "legendFormat": query.legend if panel.kind != "table" else "",
        **({"range": True} if panel.kind != "table" else {"instant": True, "format": "table"}),
    }


def _defaults(panel: Panel) -> Json:
    mapped = {str(value): {"text": text, "index": index} for index, (value, text) in enumerate(panel.words)}
    return {
        "unit": panel.unit,
        "min": 0,
        **({"max": panel.max} if panel.max is not None else {}),
        **({"decimals": panel.decimals} if panel.decimals is not None else {}),
        "mappings": [{"type": "value", "options": mapped}] if mapped else [],
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in panel.steps]},
    }


def _timeseries(panel: Panel) -> Json:
    drawn = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if panel.stacked else 8,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }
    return {
        "fieldConfig": {"defaults": {**_defaults(panel), "custom": drawn}, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "sortBy": "Max",
                       "sortDesc": True, "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }  # fmt: skip


def _stat(panel: Panel) -> Json:
    return {
        "fieldConfig": {"defaults": {**_defaults(panel), "color": {"mode": "thresholds"}}, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
            "justifyMode": "auto",
            "orientation": "auto",
        },
    }


def _table(panel: Panel) -> Json:
    """One line a set of labels, one column a query; a Cache's name leads to its dashboard."""
    titles = {f"Value #{letter}": query.legend for query, letter in zip(panel.queries, LETTERS, strict=False)}
    return {
        "fieldConfig": {
            "defaults": {**_defaults(panel), "custom": {"align": "auto", "filterable": True}},
            "overrides": [
                *(_override(query.legend, "unit", query.unit) for query in panel.queries),
                _override("cache", "links", [{"title": "This Cache", "url": ONE_CACHE}]),
            ],
        },
        "options": {"showHeader": True, "cellHeight": "sm", "sortBy": []},
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": titles}},
        ],
    }


def _override(column: str, field: str, value: Any) -> Json:
    return {"matcher": {"id": "byName", "options": column}, "properties": [{"id": field, "value": value}]}
