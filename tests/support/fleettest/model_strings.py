"""Strings and numbers."""

from __future__ import annotations

from dataclasses import replace

from fleettest.model_base import Base, Failure, Value, number

STRING_MAX = 512 << 20
TYPE = "string"
EMBSTR_MAX = 128  # bytes of Valkey's object with key and value, up to which it is an embstr


def is_int(data: bytes) -> bool:
    try:
        value = int(data)
    except ValueError:
        return False
    return b"%d" % value == data and -(2**63) <= value < 2**63


def _header(key: bytes, expires: bool) -> int:
    return 8 + 8 * expires + 1 + (2 if len(key) < 32 else 4) + len(key)


def label(key: bytes, data: bytes, had_expiry: bool) -> str:
    """The encoding of a string that SET has just stored."""
    if is_int(data):
        return "int"
    return "embstr" if _header(key, had_expiry) + 4 + len(data) <= EMBSTR_MAX else "raw"


class Strings(Base):
    def string(self, key: bytes) -> Value | None:
        return self.find(key, TYPE)

    def bytes_of(self, key: bytes) -> bytes:
        value = self.string(key)
        return value.data if value is not None else b""

    def expiring(self, key: bytes, value: Value, at: int) -> Value:
        """A first expiry makes an embstr raw when its key leaves no room at all."""
        if value.encoding == "embstr" and at != -1 and value.expire == -1 and _header(key, True) > EMBSTR_MAX:
            value = replace(value, encoding="raw")
        return super().expiring(key, value, at)

    def moved(self, key: bytes, value: Value) -> Value:
        """An embstr may become raw, nothing becomes embstr."""
        if value.encoding == "embstr" and label(key, value.data, False) == "raw":
            value = replace(value, encoding="raw")
        return self.expiring(key, replace(value, expire=-1), value.expire)

    def _store(self, key: bytes, data: bytes, encoding: str = "raw") -> None:
        """Keeps the expiry."""
        old = self.find(key)
        value = replace(old, data=data, encoding=encoding) if old is not None else Value(TYPE, data, -1, encoding)
        self.keys[key] = value

    def _times(self, options: list[bytes]) -> int | None:
        """Takes PX, PXAT or EX with its number off the options: the unix time in ms."""
        for word, base, unit in ((b"PX", self.now, 1), (b"PXAT", 0, 1), (b"EX", self.now, 1000)):
            if word in options:
                at = options.index(word)
                value = number(options[at + 1])
                if value <= 0:
                    raise Failure("ERR")
                del options[at : at + 2]
                return base + value * unit
        return None

    def do_set(self, key: bytes, data: bytes, *options: bytes) -> object:
        words = list(options)
        expire = self._times(words)
        old = self.find(key)
        reply: object = "OK"
        if b"GET" in words:
            reply = old.data if old is not None else None
            if old is not None and old.type != TYPE:
                raise Failure("WRONGTYPE")
        if (b"NX" in words and old is not None) or (b"XX" in words and old is None):
            return reply if b"GET" in words else None
        if b"KEEPTTL" in words and old is not None:
            expire = old.expire
        had = old is not None and old.expire != -1
        value = Value(TYPE, data, old.expire if old is not None else -1, label(key, data, had))
        self.put(key, self.expiring(key, value, -1 if expire is None else expire))
        return reply

    def do_setnx(self, key: bytes, data: bytes) -> int:
        return 0 if self.do_set(key, data, b"NX") is None else 1

    def do_get(self, key: bytes) -> bytes | None:
        value = self.string(key)
        return value.data if value is not None else None

    def do_getset(self, key: bytes, data: bytes) -> bytes | None:
        old = self.do_get(key)
        self.do_set(key, data)
        return old

    def do_getdel(self, key: bytes) -> bytes | None:
        old = self.do_get(key)
        self.keys.pop(key, None)
        return old

    def do_getex(self, key: bytes, *options: bytes) -> bytes | None:
        words = list(options)
        expire = self._times(words)
        value = self.string(key)
        if value is None:
            return None
        if expire is not None:
            self.put(key, self.expiring(key, value, expire))
        elif words == [b"PERSIST"]:
            self.keys[key] = replace(value, expire=-1)
        data: bytes = value.data
        return data

    def do_mget(self, *keys: bytes) -> list[bytes | None]:
        found = [self.find(key) for key in keys]
        return [value.data if value is not None and value.type == TYPE else None for value in found]

    def do_mset(self, *pairs: bytes) -> str:
        for key, data in zip(pairs[::2], pairs[1::2], strict=True):
            self.do_set(key, data)
        return "OK"

    def do_msetnx(self, *pairs: bytes) -> int:
        if self.do_exists(*pairs[::2]):
            return 0
        self.do_mset(*pairs)
        return 1

    def do_strlen(self, key: bytes) -> int:
        return len(self.bytes_of(key))

    def do_append(self, key: bytes, tail: bytes) -> int:
        data = self.bytes_of(key) + tail
        self._store(key, data, "raw" if self.find(key) is not None else label(key, tail, False))
        return len(data)

    def do_setrange(self, key: bytes, offset: bytes, part: bytes) -> int:
        at = number(offset)
        if at < 0:
            raise Failure("ERR")
        data = self.bytes_of(key)
        if not part:
            return len(data)
        if at + len(part) > STRING_MAX:
            raise Failure("ERR")
        data = data.ljust(at, b"\0")
        data = data[:at] + part + data[at + len(part) :]
        self._store(key, data)
        return len(data)

    def do_getrange(self, key: bytes, start: bytes, end: bytes) -> bytes:
        i, j = number(start), number(end)
        data = self.bytes_of(key)
        if i < 0 and j < 0 and i > j:
            return b""
        i = max(i + len(data), 0) if i < 0 else i
        j = max(j + len(data), 0) if j < 0 else j
        return data[i : min(j, len(data) - 1) + 1]

    def do_incrby(self, key: bytes, by: bytes) -> int:
        amount = number(by)
        value = self.string(key)
        result = (number(value.data) if value is not None else 0) + amount
        if not -(2**63) <= result < 2**63:
            raise Failure("ERR")
        self._store(key, b"%d" % result, "int")
        return result

    def do_incr(self, key: bytes) -> int:
        return self.do_incrby(key, b"1")

    def do_decr(self, key: bytes) -> int:
        return self.do_incrby(key, b"-1")

    def do_decrby(self, key: bytes, by: bytes) -> int:
        if by == b"-9223372036854775808":
            raise Failure("ERR")
        return self.do_incrby(key, b"%d" % -number(by))
