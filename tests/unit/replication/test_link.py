"""A replica's connection to its primary, as a state machine: events in, actions out."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.replication.link import (
    REPEAT_S_MAX,
    RETRY_S_MAX,
    Accepted,
    Action,
    Broken,
    Connect,
    Connected,
    Declined,
    Disconnect,
    Follow,
    Judge,
    Link,
    Load,
    Loaded,
    Lost,
    Note,
    Open,
    Passed,
    Received,
    Send,
    Settings,
    State,
    Stop,
    Store,
    Stream,
    Taken,
    command,
)

pytestmark = pytest.mark.unit

ID = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
MARK = b"M" * 39 + b"N"


def settings(**given: object) -> Settings:
    usual = {
        "port": 6380, "address": "", "version": "9.1.0", "user": "", "password": "", "history": "", "offset": 0,
    }  # fmt: skip
    return Settings(**(usual | given))  # type: ignore[arg-type]


def without_notes(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Note)]


class Played:
    """A link with a clock that the test sets."""

    def __init__(self) -> None:
        self.link = Link()
        self.now = 100.0

    def __call__(self, event: object) -> list[Action]:
        return without_notes(self.link.handle(event, self.now))  # type: ignore[arg-type]

    def passed(self, silent_s: float = 0.0) -> list[Action]:
        return self(Passed(timeout_s=60, silent_s=silent_s))

    def asking(self, **given: object) -> list[Action]:
        """As far as PSYNC."""
        self(Follow("h", 1))
        self(Connected(settings(**given)))
        self(Received(b"+PONG\r\n"))
        return self(Received(b"+OK\r\n+OK\r\n+OK\r\n"))

    def streaming(self) -> None:
        self.asking(history=ID, offset=7)
        self(Received(b"+CONTINUE\r\n"))
        assert self.link.state is State.STREAMING


@pytest.fixture
def link() -> Played:
    return Played()


def test_all_that_is_said_before_a_snapshot(link: Played) -> None:
    assert link(Follow("h", 1)) == [Disconnect("another primary is followed"), Connect("h", 1)]
    assert link.link.word == "connecting"
    assert link(Connected(settings(user="me", password="secret", address="10.0.0.1"))) == [Send(command("PING"))]
    assert link.link.word == "handshake"
    assert link(Received(b"-NOAUTH Authentication required.\r\n")) == [Send(command("AUTH", "me", "secret"))]
    assert link(Received(b"+OK\r\n")) == [
        Send(
            command("REPLCONF", "listening-port", "6380")
            + command("REPLCONF", "ip-address", "10.0.0.1")
            + command("REPLCONF", "capa", "eof", "capa", "psync2", "capa", "cachefleet")
            + command("REPLCONF", "version", "9.1.0")
        )
    ]
    assert link(Received(b"+OK\r\n+OK\r\n+O")) == []
    assert link(Received(b"K\r\n-ERR Unrecognized REPLCONF option: version\r\n")) == [Send(command("PSYNC", "?", "-1"))]
    assert link(Received(b"\n\n")) == []
    assert link(Received(f"+FULLRESYNC {ID} 1234\r\n".encode())) == []
    assert link.link.word == "sync"
    assert link(Received(b"\n$10\r\n01234")) == [Open(10), Store(b"01234")]
    assert link(Received(b"56789*1\r\n")) == [Store(b"56789"), Load(ID, 1234)]
    assert link(Loaded()) == [Stream(b"*1\r\n", ID)]
    assert link.link.word == "connected"


def test_a_managed_server_introduces_itself_first(link: Played) -> None:
    hello = ("7", "d" * 40)
    assert link.asking(introduction=hello) == [Send(command("REPLCONF", "cachefleet", *hello))]
    assert link.link.word == "handshake"
    assert link(Received(b"+cachefleet 7 x - -\r\n")) == [Judge("cachefleet 7 x - -")]
    assert link(Received(b"\n")) == [], "it is judged, and nothing is asked meanwhile"
    assert link(Accepted()) == [Send(command("PSYNC", "?", "-1"))]
    assert link(Accepted()) == [], "only once"


@pytest.mark.parametrize("answer", [b"-STALE epoch 3\r\n", b"-ERR Unrecognized REPLCONF option\r\n"])
def test_a_primary_that_may_not_be_followed(link: Played, answer: bytes) -> None:
    link.link.retry_s_max = 0.3
    link.asking(introduction=("7", "d"))
    (action,) = link(Received(answer))
    assert isinstance(action, Disconnect)
    link.now += 0.4
    assert link.passed() == [Connect("h", 1)], "it may be told its record soon"
    link.asking(introduction=("7", "d"))
    link(Received(b"+cachefleet 3 x - -\r\n"))
    assert link(Broken("its epoch is old")) == [Disconnect("its epoch is old")]


def test_without_a_password_nobody_is_named(link: Played) -> None:
    link(Follow("h", 1))
    link(Connected(settings(user="me")))
    (said,) = link(Received(b"+PONG\r\n"))
    assert isinstance(said, Send)
    assert b"AUTH" not in said.data


@pytest.mark.parametrize(("reply", "id"), [(b"+CONTINUE", ID), (b"+CONTINUE " + OTHER.encode(), OTHER)])
def test_going_on(reply: bytes, id: str, link: Played) -> None:
    assert link.asking(history=ID, offset=41) == [Send(command("PSYNC", ID, "42"))]
    assert link(Received(reply + b"\r\n*1\r\n$4\r\nPING\r\n")) == [Stream(b"*1\r\n$4\r\nPING\r\n", id)]


def test_a_snapshot_with_a_mark_in_pieces_of_any_size(link: Played, rng: random.Random) -> None:
    snapshot = bytes(rng.choices(b"MN0", k=500)) + b"M" * 20
    stream = f"+FULLRESYNC {ID} 5\r\n".encode() + b"$EOF:" + MARK + b"\r\n" + snapshot + MARK
    for early in (b"", b"*1\r\n"):
        whole = stream + early
        for _ in range(200):
            link = Played()
            link.asking()
            at, actions = 0, []
            while at < len(whole):
                step = rng.choice((1, 3, 40, 1000))
                actions += link(Received(whole[at : at + step]))
                at += step
                if link.link.state is State.LOADING:
                    break
            assert actions[0] == Open(-1)
            assert actions[-1] == Load(ID, 5)
            assert b"".join(a.data for a in actions if isinstance(a, Store)) == snapshot
            assert link.link.got == len(snapshot)
            (begun,) = link(Loaded())
            assert isinstance(begun, Stream)
            assert early.startswith(begun.early)


@pytest.mark.parametrize(
    "said",
    [
        b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n", b"-LOADING\r\n", b"+FULLRESYNC short 1\r\n",
        b"+FULLRESYNC " + ID.encode() + b" -1\r\n", b"+FULLRESYNC " + ID.encode() + b"\r\n", b"+CONTINUE\r\n",
        b"$5\r\n", b"+CONTINUE x\r\n", b"x" * 2000, b"+FULLRESYNC " + ID.encode() + b" 1\r\n$-1\r\n",
        b"+FULLRESYNC " + ID.encode() + b" 1\r\n$EOF:short\r\n", b"+FULLRESYNC " + ID.encode() + b" 1\r\n-ERR no\r\n",
        b"+FULLRESYNC " + ID.encode() + b" 1\r\n$99999999999999999999\r\n",
    ],
)  # fmt: skip
def test_what_makes_no_sense_ends_the_connection(said: bytes, link: Played) -> None:
    link.asking()
    *_, last = link(Received(said))
    assert isinstance(last, Disconnect)
    assert link.link.state is State.WAITING
    assert link(Received(b"late")) == [] or link.link.state is State.WAITING


@pytest.mark.parametrize("said", [b"-LOADING\r\n", b"$1\r\n", b"hello\r\n"])
def test_who_does_not_answer_ping(said: bytes, link: Played) -> None:
    link(Follow("h", 1))
    link(Connected(settings()))
    assert isinstance(link(Received(said))[-1], Disconnect)


def test_wrong_credentials(link: Played) -> None:
    link(Follow("h", 1))
    link(Connected(settings(password="x")))
    link(Received(b"-NOAUTH\r\n"))
    (end,) = link(Received(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"))
    assert isinstance(end, Disconnect)
    assert "primaryauth" in end.why


def test_tries_again_after_longer_and_longer_pauses(link: Played) -> None:
    link(Follow("h", 1))
    for pause in (1.0, 2.0, 4.0, RETRY_S_MAX, RETRY_S_MAX):
        assert link(Broken("refused")) == [Disconnect("refused")]
        link.now += pause - 0.25
        assert link.passed() == []
        link.now += 0.25
        assert link.passed() == [Connect("h", 1)]
    link(Connected(settings(history=ID)))
    link(Received(b"+PONG\r\n"))
    link(Received(b"+OK\r\n+OK\r\n+OK\r\n+CONTINUE\r\n"))
    link.now += 0.25
    assert link(Lost("cut", False)) == [Disconnect("cut")], "it has only just begun"
    link.now += 0.75
    assert link.passed() == [Connect("h", 1)]
    link(Connected(settings(history=ID)))
    link(Received(b"+PONG\r\n"))
    link(Received(b"+OK\r\n+OK\r\n+OK\r\n+CONTINUE\r\n"))
    link.now += 2
    assert link(Lost("cut", False)) == [Disconnect("cut"), Connect("h", 1)], "a stream is taken up at once"
    link(Broken("refused"))
    link.now += 1
    assert link.passed() == [Connect("h", 1)]


def test_data_that_cannot_be_had_are_asked_for_as_a_whole_and_less_and_less_often(link: Played) -> None:
    pause = 1.0
    link.streaming()
    link(Lost("unknown command", True))
    for _ in range(8):
        link.now += pause - 0.25
        assert link.passed() == []
        link.now += 0.25
        assert link.passed() == [Connect("h", 1)]
        link(Connected(settings(history=ID, offset=9)))
        link(Received(b"+PONG\r\n"))
        assert link(Received(b"+OK\r\n+OK\r\n+OK\r\n")) == [Send(command("PSYNC", "?", "-1"))]
        link(Received(f"+FULLRESYNC {ID} 5\r\n$1\r\nx".encode()))
        assert link(Loaded("damaged")) == [Disconnect("damaged")]
        pause = min(2 * pause, REPEAT_S_MAX)
    link.now += REPEAT_S_MAX
    link.passed()
    link(Connected(settings(history=ID, offset=9)))
    link(Received(b"+PONG\r\n"))
    link(Received(b"+OK\r\n+OK\r\n+OK\r\n"))
    link(Received(f"+FULLRESYNC {ID} 5\r\n$1\r\nx".encode()))
    assert link(Loaded()) == [Stream(b"", ID)]
    link.now += REPEAT_S_MAX + 1
    assert link.passed() == []
    link(Lost("unknown command", True))
    link.now += 1
    assert link.passed() == [Connect("h", 1)], "forgotten after a while that was good"


def test_silence(link: Played) -> None:
    link.asking()
    link.now += 59
    link(Received(b"\n"))
    link.now += 59
    assert link.passed() == []
    link.now += 2
    assert isinstance(link.passed()[0], Disconnect)
    link.now += 1
    link.streaming()
    link.now += 61
    assert link.passed(silent_s=60) == []
    ended, again = link.passed(silent_s=61)
    assert (isinstance(ended, Disconnect), again) == (True, Connect("h", 1))


def test_a_sign_of_life_each_second_while_loading(link: Played) -> None:
    link.asking()
    link(Received(f"+FULLRESYNC {ID} 5\r\n$1\r\nx".encode()))
    assert link.passed() == [Send(b"\n")]
    link.now += 0.5
    assert link.passed() == []
    link.now += 0.5
    assert link.passed() == [Send(b"\n")]
    link.now += 1000
    assert link.passed() == [Send(b"\n")], "however long it takes"


def test_what_comes_late_changes_nothing(link: Played) -> None:
    link.streaming()
    assert link(Stop()) == [Disconnect("it is followed no longer")]
    for late in (Lost("cut", False), Loaded(), Broken("cut")):
        assert link(late) == []
    assert link.passed() == []
    assert link.link.word == "none"
    link(Follow("other", 2))
    assert link(Lost("cut", True)) == [], "of the primary before"


# -- a handover

TAKES = [f"+CONTINUE {OTHER}\r\n".encode(), f"+FULLRESYNC {OTHER} 41\r\n".encode()]
IS_PRIMARY = b"-ERR PSYNC FAILOVER can't be sent to a master.\r\n"


def test_what_fails_is_counted(link: Played) -> None:
    """What does not go by itself; who cannot be reached, or loads, is not at fault."""
    link(Follow("h", 1))
    link(Broken("refused"))
    for answer, counted in ((b"-LOADING x", 0), (b"-ERR x", 1)):
        link(Follow("h", 1))
        link(Connected(settings()))
        link(Received(answer + b"\r\n"))
        assert link.link.failures == counted
    for answer, counted in ((b"-NOMASTERLINK x", 1), (b"-ERR x", 2), (f"+FULLRESYNC {ID} 1".encode(), 2)):
        link.asking()
        link(Received(answer + b"\r\n"))
        assert link.link.failures == counted
    link(Broken("cut"))
    assert link.link.failures == 3
    link.streaming()
    link(Lost("cut", failed=False))
    assert link.link.failures == 3
    link.streaming()
    link(Lost("cannot be executed", failed=True))
    assert link.link.failures == 4


def offering(link: Played) -> list[Action]:
    link(Connected(settings(history=ID, offset=41)))
    link(Received(b"+PONG\r\n"))
    return link(Received(b"+OK\r\n+OK\r\n+OK\r\n"))


@pytest.mark.parametrize("answer", TAKES)
def test_a_replica_takes_over(answer: bytes, link: Played) -> None:
    link(Follow("h", 1, hand_over=True))
    assert offering(link) == [Send(command("PSYNC", ID, "42", "FAILOVER"))]
    assert link.link.hands_over
    (first, *rest) = link(Received(answer))
    assert first == Taken()
    assert rest == ([Stream(b"", OTHER)] if b"CONTINUE" in answer else [])
    assert link.link.hands_over is False
    link(Follow("h", 1))
    assert offering(link) == [Send(command("PSYNC", ID, "42"))]


@pytest.mark.parametrize("answer", [IS_PRIMARY, b"-NOMASTERLINK x\r\n", b"-LOADING x\r\n", b"+OK\r\n"])
def test_a_replica_that_declines(answer: bytes, link: Played) -> None:
    link(Follow("h", 1, hand_over=True))
    offering(link)
    assert [type(action) for action in link(Received(answer))] == [Declined]
    assert link(Stop()) == [Disconnect("it is followed no longer")]


def test_an_offer_whose_answer_is_lost_is_made_again(link: Played) -> None:
    """There is no telling whether it was taken, but that it is a primary afterwards."""
    link(Follow("h", 1, hand_over=True))
    offering(link)
    link(Broken("cut"))
    link.now += RETRY_S_MAX
    assert link.passed() == [Connect("h", 1)]
    assert offering(link) == [Send(command("PSYNC", ID, "42", "FAILOVER"))]
    assert link(Received(IS_PRIMARY)) == [Taken(), Send(command("PSYNC", ID, "42"))]
    assert link(Received(TAKES[0])) == [Stream(b"", OTHER)]


def test_an_offer_that_was_not_made_is_no_offer(link: Played) -> None:
    link(Follow("h", 1, hand_over=True))
    link(Broken("refused"))
    link.now += RETRY_S_MAX
    link.passed()
    offering(link)
    assert [type(action) for action in link(Received(IS_PRIMARY))] == [Declined]
