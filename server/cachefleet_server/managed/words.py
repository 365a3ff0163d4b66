"""The family CACHEFLEET on the wire: requests to events, actions to replies; and what servers say to each other.

CACHEFLEET RECORD <disk> epoch E tenure T kind K primary <disk> run <id> set <disk,...> acks A from <tenure>:<offset>
           data-set <id> durability D address <host> <port> [claim <uid>]
CACHEFLEET FENCE <disk> <epoch> [claim <uid>]
CACHEFLEET PREPARE <disk> <epoch> <disk,...> <acks>
CACHEFLEET PAUSE <disk> <epoch> <ms>
CACHEFLEET RESUME <disk> <epoch>

+cachefleet <epoch> <disk> <data set> <tenure>:<offset>,...      a primary's answer to REPLCONF cachefleet
PING cachefleet:<epoch>                                          a beat
PING cachefleet:<epoch>:promptly                                 ... of who wants each tick confirmed
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cachefleet_server.errors import CommandError
from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed.state import DURABILITIES, KINDS, Greeting, Position, Quorum, Record, Start
from cachefleet_server.replies import OK, Reply, Simple

SYNTAX: Final = "ERR syntax error"
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,17}")
_NAME: Final = re.compile("[0-9A-Za-z_.-]{1,64}")
_HOST: Final = re.compile("[0-9A-Za-z_.:-]{1,255}")
_BEAT: Final = re.compile(rb"cachefleet:([1-9][0-9]{0,17})(:promptly)?")
_GREETING: Final = "cachefleet"


def number(word: str, name: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise CommandError(f"ERR {name} is no number, or out of range")
    return int(word)


def name(word: str, what: str) -> str:
    if not _NAME.fullmatch(word):
        raise CommandError(f"ERR {what} is no id")
    return word


def one_of(word: str, what: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise CommandError(f"ERR {what} is one of {', '.join(words)}")
    return word


def position(word: str, what: str) -> Position:
    tenure, colon, offset = word.partition(":")
    if not colon:
        raise CommandError(f"ERR {what} is <tenure>:<offset>")
    return Position(number(tenure, what), number(offset, what))


def members(word: str) -> frozenset[str]:
    return frozenset(name(disk, "a member of the set") for disk in word.split(","))


def quorum(disks: str, acks: str) -> Quorum:
    wanted = Quorum(members(disks), number(acks, "acks"))
    if wanted.acks >= len(wanted.members) or (wanted.acks == 0 and len(wanted.members) > 1):
        raise CommandError("ERR the set must have more members than acks, and one only if there are none")
    return wanted


# ---- requests: the words behind the subcommand ----


def record(words: list[str], end: int) -> e.Told:
    if len(words) < 3:
        raise CommandError(SYNTAX)
    said: dict[str, str] = {}
    at, port = 1, ""
    while at + 1 < len(words):
        field = words[at].lower()
        if field in said or field not in _FIELDS:
            raise CommandError(f"ERR RECORD does not take {field!r} here")
        said[field] = words[at + 1]
        at += 2
        if field == "address" and at < len(words):
            port = words[at]
            at += 1
    if at != len(words) or (missing := [field for field in _FIELDS if field not in said and field != "claim"]):
        raise CommandError(SYNTAX if at != len(words) else f"ERR RECORD lacks {', '.join(missing)}")
    if not _HOST.fullmatch(said["address"]) or not 0 < number(port, "port") <= 65535:
        raise CommandError("ERR address is <host> <port>")
    told = Record(
        epoch=number(said["epoch"], "epoch"),
        tenure=number(said["tenure"], "tenure"),
        kind=one_of(said["kind"], "kind", KINDS),
        primary=name(said["primary"], "primary"),
        run=name(said["run"], "run"),
        quorum=quorum(said["set"], said["acks"]),
        start=position(said["from"], "from"),
        data_set=name(said["data-set"], "data-set"),
        durability=one_of(said["durability"], "durability", DURABILITIES),
        address=(said["address"], int(port)),
    )
    if told.primary not in told.quorum.members or not 0 < told.tenure <= told.epoch:
        raise CommandError("ERR the primary is a member of the set, and its tenure not newer than the epoch")
    return e.Told(name(words[0], "disk"), told, name(said["claim"], "claim") if "claim" in said else "", end)


_FIELDS: Final = (
    "epoch", "tenure", "kind", "primary", "run", "set", "acks", "from", "data-set", "durability", "address", "claim",
)  # fmt: skip


def fence(words: list[str], end: int) -> e.Fence:
    if len(words) not in (2, 4) or (len(words) == 4 and words[2].lower() != "claim"):
        raise CommandError(SYNTAX)
    claim = name(words[3], "claim") if len(words) == 4 else ""
    return e.Fence(name(words[0], "disk"), _epoch(words[1]), claim, end)


def prepare(words: list[str], end: int) -> e.Prepare:
    disk, epoch, disks, acks = words
    return e.Prepare(name(disk, "disk"), _epoch(epoch), quorum(disks, acks), end)


def pause(words: list[str], end: int) -> e.Pause:
    disk, epoch, ms = words
    return e.Pause(name(disk, "disk"), _epoch(epoch), number(ms, "ms"))


def resume(words: list[str], end: int) -> e.Resume:
    disk, epoch = words
    return e.Resume(name(disk, "disk"), _epoch(epoch))


def _epoch(word: str) -> int:
    epoch = number(word, "epoch")
    if not epoch:
        raise CommandError("ERR epochs begin with 1")
    return epoch


Parse = Callable[[list[str], int], e.Event]


def event(parse: Parse, argv: list[bytes], end: int) -> e.Event:
    """Of CACHEFLEET <subcommand> ...; arity is the command table's to check. Raises CommandError."""
    return parse([word.decode("utf-8", "surrogateescape") for word in argv[2:]], end)


# ---- replies ----


def reply(actions: list[a.Action]) -> Reply:
    """What the command that led to these actions is replied. Raises CommandError."""
    for action in actions:
        match action:
            case a.Refuse(word, text):
                raise CommandError(f"{word} {text}")
            case a.Done(word):
                return OK if word == "OK" else Simple(word)
            case a.Facts():
                return facts(action)
            case a.Greet(greeting):
                return Simple(greet(greeting))
    raise AssertionError("a command without a reply")


def facts(said: a.Facts) -> dict[str, str | int]:
    age = said.confirmed_age
    return {
        "disk": said.disk,
        "run": said.run,
        "tenure": said.position.tenure,
        "offset": said.position.offset,
        "marked": said.position.tenure,
        "reign": said.reign,
        "confirmed-age-ms": "" if age is None else int(age * 1000),
        "data-set": said.data_set,
    }


# ---- between servers ----


def greet(greeting: Greeting) -> str:
    starts = ",".join(f"{start.tenure}:{start.offset}" for start in greeting.starts)
    return f"{_GREETING} {greeting.epoch} {greeting.disk} {greeting.data_set or '-'} {starts or '-'}"


def greeting(line: str) -> Greeting:
    """Raises CommandError."""
    words = line.split(" ")
    if len(words) != 5 or words[0] != _GREETING:
        raise CommandError("ERR that is no greeting")
    _, epoch, disk, data_set, starts = words
    pairs = [position(pair, "a tenure") for pair in starts.split(",")] if starts != "-" else []
    known = "" if data_set == "-" else name(data_set, "data-set")
    return Greeting(number(epoch, "epoch"), name(disk, "disk"), known, tuple(Start(*pair) for pair in pairs))


def beat(epoch: int, *, promptly: bool) -> bytes:
    """In RESP, as it is in the stream."""
    word = b"cachefleet:%d%b" % (epoch, b":promptly" if promptly else b"")
    return b"*2\r\n$4\r\nPING\r\n$%d\r\n%b\r\n" % (len(word), word)


def heard(word: bytes, end: int) -> e.Heard | None:
    """Of a PING's argument; None: it is no beat."""
    match = _BEAT.fullmatch(word)
    return e.Heard(int(match[1]), end, promptly=match[2] is not None) if match else None
