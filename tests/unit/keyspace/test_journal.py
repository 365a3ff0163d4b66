"""The journal: SELECT where the database changes, MULTI around two commands or more, nothing while nobody is attached;
offsets, and consumers that come and go.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cachefleet_server.keyspace._testing import Keyspace
from cachefleet_server.keyspace._testing_journal import Journal
from hypothesis import given
from hypothesis import strategies as st

from fleettest import aoffile
from fleettest.client import encode

pytestmark = pytest.mark.unit


def commands(journal: bytes) -> list[tuple[bytes, ...]]:
    return [tuple(words) for words in aoffile.commands(journal)]

@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal()
    yield made
    assert made.close() == 0


def test_select_comes_first_and_when_the_database_changes(journal: Journal) -> None:
    journal.command(0, b"SET", b"a", b"1")
    journal.raw(0, encode(b"SET", b"b", b"2"))
    journal.command(3, b"DEL", b"a")
    assert journal.take() == b"".join(
        [
            encode(b"SELECT", b"0"),
            encode(b"SET", b"a", b"1"),
            encode(b"SET", b"b", b"2"),
            encode(b"SELECT", b"3"),
            encode(b"DEL", b"a"),
        ]
    )


def test_off_means_nothing(journal: Journal) -> None:
    journal.detach(0)
    journal.transaction(True)
    journal.command(0, b"SET", b"a", b"1")
    journal.transaction(False)
    assert journal.take() == b""


def test_expired_key_is_unlinked() -> None:
    ks = Keyspace(databases=4)
    ks.journal(True)
    ks.set(1, b"k", b"v", 10)
    ks.now = 10
    assert ks.get(1, b"k") == b"v"
    assert ks.take_journal() == b""
    ks.now = 11
    assert ks.get(1, b"k") is None
    assert commands(ks.take_journal()) == [(b"SELECT", b"1"), (b"UNLINK", b"k")]
    assert ks.close() == 0


@pytest.mark.parametrize("written", range(4))
def test_transactions_are_wrapped_from_two_commands_on(journal: Journal, written: int) -> None:
    journal.command(0, b"SET", b"before", b"1")
    journal.take()
    journal.transaction(True)
    body = [(b"SET", b"k%d" % i, b"v" * i) for i in range(written)]
    for command in body:
        journal.command(0, *command)
    journal.transaction(False)
    journal.command(0, b"SET", b"after", b"1")
    got = commands(journal.take())
    assert got[-1] == (b"SET", b"after", b"1")
    assert got[:-1] == ([(b"MULTI",), *body, (b"EXEC",)] if written > 1 else body)


def test_nested_transactions_are_one(journal: Journal) -> None:
    journal.transaction(True)
    journal.command(2, b"SET", b"a", b"1")
    journal.transaction(True)
    journal.command(2, b"SET", b"b", b"1")
    journal.transaction(False)
    journal.command(2, b"SET", b"c", b"1")
    journal.transaction(False)
    names = [command[0] for command in commands(journal.take())]
    assert names == [b"MULTI", b"SELECT", b"SET", b"SET", b"SET", b"EXEC"]


def test_switched_off_inside_a_transaction(journal: Journal) -> None:
    """As CONFIG SET appendonly no inside MULTI does: what was journalled is dropped, nothing follows."""
    journal.transaction(True)
    journal.command(0, b"SET", b"a", b"1")
    journal.detach(0)
    journal.take()
    journal.command(0, b"SET", b"b", b"1")
    journal.transaction(False)
    assert journal.take() == b""
    journal.attach(0)
    journal.command(0, b"SET", b"c", b"1")
    assert commands(journal.take()) == [(b"SET", b"c", b"1")]


STEP = st.one_of(
    st.tuples(st.integers(0, 3), st.lists(st.binary(max_size=300), min_size=1, max_size=5)),
    st.booleans(),
)


@given(steps=st.lists(STEP, max_size=30))
def test_any_mix_replays_to_the_same_commands(steps: list[tuple[int, list[bytes]] | bool]) -> None:
    """Replaying with SELECT and MULTI understood gives each command in its database and in its transaction."""
    journal = Journal()
    expected: list[list[tuple[int, tuple[bytes, ...]]]] = []
    open_ = False
    for step in steps:
        if isinstance(step, bool):
            if step != open_:
                journal.transaction(step)
                open_ = step
                expected.append([])
        else:
            db, args = step
            journal.command(db, *args)
            if open_:
                expected[-1].append((db, tuple(args)))
            else:
                expected.append([(db, tuple(args))])
    if open_:
        journal.transaction(False)
    replayed: list[list[tuple[int, tuple[bytes, ...]]]] = []
    db, inside = -1, False
    for command in commands(journal.take()):
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
    assert journal.close() == 0


# ---- offsets and consumers

ID = b"0123456789abcdef" * 2 + b"01234567"


def test_every_byte_has_an_offset(journal: Journal) -> None:
    assert journal.end == 0
    journal.command(0, b"SET", b"a", b"1")
    end = journal.end
    assert end == len(encode(b"SELECT", b"0") + encode(b"SET", b"a", b"1"))
    assert len(journal.take()) == end
    assert journal.end == end
    journal.transaction(True)
    journal.command(0, b"SET", b"b", b"1")
    journal.transaction(False)
    assert journal.end == end + len(encode(b"SET", b"b", b"1")), "the MULTI around one command is gone"
    assert journal.take() == encode(b"SET", b"b", b"1")


def test_consumers_come_and_go(journal: Journal) -> None:
    """At any moment of a tick; the others do not notice, and each gets what came after its attachment."""
    one, two, three, four = (encode(b"SET", b"k", b"%d" % i) for i in range(1, 5))
    select = encode(b"SELECT", b"0")
    journal.raw(0, one)
    journal.attach(1)
    journal.raw(0, two)
    journal.hand_over()
    assert (journal.taken(0), journal.taken(1)) == (select + one + two, two)
    journal.raw(0, three)
    journal.attach(2)
    journal.detach(1)
    journal.hand_over()
    assert (journal.taken(0), journal.taken(1), journal.taken(2)) == (three, b"", b"")
    journal.detach(0)
    journal.raw(0, four)
    journal.hand_over()
    assert (journal.taken(0), journal.taken(2)) == (b"", four)
    assert journal.enabled
    journal.detach(2)
    journal.detach(2)
    assert not journal.enabled


def test_nothing_is_handed_over_inside_a_transaction(journal: Journal) -> None:
    journal.transaction(True)
    journal.command(0, b"SET", b"a", b"1")
    assert journal.take() == b""
    journal.command(0, b"SET", b"b", b"1")
    journal.transaction(False)
    names = [command[0] for command in commands(journal.take())]
    assert names == [b"MULTI", b"SELECT", b"SET", b"SET", b"EXEC"]


def test_a_history_has_a_name_while_somebody_listens(journal: Journal) -> None:
    first = journal.id
    assert len(first) == 40
    journal.attach(1)
    assert journal.id == first, "one more listens to the same"
    journal.command(0, b"SET", b"a", b"1")
    end = journal.end
    journal.detach(0)
    journal.detach(1)
    assert journal.id == b""
    assert journal.end == end, "offsets never go back"
    journal.attach(0)
    assert journal.id not in (b"", first), "what happened in between is in neither"
    assert journal.earlier == (b"", 0)


def test_a_history_goes_on_under_a_new_name_after_a_restart() -> None:
    journal = Journal()
    journal.detach(0)
    journal.go_on(ID, 7, 1000)
    journal.attach(0)
    assert journal.end == 1000
    assert journal.id != ID
    assert journal.earlier == (ID, 1000)
    journal.raw(0, encode(b"PING"))
    journal.hand_over()
    assert journal.taken(0) == encode(b"SELECT", b"0") + encode(b"PING")
    assert journal.close() == 0


def test_verbatim_bytes_stay_as_they_are(journal: Journal) -> None:
    """A replica's journal is its primary's: a MULTI around one command stays, and offsets agree."""
    sent = encode(b"SELECT", b"3") + encode(b"MULTI") + encode(b"SET", b"k", b"v") + encode(b"EXEC")
    journal.verbatim(3, sent)
    assert journal.end == len(sent)
    journal.verbatim(3, encode(b"DEL", b"k"))
    journal.command(3, b"SET", b"own", b"1")
    journal.command(0, b"SET", b"own", b"1")
    rest = ((b"DEL", b"k"), (b"SET", b"own", b"1"), (b"SELECT", b"0"), (b"SET", b"own", b"1"))
    assert journal.take() == sent + b"".join(encode(*words) for words in rest)


def test_muted_means_only_what_is_verbatim_and_nobody_leaves(journal: Journal) -> None:
    before = journal.id
    journal.mute(True)
    journal.command(0, b"SET", b"a", b"1")
    journal.verbatim(1, encode(b"PING"))
    assert not journal.enabled
    journal.mute(True)
    journal.mute(False)
    assert not journal.enabled, "it nests"
    journal.mute(False)
    journal.command(0, b"SET", b"b", b"1")
    assert commands(journal.take()) == [(b"PING",), (b"SELECT", b"0"), (b"SET", b"b", b"1")]
    assert journal.id == before


@given(st.lists(st.tuples(st.sampled_from("wtad"), st.integers(0, 3)), max_size=60))
def test_consumers_at_random(steps: list[tuple[str, int]]) -> None:
    journal = Journal()
    due: dict[int, bytes] = {0: b""}
    for n, (step, i) in enumerate(steps):
        if step == "w":
            size = journal.end
            journal.command(i, b"SET", b"%d" % n, b"v")
            raw = encode(b"SET", b"%d" % n, b"v")
            if due:
                select = encode(b"SELECT", b"%d" % i) if journal.end - size > len(raw) else b""
                due = {consumer: bytes_ + select + raw for consumer, bytes_ in due.items()}
        elif step == "t":
            journal.hand_over()
            assert {consumer: journal.taken(consumer) for consumer in due} == due
            due = dict.fromkeys(due, b"")
        elif step == "a" and i not in due:
            assert journal.taken(i) == b""
            journal.attach(i)
            due[i] = b""
        elif step == "d" and i in due:
            journal.detach(i)
            del due[i]
            journal.taken(i)
    assert journal.close() == 0


def test_no_two_histories_have_the_same_name() -> None:
    """Not even of engines whose own random numbers are the same."""
    journals = [Journal() for _ in range(3)]
    assert len({journal.id for journal in journals}) == 3
    assert [journal.close() for journal in journals] == [0, 0, 0]
