"""Replies bound to a client: who is written to, how errors count, and arguments."""

from __future__ import annotations

import pytest

from cachefleet_server.core._testing import ReplyClient
from cachefleet_server.engine import ClientFlag

pytestmark = pytest.mark.unit

IN_PROCESS, SERVER, AOF = 1, 2, 3  # core/role.pxd


def test_a_reply_puts_the_client_on_the_list() -> None:
    client = ReplyClient()
    assert not client.pending
    client.ok()
    client.integer(7)
    assert client.pending
    assert client.take() == b"+OK\r\n:7\r\n"


@pytest.mark.parametrize("flag", [ClientFlag.REPLY_OFF, ClientFlag.REPLY_SKIP])
def test_a_silent_client_gets_nothing_but_its_errors_count(flag: int) -> None:
    client = ReplyClient()
    client.flags = flag
    client.ok()
    client.error(b"ERR no")
    assert client.take() == b"" and not client.pending
    assert client.failed and client.error_stats == (1, {b"ERR": 1}, 0)


def test_who_has_no_socket_is_never_listed() -> None:
    client = ReplyClient()
    client.become_actor(IN_PROCESS)
    client.ok()
    assert not client.pending and client.take() == b"+OK\r\n"


def test_the_first_of_fatal_errors_is_kept() -> None:
    client = ReplyClient()
    client.become_actor(AOF)
    client.flags = ClientFlag.REPLY_OFF
    client.wrong_arity(b"get")
    client.error(b"ERR something else")
    assert client.flags & ClientFlag.FAILED
    assert client.take() == b"get: ERR wrong number of arguments for 'get' command"
    assert client.error_stats == (0, {}, 0), "nobody asked, so nothing is counted"


def test_errors_of_the_servers_own_work_do_not_count() -> None:
    client = ReplyClient()
    client.become_actor(SERVER)
    client.error(b"ERR no")
    assert client.take() == b"-ERR no\r\n" and not client.flags & ClientFlag.FAILED
    assert client.error_stats == (0, {}, 0)


def test_errors_count_by_prefix() -> None:
    client = ReplyClient()
    for text in (b"ERR a", b"WRONGTYPE b", b"ERR c", b"nospace", b"P" * 30 + b" x", b"Q" * 31 + b" x", b" x"):
        client.error(text)
    assert client.error_stats == (7, {b"ERR": 4, b"WRONGTYPE": 1, b"P" * 30: 1, b"": 1}, 0)
    assert client.failed


def test_kinds_of_errors_are_bounded() -> None:
    client = ReplyClient()
    for i in range(130):
        client.error(b"E%d x" % i)
    client.error(b"E0 x")
    total, kinds, overflow = client.error_stats
    assert (total, len(kinds), kinds[b"E0"], overflow) == (131, 128, 2, 2)


def test_formatted_errors() -> None:
    client = ReplyClient()
    client.error_format(b"ERR '%s' is wrong", b"a\r\nb\x00")
    client.error_format(b"ERR %s", b"x" * 300)
    client.wrong_arity(b"get")
    assert client.take() == (
        b"-ERR 'a  b\x00' is wrong\r\n-ERR " + b"x" * 128 + b"\r\n-ERR wrong number of arguments for 'get' command\r\n"
    )


def test_integer_arguments() -> None:
    client = ReplyClient()
    for text in (b"0", b"-1", b"9223372036854775807", b"-9223372036854775808"):
        assert client.arg_int64(text) == int(text)
    assert client.take() == b""
    for text in (b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"9223372036854775808", b"1.0", b"x"):
        assert client.arg_int64(text) is None
        assert client.take() == b"-ERR value is not an integer or out of range\r\n"


@pytest.mark.parametrize(
    ("text", "word", "same"),
    [
        (b"NX", b"NX", True), (b"nx", b"NX", True), (b"nX", b"nx", True), (b"N", b"NX", False), (b"NXX", b"NX", False),
        (b"", b"NX", False), (b"", b"", True), (b"NX\x00", b"NX", False), (b"N\x18", b"N8", False), (b"@", b"`", False),
        (b"[", b"{", False), (b"K\r", b"K-", False), (b"1", b"1", True),
    ],
)  # fmt: skip
def test_words(text: bytes, word: bytes, same: bool) -> None:
    assert ReplyClient().arg_is(text, word) is same
