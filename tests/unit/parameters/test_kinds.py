"""Laws of the parser of values that hold for every kind; what each takes is in unit/config/test_kinds.py."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_parameters.kinds import (
    IpAddress,
    Kind,
    ParameterError,
    Words,
    memory_text,
    parse_integer,
    parse_memory,
)
from cachefleet_parameters.text import line_words
from cachefleet_server.config.params import PARAMS

pytestmark = pytest.mark.unit

# What the pieces of a value may be, fit for the kind or not.
WORDS = (
    "", " ", "0", "1", "7", "-1", "-2001", "01", "+1", "2147483648", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "9" * 40, "5%", "101%", "0%", "9" * 40 + "%", "1kb", "2MB",
    "3g", "1t", "1.5", "99.9", "nan", "1e400", "yes", "NO", "Save", "nosave", "default", "normal", "REPLICA", "slave",
    "pubsub", "KEA", "g$lshzxetd", "En", "allkeys-lru", "always", "77", "1000", "a/b", "..", "x", "{title}", "{x}",
    "127.0.0.1", "01.2.3.4", "::1", "fe80::1%lo", "é", "K", "3%", "a\0b", "\0",
)  # fmt: skip
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join),
)
KINDS = sorted({type(row.kind).__name__ for row in PARAMS} - {"Folder"})
ADDRESSES = st.one_of(
    st.text("0123456789abcdefF:./%x \n\u0665", max_size=24),
    st.lists(st.sampled_from(("", "", "0", "1", "ff", "FFFF", "00001", "g", "1.2.3.4")), max_size=10).map(":".join),
    st.lists(st.sampled_from(("0", "7", "00", "01", "255", "256", "", " 1", "1 ")), max_size=5).map(".".join),
    st.ip_addresses().map(str),
)


def shown(kind: Kind, value: str) -> str | None:
    """None where it is refused, in words."""
    try:
        return kind.show(kind.read(kind.split(value)))
    except ParameterError as error:
        complaint = str(error)
    assert complaint
    return None


@pytest.mark.parametrize("name", KINDS)
@given(value=VALUES, data=st.data())
def test_what_was_shown_is_taken_back_unchanged(name: str, value: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([row.kind for row in PARAMS if type(row.kind).__name__ == name]))
    first = shown(kind, value)
    assert first is None or shown(kind, first) == first


@pytest.mark.parametrize(("version", "family"), [(4, socket.AF_INET), (6, socket.AF_INET6)])
@given(value=ADDRESSES)
def test_an_address_is_what_inet_pton_takes(version: int, family: int, value: str) -> None:
    try:
        taken = bool(socket.inet_pton(family, value))
    except OSError:
        taken = not value
    assert (shown(IpAddress(version), value) == value) is taken


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_read_back(number: int) -> None:
    assert parse_integer(str(number)) == number


@pytest.mark.parametrize("text", ["-0", "9223372036854775808", "-9223372036854775809", "1_0", "", "0x1"])
def test_what_is_no_integer(text: str) -> None:
    assert parse_integer(text) is None


@given(st.integers(0, 2**64 - 1))
def test_memory_text_is_exact(number: int) -> None:
    assert parse_memory(memory_text(number)) == number


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8), max_size=5))
def test_words_that_are_rewritten_are_read_back(words: list[str]) -> None:
    """Quotes, blanks and ends of lines in them, too: nothing else may come into the file with a value."""
    (line,) = Words().lines(tuple(words), None)
    assert "\n" not in line
    assert line_words(f"metrics-streams {line}") == ["metrics-streams", *(words or [""])]
