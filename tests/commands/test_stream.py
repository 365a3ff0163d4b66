"""Stream commands against the real Valkey, byte for byte, in both protocols."""

from __future__ import annotations

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]


def _add(*ids: str) -> list[list[str]]:
    return [["XADD", "k", id, "f", f"v{i}", "n", str(i * 1000)] for i, id in enumerate(ids)]


SETS: dict[str, list[list[str]]] = {  # what the stream `k` is at first
    "short": _add("1-1", "1-2", "2-0", "3-18446744073709551615", "5-5"),
    "blocks": [
        *(["XADD", "k", f"{i}-{i % 3}", *(["a", "1"] if i % 7 else ["b", "x" * 70, "c", "-5"])] for i in range(1, 350)),
        ["XDEL", "k", "1-1", "100-1", "101-2", "349-1"],
    ],
    "large": [["XADD", "k", "7-7", "f", "x" * 9000, "y" * 70_000, ""], ["XADD", "k", "8-0", "f", "z" * 5000]],
    "full": _add("18446744073709551615-18446744073709551614"),
    "over": _add("18446744073709551615-18446744073709551615"),
    "emptied": [*_add("1-1", "5-0"), ["XDEL", "k", "1-1", "5-0"]],
    "string": [["SET", "k", "text"]],
    "none": [],
}

SCRIPTS = {
    "add": """
        XADD
        XADD k
        XADD k *
        XADD k * f
        XADD k * f v g
        XADD k 0-0 f v
        XADD k 0 f v
        XADD k 0-* f v
        XADD k 3 f v
        XADD k 6-1 f v
        XADD k 6-1 f v
        XADD k 6-0 f v
        XADD k 6-* f v
        XADD k 6-* g v
        XADD k 5-* g v
        XADD k 7-* "" ""
        XADD k 18446744073709551615-* f v
        XADD k 18446744073709551615-* f v
        XADD k 18446744073709551615-18446744073709551615 f v
        XADD k - f v
        XADD k + f v
        XADD k 1-1-1 f v
        XADD k -1-1 f v
        XADD k 1--1 f v
        XADD k 1-\\x20-1 f v
        XADD k \\x209 f v
        XADD k +10-01 f v
        XADD k 18446744073709551616 f v
        XADD k 1-18446744073709551616 f v
        XADD k 1a f v
        XADD k "" f v
        XADD k 1-\\x00 f v
        XADD k NOMKSTREAM 200-1 f v
        XADD new NOMKSTREAM 1-1 f v
        XADD new nomkstream NOMKSTREAM * f v
        EXISTS new
        XADD new 1-1 f v f w
        XRANGE new - +
        XLEN k
        XRANGE k - +
        XLEN
        XLEN no
        TYPE new
        OBJECT ENCODING new
    """,
    "add_and_trim": """
        XADD k MAXLEN 3 1000-1 f v
        XADD k MAXLEN = 2 1000-2 f v
        XADD k MAXLEN ~ 2 1000-3 f v
        XADD k MAXLEN ~ 2 LIMIT 1 1000-4 f v
        XADD k MAXLEN ~ 0 LIMIT 0 1000-5 f v
        XADD k MAXLEN 2 LIMIT 1 1000-6 f v
        XADD k LIMIT 1 1000-6 f v
        XADD k LIMIT 0 1000-6 f v
        XADD k MAXLEN -1 1000-6 f v
        XADD k MAXLEN a 1000-6 f v
        XADD k MAXLEN 1 MINID 1 1000-6 f v
        XADD k MAXLEN 1 MAXLEN 1 1000-6 f v
        XADD k MAXLEN ~ 1000-6
        XADD k MAXLEN
        XADD k MAXLEN ~ 10 LIMIT -1 1000-6 f v
        XADD k MAXLEN ~ 10 LIMIT a 1000-6 f v
        XADD k MINID 1000-3 1000-7 f v
        XADD k MINID = 1000 1000-8 f v
        XADD k MINID ~ 1000-8 1000-9 f v
        XADD k MINID - 1000-10 f v
        XADD k minid 9999 nomkstream 1001-1 f v
        XLEN k
        XADD k MAXLEN 0 1002-1 f v
        XLEN k
        XRANGE k - +
        EXISTS k
    """,
    "ranges": """
        XRANGE k
        XRANGE k -
        XRANGE k - +
        XRANGE k + -
        XREVRANGE k + -
        XREVRANGE k - +
        XRANGE k 1 1
        XRANGE k 1-2 3
        XRANGE k (1-1 (3
        XRANGE k (1-1 +
        XREVRANGE k (5-5 (1-1
        XRANGE k (18446744073709551615-18446744073709551615 +
        XRANGE k - (0-0
        XRANGE k (- +
        XRANGE k - (+
        XRANGE k ( +
        XRANGE k a +
        XRANGE k - a
        XRANGE k - + COUNT
        XRANGE k - + COUNT 2
        XREVRANGE k + - COUNT 2
        XRANGE k - + count 0
        XRANGE k - + COUNT -5
        XRANGE k - + COUNT a
        XRANGE k - + COUNT 1 COUNT 3
        XRANGE k - + LIMIT 1
        XRANGE k 100 103
        XREVRANGE k 103 100
        XRANGE k 99-0 101-2 COUNT 1
        XRANGE k 340 400
        XREVRANGE k + 340 COUNT 3
        XRANGE no - +
        XRANGE no - + COUNT 0
        XREVRANGE no a b
    """,
    "delete": """
        XDEL
        XDEL k
        XDEL k 1-1
        XDEL k 1-1
        XDEL k 1-2 5-5 5-5 9-9
        XDEL k 2 a
        XDEL k - +
        XDEL k 2 3 3-18446744073709551615
        XDEL no 1
        XDEL no a
        XLEN k
        XRANGE k - +
        EXISTS k
        XDEL k 18446744073709551615-18446744073709551614
        XDEL k 7-7
        XRANGE k - +
        XADD k 18446744073709551615-* f v
    """,
    "trim": """
        XTRIM
        XTRIM k
        XTRIM k MAXLEN
        XTRIM k MAXLEN a
        XTRIM k MAXLEN -1
        XTRIM k LIMIT 1
        XTRIM k LIMIT 0
        XTRIM k MAXLEN 1 x
        XTRIM k * MAXLEN 1
        XTRIM k MAXLEN = 4
        XTRIM k MAXLEN ~ 3
        XTRIM k MAXLEN ~ 100
        XTRIM k MAXLEN ~ 0 LIMIT 100
        XTRIM k MAXLEN 300 LIMIT 5
        XTRIM k MINID 2
        XTRIM k MINID = 2-1
        XTRIM k MINID ~ 250
        XTRIM k MINID ~ 250 LIMIT 30
        XTRIM k MINID 260
        XTRIM k MINID a
        XTRIM k MINID -
        XTRIM k MAXLEN 5 MINID 1
        XTRIM no MAXLEN 1
        XRANGE k - +
        XTRIM k MAXLEN 1
        XRANGE k - +
        XTRIM k MAXLEN 0
        XLEN k
        EXISTS k
    """,
    "keys": """
        XADD k 2000-1 f v
        COPY k copy
        XADD copy 2001-1 f v
        XDEL copy 1-1 2-0
        XRANGE k - + COUNT 10
        XRANGE copy - + COUNT 10
        RENAME copy k
        XRANGE k - + COUNT 10
        OBJECT ENCODING k
        TYPE k
        DEBUG DIGEST-VALUE k
        LPUSH k 1
        GET k
        SET k text
        XADD k 1-1 f v
        DEL k
    """,
}


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_replies(server: Instance, valkey: Instance, name: str, form: str, resp: int) -> None:
    with Pair(server, valkey, resp=resp) as pair:
        both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


def test_ids_by_the_clock(client: Connection) -> None:
    def now_ms() -> int:
        seconds, us = client.call("TIME")
        return int(seconds) * 1000 + int(us) // 1000

    before = now_ms()
    ids = [tuple(map(int, client.call("XADD", "k", "*", "f", "v").split(b"-"))) for _ in range(50)]
    assert ids == sorted(set(ids))
    assert before <= ids[0][0] <= ids[-1][0] <= now_ms()
    future = before + 10**9
    client.call("XADD", "k", f"{future}-5", "f", "v")
    assert client.call("XADD", "k", "*", "f", "v") == b"%d-6" % future
    assert client.call("XADD", "k", f"{future}-*", "f", "v") == b"%d-7" % future
    client.call("XADD", "k", f"{future}-18446744073709551615", "f", "v")
    assert client.call("XADD", "k", "*", "f", "v") == b"%d-0" % (future + 1)


@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 127, 128, 4095, 4096, 16383, 20000])
def test_sizes(server: Instance, valkey: Instance, size: int) -> None:
    """Every form of a word at its borders, as field and as value, in blocks of their own and beside others."""
    with Pair(server, valkey) as pair:
        pair.flush()
        for i, text in enumerate(("v" * size, "9" * min(size, 25), f"-{10**min(size, 18)}")):
            for j in range(3):
                pair.run("XADD", "k", f"{i + 1}-{j + 1}", "f", text)
            pair.run("XADD", "k", f"{i + 1}-8", text, text, "f", "")
            pair.run("XADD", "k", f"{i + 1}-9", text, "1")
            pair.run("XRANGE", "k", "-", "+")
            pair.run("XREVRANGE", "k", "+", "-")
            pair.run("XDEL", "k", f"{i + 1}-2")
            pair.run("DEBUG", "DIGEST-VALUE", "k")


def test_parameters_live(server: Instance, valkey: Instance) -> None:
    """A block's limits decide which entries a trim by whole blocks removes."""
    same = {"stream-node-max-bytes": 4096, "stream-node-max-entries": 100}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for n, (size, entries) in enumerate(((4096, 100), (0, 7), (200, 0), (0, 0), (50, 3), (10**12, 1))):
            pair.run("CONFIG", "SET", "stream-node-max-bytes", size, "stream-node-max-entries", entries)
            for i in range(250):
                pair.run("XADD", "k", f"{n + 1}-{i}" if n or i else "1-0-", "f" if i % 11 else "g", "v" * (i % 40))
                pair.run("XADD", "k", f"{n + 1}-{i}", "f" if i % 11 else "g", "v" * (i % 40))
            for length in (240, 150, 149, 20):
                pair.run("XTRIM", "k", "MAXLEN", "~", length)
                pair.run("XLEN", "k")
            pair.run("CONFIG", "GET", "stream-*")


@pytest.mark.parametrize(
    "command",
    [
        *(["XADD", "k", "5-0", "f", "v"], ["XADD", "k", "1-0", "f", "v"]),
        *(["XADD", "no", "NOMKSTREAM", "9-0", "f", "v"],),
        *(["XDEL", "k", "1-0"], ["XDEL", "k", "9-0"], ["XTRIM", "k", "MAXLEN", 1], ["XTRIM", "k", "MAXLEN", 5]),
        *(["XTRIM", "k", "MAXLEN", "~", 0], ["XRANGE", "k", "-", "+"], ["XLEN", "k"]),
    ],
    ids=lambda words: "-".join(map(str, words)),
)
def test_what_changes_a_watched_key(server: Instance, valkey: Instance, command: list[str | int]) -> None:
    with Pair(server, valkey) as pair:
        pair.flush()
        pair.pipeline([*_add("1-0", "2-0"), ["WATCH", "k", "no"], command, ["MULTI"], ["EXEC"]])


def test_an_entry_that_is_sent_while_it_is_removed(client: Connection) -> None:
    """Long words are sent from the block where they lie."""
    large = bytes(range(256)) * 4000
    client.call("XADD", "k", "1-1", "f", large)
    *_, found, removed, gone = client.pipeline([
        ("XADD", "k", "1-2", "g", large), ("XRANGE", "k", "-", "+"), ("XDEL", "k", "1-1"), ("DEL", "k"),
    ])  # fmt: skip
    assert found == [[b"1-1", [b"f", large]], [b"1-2", [b"g", large]]]
    assert (removed, gone) == (1, 1)
