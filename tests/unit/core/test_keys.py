"""Key specs applied to arguments that a client made up."""

from __future__ import annotations

import functools
import tracemalloc

import pytest

from cachefleet_server.command_keys import fetched_ahead
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Engine
from cachefleet_server.errors import CommandError

pytestmark = pytest.mark.unit

INVALID = "ERR Invalid arguments specified for command"


@functools.cache
def probe(keys: str) -> Engine:
    """With a command that has these key specs."""
    engine = Engine()
    engine.register(row("probe", -1, "readonly", "", keys, "generic 1.0.0 O(1)", "A test's.", ""), lambda c, a: None)
    return engine


def positions(keys: str, *args: bytes) -> list[int]:
    return [at for at, _ in probe(keys).command_keys([b"probe", *args])]


@pytest.mark.parametrize(
    ("keys", "args", "found"),
    [
        ("1 RO", b"a b c", [1]),
        ("1:-1 RO", b"a b c", [1, 2, 3]),
        ("1:-1:2 OW", b"a 1 b 2", [1, 3]),
        ("1:-2 RO", b"a b 0", [1, 2]),
        ("1 RW;2 OW", b"a b", [1, 2]),
        ("numkeys:1 RO", b"2 a b WEIGHTS", [2, 3]),
        ("1 OW;numkeys:2 RO", b"to 2 a b", [1, 3, 4]),
        ("exact-numkeys:1:1:2 OW", b"2 a 1 b 2 EX 3", [2, 4]),
        ("numkeys:1 RO", b"4294967298x a b c", [2, 3]),
        ("keyword:STREAMS:1:-1:1:2 RO", b"COUNT 2 streams a b 0 0", [4, 5]),
        ("keyword:KEYS:-2:-1:1 RW incomplete", b"h p k 0 9 keys a b", [7, 8]),
        ("keyword:STORE:2:0:1 OW;1 RO", b"src STORE dst", [3, 1]),
        ("keyword:STORE:2:0:1 OW;1 RO", b"src", [1]),
        ("unknown RO;1 RO", b"a", [1]),
    ],
)
def test_where_keys_are(keys: str, args: bytes, found: list[int]) -> None:
    assert positions(keys, *args.split()) == found


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("1 RO", (1, 1, 1, 0)),
        ("1:-1:2 OW", (1, -1, 2, 0)),
        ("1 OW;2:-1 RO", (1, -1, 1, 0)),
        ("1 RW;2 OW", (1, 2, 1, 0)),
        ("numkeys:1 RO", (2, 0, 1, 1)),
        ("1 OW;numkeys:2 RO", (1, 0, 1, 2)),
        ("exact-numkeys:1:1:2 OW", (2, 0, 2, 1)),
        ("1 RO;keyword:STORE:2:0:1 OW", (1, 1, 1, 0)),
        ("keyword:STREAMS:1:-1:1:2 RO", (0, 0, 0, 0)),
        ("unknown RO", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_what_is_fetched_ahead(keys: str, found: tuple[int, ...]) -> None:
    assert fetched_ahead(row("probe", -1, "readonly", "", keys, "generic 1.0.0 O(1)", "A test's.", "")) == found


@pytest.mark.parametrize("number", [b"0", b"2", b"1000000", b"4294967297", b"9" * 30, b"-1", b"x", b"", b"0x1", b" 1"])
def test_a_number_of_keys_that_does_not_fit_costs_nothing(number: bytes) -> None:
    keys = "exact-numkeys:1:1:2 OW update"
    assert positions(keys, b"1", b"k", b"v") == [2]
    tracemalloc.start()
    with pytest.raises(CommandError, match=INVALID):
        positions(keys, number, b"k", b"v")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # a list of so many keys has 8 MB


@pytest.mark.parametrize(
    "keys", ["1:-1 RO", "5 RO", "1:-4 RO", "keyword:X:1:-1:1 RO", "keyword:X:-9:-1:1 RO", "numkeys:7 RO"]
)
def test_too_few_arguments_are_an_error_or_fewer_keys(keys: str) -> None:
    for args in ([], [b"x"], [b"x", b"x"], [b"a", b"x"]):
        try:
            found = positions(keys, *args)
        except CommandError:
            continue
        assert all(0 < at <= len(args) for at in found)


def test_flags_have_names() -> None:
    engine = Engine()
    ((_, flags),) = engine.command_keys([b"set", b"k", b"v"])
    assert flags == ("OW", "update")
    ((_, flags),) = engine.command_keys([b"SET", b"k", b"v", b"NX", b"get"])
    assert flags == ("RW", "access", "update")
    engine.close()


@pytest.mark.parametrize(
    ("args", "store"),
    [
        (b"k", []),
        (b"k STORE d", [3]),
        (b"k store a BY w_* store b", [7]),
        (b"k store store d", [4]),
        (b"k get store store d", [5]),
        (b"k LIMIT store 1 GET", []),
        (b"k LIMIT", []),
        (b"k store", []),
    ],
)
def test_the_keys_of_a_sort(args: bytes, store: list[int]) -> None:
    """Its own function finds what its specs do not say."""
    keys = probe("").command_keys([b"sort", *args.split()])
    assert keys == [(1, ("RO", "access")), *((at, ("OW", "update")) for at in store)]
    assert probe("").command_keys([b"sort_ro", *args.split()]) == [(1, ("RO", "access"))]
