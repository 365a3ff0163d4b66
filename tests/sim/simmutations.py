"""The rules with one of them broken: each must be caught by some schedule, or the simulation proves nothing.

A mutation replaces functions of planning/failover by name. How it is caught depends on the setting:
how many servers there are, and what is wished of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from simfleet import Setting

from cachefleet_operator.planning.failover import (
    bump,
    decide,
    elect,
    facts,
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


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("quorum-one-less", "O1", SYNC3, 97, ((elect, "quorum", _one_less),)),
    Mutation("not-closed", "O1", ASYNC2, 67, ((elect, "is_over", ALWAYS),)),
    Mutation("no-wait-for-the-lease", "O1", ASYNC2, 67, ((elect, "is_aged", ALWAYS),)),
    Mutation("not-the-best", "O1", SYNC3, 70, ((elect, "candidates", _worst), (elect, "voters", _anybody))),
    Mutation("old-promises", "O1", SYNC3, 152, ((facts.View, "promised", _stale_promises),)),
    Mutation("unequal-heir", "O2", ASYNC2, 173, ((handover, "is_level", ALWAYS), (handover, "is_caught_up", ALWAYS))),
    Mutation("loosen-anything", "O3", SYNC3, 137, ((loosen, "implies", ALWAYS),)),
    Mutation("loosen-unseen", "O3", GONE2, 136, ((facts.View, "holder", _blind_holder),)),
    Mutation("loosen-in-the-election", "O3", GONE2, 0, ((elect, "_elected", _alone_at_once),)),
    Mutation("tighten-unprepared", "O4", LOOSE3, 137, ((tighten, "is_agreed", ALWAYS),)),
    Mutation("no-bump", "O5", SYNC3, 144, ((bump, "is_ahead", _always("")),)),
    Mutation("abandoned-stays", "O5", SYNC3X2, 84, ((bump, "is_abandoned", NEVER), (tighten, "pending", NOTHING))),
    Mutation("set-shrinks-in-election", "O6", SYNC3, 146, ((elect, "staying", _only_promised),)),
    Mutation("joins-unsynced", "O6", ASYNC2, 225, ((members, "is_in_sync", ALWAYS), (tighten, "is_agreed", ALWAYS))),
    Mutation("nobody-joins", "O6", LOOSE2, 0, ((members, "is_in_sync", NEVER),)),
    Mutation("never-suspect", "O9", SYNC2, 0, ((suspect, "primary", NEVER), (decide, "_answers", NEVER))),
    Mutation("no-recovery", "O11", RECOVER, 0, ((elect, "_recovered", NOTHING), (elect, "superseded", NOBODY))),
)  # fmt: skip
