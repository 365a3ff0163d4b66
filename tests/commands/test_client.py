"""CLIENT beside the real Valkey: every filter, every error text, and what the subcommands do to connections.

The servers are this module's own and have no other clients, so that CLIENT LIST of both can be compared line by line.
"""

from __future__ import annotations

import random
import re
import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fleettest.client import Arg, Error, encode, parse
from fleettest.instance import Instance
from fleettest.reference import EXPLAINED, Explained, Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

# Without "multi": Valkey says 0 instead of -1 for clients outside MULTI that have ever used WATCH or MULTI.
COMPARED = (
    "name", "flags", "capa", "db", "sub", "psub", "ssub", "watch", "qbuf", "cmd", "user", "redir", "resp",
    "lib-name", "lib-ver", "events",
)  # fmt: skip


def fields(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split(" "))


def lines(reply: Any) -> list[dict[str, str]]:
    return [fields(line) for line in reply.decode().splitlines()]


def same_clients(ours: bytes, theirs: bytes) -> bool:
    """The same connections, told by what does not depend on ids, ports, clocks and the layout of memory."""
    if ours[:1] == b"-" or theirs[:1] == b"-":
        return False

    def told(raw: bytes) -> list[tuple[str, ...]]:
        return [tuple(line[name] for name in COMPARED) for line in lines(parse(raw)[0])]

    def names(raw: bytes) -> list[list[str]]:
        return [list(line) for line in lines(parse(raw)[0])]

    return told(ours) == told(theirs) and names(ours) == names(theirs)


RULES = (
    Explained(r"CLIENT (LIST|INFO)\b", "ids, ports, clocks, layout of memory", same_clients),
    *(rule for rule in EXPLAINED if "LIST" not in rule.command),
    Explained(r"CLIENT ID\b", "connection ids", lambda a, b: a[:1] == b[:1] == b":"),
)
Open = Callable[[], Pair]


@pytest.fixture(scope="module")
def instances() -> Iterator[tuple[Instance, Instance]]:
    options = {"enable-debug-command": "yes"}
    with Instance("cachefleet", options=options) as ours, Instance("valkey", options=options) as theirs:
        yield ours, theirs


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def new_pair(request: pytest.FixtureRequest, instances: tuple[Instance, Instance]) -> Iterator[Open]:
    """Opens pairs of connections; no other client is there when the test begins."""
    opened: list[AbstractContextManager[Pair]] = []

    def open_pair() -> Pair:
        pair = Pair(*instances, resp=request.param, explained=RULES)
        opened.append(pair)
        return pair

    with open_pair() as first:
        for connection in (first.ours, first.theirs):
            assert_eventually(lambda c=connection: len(lines(c.call("CLIENT", "LIST"))) == 1)
    yield open_pair
    for pair in opened:
        pair.__exit__(None, None, None)


@pytest.fixture
def pair(new_pair: Open, instances: tuple[Instance, Instance]) -> Pair:
    pair = new_pair()
    for connection in (pair.ours, pair.theirs):
        assert_eventually(lambda c=connection: len(lines(c.call("CLIENT", "LIST"))) == 1)
    return pair


ERRORS = """
CLIENT|CLIENT FOO|CLIENT HELP|CLIENT HELP x|CLIENT ID|CLIENT ID x|CLIENT GETNAME|CLIENT GETNAME x|CLIENT SETNAME
CLIENT SETNAME a|CLIENT GETNAME|CLIENT SETNAME a b|CLIENT SETINFO|CLIENT SETINFO lib-name|CLIENT SETINFO foo x
CLIENT SETINFO lib-name x y|CLIENT INFO x|CLIENT LIST FOO|CLIENT LIST TYPE|CLIENT LIST TYPE foo
CLIENT LIST TYPE master|CLIENT LIST TYPE primary|CLIENT LIST TYPE slave|CLIENT LIST TYPE replica
CLIENT LIST TYPE pubsub|CLIENT LIST TYPE NORMAL|CLIENT LIST NOT-TYPE normal|CLIENT LIST NOT-TYPE foo|CLIENT LIST ID
CLIENT LIST ID x|CLIENT LIST ID 0|CLIENT LIST ID -1|CLIENT LIST ID 1 x|CLIENT LIST ID 1000 1001
CLIENT LIST ID 1000 SKIPME yes|CLIENT LIST ID 1000 FOO yes|CLIENT LIST ID 99999999999999999999|CLIENT LIST NOT-ID
CLIENT LIST NOT-ID x|CLIENT LIST NOT-ID 100000 100001|CLIENT LIST USER|CLIENT LIST USER nosuch
CLIENT LIST USER default|CLIENT LIST NOT-USER default|CLIENT LIST NOT-USER x|CLIENT LIST MAXAGE|CLIENT LIST MAXAGE x
CLIENT LIST MAXAGE 0|CLIENT LIST MAXAGE -1|CLIENT LIST MAXAGE 10000|CLIENT LIST NOT-MAXAGE 10|CLIENT LIST IDLE x
CLIENT LIST IDLE 0|CLIENT LIST IDLE -1|CLIENT LIST IDLE 10000|CLIENT LIST NOT-IDLE 10|CLIENT LIST FLAGS
CLIENT LIST FLAGS Z|CLIENT LIST FLAGS N|CLIENT LIST FLAGS NN|CLIENT LIST FLAGS NO|CLIENT LIST FLAGS xO
CLIENT LIST NOT-FLAGS N|CLIENT LIST NOT-FLAGS Z|CLIENT LIST NOT-FLAGS NO|CLIENT LIST NAME|CLIENT LIST NAME nosuch
CLIENT LIST NOT-NAME nosuch|CLIENT LIST LIB-NAME nosuch|CLIENT LIST NOT-LIB-NAME nosuch|CLIENT LIST LIB-VER nosuch
CLIENT LIST NOT-LIB-VER nosuch|CLIENT LIST DB|CLIENT LIST DB x|CLIENT LIST DB -1|CLIENT LIST DB 16|CLIENT LIST DB 15
CLIENT LIST DB 0|CLIENT LIST DB 99999999999|CLIENT LIST NOT-DB x|CLIENT LIST NOT-DB 16|CLIENT LIST not-db 0
CLIENT LIST NOT-DB 1|CLIENT LIST CAPA|CLIENT LIST CAPA x|CLIENT LIST CAPA r|CLIENT LIST CAPA R|CLIENT LIST CAPA rr
CLIENT LIST NOT-CAPA r|CLIENT LIST NOT-CAPA x|CLIENT LIST CAPA redirect|CLIENT LIST IP|CLIENT LIST IP 1.2.3.4
CLIENT LIST IP 127.0.0.1|CLIENT LIST NOT-IP 127.0.0.1|CLIENT LIST NOT-IP 1.2.3.4|CLIENT LIST ADDR 1.2.3.4:5
CLIENT LIST NOT-ADDR 1.2.3.4:5|CLIENT LIST LADDR 1.2.3.4:5|CLIENT LIST NOT-LADDR 1.2.3.4:5|CLIENT LIST SKIPME
CLIENT LIST SKIPME x|CLIENT LIST SKIPME yes|CLIENT LIST SKIPME no|CLIENT LIST NOT-SKIPME yes|CLIENT LIST NOT- x
CLIENT LIST NOT-FOO x|CLIENT LIST TYPE normal TYPE pubsub|CLIENT LIST TYPE pubsub TYPE normal
CLIENT LIST ADDR x NOT-ADDR x|CLIENT LIST TYPE normal NOT-TYPE normal|CLIENT LIST NAME a NAME nosuch|CLIENT KILL
CLIENT KILL foo|CLIENT KILL 1.2.3.4:5|CLIENT KILL ID|CLIENT KILL ID x|CLIENT KILL ID 0|CLIENT KILL ID -1
CLIENT KILL ID 1000|CLIENT KILL ID 1000 1001|CLIENT KILL ID 1000 x|CLIENT KILL ID 1000 TYPE foo|CLIENT KILL TYPE foo
CLIENT KILL ID 1000 TYPE normal|CLIENT KILL TYPE pubsub|CLIENT KILL TYPE master|CLIENT KILL USER nosuch
CLIENT KILL USER default SKIPME yes|CLIENT KILL SKIPME x|CLIENT KILL SKIPME yes|CLIENT KILL ADDR 1.2.3.4:1
CLIENT KILL LADDR 1.2.3.4:1|CLIENT KILL MAXAGE x|CLIENT KILL MAXAGE 0|CLIENT KILL MAXAGE -1|CLIENT KILL MAXAGE 1000
CLIENT KILL MAXAGE 1000000000000000000000|CLIENT KILL FOO bar|CLIENT KILL ID 1000 FOO|CLIENT KILL NAME nosuch
CLIENT KILL FLAGS P|CLIENT KILL DB 3|CLIENT KILL DB 99|CLIENT KILL IDLE 1000|CLIENT KILL CAPA r|CLIENT KILL IP 1.1.1.1
CLIENT KILL LIB-NAME nosuch|CLIENT KILL LIB-VER nosuch|CLIENT KILL NOT-TYPE normal|CLIENT PAUSE|CLIENT PAUSE x
CLIENT PAUSE -1|CLIENT PAUSE 0|CLIENT PAUSE 1 FOO|CLIENT PAUSE 1 WRITE|CLIENT PAUSE 1 all|CLIENT PAUSE 1 ALL x
CLIENT PAUSE 9223372036854775807|CLIENT PAUSE 99999999999999999999|CLIENT UNPAUSE|CLIENT UNPAUSE x|CLIENT REPLY
CLIENT REPLY foo|CLIENT REPLY ON|CLIENT REPLY ON x|CLIENT NO-EVICT|CLIENT NO-EVICT foo|CLIENT NO-EVICT on|CLIENT INFO
CLIENT LIST FLAGS e|CLIENT NO-EVICT OFF|CLIENT NO-TOUCH|CLIENT NO-TOUCH foo|CLIENT NO-TOUCH on|CLIENT INFO
CLIENT NO-TOUCH off|CLIENT UNBLOCK|CLIENT UNBLOCK x|CLIENT UNBLOCK -1|CLIENT UNBLOCK 0|CLIENT UNBLOCK 1000
CLIENT UNBLOCK 1000 foo|CLIENT UNBLOCK x foo|CLIENT UNBLOCK 1000 timeout|CLIENT UNBLOCK 1000 ERROR
CLIENT UNBLOCK 1000 ERROR x|CLIENT CAPA|CLIENT CAPA foo|CLIENT INFO|CLIENT CAPA foo redirect|CLIENT INFO
CLIENT LIST CAPA r|CLIENT LIST NOT-CAPA r|CLIENT IMPORT-SOURCE|CLIENT IMPORT-SOURCE on|CLIENT IMPORT-SOURCE foo
CONFIG SET import-mode yes|CLIENT IMPORT-SOURCE foo|CLIENT IMPORT-SOURCE on|CLIENT INFO|CLIENT IMPORT-SOURCE off
CONFIG SET import-mode no|CLIENT LIST ID 9999 9999 TYPE normal|CLIENT KILL ID 9999 9999 9999
CLIENT GETREDIR|CLIENT TRACKINGINFO|CLIENT GETREDIR x
""".replace("\n", "|").strip("|").split("|")
RAW: list[tuple[Arg, ...]] = [
    ("CLIENT", "SETNAME", "a b"), ("CLIENT", "SETNAME", "a\n"), ("CLIENT", "SETNAME", b"\xff"),
    ("CLIENT", "SETNAME", b"a\0 b"), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", b"\0"),
    ("CLIENT", "GETNAME"), ("HELLO", "2", "SETNAME", b"q\0\n"), ("CLIENT", "GETNAME"),
    ("CLIENT", "SETINFO", "lib-name", b"x\0 \n"),
    ("CLIENT", "SETNAME", "x" * 1000), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", ""), ("CLIENT", "GETNAME"),
    ("CLIENT", "SETINFO", "lib-name", "a b"), ("CLIENT", "SETINFO", "LIB-VER", b"\x01"),
    ("CLIENT", "SETINFO", "lib-name", "my-lib"), ("CLIENT", "SETINFO", "LIB-VER", "1.2"), ("CLIENT", "INFO"),
    ("CLIENT", "LIST", "LIB-NAME", "my-lib"), ("CLIENT", "LIST", "LIB-VER", "1.2"),
    ("CLIENT", "LIST", "NOT-LIB-VER", "1.2"), ("CLIENT", "SETINFO", "lib-name", ""), ("CLIENT", "INFO"),
    ("CLIENT", "LIST", "NAME", ""), ("CLIENT", "LIST", "NOT-NAME", ""), ("CLIENT", "LIST", "LIB-NAME", ""),
    ("CLIENT", "LIST", "NOT-LIB-NAME", ""), ("CLIENT", "LIST", "FLAGS", ""), ("CLIENT", "LIST", "NOT-FLAGS", ""),
    ("CLIENT", "LIST", "CAPA", ""), ("CLIENT", "LIST", "IP", ""), ("CLIENT", "LIST", "NAME", "a b"),
    ("CLIENT", "LIST", "NAME", b"\xff\x00"), ("CLIENT", "LIST", "USER", b"\xff"), ("CLIENT", "LIST", "FLAGS", "N\n"),
    *(("CLIENT", "LIST", "FLAGS", letter) for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0"),
]  # fmt: skip


def test_replies_and_errors(pair: Pair) -> None:
    for line in ERRORS:
        pair.run(*line.split())
    for command in RAW:
        pair.run(*command)


def test_list_shows_what_connections_are_doing(pair: Pair, new_pair: Open) -> None:
    multi, watching, named, other_db = (new_pair() for _ in range(4))
    multi.run("MULTI")
    multi.run("SET", "a", "b")
    watching.run("WATCH", "x", "y")
    named.run("CLIENT", "SETNAME", "bob")
    other_db.run("SELECT", "9")
    other_db.run("CLIENT", "NO-TOUCH", "on")
    listed = lines(pair.run("CLIENT", "LIST"))
    assert [line["name"] for line in listed] == ["", "", "", "bob", ""]
    assert [line["flags"] for line in listed] == ["N", "x", "N", "N", "T"]
    assert [line["multi"] for line in listed] == ["-1", "1", "-1", "-1", "-1"]
    for option in ("NAME bob", "NOT-NAME bob", "DB 9", "NOT-DB 9", "FLAGS x", "FLAGS N", "FLAGS T", "NOT-FLAGS x"):
        pair.run("CLIENT", "LIST", *option.split())
    pair.run("CLIENT", "LIST", "NAME", "bob", "DB", "0")
    pair.run("CLIENT", "LIST", "NAME", "bob", "DB", "9")
    pair.run("SET", "x", "1")
    assert len(lines(pair.run("CLIENT", "LIST", "FLAGS", "d"))) == 1


@pytest.mark.parametrize(
    ("option", "field"), [("ID", "id"), ("ADDR", "addr"), ("LADDR", "laddr"), ("NAME", "name"), ("IP", "ip")]
)
def test_filters_by_identity(pair: Pair, new_pair: Open, option: str, field: str) -> None:
    """Values that differ between the servers: each is asked about its own."""
    other = new_pair()
    other.run("CLIENT", "SETNAME", "other")
    for mine, another in ((pair.ours, other.ours), (pair.theirs, other.theirs)):
        me = fields(another.call("CLIENT", "INFO").decode().strip())
        me["ip"] = me["addr"].rpartition(":")[0]
        found = {line["id"] for line in lines(mine.call("CLIENT", "LIST", option, me[field]))}
        rest = {line["id"] for line in lines(mine.call("CLIENT", "LIST", "NOT-" + option, me[field]))}
        assert me["id"] in found and me["id"] not in rest
        assert len(found) == (2 if option in ("LADDR", "IP") else 1)
        assert len(found) + len(rest) == 2


@pytest.mark.parametrize(
    "options",
    ["NAME bob", "DB 7", "FLAGS x", "LIB-NAME lib", "LIB-VER 9", "NOT-NAME alice", "CAPA r", "USER default NAME bob"],
)
def test_kill_by_filter(pair: Pair, new_pair: Open, options: str) -> None:
    victim = new_pair()
    for command in (
        "CLIENT SETNAME bob", "SELECT 7", "CLIENT SETINFO lib-name lib", "CLIENT SETINFO lib-ver 9",
        "CLIENT CAPA redirect", "MULTI",
    ):  # fmt: skip
        victim.run(*command.split())
    pair.run("CLIENT", "SETNAME", "alice")
    assert pair.run("CLIENT", "KILL", *options.split()) == 1
    assert victim.ours.closed_by_server() and victim.theirs.closed_by_server()
    pair.run("CLIENT", "LIST")


def test_kill_by_id_and_address(pair: Pair, new_pair: Open) -> None:
    for style in ("old", "addr", "id", "ids", "laddr"):
        other = new_pair()
        for mine, victim in ((pair.ours, other.ours), (pair.theirs, other.theirs)):
            me = fields(victim.call("CLIENT", "INFO").decode().strip())
            options = {
                "old": (me["addr"],), "addr": ("ADDR", me["addr"]), "id": ("ID", me["id"]),
                "ids": ("ID", "999999", me["id"], "TYPE", "normal"), "laddr": ("LADDR", me["laddr"]),
            }[style]  # fmt: skip
            assert mine.call("CLIENT", "KILL", *options) == ("OK" if style == "old" else 1)
            assert victim.closed_by_server()


def test_who_kills_itself_gets_the_reply_first(new_pair: Open) -> None:
    for options in (("SKIPME", "no"), ("TYPE", "normal", "SKIPME", "no")):
        suicidal = new_pair()
        suicidal.run("CLIENT", "KILL", *options)
        assert suicidal.ours.closed_by_server() and suicidal.theirs.closed_by_server()


def test_reply_off_and_skip(new_pair: Open) -> None:
    quiet = new_pair()
    script = "CLIENT REPLY SKIP|SET a 1|GET a|CLIENT REPLY OFF|SET a 2|GET a|CLIENT REPLY SKIP|CLIENT REPLY ON|GET a"
    raw = b"".join(line.encode() + b"\r\n" for line in script.split("|"))
    assert [parse(reply)[0] for reply in quiet.raw(raw, 3)] == [b"1", "OK", b"2"]
    quiet.run("PING")


@pytest.mark.parametrize("words", ["SET k 1", "PFCOUNT none", "PFCOUNT none other"])
def test_a_write_pause_holds_writes(pair: Pair, new_pair: Open, words: str) -> None:
    """PFCOUNT may store what it counted, so it is held, too."""
    worker, other = new_pair(), new_pair()
    pair.run("DEL", "k")
    pair.run("CLIENT", "PAUSE", "60000", "WRITE")
    worker.run("GET", "k")
    for connection in (worker.ours, worker.theirs):
        connection.send_command(*words.split())
    for connection in (pair.ours, pair.theirs):
        assert_eventually(lambda c=connection: c.call("CLIENT", "LIST", "FLAGS", "b"))
    pair.run("CLIENT", "LIST", "FLAGS", "b")
    other.run("GET", "k")
    pair.run("CLIENT", "UNPAUSE")
    assert worker.ours.read_raw() == worker.theirs.read_raw() in (b"+OK\r\n", b":0\r\n")
    other.run("GET", "k")


def test_a_pause_of_all_holds_everything_and_ends_by_itself(pair: Pair, new_pair: Open) -> None:
    worker = new_pair()
    pair.run("CLIENT", "PAUSE", "5000", "ALL")
    for connection in (worker.ours, worker.theirs):
        connection.send_command("PING")
    ready, _, _ = select.select([worker.ours.sock, worker.theirs.sock], [], [], 0.1)
    assert not ready, "answered during the pause"
    assert worker.ours.read() == worker.theirs.read() == "PONG"


def test_a_pause_within_a_transaction_holds_what_follows(pair: Pair, new_pair: Open) -> None:
    """All of it is parsed at once, and answered in order when the pause is over."""
    pair.run("DEL", "a", "b")
    words = [
        ("MULTI",), ("CLIENT", "PAUSE", "200", "ALL"), ("EXEC",), ("SET", "a", "1"), ("APPEND", "a", "2"), ("GET", "a"),
        ("PING",),
    ]  # fmt: skip
    worker = new_pair()
    for connection in (worker.ours, worker.theirs):
        connection.send(b"".join(encode(*w) for w in words))
        assert [connection.read() for _ in words] == ["OK", "QUEUED", ["OK"], "OK", 2, b"12", "PONG"]
    assert b"blocked_clients:0\r\n" in pair.ours.call("INFO", "clients")
    worker.run("GET", "a")


def test_a_write_pause_keeps_expired_keys(pair: Pair) -> None:
    """The data set stands still: nothing that only looks may delete."""
    pair.run("FLUSHDB")
    for number in range(5):
        pair.run("SET", f"k{number}", "v", "PX", "1")
    pair.run("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        for connection in (pair.ours, pair.theirs):
            assert_eventually(lambda c=connection: c.call("GET", "k4") is None)
            size = connection.call("DBSIZE")
            assert connection.call("SCAN", "0") == [b"0", []]
            assert connection.call("RANDOMKEY") in [b"k%d" % n for n in range(5)] + [None]
            assert connection.call("DBSIZE") == size
    finally:
        pair.run("CLIENT", "UNPAUSE")
        pair.run("FLUSHDB")


def test_pause_is_never_shortened(pair: Pair) -> None:
    pair.run("CLIENT", "PAUSE", "60000", "WRITE")
    pair.run("CLIENT", "PAUSE", "10", "WRITE")
    for connection in (pair.ours, pair.theirs):
        info = connection.call("INFO", "clients").decode()
        assert "paused_actions:write\r\n" in info and "paused_reason:client_pause\r\n" in info
        left = re.search(r"paused_timeout_milliseconds:(\d+)", info)
        assert left is not None and int(left[1]) > 10_000
    pair.run("CLIENT", "UNPAUSE")
    assert b"paused_reason:none" in pair.ours.call("INFO", "clients")


def test_a_pause_of_no_time_ends_none_and_may_strengthen_one(pair: Pair, new_pair: Open) -> None:
    worker = new_pair()
    pair.run("CLIENT", "PAUSE", "1500", "WRITE")
    pair.run("CLIENT", "PAUSE", "0", "WRITE")
    worker.run("GET", "k")
    pair.run("CLIENT", "PAUSE", "0", "ALL")
    for connection in (worker.ours, worker.theirs):
        connection.send_command("PING")
    ready, _, _ = select.select([worker.ours.sock, worker.theirs.sock], [], [], 0.1)
    assert not ready, "answered during the pause"
    assert worker.ours.read() == worker.theirs.read() == "PONG"


def test_what_a_pause_held_is_done_as_it_was_sent(pair: Pair, new_pair: Open, rng: random.Random) -> None:
    """Requests of every form are kept: arguments of many sizes, inline ones, transactions."""
    worker = new_pair()
    values = [rng.randbytes(size) for size in (0, 1, 100, 70_000)]
    pair.run("CLIENT", "PAUSE", "60000", "WRITE")
    sent = encode("MSET", "a", values[0], "b", values[1], "c", values[2], "d", values[3])
    sent += b"APPEND b x\r\n" + encode("MULTI") + encode("APPEND", "a", values[3]) + encode("GET", "b") + encode("EXEC")
    for connection in (worker.ours, worker.theirs):
        connection.send(sent)
    for connection in (pair.ours, pair.theirs):
        assert_eventually(lambda c=connection: c.call("CLIENT", "LIST", "FLAGS", "b"))
    pair.run("CLIENT", "UNPAUSE")
    expected = ["OK", 2, "OK", "QUEUED", "QUEUED", [70_000, values[1] + b"x"]]
    for connection in (worker.ours, worker.theirs):
        assert [connection.read() for _ in expected] == expected
    worker.run("MGET", "a", "b", "c", "d")


@pytest.mark.parametrize(("how", "reply"), [((), 0), (("TIMEOUT",), 0), (("ERROR",), None)])
def test_unblock(pair: Pair, new_pair: Open, how: tuple[str, ...], reply: int | None) -> None:
    waiting = new_pair()
    ids = waiting.ours.call("CLIENT", "ID"), waiting.theirs.call("CLIENT", "ID")
    for connection in (waiting.ours, waiting.theirs):
        connection.send_command("WAIT", "1", "0")
    for connection, id in zip((pair.ours, pair.theirs), ids, strict=True):
        assert_eventually(lambda c=connection, i=id: c.call("CLIENT", "LIST", "ID", i, "FLAGS", "b"))
        assert connection.call("CLIENT", "UNBLOCK", id, *how) == 1
    ours, theirs = waiting.ours.read(), waiting.theirs.read()
    assert ours == theirs == (Error("UNBLOCKED client unblocked via CLIENT UNBLOCK") if reply is None else reply)
    waiting.run("PING")
    for connection, id in zip((pair.ours, pair.theirs), ids, strict=True):
        assert connection.call("CLIENT", "UNBLOCK", id) == 0


def test_no_touch_leaves_the_access_clock_alone(instances: tuple[Instance, Instance]) -> None:
    ours = instances[0]
    with ours.connect() as c:
        c.call("SET", "old", "x")
        payload = c.call("DUMP", "old")
        c.call("RESTORE", "old", "0", payload, "REPLACE", "IDLETIME", "1000")
        c.call("CLIENT", "NO-TOUCH", "ON")
        c.call("GET", "old")
        assert c.call("OBJECT", "IDLETIME", "old") >= 1000
        c.call("CLIENT", "NO-TOUCH", "OFF")
        c.call("GET", "old")
        assert c.call("OBJECT", "IDLETIME", "old") < 1000


def test_totals_count_what_went_over_the_wire(pair: Pair) -> None:
    """tot-net-in, tot-net-out and tot-cmds are the same numbers as Valkey's, up to the command that asks."""
    told = []
    for connection in (pair.ours, pair.theirs):
        before = fields(connection.call("CLIENT", "INFO").decode().strip())
        connection.pipeline([("SET", "k", "v" * 1000), ("GET", "k"), ("NOSUCH",), ("PING",)])
        after = fields(connection.call("CLIENT", "INFO").decode().strip())
        told.append([int(after[name]) - int(before[name]) for name in ("tot-net-in", "tot-cmds")])
        assert int(after["tot-net-out"]) - int(before["tot-net-out"]) > 1000
    assert told[0] == told[1]


def test_who_is_killed_is_not_found_again(pair: Pair, new_pair: Open) -> None:
    """Not even by the commands of the same batch."""
    victims = new_pair()
    told = []
    for connection, victim in ((pair.ours, victims.ours), (pair.theirs, victims.theirs)):
        id = victim.call("CLIENT", "ID")
        told.append(connection.pipeline([("CLIENT", "KILL", "ID", id), ("CLIENT", "KILL", "ID", id, "TYPE", "normal"),
                                         ("CLIENT", "LIST", "ID", id)]))  # fmt: skip
    assert told == [[1, 0, b""]] * 2
