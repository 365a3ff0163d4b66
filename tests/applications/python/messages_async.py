"""redis-py on asyncio: a chat by channels and patterns, and events that a group of consumers takes from a stream.

One consumer of the group goes away with events in hand; what it had not acknowledged is claimed by the others. Before
the end all of them are done, none by two.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

from redis.asyncio import Redis
from say import ordered, say

MESSAGES = 300
EVENTS = 500
CONSUMERS = 4
HELD = 5  # by who goes away
GIVE_UP_S = 40


async def listen(c: Redis, name: str, pattern: bool, got: list[tuple[str, str]]) -> None:
    async with c.pubsub(ignore_subscribe_messages=True) as pubsub:
        await (pubsub.psubscribe(name) if pattern else pubsub.subscribe(name))
        async for message in pubsub.listen():
            got.append((message["channel"], message["data"]))


async def chat(c: Redis) -> None:
    got: list[list[tuple[str, str]]] = [[], [], []]
    listeners = [
        asyncio.ensure_future(listen(c, *how, mine))
        for how, mine in zip([("room:1", False), ("room:1", False), ("room:*", True)], got, strict=True)
    ]
    while (await c.pubsub_numsub("room:1"))[0][1] + await c.pubsub_numpat() < len(got):
        await asyncio.sleep(0.005)
    receivers = [await c.publish(f"room:{n % 2 + 1}", f"message {n}") for n in range(MESSAGES)]
    said = [(f"room:{n % 2 + 1}", f"message {n}") for n in range(MESSAGES)]
    in_room = [one for one in said if one[0] == "room:1"]
    while sum(map(len, got)) < len(said) + 2 * len(in_room):
        await asyncio.sleep(0.005)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    say("receivers", sorted(Counter(receivers).items()))
    say("chat", got[0] == in_room, got[1] == in_room, got[2] == said)


def entries_of(reply: Any) -> list[tuple[str, dict[str, str]]]:
    """Of the only stream: redis-py gives a list with RESP2, and with RESP3 a dictionary of lists in a list."""
    if isinstance(reply, dict):
        return [entry for chunks in reply.values() for chunk in chunks for entry in chunk]
    return [entry for _, entries in reply or [] for entry in entries]


async def consume(c: Redis, name: str, done: Counter[str], holds: asyncio.Event | None) -> None:
    """With `holds`, it takes some and never comes back."""
    while True:
        reply = await c.xreadgroup("workers", name, {"events": ">"}, count=HELD, block=10_000)
        if holds is not None:
            holds.set()
            await asyncio.Event().wait()
        for id, fields in entries_of(reply):
            done[fields["number"]] += 1
            await c.xack("events", "workers", id)


async def stream(c: Redis) -> None:
    done: Counter[str] = Counter()
    holds = asyncio.Event()
    await c.xgroup_create("events", "workers", "0", mkstream=True)
    lost = asyncio.ensure_future(consume(c, "lost", done, holds))
    for number in range(HELD):
        await c.xadd("events", {"number": number})
    await holds.wait()
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    held = len(await c.xpending_range("events", "workers", "-", "+", 100, consumername="lost"))
    consumers = [asyncio.ensure_future(consume(c, str(n), done, None)) for n in range(CONSUMERS)]
    for number in range(HELD, EVENTS):
        await c.xadd("events", {"number": number}, maxlen=10_000, approximate=True)
    while sum(done.values()) < EVENTS - held or (await c.xpending("events", "workers"))["pending"] > held:
        await asyncio.sleep(0.005)
    _, claimed, _ = await c.xautoclaim("events", "workers", "0", 0, count=100)
    for id, fields in claimed:
        done[fields["number"]] += 1
        await c.xack("events", "workers", id)
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    say("held", 0 < held <= HELD, held == len(claimed))
    say("events", len(done), sum(done.values()), await c.xlen("events"))
    say("pending", (await c.xpending("events", "workers"))["pending"])
    groups = await c.xinfo_groups("events")
    say("group", groups[0]["entries-read"], groups[0]["lag"])


async def main(host: str, port: str, protocol: str) -> None:
    async with Redis(host=host, port=int(port), decode_responses=True, protocol=int(protocol)) as c:
        await asyncio.wait_for(chat(c), GIVE_UP_S)
        await asyncio.wait_for(stream(c), GIVE_UP_S)
        say("left", ordered([key async for key in c.scan_iter("*")]))
    say("end")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
