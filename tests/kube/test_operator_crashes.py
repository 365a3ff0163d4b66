"""The operator is killed at its n-th act, before it is done or after (without hearing the answer); the next one heals.

An act is a write to the API or a command that changes a server. Two stories are told: a Cache is made, and a Cache is
changed in every way that needs no nodes. `make test` draws some acts of each; `make exhaustive` takes all.
"""

from __future__ import annotations

import contextlib
import random
import signal

import pytest

from cachefleet_operator.execution.kube import lease
from fleettest import figures
from fleettest.hollow import HollowKubelet
from fleettest.kube import Kube
from fleettest.operators import Ended, Operator
from fleettest.orders import Orders

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("installed")]

MAKING, CHANGING = 12, 12  # acts that either story has at least
BEYOND = 8  # and at most so many more
SAMPLES = 2
ALL = [(at, when) for at in range(1, MAKING + BEYOND) for when in ("before", "after")]


class Story:
    """A namespace with a kubelet, an account for operators, and a Cache."""

    def __init__(self, kube: Kube, account: Kube, orders: Orders) -> None:
        self.kube, self.account, self.orders = kube, account, orders
        self.namespace = orders.namespace

    def operator(self, at: int = 0, when: str = "before") -> Operator:
        """The one before it did not give its Lease back, and nobody wants to wait for that."""
        if self.kube.find("lease", lease.NAME, self.namespace):
            self.kube.delete("lease", lease.NAME, self.namespace)
        faults = {"FAULT_KILL_AT": str(at), "FAULT_KILL_WHEN": when} if at else {}
        return Operator(self.account, self.namespace, faults=faults)

    def lives_through(self, operator: Operator) -> bool:
        """Waits for its death, or until there is nothing left to do."""

        def is_over() -> str:
            assert operator.process is not None
            if operator.process.poll() is not None:
                return "died"
            assert self.orders.is_running()
            try:
                assert operator.metric("queue_depth") == 0
            except Ended:
                return "died"
            return "lived"

        if self.kube.wait_for(is_over) == "lived":
            return True
        assert operator.wait() == -signal.SIGKILL, operator.log_text()
        figures.count()
        return False

    def heal(self) -> None:
        with self.operator() as operator:
            self.orders.wait()
            broken = [line for line in operator.lines() if line["level"] == "error"]
            assert not broken


@pytest.fixture
def story(kube: Kube, namespace: str, kubelet: HollowKubelet, account: Kube) -> Story:
    return Story(kube, account, Orders(kube, namespace, kubelet))


def make(story: Story, at: int, when: str) -> None:
    orders = story.orders
    orders.apply()
    with contextlib.closing(story.operator(at, when).spawn()) as victim:
        lived = story.lives_through(victim)
    assert not lived or at > MAKING
    found = story.kube.find("secret", "orders-auth", story.namespace)
    story.heal()
    if found is not None:
        assert story.kube.get("secret", "orders-auth", story.namespace)["data"] == found["data"]
    assert orders.call(orders.password(), "SET", "k", "v") == "OK"
    assert orders.password("orders-server-password") == orders.password()


def change(story: Story, at: int, when: str) -> None:
    orders = story.orders
    orders.apply(config={"maxclients": "500"})
    with story.operator():
        orders.wait()
    orders.call(orders.password(), "SET", "k", "v")
    before = orders.uid()
    orders.set_secret("orders-auth", "password", "rotated")
    wanted = {"maxclients": "600", "slowlog-max-len": "64"}
    orders.change(
        config=wanted, memory={"limit": "300Mi"}, networkPolicy={"enabled": False},
        services={"primary": {"type": "NodePort"}},
    )
    with contextlib.closing(story.operator(at, when).spawn()) as victim:
        lived = story.lives_through(victim)
    assert not lived or at > CHANGING
    story.heal()
    assert orders.call("rotated", "GET", "k") == "v"
    assert orders.password("orders-server-password") == "rotated"
    for name, value in wanted.items():
        assert orders.call("rotated", "CONFIG", "GET", name) == [name, value]
    assert orders.uid() != before
    assert story.kube.find("networkpolicy", "orders", story.namespace) is None
    assert story.kube.get("service", "orders-rw", story.namespace)["spec"]["type"] == "NodePort"


@pytest.mark.slow("an operator is killed and another one started")
@pytest.mark.parametrize("number", range(SAMPLES))
def test_killed_while_it_makes(story: Story, number: int, rng: random.Random) -> None:
    make(story, rng.randint(1, MAKING), rng.choice(("before", "after")))


@pytest.mark.slow("an operator is killed and another one started")
@pytest.mark.parametrize("number", range(SAMPLES))
def test_killed_while_it_changes(story: Story, number: int, rng: random.Random) -> None:
    change(story, rng.randint(1, CHANGING), rng.choice(("before", "after")))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("at", "when"), ALL)
def test_killed_at_each_act_while_it_makes(story: Story, at: int, when: str) -> None:
    make(story, at, when)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("at", "when"), ALL)
def test_killed_at_each_act_while_it_changes(story: Story, at: int, when: str) -> None:
    change(story, at, when)
