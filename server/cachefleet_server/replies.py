"""Reply values of Python command rows, and how they travel.

    None -> null          int -> integer      bool -> boolean       float -> double
    bytes -> bulk string  str -> bulk string (utf-8)                 list/tuple -> array
    dict -> map           frozenset/set/OrderedSet -> set
    Simple("OK") -> simple string   Error("ERR text") -> error   Verbatim("txt", text) -> verbatim
    BigNumber, Push as named; NULL_ARRAY -> "*-1"; NO_REPLY -> nothing is sent

In RESP2 they flatten as Redis does (map to array, double to bulk string, boolean to 0/1).
"""

from __future__ import annotations

from typing import Any, Final


class Simple(str):
    """A simple string: no CR or LF."""

    __slots__ = ()


class Error(str):
    """An error reply; the text begins with its prefix ("ERR ...")."""

    __slots__ = ()


class BigNumber(int):
    """RESP3 big number."""


class Verbatim:
    """RESP3 verbatim string with a three-letter format; a bulk string in RESP2."""

    __slots__ = ("format", "text")

    def __init__(self, format: str, text: str | bytes) -> None:
        self.format = format
        self.text = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


class Push(list[Any]):
    """RESP3 push message; an array in RESP2."""


class OrderedSet(list[Any]):
    """A set whose elements travel in this order; an array in RESP2."""


class _Sentinel:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NULL_ARRAY: Final = _Sentinel("NULL_ARRAY")
NO_REPLY: Final = _Sentinel("NO_REPLY")
OK: Final = Simple("OK")

Reply = Any
"""None, bool, int, float, bytes, str, list, tuple, dict, set, frozenset or one of the classes above, nested."""
