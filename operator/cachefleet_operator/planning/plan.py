"""plan(snapshot, now): what to do next, what to say, and when to look again. Pure.

The order of the steps is the order of their importance; each is one function that looks at the snapshot alone and
returns what it wants, with a reason. At most one disruptive action a cycle, and none while anything else is still to be
done. What was refused (status.refusals) is not asked for again until the wish changed or refusals.RETRY_S have passed.

A spec that asks for what cannot be, or is paused, is not followed: steps marked * go on, by another one that acts
(acting.py).

    topology *    who is the primary: a record, which is stored before anything is done that needs it; what managed
                  servers are told of it
    auth *        a password, and the servers have it
    config        parameters that can change live; before the objects, so that a refused one never reaches the file
                  that the next start reads
    storage       volumes grow; then the StatefulSet is replaced under its pods
    objects *     everything else is as wanted; * what is lost is made again; kinds that are switched off go, and
                  claims have the owners that they should
    binding *     the Secret that says how to connect
    knowledge *   what the servers say that they know is kept
    roles *       pods carry their role as a label, and labels of their Cache
    labels        Secrets and claims have the labels that all the others are written with
    accepted      all of it is there: the spec is kept
    rollout       a pod that runs the old template is replaced

survive(snapshot, now): what of it may not wait for the turn of `plan`, which fails, is held up or is in a queue: lost
objects, Secrets included, and roles. It is done beside `plan`, at any moment, so it has only what is the same whoever
does it first and however often; not a change of the password, which is one thing after the other. And only what the
accepted spec wants, too: what is just being made, or taken away, is not lost, nor is anything of a spec that was never
had whole. What is made of what the servers know is left to `plan` as long as nobody has said what that is: it asks
them first. So is the first record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cachefleet_operator.api import conditions
from cachefleet_operator.api.objects import key_of
from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus, Topology
from cachefleet_operator.planning import (
    accepted,
    auth,
    binding,
    config,
    knowledge,
    labels,
    managed,
    objects,
    roles,
    rollout,
    storage,
    topology,
)
from cachefleet_operator.planning import pods as pod_facts
from cachefleet_operator.planning.actions import Action, Delete
from cachefleet_operator.planning.aims import BY_KNOWLEDGE, Aims, aims_of, as_before
from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.moves import Decide, Move, Rest
from cachefleet_operator.planning.image import default_version, image
from cachefleet_operator.planning.moments import seconds
from cachefleet_operator.planning.refusals import RETRY_S, is_parameter
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.status import Verdict, status
from cachefleet_operator.planning.step import NOTHING, Step

CONVERGING_S, STEADY_S = 2.0, 30.0
PATIENCE = 0.25  # share of how long somebody has been waited for, until we look again


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    status: CacheStatus  # as it should be after the actions; written once, and only if it differs
    wake_after_s: float
    # The status instead, if an action failed in these words; then those of a failure that lasts, or nothing.
    stopped: Callable[[str, str], CacheStatus]
    record: Topology | None = None  # to be stored before the actions that need it; None: the one that is stands
    rolled_back: bool = False  # with this record acknowledged changes may be lost


def plan(snapshot: Snapshot, now: float) -> Plan:
    """What to do about one Cache at unix time `now`."""
    asked, acting = snapshot.cache, snapshot.acting
    seen = replace(snapshot, cache=acting.cache)
    aims = aims_of(seen, now) if acting.kind != "none" else as_before(seen)
    steps: tuple[Step, ...] = ()
    stands = record = asked.status.topology
    made: Move | None = None
    if acting.kind != "none" and not asked.metadata.deletion_timestamp:
        made, record = failover(seen)
        steps = _steps(seen, aims, record, made)
    actions = tuple(action for step in steps for action in step.actions)
    verdict = replace(
        _verdict(seen, asked, steps, aims), topology=topology.watched(record, seen, now), failover=made
    )  # fmt: skip
    new = status(snapshot, verdict, now)

    def stopped(words: str, failed: str) -> CacheStatus:
        return status(snapshot, replace(verdict, doing=words, failed=failed), now)

    decided = record if record is not stands else None
    wake_after_s = _wake_after(new, steps, now, acts=bool(actions) or decided is not None)
    wake_after_s = min(wake_after_s, _again_s(made))
    return Plan(actions, new, wake_after_s, stopped, decided, _is_rolled_back(made))


def survive(snapshot: Snapshot, now: float) -> Plan:
    asked, acting = snapshot.cache, snapshot.acting
    steps: tuple[Step, ...] = ()
    stands = record = asked.status.topology
    made: Move | None = None
    begun = acting.last is not None or acting.kind == "least" or stands is not None
    if begun and not asked.metadata.deletion_timestamp:
        seen = replace(snapshot, cache=acting.cache)
        made, record = failover(seen) if stands is not None else (None, None)
        told = managed.step(seen, record, made)
        steps = told, *_lost(seen, now), roles.step(seen, record, made)
    actions = tuple(action for step in steps for action in step.actions)
    new = asked.status.model_copy(update={"topology": record})
    decided = record if record is not stands else None
    return Plan(actions, new, min(STEADY_S, _again_s(made)), lambda words, failed: new, decided, _is_rolled_back(made))


def _lost(snapshot: Snapshot, now: float) -> tuple[Step, ...]:
    """What of the spec that acts was there, and is not."""
    acting = snapshot.acting
    if acting.last is None and acting.kind != "least":
        return ()
    aims = before = aims_of(snapshot, now)
    kept = acting.last or acting.cache
    if kept.spec != acting.cache.spec:
        before = aims_of(replace(snapshot, cache=kept), now)
    theirs = {key_of(obj) for obj in before.objects}
    if not aims.knowledge.images:
        theirs -= {key_of(obj) for obj in aims.objects if obj["kind"] in BY_KNOWLEDGE}
    lost = [obj for obj in objects.lost(snapshot, aims.objects) if key_of(obj) in theirs]
    secrets = NOTHING if acting.is_lost else auth.lost(snapshot, aims.refusals, kept)
    bound = binding.lost(snapshot, aims.refusals) if acting.last is not None else NOTHING
    return secrets, objects.step(snapshot, lost, aims.refusals), bound


def failover(snapshot: Snapshot) -> tuple[Move | None, Topology | None]:
    """What is to be done for a primary, and the record that is to stand. Both lanes know which pod is the next to be
    restarted, or one takes into the set whom the other takes out."""
    made = managed.move(snapshot, rollout.due(snapshot) if snapshot.acting.kind == "asked" else "")
    return made, topology.decide(snapshot, made)


def _again_s(made: Move | None) -> float:
    """When a move becomes another one by itself."""
    if made is None:
        return STEADY_S
    return made.again_s if isinstance(made, Rest) and made.again_s is not None else times.LOOK_S


def _is_rolled_back(made: Move | None) -> bool:
    return isinstance(made, Decide) and made.rolled_back


def _steps(snapshot: Snapshot, aims: Aims, record: Topology | None, made: Move | None) -> tuple[Step, ...]:
    waiting = auth.missing(snapshot) or auth.refused(aims.cache, aims.refusals)
    if waiting and not snapshot.pods():
        return (Step((), "Waiting", waiting, patient=True),)  # Pods that cannot mount their Secret would only hang.
    told = managed.step(snapshot, record, made)
    secrets = NOTHING if snapshot.acting.is_lost else auth.step(snapshot, aims.refusals)
    carried = roles.step(snapshot, record, made)
    bound, noted = binding.step(snapshot, aims.refusals), knowledge.step(snapshot, aims.knowledge, aims.refusals)
    words = pod_facts.unmade(snapshot.unmade)
    unmade = Step(waiting=words, patient=True) if words else NOTHING
    if snapshot.acting.kind != "asked":
        lost = objects.lost(snapshot, aims.objects)
        return told, secrets, objects.step(snapshot, lost, aims.refusals), bound, noted, carried, unmade
    growth = storage.step(snapshot, aims.refusals)
    replaced = {action.key for action in growth.actions if isinstance(action, Delete)}
    wanted = tuple(obj for obj in aims.objects if key_of(obj) not in replaced)
    live = config.step(snapshot, aims.cache, aims.knowledge, aims.refusals, aims.due)
    spec = (
        live,
        growth,
        objects.step(snapshot, wanted, aims.refusals, frozenset(action.subject for action in live.actions)),
        objects.unwanted(snapshot, aims.objects),
        storage.owners(snapshot),
    )
    whole = not any(step.actions for step in spec)
    kept = accepted.step(snapshot, aims.refusals, whole=whole)
    steps = (told, secrets, *spec, bound, noted, carried, kept, unmade)
    labelled = labels.step(snapshot)  # for which nobody waits: a webhook may refuse them
    if any(step.actions for step in steps) or record is not snapshot.cache.status.topology:
        return (*steps, labelled, rollout.announced(snapshot))
    return (*steps, labelled, rollout.step(snapshot, made))


def _verdict(snapshot: Snapshot, asked: Cache, steps: tuple[Step, ...], aims: Aims) -> Verdict:
    wrong = snapshot.acting.problems
    wish = config.without_refused(asked, filter(is_parameter, aims.refusals))
    busy = next((step for step in steps if step.progress), None)
    doing = [action.reason for step in steps for action in step.actions if step.progress]
    growing = storage.growing(snapshot)
    return Verdict(
        image=image(snapshot),
        default_version=default_version(snapshot),
        template_generation=aims.generation,
        refusals=aims.refusals,
        problems=wrong,
        progress=busy.progress if busy else "ResizingStorage" if growing else "",
        doing=doing[-1] if doing else growing,
        waiting=next((step.waiting for step in steps if step.waiting), ""),
        secret_missing=auth.missing(snapshot),
        unknown=knowledge.unknown(snapshot, asked, aims.knowledge) if not wrong else (),
        restart_required=config.restart_needed(snapshot, wish, aims.knowledge) if not wrong else (),
        config_pending=config.pending(snapshot, wish, aims.knowledge, aims.refusals) if not wrong else "",
    )


def _wake_after(new: CacheStatus, steps: tuple[Step, ...], now: float, *, acts: bool) -> float:
    found = {c.type: c for c in new.conditions}
    ready, progressing = found[conditions.READY].status == "True", found[conditions.PROGRESSING]
    going = progressing.status == "True" and progressing.reason != "Waiting"
    if acts or going or any(step.waiting and not step.patient for step in steps):
        return CONVERGING_S
    if any(step.patient for step in steps):
        for_s = now - seconds(found[conditions.DEGRADED].last_transition_time)
        return min(STEADY_S, max(CONVERGING_S, for_s * PATIENCE))
    return STEADY_S if ready else min(STEADY_S, RETRY_S, 5.0)
