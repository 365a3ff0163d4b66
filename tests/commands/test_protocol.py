"""The wire itself against the real Valkey: malformed requests, inline requests, limits, pipelines, large arguments.

Both servers get the same bytes on a new connection, then the end of the input; all that they send until they close must
be the same. One difference is known and left out: Valkey drops bytes 0xFF of inline requests.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket

import pytest

from fleettest.client import Connection, Error, encode
from fleettest.instance import Instance, Pool
from fleettest.process import status_bytes
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

ECHO = encode("ECHO", "ok")

COUNTS = [
    b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"*00\r\n", b"*-0\r\n", b"*-01\r\n", b"*--1\r\n", b"*abc\r\n", b"*\r\n",
    b"*1 \r\n", b"* 1\r\n", b"*1x\r\n", b"*01\r\n$4\r\nPING\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*1\n$4\r\nPING\r\n",
    b"*1\x00\r\n", b"*1\rX", b"*x\rX", b"*-1\rXPING\r\n", b"*0\rXPING\r\n", b"*2147483647\r\n", b"*2147483648\r\n",
    b"*1048577\r\n", b"*-2147483649\r\n", b"*99999999999999999999\r\n", b"*-99999999999999999999\r\n",
    b"*9223372036854775807\r\n", b"*-9223372036854775808\r\n", b"*-9223372036854775809\r\n", b"*1", b"*1\r", b"*1\r\n",
    b"*" + b"1" * 65535, b"*" + b"1" * 65536, b"*" + b"1" * 70000,
]  # fmt: skip
BULKS = [
    b"*1\r\n:4\r\n", b"*1\r\n\r\n", b"*1\r\n\x00\r\n", b"*1\r\n\xff\r\n", b"*1\r\nPING\r\n", b"*1\r\n'\r\n", b"*1\r\nx",
    b"*1\r\nX\r", b"*1\r\nx\rX", b"*1\r\n\nxx\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-0\r\n", b"*1\r\n$\r\n",
    b"*1\r\n$0\r\n\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$4x\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$4\nPING\r\n", b"*1\r\n$4\r", b"*1\r\n$4\rXPING\r\n", b"*1\r\n$x\rX",
    b"*1\r\n$4\r\nPINGXX", b"*1\r\n$4\r\nPINGX", b"*1\r\n$4\r\nPING\rX", b"*1\r\n$4\r\nPINGX\n",
    b"*1\r\n$4\r\nPINGXX" + ECHO, b"*1\r\n$536870913\r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$99999999999999999999\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-5\r\n", b"*2\r\n$4\r\nECHO\r\n*1\r\n", b"*1\r\n$" + b"1" * 65540,
    b"*1\r\n$" + b"1" * 70000, b"*1\r\n$4\x00\r\nPING\r\n",
]  # fmt: skip
INLINE = [
    b"PING\r\n", b"PING\n", b" PING \r\n", b"\n", b"\r\n", b"  \r\n", b"\r\r\n", b"*0\r\n*0\r\n*-1\r\n\r\n\nPING\r\n",
    b'ECHO "a b"\r\n', b"ECHO 'a b'\r\n", b'ECHO "a\r\n', b'ECHO "a"b\r\n', b"ECHO 'a'b\r\n",
    rb'ECHO "\x41\n\t\r\a\b\q\\\""' + b"\n", rb"ECHO '\x41\'\n'" + b"\n", b'ECHO a"b c"\r\n', b'ECHO a"b\r\n',
    rb'ECHO "\x4"' + b"\n", rb'ECHO "\xzz"' + b"\n", b'ECHO ""\r\n', b'""\r\n', b"ECHO ''\r\n", b"''\n", b'ECHO "\\',
    b'ECHO "\\\r\n', b"ECHO\ta\r\n", b"ECHO\x0ba\r\n", b"ECHO\x0ca\r\n", b"\x0bECHO a\r\n", b"ECHO a \x0b\x0c b\r\n",
    b"ECHO a\rb\r\n", b'ECHO "a\rb"\r\n', b"ECHO a\r\r\n", b"ECHO 'a'\"b\"c\r\n", rb"ECHO a\x41\n" + b"\n",
    b'ECHO "a""b"\r\n', b"ECHO 'a''b'\r\n", rb"ECHO 'a\\b'" + b"\n", rb'ECHO "\X41"' + b"\n", rb'ECHO "\xaF"' + b"\n",
    b'ECHO "a\n"\r\n', rb"ECHO 'a\' b'" + b"\n", rb"ECHO 'a\''" + b"\n", rb"ECHO '\'" + b"\n", rb"ECHO 'a\'b" + b"\n",
    rb"ECHO 'a\'\'" + b"\n", rb"ECHO 'a\\'" + b"\n", rb"ECHO 'a\' " + b"\n", rb'ECHO "a\"' + b"\n",
    rb'ECHO "a\" ' + b"\n", b"ECHO a \\\r\n", b"ECHO a\x00b\r\nPING\r\n", b"\x00\r\nPING\r\n", b"PING\x00\r\n",
    b"x" * 65536, b"x" * 65537, b"x" * 70000, b"ECHO " + b"y" * 60000 + b"\r\n", b"$4\r\nPING\r\n", b"+PING\r\n",
    b":1\r\n", b"%1\r\n", b"ECHO \x01\x02\x1f\x7f\x80\x85\xa0\r\n", b"nosuch a b c\r\n", b"PING", b"",
]  # fmt: skip
QUIT, MULTI, EXEC, PING = encode("QUIT"), encode("MULTI"), encode("EXEC"), encode("PING")
REPLY_ON, REPLY_OFF, REPLY_SKIP = (encode("CLIENT", "REPLY", mode) for mode in ("ON", "OFF", "SKIP"))
ENDS = [  # nothing comes after the last reply
    QUIT + b"*abc\r\n", QUIT + b'ECHO "a\r\n', QUIT + b"*1\r\n$x\r\n", MULTI + QUIT + b"*abc\r\n" + EXEC,
    b"QUIT\r\n*x\r\n", ECHO + QUIT + ECHO, QUIT + QUIT, MULTI + PING + QUIT + EXEC, REPLY_OFF + QUIT + ECHO,
    REPLY_SKIP + QUIT + b"*x\r\n",
    b"*abc\r\n" + QUIT,
]  # fmt: skip
SILENCE = [
    REPLY_SKIP + REPLY_ON + ECHO, REPLY_SKIP + REPLY_SKIP + ECHO + PING, REPLY_SKIP + REPLY_OFF + REPLY_ON + ECHO,
    REPLY_OFF + REPLY_SKIP + REPLY_ON + ECHO, REPLY_OFF + REPLY_SKIP + ECHO + REPLY_ON + PING,
    REPLY_ON + REPLY_ON + ECHO, REPLY_SKIP + REPLY_ON + REPLY_ON + ECHO,
    REPLY_SKIP + encode("CLIENT", "REPLY", "x") + ECHO + PING,
    REPLY_OFF + encode("CLIENT", "REPLY", "x") + REPLY_ON + ECHO, REPLY_SKIP + MULTI + PING + EXEC,
    REPLY_SKIP + encode("nosuch") + ECHO, REPLY_SKIP + encode("GET") + ECHO, REPLY_SKIP + encode("RESET") + ECHO,
    REPLY_OFF + encode("RESET") + ECHO, REPLY_OFF + b"*x\r\n", REPLY_SKIP + b"*x\r\n",
    MULTI + REPLY_SKIP + PING + EXEC + ECHO,
]  # fmt: skip
ME = encode("CLIENT", "SETNAME", "me")
KILL_ME = encode("CLIENT", "KILL", "NAME", "me", "SKIPME", "no")
KILLED = [  # by itself
    ME + KILL_ME + PING, ME + MULTI + KILL_ME + PING + encode("SET", "k", "v") + EXEC + PING,
    ME + MULTI + PING + KILL_ME + encode("GET", "k") + KILL_ME + EXEC + PING, ME + MULTI + KILL_ME + EXEC + b"*x\r\n",
    ME + MULTI + KILL_ME + encode("INFO", "nosuch") + encode("CLIENT", "GETNAME") + EXEC,
]  # fmt: skip
MIXED = [
    ECHO * 3, ECHO + b"PING\r\n" + ECHO, ECHO + b"*x\r\n", ECHO + b"*x\r\n" + ECHO, ECHO + b"*1\r\n$9\r\nabc",
    ECHO + b'"\r\n' + ECHO, encode("ECHO", b"a\x00b"), encode(b"\xff"), encode(b"a\r\n"), encode(b"a\x00b"),
    encode("x" * 200, "y" * 200, "z" * 200), encode(""), encode("", "", ""), encode("PING", *["a"] * 300),
    encode("ECHO", "x" * 100_000), encode("MULTI") + b"*x\r\n", encode("MULTI") + encode("NOSUCH") + encode("EXEC"),
    encode("x", *["arg"] * 200), encode("nosuch", "a\r\nb", "'"),
]  # fmt: skip
BEFORE_AUTH = [
    b"*10\r\n", b"*11\r\n", b"*11\r\n$4\r\nPING\r\n", b"*11\rX", b"*1\r\n$16384\r\n", b"*1\r\n$16385\r\n",
    b"*1\r\n$16385\rX", b"*x\r\n", b"*2147483648\r\n", b"*1048577\r\n", b"*1\r\n$536870913\r\n", b"PING\r\n",
    b"ECHO " + b"x" * 20_000 + b"\r\n", b"a b c d e f g h i j k l m\r\n",
    encode("AUTH", "secret") + encode("PING", *["a"] * 11), encode("AUTH", "secret") + encode("ECHO", "x" * 16_386),
    b"AUTH secret\r\n" + encode("PING", *["a"] * 11), encode("AUTH", "wrong") + encode("PING", *["a"] * 11),
    encode("GET", "a"), encode("nosuch"), encode("QUIT"),
    encode("HELLO", "3", "AUTH", "default", "secret") + encode("ECHO", "x" * 17_000), encode("HELLO", "4"),
]  # fmt: skip


def exchange(server: Instance, data: bytes) -> bytes:
    """All that the server sends for data and its end."""
    received = b""
    with Connection(server.address) as connection:
        with contextlib.suppress(OSError):  # it may close before it has read everything, which is an answer too
            connection.send(data)
            connection.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.sock.recv(1 << 18):
                received += part
    return received


def short(data: bytes) -> str:
    return repr(data[:32]) + (f"..{len(data)}" if len(data) > 32 else "")


@pytest.mark.parametrize("data", [*COUNTS, *BULKS, *INLINE, *MIXED, *ENDS, *SILENCE, *KILLED], ids=short)
def test_same_bytes_come_back(server: Instance, valkey: Instance, data: bytes) -> None:
    assert exchange(server, data) == exchange(valkey, data)


@pytest.mark.parametrize("data", BEFORE_AUTH, ids=short)
def test_before_authentication(servers: Pool, data: bytes) -> None:
    ours, theirs = (servers.get(kind, requirepass="secret") for kind in ("cachefleet", "valkey"))
    if data.startswith(encode("HELLO", "3", "AUTH", "default", "secret")):  # its reply holds versions and ids
        assert exchange(ours, data)[-17_000:] == exchange(theirs, data)[-17_000:]
    else:
        assert exchange(ours, data) == exchange(theirs, data)


PIECES = [
    b"\r\n", b"\r", b"\n", b"*", b"$", b"*0\r\n", b"*-1\r\n", b"*1\r\n", b"$0\r\n\r\n", b"$-1\r\n", b"\x00", b"\xfe",
    b'"', b"'", b"\\x41", b"\\", b"PING\r\n", b"ECHO x\r\n", b" ", b"\t", b"0", b"1", b"9", b"-", ECHO, ECHO,
]  # fmt: skip


def mangled(rng: random.Random) -> bytes:
    """A pipeline of ECHO and PING with a few random edits."""
    # None of them is a command: an edit may turn an argument into an inline request of its own.
    words = [b"", b"a", b"good morning", b"x" * 20, b'"', b"\r\n"]
    data = bytearray()
    for _ in range(rng.randint(1, 4)):
        data += rng.choice([encode("PING"), encode("ECHO", rng.choice(words)), b'ECHO "a b"\r\n', b"PING 'x'\n"])
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        at = rng.randint(0, len(data))
        match rng.randrange(3):
            case 0:
                data[at:at] = rng.choice(PIECES)
            case 1:
                del data[at : at + rng.choice([1, 1, 2, 5])]
            case 2:
                data[at : at + 1] = bytes([rng.choice([*b'\r\n*$"\\0123456789 ', rng.randrange(255)])])
    return bytes(data)


def test_mangled_pipelines(server: Instance, valkey: Instance, rng: random.Random) -> None:
    for _ in range(1500):
        data = mangled(rng)
        assert exchange(server, data) == exchange(valkey, data), data


def test_mangled_pipelines_in_pieces(server: Instance, rng: random.Random) -> None:
    """Where the network cuts does not matter: what the whole gave, its pieces give."""
    for _ in range(100):
        data = mangled(rng)
        wanted = exchange(server, data)
        with Connection(server.address) as connection:
            try:
                for byte in data:
                    connection.send(bytes([byte]))
                connection.sock.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: connection.sock.recv(1 << 18), b""))
            except OSError as error:
                if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
                    raise
                continue  # closed on an error while later bytes were on their way
        assert received == wanted, data


@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1\r\n", b"Host: x\r\n", b"host: x\r\n", encode("POST", "/")])
def test_requests_of_browsers_close_the_connection(pair: Pair, request_line: bytes) -> None:
    """Cross-protocol scripting: nothing after such a line may run."""
    for connection in (pair.ours, pair.theirs):
        connection.call("DEL", "k")
        connection.send(encode("PING") + request_line + encode("SET", "k", "v"))
        assert connection.closed_by_server()
    for instance in pair.instances:
        assert instance.call("GET", "k") is None


def test_a_browser_sees_no_data(server: Instance, valkey: Instance) -> None:
    data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert exchange(server, data) == exchange(valkey, data)


# ---- pipelines and large arguments -------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100, 20_000])
def test_pipeline_keeps_its_order(pair: Pair, count: int) -> None:
    pair.flush()
    replies = pair.pipeline([("INCR", "n") if i % 3 else ("SET", "n", i) for i in range(count)])
    assert len(replies) == count


def test_pipeline_in_random_pieces(server: Instance, rng: random.Random) -> None:
    commands = [("SET", f"k{i % 50}", rng.randbytes(rng.choice([0, 3, 100, 5_000, 40_000]))) for i in range(400)]
    commands += [("GET", f"k{i}") for i in range(50)]
    data = b"".join(encode(*command) for command in commands)
    with server.connect() as connection:
        at = 0
        while at < len(data):
            size = rng.choice([1, 10, 1_000, 30_000, 100_000])
            connection.send(data[at : at + size])
            at += size
        assert [connection.read() for _ in range(400)] == ["OK"] * 400
        last = {command[1]: command[2] for command in commands[:400] if len(command) == 3}
        assert [connection.read() for _ in range(50)] == [last[f"k{i}"] for i in range(50)]


@pytest.mark.parametrize("size", [32_767, 32_768, 65_536, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_large_values_come_back(pair: Pair, size: int, rng: random.Random) -> None:
    value = rng.randbytes(size)
    assert pair.run("SET", "big", value) == "OK"
    assert pair.run("GET", "big") == value
    pair.run("SETRANGE", "big", size - 5, "abcdefgh")
    pair.run("GETRANGE", "big", size - 10, -1)
    pair.pipeline([("SET", "a", value), ("APPEND", "a", value), ("STRLEN", "a"), ("GETSET", "a", value), ("GET", "a")])
    pair.pipeline([("MSET", "x", value, "y", value, "z", "small"), ("MGET", "x", "y", "z"), ("DEL", "x", "y", "z")])
    pair.pipeline([("MULTI",), ("SET", "t", value), ("GET", "t"), ("EXEC",), ("ECHO", value)])
    pair.flush()


def test_a_large_value_is_not_copied() -> None:
    """The bytes that were received become the value: no second copy at any time. The peak of a process never falls."""
    size = 100 << 20
    with Instance() as server:
        before = status_bytes(server, "VmHWM")
        assert server.call("SET", "big", b"x" * size) == "OK"
        assert size <= status_bytes(server, "VmHWM") - before < 1.3 * size


def test_half_a_large_value_is_forgotten_with_its_sender(server: Instance) -> None:
    used = server.settled_memory()
    with server.connect() as connection:
        connection.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$50000000\r\n" + b"x" * 10_000_000)
        assert_eventually(lambda: int(server.info("memory")["used_memory"]) > used + 9_000_000)
    assert server.call("EXISTS", "half") == 0
    assert_eventually(lambda: int(server.info("memory")["used_memory"]) < used + 1_000_000)


def test_a_million_arguments(pair: Pair) -> None:
    keys = [f"k{i}" for i in range(250_000)]
    assert pair.run("MSET", *(word for key in keys for word in (key, "v"))) == "OK"
    assert pair.run("EXISTS", *keys, *keys) == 500_000
    assert pair.run("DEL", *keys) == 250_000
    data = b"*1048576\r\n$6\r\nEXISTS\r\n" + b"$1\r\na\r\n" * 1_048_575
    assert pair.raw(data, 1) == [b":0\r\n"]


def test_bulk_limit_can_change(pair: Pair) -> None:
    for connection in (pair.ours, pair.theirs):
        assert connection.call("CONFIG", "SET", "proto-max-bulk-len", "1mb") == "OK"
    try:
        pair.run("SET", "a", "x" * (1 << 20))
        pair.run("APPEND", "a", "x")
        pair.run("SETRANGE", "a", 1 << 20, "x")
        data = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048577\r\n"
        assert exchange(pair.instances[0], data) == exchange(pair.instances[1], data)
    finally:
        for connection in (pair.ours, pair.theirs):
            connection.call("CONFIG", "SET", "proto-max-bulk-len", "512mb")


# ---- both protocols ----------------------------------------------------------------------------------


def test_hello_switches_the_protocol(pair: Pair) -> None:
    for words in (("HELLO", "3"), ("HELLO", "2"), ("HELLO",), ("HELLO", "3")):
        for connection in (pair.ours, pair.theirs):
            reply = connection.call(*words)
            assert not isinstance(reply, Error)
        pair.run("GET", "nokey")
        pair.run("MGET", "nokey", "other")
    for words in (
        ("HELLO", "1"),
        ("HELLO", "4"),
        ("HELLO", "x"),
        ("HELLO", ""),
        ("HELLO", "3", "NOSUCH"),
        ("HELLO", "3", "AUTH", "a"),
    ):
        pair.run("HELLO", *words)
        pair.run("GET", "nokey")


def test_errors_are_counted(server: Instance) -> None:
    with server.connect() as connection:
        connection.call("CONFIG", "RESETSTAT")
        for _ in range(3):
            assert isinstance(connection.call("NOSUCH"), Error)
        connection.call("SET", "k", "text")
        assert isinstance(connection.call("INCR", "k"), Error)
        assert isinstance(connection.call("EXEC"), Error)
        assert connection.call("INFO", "errorstats") == b"# Errorstats\r\nerrorstat_ERR:count=5\r\n"
        assert int(server.info("stats")["total_error_replies"]) == 5
        assert exchange(server, b"*x\r\n").startswith(b"-ERR Protocol error")
        assert int(server.info("stats")["total_error_replies"]) == 6
