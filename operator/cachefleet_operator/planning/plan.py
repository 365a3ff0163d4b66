"""plan(snapshot, now): what to do next, what to say, and when to look again. Pure.

The order of the steps is the order of their importance; each is one function that looks at the snapshot alone and
returns what it wants, with a reason. At most one disruptive action a cycle, and none while anything else is still to be
done. What was refused (status.refusals) is not asked for again until the wish changed or refusals.RETRY_S have passed.

    problems      the spec asks for what cannot be: say so, change nothing
    auth          a password, and the servers have it
    config        parameters that can change live; before the objects, so that a refused one never reaches the file
                  that the next start reads
    storage       volumes grow; then the StatefulSet is replaced under its pods
    objects       everything else is as wanted
    roles         pods carry their role as a label
    rollout       a pod that runs the old template is replaced
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from cachefleet_operator.api import conditions, names
from cachefleet_operator.api.objects import Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus, Refusal
from cachefleet_operator.api.validation import problems
from cachefleet_operator.planning import auth, config, objects, rollout, storage, template
from cachefleet_operator.planning.actions import Action, Delete, LabelPod
from cachefleet_operator.planning.image import default_version, image
from cachefleet_operator.planning.moments import seconds
from cachefleet_operator.planning.refusals import NAME, OBJECT, RETRY_S, STORAGE, is_due, is_parameter
from cachefleet_operator.planning.snapshot import ROLES, Snapshot
from cachefleet_operator.planning.status import Verdict, status
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.desired import desired
from cachefleet_operator.resources.diff import stamp

CONVERGING_S, STEADY_S = 2.0, 30.0
PATIENCE = 0.25  # share of how long somebody has been waited for, until we look again


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    status: CacheStatus  # as it should be after the actions; written once, and only if it differs
    wake_after_s: float
    stopped: Callable[[str], CacheStatus]  # the status instead, if an action failed in these words


def plan(snapshot: Snapshot, now: float) -> Plan:
    """What to do about one Cache at unix time `now`."""
    wrong = problems(snapshot.cache)
    aims = _aims(snapshot, now) if not wrong else _as_before(snapshot.cache)
    still = wrong or snapshot.cache.spec.paused or snapshot.cache.metadata.deletion_timestamp
    steps = () if still else _steps(snapshot, aims)
    actions = tuple(action for step in steps for action in step.actions)
    verdict = _verdict(snapshot, steps, wrong, aims)
    new = status(snapshot, verdict, now)

    def stopped(words: str) -> CacheStatus:
        return status(snapshot, replace(verdict, doing=words), now)

    return Plan(actions, new, _wake_after(new, actions, steps, now), stopped)


class _Aims(NamedTuple):
    """What can be had: the Cache without refused parameters, its objects (stamped), the refusals that stand."""

    cache: Cache
    objects: tuple[Object, ...]
    refusals: tuple[Refusal, ...]
    due: tuple[Refusal, ...] = ()  # those of parameters that are to be tried anew
    generation: int = 0  # of the pod template


def _as_before(cache: Cache) -> _Aims:
    return _Aims(cache, (), cache.status.refusals, generation=cache.status.template_generation)


def _aims(snapshot: Snapshot, now: float) -> _Aims:
    old = snapshot.cache.status.refusals
    asked = [r for r in old if is_parameter(r) and config.is_refused_still(snapshot, r)]
    cache = config.without_refused(snapshot.cache, asked)
    generation = template.generation(snapshot, cache, image(snapshot))
    wanted = storage.fitting(snapshot, desired(cache, snapshot.site, image(snapshot), generation))
    stamped = tuple(stamp(obj) for obj in wanted)
    hashes = {objects.applied_hash(obj) for obj in stamped}
    secrets = auth.made(cache)  # They have no hash: a password is no part of a plan.
    foreign = {str(key) for key in snapshot.foreign} & (secrets | {str(key_of(obj)) for obj in stamped})
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
    return _Aims(cache, stamped, (*asked, *held), tuple(r for r in asked if is_due(r, now)), generation)


def _steps(snapshot: Snapshot, aims: _Aims) -> tuple[Step, ...]:
    waiting = auth.missing(snapshot) or auth.refused(aims.cache, aims.refusals)
    if waiting and not snapshot.pods():
        return (Step((), "Waiting", waiting, patient=True),)  # Pods that cannot mount their Secret would only hang.
    growth = storage.step(snapshot, aims.refusals)
    replaced = {action.key for action in growth.actions if isinstance(action, Delete)}
    kept = tuple(obj for obj in aims.objects if key_of(obj) not in replaced)
    live = config.step(snapshot, aims.cache, aims.refusals, aims.due)
    steps = (
        auth.step(snapshot, aims.refusals),
        live,
        growth,
        objects.step(snapshot, kept, aims.refusals, frozenset(action.subject for action in live.actions)),
        storage.owners(snapshot),
        _roles(snapshot),
        Step(waiting=snapshot.unmade, patient=True) if snapshot.unmade else NOTHING,
    )
    if any(step.actions for step in steps):
        return steps
    return (*steps, rollout.step(snapshot))


def _roles(snapshot: Snapshot) -> Step:
    actions = []
    for pod in snapshot.pods():
        name = pod["metadata"]["name"]
        server = snapshot.servers.get(name)
        role = ROLES.get(server.role, "") if server is not None and not server.error else ""
        if role and pod["metadata"].get("labels", {}).get(names.LABEL_ROLE) != role:
            actions.append(LabelPod(f"{name} is {role}", name, pod["metadata"]["uid"], {names.LABEL_ROLE: role}))
    return Step(tuple(actions))


def _verdict(snapshot: Snapshot, steps: tuple[Step, ...], wrong: tuple[str, ...], aims: _Aims) -> Verdict:
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
        restart_required=config.restart_needed(snapshot, aims.cache) if not wrong else (),
        config_pending=config.pending(snapshot, aims.cache, aims.refusals) if not wrong else "",
    )


def _wake_after(new: CacheStatus, actions: tuple[Action, ...], steps: tuple[Step, ...], now: float) -> float:
    found = {c.type: c for c in new.conditions}
    ready, progressing = found[conditions.READY].status == "True", found[conditions.PROGRESSING]
    going = progressing.status == "True" and progressing.reason != "Waiting"
    if actions or going or any(step.waiting and not step.patient for step in steps):
        return CONVERGING_S
    if any(step.patient for step in steps):
        for_s = now - seconds(found[conditions.DEGRADED].last_transition_time)
        return min(STEADY_S, max(CONVERGING_S, for_s * PATIENCE))
    return STEADY_S if ready else min(STEADY_S, RETRY_S, 5.0)
