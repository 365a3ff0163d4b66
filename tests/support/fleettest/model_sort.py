"""SORT, in the forms whose result does not depend on where equal texts were."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fleettest.model_base import Failure, Value, number
from fleettest.model_members import Members, name_of

NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?", re.IGNORECASE)


def _weight(text: bytes | None) -> float:
    """What is not there weighs nothing; a NUL ends a text."""
    if text is None:
        return 0
    text = text.partition(b"\0")[0]
    if not NUMBER.fullmatch(text):
        raise Failure("ERR")
    return float(text)


@dataclass
class Words:
    by: bytes | None = None
    gets: tuple[bytes, ...] = ()
    limit: slice = field(default_factory=lambda: slice(None))
    desc: bool = False
    alpha: bool = False
    store: bytes | None = None


def _words(words: list[bytes]) -> Words:
    found = Words()
    while words:
        name = words.pop(0)
        if name == b"BY":
            found.by = words.pop(0)
        elif name == b"GET":
            found.gets = (*found.gets, words.pop(0))
        elif name == b"LIMIT":
            at, count = max(number(words.pop(0)), 0), number(words.pop(0))
            found.limit = slice(at, at + count if count >= 0 else None)
        elif name == b"STORE":
            found.store = words.pop(0)
        else:
            found.desc |= name == b"DESC"
            found.alpha |= name == b"ALPHA"
    return found


class Sorts(Members):
    def _elements(self, key: bytes) -> tuple[bytes, ...]:
        """In their own order, if they have one."""
        value = self.find(key)
        if value is None:
            return ()
        if value.type not in ("list", "set", "zset"):
            raise Failure("WRONGTYPE")
        return tuple(map(name_of, self.shown(value)))

    def _looked_up(self, pattern: bytes, element: bytes) -> bytes | None:
        if pattern == b"#":
            return element
        value = self.find(pattern.replace(b"*", element, 1)) if b"*" in pattern else None
        return bytes(value.data) if value is not None and value.type == "string" else None

    def _in_order(self, key: bytes, words: Words) -> list[bytes]:
        elements = list(self._elements(key))
        if words.by is not None and b"*" not in words.by:
            value = self.find(key)
            if value is None or value.type != "set":
                return elements[::-1] if words.desc else elements
            words.alpha, words.by = True, None
        if words.alpha:
            assert words.by is None and words.store is not None
            return sorted(elements, reverse=words.desc)
        by = words.by or b"#"
        weighed = sorted(((_weight(self._looked_up(by, element)), element) for element in elements), reverse=words.desc)
        return [element for _, element in weighed]

    def do_sort(self, key: bytes, *rest: bytes) -> object:
        words = _words(list(rest))
        found: list[bytes | None] = [*self._in_order(key, words)[words.limit]]
        if words.gets:
            found = [self._looked_up(pattern, element or b"") for element in found for pattern in words.gets]
        if words.store is None:
            return found
        self.find(words.store)
        self.keys.pop(words.store, None)
        if found:
            self.keys[words.store] = Value("list", tuple(element or b"" for element in found))
        return len(found)

    do_sort_ro = do_sort
