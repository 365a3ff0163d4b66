"""The packed forms of RDB files, written by hand: what old versions wrote, and what is odd.

An element is bytes or an integer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

Element = bytes | int


def _listpack_code(value: Element) -> bytes:
    if isinstance(value, bytes):
        n = len(value)
        if n < 64:
            return bytes([0x80 | n]) + value
        if n < 1 << 12:
            return bytes([0xE0 | n >> 8, n & 255]) + value
        return b"\xf0" + struct.pack("<I", n) + value
    if 0 <= value < 128:
        return bytes([value])
    if -4096 <= value < 4096:
        return bytes([0xC0 | (value & 0x1FFF) >> 8, value & 255])
    for first, bits in ((0xF1, 16), (0xF2, 24), (0xF3, 32), (0xF4, 64)):
        if -(1 << bits - 1) <= value < 1 << bits - 1:
            return bytes([first]) + (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
    raise AssertionError(value)


def _back_length(n: int) -> bytes:
    """Groups of seven bits, the highest first; all but that one say that there is one before them."""
    groups = [n & 127]
    while n := n >> 7:
        groups = [n & 127, groups[0] | 128, *groups[1:]]
    return bytes(groups)


def listpack(*values: Element) -> bytes:
    codes = [_listpack_code(value) for value in values]
    body = b"".join(code + _back_length(len(code)) for code in codes)
    return struct.pack("<IH", len(body) + 7, min(len(values), 65535)) + body + b"\xff"


def _ziplist_code(value: Element) -> bytes:
    if isinstance(value, bytes):
        n = len(value)
        if n < 64:
            return bytes([n]) + value
        if n < 1 << 14:
            return bytes([0x40 | n >> 8, n & 255]) + value
        return b"\x80" + struct.pack(">I", n) + value
    if 0 <= value <= 12:
        return bytes([0xF1 + value])
    for first, bits in ((0xFE, 8), (0xC0, 16), (0xF0, 24), (0xD0, 32), (0xE0, 64)):
        if -(1 << bits - 1) <= value < 1 << bits - 1:
            return bytes([first]) + (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
    raise AssertionError(value)


def ziplist(values: Sequence[Element], long_at: int = -1) -> bytes:
    """`long_at`: an entry whose neighbour's size takes 5 bytes in any case."""
    body, before, last = b"", 0, 10
    for i, value in enumerate(values):
        size = bytes([before]) if before < 254 and i != long_at else b"\xfe" + struct.pack("<I", before)
        last = 10 + len(body)
        entry = size + _ziplist_code(value)
        body += entry
        before = len(entry)
    return struct.pack("<IIH", len(body) + 11, last, len(values)) + body + b"\xff"


def zipmap(pairs: Sequence[tuple[bytes, bytes]], unused: int = 0) -> bytes:
    def length(n: int) -> bytes:
        return bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)

    body = b"".join(
        length(len(f)) + f + length(len(v)) + bytes([unused]) + v + b"?" * unused for f, v in pairs
    )
    return bytes([min(len(pairs), 254)]) + body + b"\xff"


def intset(values: Iterable[int], width: int = 0) -> bytes:
    """As wide as the widest needs, or wider."""
    ordered = sorted(set(values))
    need = next(size for size in (2, 4, 8) if all(-(1 << 8 * size - 1) <= v < 1 << 8 * size - 1 for v in ordered))
    width = max(width, need)
    body = b"".join(v.to_bytes(width, "little", signed=True) for v in ordered)
    return struct.pack("<II", width, len(ordered)) + body
