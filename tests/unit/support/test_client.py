"""The test client's own parser and the comparer, without a server."""

import pytest

from fleettest.client import Error, Incomplete, Push, SetReply, encode, parse
from fleettest.reference import EXPLAINED, show
from fleettest.wait import assert_eventually


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"+OK\r\n", "OK"),
        (b"-ERR x\r\n", Error("ERR x")),
        (b":-5\r\n", -5),
        (b"$0\r\n\r\n", b""),
        (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"#t\r\n", True),
        (b",inf\r\n", float("inf")),
        (b"(12345678901234567890\r\n", 12345678901234567890),
        (b"=5\r\ntxt:a\r\n", b"a"),
        (b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", [1, [b"a"]]),
        (b"%1\r\n$1\r\na\r\n:1\r\n", {b"a": 1}),
        (b"~1\r\n:1\r\n", SetReply([1])),
        (b">1\r\n:1\r\n", Push([1])),
        (b"|1\r\n+a\r\n:1\r\n+OK\r\n", "OK"),
    ],
)
def test_parse_each_type_and_every_prefix_is_incomplete(raw: bytes, value: object) -> None:
    got, end = parse(raw + b"+rest\r\n")
    assert got == value
    assert type(got) is type(value) or raw[:1] == b"="
    assert end == len(raw)
    for cut in range(len(raw)):
        with pytest.raises(Incomplete):
            parse(raw[:cut])


def test_encode() -> None:
    assert encode("SET", b"\0k", 5) == b"*3\r\n$3\r\nSET\r\n$2\r\n\0k\r\n$1\r\n5\r\n"


def test_show_cuts_long_arguments() -> None:
    assert show(["SET", "k", b"x" * 1000]).endswith("...(1000)")


def test_every_explained_difference_has_a_reason() -> None:
    assert all(rule.reason for rule in EXPLAINED)


def test_assert_eventually_reports_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"three.*last value: 0"):
        assert_eventually(lambda: 0, "three", deadline_s=0.02)
    turns = iter([False, True])
    assert assert_eventually(lambda: next(turns))
