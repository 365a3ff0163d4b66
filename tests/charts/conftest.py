"""Fixtures of helm and promtool, and `--update-goldens`, which writes them anew.

pytest tests/charts --update-goldens     then read the diff
"""

from __future__ import annotations

import contextlib

import pytest

from fleettest.helm import helm, promtool

__all__ = ["helm", "promtool"]


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # tests/unit/resources has it, too
        parser.addoption("--update-goldens", action="store_true", help="write goldens anew")


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens", default=False))
