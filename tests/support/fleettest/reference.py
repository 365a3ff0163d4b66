"""The same commands to our server and to the real one; raw replies must be the same bytes.

    pair = Pair(ours, theirs, resp=3)
    pair.run("SET", "k", "v", "EX", "0")        compares, and returns the parsed reply

What may differ is in `EXPLAINED`, by command, with the reason; nothing else is forgiven. Each rule says how both
replies are compared instead, as narrowly as the reason allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fleettest.client import Arg, Connection, encode, parse
from fleettest.instance import Instance

Same = Callable[[bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference that is allowed: what `same` (ours, theirs) says of replies to commands matching `command`."""

    command: str  # regular expression over the upper-case words, joined by a space
    reason: str
    same: Same


def same_kind(ours: bytes, theirs: bytes) -> bool:
    """Both errors or both not; the same type of reply."""
    return ours[:1] == theirs[:1] != b"-"


def both_texts(ours: bytes, theirs: bytes) -> bool:
    """Bulk or verbatim strings."""
    return ours[:1] in (b"$", b"=") and theirs[:1] in (b"$", b"=")


def same_but_numbers(ours: bytes, theirs: bytes) -> bool:
    return re.sub(rb"\d+", b"N", ours) == re.sub(rb"\d+", b"N", theirs)


def same_in_any_order(ours: bytes, theirs: bytes) -> bool:
    return sorted(_flat(parse(ours)[0])) == sorted(_flat(parse(theirs)[0]))


def same_members(ours: bytes, theirs: bytes) -> bool:
    """Also the same type of reply: a set's members in any order."""
    return ours[:1] == theirs[:1] != b"-" and same_in_any_order(ours, theirs)


def refused_as_broken(ours: bytes, theirs: bytes) -> bool:
    return ours.startswith(b"-INVALIDOBJ ") and not theirs.startswith(b"-")


def same_number(ours: bytes, theirs: bytes) -> bool:
    """One element, or as many."""
    a, b = parse(ours)[0], parse(theirs)[0]
    return same_kind(ours, theirs) and (not isinstance(a, list) or len(a) == len(b))


def same_pairs_in_any_order(ours: bytes, theirs: bytes) -> bool:
    def pairs(raw: bytes) -> list[tuple[str, str]]:
        value = parse(raw)[0]
        flat = [x for pair in value.items() for x in pair] if isinstance(value, dict) else value
        return sorted(zip(map(repr, flat[::2]), map(repr, flat[1::2]), strict=True))

    return ours[:1] == theirs[:1] != b"-" and pairs(ours) == pairs(theirs)


def same_help(ours: bytes, theirs: bytes) -> bool:
    """The same heading, and at the end the same lines about HELP itself; what is between is prose."""
    a, b = parse(ours)[0], parse(theirs)[0]
    return isinstance(a, list) and isinstance(b, list) and a[:1] + a[-2:] == b[:1] + b[-2:] and len(a) > 3


def same_up_to_nul(ours: bytes, theirs: bytes) -> bool:
    name = parse(theirs)[0] or b""
    return bool(parse(ours)[0] == (name.partition(b"\0")[0] or None))


def _flat(value: Any) -> list[str]:
    return [x for item in value for x in _flat(item)] if isinstance(value, list) else [repr(value)]


def within(tolerance: int) -> Same:
    """Integer replies that are apart by at most the tolerance. -1 and -2 (no expiry, no key) must agree."""

    def same(ours: bytes, theirs: bytes) -> bool:
        a, b = parse(ours)[0], parse(theirs)[0]
        return isinstance(a, int) and isinstance(b, int) and min(a, b) >= 0 and abs(a - b) <= tolerance

    return same


_TIMES = frozenset((b"idle", b"inactive", b"seen-time", b"active-time"))
_THIS_AGE_MS = 10**12


def same_but_times(ours: bytes, theirs: bytes) -> bool:
    """Of streams: times, and how long ago they were, by each server's own clock; radix-tree-nodes."""
    return _same_but_times(parse(ours)[0], parse(theirs)[0], None)


def _same_but_times(a: Any, b: Any, name: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_same_but_times(a[key], b[key], key) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_but_times, a, b, [None, *a]))
    if isinstance(a, int) and isinstance(b, int) and (name in _TIMES or min(a, b) > _THIS_AGE_MS):
        return a == b or (min(a, b) >= 0 and abs(a - b) <= CLOCK_S * 1000)
    return a == b or name == b"radix-tree-nodes"


def same_but_idle(ours: bytes, theirs: bytes) -> bool:
    """Rows of what is pending, whose third part is how long ago it was delivered."""
    a, b = parse(ours)[0], parse(theirs)[0]
    if not (isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(len(row) == 4 for row in a + b)):
        return False
    return all(x[:2] + x[3:] == y[:2] + y[3:] and abs(x[2] - y[2]) <= CLOCK_S * 1000 for x, y in zip(a, b, strict=True))


SEEDED = "order of a hash table with a random seed"
CLOCK_S = 3  # how far apart two servers may have run the same command
EXPLAINED: tuple[Explained, ...] = (
    Explained(r"TIME\b", "the clocks are read one after the other", same_but_numbers),
    Explained(r"(TTL|EXPIRETIME)\b", "relative expiry counts from each server's own now", within(CLOCK_S)),
    Explained(r"P(TTL|EXPIRETIME)\b", "relative expiry counts from each server's own now", within(CLOCK_S * 1000)),
    Explained(r"RANDOMKEY\b", "a random choice by each server", same_kind),
    Explained(r"KEYS\b", SEEDED, same_in_any_order),
    Explained(r"SCAN\b", SEEDED, same_in_any_order),
    Explained(r"HGETALL\b", SEEDED, same_pairs_in_any_order),
    Explained(r"(SMEMBERS|SINTER|SUNION|SDIFF|HKEYS|HVALS)\b", SEEDED, same_members),
    Explained(r"[HSZ]SCAN\b", SEEDED, same_members),
    Explained(r"(SPOP|[SZ]RANDMEMBER|HRANDFIELD)\b", "a random choice by each server", same_number),
    Explained(r"PFDEBUG DECODE\b", "Valkey does not look whether all registers are there", refused_as_broken),
    Explained(r"OBJECT (IDLETIME|FREQ)\b", "the access clock and a probabilistic counter", within(CLOCK_S)),
    Explained(r"CONFIG GET\b", SEEDED, same_pairs_in_any_order),
    Explained(r"PUBSUB (SHARD)?CHANNELS\b", SEEDED, same_in_any_order),
    Explained(r"HELLO\b", "server name, version and connection id", same_kind),
    Explained(r"COMMAND$", "which commands there are; COMMAND INFO is compared one by one", same_kind),
    Explained(r"INFO\b", "versions, ids, counters", same_kind),
    Explained(r"XPENDING\b", "the clocks are read one after the other", same_but_idle),
    Explained(r"XINFO (CONSUMERS|STREAM)\b", "the same; and the index of blocks is no radix tree", same_but_times),
    Explained(r"MEMORY (USAGE|STATS)\b", "the memory layout is our own", same_kind),
    Explained(r"(CLIENT|COMMANDLOG|LATENCY|MEMORY|PUBSUB|SLOWLOG) HELP$", "the prose of help is our own", same_help),
    Explained(r"(XGROUP|XINFO) HELP$", "the prose of help is our own", same_help),
    Explained(r"(LATENCY|MEMORY) DOCTOR$", "the prose of advice is our own", same_kind),
    Explained(r"MEMORY MALLOC-STATS$", "Valkey's build has none and says so in a bulk string", both_texts),
    Explained(r"LASTSAVE\b", "clocks", same_but_numbers),
    Explained(r"CLIENT GETNAME$", "a name ends at a NUL, as it does in Valkey's own lists", same_up_to_nul),
    Explained(r"CLIENT (ID|INFO|LIST)\b", "connection ids, ports, ages and buffer sizes", same_kind),
)

# COMMAND INFO: field -> commands where ours differs, and why.
EXPLAINED_COMMANDS: dict[str, dict[str, str]] = {
    "flags": {"client|trackinginfo": "answers during a busy script like its neighbours"},
    "arity": dict.fromkeys(("ttl", "pttl", "persist"), "takes a member, too, as in KeyDB"),
}
# Members of sets and sorted sets that expire are ours alone.
MEMBER_TTL = [
    *(letter + name for letter in "sz" for name in (
        "expire", "pexpire", "expireat", "pexpireat", "ttl", "pttl", "expiretime", "pexpiretime", "persist")),
    *("expiremember", "expirememberat", "pexpirememberat"),
]  # fmt: skip
# The same of COMMAND DOCS; "" stands for the whole command.
EXPLAINED_DOCS: dict[tuple[str, str], str] = {
    ("set", "arguments"): "options of Redis 8.4: IFNE, IFDEQ, IFDNE",
    ("set", "history"): "the same",
    ("bitop", "arguments"): "operations of Redis 8.2: DIFF, DIFF1, ANDOR, ONE",
    ("delex", ""): "of Redis 8.4",
    ("digest", ""): "of Redis 8.4",
    ("increx", ""): "of Redis 8.8",
    ("xadd", "arguments"): "words of Redis 8.2: KEEPREF, DELREF, ACKED; of 8.6: IDMP, IDMPAUTO",
    ("xtrim", "arguments"): "words of Redis 8.2: KEEPREF, DELREF, ACKED",
    ("xreadgroup", "arguments"): "CLAIM, of Redis 8.4",
    ("xdelex", ""): "of Redis 8.2",
    ("xackdel", ""): "of Redis 8.2",
    ("xcfgset", ""): "of Redis 8.6",
    ("xidmprecord", ""): "of Redis 8.8",
    **{(name, "arguments"): "a member, as in KeyDB" for name in ("ttl", "pttl", "persist")},
    **{(name, ""): "members that expire" for name in MEMBER_TTL},
    **{(name, ""): "change capture" for name in ("cdc", "cdc|help", "cdc|info", "cdc|read")},
    ("cachefleet", ""): "managed failover",
    **{
        (f"cachefleet|{name}", ""): "managed failover"
        for name in ("fence", "help", "pause", "prepare", "record", "resume", "state")
    },
}
# Fields of Valkey's INFO that ours has not, and why. Patterns match the whole name.
ABSENT_FIELDS = {
    r"gcc_version": "the build does not record its compiler",
    r"tls_.*": "no TLS yet",
    r"slot_migration_.*|total_net_cluster_slot_.*": "no sharding yet",
    r"expired_keys_with_volatile_items_.*": "the first member to expire is known, so nothing is sampled",
    r"io_threaded_(freed|accept|poll|total).*|used_active_time_io_thread_.*": "no I/O threads",
    r"acl_access_denied_tls_cert": "no TLS yet",
    r"engine.*|module": "no scripts and no modules",
}


class Mismatch(AssertionError):
    """The servers replied differently. `command` is the name of the command, if one is known."""

    command = b""


class Pair:
    """A connection to each of two servers, used in lock step."""

    def __init__(
        self, ours: Instance, theirs: Instance, *, resp: int = 2, explained: Sequence[Explained] = EXPLAINED
    ) -> None:
        self.instances = (ours, theirs)
        self.resp = resp
        self.ours: Connection = ours.connect(resp=resp)
        self.theirs: Connection = theirs.connect(resp=resp)
        self.rules = [(re.compile(rule.command), rule.same) for rule in explained]

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def run(self, *command: Arg) -> Any:
        """Runs it on both; the parsed reply. Mismatch when the replies differ."""
        return self.pipeline([command])[0]

    def pipeline(self, commands: Iterable[Sequence[Arg]]) -> list[Any]:
        """Sends all commands to both in one write each, compares reply by reply; the parsed replies."""
        commands = [tuple(command) for command in commands]
        data = b"".join(encode(*command) for command in commands)
        self.theirs.send(data)
        self.ours.send(data)
        values = []
        for position, command in enumerate(commands):
            theirs = self._read(self.theirs, "the reference", command)
            ours = self._read(self.ours, "our server", command)
            if ours != theirs and not self.equal(command, ours, theirs):
                raise mismatch(command, describe(commands[: position + 1], ours, theirs, self.resp))
            values.append(parse(ours)[0])
        return values

    def raw(self, data: bytes, replies: int) -> list[bytes]:
        """Bytes as they are to both, and that many replies, which must be equal."""
        self.theirs.send(data)
        self.ours.send(data)
        result = []
        for _ in range(replies):
            theirs, ours = self.theirs.read_raw(), self.ours.read_raw()
            if ours != theirs:
                raise Mismatch(f"for {data[:500]!r}\n  reference: {theirs!r}\n  ours:      {ours!r}")
            result.append(ours)
        return result

    def equal(self, command: Sequence[Arg], ours: bytes, theirs: bytes) -> bool:
        words = " ".join(_text(word) for word in command[:3]).upper()
        return any(rule.match(words) and same(ours, theirs) for rule, same in self.rules)

    def flush(self) -> None:
        for connection, who in ((self.theirs, "the reference"), (self.ours, "our server")):
            connection.send_command("FLUSHALL")
            assert self._read(connection, who, ("FLUSHALL",)) == b"+OK\r\n"

    def _read(self, connection: Connection, who: str, command: Sequence[Arg]) -> bytes:
        try:
            return connection.read_raw()
        except (EOFError, OSError) as error:
            tails = "\n".join(i.log_tail() for i in self.instances if i.kind == "cachefleet")
            raise mismatch(command, f"no reply of {who} to {show(command)}: {error!r}\n{tails}") from error


def mismatch(command: Sequence[Arg], text: str) -> Mismatch:
    result = Mismatch(text)
    result.command = _text(command[0]).upper().encode("latin-1") if command else b""
    return result


def _text(word: Arg) -> str:
    return word.decode("latin-1") if isinstance(word, bytes | bytearray) else str(word)


def show(command: Sequence[Arg]) -> str:
    """A command for a human, long arguments cut."""
    words = []
    for word in command:
        text = repr(bytes(word))[1:] if isinstance(word, bytes | bytearray) else repr(str(word))
        words.append(text if len(text) <= 120 else f"{text[:100]}...({len(word) if isinstance(word, bytes) else ''})")
    return " ".join(words)


def describe(commands: Sequence[Sequence[Arg]], ours: bytes, theirs: bytes, resp: int) -> str:
    lines = [f"replies differ (RESP{resp}) for: {show(commands[-1])}", f"  reference: {theirs[:2000]!r}"]
    lines.append(f"  ours:      {ours[:2000]!r}")
    if len(commands) > 1:
        lines.append("  before it in the pipeline:")
        lines += [f"    {show(command)}" for command in commands[-10:-1]]
    return "\n".join(lines)
