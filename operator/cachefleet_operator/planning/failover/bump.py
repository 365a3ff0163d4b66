"""O5: the same record under a new epoch, where the primary reigns, and

- a server has promised more than the record: it confirms to nobody until a record comes that is as new;
- the primary has prepared a set that is not wanted any more: it would wait for members that may be gone.
"""

from __future__ import annotations

from cachefleet_operator.api.v1alpha1 import Member
from cachefleet_operator.planning.failover import loosen
from cachefleet_operator.planning.failover import members as members_
from cachefleet_operator.planning.failover.facts import Prepared, Seat, State, View, disks
from cachefleet_operator.planning.failover.moves import Move


def is_ahead(view: View) -> str:
    """The pod of a server that has promised more than the record; empty = none has."""
    epoch = view.stands.epoch
    return next((seat.pod for seat, said in view.answering() if said.promise > epoch and not view.is_far(said)), "")


def is_abandoned(view: View, state: State, members: tuple[Member, ...], acks: int) -> bool:
    """What the primary has prepared is not what is wanted now, or nothing is."""
    record = view.stands
    if state.prepared is None or state.prepared.epoch != record.epoch:
        return False
    return state.prepared != Prepared(record.epoch, disks(members), acks) or members_.is_as_wished(view, members, acks)


def ahead(view: View, seat: Seat, state: State) -> Move | None:
    if not (pod := is_ahead(view)):
        return None
    return _same(view, state, f"{seat.pod} goes on: {pod} has promised more than the record")


def abandoned(view: View, seat: Seat, state: State, members: tuple[Member, ...], acks: int) -> Move | None:
    if not is_abandoned(view, state, members, acks):
        return None
    return _same(view, state, f"{seat.pod} goes on: what it has prepared is not wanted any more")


def _same(view: View, state: State, words: str) -> Move:
    record = view.stands
    return loosen.continued(view, state, record.members, record.acks, words)
