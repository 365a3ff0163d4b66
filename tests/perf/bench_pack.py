"""Micro benchmark of packs: ns of CPU per operation and bytes per value, without a server.

    PYTHONPATH=server python tests/perf/bench_pack.py

Needs a development build (`make build`). Keys of 10 bytes, values of 10, or random integer scores; the cost of making
the key is subtracted. The figures after "design" are those that the structure was chosen by, measured for finding
alone on a prototype.
"""

from __future__ import annotations

import sys

from cachefleet_server.ds._testing_pack import HASH, SET, ZSET, Pack, PackBench

ROUNDS = 300_000
DESIGN_FIND = {10: 36, 40: 34, 128: 45, 500: 73}  # ns; the first by walking, the others by tags
HEADER, KEY, TABLE = 8, 16, 12  # bytes of a key in the keyspace besides its value
STEP = 8  # bytes by which slabs grow

KINDS = {"hash": HASH, "zset": ZSET}


def times(kind: str, keys: int, rounds: int) -> list[str]:
    bench = PackBench(KINDS[kind], keys, 10, 10)
    few = max(rounds // 10, 1)
    own = min(bench.empty(rounds) for _ in range(3))
    find = min(bench.find(rounds) for _ in range(3)) - own
    missing = bench.missing(rounds) - own
    put = bench.put(few) - own
    replace = bench.replace(few) - own
    walk, walk_back = bench.walk(few // keys + 1), bench.walk_back(few // keys + 1)
    build = bench.build(few // keys + 1)
    values = (find, missing, put, replace, walk, walk_back, build)
    return [f"{kind} {keys}", *(f"{v:.1f}" for v in values), str(DESIGN_FIND[keys]), f"{bench.bytes / keys:.2f}"]


def shapes() -> list[tuple[str, Pack, int]]:
    """(name, value, bytes of a key with it in the design)."""
    text, field, small = Pack(HASH), Pack(HASH), Pack(HASH)
    ints, floats, members = Pack(ZSET), Pack(ZSET), Pack(SET)
    for i in range(10):
        text.put(b"field%02d" % i, b"value%05d" % i)
        field.put(b"field%02d" % i, b"%d" % (100_000 + i))
        ints.score(b"member%04d" % i, 100_000 + i)
        floats.score(b"member%04d" % i, i + 0.1)
        members.put(b"member%04d" % i, None)
    for i in range(3):
        small.put(b"fld%02d" % i, b"val%05d" % i)
    return [
        ("hash 10 x (7 + 10)", text, 236),
        ("hash 10 x (7 + int)", field, 164),
        ("hash 3 x (5 + 8)", small, 84),
        ("zset 10 x 10, int", ints, 196),
        ("zset 10 x 10, float", floats, 244),
        ("set 10 x 10", members, 156),
    ]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    head = ("ns", "find", "missing", "change", "replace", "walk/key", "back/key", "lp/key", "design", "B/key")
    print("".join(f"{h:>10}" for h in head))
    for kind in KINDS:
        for keys in DESIGN_FIND:
            print("".join(f"{v:>10}" for v in times(kind, keys, rounds)))
    print()
    for name, pack, design in shapes():
        whole = HEADER + KEY + len(pack.data)
        whole += -whole % STEP
        print(f"{name:22} {len(pack.data):4} bytes, a key {whole + TABLE} (design {design})")


if __name__ == "__main__":
    main()
