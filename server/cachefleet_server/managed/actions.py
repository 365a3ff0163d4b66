"""What a managed server is to do (machine.py), in the order in which it is said."""

from __future__ import annotations

from dataclasses import dataclass

from cachefleet_server.managed.state import Greeting, Position, Stored


@dataclass(frozen=True, slots=True)
class Store:
    """On the disk for sure before anything behind it is done."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Lead:
    """Be a primary. A beat follows: the tenure's mark. Writes are refused until a Lease says until when."""

    tenure: int


@dataclass(frozen=True, slots=True)
class Stand:
    """Be fenced: neither a primary nor anybody's replica. The replicas and the primary are disconnected."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Connect anew."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Goes on with the handshake."""


@dataclass(frozen=True, slots=True)
class Drop:
    """This connection with the primary, or this attempt, ends; try again."""

    why: str


@dataclass(frozen=True, slots=True)
class CutClients:
    """Who thinks that this is the primary, but for who told us; and everybody whose reply waits for copies."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Writes are accepted until then; inf: without end, -inf: not at all."""

    until: float


@dataclass(frozen=True, slots=True)
class Beat:
    """Into the stream; then `Said`. `promptly`: replicas are to confirm each tick."""

    epoch: int
    promptly: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """Replies to writes may leave that are in front of this offset of the stream; None: they wait for no copies."""

    offset: int | None


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tells the primary how far we are."""


@dataclass(frozen=True, slots=True)
class ConfirmTicks:
    """From now on, or no more, at the end of each tick that has brought something. `from_file`: as far as a file has
    it."""

    promptly: bool
    from_file: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Writes, for so long at most."""

    ms: int


@dataclass(frozen=True, slots=True)
class LetGo:
    pass


@dataclass(frozen=True, slots=True)
class Done:
    """The reply to a command."""

    word: str = "OK"


@dataclass(frozen=True, slots=True)
class Facts:
    """The reply to FENCE."""

    disk: str
    run: str
    position: Position
    reign: int  # the tenure held until this promise
    confirmed_age: float | None  # None: never, and nobody with this disk has
    data_set: str


@dataclass(frozen=True, slots=True)
class Greet:
    """The reply to a replica."""

    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Refuse:
    """The reply: an error."""

    word: str
    text: str


Action = (
    Store | Lead | Stand | Follow | Accept | Drop | CutClients | Lease | Beat | Copied | Confirm | ConfirmTicks | Hold
    | LetGo | Done | Facts | Greet | Refuse
)  # fmt: skip
