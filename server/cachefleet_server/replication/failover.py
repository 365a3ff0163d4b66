"""A handover's decisions: what FAILOVER may begin, when the target is asked to be the primary, and when it is given up.

    actions = failover.handle(event, now)       now: seconds of a monotonic clock

It knows no sockets, no engine and no clock: events say what happened, actions what is to be done. Who carries them out
is handover.py.

                     Requested                  Looked: a target has all
    no-failover -----------------> waiting-for-sync -----------------------> failover-in-progress
         ^            Pause          |                (or: FORCE, and        Follow | the target's answer, or Aborted
         |                           |                 time is up)                  |
         |--- Resume: Aborted, or time is up                                        |
         |--- Resume: Answered "", it is the primary now, and goes on with us ------|
         '--- Lead, Resume: it has declined, or Aborted ----------------------------'

Writes are paused from the request to the end, so the stream ends, and a target that has confirmed its end lacks
nothing. We become its replica *before* it becomes the primary, and ask it on that link (link.py): so there is never
a moment with two primaries. The price is one with none, which lasts as long as the target cannot be reached: only
Aborted ends it, as the time that was given is for the wait alone. Both are so in Valkey.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.errors import CommandError


class State(enum.Enum):
    """The values are INFO's words."""

    NONE = "no-failover"
    WAITING = "waiting-for-sync"
    IN_PROGRESS = "failover-in-progress"


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica."""

    address: Address
    online: bool
    acked: int


@dataclass(frozen=True, slots=True)
class Request:
    """What FAILOVER's words say; no target: whoever has all first."""

    target: Address | None = None
    timeout_ms: int = 0  # 0: none
    force: bool = False


_SYNTAX: Final = "ERR syntax error"
_NUMBER: Final = "ERR value is not an integer or out of range"


def parse(words: Sequence[str]) -> Request:
    """FAILOVER's arguments, but for ABORT alone. Raises CommandError."""
    target: Address | None = None
    timeout_ms, force = 0, False
    left = list(words)
    while left:
        word = left.pop(0).lower()
        if word == "timeout" and left and not timeout_ms:
            timeout_ms = _number(left.pop(0))
            if timeout_ms <= 0:
                raise CommandError("ERR FAILOVER timeout must be greater than 0")
        elif word == "to" and len(left) > 1 and target is None:
            target = Address(left.pop(0), _number(left.pop(0)))
        elif word == "force" and not force:
            force = True
        else:
            raise CommandError(_SYNTAX)
    return Request(target, timeout_ms, force)


def _number(text: str) -> int:
    number = parse_integer(text)
    if number is None:
        raise CommandError(_NUMBER)
    return number


# ---- events ----


@dataclass(frozen=True, slots=True)
class Requested:
    request: Request
    following: bool  # we are a replica
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Aborted:
    pass


@dataclass(frozen=True, slots=True)
class Looked:
    """How far the replicas are. `end`: of the stream."""

    end: int
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Answered:
    """The target has. `declined`: why it is no primary; "": it is one."""

    declined: str = ""


Event = Requested | Aborted | Looked | Answered


# ---- actions ----


@dataclass(frozen=True, slots=True)
class Pause:
    """Writes wait, and the stream ends."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The pause is over."""


@dataclass(frozen=True, slots=True)
class Follow:
    """We are a replica of the target, and ask it to be a primary."""

    target: Address


@dataclass(frozen=True, slots=True)
class Lead:
    """We are a primary again."""


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    text: str


Action = Pause | Resume | Follow | Lead | Note


class Failover:
    def __init__(self) -> None:
        self.state = State.NONE
        self._target: Address | None = None
        self._force = False
        self._until: float | None = None

    @property
    def active(self) -> bool:
        return self.state is not State.NONE

    def handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Requested():
                return self._requested(event, now)
            case Aborted():
                return self._aborted()
            case Looked():
                return self._looked(event, now)
            case Answered(declined):
                return self._answered(declined)

    def _requested(self, event: Requested, now: float) -> list[Action]:
        """Raises CommandError."""
        request = event.request
        if refusal := self._refusal(event):
            raise CommandError(f"ERR {refusal}")
        self._target, self._force = request.target, request.force
        self._until = now + request.timeout_ms / 1000 if request.timeout_ms else None
        self.state = State.WAITING
        return [Pause(), Note(f"A failover to {self._shown} begins: waiting until it has all")]

    def _refusal(self, event: Requested) -> str:
        request = event.request
        if self.active:
            return "FAILOVER already in progress."
        if event.following:
            return "FAILOVER is not valid when server is a replica."
        if not event.candidates:
            return "FAILOVER requires connected replicas."
        if request.force and not (request.timeout_ms and request.target):
            return "FAILOVER with force option requires both a timeout and target HOST and IP."
        if request.target:
            named = [each for each in event.candidates if each.address == request.target]
            if not named:
                return "FAILOVER target HOST and PORT is not a replica."
            if not any(each.online for each in named):
                return "FAILOVER target replica is not online."
        return ""

    def _aborted(self) -> list[Action]:
        """Raises CommandError."""
        if not self.active:
            raise CommandError("ERR No failover in progress.")
        return self._give_up("it was aborted by FAILOVER ABORT")

    def _looked(self, event: Looked, now: float) -> list[Action]:
        if self.state is not State.WAITING:
            return []
        for each in event.candidates:
            if each.online and each.acked == event.end and self._target in (None, each.address):
                return self._begin(each.address, "has all")
        if self._until is None or now < self._until:
            return []
        if self._force and self._target is not None:
            return self._begin(self._target, "lacks something, but time is up (TIMEOUT, FORCE)")
        return self._give_up("no replica that it is for had all in time (TIMEOUT)")

    def _begin(self, target: Address, why: str) -> list[Action]:
        self._target = target
        self.state = State.IN_PROGRESS
        return [Note(f"The failover's target {target} {why}: asking it to be the primary"), Follow(target)]

    def _answered(self, declined: str) -> list[Action]:
        if self.state is not State.IN_PROGRESS:
            return []
        if declined:
            return self._give_up(f"the target declines: {declined}")
        target = self._shown
        self._clear()
        return [Resume(), Note(f"The failover is done: {target} is the primary")]

    def _give_up(self, why: str) -> list[Action]:
        led = self.state is State.WAITING
        actions: list[Action] = [Note(f"The failover to {self._shown} ends without effect: {why}")]
        self._clear()
        return actions + ([Resume()] if led else [Lead(), Resume()])

    @property
    def _shown(self) -> str:
        return str(self._target) if self._target else "any replica"

    def _clear(self) -> None:
        self.state = State.NONE
        self._target, self._force, self._until = None, False, None
