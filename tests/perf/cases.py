"""What is measured: one row per test, pipeline depth and data set, by groups, with the budget it must hold.

The budget is the ratio of server CPU per operation, ours / Valkey 9.1, in the same run. With pipelining it counts as
held, too, where we are within BUDGET_FLOOR_PIPELINED of the kernel's floor (floor.c): what is left is the kernel's
share. Without, strings must hold both; the other types, whose work is more than a look-up, either.

Strings are here, the other types in cases_types.py. A row whose commands our server does not have yet is named in the
output and in its JSON, and not measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fleettest.client import encode

Words = tuple[str, ...]

PIPELINES = (1, 16, 100)
BUDGET_UNPIPELINED = 0.95
BUDGET_PIPELINED = 0.60
BUDGET_AOF = 0.70
BUDGET_FLOOR_UNPIPELINED = 1.05  # ours / kernel's floor
BUDGET_FLOOR_PIPELINED = 1.15
BUDGET_SNAPSHOT_P999_MS = 2.0
BUDGET_SNAPSHOT_RSS = 0.05
BUDGET_STEADY_P999 = 1.0
LARGE_REPLY_BYTES = 16 * 1024  # replies above this are measured at P=1 ...
LARGE_REPLY_CONNECTIONS = 4  # ... over so many connections
CONNECTIONS = 50

# redis-benchmark's default tests that work on strings, with its key pattern; and MGET.
TESTS = ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET", "MGET")
KEYS_PER_MULTI = 10
_MARK = re.compile(r"__(?:(key)|(pair)|(\d+)-\d+)__")


def first_of(words: Words) -> Words:
    """The words with every number as it is first (load.c)."""

    def number(mark: re.Match[str]) -> str:
        return mark[3] or f"{mark[1] or mark[2]}:{'0' * 12}"

    return tuple(_MARK.sub(number, word) for word in words)


@dataclass(frozen=True, slots=True)
class Fill:
    """So many times this command, with numbers in order."""

    words: Words
    count: int
    keys: int = 1  # that __key__ may be


@dataclass(frozen=True, slots=True)
class DataSet:
    """What the servers hold and how they are configured while its cases run."""

    label: str
    fills: tuple[Fill, ...]
    keys: int = 1
    aof: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    data: DataSet
    test: str
    pipeline: int
    commands: tuple[Words, ...]  # `pipeline` times these in a batch
    partner: tuple[Words, ...] = ()  # what every second connection does
    reply: bytes = b""  # to `commands`; empty: the real server is asked
    before: tuple[Fill, ...] = ()  # made before each run ...
    ops: int = 0  # ... which has so many operations; 0: what time allows
    large: bool = False  # a reply above LARGE_REPLY_BYTES
    both: bool = False  # unpipelined, the budgets to Valkey and to the floor must hold

    @property
    def budget(self) -> float:
        if self.pipeline == 1:
            return BUDGET_UNPIPELINED
        return BUDGET_AOF if self.data.aof else BUDGET_PIPELINED

    @property
    def budget_floor(self) -> float:
        return BUDGET_FLOOR_UNPIPELINED if self.both and self.pipeline == 1 else BUDGET_FLOOR_PIPELINED

    @property
    def inline(self) -> bool:
        return self.test == "PING_INLINE"

    @property
    def connections(self) -> int:
        return LARGE_REPLY_CONNECTIONS if self.large else CONNECTIONS

    @property
    def first(self) -> list[Words]:
        """The requests with the first of their numbers."""
        return [first_of(words) for words in self.commands]

    @property
    def request_bytes(self) -> int:
        return sum(len(" ".join(words)) + 2 if self.inline else len(encode(*words)) for words in self.first)

    @property
    def command_names(self) -> set[str]:
        fills = [fill.words for fill in (*self.data.fills, *self.before)]
        return {words[0] for words in (*fills, *self.commands, *self.partner)}


# -- strings


def strings(keys: int, value_bytes: int, *, aof: bool = False) -> DataSet:
    """`keys` strings, and as many counters."""
    size = f"{value_bytes} B" if value_bytes < 1024 else f"{value_bytes // 1024} KB"
    count = f"{keys // 1000} k" if keys < 1_000_000 else f"{keys // 1_000_000} M"
    label = f"{count} keys, {size}" + (", AOF everysec" if aof else "")
    fills = (Fill(("SET", "__key__", "x" * value_bytes), keys, keys), Fill(("INCR", "counter:__key__"), keys, keys))
    return DataSet(label, fills, keys, aof)


def _words(test: str, value: str) -> Words:
    match test:
        case "PING_INLINE" | "PING_MBULK":
            return ("PING",)
        case "SET":
            return ("SET", "__key__", value)
        case "GET":
            return ("GET", "__key__")
        case "INCR":
            return ("INCR", "counter:__key__")
        case "MSET":
            return ("MSET", *(("__key__", value) * KEYS_PER_MULTI))
        case "MGET":
            return ("MGET", *(("__key__",) * KEYS_PER_MULTI))
        case _:
            raise ValueError(test)


def _cases(data: DataSet, tests: tuple[str, ...], pipelines: tuple[int, ...] = PIPELINES) -> list[Case]:
    value = data.fills[0].words[2]
    found: list[Case] = []
    for test in tests:
        large = test == "GET" and len(f"${len(value)}\r\n{value}\r\n") > LARGE_REPLY_BYTES
        depths = (1,) if large else pipelines
        found += [Case(data, test, p, (_words(test, value),), large=large, both=True) for p in depths]
    return found


# CPU per operation, by what `make bench GROUP=` names. Each group takes less than 20 minutes.
GROUPS: dict[str, Sequence[Case]] = {
    "strings": [
        *_cases(strings(100_000, 64), TESTS),
        *_cases(strings(2_000_000, 64), ("SET", "GET", "MSET", "MGET")),
        *_cases(strings(100_000, 16), ("SET", "GET")),
    ],
    "large": [
        *_cases(strings(100_000, 1024), ("SET", "GET"), (1, 16)),
        *_cases(strings(10_000, 16 * 1024), ("SET", "GET"), (1, 16)),
    ],
    "aof": _cases(strings(100_000, 64, aof=True), ("SET", "INCR", "MSET")),
}


def quick() -> list[Case]:
    return [
        *_cases(strings(100_000, 64), ("PING_MBULK", "INCR", "MSET", "MGET"), (1, 16)),
        *_cases(strings(100_000, 64), ("SET", "GET")),
        *_cases(strings(1_000_000, 64), ("SET", "GET"), (16,)),
        *_cases(strings(100_000, 64, aof=True), ("SET",), (16,)),
    ]
