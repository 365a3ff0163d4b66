"""Random commands: which there are, and how their arguments are drawn so that errors and borders are hit.

    grammar_words   how a row is made of words
    grammar_bits    rows of bitmaps and HyperLogLogs
    grammar_geo     rows of positions
    grammar_zsets   rows of sorted sets
    grammar_sort    rows that sort; apart, with keys of their own
    grammar_streams rows of streams

    draw = Draw(rng, now_s)
    rng.choice(WRITES)(draw)                a command
    episode(draw, 500)                      commands of two connections, transactions among them

A command is a row of words; a word is text, or a draw (a function of the Draw object that returns one argument or a
list of them). After that a command may be spoiled: an argument dropped, doubled, replaced, or its case changed.

Only what two servers must answer alike is drawn: expiry lies in the past or far in the future, close by only if
`near` says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fleettest.grammar_bits import BITMAP_READS, BITMAP_WRITES, HLL_READS, HLL_WRITES
from fleettest.grammar_geo import GEO_READS, GEO_WRITES
from fleettest.grammar_streams import STREAM_READS, STREAM_TIMES, STREAM_WRITES
from fleettest.grammar_words import Command as Command
from fleettest.grammar_words import Word as Word
from fleettest.grammar_words import words as words
from fleettest.grammar_zsets import ZSET_READS, ZSET_WRITES

FAR_S = 100_000  # no key expires by itself during an episode

KEYS = [b"k%d" % i for i in range(24)] + [b"", b"\x00\xff\r\n", b"key with space", b"{tag}a", b"K1", b"x" * 300]
INTEGERS = [b"0", b"1", b"-1", b"2", b"10", b"100", b"255", b"256", b"-128", b"9999", b"10000", b"123456789"]
BORDERS = [
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9223372036854775",
    b"9223372036854776",
]
NOT_INTEGERS = [
    *(b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"00", b"1.0", b"1e3", b"0x10", b"abc", b"-", b"\x001", b"1\x00"),
]
FLOATS = [
    *(b"0.1", b"-0.1", b"1.5", b"3.0e3", b"5e-324", b"1e308", b"1e309", b"-1e400", b"inf", b"-inf", b"+inf", b"nan"),
    *(b"0.30000000000000004", b"1e17", b"123456789012345678", b"0.000001", b"1e-20", b".5", b"5.", b"1e", b"0x1p3"),
    *(b"infinity", b" 1.5", b"1.5 ", b"1,5", b"-0.0", b"9007199254740993", b"1e4932", b"3.14159265358979323846"),
]
TEXTS = [b"", b"a", b"foo", b"hello world", b"\x00", b"\xff\xfe", b"a\r\nb", b"*3\r\n", b"ohmytext", b"mynewtext"]
LENGTHS = [1, 2, 7, 20, 21, 31, 32, 43, 44, 45, 63, 64, 65, 127, 128, 255, 256, 500, 900, 1000, 1023, 1024, 1025]
LENGTHS += [1100, 2000]
PATTERNS = [
    *(b"*", b"k*", b"k?", b"k[0-9]", b"k[^1]", b"[a-z]*", b"\\*", b"*1*", b"", b"[", b"k[", b"k\\", b"??", b"*{*}*"),
    *(b"k[9-0]", b"k[]", b"k[^]", b"[^", b"k[1-", b"**1"),
]


class Draw:
    """Draws arguments. Everything comes from one random.Random, so a seed gives one sequence."""

    def __init__(
        self, rng: random.Random, now_s: int, *, payloads: Sequence[bytes] = (), keys: Sequence[bytes] = KEYS
    ) -> None:
        self.rng = rng
        self.now_s = now_s
        self.payloads = payloads  # of DUMP
        self.names = keys  # half of the draws are of the first eight
        self.near = False  # keys may expire while the test runs
        self.entries = 0  # of streams, so far: ids rise

    def pick(self, *choices: Word) -> Word:
        return self.rng.choice(choices)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # -- single arguments

    def key(self) -> Word:
        return self.rng.choice(self.names[:8] if self.chance(0.5) else self.names)

    def integer(self) -> Word:
        kind = self.rng.random()
        if kind < 0.6:
            return self.rng.choice(INTEGERS)
        if kind < 0.75:
            return b"%d" % self.rng.randint(-(1 << 40), 1 << 40)
        return self.rng.choice(BORDERS if kind < 0.9 else NOT_INTEGERS)

    def number(self) -> Word:
        return self.rng.choice(FLOATS) if self.chance(0.7) else self.integer()

    def text(self) -> Word:
        size = self.rng.choice(LENGTHS)
        return self.rng.choice([b"x" * size, self.rng.randbytes(size), (b"abcdefgh" * (size // 8 + 1))[:size]])

    def value(self) -> Word:
        kind = self.rng.random()
        if kind < 0.35:
            return self.integer()
        if kind < 0.5:
            return self.rng.choice(FLOATS)
        return self.rng.choice(TEXTS) if kind < 0.7 else self.text()

    def index(self) -> Word:
        """For ranges."""
        if self.chance(0.85):
            return b"%d" % self.rng.choice([0, 1, 2, 3, 5, 10, 43, 44, 1000, 5000, -1, -2, -3, -5, -44, -1000, -5000])
        return self.integer()

    def offset(self) -> Word:
        """For SETRANGE: small, or above every limit, as both servers would have to hold what lies between."""
        small = b"%d" % self.rng.choice([0, 0, 1, 2, 10, 43, 44, 45, 100, 1000, 1020, 1100, 5000])
        return small if self.chance(0.85) else self.pick(b"-1", b"536870912", b"536870911999", b"a", b"", BORDERS[0])

    def database(self) -> Word:
        return self.pick(b"0", b"0", b"0", b"1", b"2", b"15", b"16", b"-1", b"a", b"", b"9999999999")

    def pattern(self) -> Word:
        return self.rng.choice(PATTERNS) if self.chance(0.9) else self.text()[:20]

    def far(self) -> int:
        """Seconds, minutes apart from every other draw: GT and LT must not depend on the millisecond."""
        return 100 * self.rng.randrange(1 << 24)

    def far_relative(self) -> list[Word]:
        """With GT or LT a relative time must not be one that was drawn before."""
        return [b"%d" % (FAR_S + self.far()), *self.any_expire_options()]

    def seconds(self) -> Word:
        good = b"%d" % (FAR_S + self.far())
        return good if self.chance(0.7) else self.pick(b"0", b"-1", b"-100000", *BORDERS, *NOT_INTEGERS)

    def milliseconds(self) -> Word:
        if self.near and self.chance(0.5):
            return b"%d" % self.rng.randrange(1, 100)
        good = b"%d" % ((FAR_S + self.far()) * 1000 + self.rng.choice([0, 1, 499, 500]))
        return good if self.chance(0.7) else self.pick(b"0", b"-1", b"-100000", *BORDERS, *NOT_INTEGERS)

    def at_s(self) -> Word:
        good = b"%d" % (self.now_s + FAR_S + self.far())
        return good if self.chance(0.7) else self.pick(b"0", b"1", b"-1", *BORDERS, *NOT_INTEGERS)

    def at_ms(self) -> Word:
        good = b"%d" % ((self.now_s + FAR_S + self.far()) * 1000 + self.rng.choice([0, 1, 499, 500, 501, 999]))
        return good if self.chance(0.7) else self.pick(b"0", b"1", b"-1", *BORDERS, *NOT_INTEGERS)

    def payload(self) -> Word:
        """What DUMP gave, whole or damaged."""
        payload = self.rng.choice(self.payloads)
        if self.chance(0.75):
            return payload
        cut = self.rng.randrange(len(payload) + 1)
        flipped = bytes([payload[cut - 1] ^ (1 << self.rng.randrange(8))]) if cut else b"\0"
        return self.pick(payload[:cut], payload[: max(cut - 1, 0)] + flipped + payload[cut:], b"", b"x" * 11)

    def list_key(self) -> Word:
        """Mostly one that strings are put into less often."""
        return self.key_of(8)

    def key_of(self, first: int) -> Word:
        """Mostly one of six names from that one on, of few names too: values of a type find each other."""
        return self.names[(first + self.rng.randrange(6)) % len(self.names)] if self.chance(0.8) else self.key()

    def element(self) -> Word:
        """Often one that a list has already."""
        return self.rng.choice([b"a", b"b", b"1", b"-7", b"300", b"x" * 70]) if self.chance(0.7) else self.value()

    def place(self) -> Word:
        return b"%d" % self.rng.randrange(-12, 12) if self.chance(0.85) else self.index()

    def count(self) -> Word:
        return b"%d" % self.rng.choice([0, 1, 1, 2, 3, 10]) if self.chance(0.85) else self.integer()

    def end(self) -> Word:
        return self.pick(b"LEFT", b"RIGHT", b"left", b"Right") if self.chance(0.95) else self.pick(b"", b"LEF", b"0")

    def hash_key(self) -> Word:
        return self.key_of(16)

    def set_key(self) -> Word:
        return self.key_of(14)

    def field(self) -> Word:
        """Mostly one of few; long and odd ones make tables."""
        if self.chance(0.9):
            return b"f%d" % self.rng.randrange(12)
        return self.text() if self.chance(0.1) else self.pick(b"", b"1", b"-7", b"007", b"\x00\xff")

    # -- several arguments

    def fields(self) -> list[Word]:
        return [self.field() for _ in range(self.rng.randint(1, 4))]

    def field_pairs(self) -> list[Word]:
        words = [word for _ in range(self.rng.randint(1, 4)) for word in (self.field(), self.element())]
        return words if self.chance(0.95) else words[1:]

    def set_keys(self) -> list[Word]:
        return [self.set_key() for _ in range(self.rng.randint(1, 4))]

    def counted_set_keys(self) -> list[Word]:
        keys = self.set_keys()
        return [b"%d" % len(keys) if self.chance(0.9) else self.integer(), *keys]

    def members(self) -> list[Word]:
        """Often all integers, and sometimes enough to leave a small encoding."""
        n = self.rng.randint(1, 4) if self.chance(0.9) else self.rng.choice([60, 130, 520])
        if self.chance(0.5):
            return [b"%d" % self.rng.randrange(n * 3) for _ in range(n)]
        return [b"m%d" % self.rng.randrange(n * 3) if n > 4 else self.element() for _ in range(n)]

    def sintercard_options(self) -> list[Word]:
        return self.some(0.4, lambda: [b"LIMIT", self.count()])

    def draws(self) -> list[Word]:
        return self.some(0.7, lambda: [self.pick(b"0", b"1", b"5", b"-1", b"-7", b"1000", b"a", *BORDERS[:4])])

    def all_of_it(self) -> Word:
        """A count, so that chance has no say."""
        return self.pick(b"0", b"100000", b"-1", b"a", BORDERS[0], BORDERS[2])

    def member_scan_options(self) -> list[Word]:
        pattern = [b"MATCH", self.pattern()]
        return [b"COUNT", b"10000", *self.some(0.3, lambda: pattern, lambda: [self.pick(b"NOVALUES", b"x")])]

    def elements(self) -> list[Word]:
        return [self.element() for _ in range(40 if self.chance(0.05) else self.rng.randint(1, 4))]

    def list_keys(self) -> list[Word]:
        return [self.list_key() for _ in range(self.rng.randint(1, 3))]

    def counted_list_keys(self) -> list[Word]:
        keys = self.list_keys()
        return [b"%d" % len(keys) if self.chance(0.9) else self.integer(), *keys]

    def pop_count(self) -> list[Word]:
        return self.some(0.5, lambda: [self.count()])

    def multi_pop_options(self) -> list[Word]:
        return self.some(0.4, lambda: [b"COUNT", self.count()])

    def lpos_options(self) -> list[Word]:
        rank = [b"RANK", self.place()]
        return self.some(0.4, lambda: rank, lambda: [b"COUNT", self.count()], lambda: [b"MAXLEN", self.count()])

    def keys(self) -> list[Word]:
        return [self.key() for _ in range(self.rng.randint(1, 4))]

    def pairs(self) -> list[Word]:
        return [word for _ in range(self.rng.randint(1, 4)) for word in (self.key(), self.value())]

    def counted_pairs(self) -> list[Word]:
        pairs = self.pairs()
        count = b"%d" % (len(pairs) // 2)
        return [count if self.chance(0.85) else self.pick(b"0", b"-1", b"1", b"5", b"a", BORDERS[0]), *pairs]

    def expiry(self) -> list[Word]:
        relative = [(b"EX", self.seconds), (b"PX", self.milliseconds)]
        name, draw = self.rng.choice([*relative, (b"EXAT", self.at_s), (b"PXAT", self.at_ms)])
        return [name, draw()]

    def some(self, share: float, *options: Callable[[], list[Word]]) -> list[Word]:
        """Each option in turn with this chance, in random order."""
        chosen = [option for option in options if self.chance(share)]
        self.rng.shuffle(chosen)
        return [word for option in chosen for word in option()]

    def set_options(self) -> list[Word]:
        return self.some(
            0.25,
            self.expiry,
            lambda: [self.pick(b"NX", b"XX")],
            lambda: [b"GET"],
            lambda: [b"KEEPTTL"] if self.chance(0.5) else [b"IFEQ", self.value()],
        )

    def msetex_options(self) -> list[Word]:
        return self.some(0.3, self.expiry, lambda: [self.pick(b"NX", b"XX")], lambda: [b"KEEPTTL"])

    def getex_options(self) -> list[Word]:
        if self.chance(0.2):
            return [self.pick(b"KEEPTTL", b"NX", b"")]
        return self.some(0.4, self.expiry, lambda: [b"PERSIST"])

    def expire_options(self) -> list[Word]:
        return self.some(0.15, lambda: [b"NX"], lambda: [b"XX"])

    def any_expire_options(self) -> list[Word]:
        return self.some(0.2, *(lambda o=o: [o] for o in (b"NX", b"XX", b"GT", b"LT")))

    def lcs_options(self) -> list[Word]:
        minimum = [b"MINMATCHLEN", self.pick(b"0", b"1", b"4", b"-3", b"a", b"100")]
        return self.some(0.3, lambda: [b"LEN"], lambda: [b"IDX"], lambda: minimum, lambda: [b"WITHMATCHLEN"])

    def copy_options(self) -> list[Word]:
        return self.some(0.4, lambda: [b"DB", self.database()], lambda: [b"REPLACE"])

    def restore_options(self) -> list[Word]:
        frequency = [b"FREQ", self.pick(b"0", b"5", b"255", b"256", b"-1", b"a")]
        idle = [b"IDLETIME", self.pick(b"0", b"100", b"-1", b"a")]
        return self.some(0.25, lambda: [b"REPLACE"], lambda: [b"REPLACE"], lambda: idle, lambda: frequency)

    def restore_expiry(self) -> list[Word]:
        if self.chance(0.8):
            return [self.pick(b"0", b"0", self.milliseconds()), self.payload(), *self.restore_options()]
        return [self.at_ms(), self.payload(), b"ABSTTL", *self.restore_options()]

    def scan_options(self) -> list[Word]:
        """COUNT is large enough that one call returns all; a cursor other than 0 would be the server's own affair."""
        pattern = [b"MATCH", self.pattern()]
        kind = [b"TYPE", self.pick(b"string", b"list", b"hash", b"set", b"zset", b"STRING", b"nosuchtype", b"")]
        return [b"COUNT", b"10000", *self.some(0.3, lambda: pattern, lambda: kind)]

    def bad_scan(self) -> list[Word]:
        count = [b"0", b"COUNT", self.pick(b"0", b"-1", b"a", b"")]
        return self.rng.choice([[b"a"], [b"-1"], [b""], count, [b"0", b"X"], [b"0", b"MATCH"]])

    def inner(self) -> list[Word]:
        """A command as arguments (COMMAND GETKEYS)."""
        return list(self.rng.choice(COMMANDS)(self))


D = Draw
LIST_WRITES = [
    words(b"LPUSH", D.list_key, D.elements),
    words(b"RPUSH", D.list_key, D.elements),
    words(b"RPUSH", D.list_key, D.elements),
    words(b"LPUSHX", D.list_key, D.elements),
    words(b"RPUSHX", D.list_key, D.elements),
    words(b"LPOP", D.list_key, D.pop_count),
    words(b"RPOP", D.list_key, D.pop_count),
    words(b"LSET", D.list_key, D.place, D.element),
    words(b"LINSERT", D.list_key, lambda d: d.pick(b"BEFORE", b"after", b"x"), D.element, D.element),
    words(b"LREM", D.list_key, D.place, D.element),
    words(b"LTRIM", D.list_key, D.place, D.place),
    words(b"LMOVE", D.list_key, D.list_key, D.end, D.end),
    words(b"RPOPLPUSH", D.list_key, D.list_key),
    words(b"LMPOP", D.counted_list_keys, D.end, D.multi_pop_options),
]
LIST_READS = [
    words(b"LLEN", D.list_key),
    words(b"LRANGE", D.list_key, D.place, D.place),
    words(b"LRANGE", D.list_key, b"0", b"-1"),
    words(b"LINDEX", D.list_key, D.place),
    words(b"LPOS", D.list_key, D.element, D.lpos_options),
]
HASH_WRITES = [
    words(b"HSET", D.hash_key, D.field_pairs),
    words(b"HSET", D.hash_key, D.field_pairs),
    words(b"HMSET", D.hash_key, D.field_pairs),
    words(b"HSETNX", D.hash_key, D.field, D.value),
    words(b"HDEL", D.hash_key, D.fields),
    words(b"HINCRBY", D.hash_key, D.field, D.integer),
    words(b"HINCRBYFLOAT", D.hash_key, D.field, D.number),
]
HASH_READS = [  # no HGETALL and the like: a table has each server's own order
    words(b"HGET", D.hash_key, D.field),
    words(b"HMGET", D.hash_key, D.fields),
    words(b"HEXISTS", D.hash_key, D.field),
    words(b"HSTRLEN", D.hash_key, D.field),
    words(b"HLEN", D.hash_key),
]
SET_WRITES = [
    words(b"SADD", D.set_key, D.members),
    words(b"SADD", D.set_key, D.members),
    words(b"SADD", D.set_key, D.members),
    words(b"SREM", D.set_key, D.members),
    words(b"SMOVE", D.set_key, D.set_key, D.element),
    words(b"SINTERSTORE", D.set_key, D.set_keys),
    words(b"SUNIONSTORE", D.set_key, D.set_keys),
    words(b"SDIFFSTORE", D.set_key, D.set_keys),
]
SET_READS = [
    words(b"SCARD", D.set_key),
    words(b"SISMEMBER", D.set_key, D.element),
    words(b"SMISMEMBER", D.set_key, D.members),
    words(b"SINTERCARD", D.counted_set_keys, D.sintercard_options),
]
SET_UNORDERED = [  # in transactions they could not be compared
    words(b"SMEMBERS", D.set_key),
    words(b"SINTER", D.set_keys),
    words(b"SUNION", D.set_keys),
    words(b"SDIFF", D.set_keys),
    words(b"SRANDMEMBER", D.set_key, D.draws),
    words(b"SSCAN", D.set_key, b"0", D.member_scan_options),
    words(b"SPOP", D.set_key, D.all_of_it),
]
WRITES = [
    *LIST_WRITES,
    *HASH_WRITES,
    *SET_WRITES,
    *ZSET_WRITES,
    *STREAM_WRITES,
    *BITMAP_WRITES,
    *HLL_WRITES,
    *GEO_WRITES,
    words(b"SET", D.key, D.value),
    words(b"SET", D.key, D.value, D.set_options),
    words(b"SET", D.key, D.value, D.set_options),
    words(b"GETSET", D.key, D.value),
    words(b"GETDEL", D.key),
    words(b"GETEX", D.key, D.getex_options),
    words(b"SETRANGE", D.key, D.offset, D.value),
    words(b"APPEND", D.key, D.value),
    words(b"SETNX", D.key, D.value),
    words(b"SETEX", D.key, D.seconds, D.value),
    words(b"PSETEX", D.key, D.milliseconds, D.value),
    words(b"MSET", D.pairs),
    words(b"MSETNX", D.pairs),
    words(b"MSETEX", D.counted_pairs, D.msetex_options),
    words(b"INCR", D.key),
    words(b"DECR", D.key),
    words(b"INCRBY", D.key, D.integer),
    words(b"DECRBY", D.key, D.integer),
    words(b"INCRBYFLOAT", D.key, D.number),
    words(b"INCRBYFLOAT", D.key, D.number),
    words(b"DELIFEQ", D.key, D.value),
    words(b"DEL", D.keys),
    words(b"UNLINK", D.keys),
    words(b"RENAME", D.key, D.key),
    words(b"RENAMENX", D.key, D.key),
    words(b"COPY", D.key, D.key, D.copy_options),
    words(b"MOVE", D.key, D.database),
    words(b"EXPIRE", D.key, D.seconds, D.expire_options),
    words(b"PEXPIRE", D.key, D.milliseconds, D.expire_options),
    words(b"EXPIRE", D.key, D.far_relative),
    words(b"EXPIREAT", D.key, D.at_s, D.any_expire_options),
    words(b"PEXPIREAT", D.key, D.at_ms, D.any_expire_options),
    words(b"PERSIST", D.key),
    words(b"RESTORE", D.key, D.restore_expiry),
]
READS = [
    *LIST_READS,
    *HASH_READS,
    *SET_READS,
    *ZSET_READS,
    *STREAM_READS,
    *BITMAP_READS,
    *HLL_READS,
    *GEO_READS,
    words(b"GET", D.key),
    words(b"GETRANGE", D.key, D.index, D.index),
    words(b"SUBSTR", D.key, D.index, D.index),
    words(b"STRLEN", D.key),
    words(b"MGET", D.keys),
    words(b"LCS", D.key, D.key, D.lcs_options),
    words(b"EXISTS", D.keys),
    words(b"TOUCH", D.keys),
    words(b"TYPE", D.key),
    words(b"OBJECT", b"ENCODING", D.key),
    words(b"OBJECT", b"REFCOUNT", D.key),
    words(b"DBSIZE"),
    words(b"ECHO", D.value),
    words(b"PING"),
    words(b"PING", D.value),
]
READ_OR_WRITE = [*WRITES, *READS]  # exact replies, so these go into transactions too
OTHERS = [
    *SET_UNORDERED,
    *STREAM_TIMES,
    words(b"TTL", D.key),
    words(b"PTTL", D.key),
    words(b"EXPIRETIME", D.key),
    words(b"PEXPIRETIME", D.key),
    words(b"KEYS", D.pattern),
    words(b"SCAN", b"0", D.scan_options),
    words(b"SCAN", D.bad_scan),
    # No RANDOMKEY: each server draws another key, and deletes it if its time has passed.
    words(b"OBJECT", b"IDLETIME", D.key),
    words(b"OBJECT", b"FREQ", D.key),
    words(b"OBJECT", D.value, D.key),
    words(b"SELECT", D.database),
    words(b"SWAPDB", D.database, D.database),
    words(b"WAIT", b"0", b"0"),
    words(b"WAIT", D.index, b"1"),
    words(b"WAITAOF", b"0", b"0", b"0"),
    words(b"TIME"),
    words(b"COMMAND", b"GETKEYS", D.inner),
    words(b"COMMAND", b"GETKEYSANDFLAGS", D.inner),
    words(b"CLIENT", b"SETNAME", lambda d: d.pick(b"", b"name", b"two words", b"\n", b"a" * 100)),
    words(b"CLIENT", b"GETNAME"),
    words(b"CLIENT", b"SETINFO", lambda d: d.pick(b"LIB-NAME", b"lib-ver", b"x"), lambda d: d.pick(b"a", b"", b"a b")),
    words(b"CLIENT", b"NO-TOUCH", lambda d: d.pick(b"on", b"OFF", b"x")),
    words(b"CLIENT", b"NO-EVICT", lambda d: d.pick(b"on", b"OFF", b"x")),
    words(b"CLIENT", b"REPLY", lambda d: d.pick(b"on", b"x", b"")),
    words(b"CLIENT", b"KILL", lambda d: d.pick(b"1.1.1.1:1", b"x", b"")),
    words(b"CLIENT", b"KILL", b"ID", lambda d: d.pick(b"999999999", b"0", b"-1", b"a")),
    words(b"CLIENT", b"UNBLOCK", lambda d: d.pick(b"999999999", b"a", b"-1")),
    words(b"CLIENT", b"GETREDIR"),
    words(b"CLIENT", D.value),
    words(b"AUTH", D.value),
    words(b"AUTH", D.value, D.value),
    words(b"HELLO", lambda d: d.pick(b"1", b"4", b"a", b"", b"99999999999999999999")),
    words(b"FLUSHDB"),
    words(b"FLUSHALL", lambda d: d.pick(b"ASYNC", b"sync", b"x")),
    words(b"NOSUCHCOMMAND", D.keys),
    words(D.value, D.keys),
]
OUTSIDE = [words(b"EXEC"), words(b"DISCARD"), words(b"WATCH", D.keys), words(b"UNWATCH")]
INSIDE = [
    *(words(b"MULTI"), words(b"WATCH", D.keys), words(b"UNWATCH"), words(b"WAIT", b"0", b"0")),
    *(words(name, D.list_keys, D.number) for name in (b"BLPOP", b"BRPOP")),  # where nothing can wait
    words(b"BLMOVE", D.list_key, D.list_key, D.end, D.end, D.number),
    words(b"BRPOPLPUSH", D.list_key, D.list_key, D.number),
    words(b"BLMPOP", D.number, D.counted_list_keys, D.end, D.multi_pop_options),
]
COMMANDS = READ_OR_WRITE
# Without its COUNT a scan would return a cursor, without its count SPOP would let chance decide, and with another one
# SRANDMEMBER might never end. TTL, PTTL and PERSIST take a member here, as in KeyDB, and not there. With other words
# what is claimed would depend on the millisecond, and a huge COUNT of XAUTOCLAIM takes memory there.
UNSPOILED = frozenset((
    b"SCAN", b"SSCAN", b"SPOP", b"SRANDMEMBER", b"TTL", b"PTTL", b"PERSIST", b"XCLAIM", b"XAUTOCLAIM",
))  # fmt: skip


def spoil(draw: Draw, command: Command) -> Command:
    """Wrong arity, wrong arguments, odd case: in one command out of seven."""
    kind = draw.rng.random()
    made = list(command)
    if not UNSPOILED.isdisjoint(made[:3]):  # itself, or what COMMAND GETKEYS is asked of
        return command
    at = draw.rng.randrange(len(made))
    if kind < 0.04:
        made = [bytes(c ^ 0x20 if 65 <= c & 0xDF <= 90 and draw.chance(0.5) else c for c in made[0]), *made[1:]]
    elif kind < 0.06 and len(made) > 1:
        made[1:] = [word.swapcase() if word.isalpha() and word not in draw.names else word for word in made[1:]]
    elif kind < 0.09 and len(made) > 1:
        del made[max(at, 1)]
    elif kind < 0.11:
        made.append(draw.value())
    elif kind < 0.13 and at > 0 and not _unsafe_to_replace(made, at):
        made[at] = draw.value()
    elif kind < 0.14:
        made = made[: max(at, 1)]
    return tuple(made)


def _unsafe_to_replace(made: list[bytes], at: int) -> bool:
    """Arguments where any value would make the servers differ (short expiry) or take long (large offsets)."""
    name = made[0].upper()
    if b"EX" in name or b"SCAN" in name or name in (b"SET", b"RESTORE", b"MSETEX", b"WAIT", b"WAITAOF"):
        return True
    return name in (b"SETRANGE", b"SETBIT", b"BITFIELD") and at >= 2


def episode(draw: Draw, count: int) -> list[tuple[int, Command]]:
    """(connection 0 or 1, command): mostly on connection 0, transactions as such, some commands beside them."""
    steps: list[tuple[int, Command]] = []
    while len(steps) < count:
        kind = draw.rng.random()
        if kind < 0.05:
            steps += _transaction(draw)
        elif kind < 0.06:
            steps.append((0, spoil(draw, draw.rng.choice(OUTSIDE)(draw))))
        else:
            rows = READ_OR_WRITE if kind < 0.88 else OTHERS
            steps.append((int(draw.chance(0.04)), spoil(draw, draw.rng.choice(rows)(draw))))
    return [*steps, (0, (b"DISCARD",)), (0, (b"SELECT", b"0")), (1, (b"SELECT", b"0"))]


def _transaction(draw: Draw) -> list[tuple[int, Command]]:
    steps: list[tuple[int, Command]] = []
    if draw.chance(0.4):
        steps.append((0, (b"WATCH", *draw.keys())))
        steps += [(0, draw.rng.choice(READ_OR_WRITE)(draw)) for _ in range(draw.rng.randrange(2))]
    if draw.chance(0.3):
        steps.append((1, draw.rng.choice(READ_OR_WRITE)(draw)))
    steps.append((0, (b"MULTI",)))
    for _ in range(draw.rng.randrange(6)):
        command = draw.rng.choice(INSIDE if draw.chance(0.05) else READ_OR_WRITE)(draw)
        if command[1:2] == (b"REFCOUNT",):  # the reference shares the value with the queued argument until EXEC ends
            continue
        steps.append((0, spoil(draw, command) if draw.chance(0.2) else command))
        if draw.chance(0.05):
            steps.append((1, draw.rng.choice(READ_OR_WRITE)(draw)))
    steps.append((0, (b"EXEC",) if draw.chance(0.85) else (b"DISCARD",)))
    return steps
