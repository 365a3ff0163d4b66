"""The filters of CLIENT LIST and CLIENT KILL: options to a predicate over clients.

A table of options; each makes a predicate from its value. Several options are ANDed; the same option twice: the last
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachefleet_server.admin.arguments import SYNTAX, integer, text
from cachefleet_server.engine import Client
from cachefleet_server.errors import CommandError

TYPES = {b"normal": 0, b"slave": 1, b"replica": 1, b"pubsub": 2, b"master": 3, b"primary": 3}
FLAG_LETTERS = frozenset("AbBcdeIMNOPrRSTtuUx")
Test = Callable[[Client], bool]


@dataclass
class Filter:
    """Which clients are meant. `skip_me` is None when not asked for."""

    tests: dict[str, Test] = field(default_factory=dict)
    skip_me: bool | None = None

    def matches(self, client: Client, me: int) -> bool:
        if self.skip_me and client.id == me:
            return False
        return all(test(client) for test in self.tests.values())


def flags_of(client: Client) -> str:
    """The letters of CLIENT LIST's flags field."""
    letters = ""
    for bit, letter in ((11, "O"), (0, "x"), (5, "b"), (1, "d"), (3, "c"), (15, "U"), (4, "A"), (13, "e"), (14, "T")):
        if client.flags >> bit & 1:
            letters += letter
    if client.flags >> 22 & 1:
        letters += "I"
    return letters or "N"


def _by_type(value: bytes) -> Test:
    kind = TYPES.get(value.lower())
    if kind is None:
        raise CommandError(f"ERR Unknown client type '{text(value)}'")
    return lambda c: c.cls == kind


def _by_user(value: bytes) -> Test:
    if value != b"default":
        raise CommandError(f"ERR No such user '{text(value)}'")
    return lambda c: c.user == "default" and c.authenticated


def _by_age(value: bytes) -> Test:
    seconds = integer(value, "ERR maxage is not an integer or out of range")
    if seconds <= 0:
        raise CommandError("ERR maxage should be greater than 0")
    return lambda c: c.age_ms // 1000 >= seconds


def _by_idle(value: bytes) -> Test:
    seconds = integer(value, "ERR idle is not an integer or out of range")
    if seconds <= 0:
        raise CommandError("ERR idle should be greater than 0")
    return lambda c: c.idle_ms // 1000 >= seconds


def _by_flags(value: bytes) -> Test:
    letters = text(value)
    unknown = [x for x in letters if x not in FLAG_LETTERS]
    if unknown or not letters:
        raise CommandError(f"ERR Unknown flags found in the provided filter: {letters}")
    return lambda c: set(letters) <= set(flags_of(c))


def _by_db(value: bytes) -> Test:
    db = integer(value, "ERR DB is not an integer or out of range", low=0, high=2**31 - 1)
    return lambda c: c.db == db


def _by_capa(value: bytes) -> Test:
    if value.lower() not in (b"r", b"redirect"):
        raise CommandError(f"ERR Unknown capa found in the provided filter: {text(value)}")
    return lambda c: bool(c.flags >> 23 & 1)


OPTIONS: dict[bytes, Callable[[bytes], Test]] = {
    b"type": _by_type,
    b"user": _by_user,
    b"addr": lambda v: lambda c: c.peer() == text(v),
    b"laddr": lambda v: lambda c: c.local() == text(v),
    b"maxage": _by_age,
    b"idle": _by_idle,
    b"flags": _by_flags,
    b"name": lambda v: lambda c: c.name == v,
    b"lib-name": lambda v: lambda c: c.lib_name == v,
    b"lib-ver": lambda v: lambda c: c.lib_ver == v,
    b"db": _by_db,
    b"capa": _by_capa,
    b"ip": lambda v: lambda c: c.peer().rpartition(":")[0].strip("[]") == text(v),
}
# each may also be negated ("NOT-NAME x")


def parse(words: Sequence[bytes]) -> Filter:
    """Options from ["TYPE", "normal", "ID", "1", "2" ...]."""
    found = Filter()
    at = 0
    while at < len(words):
        name = words[at].lower()
        negated = name.startswith(b"not-")
        plain = name[4:] if negated else name
        if at + 1 >= len(words):
            raise CommandError(SYNTAX)
        if plain == b"id":
            ids, at = _ids(words, at + 1)
            test: Test = lambda c, ids=ids: c.id in ids  # type: ignore[misc]  # noqa: E731
        elif plain == b"skipme" and not negated:
            found.skip_me = _yes_no(words[at + 1])
            at += 2
            continue
        elif plain in OPTIONS:
            test = OPTIONS[plain](words[at + 1])
            at += 2
        else:
            raise CommandError(SYNTAX)
        found.tests[name.decode()] = (lambda c, t=test: not t(c)) if negated else test  # type: ignore[misc]
    return found


def _ids(words: Sequence[bytes], at: int) -> tuple[frozenset[int], int]:
    """One or more ids; the list ends where a word is no number."""
    ids = set()
    while at < len(words) and words[at].removeprefix(b"-").isdigit():
        ids.add(integer(words[at], "ERR client-id should be greater than 0", low=1))
        at += 1
    if not ids:
        raise CommandError(SYNTAX)
    return frozenset(ids), at


def _yes_no(word: bytes) -> bool:
    if word.lower() not in (b"yes", b"no"):
        raise CommandError(SYNTAX)
    return word.lower() == b"yes"
