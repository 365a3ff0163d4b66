"""What can happen to a managed server (machine.py). `end` is the offset behind the last byte that is applied, or was
written by the server itself."""

from __future__ import annotations

from dataclasses import dataclass

from cachefleet_server.managed.state import Greeting, Quorum, Record


@dataclass(frozen=True, slots=True)
class Started:
    """The data are loaded. `torn`: their end was cut; `kept`: a file will get all that is applied, before it is
    confirmed; `synced`: and will be on the disk by then; `boot`: of the host."""

    end: int
    torn: bool
    kept: bool
    synced: bool
    boot: str


@dataclass(frozen=True, slots=True)
class Kept:
    """From now on it is so. What was not kept once is not proved by the next start."""

    kept: bool
    synced: bool


@dataclass(frozen=True, slots=True)
class Told:
    """RECORD"""

    disk: str
    record: Record
    claim: str
    end: int


@dataclass(frozen=True, slots=True)
class Fence:
    disk: str
    epoch: int
    claim: str
    end: int


@dataclass(frozen=True, slots=True)
class Prepare:
    disk: str
    epoch: int
    quorum: Quorum
    end: int


@dataclass(frozen=True, slots=True)
class Pause:
    disk: str
    epoch: int
    ms: int


@dataclass(frozen=True, slots=True)
class Resume:
    disk: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A replica with this promise and disk wants to follow us."""

    epoch: int
    disk: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """By one who said hello in this reign: it has applied all in front of `offset`."""

    disk: str
    offset: int


@dataclass(frozen=True, slots=True)
class Said:
    """The beat is in the stream, and ends there; `now` is a time before it was put there."""

    end: int


@dataclass(frozen=True, slots=True)
class Greeted:
    """What the primary that we are connecting to says of itself."""

    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Joined:
    """The data are those of the primary that has greeted us, up to `end`, and its stream begins. Nothing is confirmed
    before this."""

    end: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A beat of the primary, of this epoch, was applied. `promptly`: its clients wait for what we confirm."""

    epoch: int
    end: int
    promptly: bool = False


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The connection with the primary has ended."""


@dataclass(frozen=True, slots=True)
class Acked:
    """The last confirmation was sent then: by Confirm, or by who else may confirm while the link is there."""

    at: float


@dataclass(frozen=True, slots=True)
class StoreFailed:
    pass


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has."""


Event = (
    Started | Kept | Told | Fence | Prepare | Pause | Resume | Hello | Confirmed | Said | Greeted | Joined | Heard
    | Unlinked | Acked | StoreFailed | Passed
)  # fmt: skip
