"""A worker of a consumer group, which may die at any moment: `python -m fleettest.stream_worker PORT NAME`.

It takes over what others have left pending for long, or reads what is new; the work of an entry is to count it, once,
in the transaction that acknowledges it. A WATCH sees to it that two who have the same entry do not both count it.
"""

from __future__ import annotations

import sys
from typing import Any

from fleettest.client import Connection, Error

STREAM, GROUP = "jobs", "work"
LEFT_MS = 100  # pending for that long: whoever had it is taken to be dead


def _entries(c: Connection, name: str) -> list[Any]:
    taken: Any = c.call("XAUTOCLAIM", STREAM, GROUP, name, LEFT_MS, "0", "COUNT", 5)
    if isinstance(taken, Error):
        raise ConnectionError(str(taken))
    if taken[1]:
        return list(taken[1])
    reply: Any = c.call("XREADGROUP", "GROUP", GROUP, name, "COUNT", 5, "BLOCK", LEFT_MS, "STREAMS", STREAM, ">")
    if isinstance(reply, Error):
        raise ConnectionError(str(reply))
    return list(reply[0][1]) if reply else []


def _work(c: Connection, id: bytes, job: bytes) -> None:
    count = b"count:" + job
    c.call("WATCH", count)
    if c.call("EXISTS", count):
        c.call("UNWATCH")
        c.call("XACK", STREAM, GROUP, id)
        return
    c.pipeline([("MULTI",), ("INCR", count), ("XACK", STREAM, GROUP, id), ("EXEC",)])


def main() -> None:
    port, name = int(sys.argv[1]), sys.argv[2]
    while True:
        try:
            with Connection(("127.0.0.1", port), timeout_s=5) as c:
                while True:
                    for id, words in _entries(c, name):
                        _work(c, id, words[1])
        except (OSError, EOFError):  # the server died; it comes back
            continue


if __name__ == "__main__":
    main()
