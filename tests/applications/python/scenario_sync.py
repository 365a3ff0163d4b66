"""The scenario of scenario.md by redis-py, with threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
from say import ordered, say, scored

STEPS: list[Callable[[redis.Redis, redis.Redis], None]] = []


def step(function: Callable[[redis.Redis, redis.Redis], None]) -> Callable[[redis.Redis, redis.Redis], None]:
    STEPS.append(function)
    return function


@step
def strings(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *("strings", c.set("s", "hello", ex=100), c.get("s"), 1 <= c.ttl("s") <= 100),
        *(c.set("s", "other", nx=True), c.getdel("s"), c.get("s")),
    )
    say(
        *("texts", c.mset({"a": 1, "b": 2}), c.mget("a", "b", "nosuch"), c.append("a", "23"), c.getrange("a", 1, 2)),
        *(c.strlen("a"), c.setrange("a", 1, "xx"), c.get("a")),
    )
    say("counters", c.incr("n"), c.incrby("n", 41), c.decr("n"), c.incrbyfloat("f", 1.5))


@step
def keys(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *("keys", c.exists("a", "b", "nosuch"), c.type("a"), c.rename("b", "c"), c.expire("c", 100), c.persist("c")),
        *(c.copy("c", "d"), c.delete("c", "d"), c.unlink("a"), c.object("ENCODING", "n")),
    )
    say("unicode", c.set("ключ", "日本"), c.get("ключ"), c.strlen("ключ"))
    say("large", c.set("big", "x" * (1 << 20)), c.strlen("big"), len(c.get("big")))


@step
def hashes(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *("hashes", c.hset("h", mapping={"name": "Ann", "age": 30, "city": "Paris"}), c.hget("h", "age")),
        *(c.hmget("h", "name", "nosuch"), c.hincrby("h", "age", 1), c.hexists("h", "city"), c.hdel("h", "city")),
        *(c.hlen("h"), c.hgetall("h")),
    )
    say("fieldttl", c.hexpire("h", 100, "name", "nosuch"), c.httl("h", "age", "nosuch"), c.hpersist("h", "name"))


@step
def lists(c: redis.Redis, other: redis.Redis) -> None:
    say(
        *("lists", c.rpush("l", "a", "b", "c"), c.lpush("l", "z"), c.lrange("l", 0, -1), c.lindex("l", 1)),
        *(c.linsert("l", "BEFORE", "b", "x"), c.lrem("l", 1, "x"), c.lset("l", 0, "y"), c.ltrim("l", 0, 2)),
        *(c.lmove("l", "m", "LEFT", "RIGHT"), c.lpos("l", "b"), c.lpop("l"), c.rpop("l"), c.llen("l")),
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.blpop, ["q"], timeout=10)
        while c.info("clients")["blocked_clients"] != 1:
            time.sleep(0.005)
        pushed = c.rpush("q", "job")
        say("handover", waiting.result(), pushed)
    say(
        *("sort", c.rpush("nums", 3, 1, 2), c.mset({"w:1": 30, "w:2": 20, "w:3": 10})),
        *(c.sort("nums", start=0, num=2, desc=True), c.sort("nums", by="w:*", get=["#", "w:*"])),
        c.sort("nums", store="sorted"),
    )


@step
def sets(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *(
            "sets",
            c.sadd("x", 1, 2, 3, "a"),
            c.sadd("y", 3, "a", "b"),
            c.sismember("x", "a"),
            c.smismember("x", [1, 9]),
        ),
        *(ordered(c.sinter("x", "y")), ordered(c.sunion("x", "y")), ordered(c.sdiff("x", "y"))),
        *(c.sinterstore("xy", "x", "y"), c.sintercard(2, ["x", "y"]), c.smove("x", "y", 1), c.srem("y", "b")),
        c.scard("y"),
    )


@step
def leaderboard(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *("leaderboard", c.zadd("board", {"ann": 30, "bob": 20, "cid": 10}), c.zincrby("board", 15, "cid")),
        [scored(pair) for pair in c.zrange("board", 0, 1, desc=True, withscores=True)],
        *(c.zrank("board", "ann"), c.zrevrank("board", "ann"), c.zscore("board", "bob")),
        *(
            c.zrange("board", 20, 25, byscore=True),
            c.zcount("board", 20, 30),
            c.zadd("board", {"ann": 5}, gt=True, ch=True),
        ),
        *(scored(c.zpopmax("board", 1)[0]), c.zmscore("board", ["bob", "cid"]), c.zremrangebyrank("board", 0, 0)),
        c.zrange("board", 0, -1),
    )
    say(
        *(
            "zalgebra",
            c.zadd("p", {"a": 1, "b": 2}),
            c.zadd("r", {"b": 10, "c": 20}),
            c.zunionstore("u", {"p": 2, "r": 1}),
        ),
        [scored(pair) for pair in c.zrange("u", 0, -1, withscores=True)],
        [scored(pair) for pair in c.zinter(["p", "r"], withscores=True)],
        c.zdiff(["p", "r"]),
    )


@step
def bits_and_places(c: redis.Redis, _: redis.Redis) -> None:
    say(
        *("bitmaps", c.setbit("bits", 7, 1), c.setbit("bits", 9, 1), c.getbit("bits", 7), c.bitcount("bits")),
        *(c.bitpos("bits", 1), c.bitop("OR", "bits2", "bits", "bits")),
        c.bitfield("bits").set("u8", 0, 255).get("u4", 0).execute(),
    )
    say(
        *("hyperloglog", c.pfadd("hll", "a", "b", "c"), c.pfadd("hll", "a"), c.pfadd("hll2", "c", "d")),
        *(c.pfcount("hll", "hll2"), c.pfmerge("hll3", "hll", "hll2"), c.pfcount("hll3")),
    )
    places = (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
    say(
        *("geo", c.geoadd("Sicily", places), c.geodist("Sicily", "Palermo", "Catania", "km")),
        *(c.geohash("Sicily", "Palermo"), c.geopos("Sicily", "Palermo")[0]),
        c.geosearch("Sicily", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"),
    )


@step
def together(c: redis.Redis, other: redis.Redis) -> None:
    with c.pipeline() as pipe:
        first = pipe.set("t", 1).incr("t").execute()
    with c.pipeline() as pipe:
        pipe.watch("t")
        other.set("t", 9)
        pipe.multi()
        pipe.incr("t")
        try:
            second = pipe.execute()
        except redis.WatchError:
            second = None
    say("transaction", first, second, c.get("t"))
    with c.pipeline(transaction=False) as pipe:
        for _ in range(100):
            pipe.incr("pipe")
        replies = pipe.execute()
    say("pipeline", len(replies), replies[-1])


@step
def scans(c: redis.Redis, _: redis.Redis) -> None:
    for number in range(50):
        c.set(f"scan:{number}", number)
    found = set(c.scan_iter("scan:*", count=10))
    say(
        *("scan", len(found), dict(c.hscan_iter("h")), ordered(c.sscan_iter("x"))),
        sorted(scored(pair) for pair in c.zscan_iter("p")),
    )


@step
def errors(c: redis.Redis, _: redis.Redis) -> None:
    try:
        c.lpush("n", "x")
    except redis.ResponseError as error:
        say("errors", str(error).split(" ")[0])
    say("protocol", c.client_info()["resp"])


def main(host: str, port: str, protocol: str) -> None:
    def connect() -> redis.Redis:
        return redis.Redis(host=host, port=int(port), protocol=int(protocol), decode_responses=True)

    with connect() as c, connect() as other:
        for one in STEPS:
            one(c, other)


if __name__ == "__main__":
    main(*sys.argv[1:])
