"""Channels, patterns and shard channels beside the real Valkey, with several clients of both protocols.

A step is one client's pipeline; after it, what each client of either server received must be the same, and so must be
who is said to listen to what.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from fleettest.instance import Instance
from fleettest.listeners import Several
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

CLIENTS = 6
CHANNELS = ("a", "b", "ab", "news", "news.eu", "")
PATTERNS = ("*", "a*", "?", "news.*", "[ab]", "n\\ews", "", "*b")
STEPS = 400


class Listening:
    def __init__(self, both: Several, rng: random.Random) -> None:
        self.both = both
        self.rng = rng
        self.messages = 0

    def message(self) -> str:
        """Another one each time; now and then one that is shared."""
        self.messages += 1
        return f"m{self.messages}" + "x" * self.rng.choice([0, 0, 0, 0, 5000, 40000])

    def names(self) -> list[str]:
        return self.rng.choices(CHANNELS, k=self.rng.randint(1, 3))

    def simple(self) -> list[str]:
        channel = self.rng.choice(CHANNELS)
        return self.rng.choice(
            [["PUBLISH", channel, self.message()]] * 4
            + [["SPUBLISH", channel, self.message()]] * 2
            + [["SUBSCRIBE", *self.names()], ["SSUBSCRIBE", *self.names()]] * 2
            + [["PSUBSCRIBE", *self.rng.choices(PATTERNS, k=2)]] * 2
            + [["UNSUBSCRIBE", *self.names()], ["SUNSUBSCRIBE", *self.names()],
               ["PUNSUBSCRIBE", self.rng.choice(PATTERNS)]]
            + [["PING"], ["PING", "x"], ["GET", "k"], ["PUBSUB", "NUMSUB", *CHANNELS], ["PUBSUB", "NUMPAT"],
               ["PUBSUB", "SHARDNUMSUB", *CHANNELS], ["SET", "k", "v"], ["GET"], ["NONE"]]
        )  # fmt: skip

    def seldom(self) -> list[str]:
        return self.rng.choice([
            ["UNSUBSCRIBE"], ["PUNSUBSCRIBE"], ["SUNSUBSCRIBE"], ["RESET"], ["HELLO", "3"], ["HELLO", "2"],
            ["CLIENT", "KILL", "ID", f"{{{self.rng.randrange(CLIENTS)}}}"], ["QUIT"],
            ["CLIENT", "KILL", "TYPE", "pubsub"],
        ])  # fmt: skip

    def pipeline(self) -> list[list[str]]:
        draw = self.rng.random()
        if draw < 0.15:
            return [self.seldom()]
        if draw < 0.4:
            return [["MULTI"], *(self.simple() for _ in range(self.rng.randint(1, 4))), ["EXEC"]]
        return [self.simple() for _ in range(self.rng.randint(1, 4))]

    def step(self) -> str:
        client, rows = self.rng.randrange(CLIENTS), self.pipeline()
        got = self.both.run(client, *rows)
        self.compare()
        return re.sub("xxx+", "x..", f"{client}: {rows} -> {got}")[:1000]

    def compare(self) -> None:
        assert_eventually(lambda: self.facts(0) == self.facts(1), lambda: f"{self.facts(0)}\n{self.facts(1)}")

    def facts(self, side: int) -> object:
        admin = self.both.admins[side]
        info = admin.call("INFO", "stats").decode() + admin.call("INFO", "clients").decode()
        lines = {}
        for line in admin.call("CLIENT", "LIST").decode().splitlines():
            fields = dict(word.split("=", 1) for word in line.split(" "))
            lines[int(fields["id"])] = [fields[name] for name in ("flags", "sub", "psub", "ssub", "resp")]
        return (
            sorted(admin.call("PUBSUB", "CHANNELS")), sorted(admin.call("PUBSUB", "SHARDCHANNELS")),
            sorted(admin.call("PUBSUB", "CHANNELS", "*e*")), admin.call("PUBSUB", "NUMPAT"),
            re.findall(r"(?m)^(?:pubsub|pubsubshard)_\w+:\d+", info),
            [lines.get(pair[side].id) for pair in self.both.clients],
        )  # fmt: skip


@pytest.fixture
def both(server: Instance, valkey: Instance) -> Iterator[Several]:
    made = Several(server, valkey, CLIENTS)
    yield made
    made.close()


@pytest.mark.parametrize("round_", range(3))
def test_who_hears_what_is_as_in_valkey(both: Several, rng: random.Random, round_: int) -> None:
    listening = Listening(both, rng)
    log: list[str] = []
    for n in range(STEPS):
        try:
            log.append(listening.step())
        except AssertionError as error:
            raise AssertionError(re.sub("xxx+", "x..", f"step {n}: {error}\n") + "\n".join(log[-25:])) from error
