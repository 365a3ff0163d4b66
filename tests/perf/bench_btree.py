"""Micro benchmark of the ordered index: ns of CPU per operation, without a server.

    PYTHONPATH=server python tests/perf/bench_btree.py [elements]

Needs a development build (`make build`). Beside the figures stand those of a prototype (1e6 members of 20 bytes, random
scores) that led to this structure, and of a skip list with spans; both on a machine that was idle.
"""

from __future__ import annotations

import sys

from cachefleet_server.ds._testing_btree import BTreeBench

NEAR = 1e-9  # a change of score that moves few elements, at 1e6
ROUNDS = 100_000


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    bench = BTreeBench(n)
    print(f"{n} elements, 20-byte members                      prototype   skip list")

    def row(name: str, value: object, prototype: str = "", skip_list: str = "") -> None:
        print(f"  {name:32} {value!s:>12} {prototype:>11} {skip_list:>11}")

    row("insert, random", f"{bench.insert()} ns", "490", "2800")
    row("bytes an element, random", f"{bench.bytes_per_element:.1f} B", "13", "37")
    row("rank", f"{bench.rank()} ns", "800", "4000")
    row("range of 100", f"{bench.range(100, ROUNDS)} ns", "2800", "22000")
    row("re-score, stays", f"{bench.rescore(NEAR)} ns")
    row("re-score, anywhere", f"{bench.rescore(0)} ns", "1300", "7900")
    row("bytes an element, then", f"{bench.bytes_per_element:.1f} B")
    row("remove", f"{bench.remove()} ns")
    for name, equal, ascending in (("ascending", False, True), ("one score", True, False)):
        bench = BTreeBench(n, equal, ascending)
        row(f"insert, {name}", f"{bench.insert()} ns")
        row(f"bytes an element, {name}", f"{bench.bytes_per_element:.1f} B")
        bench.shuffle()
        row(f"rank, {name}", f"{bench.rank()} ns")
        row(f"sort and build, {name}", f"{bench.build()} ns")
        row("bytes an element, built", f"{bench.bytes_per_element:.1f} B")


if __name__ == "__main__":
    main()
