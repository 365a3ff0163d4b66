"""COMMAND beside the real Valkey: what the table says about every command that both have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from fleettest.instance import Instance
from fleettest.reference import EXPLAINED_COMMANDS, EXPLAINED_DOCS

pytestmark = pytest.mark.server

FIELDS = ("name", "arity", "flags", "first", "last", "step", "categories", "tips", "specs")
PROSE = {b"summary", b"complexity"}  # in our own words


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[redis.Redis, redis.Redis]]:
    with Instance(kind="cachefleet") as ours, Instance(kind="valkey") as theirs:
        yield redis.Redis(port=ours.port, protocol=3), redis.Redis(port=theirs.port, protocol=3)


def ask(client: redis.Redis, *words: str | bytes) -> Any:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def as_set(value: Any) -> Any:
    """Order is not compared, at any depth: the client's sets have none."""
    if isinstance(value, dict):
        return {key: as_set(item) for key, item in value.items() if key != b"notes"}  # Valkey's own prose
    return sorted(repr(as_set(item)) for item in value) if isinstance(value, (list, set)) else value


def rows(info: Any) -> Iterator[Any]:
    """A command's row and those of its subcommands."""
    yield info
    for child in info[9]:
        yield from rows(child)


def test_info_is_what_valkey_says(pair: tuple[redis.Redis, redis.Redis]) -> None:
    ours, theirs = pair
    compared, wrong = 0, []
    for name in ask(ours, "COMMAND", "LIST"):
        theirs_info = ask(theirs, "COMMAND", "INFO", name)[0]
        if theirs_info is None:
            continue
        expected = {row[0].decode(): row for row in rows(theirs_info)}
        for row in rows(ask(ours, "COMMAND", "INFO", name)[0]):
            full = row[0].decode()
            if full not in expected:
                continue
            compared += 1
            for field, mine, valkeys in zip(FIELDS, row, expected[full], strict=False):
                if as_set(mine) != as_set(valkeys) and full not in EXPLAINED_COMMANDS.get(field, {}):
                    wrong.append((full, field, mine, valkeys))
    assert compared > 100
    assert not wrong


def test_docs_have_every_command(pair: tuple[redis.Redis, redis.Redis]) -> None:
    ours, _ = pair
    docs = ask(ours, "COMMAND", "DOCS")
    assert set(docs) == set(ask(ours, "COMMAND", "LIST"))
    for name, doc in docs.items():
        assert doc[b"summary"] and doc[b"since"] and doc[b"group"] and doc[b"complexity"], name


def documents(docs: dict[bytes, Any]) -> Iterator[tuple[str, dict[bytes, Any]]]:
    """Commands and subcommands with their fields; flags in any order."""
    for name, fields in docs.items():
        yield name.decode(), without_prose({k: v for k, v in fields.items() if k != b"subcommands"})
        yield from documents(fields.get(b"subcommands", {}))


def without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_prose(item) for key, item in value.items() if key not in PROSE}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def test_docs_are_what_valkey_says(pair: tuple[redis.Redis, redis.Redis]) -> None:
    """Group, versions, flags, history and the argument tree of all that both have, field by field and in order."""
    ours, theirs = (dict(documents(ask(side, "COMMAND", "DOCS"))) for side in pair)
    differing = {(name, "") for name in ours.keys() - theirs.keys()}
    for name in ours.keys() & theirs.keys():
        mine, valkeys = ours[name], theirs[name]
        fields = {field for field in {*mine, *valkeys} if mine.get(field) != valkeys.get(field)}
        differing |= {(name, field.decode()) for field in fields}
        if not fields:
            assert repr(mine) == repr(valkeys), f"{name}: the order of the fields"
    assert differing == set(EXPLAINED_DOCS)


@pytest.mark.parametrize(
    "words",
    [
        ("GETKEYS", "set", "a", "b"),
        ("GETKEYS", "mset", "a", "1", "b", "2"),
        ("GETKEYS", "msetex", "2", "a", "1", "b", "2"),
        ("GETKEYS", "msetex", "0", "a", "1"),
        ("GETKEYS", "msetex", "3", "a", "1", "b", "2"),
        ("GETKEYS", "msetex", "99999999", "a", "1"),
        ("GETKEYSANDFLAGS", "msetex", "99999999", "a", "1"),
        ("GETKEYS", "object", "encoding", "x"),
        ("GETKEYS", "get"),
        ("GETKEYS", "ping"),
        ("GETKEYS", "nosuch", "x"),
        ("GETKEYSANDFLAGS", "mset", "a", "1", "b", "2"),
        ("GETKEYSANDFLAGS", "copy", "a", "b"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "get", "u8", "0"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "get", "u8", "0", "set", "u8", "0", "1"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "overflow", "x", "get", "u8", "0", "OVERFLOW", "sat"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "get", "u8", "0", "overflow"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "get", "u8"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "overflow", "get", "get", "u8", "0"),
        ("GETKEYSANDFLAGS", "bitfield", "a", "nothing"),
        ("GETKEYSANDFLAGS", "georadius", "a", "1", "1", "1", "m"),
        ("GETKEYSANDFLAGS", "georadius", "a", "1", "1", "1", "m", "store", "b", "STOREDIST", "c"),
        ("GETKEYSANDFLAGS", "georadius", "a", "1", "1", "1", "m", "storedist", "b", "STORE", "c"),
        ("GETKEYSANDFLAGS", "georadiusbymember", "a", "m", "1", "m", "store", "b", "store"),
        ("GETKEYSANDFLAGS", "sort", "a"),
        ("GETKEYSANDFLAGS", "sort", "a", "by", "w_*", "get", "#", "store", "b"),
        ("GETKEYSANDFLAGS", "sort", "a", "STORE", "b", "store", "c"),
        ("GETKEYSANDFLAGS", "sort", "a", "store", "store", "c"),
        ("GETKEYSANDFLAGS", "sort", "a", "by", "store", "store", "b"),
        ("GETKEYSANDFLAGS", "sort", "a", "Limit", "store", "b", "c"),
        ("GETKEYSANDFLAGS", "sort", "a", "limit", "1", "2", "store"),
        ("GETKEYSANDFLAGS", "sort", "a", "nothing", "STORE", "b", "alpha"),
        ("GETKEYSANDFLAGS", "sort_ro", "a", "store", "b"),
        ("GETKEYS", "sort"),
        ("INFO", "nosuch"),
        ("DOCS", "nosuch"),
        ("LIST", "FILTERBY", "nosuch", "x"),
        ("LIST", "x"),
        ("LIST", "FILTERBY", "PATTERN", "mset*"),
        ("LIST", "FILTERBY", "PATTERN", "MSET[^x]"),
        ("LIST", "FILTERBY", "PATTERN", "*?*?*?*?*?*?*?*?*?*?*?*?Z"),
    ],
)
def test_replies_and_errors(pair: tuple[redis.Redis, redis.Redis], words: tuple[str, ...]) -> None:
    answers = []
    for client in pair:
        try:
            answers.append(as_set(ask(client, "COMMAND", *words)))
        except redis.ResponseError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


NUMBERS = ("0", "1", "2", "3", "00000000002", "99999999999", "-1")
WORDS = (
    *("a", "b", "c", *NUMBERS, "GET", "get", "DB", "EX", "NX", "STORE", "store", "STOREDIST", "LIMIT", "BY", ""),
    *("STREAMS", "streams", "COUNT", "BLOCK", "GROUP", "NOACK"),
)


def test_the_keys_of_any_arguments(pair: tuple[redis.Redis, redis.Redis], rng: random.Random) -> None:
    """Every command that has keys, with words that nobody would send."""
    ours, theirs = ({name.decode() for name, *_, specs, _ in ask(side, "COMMAND") if specs} for side in pair)
    names = sorted((ours & theirs) - EXPLAINED_COMMANDS["arity"].keys())
    assert len(names) > 40
    for name in names:
        for _ in range(30):
            words = (*name.split("|"), *(rng.choice(WORDS) for _ in range(rng.randrange(1, 9))))
            test_replies_and_errors(pair, (rng.choice(("GETKEYS", "GETKEYSANDFLAGS")), *words))


@pytest.mark.parametrize(
    "number", ["2", "02", "00000000002", "2x", "+2", " 2", "2 ", "4294967298", "-4294967294", "9" * 30, "-" + "9" * 30]
)
def test_numbers_of_keys(pair: tuple[redis.Redis, redis.Redis], number: str) -> None:
    """Most commands read it as C's atoi does, MSETEX does not."""
    for name in ("LMPOP", "MSETEX"):
        for way in ("GETKEYS", "GETKEYSANDFLAGS"):
            test_replies_and_errors(pair, (way, name, number, "a", "b", "c", "d", "e"))
