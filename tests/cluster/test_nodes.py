"""Tier 2 does what scenarios rely on: pods, names, volumes, limits and each fault. Runs inside `cluster.py`.

`make test` leaves it out: it takes more than two minutes, half of them until Kubernetes gives up a node, and tests the
test cluster alone. Scenarios run on that cluster, so a part of it that they need and that is broken breaks them. Run
`make cluster` after changes in tests/cluster.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

import faults
import images
import pytest
from network import node_namespace
from node import Node
from sandbox import run

from fleettest.kube import Kube, KubeError

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

DEADLINE_S = 120.0
SERVE = "echo serving as $(id -u) in group $(id -G); exec python3 -m http.server --directory /data 8000"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def claim_template(storage_class: str, size: str) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": size}},
    }
    return {"metadata": {"name": "data"}, "spec": spec}


def web(namespace: str, *, replicas: int = 1, storage_class: str = "local", size: str = "8Mi") -> list[dict[str, Any]]:
    """A web server per pod that serves its volume, under the rules that the restricted Pod Security profile has."""
    labels = {"app": "web"}
    meta = {"name": "web", "namespace": namespace}
    container = {
        "name": "web",
        "image": images.base_name(),
        "command": ["sh", "-c", SERVE],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
    }
    user = {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 2000}
    pod = {"containers": [container], "securityContext": user, "terminationGracePeriodSeconds": 1}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    pod["topologySpreadConstraints"] = [{**spread, "labelSelector": {"matchLabels": labels}}]
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]}
    stateful_set = {
        "replicas": replicas,
        "serviceName": "web",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "volumeClaimTemplates": [claim_template(storage_class, size)],
    }
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": stateful_set},
    ]


def ready(kube: Kube, namespace: str, pod: str = "web-0") -> dict[str, Any]:
    """The pod, when it is Ready."""

    def condition() -> dict[str, Any] | None:
        found = kube.get("pod", pod, namespace)
        conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", [])}
        return found if conditions.get("Ready") == "True" else None

    return kube.wait_for(condition, lambda: kube.kubectl("describe", "pod", pod, "-n", namespace), DEADLINE_S) or {}


def node_status(kube: Kube, node: str) -> str:
    conditions = kube.get("node", node)["status"]["conditions"]
    return str(next(c["status"] for c in conditions if c["type"] == "Ready"))


def execute(kube: Kube, namespace: str, pod: str, script: str) -> str:
    return kube.kubectl("exec", "-n", namespace, pod, "--", "sh", "-c", script)


def fetch(url: str) -> str:
    """A shell's line, for a pod."""
    return f"python3 -c \"import urllib.request as u; print(u.urlopen('http://{url}').read())\""


@pytest.fixture
def nodes(kube: Kube) -> Iterator[dict[str, Node]]:
    """The nodes; after the test all are Ready again, or it failed."""
    yield faults.nodes()
    kube.wait_for(lambda: all(node_status(kube, name) == "True" for name in faults.nodes()), deadline_s=DEADLINE_S)


def test_all_nodes_are_ready(kube: Kube, nodes: dict[str, Node]) -> None:
    assert sorted(node["metadata"]["name"] for node in kube.list("node")) == sorted(nodes)
    assert [node_status(kube, name) for name in nodes] == ["True"] * len(nodes)


def test_pods_run_are_found_by_name_and_keep_their_data(kube: Kube, namespace: str) -> None:
    kube.apply(web(namespace, replicas=2))
    pods = [ready(kube, namespace, f"web-{index}") for index in range(2)]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    for index in range(2):
        execute(kube, namespace, f"web-{index}", f"echo page of {index} >/data/page")
    assert "page of 1" in execute(kube, namespace, "web-0", fetch(f"web-1.web.{namespace}.svc.cluster.local:8000/page"))
    assert "page of" in execute(kube, namespace, "web-0", fetch("web/page"))
    with urllib.request.urlopen(f"http://web.{namespace}/page", timeout=10) as reply:  # from this process
        assert reply.read().startswith(b"page of")
    assert "serving as 1000 in group" in kube.kubectl("logs", "-n", namespace, "web-0")
    with pytest.raises(KubeError, match="Read-only file system"):
        execute(kube, namespace, "web-0", "echo x >/etc/x")

    kube.delete("pod", "web-1", namespace)
    ready(kube, namespace, "web-1")
    assert execute(kube, namespace, "web-1", "cat /data/page") == "page of 1\n"


def test_a_disk_is_full_and_grows_under_its_pod(kube: Kube, namespace: str) -> None:
    kube.apply(web(namespace, storage_class="sized", size="8Mi"))
    ready(kube, namespace)
    fill = "dd if=/dev/zero of=/data/file bs=1M count=12 2>&1"
    with pytest.raises(KubeError, match="exit code 1"):
        execute(kube, namespace, "web-0", fill)
    larger = {"spec": {"resources": {"requests": {"storage": "16Mi"}}}}
    kube.patch("pvc", "data-web-0", namespace, larger)
    kube.wait_for(lambda: kube.get("pvc", "data-web-0", namespace)["status"]["capacity"]["storage"] == "16Mi")
    execute(kube, namespace, "web-0", fill)

    volume = kube.get("pvc", "data-web-0", namespace)["spec"]["volumeName"]
    path = Path(kube.get("pv", volume)["spec"]["local"]["path"])
    assert path.is_mount()
    kube.delete("statefulset", "web", namespace)
    kube.delete("pvc", "data-web-0", namespace)
    kube.wait_for(lambda: kube.find("pv", volume) is None and not path.exists())


def test_a_container_over_its_memory_limit_is_killed(kube: Kube, namespace: str) -> None:
    container = {
        "name": "c",
        "image": images.base_name(),
        "command": ["python3", "-c", "x = bytearray(200 << 20); input()"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {"containers": [container], "restartPolicy": "Never"}
    meta = {"name": "greedy", "namespace": namespace}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def terminated() -> dict[str, Any]:
        status = kube.get("pod", "greedy", namespace)["status"]
        return dict(status["containerStatuses"][0]["state"]["terminated"]) if status["phase"] == "Failed" else {}

    assert kube.wait_for(terminated)["reason"] == "OOMKilled"


def test_a_killed_container_is_started_again_and_a_frozen_one_not_ready(kube: Kube, namespace: str) -> None:
    kube.apply(web(namespace))
    pod = ready(kube, namespace)
    faults.signal_container(pod, "web", SIGKILL)

    def restarted() -> bool:
        return bool(kube.get("pod", "web-0", namespace)["status"]["containerStatuses"][0]["restartCount"] == 1)

    kube.wait_for(restarted)
    pod = ready(kube, namespace)
    faults.signal_container(pod, "web", SIGSTOP)
    kube.kubectl("wait", "--for=condition=Ready=false", "pod/web-0", "-n", namespace, "--timeout=60s")
    faults.signal_container(pod, "web", SIGCONT)
    ready(kube, namespace)


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
def test_the_control_plane_goes_and_comes_back(kube: Kube, namespace: str, component: str) -> None:
    kube.apply(web(namespace))
    pod = ready(kube, namespace)
    with faults.stopped(component):
        with pytest.raises(KubeError):
            kube.kubectl("create", "configmap", "a", "-n", namespace, "--request-timeout=2s")
        url = f"http://{pod['status']['podIP']}:8000/"
        with urllib.request.urlopen(url, timeout=10) as reply:  # pods do not notice
            assert reply.status == 200
    kube.wait_for(lambda: kube.kubectl("create", "configmap", "b", "-n", namespace))
    assert ready(kube, namespace)["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_node_behind_a_pulled_cable(kube: Kube, namespace: str, nodes: dict[str, Node]) -> None:
    kube.apply(web(namespace))
    pod = ready(kube, namespace)
    node = nodes[pod["spec"]["nodeName"]]
    with faults.partitioned(node):
        kube.wait_for(lambda: node_status(kube, node.name) == "Unknown", deadline_s=DEADLINE_S)
        assert faults.container_pids(pod, "web")  # it runs on, unseen
    kube.wait_for(lambda: node_status(kube, node.name) == "True", deadline_s=DEADLINE_S)
    ready(kube, namespace)


def test_a_node_loses_power(kube: Kube, namespace: str, nodes: dict[str, Node]) -> None:
    kube.apply(web(namespace))
    pod = ready(kube, namespace)
    execute(kube, namespace, "web-0", "echo kept >/data/page")
    node = nodes[pod["spec"]["nodeName"]]
    faults.kill_node(node)
    assert not node.container_pids()
    kube.wait_for(lambda: node_status(kube, node.name) == "Unknown", deadline_s=DEADLINE_S)
    faults.start_node(node)
    kube.wait_for(lambda: node_status(kube, node.name) == "True", deadline_s=DEADLINE_S)
    kube.wait_for(lambda: execute(kube, namespace, "web-0", "cat /data/page") == "kept\n", deadline_s=DEADLINE_S)


def test_slow_and_lossy_links(kube: Kube, namespace: str, nodes: dict[str, Node]) -> None:
    kube.apply(web(namespace))
    pod = ready(kube, namespace)
    node = nodes[pod["spec"]["nodeName"]]
    execute(kube, namespace, "web-0", "head -c 200000 /dev/zero >/data/page")
    page = f"http://{pod['status']['podIP']}:8000/page"

    with faults.slow_link(node, "1mbit"), urllib.request.urlopen(page, timeout=60) as reply:
        assert len(reply.read()) == 200000
        inside = ("nsenter", f"--net={node_namespace(node.index)}")
        statistics = run(*inside, "tc", "-s", "-j", "qdisc", "show", "dev", "eth0")
        assert json.loads(statistics)[0]["overlimits"] > 0  # packets waited
    with faults.lossy_link(node, 100), pytest.raises(OSError, match="timed out"):
        urllib.request.urlopen(page, timeout=2)
    with faults.lossy_link(node, 10), urllib.request.urlopen(page, timeout=60) as reply:
        assert len(reply.read()) == 200000
