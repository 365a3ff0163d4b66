"""Lists. A value is a tuple; what OBJECT ENCODING calls it depends on nodes and is not modelled."""

from __future__ import annotations

from dataclasses import replace

from fleettest.model_base import Base, Failure, Value, number

TYPE = "list"
Elements = tuple[bytes, ...]


def _is_left(word: bytes) -> bool:
    return word == b"LEFT"


class Lists(Base):
    def elements(self, key: bytes) -> Elements:
        value = self.find(key, TYPE)
        return value.data if value is not None else ()

    def _keep(self, key: bytes, elements: Elements) -> None:
        old = self.find(key)
        if not elements:
            self.keys.pop(key, None)
        else:
            self.keys[key] = replace(old, data=elements) if old is not None else Value(TYPE, elements)

    def _pushed(self, key: bytes, left: bool, *words: bytes) -> int:
        old = self.elements(key)
        self._keep(key, (*reversed(words), *old) if left else (*old, *words))
        return len(old) + len(words)

    def do_lpush(self, key: bytes, *words: bytes) -> int:
        return self._pushed(key, True, *words)

    def do_rpush(self, key: bytes, *words: bytes) -> int:
        return self._pushed(key, False, *words)

    def do_lpushx(self, key: bytes, *words: bytes) -> int:
        return self.do_lpush(key, *words) if self.elements(key) else 0

    def do_rpushx(self, key: bytes, *words: bytes) -> int:
        return self.do_rpush(key, *words) if self.elements(key) else 0

    def do_llen(self, key: bytes) -> int:
        return len(self.elements(key))

    def _range(self, key: bytes, start: bytes, stop: bytes) -> slice:
        first, last = number(start), number(stop)
        n = len(self.elements(key))
        first = max(first + n, 0) if first < 0 else first
        last = last + n if last < 0 else last
        return slice(first, max(last + 1, first))

    def do_lrange(self, key: bytes, start: bytes, stop: bytes) -> list[bytes]:
        return list(self.elements(key)[self._range(key, start, stop)])

    def do_ltrim(self, key: bytes, start: bytes, stop: bytes) -> str:
        self._keep(key, self.elements(key)[self._range(key, start, stop)])
        return "OK"

    def _popped(self, key: bytes, left: bool, n: int) -> list[bytes]:
        old = self.elements(key)
        n = min(n, len(old))
        self._keep(key, old[n:] if left else old[: len(old) - n])
        return list(old[:n] if left else reversed(old[len(old) - n :]))

    def _pop(self, key: bytes, left: bool, *count: bytes) -> bytes | list[bytes] | None:
        n = number(count[0]) if count else 1
        if n < 0:
            raise Failure("ERR")
        if not self.elements(key):
            return None
        found = self._popped(key, left, n) if n else []
        return found if count else found[0]

    def do_lpop(self, key: bytes, *count: bytes) -> bytes | list[bytes] | None:
        return self._pop(key, True, *count)

    def do_rpop(self, key: bytes, *count: bytes) -> bytes | list[bytes] | None:
        return self._pop(key, False, *count)

    def _place(self, key: bytes, index: bytes) -> int | None:
        n, at = len(self.elements(key)), number(index)
        return at % n if -n <= at < n else None

    def do_lindex(self, key: bytes, index: bytes) -> bytes | None:
        at = self._place(key, index)
        return self.elements(key)[at] if at is not None else None

    def do_lset(self, key: bytes, index: bytes, word: bytes) -> str:
        at = self._place(key, index)
        if at is None:
            raise Failure("ERR")
        old = self.elements(key)
        self._keep(key, (*old[:at], word, *old[at + 1 :]))
        return "OK"

    def do_linsert(self, key: bytes, where: bytes, pivot: bytes, word: bytes) -> int:
        old = self.elements(key)
        if pivot not in old:
            return -1 if old else 0
        at = old.index(pivot) + (where == b"AFTER")
        self._keep(key, (*old[:at], word, *old[at:]))
        return len(old) + 1

    def do_lrem(self, key: bytes, count: bytes, word: bytes) -> int:
        old, n = self.elements(key), number(count)
        places = [i for i, element in enumerate(old) if element == word]
        places = places[:n] if n > 0 else places[n:]  # 0: all
        self._keep(key, tuple(element for i, element in enumerate(old) if i not in set(places)))
        return len(places)

    def do_lpos(self, key: bytes, word: bytes, _rank: bytes, rank: bytes, *count: bytes) -> int | list[int] | None:
        old, n = self.elements(key), number(rank)
        places = [i for i, element in enumerate(old) if element == word]
        if n < 0:
            places.reverse()
        places = places[abs(n) - 1 :]
        if count:
            limit = number(count[1])
            return places[:limit] if limit else places
        return places[0] if places else None

    def do_lmove(self, source: bytes, target: bytes, from_end: bytes, to_end: bytes) -> bytes | None:
        if not self.elements(source):
            return None
        self.elements(target)
        if source == target:
            expire = self.keys[source].expire
            word = self._popped(source, _is_left(from_end), 1)[0]
            self._pushed(source, _is_left(to_end), word)
            self.keys[source] = replace(self.keys[source], expire=expire)
            return word
        word = self._popped(source, _is_left(from_end), 1)[0]
        self._pushed(target, _is_left(to_end), word)
        return word

    def do_lmpop(self, _n: bytes, one: bytes, other: bytes, end: bytes, _count: bytes, count: bytes) -> object:
        for key in (one, other):
            if self.elements(key):
                return [key, self._popped(key, _is_left(end), number(count))]
        return None
