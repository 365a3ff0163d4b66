"""How tests are spread over the workers of pytest-xdist (`-n 3`), as a plugin.

The unit is a file, so that what its tests share is started once; files that share a Kubernetes are one unit. Long units
go first: how long each took is in tests/gate.json, the run that CONTRIBUTING.md shows.

Each worker has its own servers (`servers`), its own Kubernetes (`kube`), its own share of ports (`free_port`), its own
`tmp_path`. A test that measures time, or needs the machine to itself, says so:

    @pytest.mark.alone("the pace of its writes is what it tests")

and is run by the gate after the others, with nothing beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

PUBLISHED: Final = Path(__file__).resolve().parents[2] / "gate.json"
SHARED: Final = {"tests/kube": "tests/kube"}  # folder -> unit


def unit(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return SHARED.get(file.rpartition("/")[0], file)


def pytest_configure(config: pytest.Config) -> None:
    """A worker that a test has killed ends the run, which names the test. The scheduler would wait for what its unit
    had left, for ever."""
    if getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "0"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler.loadscope import LoadScopeScheduling  # nobody else needs xdist

    class ByUnit(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False  # as collected: below
    return ByUnit(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in every worker, the same
        seconds = dict.fromkeys(SHARED.values(), 60.0)
        run = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {"files": {}}
        for file, took in run["files"].items():
            seconds[unit(file)] = seconds.get(unit(file), 0.0) + took
        items.sort(key=lambda item: -seconds.get(unit(item.nodeid), 0.0))
