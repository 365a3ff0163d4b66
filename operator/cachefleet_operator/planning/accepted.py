"""The accepted spec: the last one that was had whole. What keeps a Cache alive works from it, whatever is wrong with
the one that is asked for.

    survive     always: Secrets and passwords, missing objects, Services as they were written, role labels
    converge    towards the spec that is asked for; not while it is refused, or paused

It is kept in a ConfigMap, as soon as every object is there as it is wanted and none was refused. Which spec acts, this
one or the one asked for, is decided by acting.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from cachefleet_operator.api.objects import Object, Site, key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning import binding, knowledge
from cachefleet_operator.planning.actions import Apply
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.accepted import accepted
from cachefleet_operator.resources.diff import drift, stamp
from cachefleet_operator.resources.metadata import labelled


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
