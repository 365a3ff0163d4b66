"""Globs: against a recursive reference over small alphabets, a table of corner cases, and hostile patterns.

The same corner cases go to the real Valkey in tests/differential/test_texts.py.
"""

from __future__ import annotations

import functools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds.glob import glob_matches as glob
from fleettest.examples import examples

pytestmark = pytest.mark.unit

PATTERNS = st.lists(st.sampled_from([bytes([c]) for c in b"ab*?[]^-\\c\xff"]), max_size=12).map(b"".join)
TEXTS = st.lists(st.sampled_from([bytes([c]) for c in b"abc]-^\\*[?\xff"]), max_size=10).map(b"".join)


def signed(c: int) -> int:
    return c - 256 if c > 127 else c


def class_matches(pattern: bytes, at: int, c: int) -> tuple[bool, int]:
    """The class that begins behind "[" at `at`: whether c is in it, and where the pattern goes on."""
    negate = pattern[at : at + 1] == b"^"
    at += negate
    found = False
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            found |= pattern[at + 1] == c
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((signed(pattern[at]), signed(pattern[at + 2])))
            found |= low <= signed(c) <= high
            at += 3
        else:
            found |= pattern[at] == c
            at += 1
    return found != negate, at + 1


def reference(pattern: bytes, text: bytes) -> bool:
    """By the definition: a star is nothing, or one byte and a star again."""

    @functools.cache
    def match(p: int, t: int) -> bool:
        if t == len(text):
            return pattern[p:].strip(b"*") == b""
        if p >= len(pattern):
            return False
        c = pattern[p : p + 1]
        if c == b"*":
            return match(p + 1, t) or match(p, t + 1)
        if c == b"?":
            return match(p + 1, t + 1)
        if c == b"[":
            found, behind = class_matches(pattern, p + 1, text[t])
            return found and match(behind, t + 1)
        if c == b"\\" and p + 1 < len(pattern):
            p += 1
        return pattern[p] == text[t] and match(p + 1, t + 1)

    return match(0, 0) if text else pattern == b""


@examples(1000)
@given(PATTERNS, TEXTS)
def test_against_the_definition(pattern: bytes, text: bytes) -> None:
    assert glob(pattern, text) == reference(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"a", b"\0\xff"], [b""]),  # an empty text matches only an empty pattern
        (b"**", [b"a"], [b""]),
        (b"**a", [b"a", b"ba"], [b"b", b"ab"]),
        (b"a***?", [b"ab", b"abc"], [b"a"]),
        (b"h?llo", [b"hello", b"h\0llo"], [b"hllo", b"heello"]),
        (b"h*llo", [b"hllo", b"heeeello"], [b"hell"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo", b"hllo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (rb"h\*llo", [b"h*llo"], [b"hello"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"[", [], [b"[", b"a"]),
        (b"[a", [b"a"], [b"[a", b"b"]),
        (b"[a-", [b"a", b"-"], [b"b"]),
        (b"[^", [b"a"], [b"", b"ab"]),
        (b"[]abc]", [], [b"a", b"]"]),
        (b"[^]x", [b"ax"], [b"x"]),
        (rb"[\]]", [b"]"], [b"\\"]),
        (b"[\\", [b"\\"], [b"a"]),
        (b"[\x7f-\x81]", [b"\x00", b"\x7f", b"\x81", b"\xff"], [b"\x80"]),  # bytes of a range are signed
        (b"*a*b*c", [b"abc", b"xaxbxc", b"aabbcc"], [b"abcx", b"acb"]),
        (b"foo*", [b"foo", b"foo*"], [b"fo"]),
    ],
)
def test_corner_cases(pattern: bytes, matching: list[bytes], other: list[bytes]) -> None:
    assert [text for text in matching if not glob(pattern, text)] == []
    assert [text for text in other if glob(pattern, text)] == []


def test_without_case() -> None:
    assert glob(b"MaxMem*", b"maxmemory", True)
    assert glob(b"[A-C]x", b"bX", True)
    assert glob(b"[b]", b"B", True)
    assert not glob(rb"[\b]", b"B", True)
    assert glob(rb"\b", b"B", True)
    assert not glob(b"MaxMem*", b"maxmemory", False)
    assert not glob(b"[", b"{", True)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (b"a*" * 2000 + b"b", b"a" * 20_000),
        (b"*" * 50_000 + b"b", b"a" * 20_000),
        (b"*a" * 1000 + b"[b", b"a" * 20_000),
        (b"?*" * 2000 + b"\\b", b"a" * 20_000),
    ],
)
def test_hostile_patterns_take_bounded_time(pattern: bytes, text: bytes) -> None:
    """At most pattern x text steps: 0.2 s of CPU here; backtracking over each star would never end."""
    start = time.process_time()
    assert not glob(pattern, text)
    assert time.process_time() - start < 10
