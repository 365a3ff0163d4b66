"""Streams. A value is its entries, as a file has them; its last id and its groups hang on it.

So entries alone are compared with a snapshot's file. How often and when an entry was delivered is not modelled, nor
what a group has counted; trims are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fleettest.model_base import Base, Failure, Value, number
from fleettest.rdbfile import Entries

TYPE = "stream"
Id = tuple[int, int]
Pending = Mapping[Id, bytes]  # whose it is
ZERO: Id = (0, 0)
TOP: Id = (2**64 - 1, 2**64 - 1)
NO_GROUP = "NOGROUP"


@dataclass(frozen=True, slots=True)
class Group:
    last: Id
    consumers: frozenset[bytes] = frozenset()
    pending: Pending = field(default_factory=dict)


class Stream(Entries):
    last: Id = ZERO
    max_deleted: Id = ZERO
    groups: Mapping[bytes, Group] = {}

    def changed(
        self,
        entries: Iterable[tuple[bytes, tuple[bytes, ...]]] | None = None,
        *,
        last: Id | None = None,
        max_deleted: Id | None = None,
        groups: Mapping[bytes, Group] | None = None,
    ) -> Stream:
        new = Stream(self if entries is None else entries)
        new.last = self.last if last is None else last
        new.max_deleted = self.max_deleted if max_deleted is None else max_deleted
        new.groups = self.groups if groups is None else groups
        return new

    def ids(self) -> set[Id]:
        return {_id(text) for text, _ in self}

    def top(self) -> Id:
        return max(self.ids(), default=ZERO)

    def group(self, name: bytes) -> Group:
        if name not in self.groups:
            raise Failure(NO_GROUP)
        return self.groups[name]

    def with_group(self, name: bytes, group: Group) -> Stream:
        return self.changed(groups={**self.groups, name: group})


def _id(text: bytes, seq: int = 0) -> Id:
    ms, dash, rest = text.partition(b"-")
    if not ms.isdigit() or (dash and not rest.isdigit()):
        raise Failure("ERR")
    id = int(ms), int(rest) if dash else seq
    if max(id) >= 2**64:
        raise Failure("ERR")
    return id


def _text(id: Id) -> bytes:
    return b"%d-%d" % id


def _shown(entries: Iterable[tuple[bytes, tuple[bytes, ...]]]) -> list[list[object]]:
    return [[id, list(words)] for id, words in entries]


def _bound(text: bytes, seq: int) -> Id:
    return {b"-": ZERO, b"+": TOP}[text] if text in (b"-", b"+") else _id(text, seq)


class Streams(Base):
    def stream(self, key: bytes) -> Stream | None:
        value = self.find(key, TYPE)
        return value.data if value is not None else None

    def _keep_stream(self, key: bytes, stream: Stream) -> None:
        old = self.find(key)
        self.keys[key] = replace(old, data=stream) if old is not None else Value(TYPE, stream)

    # -- entries

    @staticmethod
    def _new_id(text: bytes, last: Id) -> Id:
        if not text.endswith(b"-*"):
            id = _id(text)
            if id == ZERO:
                raise Failure("ERR")
        else:
            ms, _ = _id(text[:-2])
            id = (ms, last[1] + 1 if ms == last[0] else 0)
        if id <= last or id[1] >= 2**64:
            raise Failure("ERR")
        return id

    def do_xadd(self, key: bytes, *words: bytes) -> bytes | None:
        creates, most = True, None
        while words[0] in (b"NOMKSTREAM", b"MAXLEN"):
            if words[0] == b"MAXLEN":
                most = number(words[1])
                words = words[1:]
            else:
                creates = False
            words = words[1:]
        if not words[0].endswith(b"-*") and _id(words[0]) == ZERO:
            raise Failure("ERR")
        stream = self.stream(key)
        if stream is None and not creates:
            return None
        stream = Stream() if stream is None else stream
        id = self._new_id(words[0], stream.last)
        entries = (*stream, (_text(id), words[1:]))
        if most is not None:
            entries = entries[max(len(entries) - most, 0) :]
        self._keep_stream(key, stream.changed(entries, last=id))
        return _text(id)

    def do_xlen(self, key: bytes) -> int:
        return len(self.stream(key) or ())

    def do_xdel(self, key: bytes, *words: bytes) -> int:
        stream = self.stream(key)
        if stream is None:
            return 0
        gone = {_id(word) for word in words} & stream.ids()
        kept = [entry for entry in stream if _id(entry[0]) not in gone]
        self._keep_stream(key, stream.changed(kept, max_deleted=max([stream.max_deleted, *gone])))
        return len(gone)

    def do_xtrim(self, key: bytes, kind: bytes, threshold: bytes) -> int:
        least = _id(threshold) if kind == b"MINID" else ZERO
        most = number(threshold) if kind == b"MAXLEN" else 0
        stream = self.stream(key)
        if stream is None:
            return 0
        if kind == b"MAXLEN":
            kept = stream[max(len(stream) - most, 0) :]
        else:
            kept = tuple(entry for entry in stream if _id(entry[0]) >= least)
        self._keep_stream(key, stream.changed(kept))
        return len(stream) - len(kept)

    def _between(self, key: bytes, start: bytes, end: bytes) -> list[tuple[bytes, tuple[bytes, ...]]]:
        first, last = _bound(start, 0), _bound(end, 2**64 - 1)
        return [entry for entry in self.stream(key) or () if first <= _id(entry[0]) <= last]

    def do_xrange(self, key: bytes, start: bytes, end: bytes) -> list[list[object]]:
        return _shown(self._between(key, start, end))

    def do_xrevrange(self, key: bytes, end: bytes, start: bytes) -> list[list[object]]:
        return _shown(reversed(self._between(key, start, end)))

    def do_xread(self, _count: bytes, count: bytes, _streams: bytes, key: bytes, id: bytes) -> object:
        stream = self.stream(key)
        behind = _id(id)
        found = [entry for entry in stream or () if _id(entry[0]) > behind][: number(count)]
        return [[key, _shown(found)]] if found else None

    # -- groups

    def do_xgroup(self, sub: bytes, key: bytes, name: bytes, *words: bytes) -> object:
        stream = self.stream(key)
        if stream is None and b"MKSTREAM" not in words:
            raise Failure("ERR")
        if sub == b"CREATE":
            last = (stream.last if stream is not None else ZERO) if words[0] == b"$" else _id(words[0])
            stream = Stream() if stream is None else stream
            if name in stream.groups:
                raise Failure("BUSYGROUP")
            self._keep_stream(key, stream.with_group(name, Group(last)))
            return "OK"
        assert stream is not None
        if sub == b"DESTROY":
            groups = {other: group for other, group in stream.groups.items() if other != name}
            self._keep_stream(key, stream.changed(groups=groups))
            return len(stream.groups) - len(groups)
        group = stream.group(name)
        if sub == b"SETID":
            last = stream.last if words[0] == b"$" else _id(words[0])
            self._keep_stream(key, stream.with_group(name, replace(group, last=last)))
            return "OK"
        consumer = words[0]
        if sub == b"CREATECONSUMER":
            self._keep_stream(key, stream.with_group(name, replace(group, consumers=group.consumers | {consumer})))
            return int(consumer not in group.consumers)
        pending = {id: owner for id, owner in group.pending.items() if owner != consumer}
        new = replace(group, consumers=group.consumers - {consumer}, pending=pending)
        self._keep_stream(key, stream.with_group(name, new))
        return len(group.pending) - len(pending)

    def do_xreadgroup(
        self, _group: bytes, name: bytes, consumer: bytes, _count: bytes, count: bytes, _streams: bytes, key: bytes,
        id: bytes,
    ) -> object:  # fmt: skip
        stream = self.stream(key)
        if stream is None:
            raise Failure(NO_GROUP)
        group = stream.group(name)
        group = replace(group, consumers=group.consumers | {consumer})
        if id == b">":
            found = [entry for entry in stream if _id(entry[0]) > group.last][: number(count)]
            ids = [_id(text) for text, _ in found]
            pending = {**group.pending, **dict.fromkeys(ids, consumer)}
            group = replace(group, pending=pending, last=max([group.last, *ids]))
            reply: object = [[key, _shown(found)]] if found else None
        else:
            behind = _id(id)
            mine = sorted(one for one, owner in group.pending.items() if owner == consumer and one > behind)
            entries = dict(stream)
            rows = [[_text(one), list(entries[_text(one)]) if _text(one) in entries else None] for one in mine]
            reply = [[key, rows[: number(count)]]]
        self._keep_stream(key, stream.with_group(name, group))
        return reply

    def do_xack(self, key: bytes, name: bytes, *words: bytes) -> int:
        stream = self.stream(key)
        if stream is None or name not in stream.groups:
            return 0
        group = stream.groups[name]
        gone = {_id(word) for word in words} & set(group.pending)
        pending = {id: owner for id, owner in group.pending.items() if id not in gone}
        self._keep_stream(key, stream.with_group(name, replace(group, pending=pending)))
        return len(gone)

    def do_xpending(self, key: bytes, name: bytes) -> list[object]:
        stream = self.stream(key)
        if stream is None:
            raise Failure(NO_GROUP)
        pending = stream.group(name).pending
        if not pending:
            return [0, None, None, None]
        owners = list(pending.values())
        rows = [[owner, b"%d" % owners.count(owner)] for owner in sorted(set(owners))]
        return [len(pending), _text(min(pending)), _text(max(pending)), rows]

    def do_xclaim(self, key: bytes, name: bytes, consumer: bytes, _idle: bytes, *words: bytes) -> list[bytes]:
        """With JUSTID at the end."""
        stream = self.stream(key)
        if stream is None:
            raise Failure(NO_GROUP)
        group = stream.group(name)
        pending, claimed = dict(group.pending), []
        for id in (_id(word) for word in words[:-1]):
            if id not in stream.ids():
                pending.pop(id, None)
            elif id in pending:
                pending[id] = consumer
                claimed.append(_text(id))
        new = replace(group, consumers=group.consumers | {consumer}, pending=pending)
        self._keep_stream(key, stream.with_group(name, new))
        return claimed
