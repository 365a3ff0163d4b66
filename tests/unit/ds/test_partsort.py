"""Parts of arrays sorted, against Python's sort."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachefleet_server.ds._testing_hllgeo import part_sorted

pytestmark = pytest.mark.unit


@given(st.data(), st.integers(1, 300), st.integers(1, 400))
@settings(max_examples=300)
def test_wanted_places(data: st.DataObject, n: int, values: int) -> None:
    """With few values most are equal."""
    keys = data.draw(st.lists(st.integers(0, values), min_size=n, max_size=n))
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first, n - 1))
    places = part_sorted(keys, first, last)
    assert sorted(places) == list(range(n))
    assert [keys[place] for place in places[first : last + 1]] == sorted(keys)[first : last + 1]


@pytest.mark.parametrize("keys", [list(range(1000)), list(range(1000, 0, -1)), [5] * 1000, [1, 2] * 500])
def test_orders_that_are_there_already(keys: list[int]) -> None:
    for first, last in ((0, 9), (500, 500), (0, 999)):
        places = part_sorted(keys, first, last)
        assert [keys[place] for place in places[first : last + 1]] == sorted(keys)[first : last + 1]


def test_equal_elements_come_in_a_known_order() -> None:
    """Which is that of peers: it is part of what a limit leaves."""
    assert part_sorted([1] * 8, 0, 2) == [7, 1, 2, 3, 4, 5, 6, 0]


WORST = """
import threading
from cachefleet_server.ds._testing_hllgeo import part_sorted, part_worst

def run():
    keys = part_worst(30_000)
    places = part_sorted(keys, 0, 29_999)
    assert [keys[place] for place in places] == sorted(keys)
    print("sorted")

threading.stack_size(256 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_the_worst_order_needs_no_deep_stack() -> None:
    """A client may send it: on a stack that has no room for a level in sixteen elements."""
    result = subprocess.run([sys.executable, "-c", WORST], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "sorted\n"), result.stderr
