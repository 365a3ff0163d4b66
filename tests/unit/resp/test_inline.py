"""Inline requests: words and quotes as Valkey 9.1 splits them (observed on the real server)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.resp._testing import Parser, ProtocolError

pytestmark = pytest.mark.unit

SPLIT = {
    b"PING": [b"PING"],
    b" PING ": [b"PING"],
    b"a b\tc": [b"a", b"b", b"c"],
    b"a\rb": [b"a", b"b"],
    b"a\x0bb": [b"a\x0bb"],
    b"a\x0cb": [b"a\x0cb"],
    b"\x0ba \x0b\x0c b": [b"a", b"b"],
    b'"a b"': [b"a b"],
    b"'a b'": [b"a b"],
    b'"a"b': [b"ab"],
    b"'a'\"b\"c": [b"abc"],
    b'a"b c"': [b"ab c"],
    b'"a""b"': [b"ab"],
    b"'a''b'": [b"ab"],
    b"a''": [b"a"],
    b"''": [b""],
    b"\"\" ''": [b"", b""],
    rb'"\x41\n\t\r\a\b\q\\\""': [b'A\n\t\r\x07\x08q\\"'],
    rb"'\x41\'\n'": [rb"\x41'\n"],
    rb"a\x41\n": [rb"a\x41\n"],
    rb'"\x4"': [b"x4"],
    rb'"\xzz"': [b"xzz"],
    rb'"\X41"': [b"X41"],
    rb'"\x4G"': [b"x4G"],
    rb'"\xaF"': [b"\xaf"],
    rb'"\x"': [b"x"],
    rb"'a\\b'": [rb"a\\b"],
    b'"a\rb"': [b"a\rb"],
    rb'"a\"': [b"a\\"],
    rb"'a\'": [b"a\\"],
    rb"'\'": [b"\\"],
    rb"'a\' b'": [b"a' b"],
    rb"'a\''": [b"a'"],
    rb"'a\'\'": [b"a'\\"],
    rb"'a\\'": [rb"a\\"],
    rb"'a\\' b'": [rb"a\' b"],
    rb"a \ ": [b"a", b"\\"],
    b"\x01\x02\x1f\x7f\x80\x85\xa0": [b"\x01\x02\x1f\x7f\x80\x85\xa0"],
    b"$4": [b"$4"],
}

UNBALANCED = [
    b'"a', b"'a", b'a"b', b"a'b", b'"a\n"', rb'"\x12', b'"', rb'"\ '.strip(), rb"'a\'b", rb"'a\' 'b'", rb"'a\'b'c'",
    rb"'a\' ", rb'"a\" ', b"'a' 'b",
]  # fmt: skip


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("line", SPLIT)
def test_words(line: bytes, end: bytes) -> None:
    for sizes in ([], [1] * (len(line) + 2)):
        parser = Parser()
        assert parser.feed(line + end + b"NEXT\r\n", sizes) == [(SPLIT[line], None), ([b"NEXT"], None)]
        assert parser.heap_used == 0


@pytest.mark.parametrize("line", UNBALANCED)
def test_unbalanced_quotes(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Parser().feed(line + b"\r\n")
    assert caught.value.text == b"unbalanced quotes in request"


def quote(word: bytes) -> bytes:
    return b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"'


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=600), st.sampled_from([1, 16, 256]))
def test_quoted_words_come_back(words: list[bytes], arena: int) -> None:
    """More words than the arena holds get memory of their own."""
    parser = Parser(arena=arena)
    assert parser.feed(b" ".join(map(quote, words)) + b"\r\n") == [(words, None)]
    assert parser.heap_used == 0


@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line and b"\x00" not in line and line[:1] != b"*"))
def test_any_line_is_split_or_refused(line: bytes) -> None:
    parser = Parser(arena=64)
    requests = []
    text = b""
    try:
        requests = parser.feed(line + b"\n")
    except ProtocolError as failure:
        text = failure.text
    assert text == b"" or b'"' in line or b"'" in line
    assert text in (b"", b"unbalanced quotes in request")
    assert sum(len(word) for args, _ in requests for word in args) <= len(line)
