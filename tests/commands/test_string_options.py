"""Options of SET, GETEX and MSETEX in all combinations and orders, against the real Valkey; what they count."""

from __future__ import annotations

import itertools

import pytest

from fleettest.client import Connection
from fleettest.reference import Pair
from fleettest.scripts import Command, words

pytestmark = [pytest.mark.server, pytest.mark.differential]

FUTURE_S = 9999999999

CONDITIONS: tuple[list[str], ...] = ([], ["NX"], ["XX"], ["IFEQ", "old"], ["IFEQ", "other"], ["NX", "XX"], ["IFEQ"])
GETS: tuple[list[str], ...] = ([], ["GET"])
EXPIRIES: tuple[list[str], ...] = (
    [], ["KEEPTTL"], ["EX", "1000"], ["PX", "1000000"], ["EXAT", str(FUTURE_S)], ["PXAT", f"{FUTURE_S}000"],
    ["EXAT", "1"], ["EX", "0"], ["PX", "-7"], ["EX", "abc"], ["EX"], ["KEEPTTL", "PX", "1"], ["PERSIST"],
)  # fmt: skip
BEFORE: tuple[Command, ...] = (("DEL", "k"), ("SET", "k", "old"), ("SET", "k", "old", "EXAT", FUTURE_S + 1))


def test_set_option_combinations(pair: Pair) -> None:
    commands: list[Command] = []
    for before, condition, get, expiry in itertools.product(BEFORE, CONDITIONS, GETS, EXPIRIES):
        for parts in ((condition, get, expiry), (expiry, get, condition), (get, expiry, condition)):
            commands += [before, ("SET", "k", "new", *itertools.chain(*parts)), ("GET", "k"), ("TTL", "k")]
    pair.flush()
    pair.pipeline(commands)


def test_getex_and_msetex_option_combinations(pair: Pair) -> None:
    commands: list[Command] = []
    for before, condition, get, expiry in itertools.product(BEFORE, CONDITIONS, GETS, EXPIRIES):
        commands += [before, ("GETEX", "k", *expiry, *condition, *get), ("GET", "k"), ("TTL", "k")]
        commands += [before, ("MSETEX", 2, "k", "new", "j", "1", *condition, *expiry, *get), ("MGET", "k", "j")]
        commands += [("TTL", "k"), ("TTL", "j"), ("DEL", "j")]
    pair.flush()
    pair.pipeline(commands)


COUNTED = """
    GET K|SET K 5|SET K 5 NX|SET K 5 XX|SET K 5 GET|SET K 5 IFEQ 5|SET K 5 IFEQ 5 GET|SETNX K 5|GETSET K 5|APPEND K 5
    STRLEN K|SETRANGE K 0 5|SETRANGE K 0 ""|GETRANGE K 0 1|INCR K|INCRBYFLOAT K 1|MGET K|MGET K K|MSET K 1|MSETNX K 1
    MSETEX 1 K 1|MSETEX 1 K 1 NX|LCS K K|LCS K other|GETEX K|GETEX K EX 100|DELIFEQ K 99|SET K v EXAT 1|GETDEL K
    """.replace("\n", "|")


def counters(connection: Connection) -> tuple[int, ...]:
    lines = bytes(connection.call("INFO", "stats")).decode().splitlines()
    lines += bytes(connection.call("INFO", "persistence")).decode().splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    names = ("keyspace_hits", "keyspace_misses", "expired_keys", "rdb_changes_since_last_save")
    return tuple(int(found[name]) for name in names)


@pytest.mark.parametrize("exists", [True, False])
def test_hits_misses_and_changes(pair: Pair, exists: bool) -> None:
    for text in filter(str.strip, COUNTED.split("|")):
        pair.flush()
        if exists:
            pair.run("SET", "k", "5")
        command = [word.replace(b"K", b"k") if word == b"K" else word for word in words(text)]
        before = [counters(c) for c in (pair.ours, pair.theirs)]
        pair.run(*command)
        after = [counters(c) for c in (pair.ours, pair.theirs)]
        ours, theirs = ([y - x for x, y in zip(*pair_, strict=True)] for pair_ in zip(before, after, strict=True))
        assert ours == theirs, f"{text!r} (exists: {exists}): hits, misses, expired, changes"
