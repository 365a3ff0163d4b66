"""An operator's upgrade over a real server of the version before: no pod goes, a drained one comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest

from fleettest import newer
from fleettest.hollow import HollowKubelet
from fleettest.kube import Kube
from fleettest.operators import Operator
from fleettest.orders import Orders

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("installed")]

CONFIG = {"databases": "16", "tcp-backlog": "100", "client-output-buffer-limit": "normal 1000000 0 0", "hz": "20"}
NEWER = {"FAULT_NEWER": "1", "CACHEFLEET_SERVER_VERSION": newer.VERSION}


@pytest.fixture
def orders(kube: Kube, namespace: str, kubelet: HollowKubelet) -> Orders:
    return Orders(kube, namespace, kubelet)


def written(orders: Orders) -> Any:
    """What a pod is made of."""
    template = orders.kube.get("statefulset", "orders", orders.namespace)["spec"]["template"]
    return template, orders.kube.get("configmap", "orders-config", orders.namespace)["data"]


def shown(orders: Orders) -> dict[str, str]:
    words = orders.call(orders.password(), "CONFIG", "GET", "*")
    found = dict(zip(words[::2], words[1::2], strict=True))
    return {name: value for name, value in found.items() if not name.startswith(("bind", "metrics-bind"))}


@pytest.mark.slow("two operators, one after the other")
def test_a_newer_operator_through_a_drain(orders: Orders, account: Kube) -> None:
    kube, namespace = orders.kube, orders.namespace
    with Operator(account, namespace) as old:
        orders.apply(config=CONFIG)
        orders.wait()
        kube.wait_for(lambda: kube.find("configmap", "orders-parameters", namespace))
        uid, made, parameters = orders.uid(), written(orders), shown(orders)
        assert old.stop() == 0
    with Operator(account, namespace, faults=NEWER) as new:
        kube.wait_for(lambda: new.metric("reconcile_total", result="unchanged") >= 2)
        assert (orders.uid(), written(orders), shown(orders)) == (uid, made, parameters)

        kube.delete("pod", "orders-0", namespace)
        orders.wait_for_another(uid)
        assert (written(orders), shown(orders)) == (made, parameters)

        uid = orders.uid()
        orders.change(config={"new-live": "5", "new-at-start": "4", "hz": "30"})
        kube.wait_for(lambda: orders.reasons()["ConfigApplied"] == "Unsupported")
        kube.wait_for(lambda: shown(orders) == {**parameters, "hz": "30"})
        assert orders.uid() == uid
        assert written(orders)[0] == made[0]
