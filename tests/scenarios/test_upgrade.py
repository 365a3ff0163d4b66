"""A new version of the chart: its CRD, its operator, kinds that the cluster learned meanwhile. No cache restarts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fleettest.crds import PODMONITORS
from fleettest.kube import Kube
from fleettest.stage import CHART, Deployed, Stage

pytestmark = [pytest.mark.kube, pytest.mark.cluster]
NEXT = "0.2.0"


@pytest.fixture
def next_chart(tmp_path: Path) -> Path:
    """The chart with another version, whose CRD has one more field."""
    chart = Path(shutil.copytree(CHART, tmp_path / "cachefleet"))
    about = chart / "Chart.yaml"
    about.write_text(yaml.safe_dump({**yaml.safe_load(about.read_text()), "version": NEXT, "appVersion": NEXT}))
    crd = chart / "templates" / "crd-caches.yaml"
    paused = "              paused:\n"
    text = crd.read_text()
    assert text.count(paused) == 1
    field = "              flavour:\n                description: New in this version.\n                type: string\n"
    crd.write_text(text.replace(paused, field + paused))
    return chart


@pytest.fixture
def restored(kube: Kube, operator: Deployed) -> Iterator[None]:
    """Afterwards the operator is that of the session again."""
    yield
    operator.upgrade()
    kube.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com", "--ignore-not-found")
    operator.ready()


def test_an_upgrade(stage: Stage, operator: Deployed, next_chart: Path, restored: None) -> None:
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()
    before = {pod["metadata"]["uid"] for pod in operator.ready()}
    stage.kube.apply(PODMONITORS)
    stage.kube.kubectl("wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "--timeout=60s")

    # Only the default of new Caches moves; the operator's image is the same, for there is no other.
    operator.upgrade(next_chart, "--set", "image.tag=0.1.0,podMonitor.enabled=true")
    assert not before & {pod["metadata"]["uid"] for pod in operator.ready()}
    assert "New in this version." in stage.kube.kubectl("explain", "cache.spec.flavour")
    stage.apply(flavour="sweet", config={"slowlog-log-slower-than": "5"})
    assert stage.settled()["spec"]["flavour"] == "sweet"
    assert stage.parameter(client, "slowlog-log-slower-than") == "5"
    assert stage.cache()["status"]["image"] == "cachefleet/server:0.1.0"
    assert stage.identity() == old

    monitor = stage.wait(lambda: stage.kube.find("podmonitor", "orders", stage.namespace), "a PodMonitor")
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"

    stage.apply("later")
    stage.wait(lambda: stage.find_status("later").get("image") == f"cachefleet/server:{NEXT}", "the default", "later")
