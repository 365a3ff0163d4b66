"""What a server does to its own process, where no server is needed to see it."""

from __future__ import annotations

import pytest

from cachefleet_server.process import cores

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("cpulist", "wanted"),
    [("0", {0}), ("0,2", {0, 2}), ("1-3", {1, 2, 3}), ("0-7:3,9", {0, 3, 6, 9}), (" 1 , 2", {1, 2}), ("3-1", set())],
)
def test_lists_of_cores(cpulist: str, wanted: set[int]) -> None:
    assert cores(cpulist) == wanted


@pytest.mark.parametrize("cpulist", ["", "x", "1,", "-1", "0-", "1-2-3", "99999", "0:2", "\u0661"])
def test_lists_of_cores_that_are_none(cpulist: str) -> None:
    with pytest.raises(ValueError, match="is no core"):
        cores(cpulist)
