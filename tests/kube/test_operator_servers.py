"""The operator with real servers: a hollow kubelet runs the pods (fleettest.hollow). What it asks of them, and when."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from cachefleet_operator.api import names
from fleettest.hollow import HollowKubelet
from fleettest.kube import WRITES, Kube
from fleettest.operators import Operator, beyond_upkeep
from fleettest.orders import CACHE, Orders, ServerError

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("installed")]


@pytest.fixture
def operator(kubelet: HollowKubelet, account: Kube, namespace: str) -> Iterator[Operator]:
    with Operator(account, namespace) as found:
        yield found


@pytest.fixture
def orders(kube: Kube, namespace: str, kubelet: HollowKubelet, operator: Operator) -> Orders:
    return Orders(kube, namespace, kubelet)


def test_a_cache_comes_to_serve(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    status = orders.status()
    assert orders.reasons() == {
        "Ready": "Serving", "Progressing": "UpToDate", "Degraded": "AsExpected", "ConfigApplied": "Applied",
    }  # fmt: skip
    assert (status["ready"], status["primary"]) == ("1/1", "orders-0")
    assert status["version"]
    assert status["pods"][0]["usedMemory"] > 0
    labels = orders.kube.get("pod", "orders-0", orders.namespace)["metadata"]["labels"]
    assert labels[names.LABEL_ROLE] == names.ROLE_PRIMARY
    counted = orders.kube.kubectl("get", "pods", "-n", orders.namespace, "-l", status["selector"], "-o", "name")
    assert counted.split() == ["pod/orders-0"], "as an HorizontalPodAutoscaler counts them"
    volume = orders.kube.get("persistentvolumeclaim", names.claim("orders", 0), orders.namespace)["metadata"]["uid"]
    record = status["topology"]
    assert (record["epoch"], record["kind"], record["acks"]) == (1, "first", 0)
    assert record["primary"]["run"] in orders.call(orders.password(), "INFO", "server")
    assert record["set"] == [{"pod": "orders-0", "disk": "", "claimUID": volume}]
    assert orders.call(orders.password(), "SET", "k", "v") == "OK"
    columns = orders.kube.kubectl("get", "cache", "orders", "-n", orders.namespace)
    assert "Running" in columns
    assert "1/1" in columns


def test_steady_state_with_a_server_writes_nothing(orders: Orders, operator: Operator) -> None:
    orders.apply()
    orders.wait()

    def look(times: int) -> None:
        seen = operator.metric("reconcile_total", result="unchanged")
        orders.kube.wait_for(lambda: operator.metric("reconcile_total", result="unchanged") >= seen + times)

    def told() -> bool:
        return any("takes writes" in event["message"] for event in orders.kube.list("events", orders.namespace))

    orders.kube.wait_for(told)  # the last of the events
    look(1)
    mark = orders.kube.audit.mark()
    look(2)
    assert not beyond_upkeep(orders.kube.audit.requests(mark, user=f":{orders.namespace}:"))


def test_live_parameters_are_set_and_set_back_without_a_restart(orders: Orders) -> None:
    orders.apply(config={"maxclients": "500"})
    orders.wait()
    before, password = orders.uid(), orders.password()
    orders.change(config={"maxclients": "600", "slowlog-log-slower-than": "5000"})
    orders.wait()
    assert orders.call(password, "CONFIG", "GET", "maxclients") == ["maxclients", "600"]
    orders.change(config={"maxclients": None})
    orders.wait()
    assert orders.call(password, "CONFIG", "GET", "maxclients") == ["maxclients", "10000"]
    orders.call(password, "CONFIG", "SET", "slowlog-log-slower-than", "1")

    def set_back() -> bool:
        return bool(orders.call(password, "CONFIG", "GET", "slowlog-log-slower-than")[1] == "5000")

    orders.kube.wait_for(set_back)
    assert orders.uid() == before


def test_what_needs_a_restart_restarts_once_and_keeps_the_data(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    before, password = orders.uid(), orders.password()
    orders.call(password, "SET", "k", "v")
    orders.change(memory={"limit": "300Mi"})
    orders.wait_for_another(before)
    assert orders.call(password, "GET", "k") == "v"
    after = orders.uid()
    orders.change(config={"maxclients": "700"})
    orders.wait()
    assert orders.uid() == after


def test_a_new_password_without_a_restart(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    before, old = orders.uid(), orders.password()
    orders.set_secret("orders-auth", "password", "rotated")

    def rotated() -> bool:
        return bool(orders.call("rotated", "PING") == "PONG")

    orders.kube.wait_for(lambda: _quietly(rotated))
    orders.wait()
    assert _refused(orders, old)
    orders.kube.wait_for(lambda: orders.password("orders-server-password") == "rotated")
    assert orders.uid() == before


def test_a_secret_of_the_users_is_noticed_in_time(orders: Orders) -> None:
    orders.set_secret("mine", "pw", "first\n")
    orders.apply(auth={"mode": "secret", "secretRef": {"name": "mine", "key": "pw"}})
    orders.wait()
    assert orders.call("first", "PING") == "PONG"
    orders.set_secret("mine", "pw", "second")
    orders.kube.wait_for(lambda: _quietly(lambda: orders.call("second", "PING")))
    orders.kube.delete("secret", "mine", orders.namespace)
    orders.kube.wait_for(lambda: orders.reasons()["Degraded"] == "SecretMissing")
    assert orders.call("second", "PING") == "PONG"


def test_auth_is_switched_off_and_on(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    before = orders.uid()
    orders.change(auth={"mode": "none"})
    orders.kube.wait_for(lambda: _quietly(lambda: orders.call("", "PING")))
    orders.wait()
    orders.change(auth={"mode": "generated"})
    orders.kube.wait_for(lambda: _refused(orders, ""))
    orders.wait()
    assert orders.call(orders.password(), "PING") == "PONG"
    assert orders.uid() == before


def test_a_server_that_does_not_answer_is_said(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    server = orders.kubelet.pod("orders-0").process
    server.send_signal(signal.SIGSTOP)
    try:
        orders.kube.wait_for(lambda: orders.reasons()["Ready"] == "NotServing")
    finally:
        server.send_signal(signal.SIGCONT)
    orders.wait()


def test_a_pod_that_was_deleted_comes_back_with_its_data(orders: Orders) -> None:
    orders.apply()
    orders.wait()
    before, password = orders.uid(), orders.password()
    orders.call(password, "SET", "k", "v")
    orders.kube.delete("pod", "orders-0", orders.namespace)
    orders.wait_for_another(before)
    assert orders.call(password, "GET", "k") == "v"


def test_paused_means_no_write(orders: Orders) -> None:
    orders.apply(paused=False)
    orders.wait()
    orders.change(paused=True)
    orders.kube.wait_for(lambda: orders.reasons()["Progressing"] == "Paused")
    mark = orders.kube.audit.mark()
    orders.change(memory={"limit": "400Mi"})
    orders.kube.wait_for(lambda: orders.status()["observedGeneration"] == 3)
    writes = orders.kube.audit.requests(mark, user=f":{orders.namespace}:", verbs=WRITES)
    assert {r.resource for r in writes} - {"leases", "events"} <= {"caches/status"}
    before = orders.uid()
    orders.change(paused=False)
    orders.wait_for_another(before)


@pytest.mark.slow("Kubernetes looks every half minute which kinds there are")
def test_an_autoscaler_sets_how_many_pods_there_are(orders: Orders) -> None:
    """Kubernetes' own, by the subresource; what is below its minimum it raises without any metrics."""
    orders.apply()
    orders.wait()
    target = {"apiVersion": CACHE["apiVersion"], "kind": CACHE["kind"], "name": orders.name}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    metadata = {"name": orders.name, "namespace": orders.namespace}
    bounds = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    orders.kube.apply({**scaler, "metadata": metadata, "spec": bounds})

    def grown() -> bool:
        status = orders.kube.get("hpa", orders.name, orders.namespace).get("status", {})
        able = {c["type"]: c["status"] for c in status.get("conditions", ())}
        assert able.get("AbleToScale") == "True", status
        assert {"currentReplicas": 2, "desiredReplicas": 2}.items() <= status.items(), status
        return orders.is_running() and orders.status()["ready"] == "2/2"

    orders.kube.wait_for(grown, "two pods")
    assert len(orders.status()["topology"]["set"]) == 2


def _quietly(condition: Any) -> Any:
    """A server that refuses, or is not there, means "not yet"."""
    with contextlib.suppress(ServerError, OSError):
        return condition()
    return None


def _refused(orders: Orders, password: str) -> bool:
    """By the password: a server that loads, or is busy, refuses too."""
    try:
        orders.call(password, "PING")
    except ServerError as error:
        return str(error).startswith("WRONGPASS" if password else "NOAUTH")
    return False
