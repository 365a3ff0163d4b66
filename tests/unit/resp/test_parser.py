"""The request parser: the same requests however the bytes are cut, every error, bounded memory and work."""

from __future__ import annotations

import contextlib
import random
import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.resp._testing import Parser, ProtocolError

pytestmark = pytest.mark.unit

MB = 1 << 20


def multibulk(*args: bytes) -> bytes:
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


def parse(data: bytes, **options: bool | int) -> list[list[bytes]]:
    return [args for args, _ in Parser(**options).feed(data)]  # type: ignore[arg-type]


def error(data: bytes, *, cuts: tuple[int, ...] = (), authenticated: bool = True, bulk_max: int = 512 * MB) -> bytes:
    with pytest.raises(ProtocolError) as caught:
        Parser(authenticated=authenticated, bulk_max=bulk_max).feed(data, cuts)
    return bytes(caught.value.text)


arguments = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\r\n", b"$3\r\nabc\r\n", b"*1\r\n", b"x" * 9, b"x" * 10, b"x" * 99, b"x" * 100]),
    st.integers(min_value=900, max_value=200_000).map(lambda n: b"v" * n),
)
commands = st.lists(st.lists(arguments, min_size=1, max_size=6), min_size=1, max_size=12)
cuts = st.lists(st.sampled_from([1, 1, 2, 3, 5, 17, 100, 513, 4096, 40_000, 65_536]), max_size=60)


@given(commands, cuts, st.booleans(), st.sampled_from([1, 3, 256]))
def test_any_split_gives_the_same_requests(
    wanted: list[list[bytes]], sizes: list[int], take_blobs: bool, arena: int
) -> None:
    parser = Parser(arena=arena)
    parser.take_blobs = take_blobs
    whole = [multibulk(*args) for args in wanted]
    got = parser.feed(b"".join(whole), sizes)
    assert [args for args, _ in got] == wanted
    for (_, raw), request in zip(got, whole, strict=True):
        assert raw is None or raw == request
    assert parser.heap_used == 0, "an idle connection owns memory"


def test_byte_by_byte() -> None:
    requests = [
        multibulk(b"SET", b"key", b""),
        b"PING\r\n",
        multibulk(b"GET", b"x" * 70),
        b"\r\n",
        multibulk(b"A" * 12),
    ]
    data = b"".join(requests)
    parser = Parser()
    got = parser.feed(data, [1] * len(data))
    assert [args for args, _ in got] == [[b"SET", b"key", b""], [b"PING"], [b"GET", b"x" * 70], [b"A" * 12]]
    assert [raw for _, raw in got] == [requests[0], None, requests[2], requests[4]]


def test_raw_is_the_request_itself() -> None:
    request = multibulk(b"SET", b"k", b"v" * 100)
    for sizes in ([], [7, 30], [1] * len(request)):
        assert Parser().feed(request, sizes) == [([b"SET", b"k", b"v" * 100], request)]


def test_a_request_in_two_pieces_of_memory_has_no_raw() -> None:
    big = b"v" * 100_000
    assert Parser().feed(multibulk(b"SET", b"k", big, b"NX"), [1000]) == [([b"SET", b"k", big, b"NX"], None)]


def test_requests_before_an_error_are_returned() -> None:
    with pytest.raises(ProtocolError) as caught:
        Parser().feed(multibulk(b"PING") + b"*x\r\n" + multibulk(b"PING"))
    assert [args for args, _ in caught.value.requests] == [[b"PING"]]


@pytest.mark.parametrize(
    "data", [b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"*-2147483649\r\n", b"\r\n", b"\n", b"  \r\n", b"\r\r\n"]
)
def test_nothing_to_execute(data: bytes) -> None:
    assert parse(data + b"PING\r\n") == [[b"PING"]]
    assert parse(data * 3 + multibulk(b"PING")) == [[b"PING"]]


ERRORS = {
    b"*abc\r\n": b"invalid multibulk length",
    b"*\r\n": b"invalid multibulk length",
    b"*1 \r\n": b"invalid multibulk length",
    b"* 1\r\n": b"invalid multibulk length",
    b"*01\r\n": b"invalid multibulk length",
    b"*00\r\n": b"invalid multibulk length",
    b"*+1\r\n": b"invalid multibulk length",
    b"*-0\r\n": b"invalid multibulk length",
    b"*--1\r\n": b"invalid multibulk length",
    b"*1\x00\r\n": b"invalid multibulk length",
    b"*1\n$4\r\nPING\r\n": b"invalid multibulk length",
    b"*2147483648\r\n": b"invalid multibulk length",
    b"*99999999999999999999\r\n": b"invalid multibulk length",
    b"*-99999999999999999999\r\n": b"invalid multibulk length",
    b"*1\rX": b"invalid CRLF in request",
    b"*x\rX": b"invalid CRLF in request",
    b"*-1\rX": b"invalid CRLF in request",
    b"*1\r\n$4\rX": b"invalid CRLF in request",
    b"*1\r\n$x\rX": b"invalid CRLF in request",
    b"*1\r\n$4\r\nPINGXX": b"invalid CRLF in request",
    b"*1\r\n$4\r\nPING\rX": b"invalid CRLF in request",
    b"*1\r\n$4\r\nPINGX\n": b"invalid CRLF in request",
    b"*1\r\n:4\r\n": b"expected '$', got ':'",
    b"*1\r\nx\rX": b"expected '$', got 'x'",
    b"*1\r\n\r\n": b"expected '$', got '\r'",
    b"*1\r\n\x00\r\n": b"expected '$', got '\x00'",
    b"*1\r\n\xff\r\n": b"expected '$', got '\xff'",
    b"*2\r\n$4\r\nECHO\r\n*1\r\n": b"expected '$', got '*'",
    b"*1\r\n$\r\n": b"invalid bulk length",
    b"*1\r\n$-1\r\n": b"invalid bulk length",
    b"*1\r\n$-0\r\n": b"invalid bulk length",
    b"*1\r\n$04\r\nPING\r\n": b"invalid bulk length",
    b"*1\r\n$+4\r\n": b"invalid bulk length",
    b"*1\r\n$4x\r\n": b"invalid bulk length",
    b"*1\r\n$4\n": None,
    b"*1\r\n$536870913\r\n": b"invalid bulk length",
    b"*1\r\n$99999999999999999999\r\n": b"invalid bulk length",
    b"*" + b"1" * 65536: b"too big mbulk count string",
    b"*" + b"1" * 65535: None,
    b"*1\r\n$" + b"1" * 65536: b"too big bulk count string",
    b"*1\r\n$" + b"1" * 65535: None,
    b"x" * 65537: b"too big inline request",
    b"x" * 65536: None,
    b'"a\r\n': b"unbalanced quotes in request",
    b"*1\r\nx": None,
    b"*1\r\nX\r": None,
    b"*2147483647\r\n": None,
    b"*1\r\n$536870912\r\n": None,
    b"*1\r": None,
    b"a\x00b\r\nPING\r\n": None,
}
"""What the real server answers to it; None: it waits for more."""


@pytest.mark.parametrize(
    "data", ERRORS, ids=lambda data: repr(data[:24]) + (f"..{len(data)}" if len(data) > 24 else "")
)
@pytest.mark.parametrize("step", [None, 1, 7])
def test_errors(data: bytes, step: int | None) -> None:
    sizes = () if step is None else (step,) * (len(data) // step + 1)
    wanted = ERRORS[data]
    if wanted is None:
        parser = Parser()
        assert parser.feed(data, sizes) == []
        assert parser.unparsed > 0
    else:
        assert error(data, cuts=sizes) == wanted


def test_limits_before_authentication() -> None:
    assert error(b"*11\r\n", authenticated=False) == b"unauthenticated multibulk length"
    assert error(b"*1\r\n$16385\r\n", authenticated=False) == b"unauthenticated bulk length"
    assert error(multibulk(*[b"a"] * 11), authenticated=False) == b"unauthenticated multibulk length"
    assert error(multibulk(b"x" * 16385), authenticated=False) == b"unauthenticated bulk length"
    assert parse(multibulk(*[b"a"] * 9, b"x" * 16384), authenticated=False) == [[b"a"] * 9 + [b"x" * 16384]]
    words = b" ".join([b"w"] * 100)
    assert parse(words + b"\r\n", authenticated=False) == [[b"w"] * 100], "inline requests have their own limit"


def test_bulk_limit_is_a_parameter() -> None:
    assert parse(multibulk(b"x" * 2048), bulk_max=2048) == [[b"x" * 2048]]
    assert error(multibulk(b"x" * 2049), bulk_max=2048) == b"invalid bulk length"


@pytest.mark.parametrize(
    "promise", [b"*2147483647\r\n", b"*1048576\r\n$3\r\nSET\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$512000000\r\n"]
)
def test_promises_cost_nothing(promise: bytes) -> None:
    parser = Parser()
    parser.feed(promise)
    assert parser.heap_used < MB + 1000
    assert parser.memory < MB + 1000


def test_a_slow_sender_owns_little() -> None:
    parser = Parser()
    for byte in multibulk(b"SET", b"k" * 20, b"v" * 200)[:-1]:
        parser.feed(bytes([byte]))
    assert parser.heap_used < 1200


def test_memory_follows_what_came() -> None:
    parser = Parser()
    parser.feed(b"*2\r\n$3\r\nSET\r\n$100000000\r\n")
    came = 0
    while came < 20 * MB:
        parser.feed(b"x" * 60_000)
        came += 60_000
        assert parser.heap_used < 2 * came + 2 * MB
    assert parser.unparsed >= came


def test_a_million_arguments() -> None:
    count = MB
    data = b"*%d\r\n" % count + b"$1\r\na\r\n" * count
    parser = Parser()
    rng = random.Random(3)
    (args, raw), *rest = parser.feed(data, (rng.randint(1, 60_000) for _ in iter(int, 1)))
    assert not rest and len(args) == count and set(args) == {b"a"} and raw == data
    assert parser.heap_used == 0
    parser.feed(data[:-2])
    assert parser.unparsed < 6 * len(data), "what the query-buffer limit sees includes the argument list"
    assert parser.memory < 8 * len(data)


@pytest.mark.parametrize(
    "data", [b"x" * 60_000, multibulk(b"x" * 32_000), multibulk(*[b"ab"] * 8_000), b"*" + b"1" * 60_000]
)
def test_byte_by_byte_costs_linear_work(data: bytes) -> None:
    """Quadratic work (65 000 times 32 KB copied or searched) would take tens of seconds of CPU."""
    start = time.process_time()
    parser = Parser(shared=2048)
    parser.feed(data, [1] * len(data))
    assert time.process_time() - start < 5


def test_large_arguments_can_be_taken() -> None:
    parser = Parser()
    parser.take_blobs = True
    big = bytes(range(256)) * 4000
    data = multibulk(b"MSET", b"a", big, b"b", big[:40_000], b"c", big) + multibulk(b"PING")
    assert [args for args, _ in parser.feed(data)] == [[b"MSET", b"a", big, b"b", big[:40_000], b"c", big], [b"PING"]]
    assert parser.taken >= 2
    assert parser.heap_used == 0


def test_an_abandoned_connection_frees_its_memory() -> None:
    """Dropping a parser in any state is clean; under ASAN to the byte."""
    states = (b"*3\r\n$3\r\nSET\r\n", b"*2\r\n$1\r\na\r\n$70000\r\n" + b"x" * 60_000, b"PIN", b"*x\r\n")

    def abandon(times: int) -> int:
        for _ in range(times):
            for data in states:
                parser = Parser()
                with contextlib.suppress(ProtocolError):
                    parser.feed(data)
                del parser
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = abandon(50)
    assert abandon(1000) - before < 20_000  # KiB: a third of what those values take
