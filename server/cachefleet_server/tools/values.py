"""One record of a walk as a JSON object, its value asked for by commands.

    {"db": 0, "key": "k", "type": "hash", "value": {"field": "v"}, "expire_ms": 1796083200000}

Text is text. A line in which anything is not UTF-8 has all its strings as redis-cli prints them between quotes, and
says so: "escaped": true. So a line can always be read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.tools import text

Decode = Callable[[bytes], str]

LENGTHS: Final = {
    "string": b"STRLEN", "list": b"LLEN", "set": b"SCARD", "zset": b"ZCARD", "hash": b"HLEN", "stream": b"XLEN",
}  # fmt: skip
_TIMES: Final = {"hash": (b"HPEXPIRETIME", b"FIELDS"), "set": (b"SPEXPIRETIME", b"MEMBERS"),
                 "zset": (b"ZPEXPIRETIME", b"MEMBERS")}  # fmt: skip


def elements(walk: RdbWalk, record: Record) -> int:
    """Of a string its bytes."""
    found: int = walk.ask(LENGTHS[record.type], record.key)
    return found


def as_object(walk: RdbWalk, record: Record, *, values: bool = True) -> dict[str, Any]:
    try:
        return _object(walk, record, text.plain, values)
    except UnicodeDecodeError:
        return {**_object(walk, record, text.escaped, values), "escaped": True}


def _object(walk: RdbWalk, record: Record, decode: Decode, values: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"db": record.db, "key": decode(record.key), "type": record.type}
    if record.expire_ms is not None:
        found["expire_ms"] = record.expire_ms
    if values:
        value, members = _VALUES[record.type](walk, record.key, decode)
        found["value"] = value
        if walk.timed:
            found["members_expire_ms"] = {decode(member): ms for member, ms in times(walk, record, members).items()}
    return found


def times(walk: RdbWalk, record: Record, members: Sequence[bytes]) -> dict[bytes, int]:
    """When those of its members expire that do."""
    command, word = _TIMES[record.type]
    at = walk.ask(command, record.key, word, b"%d" % len(members), *members)
    return {member: ms for member, ms in zip(members, at, strict=True) if ms >= 0}


def beside_digest(walk: RdbWalk, record: Record) -> Iterator[bytes]:
    """What a value has that RdbWalk.digest does not see: members' times, and of a stream what is not an entry. Times at
    which consumers were seen are left out: not every format has both of them."""
    if walk.timed:
        members = _VALUES[record.type](walk, record.key, text.escaped)[1]
        for member, ms in sorted(times(walk, record, members).items()):
            yield b"%d:%b%d;" % (len(member), member, ms)
    if record.type == "stream":
        facts, _ = _stream(walk, record.key, text.escaped)
        del facts["entries"]
        for group in facts["groups"]:
            for consumer in group["consumers"]:
                for name in ("seen-time", "active-time"):
                    consumer.pop(name, None)
        yield json.dumps(facts, sort_keys=True).encode()


def _string(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    return decode(walk.ask(b"GET", key)), ()


def _list(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    return [decode(element) for element in walk.ask(b"LRANGE", key, b"0", b"-1")], ()


def _set(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    members = walk.ask(b"SMEMBERS", key)
    return [decode(member) for member in members], members


def _hash(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    words = walk.ask(b"HGETALL", key)
    return {decode(name): decode(value) for name, value in zip(words[::2], words[1::2], strict=True)}, words[::2]


def _zset(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    words = walk.ask(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")
    pairs = zip(words[::2], words[1::2], strict=True)
    return [[decode(member), _score(score)] for member, score in pairs], words[::2]


def _score(score: bytes) -> float | int | str:
    """JSON has no infinity."""
    if score.endswith(b"inf"):
        return score.decode()
    number = float(score)
    return int(score) if score.lstrip(b"-").isdigit() and score != b"-0" else number


def _stream(walk: RdbWalk, key: bytes, decode: Decode) -> tuple[Any, Sequence[bytes]]:
    """What XINFO STREAM FULL says, but for the nodes of its tree."""
    words = walk.ask(b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0")
    facts = _facts(words, decode)
    facts["groups"] = [_facts(group, decode) for group in facts["groups"]]
    for group in facts["groups"]:
        group["consumers"] = [_facts(consumer, decode) for consumer in group["consumers"]]
    return {name: _texts(fact, decode) for name, fact in facts.items() if not name.startswith("radix-tree")}, ()


def _facts(words: Any, decode: Decode) -> dict[str, Any]:
    return {name.decode(): fact for name, fact in zip(words[::2], words[1::2], strict=True)}


def _texts(fact: Any, decode: Decode) -> Any:
    if isinstance(fact, bytes):
        return decode(fact)
    if isinstance(fact, dict):
        return {name: _texts(value, decode) for name, value in fact.items()}
    if isinstance(fact, list):
        return [_texts(element, decode) for element in fact]
    return fact


_VALUES: Final[dict[str, Callable[[RdbWalk, bytes, Decode], tuple[Any, Sequence[bytes]]]]] = {
    "string": _string, "list": _list, "set": _set, "hash": _hash, "zset": _zset, "stream": _stream,
}  # fmt: skip
