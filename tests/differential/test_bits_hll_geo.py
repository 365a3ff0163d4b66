"""ds/hyperloglog, ds/geohash and ds/bits beside the real Valkey: bytes, replies and orders of results equal.

The functions are called as commands will call them, so that a difference points at them and not at a command.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Iterator

import pytest

from cachefleet_server.ds._testing_hllgeo import (
    Corrupt,
    Hll,
    Search,
    add_integer,
    bits_of_score,
    combine,
    count_bits,
    decode,
    distance,
    distance_text,
    encode,
    find_bit,
    hash_text,
    hll_union,
    read_integer,
    write_integer,
)
from fleettest.client import Arg, Connection, Error
from fleettest.instance import Instance

pytestmark = pytest.mark.differential

Point = tuple[float, float]

HEADER, RULE_CUT_OFF = 16, 5
LAT = 85.05112878
MEMBERS, SEARCHES = 1500, 600
UNITS = {"m": 1.0, "km": 1000.0, "ft": 0.3048, "mi": 1609.34}
BITOPS = ("AND", "OR", "XOR", "NOT")
OVERFLOWS = ("WRAP", "SAT", "FAIL")


@pytest.fixture
def peer(valkey: Instance) -> Iterator[Connection]:
    with valkey.connect() as connection:
        yield connection


# ---- HyperLogLog ---------------------------------------------------------------------------------


def told(what: Callable[..., object], *args: object) -> object:
    """None: INVALIDOBJ."""
    try:
        return what(*args)
    except Corrupt:
        return None


def reply(value: object) -> object:
    if isinstance(value, Error):
        assert value.startswith("INVALIDOBJ")
        return None
    return value


@pytest.mark.parametrize("limit", [0, 100, 500, 3000, 20_000])
def test_pfadd(valkey: Instance, peer: Connection, rng: random.Random, limit: int) -> None:
    peer.call("PFADD", "h")
    ours = Hll(peer.call("GET", "h"))
    assert bytes(ours) == bytes(Hll())[:15] + b"\x80" + bytes(Hll())[HEADER:]
    universe = rng.choice([3000, 10**9])
    with valkey.configured(hll_sparse_max_bytes=limit):
        for n in range(2500):
            element = b"%d" % rng.randrange(universe)
            changed, data = peer.pipeline([("PFADD", "h", element), ("GET", "h")])
            assert changed == ours.add(element, limit)
            assert data == bytes(ours), n
            if n % 50 == 0:
                assert peer.call("PFCOUNT", "h") == ours.count()
                assert peer.call("GET", "h") == bytes(ours)
    assert ours.check() == 0
    assert ours.dense == (limit < 20_000)


def random_runs(rng: random.Random) -> bytes:
    """Sparse strings that no server makes, most of them sound: any runs beside each other."""
    target = rng.choice([16384] * 6 + [16383, 16385, rng.randrange(17_000)])
    out, at = bytearray(), 0
    while at < target:
        left, kind = target - at, rng.randrange(3)
        if kind == 0:
            n = min(left, rng.randrange(1, 65))
            out.append(n - 1)
        elif kind == 1:
            n = min(left, rng.choice([1, 64, 65, rng.randrange(1, 4000)]))
            out += bytes([0x40 | (n - 1) >> 8, (n - 1) & 255])
        else:
            n = min(left, rng.randrange(1, 5))
            out.append(0x80 | rng.choice([1, 2, rng.randrange(32)]) << 2 | (n - 1))
        at += n
    if rng.random() < 0.1:
        out[rng.randrange(len(out))] = rng.randrange(256)
    return b"HYLL\1" + bytes(10) + b"\x80" + bytes(out)


def test_strange_strings(valkey: Instance, peer: Connection, rng: random.Random) -> None:
    for _ in range(400):
        limit = rng.choice([0, 100, 3000, 100_000])
        data = random_runs(rng)
        ours = Hll(data)
        peer.call("SET", "h", data)
        assert reply(peer.call("PFCOUNT", "h")) == told(ours.count)
        if ours.check() == RULE_CUT_OFF:
            continue  # a peer reads the byte behind the string
        with valkey.configured(hll_sparse_max_bytes=limit):
            for _ in range(rng.randrange(1, 20)):
                element = rng.randbytes(6)
                changed, after = peer.pipeline([("PFADD", "h", element), ("GET", "h")])
                assert reply(changed) == told(ours.add, element, limit)
                assert after == bytes(ours)


def merged(strings: list[Hll], limit: int) -> str:
    strings[0].merge(strings[1:], limit)
    return "OK"


def test_pfcount_and_pfmerge_of_several(valkey: Instance, peer: Connection, rng: random.Random) -> None:
    for _ in range(150):
        limit = rng.choice([100, 600, 3000, 100_000])
        ours = []
        for i in range(rng.randrange(1, 5)):
            one = Hll(random_runs(rng)) if rng.random() < 0.4 else Hll()
            if one.check() == 0:
                for _ in range(rng.choice([0, 10, 200, 1500])):
                    one.add(rng.randbytes(6), rng.choice([limit, 3000]))
            ours.append(one)
            peer.call("SET", f"{{h}}{i}", bytes(one))
        names = [f"{{h}}{i}" for i in range(len(ours))]
        if len(ours) > 1:
            assert reply(peer.call("PFCOUNT", *names)) == told(hll_union, ours)
        with valkey.configured(hll_sparse_max_bytes=limit):
            theirs = reply(peer.call("PFMERGE", *names))
        mine = told(merged, ours, limit)
        assert theirs == mine
        assert peer.call("GET", names[0]) == bytes(ours[0])


def test_pfdebug_and_headers(peer: Connection, rng: random.Random) -> None:
    for n in (0, 5, 300):
        ours = Hll()
        for _ in range(n):
            ours.add(rng.randbytes(5))
        peer.call("SET", "h", bytes(ours))
        assert peer.call("PFDEBUG", "DECODE", "h").decode() == ours.runs()
        peer.call("PFCOUNT", "h")
        ours.count()
        peer.call("PFDEBUG", "TODENSE", "h")
        assert peer.call("GET", "h") == bytes(ours.to_dense())
        assert bytes(peer.call("PFDEBUG", "GETREG", "h")) == ours.registers()
    sound = [bytes(Hll()), bytes(Hll().to_dense())]
    for data in [
        b"",
        b"HYLL",
        *sound,
        sound[1][:-1],
        sound[1] + b"\0",
        b"hyll" + sound[0][4:],
        b"HYLL\2" + sound[0][5:],
    ]:
        peer.call("SET", "h", data)
        refused = isinstance(peer.call("PFCOUNT", "h"), Error)
        assert refused != Hll(data).valid_header


# ---- geohash -------------------------------------------------------------------------------------


def position(rng: random.Random) -> Point:
    kind = rng.randrange(6)
    if kind == 0:
        lon = rng.choice([-180, 180, 0, 179.9999, -179.99999, 90])
        return lon, rng.choice([-LAT, LAT, 0, 85, -85, 66, 66.1, -80, 80.0001])
    if kind == 1:
        return rng.uniform(-180, 180), rng.choice([-1, 1]) * rng.uniform(80, LAT)
    if kind == 2:
        return rng.gauss(13.361389, 0.01), rng.gauss(38.115556, 0.01)
    if kind == 3:
        return rng.choice([-180, 180]) * (1 - rng.random() * 1e-4), rng.uniform(-LAT, LAT)
    return rng.uniform(-180, 180), rng.uniform(-LAT, LAT)


class Places:
    """Members m0, m1, ... of a sorted set on the peer, and their numbers."""

    def __init__(self, peer: Connection, rng: random.Random) -> None:
        self.points = [position(rng) for _ in range(MEMBERS)]
        self.names = [b"m%d" % i for i in range(MEMBERS)]
        peer.pipeline(
            [("GEOADD", "g", repr(lon), repr(lat), m) for (lon, lat), m in zip(self.points, self.names, strict=True)]
        )
        scores = peer.pipeline([("ZSCORE", "g", name) for name in self.names])
        self.scores = [float(score) for score in scores]
        self.bits = [bits_of_score(score) for score in self.scores]
        order = sorted(zip(self.bits, self.names, strict=True))
        self.sorted_bits, self.sorted_names = [b for b, _ in order], [m for _, m in order]

    def found(self, search: Search, unit_m: float, limit: int) -> list[list[bytes]]:
        """GEOSEARCH ... [COUNT limit ANY] WITHDIST, unsorted."""
        found: list[list[bytes]] = []
        for low, high in search.ranges:
            for i in range(bisect.bisect_left(self.sorted_bits, low), bisect.bisect_left(self.sorted_bits, high)):
                metres = search.within(self.sorted_bits[i])
                if metres is not None:
                    found.append([self.sorted_names[i], distance_text(metres / unit_m)])
                    if len(found) == limit:
                        return found
        return found


def test_positions(peer: Connection, rng: random.Random) -> None:
    places = Places(peer, rng)
    for point, score in zip(places.points, places.scores, strict=True):
        bits = encode(*point)
        assert bits is not None
        assert float(bits) == score  # beyond 2^53 a score has not all bits
    shown = peer.pipeline([("GEOPOS", "g", name) for name in places.names])
    texts = peer.pipeline([("GEOHASH", "g", name) for name in places.names])
    for bits, [at], [text] in zip(places.bits, shown, texts, strict=True):
        assert at == [f"{v:.17f}".rstrip("0").rstrip(".").encode() for v in decode(bits)]
        assert text == hash_text(bits)
    pairs = [(rng.randrange(MEMBERS), rng.randrange(MEMBERS)) for _ in range(10_000)]
    units = [rng.choice(list(UNITS)) for _ in pairs]
    shown = peer.pipeline(
        [("GEODIST", "g", places.names[a], places.names[b], u) for (a, b), u in zip(pairs, units, strict=True)]
    )
    for (a, b), unit, text in zip(pairs, units, shown, strict=True):
        metres = distance(decode(places.bits[a]), decode(places.bits[b]))
        assert distance_text(metres / UNITS[unit]) == text


def test_scores_that_are_no_positions(peer: Connection, rng: random.Random) -> None:
    scores = ["-5", "1e300", "-1e300", "inf", "-inf", "9.3e18", "1.9e19", "9223372036854775808", "1.5", "-0.5"]
    scores += [repr(rng.uniform(-1, 1) * 10.0 ** rng.randrange(25)) for _ in range(200)]
    for score in scores:
        peer.call("ZADD", "z", score, "a")
        at = decode(bits_of_score(float(score)))
        assert peer.call("GEOPOS", "z", "a") == [[f"{v:.17f}".rstrip("0").rstrip(".").encode() for v in at]]
        assert peer.call("GEOHASH", "z", "a") == [hash_text(bits_of_score(float(score)))]


def length(rng: random.Random, unit_m: float) -> float:
    return rng.choice([0, 1e-9, 10 ** rng.uniform(-3, 8), 10 ** rng.uniform(3, 7.5) / unit_m, 1e9, 1e15])


def shape(rng: random.Random) -> tuple[list[Arg], Search, float]:
    """Arguments of GEOSEARCH, the same search of ours, metres of its unit."""
    centre, unit = position(rng), rng.choice(list(UNITS))
    unit_m, kind = UNITS[unit], rng.randrange(3)
    start: list[Arg] = ["FROMLONLAT", repr(centre[0]), repr(centre[1])]
    if kind == 0:
        radius = length(rng, unit_m)
        return [*start, "BYRADIUS", repr(radius), unit], Search(centre, unit_m, radius), unit_m
    if kind == 1:
        width, height = length(rng, unit_m), length(rng, unit_m)
        search = Search(centre, unit_m, width=width, height=height)
        return [*start, "BYBOX", repr(width), repr(height), unit], search, unit_m
    corners = [position(rng) for _ in range(rng.randrange(3, 9))]
    if rng.random() < 0.5:
        size = 10 ** rng.uniform(-3, 1.5)
        near = [(centre[0] + rng.uniform(-size, size), centre[1] + rng.uniform(-size, size)) for _ in corners]
        corners = [(max(-180, min(180, lon)), max(-LAT, min(LAT, lat))) for lon, lat in near]
    words: list[Arg] = [repr(v) for corner in corners for v in corner]
    return ["BYPOLYGON", len(corners), *words], Search((0, 0), 1, vertices=corners), 1


def test_searches(peer: Connection, rng: random.Random) -> None:
    places = Places(peer, rng)
    some = 0
    for _ in range(SEARCHES):
        words, search, unit_m = shape(rng)
        if abs(search.centre[1]) > LAT:
            continue  # of a polygon: a peer then looks at cells that it has not set
        limit = rng.choice([0, 0, 1, 5, 50])
        count: list[Arg] = ["COUNT", limit, "ANY"] if limit else []
        found = peer.call("GEOSEARCH", "g", *words, *count, "WITHDIST")
        assert found == places.found(search, unit_m, limit), words
        some += len(found) > 0
    assert some > SEARCHES / 4


# ---- bits ----------------------------------------------------------------------------------------


def random_string(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return b"".join(bytes([rng.choice([0, 255])]) * rng.randrange(60) for _ in range(3))
    return rng.randbytes(rng.choice([0, 1, 7, 8, 9, 40, 1500, 9000]))


def place(rng: random.Random, total: int) -> int:
    return rng.choice([0, -1, rng.randint(-5, 5), rng.randint(-total - 3, total + 3), 2**62, -(2**63)])


def test_bitcount_and_bitpos(peer: Connection, rng: random.Random) -> None:
    for _ in range(200):
        data = random_string(rng)
        peer.call("SET", "s", data)
        assert peer.call("BITCOUNT", "s") == count_bits(data)
        for _ in range(10):
            in_bits, value = rng.random() < 0.5, rng.random() < 0.5
            unit = "BIT" if in_bits else "BYTE"
            total = len(data) * (8 if in_bits else 1)
            first, last = place(rng, total), place(rng, total)
            assert peer.call("BITCOUNT", "s", first, last, unit) == count_bits(data, first, last, in_bits)
            assert peer.call("BITPOS", "s", int(value), first, last, unit) == find_bit(
                data, value, first, last, in_bits
            )
            assert peer.call("BITPOS", "s", int(value), first) == find_bit(data, value, first)


def test_bitop(peer: Connection, rng: random.Random) -> None:
    for _ in range(300):
        op = rng.randrange(len(BITOPS))
        data = [random_string(rng) for _ in range(1 if BITOPS[op] == "NOT" else rng.randrange(1, 20))]
        names = [f"s{i}" for i in range(len(data))]
        peer.pipeline([("SET", name, one) for name, one in zip(names, data, strict=True)])
        assert peer.call("BITOP", BITOPS[op], "out", *names) == max(map(len, data))
        assert (peer.call("GET", "out") or b"") == combine(op, data)


def bitfield(
    data: bytes, at: int, width: int, signed: bool, op: str, value: int, overflow: int
) -> tuple[bytes, object]:
    """As the command does it: the string after, and the reply."""
    data = data.ljust((at + width + 7) // 8, b"\0")
    old = read_integer(data, at, width, signed)
    base, change = (value if signed else value % 2**64, 0) if op == "SET" else (old, value)
    new = add_integer(base, change, width, signed, overflow)
    if new is None:
        return data, None
    return write_integer(data, at, width, new % 2**width), old if op == "SET" else new


def test_bitfield(peer: Connection, rng: random.Random) -> None:
    for _ in range(1500):
        data, at = rng.randbytes(rng.randrange(30)), rng.randrange(200)
        signed = rng.random() < 0.5
        width = rng.randint(1, 64 if signed else 63)
        kind = f"{'i' if signed else 'u'}{width}"
        peer.call("SET", "s", data)
        assert peer.call("BITFIELD_RO", "s", "GET", kind, at) == [read_integer(data, at, width, signed)]
        op, overflow = rng.choice(["SET", "INCRBY"]), rng.randrange(3)
        near = rng.choice([0, 1 << width, 1 << (width - 1), -(1 << (width - 1))]) + rng.randint(-2, 2)
        value = max(-(2**63), min(2**63 - 1, rng.choice([near, rng.randint(-(2**63), 2**63 - 1)])))
        words: list[Arg] = ["OVERFLOW", OVERFLOWS[overflow], op, kind, at, value]
        after, wanted = bitfield(data, at, width, signed, op, value, overflow)
        assert peer.call("BITFIELD", "s", *words) == [wanted], words
        assert peer.call("GET", "s").ljust(len(after), b"\0") == after
