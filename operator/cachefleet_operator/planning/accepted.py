"""The accepted spec: the last one that was had whole. What keeps a Cache alive works from it, whatever is wrong with
the one that is asked for.

    survive     always: Secrets and passwords, missing objects, Services as they were written, role labels
    converge    towards the spec that is asked for; not while it is refused, or paused

So a spec has one of two that act: the one asked for, or, where that must not be followed, the accepted one. It is kept
in a ConfigMap, as soon as every object is there as it is wanted and none was refused. Where it was lost, or is wrong by
now because this operator knows more than the one before, the least of it acts: what the CRD alone has checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site, key_of
from cachefleet_operator.api.v1alpha1 import Cache, CacheSpec, PodTemplate, Refusal
from cachefleet_operator.api.validation import problems
from cachefleet_operator.planning import binding, knowledge
from cachefleet_operator.planning.actions import Apply
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.accepted import SPEC, accepted
from cachefleet_operator.resources.diff import drift, stamp
from cachefleet_operator.resources.metadata import labelled


def may_converge(cache: Cache) -> bool:
    """Whether the spec that is asked for may be followed."""
    return not cache.spec.paused and not problems(cache)


def acting(cache: Cache, objects: Mapping[Key, Object]) -> Cache | None:
    """The Cache with the spec that acts; None = neither may, or is there."""
    return cache if may_converge(cache) else last(cache, objects) or _least(cache, objects)


def last(cache: Cache, objects: Mapping[Key, Object]) -> Cache | None:
    """The Cache with its accepted spec. What cannot be read, or is wrong by now, is none."""
    spec = _kept(cache, objects)
    found = cache.model_copy(update={"spec": spec}) if spec is not None else None
    return found if found is not None and may_converge(found) else None


def is_least(cache: Cache, objects: Mapping[Key, Object]) -> bool:
    """Whether what acts has neither parameters nor overrides of the pod: no file and no pod is made of it."""
    return not may_converge(cache) and last(cache, objects) is None


def is_lost(cache: Cache, objects: Mapping[Key, Object]) -> bool:
    """Whether nobody knows any more what was accepted: passwords stay as they are."""
    return not may_converge(cache) and _kept(cache, objects) is None


def _least(cache: Cache, objects: Mapping[Key, Object]) -> Cache | None:
    """None: it has not begun, so that there is nothing to keep alive. There are as many pods as there are: how many are
    asked for has not been accepted."""
    live, kept = objects.get(Key("StatefulSet", names.statefulset(cache.metadata.name))), _kept(cache, objects)
    if cache.status.topology is None and live is None:
        return None
    less: dict[str, object] = {"config": {}, "pod_template": PodTemplate(), "paused": False}
    if live is not None:
        less["instances"] = live["spec"].get("replicas", cache.spec.instances)
    return cache.model_copy(update={"spec": (kept or cache.spec).model_copy(update=less)})


def _kept(cache: Cache, objects: Mapping[Key, Object]) -> CacheSpec | None:
    kept = objects.get(Key("ConfigMap", names.configmap_accepted(cache.metadata.name)), {})
    try:
        return CacheSpec.model_validate(json.loads(kept.get("data", {}).get(SPEC, "")))
    except (ValidationError, ValueError, RecursionError):
        return None


def record(cache: Cache, site: Site) -> Object:
    return stamp(labelled(accepted(cache), cache, site))


def step(snapshot: Snapshot, refusals: Iterable[Refusal], *, whole: bool) -> Step:
    """Accepts the spec that is asked for; `whole`: all of its objects are as they are wanted."""
    wanted = record(snapshot.cache, snapshot.site)
    key = key_of(wanted)
    unneeded = (binding.made(snapshot.cache), str(knowledge.key(snapshot.cache)))  # by any pod
    refused = [r for r in refusals if r.subject in WHOLE and r.target not in unneeded]
    live = snapshot.objects.get(key)
    if refused or not whole or (live is not None and not drift(wanted, live)):
        return NOTHING
    return Step((Apply(f"accepted this spec: it is kept in {key}", wanted, create=live is None),))
