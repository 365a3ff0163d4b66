"""A queue on lists that survives its workers: BLMOVE into a list of the worker's own, which is given back when it dies.

A worker is a process of its own. The first kills itself with a job in hand; when its heartbeat has run out, what it had
goes back to the front of the queue, and the next worker does it. Jobs to be tried again later wait in a sorted set.

    jobs.py HOST PORT PROTOCOL [WORKER JOBS_UNTIL_IT_DIES]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import redis
from say import ordered, say

JOBS = 20
FAILS = 7  # this one, at its first try
ALIVE_MS = 300


def work(c: redis.Redis, name: str, dies_after: int) -> None:
    mine = f"taken:{name}"
    c.sadd("workers", name)
    done = 0
    while True:
        c.set(f"alive:{name}", 1, px=ALIVE_MS)
        job = c.blmove("jobs", mine, 0.2, "RIGHT", "LEFT")
        if job is None:
            break
        if done == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        number = json.loads(job)["number"]
        with c.pipeline() as pipe:
            if number == FAILS and c.hget("tries", number) is None:
                pipe.zadd("later", {job: 100})
            else:
                pipe.hset("results", number, number * number)
            pipe.hincrby("tries", number, 1).lrem(mine, 1, job).execute()
        done += 1
    c.srem("workers", name)


def recover(c: redis.Redis) -> list[str]:
    """Gives back what workers without a heartbeat had; their names."""
    dead = [name for name in c.smembers("workers") if not c.exists(f"alive:{name}")]
    for name in dead:
        while c.lmove(f"taken:{name}", "jobs", "LEFT", "RIGHT") is not None:
            pass
        c.srem("workers", name)
    return sorted(dead)


def retry(c: redis.Redis, now: int) -> int:
    """Puts back what was to wait until then."""
    due = c.zrange("later", "-inf", now, byscore=True)
    for job in due:
        with c.pipeline() as pipe:
            pipe.zrem("later", job).lpush("jobs", job).execute()
    return len(due)


def produce(words: list[str], c: redis.Redis) -> None:
    for number in range(JOBS):
        c.lpush("jobs", json.dumps({"number": number, "of": "日本"}))
    say("queued", c.llen("jobs"), c.lindex("jobs", -1))

    def run(name: str, dies_after: int) -> int:
        return subprocess.run([sys.executable, __file__, *words, name, str(dies_after)], timeout=30).returncode

    say("the first worker", run("first", 5), c.hlen("results"), c.lrange("taken:first", 0, -1))
    while not (dead := recover(c)):
        time.sleep(0.01)
    say("recovered", dead, c.llen("taken:first"), c.llen("jobs"), c.lindex("jobs", -1))
    say("the second worker", run("second", -1), c.hlen("results"), c.zcard("later"), ordered(c.smembers("workers")))
    say("too early", retry(c, 99), "in time", retry(c, 100))
    say("the third worker", run("third", -1), c.hlen("results"))
    tries = {number: count for number, count in c.hgetall("tries").items() if count != "1"}
    results = c.hgetall("results")
    say("done", all(results[str(number)] == str(number * number) for number in range(JOBS)), "more than once", tries)
    say("left", ordered(key for key in c.keys("*") if not key.startswith("alive:")))
    say("end")


def main(*words: str) -> None:
    host, port, protocol, *worker = words
    with redis.Redis(host=host, port=int(port), decode_responses=True, protocol=int(protocol)) as c:
        if worker:
            work(c, worker[0], int(worker[1]))
        else:
            produce(list(words), c)


if __name__ == "__main__":
    main(*sys.argv[1:])
