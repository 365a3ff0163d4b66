"""A queue on lists with several consumers on asyncio: each waits in BLMOVE on a connection of its own.

One goes away with a job in hand, and another does it.
"""

from __future__ import annotations

import asyncio
import sys

from redis.asyncio import Redis
from say import ordered, say

JOBS = 200
CONSUMERS = 4


async def consume(c: Redis, name: str, holds: asyncio.Event | None) -> None:
    """Until it is cancelled; with `holds`, it sets that at the third job and never comes back."""
    mine = f"taken:{name}"
    done = 0
    while True:
        job = await c.blmove("jobs", mine, 10, "RIGHT", "LEFT")
        if holds is not None and done == 2:
            holds.set()
            await asyncio.Event().wait()
        async with c.pipeline() as pipe:
            await pipe.sadd("done", job).incr("count").lrem(mine, 1, job).execute()
        done += 1


async def main(host: str, port: str, protocol: str) -> None:
    async with Redis(host=host, port=int(port), decode_responses=True, protocol=int(protocol)) as c:
        holds = asyncio.Event()
        consumers = [
            asyncio.ensure_future(consume(c, str(number), None if number else holds)) for number in range(CONSUMERS)
        ]
        while (await c.info("clients"))["blocked_clients"] != CONSUMERS:
            await asyncio.sleep(0.005)
        for first in range(0, JOBS, 10):
            await c.lpush("jobs", *range(first, first + 10))
        await holds.wait()
        while await c.get("count") != str(JOBS - 1):
            await asyncio.sleep(0.005)
        consumers[0].cancel()
        say("in hand", await c.llen("taken:0"), await c.scard("done"))
        say("given back", await c.lmove("taken:0", "jobs", "LEFT", "RIGHT") is not None)
        while await c.get("count") != str(JOBS):
            await asyncio.sleep(0.005)
        for consumer in consumers[1:]:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        say("done", await c.scard("done"), len(await c.sdiff("done", "nosuch")), await c.llen("jobs"))
        say("left", ordered([key async for key in c.scan_iter("*")]))
    say("end")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
