"""The spec that acts: by which everything is done for a Cache in a cycle. Made once, of what was seen (observer.py).

    asked       the one that is asked for
    accepted    that must not be followed (it is wrong, or paused): the last one that was had whole (accepted.py)
    least       nobody knows that one any more, or it is wrong by now, because this operator knows more than the one
                before: no parameters and no overrides of the pod, and as many pods as there are. It is what the CRD
                alone has checked, and nothing is made of it that parameters or overrides are in (BY_KNOWLEDGE)
    none        nor has anything begun that is to be kept alive
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import Cache, CacheSpec, PodTemplate
from cachefleet_operator.api.validation import problems
from cachefleet_operator.resources.accepted import SPEC

Kind = Literal["asked", "accepted", "least", "none"]


@dataclass(frozen=True, slots=True)
class Acting:
    kind: Kind
    cache: Cache  # with the spec that acts; as it is asked for, where none does
    last: Cache | None  # with the accepted spec; None: nobody knows it, or it must not be followed any more
    problems: tuple[str, ...]  # of the spec that is asked for
    is_lost: bool  # nobody knows what was accepted, and it is not asked for anew: passwords stay as they are


def acting(cache: Cache, objects: Mapping[Key, Object]) -> Acting:
    """Of a Cache with the spec that is asked for."""
    wrong = problems(cache)
    kept = _kept(cache, objects)
    last = _last(cache, kept, wrong)
    if not wrong and not cache.spec.paused:
        return Acting("asked", cache, last, wrong, is_lost=False)
    if last is not None:
        return Acting("accepted", last, last, wrong, is_lost=False)
    least = _least(cache, kept, objects)
    return Acting("least" if least is not None else "none", least or cache, None, wrong, is_lost=kept is None)


def _kept(cache: Cache, objects: Mapping[Key, Object]) -> CacheSpec | None:
    """The accepted spec as it was kept; what cannot be read is none."""
    found = objects.get(Key("ConfigMap", names.configmap_accepted(cache.metadata.name)), {})
    try:
        return CacheSpec.model_validate(json.loads(found.get("data", {}).get(SPEC, "")))
    except (ValidationError, ValueError, RecursionError):
        return None


def _last(cache: Cache, kept: CacheSpec | None, wrong: tuple[str, ...]) -> Cache | None:
    if kept is None or kept.paused:
        return None
    last = cache.model_copy(update={"spec": kept})
    return last if not (wrong if kept == cache.spec else problems(last)) else None


def _least(cache: Cache, kept: CacheSpec | None, objects: Mapping[Key, Object]) -> Cache | None:
    """None: it has not begun. There are as many pods as there are: how many are asked for has not been accepted."""
    live = objects.get(Key("StatefulSet", names.statefulset(cache.metadata.name)))
    if cache.status.topology is None and live is None:
        return None
    less: dict[str, object] = {"config": {}, "pod_template": PodTemplate(), "paused": False}
    if live is not None:
        less["instances"] = live["spec"].get("replicas", cache.spec.instances)
    return cache.model_copy(update={"spec": (kept or cache.spec).model_copy(update=less)})
