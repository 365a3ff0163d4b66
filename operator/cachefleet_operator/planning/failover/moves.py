"""What a decision asks for: one thing at a time. Who carries it out is planning/topology.py and execution/.

    Decide     store this record, onto the one that it was decided over; nothing is told before
    Tell       the record that stands, to these servers
    Fence      these servers are to promise this epoch: no word from older ones, and where they stand
    Prepare    the primary is to obey a second set beside its own
    Pause      it is to hold its writes, for so long at most
    Resume     it need not any more
    Rest       nothing, until something is otherwise

`reason` is the word of the condition PrimaryHealthy while that goes on (api/conditions.py); empty = the primary is
well. `words` say it to people.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.planning.failover.facts import Target

ELECTING, WAITING_FOR_LEASE, WAITING_FOR_MEMBER = "Electing", "WaitingForLease", "WaitingForMember"
NO_CANDIDATE, DATA_CONFLICT = "NoCandidate", "DataConflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    words: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide(Move):
    record: Topology
    rolled_back: bool = False  # acknowledged changes may be lost by it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell(Move):
    servers: tuple[Target, ...]  # the primary first


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence(Move):
    epoch: int
    servers: tuple[Target, ...]  # in this order


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Move):
    epoch: int
    server: Target
    members: tuple[str, ...]  # disks
    acks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Move):
    epoch: int
    server: Target
    for_ms: int
    heir: str  # disk of the member that is to come level


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Move):
    epoch: int
    server: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest(Move):
    again_s: float | None = None  # something becomes otherwise by itself then
