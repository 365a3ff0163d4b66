"""Client-side caching beside the real Valkey: who is told what, behind which reply, in all modes and both protocols.

A step is one request, or one transaction, of one client: then what BCAST gathers is the same on both servers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from fleettest.instance import Instance
from fleettest.listeners import Several, messages, without_ids

pytestmark = [pytest.mark.server, pytest.mark.differential]

CLIENTS = 6
KEYS = ("a", "b", "aa", "key:1", "key:11", "")
PREFIXES = ("", "a", "b", "aa", "key:", "key:1")
STEPS = 1500  # who is told little within 500 is told more within these


class Tracking:
    def __init__(self, both: Several, rng: random.Random) -> None:
        self.both = both
        self.rng = rng
        self.told = 0

    def key(self) -> str:
        return self.rng.choice(KEYS)

    def options(self) -> list[str]:
        words: list[str] = []
        for word, share in (("OPTIN", 0.15), ("OPTOUT", 0.15), ("NOLOOP", 0.3), ("BCAST", 0.35)):
            if self.rng.random() < share:
                words.append(word)
        if self.rng.random() < 0.3:
            words += ["REDIRECT", f"{{{self.rng.randrange(CLIENTS)}}}"]
        if "BCAST" in words:
            for prefix in self.rng.sample(PREFIXES, self.rng.randrange(3)):
                words += ["PREFIX", prefix]
        return words

    def about_tracking(self) -> list[str]:
        return self.rng.choice([
            *[["CLIENT", "TRACKING", "on", *self.options()]] * 4, ["CLIENT", "TRACKING", "ON"],
            ["CLIENT", "CACHING", self.rng.choice(["yes", "no"])], ["CLIENT", "CACHING", "yes"],
            self.rng.choice([["CLIENT", "TRACKINGINFO"], ["CLIENT", "TRACKING", "off"]]),
        ])  # fmt: skip

    def about_keys(self) -> list[str]:
        a, b = self.key(), self.key()
        return self.rng.choice(
            [["GET", a], ["MGET", a, b, a], ["EXISTS", a, b], ["TYPE", a], ["STRLEN", a], ["SMEMBERS", "none"]] * 2
            + [["SET", a, "v"], ["MSET", a, "1", b, "2"], ["DEL", a, b], ["RENAME", a, b], ["COPY", a, b],
               ["INCR", "n"], ["APPEND", a, "x"], ["EXPIRE", a, "1000"], ["PEXPIRE", a, "0"], ["GETDEL", a],
               ["GETEX", a, "PERSIST"], ["LPUSH", "l", "x"], ["LRANGE", "l", "0", "-1"], ["LPOP", "l"],
               ["MOVE", a, "1"], ["DBSIZE"]]
        )  # fmt: skip

    def seldom(self) -> list[str]:
        return self.rng.choice([
            ["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "1"], self.rng.choice([["RESET"], ["HELLO", "2"]]),
            *[["HELLO", "3"]] * 4,
            ["CLIENT", "KILL", "ID", f"{{{self.rng.randrange(CLIENTS)}}}"], ["SUBSCRIBE", "__redis__:invalidate"],
            ["UNSUBSCRIBE"], ["SELECT", self.rng.choice("01")],
        ])  # fmt: skip

    def pipeline(self) -> list[list[str]]:
        draw = self.rng.random()
        if draw < 0.2:
            return [self.about_tracking()]
        if draw < 0.27:
            return [self.seldom()]
        if draw < 0.4:
            rows = [self.about_keys() for _ in range(self.rng.randint(1, 5))]
            return [["MULTI"], *rows, ["EXEC"]]
        return [self.about_keys()]

    def step(self) -> str:
        client, rows = self.rng.randrange(CLIENTS), self.pipeline()
        got = self.both.run(client, *rows)
        self.told += sum(len(messages(row)) for row in got)
        ours, theirs = (self.facts(side) for side in (0, 1))
        assert ours == theirs
        return f"{client}: {rows} -> {got}"[:900]

    def facts(self, side: int) -> object:
        admin = self.both.admins[side]
        info = admin.call("INFO", "stats").decode() + admin.call("INFO", "clients").decode()
        lines = {}
        for line in admin.call("CLIENT", "LIST").decode().splitlines():
            fields = dict(word.split("=", 1) for word in line.split(" "))
            lines[int(fields["id"])] = fields
        indices = {str(pair[side].id): i for i, pair in enumerate(self.both.clients)}
        shown = []
        for pair in self.both.clients:
            fields = lines[pair[side].id]
            redirection = fields["redir"]
            shown.append((fields["flags"], fields["resp"], indices.get(redirection, redirection in ("0", "-1"))))
        return re.findall(r"(?m)^tracking_\w+:\d+", info), shown


@pytest.fixture
def both(server: Instance, valkey: Instance) -> Iterator[Several]:
    made = Several(server, valkey, CLIENTS, without_ids)
    yield made
    made.close()


def test_who_is_told_what_is_as_in_valkey(both: Several, rng: random.Random) -> None:
    tracking = Tracking(both, rng)
    log: list[str] = []
    for client in range(0, CLIENTS, 2):
        both.run(client, ["HELLO", "3"])
    for n in range(STEPS):
        try:
            log.append(tracking.step())
        except AssertionError as error:
            raise AssertionError(f"step {n}: {error}\n" + "\n".join(log[-25:])) from error
    assert tracking.told > 30
