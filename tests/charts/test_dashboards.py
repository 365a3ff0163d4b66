"""Dashboards: Grafana's model as far as we use it, and queries that parse and name metrics that exist."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator.metrics import Fleet, Metrics
from cachefleet_server.metrics.table import FAMILIES, TABLE
from fleettest.grafana import VARIABLE, boards, filled, metrics, panels, queries
from fleettest.helm import ROOT, Promtool

# People's links and what they starred hang on these.
UIDS = {"fleet": "cachefleet-fleet", "cache": "cachefleet-cache", "operator": "cachefleet-operator"}
UNITS = {"none", "short", "ops", "reqps", "cps", "s", "bytes", "Bps", "percentunit"}  # as Grafana calls them
OF_OTHERS = {
    "up": "Prometheus",
    "container_memory_working_set_bytes": "kubelet",
    "container_spec_memory_limit_bytes": "kubelet",
    "container_cpu_cfs_periods_total": "kubelet",
    "container_cpu_cfs_throttled_periods_total": "kubelet",
    "kubelet_volume_stats_available_bytes": "kubelet",
    "kubelet_volume_stats_capacity_bytes": "kubelet",
    "kubelet_volume_stats_used_bytes": "kubelet",
}
BUILT_IN = {"__rate_interval": "5m", "__range": "3h"}
BOARDS = boards()

Json = dict[str, Any]


def of_the_server() -> set[str]:
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    labelled = {family.series + end for family in FAMILIES.values() for end in ends.get(family.kind, ("",))}
    return {row.series for row in TABLE if row.series} | labelled


def of_the_operator() -> set[str]:
    """Names as they are exposed: a counter without series yet has none, so its suffix is added here."""
    meter = Metrics()
    meter.registry.register(Fleet(list, lambda: True, lambda: 0, lambda: True))
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {family.name + end for family in meter.registry.collect() for end in ends.get(family.type, ("",))}


def rules() -> list[Json]:
    groups = yaml.safe_load((ROOT / "deploy" / "alerts" / "cachefleet.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def texts(board: Json) -> list[str]:
    """Everything in which a variable may stand."""
    found = [text for p in panels(board) for t in p["targets"] for text in (t["expr"], t["legendFormat"])]
    found += [p["datasource"]["uid"] for p in panels(board)]
    return found + [v.get("definition", "") for v in board["templating"]["list"]]


def test_there_are_three() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == UIDS
    assert len({board["title"] for board in BOARDS.values()}) == 3


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_model(board: Json) -> None:
    assert board["schemaVersion"] >= 36 and "id" not in board  # an id is Grafana's to give
    ids = [panel["id"] for panel in board["panels"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    titles = [panel["title"] for panel in panels(board)]
    assert all(titles)
    for panel in panels(board):
        assert panel["type"] in ("timeseries", "stat", "table")
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references)
        for target in panel["targets"]:
            assert target["expr"] and target["datasource"] == panel["datasource"]
            assert (target.get("format") == "table") == (panel["type"] == "table")


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_lie_on_the_grid_and_not_on_each_other(board: Json) -> None:
    places = [(p["title"], p["gridPos"]) for p in board["panels"]]
    for title, at in places:
        assert at["x"] >= 0 and at["w"] > 0 and at["h"] > 0 and at["x"] + at["w"] <= 24, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one} lies on {other}"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_variables_exist_and_are_used(board: Json) -> None:
    known = {variable["name"] for variable in board["templating"]["list"]}
    used = {name for text in texts(board) for name in VARIABLE.findall(text) if not name.isdigit()} - set(BUILT_IN)
    assert used == known
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["query"]["query"] == variable["definition"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_table_names_and_measures_its_columns(board: Json) -> None:
    for panel in panels(board):
        if panel["type"] == "table":
            organize = panel["transformations"][-1]["options"]
            columns = list(organize["renameByName"].values())
            assert list(organize["renameByName"]) == [f"Value #{target['refId']}" for target in panel["targets"]]
            *measured, linked = panel["fieldConfig"]["overrides"]
            assert [override["matcher"]["options"] for override in measured] == columns
            assert {override["properties"][0]["value"] for override in measured} <= UNITS
            (link,) = linked["properties"][0]["value"]
            target = boards()["cache"]
            assert link["url"].startswith(f"/d/{target['uid']}?")
            named = {variable["name"] for variable in target["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", link["url"])) <= named


def test_every_query_parses(promtool: Promtool, tmp_path: Path) -> None:
    values = {**BUILT_IN, "namespace": "shop", "cache": "orders"}
    records = [{"record": f"query:{i}", "expr": filled(q.expression, values)} for i, q in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
    assert f"SUCCESS: {len(records)} rules found" in promtool("check", "rules", file)
    assert len(records) > 90


def test_every_metric_exists() -> None:
    known = of_the_server() | of_the_operator() | set(OF_OTHERS)
    named = {q.name: q.expression for q in queries()} | {rule["alert"]: rule["expr"] for rule in rules()}
    unknown = {where: missing for where, expression in named.items() if (missing := metrics(expression) - known)}
    assert unknown == {}
    used = set().union(*map(metrics, named.values()))
    assert set(OF_OTHERS) <= used, "nobody needs these any more"
    assert {"redis_up", "cachefleet_operator_leader"} <= used


def test_series_of_servers_are_those_of_caches() -> None:
    """Other exporters have the same names; ours have the label `cache`."""
    ours = of_the_server()
    for query in queries():
        for name in metrics(query.expression) & ours:
            assert re.search(rf'{name}\{{namespace=~"\$namespace",cache=~"\$cache"', query.expression), query.name
    for rule in rules():
        for name in metrics(rule["expr"]) & ours:
            assert re.search(rf'{name}\{{cache!=""', rule["expr"]), rule["alert"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (a, b) (rate(x_total{c="d_e"}[5m])) / (y:z > 0)', {"x_total", "y:z"}),
        ("up and on (namespace) group_left (q) z or vector(0)", {"up", "z"}),
        ('label_replace(up{}, "a", "$1", "b", "(.+)")', {"up"}),
        ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[1h])))", {"x_bucket"}),
    ],
)
def test_metrics_of_a_query(expression: str, found: set[str]) -> None:
    assert metrics(expression) == found


def expect(
    promtool: Promtool, folder: Path, expression: str, series: dict[str, str], labels: str, value: float,
    at: str = "1h",
) -> None:  # fmt: skip
    """What a query says of series with a sample a minute."""
    found = [{"labels": labels, "value": value}]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": found}],
    }
    (file := folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", file)


# -- the service level, by Prometheus' own unit tests: an hour of one sample a minute, and the range is an hour

POD = 'namespace="shop",cache="orders",pod="orders-0"'
LATENCY = "cachefleet_command_duration_seconds"
SINCE = "cachefleet_operator_cache_condition_since_seconds"
CONDITION = f'{SINCE}{{namespace="shop",cache="orders",condition="Ready",status="%s",pod="%s"}}'
COMMANDS = f"redis_commands_processed_total{{{POD}}}"
REFUSED = f'redis_errors_total{{{POD},err="%s"}}'


def latency(cmd: str, **buckets: int) -> dict[str, str]:
    """Commands a minute; `b5` are those of at most 1.024 µs doubled five times, as the server writes it."""
    steps = {repr(1024e-9 * 2 ** int(name[1:])): n for name, n in buckets.items() if name != "all"}
    counts = {f'{LATENCY}_bucket{{{POD},cmd="{cmd}",le="{le}"}}': n for le, n in steps.items()}
    counts |= {f'{LATENCY}_bucket{{{POD},cmd="{cmd}",le="+Inf"}}': buckets["all"]}
    counts |= {f'{LATENCY}_count{{{POD},cmd="{cmd}"}}': buckets["all"]}
    return {name: f"0+{n}x60" for name, n in counts.items()}


LEVELS: list[tuple[str, dict[str, str], float]] = [
    ("Ready", {CONDITION % ("True", "o-1"): "7x60"}, 1),
    ("Ready", {CONDITION % ("False", "o-1"): "7x60"}, 0),
    ("Ready", {CONDITION % ("True", "o-1"): "7x44 _x16", CONDITION % ("False", "o-1"): "_x45 9x15"}, 0.75),
    # Two replicas of the operator tell the same.
    ("Ready", {CONDITION % ("True", p): "7x44 _x16" for p in ("o-1", "o-2")}
     | {CONDITION % ("False", p): "_x45 9x15" for p in ("o-1", "o-2")}, 0.75),
    ("Answered", {COMMANDS: "0+100x60"}, 1),
    ("Answered", {COMMANDS: "0+100x60", REFUSED % "OOM": "0+10x60", REFUSED % "LOADING": "0+10x60"}, 0.8),
    ("Answered", {COMMANDS: "0+100x60", REFUSED % "WRONGTYPE": "0+50x60"}, 1),  # the client's error
    ("Within 1 ms", latency("get", b5=90, b8=100, all=100), 1),  # nothing above: no bucket of a millisecond
    ("Within 1 ms", latency("get", b5=90, b10=99, b11=100, all=100), 0.99),
    ("Within 1 ms", latency("get", b5=90, all=90) | latency("keys", b10=0, b14=10, all=10), 0.9),
]  # fmt: skip


@pytest.mark.parametrize(("panel", "series", "share"), LEVELS)
def test_the_service_level(
    promtool: Promtool, tmp_path: Path, panel: str, series: dict[str, str], share: float
) -> None:
    (expression,) = (
        target["expr"]
        for p in panels(BOARDS["cache"])
        if p["title"] == panel and p["type"] == "stat" and p["fieldConfig"]["defaults"].get("decimals")
        for target in p["targets"]
    )
    text = filled(expression, {"namespace": "shop", "cache": "orders", "__range": "1h"})
    nearest = 0.05 if panel == "Ready" else 0.001  # versions of Prometheus differ in which end of a range counts
    expect(promtool, tmp_path, f"round({text}, {nearest})", series, "{}", share)


# -- failovers

TENURE = 'cachefleet_operator_cache_tenure{namespace="shop",cache="orders",instance="%s"}'
HANDED = 'cachefleet_operator_cache_last_handover{namespace="shop",cache="orders",instance="%s"}'


@pytest.mark.parametrize(
    ("series", "failovers", "handovers"),
    [
        ({TENURE % "a": "7x90", HANDED % "a": "0x90"}, 0, 0),
        ({TENURE % "a": "7x60 9x30", HANDED % "a": "0x90"}, 1, 0),
        ({TENURE % "a": "7x60 8x10 9x20", HANDED % "a": "5x90"}, 2, 0),
        ({TENURE % "a": "7x60 9x30", HANDED % "a": "0x60 9x30"}, 0, 1),
        ({TENURE % "a": "7x60 9x10 12x20", HANDED % "a": "5x60 9x30"}, 1, 1),
        # Two replicas of the operator tell the same, one of them a little later.
        ({TENURE % "a": "7x60 9x30", TENURE % "b": "7x61 9x29", HANDED % "a": "0x90", HANDED % "b": "0x90"}, 1, 0),
        ({TENURE % "a": "7x60 9x30", TENURE % "b": "7x61 9x29",
          HANDED % "a": "0x60 9x30", HANDED % "b": "0x61 9x29"}, 0, 1),
        # The node that had the primary had the operator, too: the next one knows only what came after.
        ({TENURE % "a": "7x60", TENURE % "b": "_x66 9x24", HANDED % "a": "5x60", HANDED % "b": "_x66 5x24"}, 1, 0),
        # More than an hour ago.
        ({TENURE % "a": "5x20 7x70", HANDED % "a": "5x90"}, 0, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("board", "panel"), [("cache", "Failovers"), ("fleet", "Caches")])
def test_failovers_are_counted_and_handovers_apart(
    promtool: Promtool, tmp_path: Path, board: str, panel: str, series: dict[str, str], failovers: int, handovers: int
) -> None:
    found = [q.expression for q in queries() if (q.board, q.panel) == (board, panel) and "_handover" in q.expression]
    expected = {True: failovers, False: handovers} if panel == "Failovers" else {True: failovers}
    assert [("tenure" in text) for text in found] == list(expected)
    for text in found:
        filled_in, count = filled(text, {"namespace": "shop", "cache": "orders"}), expected["tenure" in text]
        expect(promtool, tmp_path, filled_in, series, '{namespace="shop",cache="orders"}', count, at="90m")
