"""What the tests of each type in files share: files, payloads and AOF bases of two servers, and what is broken."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from fleettest.client import Connection, Error
from fleettest.instance import Instance, Option
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, dump

Fill = Callable[[Connection, random.Random], None]  # makes keys, one of them named `expires` with a time
Look = Callable[[Connection], object]  # what must be the same afterwards


def names(connection: Connection) -> dict[bytes, bytes]:
    return {key: connection.call("OBJECT", "ENCODING", key) for key in sorted(connection.call("KEYS", "*"))}


def digest(connection: Connection) -> object:
    return connection.call("DEBUG", "DIGEST")


def files_both_ways(
    folder: Path, rng: random.Random, other: Kind, fill: Fill, looks: Sequence[Look], **options: Option
) -> None:
    """A file of theirs here, and one of ours there."""
    options = {"enable-debug-command": "yes", **options}
    directions: list[tuple[Kind, Kind]] = [(other, "cachefleet"), ("cachefleet", other)]
    for source, target in directions:
        place = folder / source
        place.mkdir()
        with Instance(source, directory=place, options=options) as server, server.connect() as c:
            fill(c, rng)
            expected = [look(c) for look in looks]
            c.call("SAVE")
        with Instance(target, directory=place, options=options) as server, server.connect() as c:
            assert [look(c) for look in looks] == expected


def payloads_both_ways(ours: Connection, theirs: Connection, rng: random.Random, fill: Fill) -> None:
    for source, target in ((ours, theirs), (theirs, ours)):
        source.call("FLUSHALL")
        target.call("FLUSHALL")
        fill(source, rng)
        source.call("PERSIST", "expires")
        for key in source.call("KEYS", "*"):
            assert target.call("RESTORE", key, 0, source.call("DUMP", key)) == "OK"
            assert target.call("DEBUG", "DIGEST-VALUE", key) == source.call("DEBUG", "DIGEST-VALUE", key)
            assert target.call("OBJECT", "ENCODING", key) == source.call("OBJECT", "ENCODING", key)


def refused(client: Connection, value: bytes, version: int) -> None:
    reply = client.call("RESTORE", "k", 0, dump(value, version))
    assert isinstance(reply, Error) and "Bad data format" in str(reply)
    assert client.call("EXISTS", "k") == 0


def damaged(
    client: Connection, rng: random.Random, values: Sequence[bytes], version: int, use: Callable[[], None]
) -> None:
    """Whatever is broken in them: what is taken is a whole value, which `use` looks at and changes."""
    for _ in range(3000):
        value = bytearray(rng.choice(values))
        for _ in range(rng.randint(1, 3)):
            value[rng.randrange(1, len(value))] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
        if client.call("RESTORE", "k", 0, dump(bytes(value), version), "REPLACE") == "OK":
            use()
    assert client.call("PING") == "PONG"


def left_out(folder: Path, kind: Kind, empty: bytes) -> None:
    """Two keys without elements, which old versions have written, between others."""
    (folder / "dump.rdb").write_bytes(Builder().key(b"a", b"1").raw(empty).key(b"b", b"2").end())
    with Instance(kind, directory=folder) as server:
        assert sorted(server.call("KEYS", "*")) == [b"a", b"b"]
        assert "keys loaded: 2, keys expired: 0, empty keys skipped: 2" in server.log_text()


def aof_base(
    folder: Path, preamble: str, fill: Callable[[Connection], None], change: Callable[[Connection], None], look: Look
) -> None:
    """As an RDB file or as commands (`preamble` no), taken while the values change."""
    options: dict[str, Option] = {
        "enable-debug-command": "yes", "appendonly": "yes", "aof-use-rdb-preamble": preamble,
    }  # fmt: skip
    with Instance("cachefleet", directory=folder, options=options) as server, server.connect() as c:
        fill(c)
        assert not isinstance(c.call("BGREWRITEAOF"), Error)
        change(c)
        expected = look(c)
        assert c.call("DEBUG", "LOADAOF") == "OK"
        assert look(c) == expected
