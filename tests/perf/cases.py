"""What is measured: one row per test, pipeline depth and data set, by groups, with the budget it must hold.

The budget is the ratio of server CPU per operation, ours / Valkey 9.1, in the same run. With pipelining it counts as
held, too, where we are within BUDGET_FLOOR_PIPELINED of the kernel's floor (floor.c): what is left is the kernel's
share. Without, both must hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleettest.client import encode

PIPELINES = (1, 16, 100)
BUDGET_UNPIPELINED = 0.95
BUDGET_PIPELINED = 0.60
BUDGET_AOF = 0.70
BUDGET_FLOOR_UNPIPELINED = 1.05  # ours / kernel's floor
BUDGET_FLOOR_PIPELINED = 1.15
BUDGET_MEMORY = 0.90
BUDGET_SNAPSHOT_P999_MS = 2.0
BUDGET_SNAPSHOT_RSS = 0.05
BUDGET_STEADY_P999 = 1.0
VALUE_BYTES_BUDGETED = 64  # memory of larger values is the values'

# redis-benchmark's default tests that the server has, with its key pattern; and MGET.
TESTS = ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET", "MGET")
KEYS_PER_MULTI = 10
FIRST_KEY = "key:000000000000"


@dataclass(frozen=True, slots=True)
class DataSet:
    """What the servers hold and how they are configured while its cases run."""

    keys: int
    value_bytes: int
    aof: bool = False

    @property
    def label(self) -> str:
        size = f"{self.value_bytes} B" if self.value_bytes < 1024 else f"{self.value_bytes // 1024} KB"
        count = f"{self.keys // 1000} k" if self.keys < 1_000_000 else f"{self.keys // 1_000_000} M"
        return f"{count} keys, {size}" + (", AOF everysec" if self.aof else "")


@dataclass(frozen=True, slots=True)
class Case:
    data: DataSet
    test: str
    pipeline: int

    @property
    def budget(self) -> float:
        if self.pipeline == 1:
            return BUDGET_UNPIPELINED
        return BUDGET_AOF if self.data.aof else BUDGET_PIPELINED

    @property
    def budget_floor(self) -> float:
        return BUDGET_FLOOR_UNPIPELINED if self.pipeline == 1 else BUDGET_FLOOR_PIPELINED

    @property
    def inline(self) -> bool:
        return self.test == "PING_INLINE"

    @property
    def first(self) -> tuple[str, ...]:
        """The words of the request for the key with number 0."""
        return tuple(word.replace("__key__", FIRST_KEY) for word in self.words)

    @property
    def request_bytes(self) -> int:
        return len(" ".join(self.first)) + 2 if self.inline else len(encode(*self.first))

    @property
    def words(self) -> tuple[str, ...]:
        value = "x" * self.data.value_bytes
        match self.test:
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
                raise ValueError(self.test)


def _cases(data: DataSet, tests: tuple[str, ...], pipelines: tuple[int, ...] = PIPELINES) -> list[Case]:
    return [Case(data, test, pipeline) for test in tests for pipeline in pipelines]


# CPU per operation, by what `make bench GROUP=` names. Each group takes less than 20 minutes.
GROUPS: dict[str, Sequence[Case]] = {
    "strings": [
        *_cases(DataSet(100_000, 64), TESTS),
        *_cases(DataSet(2_000_000, 64), ("SET", "GET", "MSET", "MGET")),
        *_cases(DataSet(100_000, 16), ("SET", "GET")),
    ],
    "large": [
        *_cases(DataSet(100_000, 1024), ("SET", "GET"), (1, 16)),
        *_cases(DataSet(10_000, 16 * 1024), ("SET", "GET"), (1, 16)),
    ],
    "aof": _cases(DataSet(100_000, 64, aof=True), ("SET", "INCR", "MSET")),
}


def quick() -> list[Case]:
    return [
        *_cases(DataSet(100_000, 64), ("PING_MBULK", "INCR", "MSET", "MGET"), (1, 16)),
        *_cases(DataSet(100_000, 64), ("SET", "GET")),
        *_cases(DataSet(1_000_000, 64), ("SET", "GET"), (16,)),
        *_cases(DataSet(100_000, 64, aof=True), ("SET",), (16,)),
    ]


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """Keys of 16 bytes."""

    keys: int
    value_bytes: int


def memory(quick_run: bool) -> list[MemoryCase]:
    if quick_run:
        return [MemoryCase(300_000, 64)]
    return [MemoryCase(1_000_000, 3), MemoryCase(1_000_000, 16), MemoryCase(1_000_000, 64), MemoryCase(200_000, 1024)]
