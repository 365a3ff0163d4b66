"""RDB files in plain Python: an independent reader, and a writer of files that no server would write.

    parse(data) -> File(version, valkey, aux, records, checksum)       raises ValueError
    parse(data).times()                                                when members expire
    Builder().select(0).key(b"k", b"v", expire_ms=...).end()           bytes of a file, with a right checksum

Both are written from the format's description and share nothing with the server's code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_POLYNOMIAL = 0x95AC9329AC4BC9B5  # 0xad93d23594c935a9, reflected


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1
        table.append(crc)
    return table


_TABLE = _table()


def crc64(data: bytes, crc: int = 0) -> int:
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc


def length(n: int) -> bytes:
    if n < 64:
        return bytes([n])
    if n < 16384:
        return struct.pack(">H", 0x4000 | n)
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def string(data: bytes) -> bytes:
    """Plain, without integer or LZF forms."""
    return length(len(data)) + data


def dump(value: bytes, version: int = 10) -> bytes:
    """A DUMP payload from a type byte and what follows it."""
    body = value + struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


class Builder:
    """Appends to a file; `data` is what is there so far."""

    def __init__(self, magic: bytes = b"REDIS0010") -> None:
        self.data = magic

    def raw(self, data: bytes) -> Builder:
        self.data += data
        return self

    def aux(self, name: bytes, value: bytes) -> Builder:
        return self.raw(b"\xfa" + string(name) + string(value))

    def select(self, db: int) -> Builder:
        return self.raw(b"\xfe" + length(db))

    def sizes(self, keys: int, expires: int = 0) -> Builder:
        return self.raw(b"\xfb" + length(keys) + length(expires))

    def key(
        self,
        key: bytes,
        value: bytes,
        *,
        expire_ms: int | None = None,
        idle_s: int | None = None,
        frequency: int | None = None,
    ) -> Builder:
        if expire_ms is not None:
            self.raw(b"\xfc" + struct.pack("<q", expire_ms))
        if idle_s is not None:
            self.raw(b"\xf8" + length(idle_s))
        if frequency is not None:
            self.raw(b"\xf9" + bytes([frequency]))
        return self.raw(b"\x00" + string(key) + string(value))

    def end(self, *, checksum: int | None = None) -> bytes:
        data = self.data + b"\xff"
        return data + struct.pack("<Q", crc64(data) if checksum is None else checksum)


class Fields(frozenset[tuple[bytes, bytes]]):
    """A hash."""


class Scores(tuple[tuple[bytes, float], ...]):
    """A sorted set, in its order."""


class Entries(tuple[tuple[bytes, tuple[bytes, ...]], ...]):
    """A stream: ids, and fields with their values."""


Data = bytes | tuple[bytes, ...] | Fields | frozenset[bytes] | Scores | Entries
# a string, a list, a hash, a set, a sorted set, a stream
Times = dict[bytes, int]  # of members that expire: unix time in ms


class Record(NamedTuple):
    db: int
    key: bytes
    value: Data
    expire_ms: int | None
    idle_s: int | None
    frequency: int | None
    times: Times


@dataclass
class File:
    version: int = 0
    valkey: bool = False
    aux: dict[bytes, bytes] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    checksum: int = 0
    compressed: int = 0  # strings that were

    def databases(self) -> dict[int, dict[bytes, tuple[Data, int | None]]]:
        """db -> key -> (value, expire); raises ValueError when a key occurs twice."""
        result: dict[int, dict[bytes, tuple[Data, int | None]]] = {}
        for record in self.records:
            keys = result.setdefault(record.db, {})
            if record.key in keys:
                raise ValueError(f"key {record.key!r} twice in db {record.db}")
            keys[record.key] = (record.value, record.expire_ms)
        return result

    def times(self) -> dict[int, dict[bytes, Times]]:
        """db -> key -> times, of keys with members that expire."""
        result: dict[int, dict[bytes, Times]] = {}
        for record in self.records:
            if record.times:
                result.setdefault(record.db, {})[record.key] = record.times
        return result


class _Reader:
    def __init__(self, data: bytes, decompress: Callable[[bytes, int], bytes]) -> None:
        self.data = data
        self.decompress = decompress
        self.at = 0
        self.compressed = 0
        self.times: Times = {}  # of the value that is read

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise ValueError(f"short at {self.at}")
        self.at += n
        return self.data[self.at - n : self.at]

    def length(self) -> tuple[int, bool]:
        first = self.take(1)[0]
        if first < 64:
            return first, False
        if first < 128:
            return (first & 63) << 8 | self.take(1)[0], False
        if first == 0x80:
            return int.from_bytes(self.take(4), "big"), False
        if first == 0x81:
            return int.from_bytes(self.take(8), "big"), False
        if first < 0xC0:
            raise ValueError(f"length code {first} at {self.at}")
        return first & 63, True

    def number(self) -> int:
        n, special = self.length()
        if special:
            raise ValueError(f"no number at {self.at}")
        return n

    def string(self) -> bytes:
        n, special = self.length()
        if not special:
            return self.take(n)
        if n < 3:
            return str(int.from_bytes(self.take(1 << n), "little", signed=True)).encode()
        if n != 3:
            raise ValueError(f"string form {n} at {self.at}")
        packed, plain = self.number(), self.number()
        self.compressed += 1
        value = self.decompress(self.take(packed), plain)
        if len(value) != plain:
            raise ValueError(f"compressed string has {len(value)} bytes, not {plain}")
        return value


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Of any size, which the caller compares."""
    out = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        n = control >> 5
        if n == 7:
            n += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        if start < 0:
            raise ValueError("reference before the beginning")
        for i in range(n + 2):
            out.append(out[start + i])
    return bytes(out)


def nodes_of_list(data: bytes) -> list[tuple[bool, bytes]]:
    """(is it one element alone, its bytes or listpack) of a value of type 18."""
    reader = _Reader(data, lzf_decompress)
    count = reader.number()
    return [(reader.number() == 1, reader.string()) for _ in range(count)]


def listpack(data: bytes) -> list[bytes]:
    """The elements of a listpack."""
    if int.from_bytes(data[:4], "little") != len(data) or data[-1] != 255:
        raise ValueError("no listpack")
    found: list[bytes] = []
    at = 6
    while at < len(data) - 1:
        element, size = _code(data, at)
        found.append(element)
        back = 1 + sum(size >= 1 << bits for bits in (7, 14, 21, 28))
        length = sum((byte & 127) << 7 * i for i, byte in enumerate(reversed(data[at + size : at + size + back])))
        if length != size:
            raise ValueError(f"back-length {length}, not {size}, at {at}")
        at += size + back
    if int.from_bytes(data[4:6], "little") not in (len(found), 65535):
        raise ValueError("wrong count of elements")
    return found


def _code(data: bytes, at: int) -> tuple[bytes, int]:
    """An element of a listpack, and the size of its code."""
    first = data[at]
    if first < 0x80:
        return b"%d" % first, 1
    if 0xC0 <= first < 0xE0:
        value = (first & 31) << 8 | data[at + 1]
        return b"%d" % (value - 8192 if value >= 4096 else value), 2
    if first in (0xF1, 0xF2, 0xF3, 0xF4):
        size = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[first]
        return b"%d" % int.from_bytes(data[at + 1 : at + 1 + size], "little", signed=True), 1 + size
    if first < 0xC0:
        head, size = 1, first & 63
    elif first < 0xF0:
        head, size = 2, (first & 15) << 8 | data[at + 1]
    elif first == 0xF0:
        head, size = 5, int.from_bytes(data[at + 1 : at + 5], "little")
    else:
        raise ValueError(f"code {first} in a listpack at {at}")
    return data[at + head : at + head + size], head + size


def _quicklist(reader: _Reader) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for _ in range(reader.number()):
        kind, node = reader.number(), reader.string()
        if kind not in (1, 2):
            raise ValueError(f"node of kind {kind}")
        found += listpack(node) if kind == 2 else [node]
    return tuple(found)


def _fields(words: list[bytes]) -> Fields:
    found = Fields(zip(words[::2], words[1::2], strict=True))
    if len({name for name, _ in found}) != len(words) // 2:
        raise ValueError("a field comes twice")
    return found


def _hash(reader: _Reader) -> Fields:
    return _fields([reader.string() for _ in range(2 * reader.number())])


def _packed_hash(reader: _Reader) -> Fields:
    return _fields(listpack(reader.string()))


def _distinct(members: list[bytes]) -> frozenset[bytes]:
    if not members or len(set(members)) != len(members):
        raise ValueError("a set that is empty, or with a member twice")
    return frozenset(members)


def _set(reader: _Reader) -> frozenset[bytes]:
    return _distinct([reader.string() for _ in range(reader.number())])


def intset(data: bytes) -> list[bytes]:
    width, count = struct.unpack_from("<II", data)
    if width not in (2, 4, 8) or len(data) != 8 + width * count:
        raise ValueError("no intset")
    numbers = [int.from_bytes(data[at : at + width], "little", signed=True) for at in range(8, len(data), width)]
    if numbers != sorted(numbers):
        raise ValueError("an intset out of order")
    return [b"%d" % number for number in numbers]


def scores(pairs: Iterable[tuple[bytes, float]]) -> Scores:
    """In the order of a sorted set."""
    found = Scores(sorted(pairs, key=lambda pair: (pair[1], pair[0])))
    if len(dict(found)) != len(found):
        raise ValueError("a member comes twice")
    return found


def _score(reader: _Reader) -> float:
    return float(struct.unpack("<d", reader.take(8))[0])


def _scores(reader: _Reader) -> Scores:
    return scores([(reader.string(), _score(reader)) for _ in range(reader.number())])


def _timed(reader: _Reader, name: bytes) -> None:
    at = int.from_bytes(reader.take(8), "little", signed=True)
    if at < -1:
        raise ValueError(f"a time of {at}")
    if at != -1:
        reader.times[name] = at


def _timed_hash(reader: _Reader) -> Fields:
    words: list[bytes] = []
    for _ in range(reader.number()):
        words += [reader.string(), reader.string()]
        _timed(reader, words[-2])
    return _fields(words)


def _timed_set(reader: _Reader) -> frozenset[bytes]:
    members: list[bytes] = []
    for _ in range(reader.number()):
        members.append(reader.string())
        _timed(reader, members[-1])
    return _distinct(members)


def _timed_scores(reader: _Reader) -> Scores:
    pairs: list[tuple[bytes, float]] = []
    for _ in range(reader.number()):
        pairs.append((reader.string(), _score(reader)))
        _timed(reader, pairs[-1][0])
    return scores(pairs)


def _packed_scores(reader: _Reader) -> Scores:
    words = listpack(reader.string())
    pairs = tuple((member, float(score)) for member, score in zip(words[::2], words[1::2], strict=True))
    if scores(pairs) != pairs:
        raise ValueError("a sorted set in another order")
    return Scores(pairs)


def block(master: bytes, data: bytes) -> list[tuple[bytes, tuple[bytes, ...]]]:
    """The entries of a stream's block that are not deleted."""
    ms, seq = struct.unpack(">QQ", master)
    words = listpack(data)
    count, deleted, fields = (int(word) for word in words[:3])
    names, at = words[3 : 3 + fields], 4 + fields
    if words[at - 1] != b"0":
        raise ValueError("a stream's block without an end of its fields")
    found, gone = [], 0
    while at < len(words):
        flags = int(words[at])
        own = [] if flags & 2 else words[at + 4 : at + 4 + 2 * int(words[at + 3])]
        values = words[at + 3 : at + 3 + fields] if flags & 2 else own[1::2]
        id = b"%d-%d" % ((ms + int(words[at + 1])) % 2**64, (seq + int(words[at + 2])) % 2**64)
        size = 3 + fields if flags & 2 else 4 + len(own)
        if int(words[at + size]) != size:
            raise ValueError("a stream's entry of another size")
        at += size + 1
        if flags & 1:
            gone += 1
        else:
            pairs = zip(names if flags & 2 else own[::2], values, strict=True)
            found.append((id, tuple(word for pair in pairs for word in pair)))
    if (len(found), gone) != (count, deleted):
        raise ValueError("a stream's block with other counts")
    return found


def _stream(reader: _Reader, kind: int) -> Entries:
    found = [entry for _ in range(reader.number()) for entry in block(reader.string(), reader.string())]
    length = reader.number()
    if length != len(found):
        raise ValueError("a stream of another length")
    for _ in range(2 if kind == 15 else 7):
        reader.number()
    for _ in range(reader.number()):
        _group(reader, kind)
    return Entries(found)


def _group(reader: _Reader, kind: int) -> None:
    reader.string()
    for _ in range(2 if kind == 15 else 3):
        reader.number()
    pending = [(reader.take(16), reader.take(8), reader.number()) for _ in range(reader.number())]
    owned = [id for _ in range(reader.number()) for id in _consumer(reader, kind)]
    if sorted(owned) != [id for id, _, _ in pending]:
        raise ValueError("a group's pending entries are not those of its consumers")


def _consumer(reader: _Reader, kind: int) -> list[bytes]:
    reader.string()
    reader.take(16 if kind == 21 else 8)
    return [reader.take(16) for _ in range(reader.number())]


_TYPES: dict[int, Callable[[_Reader], Data]] = {
    0: _Reader.string,
    2: _set,
    4: _hash,
    5: _scores,
    11: lambda reader: _distinct(intset(reader.string())),
    15: lambda reader: _stream(reader, 15),
    16: _packed_hash,
    17: _packed_scores,
    18: _quicklist,
    19: lambda reader: _stream(reader, 19),
    20: lambda reader: _distinct(listpack(reader.string())),
    21: lambda reader: _stream(reader, 21),
    22: _timed_hash,  # of Valkey's dialect
    62: _timed_set,  # these two of our own
    63: _timed_scores,
}


def parse(data: bytes, decompress: Callable[[bytes, int], bytes] = lzf_decompress) -> File:
    """Reads a whole file and checks its checksum (unless it is zero)."""
    reader, file = _Reader(data, decompress), File()
    magic = reader.take(9)
    file.valkey = magic.startswith(b"VALKEY")
    file.version = int(magic[6:] if file.valkey or magic.startswith(b"CFLEET") else magic[5:])
    db, expire, idle, frequency = 0, None, None, None
    while (opcode := reader.take(1)[0]) != 255:
        if opcode == 254:
            db = reader.number()
        elif opcode == 251:
            file.sizes[db] = (reader.number(), reader.number())
        elif opcode == 250:
            name = reader.string()
            file.aux[name] = reader.string()
        elif opcode == 252:
            expire = int.from_bytes(reader.take(8), "little", signed=True)
        elif opcode == 248:
            idle = reader.number()
        elif opcode == 249:
            frequency = reader.take(1)[0]
        elif opcode in _TYPES:
            key, reader.times = reader.string(), {}
            value = _TYPES[opcode](reader)
            file.records.append(Record(db, key, value, expire, idle, frequency, reader.times))
            expire, idle, frequency = None, None, None
        else:
            raise ValueError(f"opcode or type {opcode} at {reader.at - 1}")
    body = data[: reader.at]
    file.checksum = int.from_bytes(reader.take(8), "little")
    if file.checksum and file.checksum != crc64(body):
        raise ValueError("wrong checksum")
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes after the end")
    file.compressed = reader.compressed
    return file
