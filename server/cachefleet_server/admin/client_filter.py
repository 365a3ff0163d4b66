"""The filters of CLIENT LIST and CLIENT KILL: options to a predicate over clients.

A table of options; each makes a predicate from its value and its name, which error texts quote. Several options are
ANDed; the same option twice: the last counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachefleet_server.admin.arguments import SYNTAX, integer, text
from cachefleet_server.engine import Client, ClientFlag, Engine, Track
from cachefleet_server.errors import CommandError

TYPES = {b"normal": 0, b"slave": 1, b"replica": 1, b"pubsub": 2, b"master": 3, b"primary": 3}
LOOKUPS_MAX = 16  # ids; each is looked for in the list of all
FLAG_LETTERS = frozenset("bcdeirtuxABEIMNOPRSTU")  # those that Valkey knows; most say what does not exist here
CAPA_LETTERS = frozenset("r")
_LETTERS = (
    (ClientFlag.MONITOR, "O"), (ClientFlag.MULTI, "x"), (ClientFlag.BLOCKED, "b"), (ClientFlag.DIRTY_CAS, "d"),
    (ClientFlag.CLOSE_AFTER_REPLY, "c"), (ClientFlag.UNIX_SOCKET, "U"), (ClientFlag.CLOSE_ASAP, "A"),
    (ClientFlag.NO_EVICT, "e"), (ClientFlag.NO_TOUCH, "T"), (ClientFlag.IMPORT_SOURCE, "I"),
)  # fmt: skip
_TRACKS = ((Track.ON, "t"), (Track.BROKEN, "R"), (Track.BCAST, "B"))
_ORDER = "OSMPxbtRBdcUAeTI"
# The options in the syntax of COMMAND DOCS, as far as the two commands say the same of them.
_SINCE_9 = (
    "[NAME name:string@9.0.0]", "[IDLE idle:integer@9.0.0]", "[FLAGS flags:string@9.0.0]",
    "[LIB-NAME lib-name:string@9.0.0]", "[LIB-VER lib-ver:string@9.0.0]", "[DB db:integer@9.0.0]",
    "[CAPA capa:string@9.0.0]", "[IP ip:string@9.0.0]", "[NOT-TYPE not-client-type({})@9.0.0]",
    "[NOT-ID not-client-id:integer...@9.0.0]", "[NOT-USER not-username:string@9.0.0]",
    "[NOT-ADDR not-addr<ip:port>:string@9.0.0]", "[NOT-LADDR not-laddr<ip:port>:string@9.0.0]",
    "[NOT-NAME not-name:string@9.0.0]", "[NOT-FLAGS not-flags:string@9.0.0]",
    "[NOT-LIB-NAME not-lib-name:string@9.0.0]", "[NOT-LIB-VER not-lib-ver:string@9.0.0]",
    "[NOT-DB not-db:integer@9.0.0]", "[NOT-CAPA not-capa:string@9.0.0]", "[NOT-IP not-ip:string@9.0.0]",
)  # fmt: skip
LIST_SYNTAX = " ".join((
    "[TYPE client-type(NORMAL | MASTER | REPLICA | PUBSUB)@5.0.0]", "[ID client-id:integer...@6.2.0]",
    "[USER username:string@8.1.0]", "[ADDR addr<ip:port>:string@8.1.0]", "[LADDR laddr<ip:port>:string@8.1.0]",
    "[SKIPME skipme(YES | NO)@8.1.0]", "[MAXAGE maxage:integer@8.1.0]", *_SINCE_9,
)).format("NORMAL | MASTER | REPLICA | PUBSUB")  # fmt: skip
KILL_SYNTAX = "filter(old-format<ip:port>:string@-2.8.12 | new-format({})...)".format(" | ".join((
    "[ID client-id:integer...@2.8.12]",
    "[TYPE client-type(NORMAL | MASTER@3.2.0 | PRIMARY@8.0.0 | SLAVE | REPLICA@5.0.0 | PUBSUB)@2.8.12]",
    "[USER username:string]", "[ADDR addr<ip:port>:string]", "[LADDR laddr<ip:port>:string@6.2.0]",
    "[SKIPME skipme(YES | NO)]", "[MAXAGE maxage:integer@8.0.0]", *_SINCE_9,
)).format("NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | PUBSUB"))  # fmt: skip
_HISTORY_9 = (
    "; history 9.0.0 Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative filters "
    "NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, NOT-LIB-NAME, NOT-LIB-VER, NOT-DB, "
    "NOT-CAPA, NOT-IP."
)
_PRIMARY = (
    "; history 8.0.0 Replaced `master` `TYPE` with `primary`. `master` still supported for backward compatibility."
)
LIST_HISTORY = (
    "; history 2.8.12 Added unique client `id` field.; history 5.0.0 Added optional `TYPE` filter."
    "; history 6.0.0 Added `user` field."
    "; history 6.2.0 Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."
    "; history 7.0.0 Added `resp`, `multi-mem`, `rbs` and `rbp` fields.; history 7.0.3 Added `ssub` field."
    f"{_PRIMARY}; history 8.1.0 Added filters USER, ADDR, LADDR, SKIPME, and MAXAGE.{_HISTORY_9}"
)
KILL_HISTORY = (
    "; history 2.8.12 Added new filter format.; history 2.8.12 `ID` option."
    "; history 3.2.0 Added `master` type in for `TYPE` option."
    "; history 5.0.0 Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."
    f"; history 6.2.0 `LADDR` option.; history 8.0.0 `MAXAGE` option.{_PRIMARY}"
    f"; history 8.1.0 `ID` option accepts multiple IDs.{_HISTORY_9}"
)
Test = Callable[[Client], bool]
Maker = Callable[[bytes, str], Test]  # value, name of the option in capitals


@dataclass
class Filter:
    """Which clients are meant. `skip_me` is None when not asked for, `ids` when any id will do."""

    tests: dict[str, Test] = field(default_factory=dict)
    skip_me: bool | None = None
    ids: frozenset[int] | None = None

    def among(self, engine: Engine, me: int) -> list[Client]:
        """Those that match, the oldest first. A few ids are looked up: a view of each of 10 000 clients costs 5 ms."""
        if self.ids is None or len(self.ids) > LOOKUPS_MAX:
            candidates = engine.clients()
        else:
            looked_up = (engine.client(id) for id in sorted(self.ids))
            candidates = [
                client for client in looked_up
                if client is not None and not client.flags & ClientFlag.CLOSE_ASAP  # `clients()` leaves these out
            ]  # fmt: skip
        return [client for client in candidates if self.matches(client, me)]

    def matches(self, client: Client, me: int) -> bool:
        if self.skip_me and client.id == me:
            return False
        return all(test(client) for test in self.tests.values())


def flags_of(client: Client) -> str:
    """The letters of CLIENT LIST's flags field."""
    tracks = client.tracking[0] if client.tracking else 0
    shown = {letter for flag, letter in _LETTERS if client.flags & flag}
    shown |= {letter for mode, letter in _TRACKS if tracks & mode}
    if client.cls == TYPES[b"replica"]:
        shown.add("S")
    if client.cls == TYPES[b"primary"]:
        shown.add("M")
    if any(client.subscriptions):
        shown.add("P")
    return "".join(letter for letter in _ORDER if letter in shown) or "N"


def capa_of(client: Client) -> str:
    """The letters of CLIENT LIST's capa field."""
    return "r" if client.flags & ClientFlag.CAPA_REDIRECT else ""


def _by_type(value: bytes, _: str) -> Test:
    kind = TYPES.get(value.lower())
    if kind is None:
        raise CommandError(f"ERR Unknown client type '{text(value)}'")
    return lambda c: c.cls == kind


def _by_user(value: bytes, _: str) -> Test:
    if value != b"default":
        raise CommandError(f"ERR No such user '{text(value)}'")
    return lambda c: c.user == "default" and c.authenticated


def _seconds(value: bytes, name: str) -> int:
    seconds = integer(value, f"ERR {name.lower()} is not an integer or out of range")
    if seconds <= 0:
        raise CommandError(f"ERR {name.lower()} should be greater than 0")
    return seconds


def _by_age(value: bytes, name: str) -> Test:
    seconds = _seconds(value, name)
    return lambda c: c.age_ms // 1000 >= seconds


def _by_idle(value: bytes, name: str) -> Test:
    seconds = _seconds(value, name)
    return lambda c: c.idle_ms // 1000 >= seconds


def _letters(value: bytes, known: frozenset[str], what: str, name: str) -> set[str]:
    wanted = text(value)
    if not known.issuperset(wanted):
        where = f"{name} filter" if name.startswith("NOT-") else "provided filter"
        raise CommandError(f"ERR Unknown {what} found in the {where}: {wanted}")
    return set(wanted)


def _by_flags(value: bytes, name: str) -> Test:
    wanted = _letters(value, FLAG_LETTERS, "flags", name)
    return lambda c: wanted.issubset(flags_of(c))


def _by_capa(value: bytes, name: str) -> Test:
    wanted = _letters(value, CAPA_LETTERS, "capa", name)
    return lambda c: wanted.issubset(capa_of(c))


def _by_text(field: Callable[[Client], bytes]) -> Maker:
    """Equality; an empty text matches nobody, for it is what a client without one has."""
    return lambda value, _: lambda c: value != b"" and field(c) == value


def _by_address(field: Callable[[Client], str]) -> Maker:
    return lambda value, _: lambda c: field(c) == text(value)


def _ip(client: Client) -> str:
    return client.peer().rpartition(":")[0].strip("[]")


OPTIONS: dict[bytes, Maker] = {
    b"type": _by_type,
    b"user": _by_user,
    b"addr": _by_address(lambda c: c.peer()),
    b"laddr": _by_address(lambda c: c.local()),
    b"maxage": _by_age,
    b"idle": _by_idle,
    b"flags": _by_flags,
    b"name": _by_text(lambda c: c.name),
    b"lib-name": _by_text(lambda c: c.lib_name),
    b"lib-ver": _by_text(lambda c: c.lib_ver),
    b"capa": _by_capa,
    b"ip": _by_address(_ip),
}
NOT_NEGATED = frozenset((b"maxage", b"idle", b"skipme"))


def _by_db(databases: int) -> Maker:
    def make(value: bytes, name: str) -> Test:
        db = integer(value, f"ERR {name} is not an integer or out of range", low=-(2**31), high=2**31 - 1)
        if not 0 <= db < databases:
            raise CommandError(f"ERR {name} number should be between 0 and {databases - 1}")
        return lambda c: c.db == db

    return make


def parse(words: Sequence[bytes], databases: int) -> Filter:
    """Options from ["TYPE", "normal", "ID", "1", "2" ...]; most may be negated: "NOT-NAME x"."""
    options = {**OPTIONS, b"db": _by_db(databases)}
    found = Filter()
    at = 0
    while at < len(words):
        name = words[at].lower()
        plain = name.removeprefix(b"not-")
        negated = plain != name
        if at + 1 >= len(words) or (negated and plain in NOT_NEGATED):
            raise CommandError(SYNTAX)
        if plain == b"id":
            ids, at = _ids(words, at + 1)
            test: Test = lambda c, ids=ids: c.id in ids  # type: ignore[misc]  # noqa: E731
            if not negated:
                found.ids = ids
        elif plain == b"skipme":
            found.skip_me = _yes_no(words[at + 1])
            at += 2
            continue
        elif plain in options:
            test = options[plain](words[at + 1], name.decode().upper())
            at += 2
        else:
            raise CommandError(SYNTAX)
        found.tests[name.decode()] = (lambda c, t=test: not t(c)) if negated else test  # type: ignore[misc]
    return found


def _ids(words: Sequence[bytes], at: int) -> tuple[frozenset[int], int]:
    """One or more ids; the list ends where a word is no number."""
    ids = []
    for word in words[at:]:
        try:
            number = integer(word)
        except CommandError:
            break
        if number < 1:
            raise CommandError("ERR client-id should be greater than 0")
        ids.append(number)
    if not ids:
        raise CommandError(SYNTAX)
    return frozenset(ids), at + len(ids)


def _yes_no(word: bytes) -> bool:
    if word.lower() not in (b"yes", b"no"):
        raise CommandError(SYNTAX)
    return word.lower() == b"yes"
