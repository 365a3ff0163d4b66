"""What scenarios share: one operator, installed by helm as its users do, and a restricted namespace for each test.

A failed test shows statuses, events and logs of its namespace and of the operator.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.kube import Kube
from fleettest.stage import RESTRICTED, SYSTEM, Deployed, Stage, new_stage, report


@pytest.fixture(scope="session")
def operator(kube: Kube) -> Deployed:
    """With the chart's own values: two replicas, everywhere."""
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": RESTRICTED}})
    deployed = Deployed(kube)
    deployed.upgrade()
    deployed.ready()
    return deployed


@pytest.fixture
def stage(kube: Kube, operator: Deployed) -> Iterator[Stage]:
    with new_stage(kube) as found:
        yield found


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    result = outcome.get_result()  # type: ignore[attr-defined]
    kube, stage = item.funcargs.get("kube"), item.funcargs.get("stage")
    if result.failed and result.when != "teardown" and isinstance(kube, Kube):
        result.sections.append(("cluster", report(kube, stage.namespace if isinstance(stage, Stage) else SYSTEM)))
