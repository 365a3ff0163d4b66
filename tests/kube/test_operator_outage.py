"""The API server goes away and comes back: the operator survives, does not lead meanwhile, and goes on by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import machine
import pytest
from api import Api
from control_plane import ControlPlane

from cachefleet_operator.execution.kube import lease
from fleettest.hollow import HollowKubelet
from fleettest.kube import Kube
from fleettest.operators import Operator, grants, install_crd
from fleettest.orders import Orders
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.kube, pytest.mark.slow("a Lease runs out; an API server starts again")]

NAMESPACE = "default"
AWAY_S = 30.0


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: its API server is stopped."""
    try:
        with ControlPlane() as found:
            yield found
    except machine.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="module")
def own(plane: ControlPlane) -> Iterator[Kube]:
    kube = Kube(plane.kubeconfig, plane.audit)
    install_crd(kube)
    yield kube
    kube.close()


@pytest.fixture
def orders(own: Kube) -> Iterator[Orders]:
    with HollowKubelet(own, NAMESPACE) as kubelet:
        yield Orders(own, NAMESPACE, kubelet)


def test_half_a_minute_without_an_api_server(plane: ControlPlane, own: Kube, orders: Orders) -> None:
    """Nobody renews the Lease for so long: the leader ends, as it must, and what its kubelet starts then waits."""
    server = next(c for c in plane.started if c.name == "kube-apiserver")
    with grants(own, NAMESPACE) as account:
        with Operator(account, NAMESPACE) as leader:
            orders.apply()
            orders.wait()
            password, uid = orders.password(), orders.uid()
            server.stop(9)
            assert leader.wait(lease.RENEW_S + 10) == 1
            assert leader.lines()[-1]["message"] == "the Lease default/cachefleet-operator could not be renewed"
        with contextlib.closing(Operator(account, NAMESPACE).spawn()) as waiting:
            assert_eventually(lambda: waiting.log_text().count("again in") >= 4, waiting.log_text, deadline_s=AWAY_S)
            assert waiting.get("/healthz")[0] == 200
            assert waiting.get("/readyz")[0] == 503
            assert orders.call(password, "PING") == "PONG"
            server.start().wait_ready(Api(plane.kubeconfig).ready)
            waiting.wait_ready()
            orders.change(config={"maxclients": "600"})
            orders.wait()
            assert orders.call(password, "CONFIG", "GET", "maxclients") == ["maxclients", "600"]
            assert orders.uid() == uid
            assert waiting.stop() == 0


def test_a_short_absence_changes_nothing(plane: ControlPlane, own: Kube) -> None:
    server = next(c for c in plane.started if c.name == "kube-apiserver")
    with own.new_namespace() as namespace, HollowKubelet(own, namespace) as kubelet, grants(own, namespace) as account:
        mine = Orders(own, namespace, kubelet)
        with Operator(account, namespace) as leader:
            mine.apply()
            mine.wait()
            server.stop(9)
            server.start().wait_ready(Api(plane.kubeconfig).ready)
            mine.change(config={"maxclients": "600"})
            mine.wait()
            own.delete("service", "orders-rw", namespace)
            own.wait_for(lambda: own.find("service", "orders-rw", namespace))
            assert leader.leads()
            assert leader.stop() == 0
