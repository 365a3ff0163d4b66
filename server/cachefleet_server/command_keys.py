"""Key specs of a command row: parsed, described as COMMAND INFO does, and applied to arguments.

The text is that of command_spec.py: specs separated by ";", each "<where> <flags>".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachefleet_server.command_spec import CommandSpec
from cachefleet_server.errors import CommandError

INVALID_ARGUMENTS = "ERR Invalid arguments specified for command"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One spec. `numbers` are the fields of its kind: "range", "keynum", "keyword" or "unknown"."""

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

    def positions(self, argv: Sequence[bytes]) -> list[int]:
        """Indexes of the keys in argv. Raises CommandError when the arguments do not fit."""
        n = self.numbers
        if self.kind == "unknown":
            return []
        if self.kind == "keynum":
            return self._counted(argv)
        at = n[0]
        if self.kind == "keyword":
            found = self._find_token(argv)
            if found < 0:
                return []
            at = found + 1
        last = len(argv) + n[1] if n[1] < 0 else at + n[1]
        if n[1] == -1 and n[3] > 1:
            last = at + (len(argv) - at) // n[3] - 1
        return [i for i in range(at, last + 1, n[2]) if i < len(argv)]

    def _counted(self, argv: Sequence[bytes]) -> list[int]:
        at, first, step = self.numbers
        if at >= len(argv) or not argv[at].isdigit():
            raise CommandError(INVALID_ARGUMENTS)
        count = int(argv[at][:9])
        # Compared before anything is built: the number is a client's word, and may name a billion keys.
        if count < 1 or at + first + (count - 1) * step >= len(argv):
            raise CommandError(INVALID_ARGUMENTS)
        return [at + first + i * step for i in range(count)]

    def _find_token(self, argv: Sequence[bytes]) -> int:
        start, token = self.numbers[0], self.token.lower().encode()
        order = range(start, len(argv)) if start > 0 else range(len(argv) + start, 0, -1)
        return next((i for i in order if argv[i].lower() == token), -1)


def parse(keys: str) -> list[KeySpec]:
    return [_parse_one(text.strip()) for text in keys.split(";") if text.strip()]


def _parse_one(text: str) -> KeySpec:
    where, *flags = text.split()
    kind, _, rest = where.partition(":")
    if kind == "unknown":
        return KeySpec("unknown", (), tuple(flags))
    if kind == "numkeys":
        numbers = [int(x) for x in rest.split(":")]
        at, first, step = (*numbers, *(1, 1)[len(numbers) - 1 :])
        return KeySpec("keynum", (at, first, step), tuple(flags))
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


def _flags(spec: CommandSpec, key: KeySpec, argv: Sequence[bytes]) -> tuple[str, ...]:
    """The spec's flags for these very arguments: SET reads the old value only with GET."""
    if "variable_flags" not in key.flags:
        return key.flags
    if spec.name == "set" and b"get" not in [word.lower() for word in argv[3:]]:
        return ("OW", "update")
    return tuple(flag for flag in key.flags if flag != "variable_flags")


def keys_of(spec: CommandSpec, argv: Sequence[bytes]) -> list[tuple[bytes, tuple[str, ...]]]:
    """(key, flags of its spec) of a whole command. Raises CommandError in COMMAND GETKEYS' words."""
    specs = parse(spec.keys)
    if not specs:
        raise CommandError("ERR The command has no key arguments")
    arity = spec.arity
    if (arity > 0 and len(argv) != arity) or len(argv) < -arity:
        raise CommandError("ERR Invalid number of arguments specified for command")
    found = [(argv[i], _flags(spec, key, argv)) for key in specs for i in key.positions(argv)]
    if not found:
        raise CommandError(INVALID_ARGUMENTS)
    return found
