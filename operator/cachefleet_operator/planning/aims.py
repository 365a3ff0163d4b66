"""Aims: what can be had of what is wanted. What was refused is left out until it is due, or the wish is another one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from cachefleet_operator.api.objects import Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning import accepted, auth, binding, config, knowledge, managed, objects, storage, template
from cachefleet_operator.planning.image import image
from cachefleet_operator.planning.knowledge import Knowledge
from cachefleet_operator.planning.refusals import NAME, OBJECT, STORAGE, is_due, is_parameter
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.resources.desired import desired
from cachefleet_operator.resources.diff import stamp

BY_KNOWLEDGE = ("ConfigMap", "StatefulSet")  # made of parameters, as servers know them, and of overrides of the pod


class Aims(NamedTuple):
    """What can be had: the Cache without refused parameters, its objects (stamped), the refusals that stand."""

    cache: Cache
    objects: tuple[Object, ...]
    refusals: tuple[Refusal, ...]
    knowledge: Knowledge
    due: tuple[Refusal, ...] = ()  # those of parameters that are to be tried anew
    generation: int = 0  # of the pod template


def as_before(snapshot: Snapshot) -> Aims:
    """Of a Cache that nothing is wanted for."""
    cache, has = snapshot.cache, knowledge.knowledge(snapshot)
    return Aims(cache, (), cache.status.refusals, has, generation=cache.status.template_generation)


def aims_of(snapshot: Snapshot, now: float) -> Aims:
    old, has = snapshot.cache.status.refusals, knowledge.knowledge(snapshot)
    asked = [r for r in old if is_parameter(r) and config.is_refused_still(snapshot, r, has)]
    cache = managed.with_members(config.without_refused(snapshot.cache, asked))
    stamped, generation = _wanted(snapshot, cache, has)
    last = snapshot.acting.last if any(r.subject == OBJECT for r in old) else None
    had: tuple[Object, ...] = ()
    if last is not None:
        before = replace(snapshot, cache=last)
        had = _wanted(before, config.without_refused(last, asked), knowledge.knowledge(before))[0]
    records: tuple[Object, ...] = ()
    if old:
        records = accepted.record(snapshot.cache, snapshot.site), knowledge.record(snapshot, has)
    hashes = {objects.applied_hash(obj) for obj in (*stamped, *had, *records)}
    secrets = auth.made(cache) | {binding.made(cache)}  # They have no hash: a password is no part of a plan.
    foreign = {str(key) for key in snapshot.foreign} & (secrets | {str(key_of(obj)) for obj in (*stamped, *records)})
    size = snapshot.cache.spec.persistence.storage.size
    held = [
        r
        for r in old
        if not is_due(r, now)
        and (
            (r.subject == OBJECT and (r.wish in hashes or r.target in secrets))
            or (r.subject == NAME and r.target in foreign)
            or (r.subject == STORAGE and r.wish == size)
        )
    ]
    possible = objects.possible(snapshot, stamped, had, held)
    if snapshot.acting.kind == "least":  # It says nothing of either.
        possible = tuple(obj for obj in possible if obj["kind"] not in BY_KNOWLEDGE)
    return Aims(cache, possible, (*asked, *held), has, tuple(r for r in asked if is_due(r, now)), generation)


def _wanted(snapshot: Snapshot, cache: Cache, has: Knowledge) -> tuple[tuple[Object, ...], int]:
    """The objects, stamped, and the generation of their pod template."""
    generation = template.generation(snapshot, cache, image(snapshot), has.file)
    found = storage.fitting(snapshot, desired(cache, snapshot.site, image(snapshot), generation, has.file))
    return tuple(stamp(obj) for obj in found), generation
