"""HyperLogLog commands against the real Valkey, byte for byte, in both protocols."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Arg, Connection, Error
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

HEADER = b"HYLL\x01" + bytes(10) + b"\x80"
EMPTY = HEADER + b"\x7f\xff"
CUT_OFF = HEADER + b"\x84\x7f"  # the second byte of its last run is missing
TOO_FEW = HEADER + b"\x84\x7f\xf0"
TOO_MANY = HEADER + b"\x84\x7f\xff"
DENSE = b"HYLL\x00" + bytes(10) + b"\x80" + bytes(12_288)

SETS: dict[str, list[list[Arg]]] = {  # what the string `k` is at first
    "none": [],
    "sparse": [["PFADD", "k", *"abcdefgh"]],
    "dense": [["PFADD", "k", *"abcdefgh"], ["PFDEBUG", "TODENSE", "k"]],
    "embstr": [["SET", "k", EMPTY]],
    "stored": [["SET", "k", DENSE]],
    "text": [["SET", "k", "text"]],
    "number": [["SET", "k", 1234]],
    "short": [["SET", "k", HEADER]],
    "bad_encoding": [["SET", "k", b"HYLL\x02" + EMPTY[5:]]],
    "dense_too_short": [["SET", "k", DENSE[:-1]]],
    "too_few": [["SET", "k", TOO_FEW]],
    "too_many": [["SET", "k", TOO_MANY]],
    "list": [["RPUSH", "k", "a"]],
}

SCRIPTS = {
    "add": """
        PFADD
        PFADD k
        OBJECT ENCODING k
        PFADD k a b c
        PFADD k a b c
        PFADD k ""
        PFADD k \\x00\\xff x 1 2 3
        PFADD new
        PFADD new
        PFADD new a
        OBJECT ENCODING new
        GET new
        GET k
        OBJECT ENCODING k
    """,
    "count": """
        PFCOUNT
        PFCOUNT k
        OBJECT ENCODING k
        GET k
        PFCOUNT k
        PFADD other a b c d e f g h i j k
        PFCOUNT other k
        PFCOUNT k other missing
        PFCOUNT missing
        PFCOUNT missing missing
        PFCOUNT k k
        GET k
        GET other
        SET text x
        PFCOUNT other text
        PFCOUNT text other
        PFCOUNT other k text
        PFCOUNT k text
    """,
    "merge": """
        PFADD one a b c d
        PFADD two d e f
        PFADD three 1 2 3
        PFDEBUG TODENSE three
        SET text x
        RPUSH items x
        PFMERGE
        PFMERGE new
        GET new
        PFMERGE new one two
        GET new
        PFCOUNT new
        PFMERGE new one two
        GET new
        PFMERGE k one
        GET k
        PFMERGE k k
        GET k
        PFMERGE d one three
        GET d
        PFMERGE one k two
        GET one
        PFMERGE three three one missing
        GET three
        PFMERGE text one
        PFMERGE one text
        PFMERGE one k text
        PFMERGE one items
        PFMERGE items one
        OBJECT ENCODING new
        PFCOUNT one
        PFMERGE one
        GET one
    """,
    "debug": """
        PFDEBUG
        PFDEBUG ENCODING
        PFDEBUG ENCODING k
        PFDEBUG encoding k x
        PFDEBUG DECODE k
        PFDEBUG decode k
        PFDEBUG foo k
        PFDEBUG "" k
        PFDEBUG ENCODING missing
        PFDEBUG foo missing
        PFDEBUG TODENSE k
        PFDEBUG TODENSE k
        PFDEBUG DECODE k
        PFDEBUG GETREG k
        STRLEN k
        PFADD s x y z
        PFDEBUG GETREG s
        PFDEBUG ENCODING s
        OBJECT ENCODING s
        PFSELFTEST x
    """,
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str, form: str) -> None:
    both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


def test_selftest(client: Connection) -> None:
    assert client.call("PFSELFTEST") == "OK"


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", [0, 18, 100, 3000, 16_000, 1 << 40])
def test_growth(server: Instance, valkey: Instance, rng: random.Random, limit: int, resp: int) -> None:
    """Elements one by one and in bulk, the string after each; the limit where a sparse one becomes dense is live."""
    same = {"hll-sparse-max-bytes": limit}
    with Pair(server, valkey, resp=resp) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for i in range(300):
            count = rng.choice([1, 1, 2, 30])
            pair.run("PFADD", "k", *(b"%d" % rng.randrange(4000) for _ in range(count)))
            pair.run("PFDEBUG", "ENCODING", "k")
            pair.run("GET", "k")
            if i % 20 == 0:
                pair.run("PFCOUNT", "k")
                pair.run("PFMERGE", "d", "k", "e")
                pair.run("GET", "d")
                pair.run("PFADD", "e", *(b"%d" % rng.randrange(1 << 30) for _ in range(200)))
                pair.run("PFCOUNT", "k", "d", "e")


@pytest.mark.parametrize("command", ["PFADD k x", "PFCOUNT k", "PFCOUNT k one", "PFMERGE k one", "PFMERGE one k"])
def test_a_broken_string_stays_as_it_was(client: Connection, command: str) -> None:
    """Where a run is cut off a peer reads on behind the string: so without one."""
    for broken in (CUT_OFF, HEADER, TOO_FEW if "ADD" not in command else CUT_OFF):
        client.call("SET", "k", broken)
        client.call("PFADD", "one", "a")
        one = client.call("GET", "one")
        assert client.call(*command.split()) == Error("INVALIDOBJ Corrupted HLL object detected")
        assert client.call("GET", "k") == broken
        assert client.call("GET", "one") == one


def test_a_string_longer_than_any_sound_one(client: Connection) -> None:
    client.call("SET", "k", HEADER + b"\x00" * 40_000)
    assert client.call("PFADD", "k", "a") == Error("INVALIDOBJ Corrupted HLL object detected")
    assert client.call("PFCOUNT", "k") == Error("INVALIDOBJ Corrupted HLL object detected")
    assert client.call("PFDEBUG", "TODENSE", "k") == Error("INVALIDOBJ Corrupted HLL object detected")


@pytest.mark.parametrize(
    "command",
    [
        *("PFADD k", "PFADD k a", "PFADD k new", "PFADD none", "PFCOUNT k", "PFCOUNT k none", "PFCOUNT none"),
        *("PFMERGE k", "PFMERGE none", "PFMERGE none k", "PFDEBUG TODENSE k", "PFDEBUG GETREG k", "PFDEBUG ENCODING k"),
    ],
)
def test_what_changes_a_watched_key(pair: Pair, command: str) -> None:
    pair.flush()
    for key in ("k", "none"):
        pair.pipeline([["PFADD", "k", "a"], ["WATCH", key], command.split(), ["MULTI"], ["EXEC"]])
        pair.pipeline([["PFCOUNT", "k"], ["WATCH", key], command.split(), ["MULTI"], ["EXEC"], ["DEL", "none"]])


def test_memory(client: Connection) -> None:
    """A dense string takes what it is long; a sparse one has no room for as much again."""
    for i in range(600):
        client.call("PFADD", "k", i)
    assert client.call("MEMORY", "USAGE", "k") < client.call("STRLEN", "k") * 1.3 + 100
    client.call("PFDEBUG", "TODENSE", "k")
    assert client.call("MEMORY", "USAGE", "k") < 12_304 + 200
