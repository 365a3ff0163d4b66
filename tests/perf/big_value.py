"""What happens to one value of millions of elements beside a steady load on other keys: how late replies come.

The load is open (load.c with a rate), so a stall shows in full. p99.9 is measured before the action and while it goes
on, over as long a time; the action comes when the second load has begun.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from cases import Fill, Words
from cases_types import SCORE, numbers
from measure import Load

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.wait import assert_eventually

KEYS = 50_000
RATE = 20_000
SECONDS = 3.0
HEAD_START_S = 0.5
PER_COMMAND = 100  # elements
COMMANDS: tuple[Words, ...] = (("GET", "__key__"), ("SET", "__key__", "x" * 64))
BIG = "big"
WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class BigValue:
    name: str
    command: str
    element: Callable[[int], Words]  # with numbers below so many

    @property
    def command_names(self) -> set[str]:
        return {self.command}

    def fill(self, elements: int) -> Fill:
        words = (self.command, BIG, *(self.element(elements) * PER_COMMAND))
        return Fill(words, elements // PER_COMMAND)


VALUES = (
    BigValue("list", "RPUSH", lambda n: (f"item:{numbers(n)}",)),
    BigValue("hash", "HSET", lambda n: (f"field:{numbers(n)}", "x" * 10)),
    BigValue("set", "SADD", lambda n: (f"member:{numbers(n)}",)),
    BigValue("sorted set", "ZADD", lambda n: (SCORE, f"member:{numbers(n)}")),
)


@dataclass(frozen=True, slots=True)
class BigResult:
    p999_before_us: float
    p999_during_us: float
    max_during_us: float


def _gone(connection: Connection) -> bool:
    return bool(connection.call("EXISTS", BIG) == 0)


def _delete(connection: Connection) -> None:
    assert connection.call("DEL", BIG) == 1


def _expire(connection: Connection) -> None:
    assert connection.call("PEXPIRE", BIG, 1) == 1
    assert_eventually(lambda: _gone(connection), "it has expired", deadline_s=WAIT_S)


def _evict(connection: Connection) -> None:
    """It alone may be evicted: nothing else expires."""
    info = dict(line.split(b":", 1) for line in connection.call("INFO", "memory").split() if b":" in line)
    most = int(info[b"used_memory"]) * 3 // 4
    assert connection.call("EXPIRE", BIG, 100_000) == 1
    assert connection.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru", "maxmemory", most) == "OK"
    assert_eventually(lambda: _gone(connection), "it is evicted", deadline_s=WAIT_S)


def _save(connection: Connection) -> None:
    reply = connection.call("BGSAVE")
    assert str(reply).startswith("Background saving"), reply


ACTIONS: dict[str, Callable[[Connection], None]] = {
    "deleted": _delete,
    "expires": _expire,
    "evicted": _evict,
    "saved": _save,
}


def _idle(connection: Connection) -> bool:
    return b"rdb_bgsave_in_progress:0" in connection.call("INFO", "persistence")


def measure_big(kind: Kind, load: Load, value: BigValue, action: str, elements: int) -> BigResult:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Instance(kind))
        connection = stack.enter_context(server.connect(timeout_s=WAIT_S))
        load.make(server, value.fill(elements))
        load.make(server, Fill(COMMANDS[1], KEYS, KEYS))
        options = {"keys": KEYS, "rate": RATE, "pipeline": len(COMMANDS), "seconds": SECONDS}
        load.run(server, COMMANDS, **{**options, "seconds": HEAD_START_S})
        before = load.run(server, COMMANDS, **options)
        process = load.start(server, COMMANDS, **options)
        served = int(server.info("stats")["total_commands_processed"]) + RATE * HEAD_START_S
        assert_eventually(lambda: int(server.info("stats")["total_commands_processed"]) > served, "the load has begun")
        ACTIONS[action](connection)
        # Valkey refuses writes while it frees what it has evicted.
        during = load.finish(process, errors_allowed=kind != "cachefleet")
        assert_eventually(lambda: _idle(connection), "the snapshot has ended", deadline_s=WAIT_S)
    return BigResult(before.p999_us, during["p999_us"], during["max_us"])
