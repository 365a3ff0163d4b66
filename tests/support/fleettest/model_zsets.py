"""Sorted sets. A value is a tuple of (member, score) in order; which form it has is not modelled.

Scores that are drawn are exact in a double and print in a few digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleettest.model_base import Failure, Value, number
from fleettest.model_members import Members

TYPE = "zset"
Pair = tuple[bytes, float]
Pairs = tuple[Pair, ...]


def _score(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise Failure("ERR") from None


def _shown(score: float) -> bytes:
    return b"%d" % int(score) if score == score // 1 and abs(score) != float("inf") else repr(score).encode()


def _flat(pairs: Iterable[Pair]) -> list[bytes]:
    return [word for member, score in pairs for word in (member, _shown(score))]


def _bound(text: bytes) -> tuple[float, bool]:
    """A score, and whether it is outside of the range."""
    return _score(text.removeprefix(b"(")), text.startswith(b"(")


class Zsets(Members):
    def pairs(self, key: bytes) -> Pairs:
        value = self.find(key, TYPE)
        return tuple(self.shown(value)) if value is not None else ()

    def _keep_scores(self, key: bytes, scores: dict[bytes, float]) -> None:
        old = self.find(key)
        pairs = tuple(sorted(scores.items(), key=lambda pair: (pair[1], pair[0])))
        if not pairs:
            self.keys.pop(key, None)
        else:
            had = old.times if old is not None else {}
            times = {name: at for name, at in had.items() if name in scores and at >= self.now}  # or it comes anew
            self.keys[key] = replace(old or Value(TYPE, pairs), data=pairs, times=times)

    def do_zadd(self, key: bytes, *words: bytes) -> object:
        options = set()
        while words[0] in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
            options.add(words[0])
            words = words[1:]
        if len(options & {b"NX", b"GT", b"LT"}) > 1 or {b"NX", b"XX"} <= options:
            raise Failure("ERR")
        if b"INCR" in options and len(words) != 2:
            raise Failure("ERR")
        given = [(_score(score), member) for score, member in zip(words[::2], words[1::2], strict=True)]
        scores = dict(self.pairs(key))
        added = updated = 0
        reply: bytes | None = None
        for score, member in given:
            old = scores.get(member)
            if (old is None and b"XX" in options) or (old is not None and b"NX" in options):
                continue
            new = score if old is None or b"INCR" not in options else score + old
            if old is not None and ((b"GT" in options and new <= old) or (b"LT" in options and new >= old)):
                continue
            added += old is None
            updated += old is not None and new != old
            scores[member] = new
            reply = _shown(new)
        self._keep_scores(key, scores)
        if b"INCR" in options:
            return reply
        return added + updated if b"CH" in options else added

    def do_zincrby(self, key: bytes, by: bytes, member: bytes) -> object:
        return self.do_zadd(key, b"INCR", by, member)

    def do_zrem(self, key: bytes, *members: bytes) -> int:
        scores = dict(self.pairs(key))
        found = set(members) & set(scores)
        for member in found:
            del scores[member]
        self._keep_scores(key, scores)
        return len(found)

    def do_zcard(self, key: bytes) -> int:
        return self.count_members(key, TYPE)

    def do_zscore(self, key: bytes, member: bytes) -> bytes | None:
        scores = dict(self.pairs(key))
        return _shown(scores[member]) if member in scores else None

    def do_zrank(self, key: bytes, member: bytes) -> int | None:
        members = [pair[0] for pair in self.pairs(key)]
        return members.index(member) if member in members else None

    def do_zrevrank(self, key: bytes, member: bytes) -> int | None:
        rank = self.do_zrank(key, member)
        return len(self.pairs(key)) - 1 - rank if rank is not None else None

    def _by_rank(self, pairs: Pairs, start: bytes, stop: bytes) -> Pairs:
        first, last, n = number(start), number(stop), len(pairs)
        first = max(first + n, 0) if first < 0 else first
        last = last + n if last < 0 else last
        return pairs[first : max(last + 1, first)]

    def _by_score(self, key: bytes, low: bytes, high: bytes) -> Pairs:
        (least, above), (most, below) = _bound(low), _bound(high)
        return tuple(
            (member, score)
            for member, score in self.pairs(key)
            if (score > least or (score == least and not above)) and (score < most or (score == most and not below))
        )

    def do_zrange(self, key: bytes, start: bytes, stop: bytes, _withscores: bytes) -> list[bytes]:
        return _flat(self._by_rank(self.pairs(key), start, stop))

    def do_zrevrange(self, key: bytes, start: bytes, stop: bytes, _withscores: bytes) -> list[bytes]:
        return _flat(self._by_rank(self.pairs(key)[::-1], start, stop))

    def do_zcount(self, key: bytes, low: bytes, high: bytes) -> int:
        return len(self._by_score(key, low, high))

    def do_zrangebyscore(
        self, key: bytes, low: bytes, high: bytes, _limit: bytes, offset: bytes, count: bytes
    ) -> list[bytes]:
        return self._limited(self._by_score(key, low, high), offset, count)

    def do_zrevrangebyscore(
        self, key: bytes, high: bytes, low: bytes, _limit: bytes, offset: bytes, count: bytes
    ) -> list[bytes]:
        return self._limited(self._by_score(key, low, high)[::-1], offset, count)

    def _limited(self, pairs: Pairs, offset: bytes, count: bytes) -> list[bytes]:
        at, n = number(offset), number(count)
        if at < 0:
            return []
        return [member for member, _ in (pairs[at:] if n < 0 else pairs[at : at + n])]

    def _without(self, key: bytes, gone: Pairs) -> int:
        self._keep_scores(key, {member: score for member, score in self.pairs(key) if (member, score) not in gone})
        return len(gone)

    def do_zremrangebyrank(self, key: bytes, start: bytes, stop: bytes) -> int:
        return self._without(key, self._by_rank(self.pairs(key), start, stop))

    def do_zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> int:
        return self._without(key, self._by_score(key, low, high))

    def do_zrangestore(self, target: bytes, source: bytes, start: bytes, stop: bytes) -> int:
        pairs = self._by_rank(self.pairs(source), start, stop)
        self.purge(self.db, source)
        self.keys.pop(target, None)
        self._keep_scores(target, dict(pairs))
        return len(pairs)

    def _taken(self, key: bytes, first: bool, count: int) -> Pairs:
        pairs = self.pairs(key) if first else self.pairs(key)[::-1]
        self._without(key, pairs[:count])
        return pairs[:count]

    def do_zpopmin(self, key: bytes, *count: bytes) -> list[bytes]:
        return _flat(self._taken(key, True, number(count[0]) if count else 1))

    def do_zpopmax(self, key: bytes, *count: bytes) -> list[bytes]:
        return _flat(self._taken(key, False, number(count[0]) if count else 1))

    def do_zmpop(self, _n: bytes, one: bytes, other: bytes, where: bytes, _count: bytes, count: bytes) -> object:
        for key in (one, other):
            pairs = self.pairs(key)
            self.purge(self.db, key)
            if pairs:
                return [key, [_flat([pair]) for pair in self._taken(key, where == b"MIN", number(count))]]
        return None
