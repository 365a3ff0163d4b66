"""Data outlives pods, processes, nodes that are drained, and, as asked, the Cache itself."""

from __future__ import annotations

import contextlib

import pytest

from fleettest.stage import Deployed, Stage

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

# A pod that is deleted saves first, and one that is killed had the time for a snapshot: so all keys are there in each.
MODES = {
    "everysec": {"mode": "aof"},
    "always": {"mode": "aof", "fsync": "always"},
    "snapshot": {"mode": "snapshot", "schedule": [{"seconds": 1, "changes": 1}]},
}


def test_data_survives_its_pod_and_its_process(stage: Stage) -> None:
    for name, persistence in MODES.items():
        stage.apply(name, persistence=persistence)
    clients = {}
    for name in MODES:
        stage.settled(name)
        clients[name] = stage.fill(name)
    old = {name: stage.identity(name) for name in MODES}
    stage.kube.kubectl("delete", "pod", "-n", stage.namespace, *(f"{name}-0" for name in MODES), "--wait=false")
    for name, client in clients.items():
        pod = stage.replaced(old[name], name)
        assert pod["metadata"]["uid"] != old[name].pod
        stage.check(client)
        client.set("before", "the kill")
    stage.wait(lambda: clients["snapshot"].info()["rdb_changes_since_last_save"] == 0, "a snapshot", "snapshot")

    old = {name: stage.identity(name) for name in MODES}
    for name in MODES:
        stage.kill(name)
    for name, client in clients.items():
        pod = stage.replaced(old[name], name)
        assert (pod["metadata"]["uid"], stage.restarts(name)) == (old[name].pod, 1)
        stage.check(client)
        assert client.get("before") == "the kill"


def test_a_node_is_drained(stage: Stage, operator: Deployed) -> None:
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()
    node = stage.pod()["spec"]["nodeName"]
    try:
        stage.kube.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=110s")
        # The volume is on that node.
        stage.told("Ready", "NotServing", words="cannot be scheduled")
    finally:
        stage.kube.kubectl("uncordon", node)
    pod = stage.replaced(old)
    assert pod["spec"]["nodeName"] == node
    stage.check(client)
    operator.ready()


@pytest.mark.parametrize("present", [True, False], ids=["operator", "no-operator"])
def test_volumes_follow_a_deleted_cache_as_asked(stage: Stage, operator: Deployed, present: bool) -> None:
    policies = {"kept": "Retain", "gone": "Delete"}
    for name, policy in policies.items():
        stage.apply(name, persistence={"storage": {"reclaimPolicy": policy}})
    for name in policies:
        stage.settled(name)
        stage.fill(name)
    with contextlib.nullcontext() if present else operator.away():
        volume = _volume(stage, "gone")
        stage.kube.kubectl("delete", "cache", "-n", stage.namespace, *policies)
        stage.wait(lambda: not stage.kube.find("pvc", "data-gone-0", stage.namespace), "the claim is gone")
        stage.wait(lambda: not stage.kube.find("pv", volume), "the volume is gone")
        stage.kube.wait_for(lambda: not stage.owned(), lambda: f"{stage.owned()} go, too")
        assert stage.kube.get("pvc", "data-kept-0", stage.namespace)["status"]["phase"] == "Bound"
    for name in policies:
        stage.apply(name, persistence={"storage": {"size": "2Gi"}})  # the volume that is found grows to it
    for name in policies:
        stage.settled(name)
    assert stage.kube.get("pvc", "data-kept-0", stage.namespace)["spec"]["resources"]["requests"]["storage"] == "2Gi"
    stage.check(stage.client("kept"))
    assert stage.answers(stage.client("gone").dbsize) == 0


@pytest.mark.exhaustive
def test_a_volume_whose_claim_was_deleted_is_saved(stage: Stage) -> None:
    """As docs/troubleshooting.md says, VolumeDeleted."""

    def again() -> None:
        old = stage.identity()
        stage.kube.kubectl("delete", "pod", "orders-0", "-n", stage.namespace)
        stage.replaced(old)

    stage.apply()
    stage.settled()
    client, volume = stage.fill(), _volume(stage, "orders")
    stage.kube.kubectl("delete", "pvc", "data-orders-0", "-n", stage.namespace, "--wait=false")
    stage.told("Degraded", "VolumeDeleted", words=volume)
    stage.kube.kubectl("patch", "pv", volume, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    again()
    assert stage.answers(client.dbsize) == 0
    released = '{"spec":{"claimRef":{"uid":null,"resourceVersion":null}}}'
    stage.kube.kubectl("patch", "pv", volume, "--type", "merge", "-p", released)
    stage.kube.kubectl("delete", "pvc", "data-orders-0", "-n", stage.namespace, "--wait=false")
    again()
    stage.check(client)
    assert _volume(stage, "orders") == volume
    stage.settled()
    stage.kube.kubectl("patch", "pv", volume, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}')


def _volume(stage: Stage, name: str) -> str:
    return str(stage.kube.get("pvc", f"data-{name}-0", stage.namespace)["spec"]["volumeName"])
