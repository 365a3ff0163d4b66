"""Micro benchmark of the list structure: ns of CPU per operation, without a server.

    PYTHONPATH=server python tests/perf/bench_sequence.py [elements [compress depth]]

Needs a development build (`make build`). Elements of ten bytes. Beside ours stands what a whole command of Valkey 9.1
took, in a pipeline of 100 (so our figures are without parsing, lookup and reply), and its bytes an element.
"""

from __future__ import annotations

import sys

from cachefleet_server.ds._testing_sequence import SequenceBench

MANY = 200_000
SOME = 20_000
FEW = 2000


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    depth = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    bench = SequenceBench(n, 10, depth)
    rows = [
        ("LPUSH", f"{bench.push(True)} ns", "1800"),
        ("memory", f"{bench.bytes_per_element:.2f} bytes", "12.1"),
        ("RPOP", f"{bench.pop(False, n // 10)} ns", "1000"),
        ("RPOPLPUSH", f"{bench.rotate(MANY)} ns", ""),
        ("LINDEX anywhere", f"{bench.read(MANY, 1)} ns", ""),
        ("LRANGE 100", f"{bench.read(SOME, 100)} ns", "8000"),
        ("LPOS, an element", f"{bench.find():.2f} ns", ""),
        ("LSET anywhere", f"{bench.set(SOME)} ns", ""),
        ("insert anywhere", f"{bench.insert(SOME)} ns", ""),
        ("remove anywhere", f"{bench.remove(SOME)} ns", ""),
        ("LSET, all shared", f"{bench.set_shared(FEW)} ns", ""),
        ("memory after that", f"{bench.bytes_per_element:.2f} bytes", ""),
        ("LTRIM to half, freeing", "{} us, {} us".format(*bench.trim()), ""),
    ]
    print(f"{n} elements of 10 bytes{f', compress depth {depth}' if depth else ''}     Valkey")
    for name, ours, peer in rows:
        print(f"  {name:24} {ours:18} {peer}")


if __name__ == "__main__":
    main()
