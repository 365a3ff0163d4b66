"""Key specs applied to arguments that a client made up."""

from __future__ import annotations

import tracemalloc

import pytest

from cachefleet_server.command_keys import INVALID_ARGUMENTS, parse
from cachefleet_server.errors import CommandError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("number", [b"0", b"2", b"1000000", b"999999999999999999999", b"-1", b"x", b""])
def test_a_number_of_keys_that_does_not_fit_costs_nothing(number: bytes) -> None:
    (spec,) = parse("numkeys:1:1:2 OW update")
    tracemalloc.start()
    with pytest.raises(CommandError, match=INVALID_ARGUMENTS):
        spec.positions([b"msetex", number, b"k", b"v"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # a list of so many keys has 8 MB
    assert spec.positions([b"msetex", b"1", b"k", b"v"]) == [2]
