"""`cachefleet rdb diff`: keys that only one of two files has, or that differ.

Three walks, and 24 bytes of memory a key of the first file (persistence/rdb_index.pyx):

    the first file    every record becomes a row of hashes
    the second one    a record without a row, or with another one, is told
    the first again   if rows are left that nobody asked for: these keys are told

Values are compared by a hash of their content, whatever their encoding; of a stream that is its entries, counters and
groups, but not when consumers were seen, which versions of the format disagree about.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from typing import Any, Final

from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_index import KEY_BYTES, VALUE_BYTES, RdbIndex
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.tools import text, values
from cachefleet_server.tools.outcome import Exit, Failure, of_error
from cachefleet_server.tools.walking import walking

TYPES: Final = (*values.LENGTHS,)  # by their number in a row
NEVER: Final = -1  # expires


def diff(options: argparse.Namespace) -> Exit:
    """Whatever keeps the files from being compared ends in 2, as in diff(1): 1 is for differences alone."""
    comparison = _Comparison(options)
    try:
        comparison.run()
    except BrokenPipeError:  # somebody has seen enough of them
        return Exit.FOUND
    except DataError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    except OSError as error:
        raise Failure(Exit.USAGE, of_error(error)) from None
    return Exit.FOUND if comparison.differences else Exit.OK


class _Comparison:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._first, self._second = options.first, options.second
        self._index = RdbIndex()
        self._only_first = self._only_second = self._differ = self._equal = 0

    @property
    def differences(self) -> int:
        return self._only_first + self._only_second + self._differ

    def run(self) -> None:
        with walking(self._first) as it:
            for record in it.chosen(self._options):
                self._index.add(_name(record), TYPES.index(record.type), _content(it.walk, record), _expire(record))
        twice = self._index.sort()
        if twice is not None:
            raise DataError(f"{self._first} is damaged: {self._shown(twice)} occurs twice")
        with walking(self._second) as it:
            for record in it.chosen(self._options):
                self._compare(it.walk, record)
        if self._index.unseen:
            with walking(self._first) as it:
                for record in it.chosen(self._options):
                    if not self._index.was_found(_name(record)):
                        self._only_first += 1
                        self._tell(record, first=_facts(record.type, _expire(record)))
        if self._options.output != "json" and self.differences:
            _print(
                f"{self._only_first} only in {self._first}, {self._only_second} only in {self._second}, "
                f"{self._differ} with differences, {self._equal} equal"
            )

    def _compare(self, walk: RdbWalk, record: Record) -> None:
        row = self._index.find(_name(record))
        second = _facts(record.type, _expire(record))
        if row is None:
            self._only_second += 1
            self._tell(record, second=second)
            return
        type, value, expire_ms = row
        first = _facts(TYPES[type], expire_ms)
        names = [name for name in ("type", "expire_ms") if first[name] != second[name]]
        if "type" not in names and _content(walk, record) != value:
            names.insert(0, "value")
        if not names:
            self._equal += 1
            return
        self._differ += 1
        self._tell(record, first, second, names)

    def _shown(self, name: bytes) -> str:
        with walking(self._first) as it:
            return next((f"{text.quoted(r.key)} of database {r.db}" for r in it.records() if _name(r) == name), "a key")

    def _tell(
        self,
        record: Record,
        first: dict[str, Any] | None = None,
        second: dict[str, Any] | None = None,
        names: list[str] | None = None,
    ) -> None:
        if self._options.output == "json":
            row = {"db": record.db, **text.named("key", record.key), "first": first, "second": second}
            _print(text.as_json({**row, "differs": names or []}))
            return
        facts = first or second
        assert facts is not None
        mark = "<" if second is None else ">" if first is None else "!"
        words = [mark, f"{record.db}", facts["type"], text.quoted(record.key)]
        if first and second:
            words += [_difference(name, first, second) for name in names or ()]
        _print(" ".join(words))


def _difference(name: str, first: dict[str, Any], second: dict[str, Any]) -> str:
    if name == "value":
        return "value"
    one, other = ("never" if facts[name] is None else facts[name] for facts in (first, second))
    return f"{name} {one} {other}"


def _facts(type: str, expire_ms: int) -> dict[str, Any]:
    return {"type": type, "expire_ms": None if expire_ms == NEVER else expire_ms}


def _expire(record: Record) -> int:
    return NEVER if record.expire_ms is None else record.expire_ms


def _name(record: Record) -> bytes:
    return hashlib.blake2b(b"%d %b" % (record.db, record.key), digest_size=KEY_BYTES).digest()


def _content(walk: RdbWalk, record: Record) -> bytes:
    parts = hashlib.blake2b(walk.digest(), digest_size=VALUE_BYTES)
    for part in values.beside_digest(walk, record):
        parts.update(part)
    return parts.digest()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
