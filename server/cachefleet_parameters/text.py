"""Words and quoting of configuration lines.

A file is split into lines at "\\n" alone, a line into words at blanks. A word may hold parts in double quotes, in
which `\\n \\r \\t \\b \\a`, `\\xHH` and a backslash before any other character are escapes, or in single quotes, in
which only `\\'` is one. A closing quote must be followed by a blank or the end. Bytes that are not UTF-8 travel as
surrogates (PEP 383).
"""

from __future__ import annotations

import re

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}
_QUOTED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b"}
_BLANKS = frozenset(" \t\n\v\f\r")  # C's, not Unicode's: a password may hold U+00A0 or U+2028
MARGIN = " \t\r"  # what is taken off a line
_PLAIN = re.compile(r"[!#-&(-\[\]-~]+")  # printable ASCII without blank, quotes and backslash
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")
_HEX = re.compile("[0-9a-fA-F]{2}")


def line_words(line: str) -> list[str] | None:
    """The words of a line of a file: none of a blank one or a comment; None when quotes do not balance."""
    stripped = line.strip(MARGIN)
    return [] if stripped.startswith("#") else split_words(stripped)


def split_words(line: str) -> list[str] | None:
    """The words of a line; None when quotes do not balance."""
    words: list[str] = []
    i, n = 0, len(line)
    while True:
        while i < n and line[i] in _BLANKS:
            i += 1
        if i >= n or line[i] == "\0":
            return words
        word: list[str] = []
        while i < n and line[i] not in _BLANKS and line[i] != "\0":
            char = line[i]
            if char in "\"'":
                end = _quoted(line, i, word)
                if end < 0:
                    return None
                i = end
                break
            word.append(char)
            i += 1
        words.append("".join(word))


def _quoted(line: str, start: int, word: list[str]) -> int:
    """Appends the part in quotes that opens at `start` to `word`; returns the place after it, or -1."""
    quote, i, n = line[start], start + 1, len(line)
    raw = bytearray()
    while i < n:
        char, following = line[i], line[i + 1 : i + 2]
        if quote == '"' and char == "\\" and following == "x" and (byte := _HEX.match(line, i + 2)):
            raw.append(int(byte[0], 16))
            i += 4
        elif quote == '"' and char == "\\" and following:
            raw += _ESCAPES.get(following, following).encode("utf-8", "surrogateescape")
            i += 2
        elif quote == "'" and char == "\\" and following == "'":
            raw += b"'"
            i += 2
        elif char == quote:
            if following and following not in _BLANKS and following != "\0":
                return -1
            word.append(raw.decode("utf-8", "surrogateescape"))
            return i + 1
        else:
            raw += char.encode("utf-8", "surrogateescape")
            i += 1
    return -1


def quote(value: str) -> str:
    """`value` in double quotes, so that `split_words` gives it back; printable ASCII."""
    return f'"{_ESCAPED.sub(_escape, value)}"'


def _escape(match: re.Match[str]) -> str:
    raw = match[0].encode("utf-8", "surrogateescape")
    return _QUOTED.get(match[0]) or "".join(f"\\x{byte:02x}" for byte in raw)


def quote_if_needed(value: str) -> str:
    """`value` as it is when it is one plain word."""
    return value if _PLAIN.fullmatch(value) else quote(value)
