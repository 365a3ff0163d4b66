"""What all fuzzers share: a time-bounded loop over mutated seeds, a printed seed, and inputs kept for repeating.

    python tests/fuzz/fuzz_parser.py 60                 for 60 seconds, with a new seed
    python tests/fuzz/fuzz_parser.py 60 --seed 7        the same inputs again
    python tests/fuzz/fuzz_parser.py --input FILE       one input

A target gets bytes and decides everything else from them alone, so the bytes repeat the failure. The input that is
being tried lies in `build/fuzz/<name>.current`, where it also survives a sanitizer's abort; what raised an
exception is copied to `build/fuzz/<name>.failed`. Put what was worth finding into `corpus/<name>/`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

from fleettest import figures

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).resolve().parent / "corpus"
INPUT_BYTES_MAX = 1 << 20

Target = Callable[[bytes], None]
Mutation = Callable[[bytes, random.Random], bytes]


def choices(data: bytes) -> random.Random:
    """Randomness that belongs to an input: the same bytes make the same choices."""
    return random.Random(zlib.crc32(data))


def flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return bytes([rng.randrange(256)])
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed))
        changed[at] = rng.choice([rng.randrange(256), changed[at] ^ 1 << rng.randrange(8), 0, 255])
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.choice([1, 2, 10, len(data)]) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice([1, 4, 50, 1000]))
    return data[:end] + data[start:end] * rng.choice([1, 2, 30]) + data[end:]


def insert_from(tokens: list[bytes]) -> Mutation:
    def insert(data: bytes, rng: random.Random) -> bytes:
        at = rng.randint(0, len(data))
        return data[:at] + rng.choice(tokens) + data[at:]

    return insert


GENERAL: list[Mutation] = [flip, cut, repeat]


def seeds(name: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    if not found:
        raise SystemExit(f"no seeds in {CORPUS / name}")
    return found


def run(name: str, target: Target, *, mutations: list[Mutation], more_seeds: list[bytes] | None = None) -> int:
    """The main function of a fuzzer; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--input", type=Path)
    options = parser.parse_args()
    if options.input:
        target(options.input.read_bytes())
        print(f"{name}: no failure")
        return 0
    print(f"{name}: seed {options.seed}, {options.seconds:g} s", flush=True)
    folder = ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / f"{name}.current"
    base = [*seeds(name), *(more_seeds or [])]
    rng = random.Random(options.seed)
    count = 0
    with current.open("wb", buffering=0) as file:
        start = time.monotonic()
        while time.monotonic() - start < options.seconds:
            data = base[count] if count < len(base) else _mutated(base, mutations, rng)
            file.seek(0)
            file.truncate()
            file.write(data)
            count += 1
            try:
                target(data)
            except Exception:
                traceback.print_exc()
                failed = folder / f"{name}.failed"
                failed.write_bytes(data)
                print(f"{name}: FAILED on input {count}, seed {options.seed}; repeat with --input {failed}")
                return 1
    print(f"{name}: {count} inputs, no failure")
    figures.count(count)
    return 0


def _mutated(base: list[bytes], mutations: list[Mutation], rng: random.Random) -> bytes:
    data = rng.choice(base)
    if rng.random() < 0.2:
        other = rng.choice(base)
        data = data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        data = rng.choice(mutations)(data, rng)[:INPUT_BYTES_MAX]
    return data


def exit_with(status: int) -> None:
    sys.exit(status)
