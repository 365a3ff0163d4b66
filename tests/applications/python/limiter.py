"""A sliding-window limiter without scripts, on asyncio: a sorted set of times for each caller, changed in MULTI.

The clock is the program's own, so that both servers see the same times.
"""

from __future__ import annotations

import asyncio
import random
import sys

from redis.asyncio import Redis
from redis.exceptions import WatchError
from say import say

LIMIT = 5
WINDOW_MS = 1000


async def allowed(c: Redis, caller: str, now_ms: int) -> bool:
    """Whether the call at that time is one of at most LIMIT in the window before it; the refused do not count."""
    key = f"calls:{caller}"
    while True:
        async with c.pipeline() as pipe:
            try:
                await pipe.watch(key)
                count = await pipe.zcount(key, f"({now_ms - WINDOW_MS}", "+inf")
                pipe.multi()
                pipe.zremrangebyscore(key, "-inf", now_ms - WINDOW_MS)
                if count < LIMIT:
                    pipe.zadd(key, {f"{now_ms}:{count}": now_ms})
                pipe.pexpire(key, WINDOW_MS * 1000)
                await pipe.execute()
                return bool(count < LIMIT)
            except WatchError:
                continue


async def one_after_another(c: Redis, rng: random.Random) -> None:
    now_ms = 1_000_000
    for caller in ("ann", "bob"):
        said = []
        for _ in range(60):
            now_ms += rng.randrange(400)
            said.append("+" if await allowed(c, caller, now_ms) else "-")
        say(caller, "".join(said), await c.zcard(f"calls:{caller}"), await c.pttl(f"calls:{caller}") > 0)


async def all_at_once(c: Redis) -> None:
    """Of 20 calls of the same time, by connections of their own, LIMIT are allowed: WATCH sees to it."""
    results = await asyncio.gather(*(allowed(c, "cid", 5_000_000) for _ in range(20)))
    say("cid", sum(results), await c.zcard("calls:cid"))


async def buckets(c: Redis) -> None:
    """The coarser way: a counter for each second, and bits for who has called at all."""
    for second in range(3):
        for call in range(second + 3):
            async with c.pipeline() as pipe:
                count, _, _ = (
                    await pipe.incr(f"second:{second}")
                    .expire(f"second:{second}", 60, nx=True)
                    .setbit("seen", call, 1)
                    .execute()
                )
        say(f"second {second}", count, await c.ttl(f"second:{second}") > 0)
    say("seen", await c.bitcount("seen"), await c.bitpos("seen", 0))


async def main(host: str, port: str, protocol: str) -> None:
    async with Redis(host=host, port=int(port), decode_responses=True, protocol=int(protocol)) as c:
        await one_after_another(c, random.Random(1))
        await all_at_once(c)
        await buckets(c)
    say("end")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
