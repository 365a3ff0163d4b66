"""Key specs of a command row: parsed, and described as COMMAND INFO does. core/keys.pyx applies them to arguments.

The text is that of command_spec.py: specs separated by ";", each "<where> <flags>".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cachefleet_server.command_spec import CommandSpec


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One spec. `numbers` are the fields of its kind: "range", "keynum", "keyword" or "unknown"; `token` is the
    keyword, or "exact"."""

    kind: str
    numbers: tuple[int, ...]
    flags: tuple[str, ...]
    token: str = ""

    def describe(self) -> dict[str, Any]:
        """begin_search and find_keys as COMMAND INFO shows them."""
        n = self.numbers
        if self.kind == "unknown":
            begin: dict[str, Any] = {"type": "unknown", "spec": {}}
            find: dict[str, Any] = {"type": "unknown", "spec": {}}
        elif self.kind == "keynum":
            begin = {"type": "index", "spec": {"index": n[0]}}
            find = {"type": "keynum", "spec": {"keynumidx": 0, "firstkey": n[1], "keystep": n[2]}}
        else:
            at, last, step, limit = n
            if self.kind == "keyword":
                begin = {"type": "keyword", "spec": {"keyword": self.token, "startfrom": at}}
            else:
                begin = {"type": "index", "spec": {"index": at}}
            find = {"type": "range", "spec": {"lastkey": last, "keystep": step, "limit": limit}}
        return {"flags": [*self.flags], "begin_search": begin, "find_keys": find}


def parse(keys: str) -> list[KeySpec]:
    return [_parse_one(text.strip()) for text in keys.split(";") if text.strip()]


def _parse_one(text: str) -> KeySpec:
    where, *flags = text.split()
    kind, _, rest = where.partition(":")
    if kind == "unknown":
        return KeySpec("unknown", (), tuple(flags))
    if kind in ("numkeys", "exact-numkeys"):
        numbers = [int(x) for x in rest.split(":")]
        at, first, step = (*numbers, *(1, 1)[len(numbers) - 1 :])
        return KeySpec("keynum", (at, first, step), tuple(flags), "exact" if kind == "exact-numkeys" else "")
    if kind == "keyword":
        token, *fields = rest.split(":")
        numbers = [int(x) for x in fields]
        return KeySpec("keyword", (numbers[0], numbers[1], numbers[2], numbers[3] if len(numbers) > 3 else 0),
                       tuple(flags), token)  # fmt: skip
    numbers = [int(x) for x in where.split(":")]
    last = numbers[1] if len(numbers) > 1 else numbers[0]
    relative = last if last < 0 else last - numbers[0]
    return KeySpec("range", (numbers[0], relative, numbers[2] if len(numbers) > 2 else 1, 0), tuple(flags))


def first_last_step(spec: CommandSpec) -> tuple[int, int, int]:
    """The three numbers of COMMAND INFO's old form: the span of the specs that are plain ranges."""
    ranges = [k for k in parse(spec.keys) if k.kind == "range"]
    if not ranges:
        return 0, 0, 0
    first = min(k.numbers[0] for k in ranges)
    lasts = [k.numbers[1] if k.numbers[1] < 0 else k.numbers[0] + k.numbers[1] for k in ranges]
    last = min(lasts) if min(lasts) < 0 else max(lasts)
    return first, last, ranges[0].numbers[2]


def fetched_ahead(spec: CommandSpec) -> tuple[int, int, int, int]:
    """(first, last, step, count_at) of the arguments that a batch hashes and fetches ahead: that span, or up to the
    last of the keys that argument `count_at` counts. What is between two specs is taken for a key: that does no harm.
    """
    first, last, step = first_last_step(spec)
    for key in parse(spec.keys):
        if key.kind == "keynum":
            at, begin, step = key.numbers
            return first or at + begin, 0, step, at
    return first, last, step, 0
