"""The admin client against servers that say anything: every answer becomes words, in time and within bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution import admin, wire
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.ports import Endpoint
from cachefleet_operator.execution.wire import Wire
from cachefleet_operator.planning.snapshot import Server

pytestmark = pytest.mark.asyncio

INFO = (
    b"# Server\r\nredis_version:7.2.4\r\ncachefleet_version:0.1.0\r\nrun_id:abc\r\n# Replication\r\nrole:master\r\n"
    b"loading:0\r\nused_memory:1024\r\nmaxmemory:4096\r\nrdb_last_save_time:1700000000\r\n"
)
CONFIG = {b"maxmemory": b"4096", b"requirepass": b"hunter2", b"dir": b"/caf\xc3\xa9\xff"}


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


class Fake:
    """A server with a password that answers INFO, CONFIG GET, CONFIG SET and PING; `say` overrides single commands."""

    def __init__(self, password: bytes = b"", **say: bytes) -> None:
        self.password, self.say = password, say
        self.heard: list[list[bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        allowed = not self.password
        while True:
            words = await self._request(reader)
            self.heard.append(words)
            command = words[0].decode()
            if command == "AUTH":
                allowed = allowed or words[-1] == self.password
                right = self.password and words[-1] == self.password
                wrong = b"-WRONGPASS no\r\n" if self.password else b"-ERR AUTH called without any password\r\n"
                writer.write(b"+OK\r\n" if right else wrong)
            elif not allowed:
                writer.write(b"-NOAUTH Authentication required.\r\n")
            else:
                writer.write(self.say.get(command, self._usual(words)))
            await writer.drain()

    async def _request(self, reader: asyncio.StreamReader) -> list[bytes]:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        words = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        return words

    def _usual(self, words: list[bytes]) -> bytes:
        if words[:2] == [b"CONFIG", b"GET"]:
            return array(*(word for pair in CONFIG.items() for word in pair))
        return {b"INFO": bulk(INFO), b"PING": b"+PONG\r\n"}.get(words[0], b"+OK\r\n")


@asynccontextmanager
async def listening(serve: Callable[..., Coroutine[Any, Any, None]]) -> AsyncIterator[int]:
    """Serves on a free port. At its end every connection must be over on the client's side."""
    handlers: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has what it wanted.
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*handlers)


class Direct(Wire):
    """A wire to whom an endpoint names."""

    def address(self, pod: Object) -> tuple[str, int] | None:
        return None


def at(port: int, *passwords: bytes, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(host, port, passwords or (b"",))


async def look(port: int, *passwords: bytes, timeout_s: float = 2.0) -> Server:
    return await admin.inspect(Direct(timeout_s), "orders-0", at(port, *passwords))


async def test_what_a_server_says_of_itself() -> None:
    fake = Fake(b"secret")
    async with listening(fake.serve) as port:
        assert await look(port, b"secret") == Server(
            "orders-0", run_id="abc", role="master", version="0.1.0", used_memory=1024, maxmemory=4096,
            last_save=1700000000, parameters={"maxmemory": "4096", "dir": "/caf\xe9\ufffd"},
        )  # fmt: skip


async def test_a_version_is_short() -> None:
    async with listening(Fake(INFO=bulk(b"redis_version:" + b"7" * 100_000)).serve) as port:
        assert (await look(port)).version == "7" * 64


async def test_passwords_are_never_among_the_parameters() -> None:
    async with listening(Fake().serve) as port:
        assert "hunter2" not in repr(await look(port))


@pytest.mark.parametrize(
    ("real", "tried", "current"),
    [
        (b"new", (b"new", b"old"), True),
        (b"old", (b"new", b"old"), False),
        (b"older", (b"new", b"old", b"older"), False),
        (b"", (b"", b"old"), True),
        (b"old", (b"", b"old"), False),
        (b"", (b"new", b"old"), False),  # It lost its password: it refuses AUTH and lets everybody in.
        (b"", (b"", b""), True),
    ],
)
async def test_the_wish_is_tried_first(real: bytes, tried: tuple[bytes, ...], current: bool) -> None:
    async with listening(Fake(real).serve) as port:
        found = await look(port, *tried)
    assert (found.error, found.password_is_current) == ("", current)


async def test_no_password_fits() -> None:
    async with listening(Fake(b"real").serve) as port:
        assert (await look(port, b"a", b"b")).error == "WRONGPASS no"
        assert (await look(port, b"")).error == "NOAUTH Authentication required."
        assert (await look(port, b"a")).locked
        assert not (await look(port, b"real")).locked
    assert not (await look(port, b"real")).locked, "who does not answer is not locked"


async def test_loading_and_failing() -> None:
    info = INFO.replace(b"loading:0", b"loading:1\r\nloading_loaded_perc:41.50")
    async with listening(Fake(INFO=bulk(info), PING=b"-LOADING dataset\r\n").serve) as port:
        found = await look(port)
    assert (found.error, found.loading, found.load_percent, found.failing) == ("", True, 41.5, "")
    words = "MISCONF Errors writing to the AOF file: No space left on device"
    async with listening(Fake(PING=f"-{words}\r\n".encode()).serve) as port:
        assert (await look(port)).failing == words


@pytest.mark.parametrize("value", [b"-1", b"nan", b"inf", b"1e400", b"x", b"", b"9" * 400])
async def test_numbers_that_are_none(value: bytes) -> None:
    info = INFO.replace(b"used_memory:1024", b"used_memory:" + value)
    async with listening(Fake(INFO=bulk(info)).serve) as port:
        found = await look(port)
    assert (found.error, found.used_memory) == ("", 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 'does not speak RESP: Protocol error, got "H" as reply type byte'),
        (b"*16384\r\n", "closed the connection without an answer"),
        *((kind + b"2147483647\r\n", "a list of 2147483647 elements is announced") for kind in (b"*", b">", b"%")),
        (b"+OK\r\n+a\n$99\r\n*2147483647\r\n", "a list of 2147483647 elements is announced"),
        (b"+OK\r\n$3\r\n*9\n\r\n*2147483647\r\n", "a list of 2147483647 elements is announced"),
        (b"*3\r\n*02147483647\r\n", "a length that is none: b'*02147483647'"),
        (b"*?\r\n", "a length that is none"),
        (b"*1\r\n" * 200_000, "does not speak RESP"),
        (b"%1\r\n*0\r\n+x\r\n", "does not speak RESP"),
        (b"+OK\r\n+OK\r\n+OK\r\n", "its answer to INFO or CONFIG GET is not one"),
        (b"*0\r\n*0\r\n*0\r\n", "its answer to INFO or CONFIG GET is not one"),
        (b"-ERR unknown command 'INFO'\r\n" * 3, "ERR unknown command 'INFO'"),
        (b"-" + b"x" * 70_000 + b"\r\n" + b"+OK\r\n" * 2, "x" * 200),
        (b"\xff\xfe\x00" * 100, "does not speak RESP"),
        (b"$5\r\nab", "closed the connection without an answer"),
        (b"", "closed the connection without an answer"),
    ],
)
async def test_garbage_becomes_words(answer: bytes, words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with listening(serve) as port:
        found = await look(port)
    assert found.error
    assert words in found.error
    assert len(found.error) < 400


LINES = st.sampled_from([b"+OK\r\n", b"$-1\r\n", b"*2\r\n", b"*0\r\n", b"-ERR a\nb\r\n"])
STREAMS = st.lists(st.binary(max_size=9).map(bulk) | LINES, max_size=6)


@given(STREAMS, st.integers(0, 2**32))
async def test_a_header_is_seen_wherever_the_stream_is_cut(before: list[bytes], seed: int) -> None:
    """And what is in a string is no header."""
    stream, chance = b"".join(before), random.Random(seed)
    rest, headers = stream + bulk(b"\r\n*2147483647\r\n"), wire._Headers()
    while rest:
        part = chance.randint(1, 9)
        headers.look(rest[:part])
        rest = rest[part:]
    with pytest.raises(ValueError, match="2147483647"):
        headers.look(b"*2147483647\r\n")


async def test_silence_ends_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(serve) as port:
        assert (await look(port, timeout_s=0.05)).error == f"no answer from 127.0.0.1:{port} within 0.05 s"


async def test_a_flood_ends_by_its_size() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"$999999999\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with listening(serve) as port:
        assert "answers with more than 1048576 bytes" in (await look(port, timeout_s=30)).error
    assert sent < 32 << 20


async def test_nobody_listens() -> None:
    async with listening(Fake().serve) as port:
        pass
    assert (await look(port)).error == f"127.0.0.1:{port} refuses connections"


async def test_an_address_that_is_none() -> None:
    assert (await admin.inspect(Direct(), "p", at(6379, host="no such host"))).error.startswith("no such host:6379: ")


async def test_an_ipv6_address_is_told_in_brackets() -> None:
    async with listening(Fake().serve) as port:
        pass
    assert (await admin.inspect(Direct(), "p", at(port, host="::1"))).error.startswith(f"[::1]:{port}")


async def test_many_at_once() -> None:
    async with listening(Fake(b"real").serve) as port:
        found = await asyncio.gather(*(look(port, b"wrong", b"real") for _ in range(50)))
    assert {server.error for server in found} == {""}


async def test_config_set_is_one_command() -> None:
    fake = Fake(b"secret")
    async with listening(fake.serve) as port:
        await admin.config_set(Direct(), "p", at(port, b"secret"), "", {"b": "2", "a": "\u00e9"})
    assert fake.heard == [[b"AUTH", b"secret"], [b"CONFIG", b"SET", b"a", "\u00e9".encode(), b"b", b"2"]]


async def test_the_refused_parameter_is_the_one_that_the_server_names() -> None:
    words = b"-ERR CONFIG SET failed (possibly related to argument 'b') - argument must be 'yes' or 'no'\r\n"
    async with listening(Fake(CONFIG=words).serve) as port:
        with pytest.raises(Refused) as refused:
            await admin.config_set(Direct(), "p", at(port), "", {"a": "1", "b": "maybe"})
    assert (refused.value.target, refused.value.subject, refused.value.wish) == ("p", "b", "maybe")
    assert str(refused.value).startswith("CONFIG SET failed (possibly related to argument 'b')")


async def test_a_refusal_without_a_name_is_found_by_trying() -> None:
    class Shy(Fake):
        def _usual(self, words: list[bytes]) -> bytes:
            return b"-ERR no\r\n" if b"b" in words[2::2] else b"+OK\r\n"

    fake = Shy()
    async with listening(fake.serve) as port:
        with pytest.raises(Refused) as refused:
            await admin.config_set(Direct(), "p", at(port), "", {"a": "1", "b": "2", "c": "3"})
    assert refused.value.subject == "b"
    assert fake.heard[-2:] == [[b"CONFIG", b"SET", b"a", b"1"], [b"CONFIG", b"SET", b"b", b"2"]]


@pytest.mark.parametrize("words", ["LOADING dataset", "BUSY script", "NOPERM no"])
async def test_what_is_not_about_the_value_is_no_refusal(words: str) -> None:
    async with listening(Fake(CONFIG=f"-{words}\r\n".encode()).serve) as port:
        with pytest.raises(ExecutionError, match=words) as error:
            await admin.config_set(Direct(), "p", at(port), "", {"a": "1"})
    assert not isinstance(error.value, Refused)


async def test_another_process_than_the_one_that_was_meant_is_told_nothing() -> None:
    """A pod's server was started again since it was looked at: what was decided may not hold for it."""
    fake = Fake(b"secret")
    async with listening(fake.serve) as port:
        await admin.config_set(Direct(), "p", at(port, b"secret"), "abc", {"a": "1"})
        assert fake.heard[-2:] == [[b"INFO", b"server"], [b"CONFIG", b"SET", b"a", b"1"]]
        with pytest.raises(ExecutionError, match="is another process than the one that was meant") as error:
            await admin.set_password(Direct(), "p", at(port, b"secret"), "abd", b"new")
    assert error.value.conflict
    assert fake.heard[-1] == [b"INFO", b"server"]


async def test_set_password() -> None:
    fake = Fake(b"old")
    async with listening(fake.serve) as port:
        await admin.set_password(Direct(), "p", at(port, b"new", b"old"), "", b"new \r\n\x00")
    assert fake.heard[-1] == [b"CONFIG", b"SET", b"requirepass", b"new \r\n\x00"]


async def test_no_error_shows_a_password() -> None:
    async with listening(Fake(CONFIG=b"-ERR CONFIG SET failed: 'hunter2' is weak\r\n").serve) as port:
        with pytest.raises(ExecutionError) as error:
            await admin.set_password(Direct(), "p", at(port), "", b"hunter2")
    assert str(error.value) == "p refused the new password (ERR)"


async def test_as_whom_a_server_is_asked() -> None:
    fake = Fake(b"secret")
    async with listening(fake.serve) as port:
        endpoint = at(port, b"secret")._replace(user=b"_operator")
        await admin.inspect(Direct(2.0), "orders-0", endpoint)
    assert (b"AUTH", b"_operator", b"secret") in [tuple(words) for words in fake.heard]
