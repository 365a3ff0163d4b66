"""A game's leaderboards: one a day, a week's as their union, pages, neighbours of a player, seasons' ends."""

from __future__ import annotations

import random
import sys

import redis
from say import say, scored

DAYS = ("mon", "tue", "wed")
PLAYERS = 300
PAGE = 5


def play(c: redis.Redis, rng: random.Random) -> None:
    for day in DAYS:
        with c.pipeline(transaction=False) as pipe:
            for _ in range(2000):
                pipe.zincrby(f"board:{day}", rng.choice((1, 2.5, 10)), f"player:{rng.randrange(PLAYERS)}")
            pipe.execute()
        c.expire(f"board:{day}", 7 * 86400)
        say(day, c.zcard(f"board:{day}"), c.object("ENCODING", f"board:{day}"), c.ttl(f"board:{day}") > 0)
    with c.pipeline() as pipe:
        for number in range(PLAYERS):
            pipe.hset(f"player:{number}", mapping={"name": f"P{number:03}", "country": rng.choice("abcd")})
            pipe.sadd(f"country:{number % 4}", f"player:{number}")
        pipe.execute()


def pages(c: redis.Redis, rng: random.Random) -> None:
    weights = {f"board:{day}": weight for weight, day in enumerate(DAYS, 1)}
    say("week", c.zunionstore("board:week", weights), c.zunionstore("board:best", list(weights), aggregate="MAX"))
    for start in (0, PAGE, PLAYERS - PAGE):
        best = c.zrange("board:week", start, start + PAGE - 1, desc=True, withscores=True)
        names = [c.hget(player, "name") for player, _ in best]
        say(f"from {start}", [scored(pair) for pair in best], names)
    for _ in range(5):
        player = f"player:{rng.randrange(PLAYERS)}"
        rank = c.zrevrank("board:week", player)
        near = c.zrange("board:week", max(rank - 1, 0), rank + 1, desc=True)
        say(player, rank, c.zscore("board:week", player), near, c.zmscore("board:mon", [player, "nobody"]))
    say("country", c.zinterstore("board:0", {"board:week": 1, "country:0": 0}))
    say("its best", [scored(pair) for pair in c.zrange("board:0", 0, 2, desc=True, withscores=True)])
    say(
        "between",
        c.zcount("board:week", 50, "(100"),
        c.zrange("board:week", "(100", 50, desc=True, byscore=True, offset=0, num=3),
    )
    say("everywhere", c.zintercard(3, [f"board:{day}" for day in DAYS]), len(c.zdiff(["board:mon", "board:tue"])))


def season(c: redis.Redis) -> None:
    """Only better results count; those at the end are dropped, those at the top get a prize."""
    say("best of", c.zadd("board:best", {"player:1": 1e6, "player:2": 0}, gt=True, ch=True))
    say("top", [scored(pair) for pair in c.zpopmax("board:best", 3)])
    say(
        "last",
        c.zremrangebyrank("board:best", 0, 99),
        c.zremrangebyscore("board:best", "-inf", 20),
        c.zcard("board:best"),
    )
    say("kept", c.zrangestore("board:kept", "board:best", 0, 9, desc=True), c.zrange("board:kept", 0, -1))
    same = {f"player:{number}": 0 for number in range(20)}
    say(
        "names",
        c.zadd("names", same),
        c.zrange("names", "[player:1", "(player:2", bylex=True),
        c.zlexcount("names", "-", "+"),
    )


def main(host: str, port: str, protocol: str) -> None:
    rng = random.Random(1)
    with redis.Redis(host=host, port=int(port), decode_responses=True, protocol=int(protocol)) as c:
        play(c, rng)
        pages(c, rng)
        season(c)
    say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
