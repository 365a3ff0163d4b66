"""The scenario of scenario.md by redis-py, on asyncio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import ResponseError, WatchError
from say import ordered, say, scored

Step = Callable[[Redis, Redis], Awaitable[None]]
STEPS: list[Step] = []


def step(function: Step) -> Step:
    STEPS.append(function)
    return function


@step
async def strings(c: Redis, _: Redis) -> None:
    say(
        "strings",
        await c.set("s", "hello", ex=100),
        await c.get("s"),
        1 <= await c.ttl("s") <= 100,
        await c.set("s", "other", nx=True),
        await c.getdel("s"),
        await c.get("s"),
    )
    say(
        "texts",
        await c.mset({"a": 1, "b": 2}),
        await c.mget("a", "b", "nosuch"),
        await c.append("a", "23"),
        await c.getrange("a", 1, 2),
        await c.strlen("a"),
        await c.setrange("a", 1, "xx"),
        await c.get("a"),
    )
    say("counters", await c.incr("n"), await c.incrby("n", 41), await c.decr("n"), await c.incrbyfloat("f", 1.5))


@step
async def keys(c: Redis, _: Redis) -> None:
    say(
        "keys",
        await c.exists("a", "b", "nosuch"),
        await c.type("a"),
        await c.rename("b", "c"),
        await c.expire("c", 100),
        await c.persist("c"),
        await c.copy("c", "d"),
        await c.delete("c", "d"),
        await c.unlink("a"),
        await c.object("ENCODING", "n"),
    )
    say("unicode", await c.set("ключ", "日本"), await c.get("ключ"), await c.strlen("ключ"))
    say("large", await c.set("big", "x" * (1 << 20)), await c.strlen("big"), len(await c.get("big")))


@step
async def hashes(c: Redis, _: Redis) -> None:
    say(
        "hashes",
        await c.hset("h", mapping={"name": "Ann", "age": 30, "city": "Paris"}),
        await c.hget("h", "age"),
        await c.hmget("h", "name", "nosuch"),
        await c.hincrby("h", "age", 1),
        await c.hexists("h", "city"),
        await c.hdel("h", "city"),
        await c.hlen("h"),
        await c.hgetall("h"),
    )
    say(
        "fieldttl",
        await c.hexpire("h", 100, "name", "nosuch"),
        await c.httl("h", "age", "nosuch"),
        await c.hpersist("h", "name"),
    )


@step
async def lists(c: Redis, other: Redis) -> None:
    say(
        "lists",
        await c.rpush("l", "a", "b", "c"),
        await c.lpush("l", "z"),
        await c.lrange("l", 0, -1),
        await c.lindex("l", 1),
        await c.linsert("l", "BEFORE", "b", "x"),
        await c.lrem("l", 1, "x"),
        await c.lset("l", 0, "y"),
        await c.ltrim("l", 0, 2),
        await c.lmove("l", "m", "LEFT", "RIGHT"),
        await c.lpos("l", "b"),
        await c.lpop("l"),
        await c.rpop("l"),
        await c.llen("l"),
    )
    waiting = asyncio.ensure_future(other.blpop(["q"], timeout=10))
    while (await c.info("clients"))["blocked_clients"] != 1:
        await asyncio.sleep(0.005)
    pushed = await c.rpush("q", "job")
    say("handover", await waiting, pushed)
    say(
        "sort",
        await c.rpush("nums", 3, 1, 2),
        await c.mset({"w:1": 30, "w:2": 20, "w:3": 10}),
        await c.sort("nums", start=0, num=2, desc=True),
        await c.sort("nums", by="w:*", get=["#", "w:*"]),
        await c.sort("nums", store="sorted"),
    )


@step
async def sets(c: Redis, _: Redis) -> None:
    say(
        "sets",
        await c.sadd("x", 1, 2, 3, "a"),
        await c.sadd("y", 3, "a", "b"),
        await c.sismember("x", "a"),
        await c.smismember("x", [1, 9]),
        ordered(await c.sinter("x", "y")),
        ordered(await c.sunion("x", "y")),
        ordered(await c.sdiff("x", "y")),
        await c.sinterstore("xy", "x", "y"),
        await c.sintercard(2, ["x", "y"]),
        await c.smove("x", "y", 1),
        await c.srem("y", "b"),
        await c.scard("y"),
    )


@step
async def leaderboard(c: Redis, _: Redis) -> None:
    say(
        "leaderboard",
        await c.zadd("board", {"ann": 30, "bob": 20, "cid": 10}),
        await c.zincrby("board", 15, "cid"),
        [scored(pair) for pair in await c.zrange("board", 0, 1, desc=True, withscores=True)],
        await c.zrank("board", "ann"),
        await c.zrevrank("board", "ann"),
        await c.zscore("board", "bob"),
        await c.zrange("board", 20, 25, byscore=True),
        await c.zcount("board", 20, 30),
        await c.zadd("board", {"ann": 5}, gt=True, ch=True),
        scored((await c.zpopmax("board", 1))[0]),
        await c.zmscore("board", ["bob", "cid"]),
        await c.zremrangebyrank("board", 0, 0),
        await c.zrange("board", 0, -1),
    )
    say(
        "zalgebra",
        await c.zadd("p", {"a": 1, "b": 2}),
        await c.zadd("r", {"b": 10, "c": 20}),
        await c.zunionstore("u", {"p": 2, "r": 1}),
        [scored(pair) for pair in await c.zrange("u", 0, -1, withscores=True)],
        [scored(pair) for pair in await c.zinter(["p", "r"], withscores=True)],
        await c.zdiff(["p", "r"]),
    )


@step
async def bits_and_places(c: Redis, _: Redis) -> None:
    say(
        "bitmaps",
        await c.setbit("bits", 7, 1),
        await c.setbit("bits", 9, 1),
        await c.getbit("bits", 7),
        await c.bitcount("bits"),
        await c.bitpos("bits", 1),
        await c.bitop("OR", "bits2", "bits", "bits"),
        await c.bitfield("bits").set("u8", 0, 255).get("u4", 0).execute(),
    )
    say(
        "hyperloglog",
        await c.pfadd("hll", "a", "b", "c"),
        await c.pfadd("hll", "a"),
        await c.pfadd("hll2", "c", "d"),
        await c.pfcount("hll", "hll2"),
        await c.pfmerge("hll3", "hll", "hll2"),
        await c.pfcount("hll3"),
    )
    places = (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
    say(
        "geo",
        await c.geoadd("Sicily", places),
        await c.geodist("Sicily", "Palermo", "Catania", "km"),
        await c.geohash("Sicily", "Palermo"),
        (await c.geopos("Sicily", "Palermo"))[0],
        await c.geosearch("Sicily", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"),
    )


@step
async def together(c: Redis, other: Redis) -> None:
    async with c.pipeline() as pipe:
        first = await pipe.set("t", 1).incr("t").execute()
    async with c.pipeline() as pipe:
        await pipe.watch("t")
        await other.set("t", 9)
        pipe.multi()
        pipe.incr("t")
        try:
            second = await pipe.execute()
        except WatchError:
            second = None
    say("transaction", first, second, await c.get("t"))
    async with c.pipeline(transaction=False) as pipe:
        for _ in range(100):
            pipe.incr("pipe")
        replies = await pipe.execute()
    say("pipeline", len(replies), replies[-1])


@step
async def scans(c: Redis, _: Redis) -> None:
    for number in range(50):
        await c.set(f"scan:{number}", number)
    found = {key async for key in c.scan_iter("scan:*", count=10)}
    say(
        "scan",
        len(found),
        {field: value async for field, value in c.hscan_iter("h")},
        ordered([member async for member in c.sscan_iter("x")]),
        sorted([scored(pair) async for pair in c.zscan_iter("p")]),
    )


@step
async def errors(c: Redis, _: Redis) -> None:
    try:
        await c.lpush("n", "x")
    except ResponseError as error:
        say("errors", str(error).split(" ")[0])
    say("protocol", (await c.client_info())["resp"])


async def main(host: str, port: str, protocol: str) -> None:
    def connect() -> Redis:
        return Redis(host=host, port=int(port), protocol=int(protocol), decode_responses=True)

    async with connect() as c, connect() as other:
        for one in STEPS:
            await one(c, other)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
