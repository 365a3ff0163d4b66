"""Memory: bytes per key of strings, per element of the other types; the limits are ratios to Valkey.

Of Valkey the smaller figure counts, with libc's allocator, which its wheel uses, and with jemalloc, which others have.
A row with `beyond` is of something that peers lack: it may take so many bytes more than the row before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cases import Fill, Words
from cases_types import ELEMENTS, SCORE, numbers

LIMIT = 0.90
LIMIT_PACKED = 1.00  # what is packed as densely there
LIMIT_KEPT = 0.15  # of the memory that was taken, once all is deleted
TTL_BYTES = 24  # of a member's TTL
SIZES = (10, 1000, 1_000_000)
TTL_S = "100000"


@dataclass(frozen=True, slots=True)
class MemoryCase:
    group: str
    label: str
    fills: tuple[Fill, ...]
    items: int  # among which the bytes are divided
    keys: int
    limit: float | None
    beyond: int | None = None

    @property
    def command_names(self) -> set[str]:
        return {fill.words[0] for fill in self.fills}


def _strings(keys: int, value_bytes: int, limit: float | None) -> MemoryCase:
    fill = Fill(("SET", "__key__", "x" * value_bytes), keys, keys)
    return MemoryCase("strings", f"string of {value_bytes} B", (fill,), keys, keys, limit)


def _size(n: int) -> str:
    return f"{n // 1_000_000} M" if n >= 1_000_000 else str(n)


def _of(group: str, label: str, n: int, limit: float | None, *commands: Words, beyond: int | None = None) -> MemoryCase:
    keys = ELEMENTS // n
    fills = tuple(Fill(words, ELEMENTS, keys) for words in commands)
    return MemoryCase(group, label.format(_size(n)), fills, ELEMENTS, keys, limit, beyond)


def _rows(n: int) -> list[MemoryCase]:
    element = numbers(n)
    integer = f"__{n}-{2 * n - 1}__"
    hset = ("HSET", "__key__", f"field:{element}", "x" * 10)
    sadd = ("SADD", "__key__", f"member:{element}")
    zadd = ("ZADD", "__key__", SCORE, f"member:{element}")
    field_ttl = ("HEXPIRE", "__key__", TTL_S, "FIELDS", "1", hset[2])
    member_ttl = ("EXPIREMEMBER", "__key__", sadd[2], TTL_S)
    return [
        _of("hashes", "hash of {}", n, LIMIT, hset),
        _of("hashes", "hash of {}, TTLs", n, LIMIT, hset, field_ttl),
        _of("lists", "list of {}", n, LIMIT_PACKED, ("RPUSH", "__key__", f"item:{element}")),
        _of("lists", "list of {} integers", n, LIMIT_PACKED, ("RPUSH", "__key__", integer)),
        _of("sets", "set of {}", n, LIMIT, sadd),
        _of("sets", "set of {}, TTLs", n, None, sadd, member_ttl, beyond=TTL_BYTES),
        _of("sets", "set of {} integers", n, LIMIT_PACKED, ("SADD", "__key__", integer)),
        _of("streams", "stream of {}", n, LIMIT_PACKED, ("XADD", "__key__", "*", "field", "x" * 10)),
        _of("zsets", "sorted set of {}", n, LIMIT, zadd),
        _of("zsets", "sorted set of {}, TTLs", n, None, zadd, member_ttl, beyond=TTL_BYTES),
    ]


def memory(quick_run: bool) -> Sequence[MemoryCase]:
    if quick_run:
        return [_strings(300_000, 64, LIMIT)]
    strings = [_strings(1_000_000, size, LIMIT) for size in (3, 16, 64)]
    rows = [row for n in SIZES for row in _rows(n)]
    return [*strings, _strings(200_000, 1024, None), *sorted(rows, key=lambda row: row.group)]
