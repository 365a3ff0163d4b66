"""Clients that wait for lists, sorted sets and streams, beside the real Valkey: BLPOP, BLMOVE, BZMPOP, XREADGROUP ...

A step is one client's pipeline; after it, what each client of either server received must be the same bytes, and so
must be the counts of who waits for what.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from cachefleet_server.admin.client_cmd import ClientCommands
from cachefleet_server.engine import Engine
from fleettest.client import encode
from fleettest.instance import Instance
from fleettest.listeners import Socket
from fleettest.peers import Peer
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

DATABASES = 3
KEYS = ("a", "b", "c", "d")
STORED = ("l", "z")  # a list, a sorted set: Valkey wakes nobody where a command stores over a value of another type
CLIENTS = 6
ENDS = ("LEFT", "RIGHT")


def heard(its: Socket) -> bytes:
    """What came, as a Peer says it."""
    return its.read() + b"<closed>" * its.closed


class Both:
    def __init__(self, theirs: Instance, rng: random.Random) -> None:
        self.rng = rng
        self.server = theirs
        self.engine = Engine()
        ClientCommands(self.engine, 16).register()
        self.admin = theirs.connect()
        self.clients = [self.connect() for _ in range(CLIENTS)]
        self.waits = [False] * CLIENTS
        self.elements = 0

    def close(self) -> None:
        for ours, theirs in self.clients:
            ours.socket.close()
            theirs.socket.close()
        self.engine.close()
        self.admin.close()

    def connect(self) -> tuple[Peer, Socket]:
        return Peer(self.engine), Socket(self.server)

    def simple(self) -> str:
        key, other, db = self.rng.choice(KEYS), self.rng.choice(KEYS), self.rng.randrange(DATABASES)
        return self.rng.choice(
            [f"RPUSH {key} {self.element()}", f"LPUSH {key} {self.element()}"] * 3
            + [f"RPUSH {key} {self.element()} {self.element()}", f"LPUSHX {key} {self.element()}", f"LPOP {key}",
               f"LMOVE {key} {other} LEFT LEFT", f"LTRIM {key} 1 -1",
               f"ZADD {key} {self.element()} m", f"ZADD {key} 1 a 2 b", f"ZPOPMAX {key}", f"ZADD {key} 3 c",
               f"ZRANGESTORE z {other} 0 1", f"SORT {other} BY nosort LIMIT 0 2 STORE l", "LPOP l", "ZPOPMAX z",
               f"XADD {key} {self.element()}-1 f v", f"XADD {key} {self.element()}-1 f v", f"XTRIM {key} MAXLEN 1",
               f"XGROUP CREATE {key} g 0 MKSTREAM", f"XGROUP CREATE {key} g $", f"XGROUP DESTROY {key} g",
               f"XREADGROUP GROUP g c STREAMS {key} >", f"XGROUP SETID {key} g $",
               f"DEL {key}", f"RENAME {key} {other}", f"COPY {key} {other}", f"MOVE {key} {db}",
               f"COPY {key} {other} DB {db} REPLACE", self.swap(db), f"SET {key} s",
               f"RENAMENX {key} {other}", f"PEXPIRE {key} 0", f"PEXPIRE {key} 100000", f"PERSIST {key}",
               f"EXISTS {key} {other}", "DBSIZE", "PING", f"SELECT {db}"]
            + self.rng.sample(["FLUSHALL", "FLUSHDB", f"WATCH {key}", "UNWATCH"], 1)
        )  # fmt: skip

    def swap(self, db: int) -> str:
        """Of several keys that are ready then, Valkey serves those first that come first in a hash table."""
        return f"SWAPDB {db} {self.rng.randrange(DATABASES)}" if self.engine.stats()["blocking_keys"] < 2 else "DBSIZE"

    def element(self) -> int:
        """Another one each time."""
        self.elements += 1
        return self.elements

    def waiting(self) -> str:
        keys = self.rng.choices(KEYS + STORED, k=self.rng.randint(1, 3))
        end, other, target = self.rng.choice(ENDS), self.rng.choice(ENDS), self.rng.choice(KEYS)
        return self.rng.choice(
            [f"BLMOVE {keys[0]} {target} {end} {other} 0", f"BRPOPLPUSH {keys[0]} {target} 0"]
            + [f"BLMPOP 0 {len(keys)} {' '.join(keys)} {end} COUNT {self.rng.randint(1, 3)}"]
            + [f"BLPOP {' '.join(keys)} 0", f"BRPOP {' '.join(keys)} 0"] * 2
            + [f"BZPOPMIN {' '.join(keys)} 0", f"BZPOPMAX {' '.join(keys)} 0"]
            + [f"XREAD BLOCK 0 STREAMS {' '.join(keys)} {' '.join('$' for _ in keys)}"] * 2
            + [f"XREAD BLOCK 0 COUNT 1 STREAMS {keys[0]} {self.elements}", f"XREAD BLOCK 0 STREAMS {keys[0]} +"]
            + [f"XREADGROUP GROUP g c BLOCK 0 STREAMS {keys[0]} >"] * 2
            + [f"BZMPOP 0 {len(keys)} {' '.join(keys)} MIN COUNT {self.rng.randint(1, 3)}"]
        )

    def pipeline(self) -> list[str]:
        draw = self.rng.random()
        if draw < 0.3:
            return [self.simple()]
        if draw < 0.65:
            return [*(self.simple() for _ in range(self.rng.randrange(3))), self.waiting(), "PING"]
        if draw < 0.8:
            inside = [self.waiting() if self.rng.random() < 0.3 else self.simple() for _ in range(3)]
            return ["MULTI", *(row for row in inside if not row.startswith("WATCH")), "EXEC"]
        return [self.simple() for _ in range(4)]

    def step(self) -> list[str]:
        """What was sent, by whom, and what all received."""
        free = [i for i, waits in enumerate(self.waits) if not waits]
        victim = self.rng.randrange(CLIENTS)
        draw = self.rng.random()
        if not free or draw < 0.12:
            word = self.rng.choice(["UNBLOCK {}", "UNBLOCK {} ERROR", "UNBLOCK {} TIMEOUT", "KILL ID {}"])
            sender = self.rng.choice(free) if free and self.rng.random() < 0.8 else -1
            behind = [self.simple()]
            ours = ["CLIENT " + word.format(self.clients[victim][0].id), *behind]
            theirs = ["CLIENT " + word.format(self.clients[victim][1].id), *behind]
        else:
            sender = self.rng.choice(free)
            ours = self.pipeline()
            theirs = ours
        if sender == -1:  # a client of its own, so that all others may wait
            pair = self.connect()
            self.run(pair, ours[:1], theirs[:1])
            assert pair[0].read() == heard(pair[1])
            pair[0].socket.close()
            pair[1].socket.close()
            self.settle()
        else:
            self.run(self.clients[sender], ours, theirs)
        log = [f"{sender}: {ours}"]
        for i, (mine, its) in enumerate(self.clients):
            got, expected = mine.read(), heard(its)
            log.append(f"    {i} {expected!r}" if expected else "")
            assert got == expected, f"client {i}: {got!r} instead of {expected!r}, {sender}: {ours}"
            if expected.endswith(b"<closed>"):
                mine.socket.close()
                its.socket.close()
                self.clients[i] = self.connect()
        self.settle()
        self.compare()
        return [line for line in log if line]

    def run(self, pair: tuple[Peer, Socket], ours: list[str], theirs: list[str]) -> None:
        pair[0].socket.sendall(b"".join(encode(*row.split(" ")) for row in ours))
        pair[1].send([row.split(" ") for row in theirs])
        self.settle()

    def settle(self) -> None:
        for _ in range(4):
            self.engine.tick()
            self.admin.call("PING")

    def compare(self) -> None:
        assert self.engine.check() == []
        stats = self.engine.stats()
        rows = self.admin.call("INFO", "clients").decode().split("\r\n")
        info = dict(row.split(":", 1) for row in rows if ":" in row)
        assert stats["blocked_clients"] == int(info["blocked_clients"])
        assert stats["blocking_keys"] == int(info["total_blocking_keys"])
        lines = self.admin.call("CLIENT", "LIST").decode().split("\n")
        blocked = {int(row.split(" ")[0][3:]) for row in lines if row and "b" in row.split("flags=")[1].split(" ")[0]}
        self.waits = [its.id in blocked for _, its in self.clients]


@pytest.fixture
def both(valkey: Instance, rng: random.Random) -> Iterator[Both]:
    pair = Both(valkey, rng)
    yield pair
    pair.close()


WRONG_ELSEWHERE = (
    *("PEXPIRE a 100000", "PERSIST a", "XDEL a 5-0", "XTRIM a MAXLEN 0", "XGROUP CREATE a h 0", "XSETID a 6-0"),
    *("XADD a 9-0 f v", "XGROUP CREATE b g 0 MKSTREAM", "COPY a b", "RENAME a b", "DEL a", "LPUSH b 1"),
    *("XADD b 1-0 f v", "MOVE a 1", "SWAPDB 0 1", "FLUSHALL"),
)


@pytest.mark.parametrize("change", WRONG_ELSEWHERE)
def test_who_waits_for_a_stream_is_looked_at_when_one_comes_or_grows(pair: Pair, change: str) -> None:
    """Another of its keys has a value of another type by then, so it is seen whether anybody looked."""
    found = []
    for server in pair.instances:
        with server.connect() as admin, server.connect() as reader:
            admin.call("XADD", "a", "5-0", "f", "v")
            reader.send_command("XREAD", "BLOCK", "0", "STREAMS", "a", "b", "d", "$", "$", "$")
            assert_eventually(lambda server=server: server.info("clients")["blocked_clients"] == "1")
            admin.call("LPUSH", "d", "1")
            admin.call(*change.split())
            waits = server.info("clients")["blocked_clients"] == "1"
            found.append(None if waits else reader.read())
            admin.call("FLUSHALL")
    assert found[0] == found[1]


@pytest.mark.parametrize("round_", range(4))
def test_who_is_served_with_what_is_as_in_valkey(both: Both, round_: int) -> None:
    log: list[str] = []
    waited = 0
    for n in range(250):
        try:
            log += both.step()
        except AssertionError as error:
            raise AssertionError(f"step {n}: {error}\n" + "\n".join(log[-30:])) from error
        waited += any(both.waits)
    assert waited > 25
