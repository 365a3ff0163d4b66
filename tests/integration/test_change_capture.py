"""CDC READ: every change once and in order, whatever ends, is rewritten or waits meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.capture import Reader, example_changes, example_lines, replay, start_example
from fleettest.client import Error
from fleettest.instance import Instance, free_port
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

OPTIONS = {"appendonly": "yes", "cdc-retention-bytes": "1gb", "save": "", "enable-debug-command": "yes"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Instance]:
    with Instance("cachefleet", directory=tmp_path / "server", port=free_port(), options=OPTIONS) as server:
        yield server


def rewrite(server: Instance) -> None:
    def done() -> bool:
        info = server.info("persistence")
        return info["aof_rewrite_in_progress"] == info["aof_rewrite_scheduled"] == "0"

    rewrites = int(server.info("persistence")["aof_rewrites"])
    server.call("BGREWRITEAOF")
    assert_eventually(lambda: done() and int(server.info("persistence")["aof_rewrites"]) > rewrites)


# ---- what is told ----------------------------------------------------------------------------------------


def test_changes_as_they_took_effect(server: Instance) -> None:
    reader = Reader(server)
    with server.connect() as c:
        c.call("SET", "a", "1")
        c.call("GET", "a")
        c.call("DEL", "nothing")
        c.pipeline([("MULTI",), ("INCR", "a"), ("SELECT", 3), ("LPUSH", "l", "x"), ("EXEC",)])
        c.call("LPOP", "nothing")
        c.call("FLUSHDB")
        c.call("PUBLISH", "channel", "message")
        c.call("SET", "short", "1", "PX", 10)
        assert_eventually(lambda: c.call("DBSIZE") == 0)
    rows = [(db, b" ".join(words)) for db, words in reader.more()]
    assert rows[4][1].startswith(b"SET short 1 PXAT ")
    del rows[4]
    assert rows == [
        (0, b"SET a 1"), (0, b"INCR a"), (3, b"LPUSH l x"), (3, b"FLUSHDB"), (3, b"UNLINK short"),
    ]  # fmt: skip


@pytest.mark.parametrize("resp", [2, 3])
def test_the_reply(server: Instance, resp: int) -> None:
    with server.connect(resp=resp) as c:
        id, offset = c.call("CDC", "READ", "$")[0].split(b":")
        assert (len(id), offset) == (40, b"0")
        c.pipeline([("SET", "a", "1"), ("MULTI",), ("SET", "b", "2"), ("SET", "c", "3"), ("EXEC",)])
        position, rows = c.call("CDC", "READ", "-", "COUNT", 2)
        assert [row[1:] for row in rows] == [
            [0, 0, [b"SET", b"a", b"1"]], [0, 1, [b"SET", b"b", b"2"]], [0, 0, [b"SET", b"c", b"3"]],
        ]  # fmt: skip
        assert b"%b:%d" % (id, rows[2][0]) == position == c.call("CDC", "READ", "$")[0]
        assert rows[1][0] == rows[2][0] > rows[0][0]
        assert c.call("CDC", "READ", b"%b:%d" % (id, rows[0][0]))[1] == rows[1:]
        assert c.call("CDC", "READ", "-", "BYTES", 1) == [b"%b:%d" % (id, rows[0][0]), rows[:1]]
        info = c.call("CDC", "INFO")
        fields = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
        assert (fields[b"position"], fields[b"oldest"]) == (position, id + b":0")
        assert fields[b"written"] == rows[2][0] >= fields[b"synced"]


def test_filters(server: Instance) -> None:
    with server.connect() as c:
        for db in range(2):
            c.call("SELECT", db)
            c.call("MSET", "user:1", "a", "other", "b")
            c.call("HSET", "user:2", "f", "v")
            c.call("SET", "third", "v")
        c.call("COPY", "user:1", "user:9", "DB", 0)
        c.call("FLUSHALL")

    def told(*options: str | int) -> list[bytes]:
        return [b"%d " % db + b" ".join(words[:2]) for db, words in Reader(server, "-", *options).more()]

    everywhere = [b"1 COPY user:1", b"1 FLUSHALL"]
    zero = [b"0 MSET user:1", b"0 HSET user:2", b"0 SET third"]
    one = [b"1 MSET user:1", b"1 HSET user:2", b"1 SET third"]
    assert told() == zero + one + everywhere
    assert told("DB", 0) == zero + everywhere
    assert told("MATCH", "user:*", "COUNT", 1) == zero[:2] + one[:2] + everywhere
    assert told("MATCH", "thi*", "MATCH", "user:2", "DB", 1) == one[1:] + everywhere[1:]
    assert told("CATEGORY", "hash") == [zero[1], one[1], everywhere[1]]
    assert told("CATEGORY", "@hash", "CATEGORY", "keyspace", "MATCH", "user:*") == [zero[1], one[1], *everywhere]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("READ", "wrong number of arguments"),
        ("READ 1", "invalid position"),
        ("READ " + "0" * 40, "invalid position"),
        ("READ " + "0" * 40 + ":", "invalid position"),
        ("READ " + "0" * 40 + ":-1", "invalid position"),
        ("READ " + "0" * 40 + ":01", "invalid position"),
        ("READ " + "0" * 40 + ":" + "9" * 30, "invalid position"),
        ("READ " + "0" * 40 + ":" + "9" * 19, "CDCGONE"),
        ("READ " + "0" * 40 + ":0", "CDCGONE"),
        ("READ - COUNT", "syntax error"),
        ("READ - NO 1", "syntax error"),
        ("READ - COUNT 0", "out of range"),
        ("READ - COUNT -1", "out of range"),
        ("READ - COUNT 99999999999999999999", "out of range"),
        ("READ - BYTES 100000000000", "out of range"),
        ("READ - BLOCK -1", "out of range"),
        ("READ - BLOCK x", "out of range"),
        ("READ - DB 16", "DB index is out of range"),
        ("READ - DB -1", "out of range"),
        ("READ - CATEGORY nothing", "unknown category"),
        ("NOTHING", "unknown subcommand"),
    ],
)
def test_what_is_refused(server: Instance, words: str, error: str) -> None:
    reply = server.call("CDC", *words.split())
    assert isinstance(reply, Error)
    assert error in str(reply)


def test_not_in_a_transaction(server: Instance) -> None:
    with server.connect() as c:
        c.call("MULTI")
        assert "not allowed inside a transaction" in str(c.call("CDC", "READ", "-"))


def test_a_position_inside_of_a_command(server: Instance) -> None:
    position = server.call("CDC", "READ", "$")[0]
    server.call("SET", "a", "*1\r\n$4\r\nPING\r\n")
    assert Reader(server, position.replace(b":0", b":60")).error().startswith("CDCGONE")


# ---- waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_readers_that_wait(server: Instance, fsync: str) -> None:
    server.call("CONFIG", "SET", "appendfsync", fsync)
    with server.connect() as first, server.connect() as second, server.connect() as third:
        first.send_command("CDC", "READ", "$", "BLOCK", 0)
        second.send_command("CDC", "READ", "$", "BLOCK", 60000, "MATCH", "b*")
        third.send_command("CDC", "READ", "$", "BLOCK", 20)
        position, rows = third.read()
        assert rows == []
        assert_eventually(lambda: _waiting(server) == 2)
        server.call("SET", "a", "1")
        assert [row[3] for row in first.read()[1]] == [[b"SET", b"a", b"1"]]
        assert_eventually(lambda: _waiting(server) == 1)
        server.call("SET", "b", "1")
        assert [row[3] for row in second.read()[1]] == [[b"SET", b"b", b"1"]]
        assert len(Reader(server, position).more()) == 2


def _waiting(server: Instance) -> int:
    info = server.call("CDC", "INFO")
    return int(dict(zip(info[::2], info[1::2], strict=True))[b"waiting"])


def test_who_waits_is_answered_when_it_is_over(server: Instance) -> None:
    with server.connect() as c:
        c.send_command("CDC", "READ", "$", "BLOCK", 0)
        assert_eventually(lambda: _waiting(server) == 1)
        position = server.call("CDC", "READ", "$")[0]
        server.call("CONFIG", "SET", "appendonly", "no")
        assert "needs the append only file" in str(c.read())
    server.call("SET", "unseen", "1")
    server.call("CONFIG", "SET", "appendonly", "yes")
    assert_eventually(lambda: not isinstance(server.call("CDC", "INFO"), Error))
    assert Reader(server, position).error().startswith("CDCGONE")
    server.call("CONFIG", "SET", "cdc-retention-bytes", "0")
    assert "change capture is off" in Reader(server).error()


def test_a_reader_that_goes_away(server: Instance) -> None:
    with server.connect() as c:
        c.send_command("CDC", "READ", "$", "BLOCK", 0)
        assert_eventually(lambda: _waiting(server) == 1)
    assert_eventually(lambda: _waiting(server) == 0, deadline_s=30)


def test_a_stop_with_readers_that_wait(server: Instance) -> None:
    with server.connect() as c:
        c.send_command("CDC", "READ", "$", "BLOCK", 0)
        assert_eventually(lambda: _waiting(server) == 1)
        assert server.stop() == 0
    assert "Task was destroyed" not in server.log_text()


# ---- files -----------------------------------------------------------------------------------------------


def test_rewrites_and_restarts(server: Instance, rng: random.Random) -> None:
    reader, seldom = Reader(server), Reader(server)
    seen: list[tuple[int, list[bytes]]] = []
    for i in range(30):
        server.call("SET", f"k{i}", "v" * rng.randrange(100))
        match rng.randrange(4):
            case 0:
                rewrite(server)
            case 1:
                server.restart(kill=rng.randrange(2) == 0)
            case 2:
                seen += reader.more()
    seen += reader.more()
    assert [words[1] for _, words in seen] == [b"k%d" % i for i in range(30)]
    assert seldom.more() == seen


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_before_anything_is_written_to_a_new_file(server: Instance, kill: bool) -> None:
    reader = Reader(server)
    server.call("SET", "a", "1")
    assert len(reader.more()) == 1
    rewrite(server)
    server.restart(kill=kill)
    server.call("SET", "b", "1")
    server.restart(kill=kill)
    rewrite(server)
    server.call("SET", "c", "1")
    assert [words[1] for _, words in reader.more()] == [b"b", b"c"]
    assert [words[1] for _, words in Reader(server).more()] == [b"a", b"b", b"c"]


def test_retention(server: Instance, tmp_path: Path) -> None:
    first = Reader(server)
    first.more()
    start = first.position
    for i in range(3):
        for j in range(20):
            server.call("SET", f"k{i}-{j}", "v" * 1000)
        rewrite(server)
    folder = tmp_path / "server" / "appendonlydir"
    assert len(list(folder.glob("*.incr.aof"))) == 4
    assert len(first.more()) == 60
    server.call("CONFIG", "SET", "cdc-retention-bytes", 30000)
    assert_eventually(lambda: len(list(folder.glob("*.incr.aof"))) == 3, "two files are at least 30000 bytes")
    assert Reader(server, start).error().startswith("CDCGONE")
    assert len(Reader(server).more()) == 40
    assert first.more() == []
    server.restart()
    assert len(Reader(server).more()) == 40
    server.call("CONFIG", "SET", "cdc-retention-seconds", 1)
    assert_eventually(lambda: len(list(folder.glob("*.incr.aof"))) == 1)
    assert Reader(server).more() == first.more() == []
    server.call("SET", "on", "1")
    assert first.more() == [(0, [b"SET", b"on", b"1"])]


def test_no_more_than_the_data_while_it_is_off(tmp_path: Path) -> None:
    options = {**OPTIONS, "cdc-retention-bytes": "0"}
    with Instance("cachefleet", directory=tmp_path, options=options) as server:
        server.call("SET", "a", "1")
        rewrite(server)
        assert_eventually(lambda: len(list((tmp_path / "appendonlydir").glob("*.incr.aof"))) == 1)


def test_a_large_change_and_a_large_transaction(server: Instance) -> None:
    reader = Reader(server, "-", "BYTES", 1000)
    with server.connect() as c:
        c.call("SET", "large", "v" * (5 << 20))
        c.pipeline([("MULTI",), *(("SET", f"k{i}", "v" * 100) for i in range(20000)), ("EXEC",)])
        c.call("SET", "last", "1")
    changes = reader.more()
    assert [len(words[2]) for _, words in changes] == [5 << 20, *[100] * 20000, 1]


def test_with_a_replica(server: Instance, tmp_path: Path) -> None:
    """What is for replicas alone is in the journal, too, and no change; the history goes on when one comes or goes."""
    reader = Reader(server)
    server.call("CONFIG", "SET", "repl-ping-replica-period", 1)
    options = {"replicaof": f"127.0.0.1 {server.port}", "enable-debug-command": "yes"}
    server.call("SET", "a", "1")
    changes = reader.more()
    with Instance("valkey", directory=tmp_path / "replica", options=options) as replica:
        assert_eventually(lambda: replica.call("DBSIZE") == 1)
        before = server.call("CDC", "READ", "$")[0]
        assert_eventually(lambda: server.call("CDC", "READ", "$")[0] != before, "it was pinged")
        server.call("SET", "b", "2")
        changes += reader.more()
        assert server.call("WAIT", 1, 0) == 1
        assert replica.call("DEBUG", "DIGEST") == server.call("DEBUG", "DIGEST")
    server.call("SET", "c", "3")
    changes += reader.more()
    assert [words[1] for _, words in changes] == [b"a", b"b", b"c"]


def test_while_it_loads(server: Instance) -> None:
    with server.connect() as c:
        c.pipeline([("SET", f"k{i}", "1") for i in range(300)])
    server.stop()
    server.options["key-load-delay"] = "10000"
    server.spawn()
    assert_eventually(lambda: _loading(server).startswith("LOADING"))


def _loading(server: Instance) -> str:
    try:
        return str(server.call("CDC", "READ", "-"))
    except OSError:
        return ""


# ---- crashes ---------------------------------------------------------------------------------------------

KILLS = 6
Words = tuple[str | bytes | int, ...]
WRITERS = 3


class Writers:
    """Write at random until they are stopped, through restarts of the server."""

    def __init__(self, server: Instance, seed: int) -> None:
        self.server = server
        self.acknowledged: list[bytes] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i, seed + i)) for i in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, seed: int) -> None:
        rng = random.Random(seed)
        n = 0
        while not self._stop.is_set():
            try:
                with self.server.connect(timeout_s=5) as c:
                    c.call("SELECT", number)
                    while not self._stop.is_set():
                        n += 1
                        key = b"w%d:%d" % (number, n)
                        commands: list[Words] = [("SET", key, "v" * rng.choice((1, 100, 5000))), ("INCR", "count")]
                        extra: list[Words] = [
                            ("RPUSH", "list", n),
                            ("SET", "short", n, "PX", 20),
                            ("LPOP", "list"),
                            ("SADD", "s", n),
                        ]
                        commands += rng.sample(extra, rng.randrange(4))
                        if rng.randrange(2):
                            commands = [("MULTI",), *commands, ("EXEC",)]
                        if not any(isinstance(reply, Error) for reply in c.pipeline(commands)):
                            self.acknowledged.append(key)
                        if rng.randrange(300) == 0:
                            c.call("BGREWRITEAOF")
            except (OSError, EOFError):
                self._stop.wait(0.02)

    def wait_for(self, more: int) -> None:
        target = len(self.acknowledged) + more
        assert_eventually(lambda: len(self.acknowledged) >= target, "writes go on", deadline_s=60)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_nothing_is_skipped_when_either_side_is_killed(tmp_path: Path, rng: random.Random, fsync: str) -> None:
    """The documentation's example is the reader. What it has, replayed, is what the server has."""
    options = {**OPTIONS, "appendfsync": fsync, "auto-aof-rewrite-min-size": "100kb"}
    path = tmp_path / "changes"
    with Instance("cachefleet", directory=tmp_path / "server", port=free_port(), options=options) as server:
        writers = Writers(server, rng.randrange(1 << 30))
        example = start_example(server.port, path)
        try:
            for kill in range(KILLS):
                writers.wait_for(rng.randrange(100, 800))
                if kill % 3 != 1:
                    example.kill()
                    example.wait()
                if kill % 3 != 0:
                    server.restart(kill=True)
                if example.poll() is not None:
                    example = start_example(server.port, path)
        finally:
            writers.stop()
        try:
            assert_eventually(lambda: server.call("SELECT", 0) == "OK" and _volatile(server) == 0)
            end = server.call("CDC", "READ", "$")[0].decode()
            assert_eventually(
                lambda: example_lines(path)[-1:] and example_lines(path)[-1]["position"] == end, deadline_s=60
            )
        finally:
            example.kill()
            example.wait()
        changes = example_changes(path)
        told = {words[1] for _, words in changes}
        lost = [key for key in writers.acknowledged if key not in told]
        assert fsync == "everysec" or not lost
        with Instance("cachefleet", directory=tmp_path / "copy", options={"enable-debug-command": "yes"}) as copy:
            replay(copy, changes)
            assert copy.call("DEBUG", "DIGEST") == server.call("DEBUG", "DIGEST")


def _volatile(server: Instance) -> int:
    return sum("expires=0" not in line for line in server.info("keyspace").values())
