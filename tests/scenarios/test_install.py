"""From `helm install` to a client that writes, and what watches over it: `helm test`, a Prometheus."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.grafana import filled, queries
from fleettest.instance import free_port
from fleettest.kube import Kube
from fleettest.prometheus import Prometheus, Target
from fleettest.stage import RELEASE, ROOT, SYSTEM, Deployed, Stage, restricted_pod

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

SCRIPT = """
import os, redis
client = redis.Redis(host="orders-rw", password=os.environ["PASSWORD"], decode_responses=True)
client.set("from", "a pod")
print(client.get("from"), client.info("server")["redis_mode"])
"""


def redis_cli(host: str, password: str, *words: str) -> str:
    command = ["redis-cli", "-h", host, "-a", password, "--no-auth-warning", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def test_the_sample_becomes_ready_and_serves(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    stage.kube.kubectl("apply", "-n", stage.namespace, "-f", str(ROOT / "deploy" / "samples" / "cache.yaml"))
    stage.kube.kubectl("wait", "-n", stage.namespace, "--for=condition=Ready", "cache/orders", "--timeout=120s")
    with capsys.disabled():
        print(f"\nfrom apply to Ready: {time.monotonic() - began:.1f} s (image on the node)")
    status = stage.settled()["status"]
    assert (status["phase"], status["primary"], status["ready"]) == ("Running", "orders-0", "1/1")
    assert status["endpoint"] == f"{stage.host()}:6379"
    row = stage.kube.kubectl("get", "cache", "orders", "-n", stage.namespace)
    assert "Running" in row and "orders-0" in row, row

    password = {"secretKeyRef": {"name": "orders-auth", "key": "password"}}
    stage.kube.apply(restricted_pod(stage, "client", SCRIPT, [{"name": "PASSWORD", "valueFrom": password}]))
    stage.kube.wait_for(lambda: stage.kube.get("pod", "client", stage.namespace)["status"]["phase"] == "Succeeded")
    assert stage.kube.kubectl("logs", "client", "-n", stage.namespace) == "a pod standalone\n"

    address = stage.kube.get("service", "orders-rw", stage.namespace)["spec"]["clusterIP"]
    for host in (stage.host(), address):
        assert redis_cli(host, stage.password(), "get", "from") == "a pod"
    assert redis_cli(address, "wrong", "get", "from") == "NOAUTH Authentication required."


def test_the_namespace_takes_restricted_pods_only(stage: Stage) -> None:
    """All scenarios run under this profile; here it shows that it is enforced."""
    pod = restricted_pod(stage, "root", "", [])
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    assert 'violates PodSecurity "restricted' in stage.kube.refused(pod)


def test_helm_test_passes(kube: Kube, operator: Deployed) -> None:
    told = kube.helm("test", RELEASE, "-n", SYSTEM, "--logs", "--timeout=110s")
    assert "wrote and read a key" in told and "deleted it" in told
    assert not [c for c in kube.list("cache", SYSTEM) if "deletionTimestamp" not in c["metadata"]]


def test_a_prometheus_scrapes_operators_and_servers(stage: Stage, operator: Deployed, tmp_path: Path) -> None:
    stage.apply()
    stage.settled()
    server = stage.pod()["status"]["podIP"]
    operators = [pod["status"]["podIP"] for pod in operator.ready()]
    targets = [Target(9121, {"job": "server"}, host=server)]
    targets += [Target(8080, {"job": "operator"}, host=address, honor_labels=True) for address in operators]
    stage.fill()
    with Prometheus(tmp_path, targets) as prometheus:
        wanted = {
            'count(up{job="operator"} == 1)': 2,
            "sum(cachefleet_operator_leader)": 1,
            'max(cachefleet_operator_cache_condition_since_seconds{condition="Ready",status="True"}) > bool 0': 1,
            'sum(cachefleet_operator_reconcile_total{result="acted"}) > bool 0': 1,
            "cachefleet_ready": 1,
            "sum(redis_db_keys)": 500,
            'redis_commands_total{cmd="set"}': 500,
        }
        for query, value in wanted.items():
            _gives(stage, prometheus, query, value)


def test_what_the_kubelet_says_of_containers_and_volumes_is_shown(stage: Stage, tmp_path: Path) -> None:
    """The queries of the dashboards that tests without nodes must excuse."""
    stage.apply(resources={"limits": {"cpu": "200m"}})
    stage.settled()
    stage.fill()
    pod = stage.pod()
    labels = {"namespace": stage.namespace, "pod": "orders-0", "container": "server", "cache": "orders"}
    about_containers = [query for query in queries() if re.search(r"\b(container_|kubelet_)\w+", query.expression)]
    assert len(about_containers) >= 4
    chosen = {"namespace": stage.namespace, "cache": "orders", "__rate_interval": "20s"}
    with proxy(stage.kube) as port:
        node = f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/metrics"
        targets = [Target(9121, labels, host=pod["status"]["podIP"])]
        targets += [Target(port, {"job": "kubelet"}, path) for path in (node, f"{node}/cadvisor")]
        with Prometheus(tmp_path, targets) as prometheus:
            for query in about_containers:
                expression = filled(query.expression, chosen)
                stage.kube.wait_for(lambda e=expression: prometheus.query(e), lambda q=query: f"no data: {q.name}")


@contextlib.contextmanager
def proxy(kube: Kube) -> Iterator[int]:
    """A port of this machine on which the API server asks for no credentials."""
    port = free_port()
    command = ["kubectl", f"--kubeconfig={kube.kubeconfig}", "proxy", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def _gives(stage: Stage, prometheus: Prometheus, query: str, value: int) -> None:
    def values() -> list[float]:
        return [float(sample["value"][1]) for sample in prometheus.query(query)]

    stage.kube.wait_for(lambda: values() == [value], lambda: f"{query} gives {values()} and not {value}")
