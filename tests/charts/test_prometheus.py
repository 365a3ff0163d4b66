"""A real Prometheus scrapes a real server and the operator's metrics: every query of every dashboard has data, every
alert is evaluated, none is raised by a healthy fleet, and some are by real trouble.

Labels are those that the monitors give. The operator here is its registry and its HTTP port, without a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cachefleet_operator.api.objects import Key, Site
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import API_VERSION
from cachefleet_operator.handlers import http
from cachefleet_operator.metrics import Fleet, Metrics
from cachefleet_operator.planning.actions import Delete
from cachefleet_operator.planning.moments import stamp
from cachefleet_operator.resources.monitoring import monitor
from fleettest.client import Connection, Error
from fleettest.grafana import PanelQuery, boards, filled, queries
from fleettest.helm import ROOT
from fleettest.instance import Instance, Option, free_port
from fleettest.prometheus import Prometheus, Target
from fleettest.replicas import assert_follows
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.slow("scrapes and rules have their intervals")]

CACHE = {"apiVersion": API_VERSION, "kind": "Cache", "metadata": {"name": "orders", "namespace": "shop"}}
CHOSEN = {
    "fleet": {"namespace": ".+", "cache": ".+"},
    "cache": {"namespace": "shop", "cache": "orders"},
    "operator": {"namespace": ".+"},
}
DEADLINE_S, PAUSE_S = 40.0, 0.3

# What has no data here -> why. A part of the query.
EMPTY = {
    "container_memory_working_set_bytes": "the kubelet's",
    "container_spec_memory_limit_bytes": "the kubelet's",
    "container_cpu_cfs": "the kubelet's",
    "kubelet_volume_stats": "the kubelet's",
    'condition="Degraded",status="True"': "nothing is degraded",
    'condition="ConfigApplied",status="False"': "every parameter is applied",
    'condition="Ready",status!="True"': "every Cache is ready",
    'condition="Progressing",status="True"': "nothing is changed",
    'condition="PrimaryHealthy",status="False"': "the Cache has its primary",
    'condition="ReplicationHealthy",status="False"': "its replica has what the primary has",
    "max by (namespace, cache) (cachefleet_disk_write_failed": "shown only while a disk fails",
    "resets(redis_uptime_in_seconds": "shown only after restarts",
    "sum by (namespace, cache) (rate(redis_rejected_connections_total": "the fleet shows only Caches that refuse some",
    "redis_latency_spike_duration_seconds": "nothing was slow enough for LATENCY",
}
NEVER_EMPTY = "vector(0)"


@dataclass
class Stage:
    server: Instance
    prometheus: Prometheus


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("prometheus")
    port, of_replica = free_port(), free_port()
    options: dict[str, Option] = {
        "appendonly": "yes", "save": "3600 1", "maxmemory": "64mb", "metrics-port": port,
        "slowlog-log-slower-than": 0, "metrics-bind": "127.0.0.1", "enable-debug-command": "yes",
        "metrics-streams": "jobs",
    }  # fmt: skip
    rules = [ROOT / "deploy" / "alerts" / "cachefleet.yaml"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Instance(options=options, directory=folder / "server"))
        following = {**options, "replicaof": server.address, "metrics-port": of_replica}
        replica = stack.enter_context(Instance(options=following, directory=folder / "replica"))
        operator = stack.enter_context(Operator())
        for command in ("BGSAVE", "BGREWRITEAOF"):
            server.call(command)
        server.call("XGROUP", "CREATE", "jobs", "work", 0, "MKSTREAM")
        labels = {"namespace": "system", "pod": "o-1", "container": "operator"}
        operators = Target(operator.port, labels, honor_labels=True)
        targets = [_target(port), _target(of_replica, "orders-1"), operators]
        assert_follows(server, replica)
        with Prometheus(folder, targets, rules) as prometheus, Traffic(server):
            yield Stage(server, prometheus)


def _target(port: int, pod: str = "orders-0") -> Target:
    """With the labels that the Prometheus Operator gives for a PodMonitor, and ours."""
    made = monitor(parse(CACHE), Site("image", "1", kinds=frozenset({"PodMonitor"})))
    assert made is not None
    (endpoint,) = made["spec"]["podMetricsEndpoints"]
    labels = {"namespace": "shop", "pod": pod, "container": "server", "endpoint": endpoint["port"]}
    for rule in endpoint["relabelings"]:
        labels[rule["targetLabel"]] = rule["replacement"]
    return Target(port, labels, endpoint["path"])


class Repeated:
    """Calls `once` again and again, in a thread, until the block is left."""

    PAUSE_S = 0.05

    def __enter__(self) -> Any:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.PAUSE_S):
            self.once()

    def once(self) -> None:
        raise NotImplementedError


class Traffic(Repeated):
    """Clients: hits and misses, pipelines, keys that expire, errors, a command that is refused before it runs."""

    def __init__(self, server: Instance) -> None:
        self._server = server
        self._numbers = itertools.count()

    def once(self) -> None:
        # A test may have stopped it, or let nobody in.
        with contextlib.suppress(OSError, EOFError):
            with self._server.connect() as connection:
                key = f"k{next(self._numbers) % 1000}"
                for words in (
                    *(("SET", key, "v" * 100), ("GET", key), ("GET", "none"), ("SET", "soon", "v", "PX", "10")),
                    *(("INCR", key), ("GET",), ("NOSUCH",)),
                ):
                    connection.call(*words)


class Operator(Repeated):
    """The operator's metrics on their port, and somebody who looks after one healthy Cache."""

    def __init__(self) -> None:
        self._meter = Metrics()
        conditions = [("Ready", "True", "Serving"), ("Progressing", "False", "UpToDate")]
        conditions += [("Degraded", "False", "AsExpected"), ("ConfigApplied", "True", "Applied")]
        conditions += [("PrimaryHealthy", "True", "Reigning"), ("ReplicationHealthy", "True", "InSync")]
        status = {
            "topology": {"tenure": 1, "primary": {"pod": "orders-0"}},
            "conditions": [
                {"type": kind, "status": state, "reason": reason, "lastTransitionTime": stamp(0)}
                for kind, state, reason in conditions
            ],
        }
        fleet = Fleet(lambda: [{**CACHE, "status": status}], lambda: True, lambda: 0, lambda: True)
        self._meter.registry.register(fleet)
        self.port = free_port()

    def __enter__(self) -> Operator:
        self._loop = asyncio.new_event_loop()
        app = http.application(self._meter.registry, lambda: "", lambda: "")
        self._runner = self._loop.run_until_complete(http.serve(app, "127.0.0.1", self.port))
        self._serving = threading.Thread(target=self._loop.run_forever)
        self._serving.start()
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._serving.join()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    def once(self) -> None:
        for _ in range(20):
            self._meter.reconciled("unchanged", 0.004)
            self._meter.requested("get", "Secret", 200)
        self._meter.reconciled("conflict", 0.02)
        self._meter.requested("patch", "StatefulSet", 409)
        self._meter.acted(Delete("a test", Key("Pod", "orders-0"), "uid"))


# -- dashboards


def samples(stage: Stage, query: PanelQuery) -> list[dict[str, Any]]:
    values = {**CHOSEN[query.board], "__rate_interval": "10s", "__range": "30s"}
    return stage.prometheus.query(filled(query.expression, values))


def excuse(query: PanelQuery) -> str:
    if NEVER_EMPTY in query.expression:
        return ""
    return next((why for part, why in EMPTY.items() if part in query.expression), "")


@pytest.mark.parametrize("board", CHOSEN)
def test_every_query_has_data(stage: Stage, board: str) -> None:
    wanted = [query for query in queries() if query.board == board and not excuse(query)]
    waiting = dict(enumerate(wanted))

    def all_have() -> bool:
        for number, query in list(waiting.items()):
            if found := samples(stage, query):
                labels = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
                assert labels <= set(found[0]["metric"]), f"{query.name}: the legend names labels that it has not"
                del waiting[number]
        return not waiting

    assert_eventually(
        all_have, lambda: f"no data for {[q.name for q in waiting.values()]}", deadline_s=DEADLINE_S, pause_s=PAUSE_S
    )


def test_what_is_excused_is_valid_and_empty(stage: Stage) -> None:
    """An excuse that is not needed any more hides a query that could be tested."""
    excused = [query for query in queries() if excuse(query)]
    full = [query.name for query in excused if samples(stage, query)]
    assert full == []
    unused = [part for part in EMPTY if not any(part in query.expression for query in excused)]
    assert unused == []


@pytest.mark.parametrize("board", CHOSEN)
def test_variables_have_values(stage: Stage, board: str) -> None:
    expected = {"namespace": "system" if board == "operator" else "shop", "cache": "orders"}
    for variable in boards()[board]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert found, variable
        selector = filled(found[1], CHOSEN[board])
        values = assert_eventually(
            lambda s=selector, label=found[2]: stage.prometheus.label_values(label, s),  # type: ignore[misc]
            deadline_s=DEADLINE_S,
        )
        assert values == [expected[variable["name"]]]


# -- alerts


def test_every_alert_is_evaluated_and_a_healthy_fleet_raises_none(stage: Stage) -> None:
    evaluated = assert_eventually(
        lambda: [rule for rule in stage.prometheus.alerts().values() if rule["lastEvaluation"] > "1"],
        deadline_s=DEADLINE_S,
    )
    assert len(evaluated) == len(stage.prometheus.alerts()) > 20
    assert {rule["name"]: rule["lastError"] for rule in evaluated if rule.get("lastError")} == {}
    assert {rule["health"] for rule in evaluated} == {"ok"}
    raised = {rule["name"]: rule["alerts"] for rule in evaluated if rule["state"] != "inactive"}
    if raised.get("CachefleetLatencyHigh", [{}])[0].get("state") == "pending":
        del raised["CachefleetLatencyHigh"]  # a tick waited for a core that other tests had
    assert raised == {}


# What breaks the server; the connections that must stay open for that.
Trouble = Callable[[Instance], list[Connection]]


def full_memory(server: Instance) -> list[Connection]:
    used = int(server.info("memory")["used_memory"])
    server.call("CONFIG", "SET", "maxmemory", used + 100_000)
    connection = server.connect()
    replies = (connection.call("SET", f"full{number}", "v" * 10_000) for number in range(100))
    assert any(isinstance(reply, Error) for reply in replies), "it never said OOM"
    return [connection]


def failing_snapshot(server: Instance) -> list[Connection]:
    """A folder is where the file should be."""
    file = server.directory / "dump.rdb"
    file.unlink(missing_ok=True)
    (file / "x").mkdir(parents=True)
    server.call("BGSAVE")
    return []


def many_clients(server: Instance) -> list[Connection]:
    """Until some are refused: one alone is no trouble."""
    server.call("CONFIG", "SET", "maxclients", 20)
    kept, refused = [], 0
    while refused < 20:
        kept.append(server.connect())
        with contextlib.suppress(OSError, EOFError):
            refused += "max number of clients" in str(kept[-1].call("PING"))
        assert len(kept) < 200, "they were all let in"
    return kept


def killed(server: Instance) -> list[Connection]:
    server.kill()
    return []


# In this order: the server is gone after the last.
TROUBLES: tuple[tuple[Trouble, tuple[str, ...]], ...] = (
    (full_memory, ("CachefleetMemoryNearlyFull", "CachefleetWritesRefused")),
    (failing_snapshot, ("CachefleetSnapshotFailing",)),
    (many_clients, ("CachefleetConnectionsNearLimit", "CachefleetConnectionsRefused")),
    (killed, ("CachefleetServerDown",)),
)


@pytest.mark.parametrize(("trouble", "alerts"), TROUBLES, ids=[trouble.__name__ for trouble, _ in TROUBLES])
def test_trouble_is_noticed(stage: Stage, trouble: Trouble, alerts: tuple[str, ...]) -> None:
    """Pending, at least: their patience is tested by promtool."""
    before = stage.prometheus.alerts()
    assert [name for name in alerts if before[name]["state"] != "inactive"] == []

    def noticed() -> bool:
        return all(stage.prometheus.alerts()[name]["state"] in ("pending", "firing") for name in alerts)

    with contextlib.ExitStack() as kept:
        for connection in trouble(stage.server):
            kept.enter_context(connection)
        assert_eventually(noticed, lambda: f"{alerts}", deadline_s=DEADLINE_S, pause_s=PAUSE_S)
