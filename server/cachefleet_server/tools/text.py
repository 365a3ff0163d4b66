"""Bytes as text: keys as redis-cli prints them, values for JSON, sizes for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

_NAMED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b"}
_REPR: Final = str.maketrans({
    chr(i): _NAMED.get(chr(i), f"\\x{i:02x}") for i in range(256) if chr(i) in _NAMED or not 32 <= i < 127
})  # fmt: skip
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def escaped(data: bytes) -> str:
    """What redis-cli has between its quotes."""
    return data.decode("latin-1").translate(_REPR)


def quoted(data: bytes) -> str:
    return f'"{escaped(data)}"'


def plain(data: bytes) -> str:
    """Raises UnicodeDecodeError."""
    return data.decode()


def named(name: str, data: bytes) -> dict[str, Any]:
    """One text of a line of JSON."""
    try:
        return {name: plain(data)}
    except UnicodeDecodeError:
        return {name: escaped(data), "escaped": True}


def size(n: int) -> str:
    """Bytes, as people read them."""
    if n < 1024:
        return f"{n} B"
    power = min((n.bit_length() - 1) // 10, len(_UNITS))
    return f"{n / (1 << 10 * power):.1f} {_UNITS[power - 1]}"


def count(n: int, one: str, more: str = "") -> str:
    return f"{n} {one if n == 1 else more or one + 's'}"


def as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def table(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> str:
    """Columns, the last one to the left and the others to the right."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads) - 1)]
    return "\n".join(
        "  ".join([*(word.rjust(width) for word, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    )
