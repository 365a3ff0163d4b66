"""A primary's decisions about its replicas: who goes on from where, whose snapshot is next, who is too silent.

    actions = primary.handle(event, now)        now: seconds of a monotonic clock

It knows no sockets, no engine and no clock: events say what happened, actions what is to be done, and both name
replicas by numbers. Who carries the actions out is service.py; what every byte passes is feed.pyx.

    Asked --> Resume               its history is ours, or the one that ours goes on from, and the backlog still has all
          |                        that follows
          '-> Wait --(Free)--> Begin --> Sent (ok) --> Loading --> it confirms, and gets the stream
                                     '-> Sent (failed) --> Disconnect

One snapshot an engine runs at a time, a save or a rewrite of the AOF included, and each replica gets its own: who comes
while one runs waits, in the order of coming. Waiting costs nothing, since the stream is kept only from a replica's own
snapshot on. `repl-diskless-sync-delay`, which collects replicas for one snapshot, has therefore nothing to do.

The backlog lives from the first replica until `repl-backlog-ttl` seconds after the last one; 0 is for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

ANY_HISTORY: Final = "?"
NEWLINE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class History:
    """What there is to go on from: offsets count from 0, and name the next byte."""

    id: str  # "": no backlog
    earlier_id: str  # "": none
    earlier_end: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The parameters, in seconds."""

    timeout: float = 60.0
    ping_period: float = 10.0
    backlog_ttl: float = 3600.0


# ---- events ----


@dataclass(frozen=True, slots=True)
class Asked:
    """PSYNC or SYNC. `next` is the offset of the first byte that it lacks."""

    replica: int
    history: str
    next: int
    ours: History


@dataclass(frozen=True, slots=True)
class Free:
    """No snapshot runs; `ready` of those that wait have been sent all that was said to them."""

    ready: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sent:
    replica: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Gone:
    replica: int


@dataclass(frozen=True, slots=True)
class Alone:
    """A replica has become a primary: there is a backlog, and there may be nobody whom it is for."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has. `silent`: seconds since each replica sent anything, but for those that wait, are being sent a snapshot,
    or need not confirm."""

    limits: Limits
    silent: Sequence[tuple[int, float]]
    backlog: bool


Event = Asked | Free | Sent | Gone | Alone | Passed


# ---- actions ----


@dataclass(frozen=True, slots=True)
class Resume:
    replica: int
    offset: int


@dataclass(frozen=True, slots=True)
class Wait:
    replica: int
    partial_failed: bool  # it wanted to go on


@dataclass(frozen=True, slots=True)
class Begin:
    """Takes the snapshot and sends it."""

    replica: int


@dataclass(frozen=True, slots=True)
class Loading:
    """It has been sent all of it."""

    replica: int


@dataclass(frozen=True, slots=True)
class Newline:
    """A sign of life to one that waits."""

    replica: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    replica: int
    why: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Into the stream."""


@dataclass(frozen=True, slots=True)
class CloseBacklog:
    pass


Action = Resume | Wait | Begin | Loading | Newline | Disconnect | Ping | CloseBacklog


def resumable(asked: Asked) -> bool:
    """Whether the bytes from `next` on are what it lacks, and there."""
    ours = asked.ours
    if not ours.id:
        return False
    last = {ours.earlier_id: min(ours.earlier_end, ours.stop), ours.id: ours.stop}.get(asked.history.lower(), -1)
    return ours.start <= asked.next <= last


@dataclass
class Primary:
    replicas: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)  # in the order of coming
    sending: int | None = None  # whose snapshot runs
    _alone_since: float | None = None
    _last_ping: float = 0.0
    _last_newline: float = 0.0

    def handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Asked():
                return self._asked(event, now)
            case Free(ready):
                return self._free(ready)
            case Sent(replica, ok):
                return self._sent(replica, ok)
            case Gone(replica):
                return self._gone(replica, now)
            case Alone():
                self._alone_since = None if self.replicas else now
                return []
            case Passed():
                return self._passed(event, now)

    def _asked(self, event: Asked, now: float) -> list[Action]:
        if not self.replicas:
            self._last_ping = now
        self.replicas.add(event.replica)
        self._alone_since = None
        if resumable(event):
            return [Resume(event.replica, event.next)]
        self.waiting.append(event.replica)
        return [Wait(event.replica, partial_failed=event.history != ANY_HISTORY)]

    def _free(self, ready: frozenset[int]) -> list[Action]:
        if self.sending is not None:
            return []
        for replica in self.waiting:
            if replica in ready:
                self.waiting.remove(replica)
                self.sending = replica
                return [Begin(replica)]
        return []

    def _sent(self, replica: int, ok: bool) -> list[Action]:
        self.sending = None
        if replica not in self.replicas:  # it went meanwhile
            return []
        return [Loading(replica)] if ok else [Disconnect(replica, "its snapshot could not be sent")]

    def _gone(self, replica: int, now: float) -> list[Action]:
        self.replicas.discard(replica)
        if replica in self.waiting:
            self.waiting.remove(replica)
        if not self.replicas:
            self._alone_since = now
        return []

    def _passed(self, event: Passed, now: float) -> list[Action]:
        limits = event.limits
        actions: list[Action] = [
            Disconnect(replica, f"it has said nothing for {int(silent)} seconds (repl-timeout)")
            for replica, silent in event.silent
            if silent > limits.timeout
        ]
        if self.waiting and now - self._last_newline >= NEWLINE_S:
            self._last_newline = now
            actions += [Newline(replica) for replica in self.waiting]
        if self.replicas and now - self._last_ping >= limits.ping_period:
            self._last_ping = now
            actions.append(Ping())
        alone = self._alone_since is not None and now - self._alone_since > limits.backlog_ttl
        if event.backlog and limits.backlog_ttl and alone:
            self._alone_since = None
            actions.append(CloseBacklog())
        return actions
