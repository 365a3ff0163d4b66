"""Micro benchmark of the hash table: ns of CPU per operation, without a server.

    PYTHONPATH=server python tests/perf/bench_hashtable.py [elements]

Needs a development build (`make build`). "batch" looks keys up 32 at a time with all prefetch passes, as the reactor
does; "single" one after the other, where every miss of the cache is waited for.
"""

from __future__ import annotations

import sys

from cachefleet_server.ds._testing import HashTableBench

BATCH = 32
SAMPLES = 100_000


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    bench = HashTableBench(n)
    insert_ns, worst_us = bench.insert()
    rows = [
        ("insert", f"{insert_ns} ns  (worst run of 64: {worst_us} us)"),
        ("find, single", f"{bench.find(0)} ns"),
        ("find, batch", f"{bench.find(BATCH)} ns"),
        ("find, missing", f"{bench.missing()} ns"),
        ("random", f"{bench.random(SAMPLES)} ns"),
        ("sample of 5", f"{bench.sample(SAMPLES)} ns"),
        ("memory", f"{bench.bytes_per_element:.1f} bytes, {bench.overflow_per_bucket:.3f} overflow buckets a bucket"),
        ("remove", f"{bench.remove()} ns"),
    ]
    print(f"{n} elements, 16-byte keys")
    for name, value in rows:
        print(f"  {name:14} {value}")


if __name__ == "__main__":
    main()
