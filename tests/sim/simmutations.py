"""The rules with one of them broken: each must be caught by some schedule, or the simulation proves nothing.

A mutation replaces functions of planning/failover by name. How it is caught depends on the setting:
how many servers there are, and what is wished of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import simoperator
from simfleet import Setting

from cachefleet_operator.execution.witness import Witness
from cachefleet_operator.planning import managed, topology
from cachefleet_operator.planning.failover import (
    bump,
    decide,
    elect,
    facts,
    first,
    handover,
    loosen,
    members,
    suspect,
    tighten,
)
from cachefleet_operator.planning.failover.facts import View, Wish
from cachefleet_operator.planning.failover.moves import Decide, Move

SYNC2 = Setting(Wish(2, "replicated"))
LOOSE2 = Setting(Wish(2, "replicated", when_missing="continue"), operators=2)
GONE2 = replace(LOOSE2, goes=1.0)
SYNC3 = Setting(Wish(3, "replicated"), operators=2)
SYNC3X2 = Setting(Wish(3, "replicated", copies=2), operators=2)
LOOSE3 = Setting(Wish(3, "replicated", when_missing="continue"), operators=2)
ASYNC2, ASYNC3 = Setting(Wish(2, "async"), operators=2), Setting(Wish(3, "async"), operators=2)
GONE3 = Setting(Wish(3, "async"), goes=1.0)
GROWS = Setting(Wish(3, "async"), grows=True)
RECOVER = Setting(Wish(2, "async"), recover=True)


@dataclass(frozen=True)
class Mutation:
    name: str
    rule: str
    setting: Setting
    seed: int  # a schedule that noticed it, when it was last looked for: it is tried first
    patches: tuple[tuple[Any, str, Callable[[Any], Any]], ...]  # where, what, what it becomes


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    kept = [(place, name, getattr(place, name)) for place, name, _ in mutation.patches]
    try:
        for place, name, change in mutation.patches:
            setattr(place, name, change(getattr(place, name)))
        yield
    finally:
        for place, name, old in kept:
            setattr(place, name, old)


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda old: lambda *args, **more: value


def _shrunk(view: View, made: Move | None) -> Move | None:
    if not isinstance(made, Decide):
        return made
    record = made.record
    mine = tuple(member for member in record.members if member.disk == record.primary.disk)
    return replace(made, record=record.model_copy(update={"members": mine, "acks": 0}))


def _only_promised(old: Any) -> Any:
    def staying(record: Any, promised: frozenset[str]) -> Any:
        kept = tuple(member for member in record.members if member.disk in promised)
        return kept, min(record.acks, len(kept) - 1)

    return staying


def _worst(old: Any) -> Any:
    return lambda view, votes: list(reversed(old(view, votes)))


def _anybody(old: Any) -> Any:
    """V is all that promised, whoever has more than the one that is elected."""
    return lambda view, votes, best, aged: old(view, votes, replace(best, at=facts.Point(10**9, 10**9)), aged=aged)


def _blind_holder(old: Any) -> Any:
    """The record's primary is taken to reign as it was last seen."""

    def holder(self: View) -> Any:
        found = old(self)
        if found is not None or self.record is None:
            return found
        seat = self.seat(self.stands.primary.pod)
        if seat is None or seat.failures < 3:
            return None
        state = facts.State(self.stands.primary.disk, self.stands.primary.run, reign=self.stands.tenure,
                            epoch=self.stands.epoch, promise=self.stands.epoch)  # fmt: skip
        return replace(seat, state=state, answers=True), state

    return holder


def _stale_promises(old: Any) -> Any:
    """A promise at any epoch, of any process, will do."""
    return lambda self, epoch: dict(self.evidence.promises)


NEVER, ALWAYS, NOTHING, NOBODY = _always(False), _always(True), _always(None), _always(frozenset())


def _one_less(old: Any) -> Any:
    return lambda record: old(record) - 1


def _alone_at_once(old: Any) -> Any:
    return lambda view, votes: _shrunk(view, old(view, votes))


def _outbids(old: Any) -> Any:
    """Promises of another lane at that epoch, which not all have given yet, are none of ours."""

    def epoch(view: View) -> int:
        floor = view.record.epoch + 1 if view.record is not None else 1
        top = max((state.promise for _, state in view.answering()), default=0)
        ours = all(state.disk in view.promised(top) for _, state in view.answering())
        return top if ours and top >= floor else max(floor, top + 1)

    return epoch


def _knows_nobody_due(old: Any) -> Any:
    def fast(snapshot: Any, now: float) -> Any:
        made = managed.move(snapshot) if snapshot.cache.status.topology is not None else None
        return simoperator.planned(snapshot, made, topology.decide(snapshot, made), restarts=False)

    return fast


def _answered_now(old: Any) -> Any:
    return lambda view, seat, state: old(view, replace(seat, failures=0), state)


def _old_disks(old: Any) -> Any:
    return lambda view, state, away: away


def _ageless(old: Any) -> Any:
    return lambda self, record, states, now, ages_s: old(self, record, states, now)


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("quorum-one-less", "O1", SYNC3, 24, ((elect, "quorum", _one_less),)),
    Mutation("not-closed", "O1", ASYNC2, 197, ((elect, "is_over", ALWAYS),)),
    Mutation("no-wait-for-the-lease", "O1", ASYNC2, 197, ((elect, "is_aged", ALWAYS),)),
    Mutation("not-the-best", "O1", SYNC3, 11, ((elect, "candidates", _worst), (elect, "voters", _anybody))),
    Mutation("old-promises", "O1", SYNC3, 152, ((facts.View, "promised", _stale_promises),)),
    Mutation("unequal-heir", "O2", ASYNC2, 35, ((handover, "is_level", ALWAYS), (handover, "is_caught_up", ALWAYS))),
    Mutation("loosen-anything", "O3", SYNC3, 62, ((loosen, "implies", ALWAYS),)),
    Mutation("loosen-unseen", "O3", GONE2, 3, ((facts.View, "holder", _blind_holder),)),
    Mutation("loosen-in-the-election", "O3", GONE2, 40, ((elect, "_elected", _alone_at_once),)),
    Mutation("tighten-unprepared", "O4", LOOSE3, 46, ((tighten, "is_agreed", ALWAYS),)),
    Mutation("no-bump", "O5", SYNC3, 160, ((bump, "is_ahead", _always("")),)),
    Mutation("abandoned-stays", "O5", SYNC3X2, 12, ((bump, "is_abandoned", NEVER), (tighten, "pending", NOTHING))),
    Mutation("set-shrinks-in-election", "O6", SYNC3, 53, ((elect, "staying", _only_promised),)),
    Mutation("joins-unsynced", "O6", ASYNC2, 1, ((members, "is_in_sync", ALWAYS), (tighten, "is_agreed", ALWAYS))),
    Mutation("nobody-joins", "O6", LOOSE2, 0, ((members, "is_in_sync", NEVER),)),
    Mutation("never-suspect", "O9", SYNC2, 0, ((suspect, "primary", NEVER), (decide, "_answers", NEVER))),
    Mutation("lanes-outbid-each-other", "O7", GROWS, 11, ((first, "epoch", _outbids), (elect, "is_origin", NEVER))),
    Mutation("due-with-its-old-disk", "O6", SYNC3X2, 48, ((members, "_with_their_disks", _old_disks),)),
    Mutation("one-lane-knows-who-is-due", "O6", ASYNC3, 1, ((simoperator, "fast", _knows_nobody_due),)),
    Mutation(
        "an-old-answer-counts", "O3", GONE3, 24, ((decide, "_reigning", _answered_now), (Witness, "evidence", _ageless))
    ),
    Mutation("no-recovery", "O11", RECOVER, 1, ((elect, "_recovered", NOTHING), (elect, "superseded", NOBODY))),
)  # fmt: skip
