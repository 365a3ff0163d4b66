"""Traffic through a failover: a client that writes and one that reads, without a pause, and what must be true of it.

    with Writer("rw", connect) as writer:       numbers, one after the other, each kept when it is acknowledged
        writer.goes_on()                        somebody takes them
    writer.lost(client)                         numbers that were acknowledged, and are not there
    writer.gap_s(since)                         the longest time without an acknowledgement
    two_at_once(writers)                        acknowledgements that two primaries gave at the same time, or who was
                                                restarted and did not wait for a word

A writer knows who acknowledged: each write is followed, in the same packet, by the question which tenure the server
holds. Who was cut off looks for a server again at once; what failed is not tried again, so a number is on the list once
or not at all, and the list grows.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from fleettest.client import Connection, Error, ProtocolError
from fleettest.wait import assert_eventually

Connect = Callable[[], Connection]

PACE_S: Final = 0.01  # between two writes: what a gap is measured with
AWAY: Final = (OSError, EOFError, ProtocolError)
GOES_ON: Final = 50  # acknowledgements in a row of time after which a client is served
DEADLINE_S: Final = 60.0


class Acked(NamedTuple):
    number: int
    sent: float  # time.monotonic
    at: float
    run: str  # the process that took it
    tenure: int  # by which it took it


class Behind(NamedTuple):
    """A read that did not show what had been acknowledged before it."""

    at: float
    found: int
    least: int


class Refused(Exception):
    """The server said no."""


class Client:
    """A thread that asks again and again, over one connection as long as that holds."""

    def __init__(self, connect: Connect) -> None:
        self._connect, self._over = connect, threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run)
        self.refusals: Counter[str] = Counter()  # by the first word of an error, or the name of an exception

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _turn(self, connection: Connection) -> None:
        """One question. Raises Refused, or one of AWAY."""
        raise NotImplementedError

    def _greet(self, connection: Connection) -> None:
        """The first of a connection."""

    def _run(self) -> None:
        while not self._over.wait(PACE_S):
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._greet(self._connection)
                self._turn(self._connection)
            except Refused as error:
                self.refusals[str(error).split(" ", 1)[0]] += 1
                self._hang_up()  # Perhaps the Service leads to another one by now.
            except AWAY as error:
                self.refusals[type(error).__name__] += 1
                self._hang_up()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Writer(Client):
    """Puts numbers on the list `name`."""

    def __init__(self, name: str, connect: Connect) -> None:
        super().__init__(connect)
        self.name = name
        self.acked: list[Acked] = []
        self._numbers = itertools.count(1)

    def _turn(self, connection: Connection) -> None:
        number, sent = next(self._numbers), time.monotonic()
        taken, state = connection.pipeline([("RPUSH", self.name, number), ("CACHEFLEET", "STATE")])
        at = time.monotonic()
        if isinstance(taken, Error):
            raise Refused(taken)
        found = {} if isinstance(state, Error) else dict(zip(state[::2], state[1::2], strict=True))
        self.acked.append(Acked(number, sent, at, found.get(b"run", b"").decode(), int(found.get(b"reign", 0))))

    @property
    def last(self) -> int:
        """The last number that was acknowledged; 0 for none."""
        return self.acked[-1].number if self.acked else 0

    def goes_on(self, deadline_s: float = DEADLINE_S) -> None:
        """Until it was served for a while from now on."""
        before = len(self.acked)
        what = f"{self.name} is served"
        words = lambda: f"{what}: {self.refusals}"  # noqa: E731
        assert_eventually(lambda: len(self.acked) >= before + GOES_ON, words, deadline_s=deadline_s)

    def tenure(self) -> int:
        return self.acked[-1].tenure

    def next_tenure(self, since: float, deadline_s: float = DEADLINE_S) -> float:
        """Seconds from `since` (time.monotonic) until somebody acknowledged by another tenure than then."""
        before = next(one.tenure for one in reversed(self.acked) if one.at <= since)

        def found() -> Acked | None:
            return next((one for one in reversed(self.acked) if one.tenure > before), None)

        assert_eventually(found, lambda: f"a primary after tenure {before}: {self.refusals}", deadline_s=deadline_s)
        return next(one.at for one in self.acked if one.tenure > before) - since

    def gap_s(self, since: float = 0.0) -> float:
        """The longest time between two acknowledgements of which the second came after `since`."""
        found = [later.at - one.at for one, later in itertools.pairwise(self.acked) if later.at > since]
        return max(found, default=0.0)

    def lost(self, connection: Connection) -> list[int]:
        """What was acknowledged and is not on the list; which must be as it was written, too."""
        there = [int(number) for number in connection.call("LRANGE", self.name, 0, -1)]
        assert all(one < later for one, later in itertools.pairwise(there)), "a number twice, or out of order"
        return sorted({one.number for one in self.acked} - set(there))


class Reader(Client):
    """Reads where the list of `writer` ends."""

    def __init__(self, writer: Writer, connect: Connect) -> None:
        super().__init__(connect)
        self._writer = writer
        self.reads = 0
        self.behind: list[Behind] = []

    def _turn(self, connection: Connection) -> None:
        least, sent = self._writer.last, time.monotonic()
        found = connection.call("LINDEX", self._writer.name, -1)
        if isinstance(found, Error):
            raise Refused(found)
        self.reads += 1
        if int(found or 0) < least:
            self.behind.append(Behind(sent, int(found or 0), least))


def two_at_once(writers: Iterable[Writer], alone: frozenset[int] = frozenset()) -> list[tuple[Acked, Acked]]:
    """Of each pair of tenures: a write that the older one took after the younger one had taken one, if there is any.
    And of each tenure that two processes held: one of each; but who is restarted in a tenure that it held `alone` may
    go on with it."""
    every = sorted((one for writer in writers for one in writer.acked), key=lambda one: one.at)
    holders: dict[int, Acked] = {}
    ended: set[str] = set()
    newest: Acked | None = None
    found = []
    for one in every:
        holder = holders.setdefault(one.tenure, one)
        if holder.run != one.run and one.tenure in alone and one.run not in ended:
            ended.add(holder.run)
            holders[one.tenure] = one
        elif holder.run != one.run:
            found.append((holder, one))
        if newest is not None and one.tenure < newest.tenure and one.sent > newest.at:
            found.append((newest, one))
        if newest is None or one.tenure > newest.tenure:
            newest = one
    return found
