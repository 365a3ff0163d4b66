"""One operator, many Caches of three: how long their clients are without a primary when a node with many primaries goes
all at once. The servers are hollow (fleettest.hollowfleet), operator and API server are not. Figures are printed
(`pytest -s`), and asserted with slack for a machine that does other things meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from cachefleet_operator.api import names
from fleettest.hollowfleet import HollowFleet, run_pods
from fleettest.kube import WRITES, Kube
from fleettest.operators import Operator, beyond_upkeep, grants, install_crd
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.kube, pytest.mark.slow("servers that hang are given up after seconds")]

INSTANCES = 3
DEADLINE_S = 1200.0
NODE_LOST_S = 40.0  # DESIGN: a primary again after the loss of a node
STEADY_S = 10.0
EXHAUSTIVE = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]


def spec(number: int) -> dict[str, Any]:
    metadata = {"name": f"c{number}"}
    body = {"instances": INSTANCES, "auth": {"mode": "none"}, "persistence": {"mode": "none"}}
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": metadata, "spec": body}


def members(kube: Kube, namespace: str) -> int:
    """Of all sets."""
    stands = [cache.get("status", {}).get("topology", {}) for cache in kube.list("caches", namespace)]
    return sum(len(topology.get("set", ())) for topology in stands)


def led(kube: Kube, namespace: str) -> dict[str, str]:
    """The pod to which each Cache's Service for writes leads."""
    pods = kube.list("pods", namespace, f"{names.LABEL_ROLE}={names.ROLE_PRIMARY}")
    return {pod["metadata"]["name"].rpartition("-")[0]: pod["metadata"]["name"] for pod in pods}


def _steady(kube: Kube, namespace: str, operator: Operator) -> str:
    """What some seconds cost, once nothing is written in them."""
    mark, cpu_s, since = kube.audit.mark(), operator.cpu_s(), time.monotonic()
    seen = operator.metric("reconcile_total")
    assert_eventually(lambda: time.monotonic() > since + STEADY_S, deadline_s=2 * STEADY_S)
    used = 100 * (operator.cpu_s() - cpu_s) / (time.monotonic() - since)
    asked = kube.audit.requests(mark, user=f":{namespace}:")
    assert not beyond_upkeep(asked)
    looked = operator.metric("reconcile_total") - seen
    return f"{used:.1f} % of a core, {looked:.0f} reconciles and {len(asked)} API requests in {STEADY_S:.0f} s"


@pytest.mark.parametrize(
    ("caches", "lost"),
    [(6, 3), pytest.param(100, 100, marks=EXHAUSTIVE), pytest.param(500, 100, marks=EXHAUSTIVE)],
)  # fmt: skip
def test_a_node_takes_many_primaries_with_it(kube: Kube, namespace: str, caches: int, lost: int) -> None:
    install_crd(kube)
    kube.apply([spec(0)], "-n", namespace)
    with grants(kube, namespace) as account, Operator(account, namespace, level="warning") as operator:
        began = time.monotonic()
        for start in range(0, caches, 20):
            kube.apply([spec(n) for n in range(start, min(start + 20, caches))], "-n", namespace)
        kube.wait_for(lambda: len(kube.list("pods", namespace)) == INSTANCES * caches, deadline_s=DEADLINE_S)
        file = kube.get("configmap", names.configmap("c0"), namespace)["data"][names.CONFIG_FILE]
        with HollowFleet(caches, INSTANCES, file) as fleet:
            run_pods(kube, namespace, fleet.addresses())
            kube.wait_for(lambda: members(kube, namespace) == INSTANCES * caches, deadline_s=DEADLINE_S)
            kube.wait_for(lambda: operator.metric("queue_depth") == 0, deadline_s=DEADLINE_S)
            made_s = time.monotonic() - began

            steady = assert_eventually(lambda: _steady(kube, namespace, operator), deadline_s=DEADLINE_S)

            mark, cpu_s, since = kube.audit.mark(), operator.cpu_s(), time.monotonic()
            old = {n: fleet.primary(n) for n in range(lost)}
            for n, ordinal in old.items():
                assert ordinal is not None
                fleet.hang(n, ordinal)
            took_s: dict[int, float] = {}

            def all_reign() -> bool:
                for n in old.keys() - took_s.keys():
                    if fleet.primary(n) not in (None, old[n]):
                        took_s[n] = time.monotonic() - since
                return len(took_s) == lost

            assert_eventually(all_reign, lambda: f"{len(took_s)} of {lost}", deadline_s=DEADLINE_S, pause_s=0.05)
            wanted = {f"c{n}": f"c{n}-{fleet.primary(n)}" for n in old}
            kube.wait_for(lambda: wanted.items() <= led(kube, namespace).items(), deadline_s=DEADLINE_S)
            routed_s, used = time.monotonic() - since, operator.cpu_s() - cpu_s
            wrote = Counter(
                r.resource for r in kube.audit.requests(mark, user=f":{namespace}:") if r.verb in WRITES
            )  # fmt: skip
        waits = sorted(took_s.values())
        print(
            f"\n{caches} Caches of {INSTANCES}, made in {made_s:.0f} s; RSS {operator.rss_bytes() / 2**20:.0f} MiB; "
            f"steady: {steady}\n{lost} primaries hang at once: another one reigns after {waits[0]:.1f} to "
            f"{waits[-1]:.1f} s (median {waits[len(waits) // 2]:.1f}), all Services lead there after {routed_s:.1f} s; "
            f"CPU {used:.1f} s, writes {dict(wrote)}"
        )
        assert waits[-1] < NODE_LOST_S
