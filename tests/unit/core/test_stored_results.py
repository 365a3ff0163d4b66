"""What commands make of values and store: of each way to hold them, where all, some and none of it is a result."""

from __future__ import annotations

from itertools import product

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.replies import Error

pytestmark = pytest.mark.unit

EMPTY: list[bytes] = []
FEW = [b"1", b"-70000", b"9000000000"]
VALUES = (
    EMPTY,
    [b"1"],
    FEW,
    [b"5", b"6"],
    [b"%d" % i for i in range(700)],
    [*FEW, b"word"],
    [b"none", b"of", b"these"],
    [b"word:%d" % i for i in range(200)],
    [b"1", b"w" * 100],
)


def keep(engine: Engine, key: bytes, members: list[bytes], expiring: bool) -> None:
    """A set, a sorted set, a list and a hash of them; integers that a set held among words before are a listpack."""
    engine.execute(b"DEL", *(kind + key for kind in (b"s:", b"z:", b"l:", b"h:", b"b:", b"p:")))
    if not members:
        return
    engine.execute(b"SADD", b"s:" + key, b"no integer", *members)
    engine.execute(b"SREM", b"s:" + key, b"no integer")
    engine.execute(b"ZADD", b"z:" + key, *(word for i, member in enumerate(members) for word in (b"%d" % i, member)))
    engine.execute(b"RPUSH", b"l:" + key, *members)
    engine.execute(b"HSET", b"h:" + key, *(word for member in members for word in (member, member)))
    engine.execute(b"SET", b"b:" + key, b"".join(members))
    engine.execute(b"PFADD", b"p:" + key, *members)
    if expiring:
        for kind in (b"s:", b"z:", b"h:"):
            engine.execute(b"EXPIREMEMBER", kind + key, members[0], b"1000")


@pytest.mark.parametrize("expiring", [False, True])
def test_of_every_two_values(expiring: bool) -> None:
    engine = Engine()
    for one, other in product(VALUES, VALUES):
        keep(engine, b"one", one, expiring)
        keep(engine, b"other", other, False)
        expected = {b"INTER": set(one) & set(other), b"UNION": {*one, *other}, b"DIFF": set(one) - set(other)}
        for word, members in expected.items():
            assert engine.execute(b"S" + word + b"STORE", b"to", b"s:one", b"s:other") == len(members)
            assert set(engine.execute(b"SMEMBERS", b"to")) == members
            assert engine.execute(b"Z" + word + b"STORE", b"to", b"2", b"z:one", b"z:other") == len(members)
            assert set(engine.execute(b"ZRANGE", b"to", b"0", b"-1")) == members
            assert engine.execute(b"Z" + word + b"STORE", b"to", b"2", b"s:one", b"z:other") == len(members)
            assert engine.check() == []
        for command in (
            (b"ZRANGESTORE", b"to", b"z:one", b"1", b"0"),
            (b"ZRANGESTORE", b"to", b"z:one", b"0", b"-1"),
            (b"SORT", b"s:one", b"ALPHA", b"STORE", b"to"),
            (b"SORT", b"l:one", b"ALPHA", b"LIMIT", b"1", b"0", b"STORE", b"to"),
            (b"GEOSEARCHSTORE", b"to", b"z:one", b"FROMLONLAT", b"0", b"0", b"BYRADIUS", b"1", b"km"),
            (b"BITOP", b"XOR", b"to", b"b:one", b"b:other"),
            (b"PFMERGE", b"to", b"p:one", b"p:other"),
            (b"COPY", b"s:one", b"to", b"REPLACE"),
            (b"SMOVE", b"s:one", b"s:other", b"1"),
            (b"LMOVE", b"l:one", b"l:other", b"LEFT", b"RIGHT"),
            (b"SPOP", b"s:one", b"2"),
        ):
            engine.execute(b"DEL", b"to")
            assert not isinstance(engine.execute(*command), Error), command
            assert engine.check() == []
    engine.close()
