"""What each test costs, as a plugin of pytest: wall-clock time by phase, and the CPU time of all its processes.

The closing report lists the slowest tests and why: a test says so itself, `@pytest.mark.slow("two everysec fsyncs")`,
or the numbers do (it computes, it waits, its fixtures start something). Nothing is judged by time. Under the gate a
line for each test goes to a file instead (`fleettest.costs`), and the gate reports for all stages.

CPU is that of this process and its descendants. Of a process that ended and was waited for by nobody here, the part
since the last look is lost.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest

from fleettest.costs import VARIABLE, Cost, cpu_seconds, queue_seconds, slowest

_PROPERTY: Final = "cost"  # travels with the report of the teardown, from xdist's workers too
_BEGAN: Final = pytest.StashKey[tuple[float, float]]()
_PHASES: Final = pytest.StashKey[dict[str, float]]()
_OUTCOME: Final = pytest.StashKey[str]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_BEGAN] = cpu_seconds(), queue_seconds()
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    phases = item.stash.setdefault(_PHASES, {})
    phases[f"{report.when}_s"] = round(call.duration, 3)
    worst = item.stash.get(_OUTCOME, "passed")
    if report.outcome != "passed" and worst != "failed":
        worst = report.outcome
    item.stash[_OUTCOME] = worst
    if report.when == "teardown":
        marker = item.get_closest_marker("slow")
        why = str(marker.args[0]) if marker and marker.args else ""
        cpu_s, queue_s = item.stash[_BEGAN]
        cpu_s, queue_s = round(max(0.0, cpu_seconds() - cpu_s), 2), round(queue_seconds() - queue_s, 2)
        cost = Cost(item.nodeid, worst, why, cpu_s=cpu_s, queue_s=queue_s, **phases)
        report.user_properties.append((_PROPERTY, dataclasses.asdict(cost)))  # plain: it may cross to a controller


class Costs:
    """Collects in the process that reports: the only one, or the controller of xdist's workers."""

    def __init__(self) -> None:
        self.costs: list[Cost] = []
        self.file = os.environ.get(VARIABLE)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == _PROPERTY:
                assert isinstance(value, dict)
                self.costs.append(Cost(**value))
                if self.file:
                    with open(self.file, "a") as file:
                        file.write(json.dumps(value) + "\n")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = list(slowest(self.costs))
        if lines and not self.file:
            terminalreporter.section(f"the slowest {len(lines)} tests, and why")
            for line in lines:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Costs(), "fleettest-costs")
