"""Python reply values: what they become in both protocols, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.core._testing import ReplyClient
from cachefleet_server.replies import NO_REPLY, NULL_ARRAY, OK, BigNumber, Error, Push, Reply, Simple, Verbatim

pytestmark = pytest.mark.unit


def encode(resp: int, value: Reply) -> bytes:
    client = ReplyClient(resp)
    client.encode(value)
    return client.take()


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (NO_REPLY, b"", b""),
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (-5, b":-5\r\n", b":-5\r\n"),
        (1 << 64, b"$20\r\n18446744073709551616\r\n", b"(18446744073709551616\r\n"),
        (BigNumber(7), b"$1\r\n7\r\n", b"(7\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (b"a\x00", b"$2\r\na\x00\r\n", b"$2\r\na\x00\r\n"),
        ("é", b"$2\r\n\xc3\xa9\r\n", b"$2\r\n\xc3\xa9\r\n"),
        (b"\xff".decode("utf-8", "surrogateescape"), b"$1\r\n\xff\r\n", b"$1\r\n\xff\r\n"),
        (Error("ERR a\nb"), b"-ERR a b\r\n", b"-ERR a b\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ((1, [b"x", None]), b"*2\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n", b"*2\r\n:1\r\n*2\r\n$1\r\nx\r\n_\r\n"),
        ({"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        ({b"m"}, b"*1\r\n$1\r\nm\r\n", b"~1\r\n$1\r\nm\r\n"),
        (frozenset(), b"*0\r\n", b"~0\r\n"),
        (Push([b"p"]), b"*1\r\n$1\r\np\r\n", b">1\r\n$1\r\np\r\n"),
        (Verbatim("txt", "hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
    ],
)
def test_encoding(value: Reply, resp2: bytes, resp3: bytes) -> None:
    assert encode(2, value) == resp2
    assert encode(3, value) == resp3


@pytest.mark.parametrize("value", [object(), bytearray(b"x"), [1, [object()]], Simple("a\r\nb"), Verbatim("text", "x")])
def test_what_is_no_reply_leaves_no_trace(value: Any) -> None:
    client = ReplyClient(3)
    client.ok()
    with pytest.raises(TypeError):
        client.encode([b"x" * 20_000, value])
    assert client.take() == b"+OK\r\n"


leaves = st.one_of(
    st.none(), st.booleans(), st.binary(max_size=20), st.integers(), st.floats(allow_nan=False), st.just(OK),
    st.just(Error("ERR x")), st.integers().map(BigNumber),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda child: st.one_of(
        st.lists(child, max_size=4),
        st.lists(child, max_size=4).map(Push),
        st.dictionaries(st.binary(max_size=5), child, max_size=4),
        st.sets(st.binary(max_size=5), max_size=4),
    ),
    max_leaves=20,
)


@given(values)
def test_resp3_comes_back(value: Reply) -> None:
    client = ReplyClient(3)
    client.encode(value)
    back = client.decode(client.take())
    assert back == value
    assert type(back) is type(value) or isinstance(value, int)


def test_verbatim_comes_back() -> None:
    back = ReplyClient().decode(b"=6\r\ntxt:hi\r\n")
    assert isinstance(back, Verbatim) and (back.format, back.text) == ("txt", b"hi")


def test_unhashable_members() -> None:
    client = ReplyClient()
    assert client.decode(b"%1\r\n*1\r\n:1\r\n:2\r\n") == [([1], 2)]
    assert client.decode(b"~1\r\n*1\r\n:1\r\n") == [[1]]


def test_attributes_are_skipped_and_nulls_are_none() -> None:
    client = ReplyClient()
    assert client.decode(b"|1\r\n+a\r\n:1\r\n:2\r\n") == 2
    assert client.decode(b"*2\r\n$-1\r\n*-1\r\n") == [None, None]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"+OK",
        b"+OK\r",
        b"$5\r\nabc\r\n",
        b"*2\r\n:1\r\n",
        b":1\r\n:2\r\n",
        b":x\r\n",
        b"?1\r\n",
        b"$3\r\nabcde",
        b"*1\r\n",
    ],
)
def test_broken_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        ReplyClient().decode(data)
