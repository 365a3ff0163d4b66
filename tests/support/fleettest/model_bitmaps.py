"""Strings as bitmaps, by numbers of any size."""

from __future__ import annotations

from functools import reduce

from fleettest.model_base import Failure, Value, number
from fleettest.model_strings import STRING_MAX, TYPE, Strings


def _one(values: list[int]) -> int:
    once = several = 0
    for value in values:
        once, several = once | value, several | once & value
    return once & ~several


class Bitmaps(Strings):
    def _bit_place(self, text: bytes) -> int:
        at = number(text)
        if not 0 <= at < STRING_MAX * 8:
            raise Failure("ERR")
        return at

    def _grow_bits(self, key: bytes, bits: int) -> bytes:
        data = self.bytes_of(key).ljust((bits + 7) // 8, b"\0")
        self._store(key, data)
        return data

    def _bits_at(self, key: bytes, at: int, width: int) -> int:
        data = self.bytes_of(key)
        padded = data.ljust((at + width + 7) // 8, b"\0")
        return int.from_bytes(padded, "big") >> (len(padded) * 8 - at - width) & (1 << width) - 1

    def _put_bits(self, key: bytes, at: int, width: int, value: int) -> int:
        """The field before."""
        data = self._grow_bits(key, at + width)
        shift = len(data) * 8 - at - width
        old = self._bits_at(key, at, width)
        whole = int.from_bytes(data, "big") ^ (old ^ value) << shift
        self._store(key, whole.to_bytes(len(data), "big"))
        return old

    def do_setbit(self, key: bytes, place: bytes, bit: bytes) -> int:
        at, value = self._bit_place(place), number(bit)
        if value not in (0, 1):
            raise Failure("ERR")
        return self._put_bits(key, at, 1, value)

    def do_getbit(self, key: bytes, place: bytes) -> int:
        return self._bits_at(key, self._bit_place(place), 1)

    def do_bitcount(self, key: bytes, *ends: bytes) -> int:
        data = self.bytes_of(key)
        if ends:
            first, last = map(number, ends)
            if first < 0 and last < 0 and first > last:
                return 0
            first, last = (max(end + len(data), 0) if end < 0 else end for end in (first, last))
            data = data[first : last + 1]
        return int.from_bytes(data, "big").bit_count()

    def do_bitpos(self, key: bytes, bit: bytes) -> int:
        if self.string(key) is None:
            return -1 if bit == b"1" else 0
        data = self.bytes_of(key)
        text = "".join(f"{byte:08b}" for byte in data)
        return len(text) if data and bit == b"0" and "0" not in text else text.find(bit.decode())

    def do_bitop(self, name: bytes, destination: bytes, *sources: bytes) -> int:
        if name == b"NOT" and len(sources) != 1:
            raise Failure("ERR")
        if name in (b"DIFF", b"DIFF1", b"ANDOR") and len(sources) < 2:
            raise Failure("ERR")
        texts = [self.bytes_of(key) for key in sources]
        n = max(map(len, texts))
        values = [int.from_bytes(data.ljust(n, b"\0"), "big") for data in texts]
        rest = reduce(int.__or__, values[1:], 0)
        result = {
            b"AND": reduce(int.__and__, values),
            b"OR": values[0] | rest,
            b"XOR": reduce(int.__xor__, values),
            b"NOT": (1 << 8 * n) - 1 - values[0],
            b"DIFF": values[0] & ~rest,
            b"DIFF1": rest & ~values[0],
            b"ANDOR": values[0] & rest,
            b"ONE": _one(values),
        }[name]
        if n:
            self.keys[destination] = Value(TYPE, result.to_bytes(n, "big"), -1, "raw")
        elif self.find(destination) is not None:
            del self.keys[destination]
        return n

    def do_bitfield(self, key: bytes, _incrby: bytes, unsigned: bytes, place: bytes, by: bytes) -> list[int]:
        """INCRBY of an unsigned integer that wraps."""
        at, width, amount = self._bit_place(place), int(unsigned[1:]), number(by)
        self.string(key)
        new = (self._bits_at(key, at, width) + amount) % (1 << width)
        self._put_bits(key, at, width, new)
        return [new]
