"""Which fields of params_t (core/engine.pxd) a parameter fills, and with which numbers: `fields` of its kind and value.

A field is a number. A parameter with one field has it called as its row says (`engine`); one with several adds to that.
Nothing of the engine is imported, so that parameters can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cachefleet_parameters.kinds import EVENTS, LONG_MAX, Enum, KeyspaceEvents, Kind, Memory, OutputLimits

# As POLICIES of the engine.
POLICY_BITS: Final = {
    "volatile-lru": 1,
    "volatile-lfu": 2,
    "volatile-random": 8,
    "volatile-ttl": 16,
    "allkeys-lru": 1 | 4,
    "allkeys-lfu": 2 | 4,
    "allkeys-random": 8 | 4,
    "noeviction": 32,
}
# What a word of an Enum is, by the field.
_CODES: Final[Mapping[str, Mapping[str, int]]] = {"maxmemory_policy": POLICY_BITS}
_EVENT_BITS: Final = {letter: 1 << bit for bit, letter in enumerate("KEg$lshzxetmdn")}  # as NOTIFY_* in keyspace/db.pxd

Filled = Iterator[tuple[str, int]]


def fields(kind: Kind, name: str, value: Any) -> Filled:
    """Names and numbers, of a parameter whose row says `name`."""
    return _FILLS.get(type(kind), _number)(name, value)


def _number(name: str, value: Any) -> Filled:
    yield name, int(value)


def _memory(name: str, value: Any) -> Filled:
    yield name, min(value, LONG_MAX)


def _word(name: str, value: Any) -> Filled:
    yield name, _CODES[name][value]


def _output_limits(name: str, value: Any) -> Filled:
    """In the engine's order of classes, CLASS_*, which is the value's."""
    for index, (hard, soft, seconds) in enumerate(value):
        yield f"{name}_hard.{index}", hard
        yield f"{name}_soft.{index}", soft
        yield f"{name}_soft_seconds.{index}", seconds


def _events(name: str, value: Any) -> Filled:
    yield name, sum(_EVENT_BITS[letter] for letter in str(value).replace("A", EVENTS))


_FILLS: Final[Mapping[type[Kind], Callable[[str, Any], Filled]]] = {
    Memory: _memory,
    Enum: _word,
    OutputLimits: _output_limits,
    KeyspaceEvents: _events,
}
