"""The operator itself goes wrong, goes away, has a rival, or only some of the rights: caches do not notice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import faults
import pytest

from fleettest.kube import Kube
from fleettest.stage import CHART, RESTRICTED, Deployed, Stage, new_stage

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

NAMES = ("a", "b", "c")
AWAY_S = 30.0
AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
TOLERATED = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for key in AWAY]
PATIENT = {"spec": {"tolerations": TOLERATED}}


def test_one_of_two_acts(stage: Stage, operator: Deployed) -> None:
    stage.apply()
    stage.settled()
    pods = operator.ready()
    assert sorted(operator.metric(pod, "leader") for pod in pods) == [0, 1]
    for pod in pods:
        assert operator.metric(pod, "synced") == 1
        leads, acted = operator.metric(pod, "leader"), operator.metric(pod, "actions_total")
        assert bool(acted) == bool(leads), "only the leader acts"


def test_killed_in_the_middle_of_a_rollout(stage: Stage, operator: Deployed) -> None:
    for name in NAMES:
        stage.apply(name)
    clients, old = {}, {}
    for name in NAMES:
        stage.settled(name)
        clients[name], old[name] = stage.fill(name), stage.identity(name)
    for name in NAMES:
        stage.apply(name, config={"databases": "4"})

    def begun() -> bool:
        pods = stage.kube.list("pod", stage.namespace)
        return any("deletionTimestamp" in pod["metadata"] for pod in pods)

    stage.wait(begun, "the rollout begins")
    operator.kill()
    for name in NAMES:
        stage.replaced(old[name], name)
        stage.settled(name)
        stage.check(clients[name])
        assert stage.parameter(clients[name], "databases") == "4"
        assert stage.restarts(name) == 0
    assert len(operator.ready()) == 2


def test_the_api_server_is_away(stage: Stage, operator: Deployed) -> None:
    """The nodes seem to be away, too, when it comes back. Kubernetes deletes their pods if it hears of them late; here
    after less time than elsewhere, but for this pod."""
    stage.apply(podTemplate=PATIENT)
    stage.settled()
    client, old = stage.fill(), stage.identity()
    served, longest = 0, 0.0
    with faults.stopped("kube-apiserver"):
        end = time.monotonic() + AWAY_S
        while (began := time.monotonic()) < end:
            client.set("served", served)
            assert client.get("served") == str(served)
            served += 1
            longest = max(longest, time.monotonic() - began)
    print(f"{served} rounds while the API server was away, the longest {longest * 1000:.0f} ms")
    stage.kube.wait_for(lambda: stage.kube.list("cache", stage.namespace))
    operator.ready()
    stage.apply(podTemplate=PATIENT, config={"slowlog-log-slower-than": "5"})
    stage.settled()
    assert stage.parameter(client, "slowlog-log-slower-than") == "5"
    assert stage.identity() == old


@pytest.fixture
def other(kube: Kube, operator: Deployed) -> Iterator[Stage]:
    with new_stage(kube) as found:
        yield found


def test_an_operator_of_one_namespace_touches_no_other(stage: Stage, other: Stage, operator: Deployed) -> None:
    kube, home = stage.kube, f"{stage.namespace}-system"
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home, "labels": RESTRICTED}})
    values = "crds.install=false,replicas=1,rbac.aggregate=false,rbac.serviceBinding=false"
    flags = ("--set", f"namespaces={{{stage.namespace}}},{values}")
    with operator.away():
        try:
            kube.helm("install", "one", str(CHART), "-n", home, "--wait", "--timeout=110s", *flags)
            other.apply()
            stage.apply()
            stage.settled()
            stage.fill()
            assert "status" not in other.cache()
            account = f"--as=system:serviceaccount:{home}:one-cachefleet"
            assert _may(kube, account, stage.namespace) == {True}
            assert _may(kube, account, other.namespace) == {False}
            kube.helm("test", "one", "-n", home, "--timeout=110s")
        finally:
            kube.helm("uninstall", "one", "-n", home, "--ignore-not-found")
            kube.delete("namespace", home, "default", "--wait=false")
    other.settled()


def _may(kube: Kube, account: str, namespace: str) -> set[bool]:
    """Of all that an operator does with Secrets, StatefulSets and pods there, whether it may."""
    asked = ("get secrets", "patch statefulsets.apps", "delete pods", "list caches.cachefleet.io")
    return {kube.may(request, namespace, account) for request in asked}
