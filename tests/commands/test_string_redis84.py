"""What Redis 8.4 has and Valkey lacks: DIGEST, DELEX, SET's IFNE, IFDEQ and IFDNE. Expectations are literal."""

from __future__ import annotations

import pytest

from fleettest.client import Connection, Error

pytestmark = pytest.mark.server

HELLO_DIGEST = "9555e8555c62dcfd"
DIGESTS = {
    b"hello": HELLO_DIGEST,
    b"": "2d06800538d394c2",
    b"123": "404a763b3f4c8c9a",
    b"v8": "0cc76dbb41381419",
    b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd": "00006c38adf31777",
}


@pytest.mark.parametrize("value", DIGESTS)
def test_digest(c: Connection, value: bytes) -> None:
    c("SET", "k", value)
    assert c("DIGEST", "k") == DIGESTS[value].encode()


def test_digest_errors(c: Connection) -> None:
    assert c("DIGEST", "nokey") is None
    assert c.raw("DIGEST", "nokey") in (b"$-1\r\n", b"_\r\n")
    assert c("DIGEST") == Error("ERR wrong number of arguments for 'digest' command")
    assert c("DIGEST", "a", "b") == Error("ERR wrong number of arguments for 'digest' command")


ARITY = Error("ERR wrong number of arguments for 'delex' command")
BAD_CONDITION = Error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
BAD_DIGEST = Error("ERR must be exactly 16 hexadecimal characters")
ZEROS = "0" * 16

DELEX_CASES = [
    ((), 1), (("IFEQ", "hello"), 1), (("IFEQ", "other"), 0), (("ifeq", "hello"), 1), (("IFNE", "hello"), 0),
    (("IfNe", "x"), 1), (("IFDEQ", HELLO_DIGEST), 1), (("IFDEQ", HELLO_DIGEST.upper()), 1), (("IFDEQ", ZEROS), 0),
    (("IFDNE", HELLO_DIGEST), 0), (("IFDNE", HELLO_DIGEST.upper()), 0), (("IFDNE", ZEROS), 1),
    (("IFDEQ", "z" * 16), 0), (("IFDNE", "z" * 16), 1), (("IFDEQ", ""), BAD_DIGEST), (("IFDNE", "0123"), BAD_DIGEST),
    (("IFDEQ", "0" + HELLO_DIGEST), BAD_DIGEST), (("IFEQ",), ARITY), (("IFEQ", "hello", "x"), ARITY),
    (("FOO", "hello"), BAD_CONDITION), (("NX", "hello"), BAD_CONDITION),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "expected"), DELEX_CASES)
def test_delex(c: Connection, condition: tuple[str, ...], expected: object) -> None:
    c("SET", "k", "hello")
    assert c("DELEX", "k", *condition) == expected
    assert c("EXISTS", "k") == (expected != 1)


@pytest.mark.parametrize(("condition", "expected"), DELEX_CASES)
def test_delex_of_a_missing_key(c: Connection, condition: tuple[str, ...], expected: object) -> None:
    assert c("DELEX", "k", *condition) == (ARITY if expected == ARITY else 0)


SET_CASES: list[tuple[tuple[str, ...], bool | Error, bool | Error]] = [
    # condition, written when the value is "hello", written when there is no key
    (("IFNE", "hello"), False, True),
    (("IFNE", "other"), True, True),
    (("ifne", ""), True, True),
    (("IFDEQ", HELLO_DIGEST), True, False),
    (("IFDEQ", HELLO_DIGEST.upper()), True, False),
    (("IFDEQ", ZEROS), False, False),
    (("IFDNE", HELLO_DIGEST), False, True),
    (("IFDNE", ZEROS), True, True),
    (("IFDEQ", "123"), BAD_DIGEST, False),
    (("IFDNE", "123"), BAD_DIGEST, True),
]


@pytest.mark.parametrize("get", [False, True])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(("condition", "with_value", "without"), SET_CASES)
def test_set_conditions(
    c: Connection, condition: tuple[str, ...], with_value: bool | Error, without: bool | Error, exists: bool,
    get: bool,
) -> None:  # fmt: skip
    if exists:
        c("SET", "k", "hello")
    outcome = with_value if exists else without
    reply = c("SET", "k", "new", *condition, *(["GET"] if get else []), "EX", "1000")
    if isinstance(outcome, Error):
        assert reply == outcome
    elif get:
        assert reply == (b"hello" if exists else None)
    else:
        assert reply == ("OK" if outcome else None)
    assert c("GET", "k") == (b"new" if outcome is True else b"hello" if exists else None)
    assert c("TTL", "k") == (1000 if outcome is True else -1 if exists else -2)


@pytest.mark.parametrize("options", [
    ["IFNE"], ["IFDEQ"], ["IFDNE"], ["IFNE", "a", "NX"], ["XX", "IFDEQ", ZEROS], ["IFEQ", "a", "IFNE", "b"],
    ["IFDEQ", ZEROS, "IFDNE", ZEROS],
])  # fmt: skip
def test_set_conditions_exclude_each_other(c: Connection, options: list[str]) -> None:
    assert c("SET", "k", "v", *options) == Error("ERR syntax error")
