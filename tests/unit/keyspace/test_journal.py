"""The journal's bytes: SELECT where the database changes, MULTI around two commands or more, nothing while off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cachefleet_server.keyspace._testing import Keyspace
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit


def resp(*args: bytes) -> bytes:
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


def commands(journal: bytes) -> list[tuple[bytes, ...]]:
    """Parses a journal; every byte must belong to a command."""
    result, at = [], 0

    def line() -> bytes:
        nonlocal at
        end = journal.index(b"\r\n", at)
        text, at = journal[at:end], end + 2
        return text

    while at < len(journal):
        args = []
        for _ in range(int(line()[1:])):
            n = int(line()[1:])
            args.append(journal[at : at + n])
            assert journal[at + n : at + n + 2] == b"\r\n"
            at += n + 2
        result.append(tuple(args))
    return result


@pytest.fixture
def ks() -> Iterator[Keyspace]:
    keyspace = Keyspace(databases=4)
    keyspace.journal(True)
    yield keyspace
    assert keyspace.close() == 0


def test_select_comes_first_and_when_the_database_changes(ks: Keyspace) -> None:
    ks.journal_command(0, b"SET", b"a", b"1")
    ks.journal_raw(0, resp(b"SET", b"b", b"2"))
    ks.journal_command(3, b"DEL", b"a")
    assert ks.take_journal() == b"".join(
        [
            resp(b"SELECT", b"0"),
            resp(b"SET", b"a", b"1"),
            resp(b"SET", b"b", b"2"),
            resp(b"SELECT", b"3"),
            resp(b"DEL", b"a"),
        ]
    )


def test_off_means_nothing(ks: Keyspace) -> None:
    ks.journal(False)
    ks.transaction(True)
    ks.journal_command(0, b"SET", b"a", b"1")
    ks.transaction(False)
    assert ks.take_journal() == b""


def test_expired_key_is_unlinked(ks: Keyspace) -> None:
    ks.set(1, b"k", b"v", 10)
    ks.now = 10
    assert ks.get(1, b"k") == b"v"
    assert ks.take_journal() == b""
    ks.now = 11
    assert ks.get(1, b"k") is None
    assert commands(ks.take_journal()) == [(b"SELECT", b"1"), (b"UNLINK", b"k")]


@pytest.mark.parametrize("written", range(4))
def test_transactions_are_wrapped_from_two_commands_on(ks: Keyspace, written: int) -> None:
    ks.journal_command(0, b"SET", b"before", b"1")
    ks.take_journal()
    ks.transaction(True)
    body = [(b"SET", b"k%d" % i, b"v" * i) for i in range(written)]
    for command in body:
        ks.journal_command(0, *command)
    ks.transaction(False)
    ks.journal_command(0, b"SET", b"after", b"1")
    got = commands(ks.take_journal())
    assert got[-1] == (b"SET", b"after", b"1")
    assert got[:-1] == ([(b"MULTI",), *body, (b"EXEC",)] if written > 1 else body)


def test_nested_transactions_are_one(ks: Keyspace) -> None:
    ks.transaction(True)
    ks.journal_command(2, b"SET", b"a", b"1")
    ks.transaction(True)
    ks.journal_command(2, b"SET", b"b", b"1")
    ks.transaction(False)
    ks.journal_command(2, b"SET", b"c", b"1")
    ks.transaction(False)
    names = [command[0] for command in commands(ks.take_journal())]
    assert names == [b"MULTI", b"SELECT", b"SET", b"SET", b"SET", b"EXEC"]


def test_switched_off_inside_a_transaction(ks: Keyspace) -> None:
    """As CONFIG SET appendonly no inside MULTI does: what was journalled is dropped, nothing follows."""
    ks.transaction(True)
    ks.journal_command(0, b"SET", b"a", b"1")
    ks.journal(False)
    ks.take_journal()
    ks.journal_command(0, b"SET", b"b", b"1")
    ks.transaction(False)
    assert ks.take_journal() == b""
    ks.journal(True)
    ks.journal_command(0, b"SET", b"c", b"1")
    assert commands(ks.take_journal()) == [(b"SET", b"c", b"1")]


STEP = st.one_of(
    st.tuples(st.integers(0, 3), st.lists(st.binary(max_size=300), min_size=1, max_size=5)),
    st.booleans(),
)


@given(steps=st.lists(STEP, max_size=30))
def test_any_mix_replays_to_the_same_commands(steps: list[tuple[int, list[bytes]] | bool]) -> None:
    """Replaying with SELECT and MULTI understood gives each command in its database and in its transaction."""
    keyspace = Keyspace(databases=4)
    keyspace.journal(True)
    expected: list[list[tuple[int, tuple[bytes, ...]]]] = []
    open_ = False
    for step in steps:
        if isinstance(step, bool):
            if step != open_:
                keyspace.transaction(step)
                open_ = step
                expected.append([])
        else:
            db, args = step
            keyspace.journal_command(db, *args)
            if open_:
                expected[-1].append((db, tuple(args)))
            else:
                expected.append([(db, tuple(args))])
    if open_:
        keyspace.transaction(False)
    replayed: list[list[tuple[int, tuple[bytes, ...]]]] = []
    db, inside = -1, False
    for command in commands(keyspace.take_journal()):
        if command == (b"MULTI",) and not inside:
            inside = True
            replayed.append([])
        elif command == (b"EXEC",) and inside:
            inside = False
        elif len(command) == 2 and command[0] == b"SELECT":
            db = int(command[1])
        elif inside:
            replayed[-1].append((db, command))
        else:
            replayed.append([(db, command)])
    assert not inside
    assert replayed == [unit for unit in expected if unit]
    assert keyspace.close() == 0
