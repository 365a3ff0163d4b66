"""Requests of one batch, whose values are fetched ahead, do what they do one by one, whatever their keys hold."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Connection

pytestmark = pytest.mark.server

KEYS = ("none", "string", "number", "long string", "small", "full", "long", "plain", "compressed", "other")


def fill(c: Connection) -> None:
    c.call("SET", "string", "x")
    c.call("SET", "number", "12")
    c.call("SET", "long string", "x" * 50_000)
    c.call("RPUSH", "small", "a")
    c.call("RPUSH", "full", *["x" * 50] * 18)
    c.call("RPUSH", "long", *(f"element:{i}" for i in range(20_000)))
    c.call("RPUSH", "plain", "a", "x" * 30_000, "b")
    c.call("CONFIG", "SET", "list-compress-depth", 1)
    c.call("RPUSH", "compressed", *["x" * 300] * 200)
    c.call("CONFIG", "SET", "list-compress-depth", 0)
    c.call("RPUSH", "other", *range(200))


def drawn(rng: random.Random) -> tuple[object, ...]:
    key, other, number = rng.choice(KEYS), rng.choice(KEYS), rng.randrange(-300, 300)
    return rng.choice((
        ("LPUSH", key, "y" * rng.choice((1, 100))), ("RPUSH", key, number), ("LPOP", key), ("RPOP", key, 3),
        ("LINDEX", key, number), ("LRANGE", key, -5, -1), ("LMOVE", key, other, "LEFT", "RIGHT"), ("DEL", key),
        ("LLEN", key), ("LPUSH", key), ("LTRIM", key, 1, -2), ("GET", key), ("LMPOP", 2, key, other, "LEFT"),
        ("LMPOP", rng.choice((1, 3, 0, -2, 2**63 - 1, "x", "")), key, other, "RIGHT"), ("LMPOP", 1),
        ("RENAME", key, other), ("SUNIONSTORE", key, other, "none"),
    ))  # fmt: skip


def test_a_batch_does_what_its_requests_do(server: object, client: Connection, rng: random.Random) -> None:
    commands = [drawn(rng) for _ in range(1500)]
    replies = []
    for at_once in (1, 7, 300):
        client.call("FLUSHALL")
        fill(client)
        found = []
        for i in range(0, len(commands), at_once):
            found += client.pipeline(commands[i : i + at_once])
        replies.append(found)
    assert replies[0] == replies[1] == replies[2]
