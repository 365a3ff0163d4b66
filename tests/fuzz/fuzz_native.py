"""Fuzzes every decoder by a native loop (persistence/_testing_fuzz.pyx): listpacks, ziplists, zipmaps, intsets, packs,
lists' blocks, LZF, values of every type that is registered, HyperLogLogs, places.

    python tests/fuzz/fuzz_native.py 60 --seed 7                the inputs of seed 7 from the first on, of all targets
    python tests/fuzz/fuzz_native.py --target value --input F   one input

A seed has inputs without end; how many of them the seconds allow is printed. The values are those that the seeder
makes of each type, and old forms written by fleettest.encodings, so a new type is fuzzed once it has a row there.
"""

from __future__ import annotations

import argparse
import mmap
import random
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "support"))

from cachefleet_server.persistence._testing_fuzz import NAMES, Found, Fuzz

from cachefleet_server.engine import Engine
from fleettest import figures
from fleettest.encodings import Element, intset, listpack, ziplist, zipmap
from fleettest.rdbfile import length, string
from fleettest.seeder import KINDS

CHUNK = 5_000  # inputs between two looks at the clock
SHOWN_BYTES = 1 << 15
FOOTER_BYTES = 10
VALUE_BYTES_MAX = 4096
VALUES_A_TYPE = 60


def _elements(rng: random.Random) -> list[Element]:
    made: list[Element] = []
    for _ in range(rng.choice((1, 2, 2, 6, 16, 20, 40))):
        if rng.randrange(2):
            made.append(rng.randrange(-(1 << (bits := rng.randrange(63))), 1 << bits))
        else:
            made.append(rng.randbytes(rng.choice((0, 1, 5, 10, 20, 63, 64, 130, 300))))
    return made


def _pairs(rng: random.Random) -> list[tuple[bytes, bytes]]:
    texts = [element if isinstance(element, bytes) else b"%d" % element for element in _elements(rng) * 2]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _scored(rng: random.Random) -> list[Element]:
    return [part for element in _elements(rng) for part in (element, rng.choice((1, -7, b"1.5", b"inf", b"-2e10")))]


def _integers(rng: random.Random) -> list[int]:
    return [element for element in _elements(rng) if isinstance(element, int)] or [7]


def _listpacks(rng: random.Random) -> bytes:
    return listpack(*rng.choice((_elements, _scored))(rng))


def _packed(rng: random.Random) -> bytes:
    """A type byte of a file, and the packed form it has."""
    form = rng.randrange(5)
    if form == 0:
        return b"\x09" + zipmap(_pairs(rng), rng.randrange(3))
    if form == 1:
        return b"\x0b" + intset(_integers(rng))
    if form == 2:
        elements = rng.choice((_elements, _scored))(rng)
        return bytes([rng.choice((10, 12, 13, 14))]) + ziplist(elements, rng.choice((-1, 0)))
    return bytes([rng.choice((16, 17, 18, 20))]) + _listpacks(rng)


def _hll(rng: random.Random) -> bytes:
    """Sparse, of runs that sum up to all registers, or dense."""
    head = b"HYLL" + bytes([rng.randrange(2)]) + bytes(3) + rng.randbytes(7) + bytes([rng.choice((0, 128))])
    if head[4] == 0:
        return head + rng.choice((rng.randbytes(12288), bytes(12288)))
    runs, left = b"", 16384
    while left:
        kind = rng.randrange(3)
        n = min(left, rng.randrange(1, (4, 64, 3000)[kind] + 1))
        left -= n
        if kind == 0:
            runs += bytes([0x80 | rng.randrange(32) << 2 | n - 1])
        else:
            runs += bytes([n - 1]) if kind == 1 else bytes([0x40 | n - 1 >> 8, n - 1 & 255])
    return head + runs


def _geo(rng: random.Random) -> bytes:
    place = rng.uniform(-180, 180), rng.uniform(-85, 85)
    lengths = [rng.uniform(0, 10 ** rng.randrange(9)) for _ in range(3)]
    return struct.pack("<6d", float(rng.getrandbits(52)), *place, *lengths)


def _lzf(rng: random.Random) -> bytes:
    literal = rng.randbytes(rng.randrange(1, 33))
    reference = bytes([0x20 * rng.randrange(1, 7), rng.randrange(len(literal))])
    packed = bytes([len(literal) - 1]) + literal + reference + b"\0A"
    return struct.pack("<H", rng.choice((len(literal) + 3, 300, 65535))) + packed


def _values(engine: Engine, rng: random.Random) -> Iterator[bytes]:
    """As DUMP writes them; and a few that it does not write any more."""
    for kind in KINDS:
        for _ in range(VALUES_A_TYPE):
            for command in kind.make(rng, b"k"):
                engine.execute(*command)
            payload = engine.execute(b"DUMP", b"k")
            assert isinstance(payload, bytes)
            if len(payload) <= VALUE_BYTES_MAX:
                yield payload[:-FOOTER_BYTES]
    for _ in range(VALUES_A_TYPE):
        texts = [element if isinstance(element, bytes) else b"%d" % element for element in _elements(rng) * 2]
        yield bytes([rng.choice((1, 2))]) + length(len(texts)) + b"".join(map(string, texts))
        yield b"\x04" + length(len(texts) // 2) + b"".join(map(string, texts))
        scores = [string(text) + struct.pack("<d", rng.uniform(-9, 9)) for text in texts]
        yield b"\x05" + length(len(scores)) + b"".join(scores)
        timed = [struct.pack("<q", rng.choice((-1, 0, 10**13))) for _ in texts]  # of our own dialect
        yield b"\x3e" + length(len(texts)) + b"".join(string(text) + at for text, at in zip(texts, timed, strict=True))
        yield b"\x3f" + length(len(texts)) + b"".join(score + at for score, at in zip(scores, timed, strict=True))
        nodes = [length(2) + string(_listpacks(rng)) for _ in range(3)]
        yield b"\x12" + length(4) + b"".join(nodes) + length(1) + string(rng.randbytes(100))
        packed = _packed(rng)
        yield packed[:1] + string(packed[1:])


def corpora(engine: Engine, rng: random.Random) -> dict[str, list[bytes]]:
    made = {
        "listpack": lambda: _listpacks(rng),
        "ziplist": lambda: ziplist(_elements(rng), rng.choice((-1, 0, 1))),
        "zipmap": lambda: zipmap(_pairs(rng), rng.randrange(3)),
        "intset": lambda: intset(_integers(rng), rng.choice((0, 4, 8))),
        "pack": lambda: _listpacks(rng),
        "sequence": lambda: _listpacks(rng),
        "lzf": lambda: _lzf(rng),
        "packed": lambda: _packed(rng),
        "hll": lambda: _hll(rng),
        "geo": lambda: _geo(rng),
    }
    found = {name: [make() for _ in range(VALUES_A_TYPE)] for name, make in made.items()}
    return {**found, "value": list(_values(engine, rng))}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--target", choices=NAMES, action="append")
    parser.add_argument("--input", type=Path)
    options = parser.parse_args()
    names = options.target or NAMES
    engine = Engine(databases=1)
    corpus = corpora(engine, random.Random(options.seed))
    engine.execute(b"FLUSHALL", b"SYNC")
    folder = harness.ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "native.current"
    current.write_bytes(bytes(SHOWN_BYTES))
    with current.open("r+b") as file:
        shown = memoryview(mmap.mmap(file.fileno(), SHOWN_BYTES))
    fuzzers = {name: Fuzz(engine, name, corpus[name], shown) for name in names}
    if options.input:
        for name, fuzz in fuzzers.items():
            print(f"{name}: {fuzz.decode(options.input.read_bytes())}")
        return 0
    return _run(fuzzers, options.seed, options.seconds, folder)


def _run(fuzzers: dict[str, Fuzz], seed: int, seconds: float, folder: Path) -> int:
    print(f"native: seed {seed}, {seconds:g} s; what is tried lies in build/fuzz/native.current", flush=True)
    accepted = dict.fromkeys(fuzzers, 0)
    tried = dict.fromkeys(fuzzers, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, fuzz in fuzzers.items():
            (folder / "native.target").write_text(f"{name}, seed {seed}, input {tried[name]} or one behind it\n")
            try:
                accepted[name] += fuzz.run(seed, tried[name], CHUNK)
            except Found as found:
                failed = folder / "native.failed"
                failed.write_bytes(found.data)
                print(f"native: {name} FAILED with {found.code}; repeat with --target {name} --input {failed}")
                return 1
            tried[name] += CHUNK
    for name in fuzzers:
        print(f"{name}: {tried[name]} inputs, {accepted[name]} accepted")
    print(f"native: {sum(tried.values())} inputs, no failure")
    figures.count(sum(tried.values()))
    return 0


if __name__ == "__main__":
    harness.exit_with(main())
