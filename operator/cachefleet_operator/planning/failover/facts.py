"""What is known when a failover is decided: the record that stands, the pods, and what their servers said. Frozen.

    Seat       a pod of the Cache, and what its server says of itself (reply to CACHEFLEET STATE)
    Promise    a server's reply to FENCE: it takes no word from epochs below, and stands where it says
    Evidence   what else they answered, and since when things are as they are (execution/witness.py keeps it)
    View       all of it at one moment, with what is wished

Evidence is for the record that it was asked under, and for the process that gave it: a promise at another epoch, or of
another run than the one that answers now, is none. Ages are those of the moment of the View, by clocks that do not
jump; nothing here reads one. `None` as an age means never.

A disk is known by its id (random, drawn with the data folder), so a pod with another disk is another member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from cachefleet_operator.api.v1alpha1 import Member, Position, Topology


class Point(NamedTuple):
    """A place in the stream of changes, compared in this order."""

    tenure: int = 0  # of the last change before it
    offset: int = 0


NOWHERE: Final = Point()
EPOCHS_AHEAD: Final = 2**32  # no server promises what is further above the promise that it has given


class Target(NamedTuple):
    """A server that is told something: that process, with that disk, or nobody."""

    pod: str
    disk: str
    run: str


class Prepared(NamedTuple):
    """A set and its acks that a primary obeys beside those of its record (S6)."""

    epoch: int
    members: frozenset[str]  # disks, its own included
    acks: int


class Confirmed(NamedTuple):
    """What a member confirmed to the primary that says so."""

    at: Point
    age_s: float


class Vain(NamedTuple):
    """Pauses of a primary for an heir that has not become it."""

    times: int  # in a row
    age_s: float  # since the last one ended


@dataclass(frozen=True, slots=True)
class State:
    """What a server says of itself."""

    disk: str
    run: str
    data_set: str = ""  # empty = it has no data yet
    keys: int = 0
    promise: int = 0
    epoch: int = 0  # of the record that it acts by; 0 = of none
    reign: int = 0  # the tenure that this process holds as primary now; 0 = none
    solo_epoch: int = 0  # the record that made it the only member; 0 = none
    prepared: Prepared | None = None
    at: Point = NOWHERE
    marked: int = 0  # the greatest tenure whose mark it has applied
    follows: str = ""  # disk of its primary
    link: str = "none"
    beat_s: float | None = None  # age of the last beat that it heard
    loading: bool = False
    lease: str = "none"
    confirmed: Mapping[str, Confirmed] = field(default_factory=dict)  # by disk, on a primary


@dataclass(frozen=True, slots=True)
class Promise:
    epoch: int
    disk: str
    run: str
    at: Point
    marked: int = 0
    reign: int = 0  # the tenure that it held until then
    silence_s: float | None = None  # since its last confirmation; None = it never gave one
    data_set: str = ""
    keys: int = 0


@dataclass(frozen=True, slots=True)
class Seat:
    pod: str
    ordinal: int
    exists: bool = True  # the pod object; that it does not proves nothing of its process (O8)
    claim_uid: str | None = ""  # of its volume; None = there is none, so no data can be on it; empty = it needs none
    state: State | None = None  # as it was last said; None = never, or by a server that has no word for it
    answers: bool = False  # now, and that is its state
    failures: int = 0  # questions in a row that were not answered
    refuses: bool = False  # nothing listens at its address
    ended: bool = False  # Kubernetes says that its container has terminated, and no other runs
    going: bool = False  # it is being deleted, or is about to be
    due: bool = False  # it is the next to be restarted, and waits until it is missed by nobody

    @property
    def target(self) -> Target:
        assert self.state is not None
        return Target(self.pod, self.state.disk, self.state.run)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the spec asks of copies."""

    instances: int
    durability: Literal["async", "replicated"] = "async"
    copies: int = 1
    when_missing: Literal["refuse", "continue"] = "refuse"
    on_disk_loss: Literal["wait", "best"] = "wait"
    keeps_data: bool = True  # of a pod that restarts: persistence is on

    @property
    def acks(self) -> int:
        """K of the protocol."""
        return self.copies if self.durability == "replicated" else 1

    @property
    def may_loosen(self) -> bool:
        return self.durability == "async" or self.when_missing == "continue"

    @property
    def may_roll_back(self) -> bool:
        return self.durability == "async" or self.on_disk_loss == "best"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What servers answered when they were told something, and since when things are as they are."""

    promises: Mapping[str, Promise] = field(default_factory=dict)  # by disk, the last that each gave
    agreed: Prepared | None = None  # what a primary said OK to (PREPARE) ...
    agreed_by: Target | None = None  # ... and which
    paused: frozenset[str] = frozenset()  # disks of servers that hold their writes, as they were told
    vain: Mapping[str, Vain] = field(default_factory=dict)  # by disk of the heir
    dead: frozenset[str] = frozenset()  # runs that have ended for certain (O1 b)
    refused: frozenset[str] = frozenset()  # pods whose server refused this record, and will again
    reign_s: float = 0.0  # from when this record's primary first said that it reigns by it, to when it last did
    down_s: float = 0.0  # since it was first seen not to reign
    replaced_s: Mapping[str, float] = field(default_factory=dict)  # pod -> since it was seen with another disk
    told_s: Mapping[str, float] = field(default_factory=dict)  # pod -> since it was told a record


NO_EVIDENCE: Final = Evidence()


@dataclass(frozen=True, slots=True)
class View:
    record: Topology | None
    seats: tuple[Seat, ...]  # by ordinal, those beyond the wished ones included
    wish: Wish
    evidence: Evidence = NO_EVIDENCE
    seed: str = ""  # what makes the id of a new data set unlike all others, with the runs that begin it
    token: str = ""  # a person's word (token.py)
    successor: str = ""  # whom a person wants to be the primary (handover.py)

    @property
    def stands(self) -> Topology:
        assert self.record is not None
        return self.record

    def seat(self, pod: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.pod == pod), None)

    def answering(self) -> Iterator[tuple[Seat, State]]:
        for seat in self.seats:
            if seat.answers and seat.state is not None:
                yield seat, seat.state

    def with_disk(self, disk: str) -> tuple[Seat, State] | None:
        """Who answers with this disk."""
        return next(((seat, state) for seat, state in self.answering() if state.disk == disk), None)

    def primary(self) -> tuple[Seat, State] | None:
        """The record's primary, if that member answers, whatever it does."""
        return self.with_disk(self.stands.primary.disk)

    def holder(self) -> tuple[Seat, State] | None:
        """The same if it reigns: it holds the record's tenure."""
        found = self.primary()
        return found if found is not None and found[1].reign == self.stands.tenure else None

    def next_epoch(self) -> int:
        """Of the record that replaces this one: one more, or what servers have promised already, if that is more."""
        promised = (state.promise for _, state in self.answering() if not self.is_far(state))
        return max((self.stands.epoch + 1, *promised))

    def is_far(self, state: State) -> bool:
        """It was new when somebody had it promise what no other server would. It is left out: nobody could follow."""
        return state.promise > self.stands.epoch + EPOCHS_AHEAD

    def promised(self, epoch: int) -> dict[str, Promise]:
        """By disk; not those of a process that is known to be another one now, or that has promised more since."""
        now = {state.disk: state for _, state in self.answering()}
        return {
            disk: promise for disk, promise in self.evidence.promises.items()
            if promise.epoch == epoch
            and (disk not in now or (now[disk].run == promise.run and now[disk].promise <= epoch))
        }  # fmt: skip


def disks(members: tuple[Member, ...]) -> frozenset[str]:
    return frozenset(member.disk for member in members)


def point(position: Position | None) -> Point:
    return Point(position.tenure, position.offset) if position is not None else NOWHERE


def position(at: Point) -> Position:
    return Position(tenure=at.tenure, offset=at.offset)


def is_superseded(view: View, member: Member) -> bool:
    """Its pod answers, with another disk: what this member had is gone."""
    seat = view.seat(member.pod)
    return seat is not None and seat.answers and seat.state is not None and seat.state.disk != member.disk
