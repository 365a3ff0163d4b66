"""OBJECT ENCODING of strings against the real Valkey, at the sizes where its answer changes.

embstr means to Valkey that header, key, value and perhaps the expiry share 128 bytes, so the key's length counts, and
whether the key expired when it was overwritten.

Keys of 108 to 111 bytes that get an expiry are left out: there Valkey's answer depends on whether malloc happened to
give it more than it asked for (measured: 1 of 300). Ours is always "raw"; tests/unit/keyspace has it.
"""

from __future__ import annotations

import random

import pytest

from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

EMBSTR_MAX = 128
KEY_SIZES = (0, 1, 16, 31, 32, 64, 100, 107, 108, 111, 112, 200, 255, 256)


def header(key_size: int, expires: bool) -> int:
    return 8 + 8 * expires + 1 + (2 if key_size < 32 else 4) + key_size


def border_sizes(key_size: int) -> list[int]:
    """Value sizes on both sides of each place where the encoding may change."""
    borders = [EMBSTR_MAX - 4 - header(key_size, expires) for expires in (False, True)]
    return sorted({max(0, b + d) for b in borders for d in (-1, 0, 1, 2)} | {0, 1})


MAKERS: dict[str, list[tuple[str | int, ...]]] = {
    "set": [("SET", "$k", "$v")],
    "set with expiry": [("SET", "$k", "$v", "EX", 1000)],
    "set, then expire": [("SET", "$k", "$v"), ("EXPIRE", "$k", 1000)],
    "set, expire, persist, set": [
        ("SET", "$k", "$v", "EX", 1000),
        ("PERSIST", "$k"),
        ("SET", "$k", "$v"),
    ],
    "overwrite one that expires": [("SET", "$k", 1, "EX", 1000), ("SET", "$k", "$v")],
    "keep the expiry": [("SET", "$k", 1, "EX", 1000), ("SET", "$k", "$v", "KEEPTTL")],
    "getset over expiry": [("SET", "$k", 1, "EX", 1000), ("GETSET", "$k", "$v")],
    "getex": [("SET", "$k", "$v"), ("GETEX", "$k", "EX", 1000)],
    "mset": [("MSET", "$k", "$v")],
    "append to nothing": [("APPEND", "$k", "$v")],
    "append nothing": [("SET", "$k", "$v"), ("APPEND", "$k", "")],
    "setrange on nothing": [("SETRANGE", "$k", 0, "$v")],
    "setrange nothing": [("SET", "$k", "$v"), ("SETRANGE", "$k", 0, "")],
    "setrange": [("SET", "$k", "$v"), ("SETRANGE", "$k", 0, "x")],
    "rename": [("SET", "src", "$v"), ("RENAME", "src", "$k")],
    "rename with expiry": [("SET", "src", "$v", "EX", 1000), ("RENAME", "src", "$k")],
    "rename from a long name": [("SET", "s" * 60, "$v"), ("RENAME", "s" * 60, "$k")],
    "rename raw": [("SETRANGE", "src", 0, "$v"), ("RENAME", "src", "$k")],
    "copy": [("SET", "src", "$v"), ("COPY", "src", "$k")],
    "copy with expiry": [("SET", "src", "$v", "EX", 1000), ("COPY", "src", "$k")],
    "copy raw, then expire": [("SETRANGE", "src", 0, "$v"), ("COPY", "src", "$k"), ("EXPIRE", "$k", 1000)],
    "increment by float": [("SET", "$k", 1), ("INCRBYFLOAT", "$k", "0.5")],
    "increment by float over expiry": [("SET", "$k", 1, "EX", 1000), ("INCRBYFLOAT", "$k", "0.5")],
    "increment": [("INCR", "$k"), ("EXPIRE", "$k", 1000)],
}


@pytest.mark.parametrize("maker", MAKERS)
def test_borders(pair: Pair, maker: str) -> None:
    expires = any("EX" in str(word) for command in MAKERS[maker] for word in command)
    for key_size in KEY_SIZES:
        if expires and 108 <= key_size <= 111:
            continue
        key = "k" * key_size
        for value_size in border_sizes(key_size):
            pair.run("DEL", key)
            words = {"$k": key, "$v": "v" * value_size}
            for command in MAKERS[maker]:
                pair.run(*(words.get(word, word) if isinstance(word, str) else word for word in command))
            pair.run("OBJECT", "ENCODING", key)


def test_random_walk(pair: Pair, rng: random.Random) -> None:
    """Any sequence of such commands on two keys keeps the encodings equal."""
    sizes = [n for n in KEY_SIZES if not 108 <= n <= 111]
    keys = ["k" * rng.choice(sizes), "x" * rng.choice(sizes)]
    for _ in range(1500):
        key = rng.choice(keys)
        value = "v" * rng.choice(border_sizes(len(key)))
        pair.run(
            *rng.choice(
                [
                    ("SET", key, value),
                    ("SET", key, value, "EX", 1000),
                    ("SET", key, value, "KEEPTTL"),
                    ("SET", key, rng.randrange(100)),
                    ("EXPIRE", key, 1000),
                    ("PERSIST", key),
                    ("APPEND", key, rng.choice(["", "x"])),
                    ("SETRANGE", key, 0, rng.choice(["", "x"])),
                    ("GETSET", key, value),
                    ("RENAME", key, rng.choice(keys)),
                    ("COPY", key, rng.choice(keys), "REPLACE"),
                    ("DEL", key),
                ]
            )
        )
        for name in keys:
            pair.run("OBJECT", "ENCODING", name)


@pytest.mark.parametrize(
    "text",
    ["0", "-0", "007", "+1", " 1", "1 ", "1.0", "9223372036854775807", "9223372036854775808", "-9223372036854775808"],
)
def test_integers(pair: Pair, text: str) -> None:
    pair.run("SET", "n", text)
    assert pair.run("OBJECT", "ENCODING", "n") in (b"int", b"embstr")
