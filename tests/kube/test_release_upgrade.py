"""An upgrade from the last release: its chart, CRD and operator make Caches, today's take over, and no pod notices.

The release's operator is the one of its wheel (fleettest.release), with the rights and settings that its chart gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api.crd import NAME as CRD
from cachefleet_operator.api.crd import crd
from cachefleet_operator.api.names import LABEL_CACHE
from fleettest import release
from fleettest.hollow import HollowKubelet
from fleettest.kube import WRITES, Kube
from fleettest.operators import ROOT, Operator, beyond_upkeep
from fleettest.orders import Orders

pytestmark = pytest.mark.kube

ACCOUNT = "fleet-cachefleet"
CHART = ROOT / "charts" / "cachefleet"
STEADY_S = 2.0
CONFIG = {"databases": "20", "hz": "20", "client-output-buffer-limit": "normal 1000000 0 0"}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"config": CONFIG},
    "trio": {"instances": 3, "durability": {"mode": "replicated", "copies": 1}},
    "shaped": {
        "memory": {"limit": "200Mi"},
        "persistence": {"fsync": "always", "storage": {"size": "2Gi", "reclaimPolicy": "Retain"}},
        "auth": {"mode": "secret", "secretRef": {"name": "mine", "key": "word"}},
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "2"}},
        "services": {
            "primary": {"type": "NodePort", "labels": {"team": "shop"}, "annotations": {"a.test/b": "c"}},
            "replicas": {"labels": {"team": "shop"}},
        },
        "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"team": "shop"}}}]},
        "spread": {"zones": "required"},
        "podTemplate": {
            "labels": {"team": "shop"},
            "annotations": {"a.test/b": "c"},
            "spec": {
                "tolerations": [{"key": "caches", "operator": "Exists"}],
                "containers": [{"name": "server", "env": [{"name": "TZ", "value": "Europe/Berlin"}]}],
            },
        },
    },
}
# Condition -> reason, where all is well; several pods have two more.
WELL = {"Ready": "Serving", "Progressing": "UpToDate", "Degraded": "AsExpected", "ConfigApplied": "Applied"}
SEVERAL = {"PrimaryHealthy": "Reigning", "ReplicationHealthy": "InSync"}


@dataclass(frozen=True, slots=True)
class Fleet:
    """The Helm release `fleet` of the operator's chart, in the namespace of the Caches."""

    kube: Kube
    account: Kube
    namespace: str

    def upgrade(self, chart: Path) -> None:
        """`--take-ownership`: other tests of this cluster have installed the CRD by hand."""
        _upgrade(self.kube, self.namespace, chart)

    def schema(self) -> Any:
        return self.kube.get("crd", CRD)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def settings(self) -> dict[str, str]:
        """What the chart tells its operator."""
        deployment = self.kube.get("deployment", ACCOUNT, self.namespace)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return {each["name"]: each.get("value", "") for each in container["env"] if "valueFrom" not in each}


def _upgrade(kube: Kube, namespace: str, chart: Path) -> None:
    flags = ("-n", namespace, "--take-ownership", "--set", f"namespaces={{{namespace}}}")
    kube.helm("upgrade", "--install", "fleet", str(chart), *flags)


@pytest.fixture
def fleet(kube: Kube, namespace: str) -> Iterator[Fleet]:
    """As the last release's chart installs it. At the end the CRD is today's, as others want it."""
    try:
        _upgrade(kube, namespace, release.last().chart)
        with kube.as_service_account(namespace, ACCOUNT) as account:
            yield Fleet(kube, account, namespace)
    finally:
        kube.helm("uninstall", "fleet", "-n", namespace, "--ignore-not-found")
        kube.apply(dict(crd()), "--force-conflicts")


@pytest.fixture
def caches(kube: Kube, namespace: str, kubelet: HollowKubelet) -> dict[str, Orders]:
    return {name: Orders(kube, namespace, kubelet, name) for name in SHAPES}


def made(fleet: Fleet) -> dict[str, Any]:
    """What a rolled pod would show in: pods themselves, what they are made of and what they mount."""
    found: dict[str, Any] = {}
    for obj in fleet.kube.list("pods,statefulsets,configmaps,secrets,pvc", fleet.namespace, LABEL_CACHE):
        meta = obj["metadata"]
        identity = (meta["uid"], meta.get("generation"))
        spec = None if obj["kind"] == "Pod" else obj.get("spec")
        found[f"{obj['kind']}/{meta['name']}"] = (*identity, spec, obj.get("data"))
    return found


def conditions(caches: dict[str, Orders]) -> dict[str, Any]:
    """With the times since when they are so."""
    return {
        name: {c["type"]: (c["status"], c["reason"], c["lastTransitionTime"]) for c in cache.status()["conditions"]}
        for name, cache in caches.items()
    }


def wait(caches: dict[str, Orders]) -> None:
    """Until there is nothing left to do. What their servers say that they know is written last."""

    def is_well(cache: Orders) -> bool:
        instances = SHAPES[cache.name].get("instances", 1)
        wanted = {**WELL, **(SEVERAL if instances > 1 else {})}
        assert wanted.items() <= cache.reasons().items()
        assert cache.status()["ready"] == f"{instances}/{instances}"
        return cache.is_running()

    for name, cache in caches.items():
        cache.kube.wait_for(partial(is_well, cache), f"{name} is well")
        cache.kube.wait_for(partial(cache.kube.get, "configmap", f"{name}-parameters", cache.namespace))


def look(operator: Operator, kube: Kube) -> None:
    """It looks at each Cache twice and finds nothing to do."""

    def seen() -> float:
        return operator.metric("reconcile_total", result="unchanged")

    before = seen()
    kube.wait_for(lambda: seen() >= before + 2 * len(SHAPES))


@pytest.mark.slow("two operators, one after the other, and five servers")
def test_an_upgrade_from_the_last_release_rolls_no_pod(fleet: Fleet, caches: dict[str, Orders], tmp_path: Path) -> None:
    kube, last = fleet.kube, release.last()
    passwords = {"plain": "", "trio": "", "shaped": "secret"}
    assert fleet.schema() == last.crd()["versions"][0]["schema"]["openAPIV3Schema"]
    code = last.unpack(tmp_path / "release")
    settings = {**fleet.settings(), "CACHEFLEET_PROBE_SINGLE_SECONDS": "1"}
    with Operator(fleet.account, fleet.namespace, code=code, settings=settings, name="before") as old:
        assert old.origins() == {code}
        caches["shaped"].set_secret("mine", "word", passwords["shaped"])
        for name, spec in SHAPES.items():
            caches[name].apply(**spec)
        wait(caches)
        for name, cache in caches.items():
            passwords[name] = passwords[name] or cache.password()
            primary = cache.status()["primary"]
            assert cache.call(passwords[name], "SET", "of", name, pod=primary) == "OK"
        before, told = made(fleet), conditions(caches)
        assert sum(name.startswith("Pod/") for name in before) == 5
        assert old.stop() == 0

    fleet.upgrade(CHART)
    assert fleet.schema() == crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    with Operator(fleet.account, fleet.namespace, settings=fleet.settings(), name="after", steady_s=STEADY_S) as new:
        assert code not in new.origins()
        look(new, kube)
        mark = kube.audit.mark()
        look(new, kube)
        written = kube.audit.requests(mark, user=f":{fleet.namespace}:", verbs=WRITES)
        assert made(fleet) == before
        assert conditions(caches) == told
        assert not beyond_upkeep(written)
        wait(caches)

        drained = {name: cache.uid() for name, cache in caches.items()}
        kube.kubectl("delete", "pod", *(cache.first for cache in caches.values()), "-n", fleet.namespace)
        for name, cache in caches.items():
            cache.wait_for_another(drained[name])
        wait(caches)
        for name, cache in caches.items():
            primary = cache.status()["primary"]
            assert cache.call(passwords[name], "GET", "of", pod=primary) == name
        after = made(fleet)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed == {f"Pod/{cache.first}" for cache in caches.values()}
