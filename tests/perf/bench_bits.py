"""Micro benchmark of HyperLogLog, bits and geohash: ns of CPU per operation, beside Valkey's for the same commands.

    PYTHONPATH=server python tests/perf/bench_bits.py

Needs a development build (`make build`) and the [dev] extra. Ours are loops in C over the functions that commands call.
Valkey's are CPU of the server process for a pipeline of commands, less that of a pipeline of ECHO with as many bytes:
what is left is the lookup, the command's own work and its reply.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from measure import cpu_seconds  # noqa: E402

from cachefleet_server.ds._testing_hllgeo import (  # noqa: E402
    Hll,
    bench_add,
    bench_bits,
    bench_count,
    bench_merge,
    bench_within,
    encode,
)
from fleettest.client import Arg, Connection  # noqa: E402
from fleettest.instance import Instance  # noqa: E402

ROUNDS = 3
BITS, FIND, AND = 0, 1, 2
CENTRE, RADIUS_M = (13.3, 38.0), 50_000.0


class Peer:
    def __init__(self, server: Instance) -> None:
        self.client: Connection = server.connect()
        assert server.process is not None
        self.pid = server.process.pid

    def _ns(self, commands: Sequence[Sequence[Arg]], n: int) -> float:
        """Of one command; the least of some rounds."""
        batch = (commands * n)[:n]
        taken = []
        for _ in range(ROUNDS):
            before = cpu_seconds(self.pid)
            self.client.pipeline(batch)
            taken.append(cpu_seconds(self.pid) - before)
        return min(taken) / n * 1e9

    def ns(self, *commands: Sequence[Arg], n: int) -> float:
        echo = ("ECHO", "x" * sum(len(str(arg)) for arg in commands[0][1:]))
        return self._ns(commands, n) - self._ns([echo], n)


def hll(rng: random.Random, n: int, sparse_max: int = 3000) -> bytes:
    one = Hll()
    for _ in range(n):
        one.add(rng.randbytes(12), sparse_max)
    return bytes(one)


def hyperloglogs(peer: Peer, rng: random.Random) -> Iterator[tuple[str, float, float]]:
    for n, sparse_max in ((10, 3000), (300, 3000), (1500, 3000), (100_000, 3000)):
        elements = [rng.randbytes(12) for _ in range(n if n <= 1500 else 1000)]
        start = Hll(hll(rng, n)) if n > 1500 else Hll()
        for element in elements:
            start.add(element, sparse_max)
        peer.client.call("SET", "h", bytes(start))
        theirs = peer.ns(*[("PFADD", "h", e) for e in elements], n=50_000)
        ours = bench_add(elements, max(1, 300_000 // len(elements)), bytes(start), sparse_max)
        yield f"PFADD, {n} elements, {len(bytes(start))} bytes", ours, theirs
    dense, other = hll(rng, 100_000), hll(rng, 2_000_000 // 10)
    peer.client.call("SET", "a", dense)
    peer.client.call("SET", "b", other)
    # An element more, so that nothing is cached: the pair of commands, less the first alone.
    forget = ("SETRANGE", "a", "15", b"\x80")
    theirs = 2 * peer.ns(forget, ("PFCOUNT", "a"), n=10_000) - peer.ns(forget, n=10_000)
    yield "PFCOUNT, dense, not cached", bench_count(dense, 3000), theirs
    yield (
        "PFMERGE, dense, dense",
        bench_merge(Hll(dense), Hll(other), 3000, 3000),
        peer.ns(("PFMERGE", "a", "b"), n=10_000),
    )
    sparse, more = hll(rng, 1000), hll(rng, 200)
    peer.client.call("SET", "s", sparse)
    peer.client.call("SET", "t", more)
    theirs = peer.ns(("PFMERGE", "d", "s", "t"), ("DEL", "d"), n=600) * 2
    yield "PFMERGE, sparse 1000 and 200, anew", bench_merge(Hll(), union(sparse, more), 300, 3000), theirs


def union(a: bytes, b: bytes) -> Hll:
    one = Hll(a)
    one.merge([Hll(b)])
    return one


def bits(peer: Peer, rng: random.Random) -> Iterator[tuple[str, float, float]]:
    data, zeros = rng.randbytes(1 << 20), bytes(1 << 20)
    peer.client.call("SET", "v", data)
    peer.client.call("SET", "z", zeros)
    peer.client.call("SET", "w", data)
    peer.client.call("SET", "c", data[:100])
    yield "BITCOUNT, 100 bytes", bench_bits(data[:100], 100_000, BITS)[0], peer.ns(("BITCOUNT", "c"), n=50_000)
    yield "BITCOUNT, 1 MB", bench_bits(data, 300, BITS)[0], peer.ns(("BITCOUNT", "v"), n=2000)
    yield "BITPOS 1, 1 MB of zeros", bench_bits(zeros, 300, FIND)[0], peer.ns(("BITPOS", "z", "1"), n=2000)
    yield "BITOP AND, 2 of 1 MB", bench_bits(data, 300, AND)[0], peer.ns(("BITOP", "AND", "o", "v", "w"), n=500)


def positions(peer: Peer, rng: random.Random) -> Iterator[tuple[str, float, float]]:
    points = [(rng.gauss(CENTRE[0], 0.5), rng.gauss(CENTRE[1], 0.5)) for _ in range(5000)]
    for i, (lon, lat) in enumerate(points):
        peer.client.call("GEOADD", "g", repr(lon), repr(lat), i)
    search = ("GEOSEARCH", "g", "FROMLONLAT", *CENTRE, "BYRADIUS", RADIUS_M, "m", "COUNT", 1)
    near = [bits for lon, lat in points if (bits := encode(lon, lat)) is not None]
    ours, share = bench_within(100, near, CENTRE, RADIUS_M)
    theirs = peer.ns(search, n=200) / len(points)
    yield f"GEOSEARCH, one of 5000 members, {share:.0%} within", ours, theirs


def main() -> None:
    rng = random.Random(1)
    with Instance("valkey", options={"hll-sparse-max-bytes": 3000}) as server:
        peer = Peer(server)
        line = f"{'ns of CPU an operation':46} {'ours':>9} {'Valkey':>9}"
        rows = [
            f"{name:46} {ours:9.0f} {theirs:9.0f}"
            for part in (hyperloglogs, bits, positions)
            for name, ours, theirs in part(peer, rng)
        ]
    print("\n".join([line, *rows]))


if __name__ == "__main__":
    main()
