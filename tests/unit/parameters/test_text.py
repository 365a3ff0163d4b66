"""Words and quotes of configuration text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_parameters.text import quote, split_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   \t ", []),
        ("port 6379", ["port", "6379"]),
        ("  a\tb  c ", ["a", "b", "c"]),
        ('a ""', ["a", ""]),
        ("a ''", ["a", ""]),
        ('"a b" c', ["a b", "c"]),
        (r'"\n\r\t\b\a\"\\\x41\xzz"', ["\n\r\t\b\a\"\\Axzz"]),
        (r"'a\'b\n'", ["a'b\\n"]),
        ('pre"fix ed"', ["prefix ed"]),
        (r'"\xff"', [b"\xff".decode("utf-8", "surrogateescape")]),
        (r'"\xc3\xa9"', ["é"]),
        ('"x"y', None),
        ('"open', None),
        ("'open", None),
        ('"end\\', None),
        ("a#b #c", ["a#b", "#c"]),
        ("a\vb\fc", ["a", "b", "c"]),
        ("a\xa0b\u2028c\x1cd", ["a\xa0b\u2028c\x1cd"]),
    ],
)
def test_split_words(line: str, words: list[str] | None) -> None:
    assert split_words(line) == words


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_quoted_words_come_back(raw: list[bytes]) -> None:
    words = [item.decode("utf-8", "surrogateescape") for item in raw]
    assert split_words(" ".join(map(quote, words))) == words


def test_quote_is_printable() -> None:
    assert quote('a "b"\n\x00é') == r'"a \"b\"\n\x00\xc3\xa9"'
