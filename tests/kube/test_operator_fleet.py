"""One operator, hundreds of Caches: what it costs. Numbers are printed (`pytest -s`); what must hold is asserted.

All pods share one real server without a password, so that no process for each is needed; the API does not mind.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.planning.plan import STEADY_S
from fleettest.client import Address
from fleettest.hollowfleet import run_pods
from fleettest.instance import Instance
from fleettest.kube import WRITES, Kube
from fleettest.operators import Operator, beyond_upkeep, grants, install_crd
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.kube, pytest.mark.slow("each Cache is looked at three times"), pytest.mark.timeout(1500)]

RSS_BYTES_MAX, RSS_BYTES_A_CACHE = 96 << 20, 320 << 10
OBJECTS = 12  # of a Cache: none is written twice
TOLD_A_CACHE_MAX = 15  # 11 to 12 were seen: a label, events, the status as often as something is otherwise
TOLD = ("caches/status", "events", "pods")
DEADLINE_S = 900.0
NOWHERE = "192.0.2.1"  # an address that is nobody's (RFC 5737)
AWAY_S, SCRAPE_S = 15.0, 0.5
FACTS_S_MAX = 2.0 * 3  # three tests share two cores; alone it is 1.0 to 1.5, printed


class Everybody(Instance):
    """The server at every pod's address."""

    ip = f"127.84.{os.getpid() % 250 + 1}.1"

    def __init__(self) -> None:
        super().__init__(port=names.PORT, options={"bind": self.ip, "protected-mode": "no"})

    @property
    def address(self) -> Address:
        return (self.ip, self.port)


def spec(number: int) -> dict[str, Any]:
    metadata = {"name": f"c{number}"}
    body = {"auth": {"mode": "none"}, "config": {"maxclients": "5000"}, "persistence": {"mode": "none"}}
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": metadata, "spec": body}


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """The address of a server that takes connections, and says nothing."""
    with socket.socket() as listener:
        address = f"127.85.{os.getpid() % 250 + 1}.1"
        listener.bind((address, names.PORT))
        listener.listen(64)
        yield address


@pytest.mark.parametrize(
    ("fleet", "steady_s"),
    [(24, STEADY_S / 3), *(pytest.param(n, STEADY_S, marks=pytest.mark.exhaustive) for n in (100, 500))],
)
def test_a_fleet(kube: Kube, namespace: str, fleet: int, steady_s: float) -> None:
    install_crd(kube)

    def count(condition: str, status: str) -> int:
        return len(operator.series("cache_condition_since_seconds", condition=condition, status=status))

    with (
        Everybody() as server,
        grants(kube, namespace) as account,
        Operator(account, namespace, level="warning", steady_s=steady_s) as operator,
    ):
        idle_rss = operator.rss_bytes()
        mark, began = kube.audit.mark(), time.monotonic()
        for start in range(0, fleet, 20):
            kube.apply([spec(n) for n in range(start, min(start + 20, fleet))], "-n", namespace)
        kube.wait_for(lambda: count("Progressing", "False") == fleet, deadline_s=DEADLINE_S)
        kube.wait_for(lambda: len(kube.list("pods", namespace)) == fleet, deadline_s=DEADLINE_S)
        made_s = time.monotonic() - began
        run_pods(kube, namespace, {f"c{n}-0": server.ip for n in range(fleet)})
        kube.wait_for(lambda: count("Ready", "True") == fleet, deadline_s=DEADLINE_S)
        kube.wait_for(lambda: operator.metric("queue_depth") == 0, deadline_s=DEADLINE_S)
        ready_s = time.monotonic() - began
        used = Counter((r.verb, r.resource) for r in kube.audit.requests(mark, user=f":{namespace}:"))
        converged_cpu_s = operator.cpu_s()

        def look(times: int) -> None:
            """Asked seldom: a scrape costs as much as some reconciles."""
            seen = operator.metric("reconcile_total")
            assert_eventually(
                lambda: operator.metric("reconcile_total") >= seen + times * fleet, deadline_s=4 * STEADY_S, pause_s=2
            )

        look(1)
        mark, before, since = kube.audit.mark(), operator.cpu_s(), time.monotonic()
        look(2)
        looked_s, steady_cpu_s = time.monotonic() - since, operator.cpu_s() - before
        asked = kube.audit.requests(mark, user=f":{namespace}:")
        rss = operator.rss_bytes()
        wrote = {what: n for what, n in used.items() if what[0] in WRITES and what[1] != "leases"}
        told = sum(n for (_, resource), n in wrote.items() if resource in TOLD)
        objects = sum(wrote.values()) - told
        print(
            f"\n{fleet} Caches: RSS {rss / 2**20:.0f} MiB ({idle_rss / 2**20:.0f} idle); made in {made_s:.0f} s, "
            f"ready in {ready_s:.0f} s; CPU {converged_cpu_s:.1f} s; {(objects + told) / fleet:.1f} writes and "
            f"{sum(n for (verb, _), n in used.items() if verb == 'get') / fleet:.1f} reads a Cache\n"
            f"steady: {100 * steady_cpu_s / looked_s:.1f} % of a core, {1000 * steady_cpu_s / (2 * fleet):.2f} ms a "
            f"reconcile, {dict(Counter((r.verb, r.resource) for r in asked))} in {looked_s:.0f} s\n"
            f"until all were ready: {dict(used)}"
        )
        assert objects == OBJECTS * fleet
        assert told <= TOLD_A_CACHE_MAX * fleet
        assert rss < RSS_BYTES_MAX + RSS_BYTES_A_CACHE * fleet
        assert not beyond_upkeep(asked)

        # One server hangs, and those of a node are out of reach.
        away = {f"c{n}-0": NOWHERE for n in range(1, fleet // 5)}
        with hanging() as hung:
            run_pods(kube, namespace, {"c0-0": hung, **away})
            kube.wait_for(lambda: operator.metric("servers", state="silent") == fleet // 5, deadline_s=DEADLINE_S)
            mark, before, since, oldest = kube.audit.mark(), operator.cpu_s(), time.monotonic(), 0.0
            while time.monotonic() < since + AWAY_S:
                oldest = max(oldest, operator.metric("server_facts_age_seconds"))
                time.sleep(SCRAPE_S)
            took_s, cpu_s = time.monotonic() - since, operator.cpu_s() - before
            asked = kube.audit.requests(mark, user=f":{namespace}:")
        print(
            f"{fleet // 5} servers away: all others were heard {oldest:.2f} s ago at most; "
            f"{100 * cpu_s / took_s:.1f} % of a core, {len(asked)} API requests in {took_s:.0f} s"
        )
        assert oldest < FACTS_S_MAX

