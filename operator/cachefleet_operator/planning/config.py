"""Parameters: what CONFIG SET can change is set in the running servers; the rest waits for a restart (rollout.py).

Every live parameter that is not another field's has a wanted value: the spec's, or the default. So a line taken out of
the spec takes effect, and what somebody set by hand is set back. A refused parameter is left out of the wish (and of
the ConfigMap, which would stop the next start) until a server has taken it. A larger maxmemory waits for the container
that has the memory for it; a smaller one is set before the container shrinks. A server is told what it knows, and set
back to its own defaults, not to ours (knowledge.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from cachefleet_operator.api import names
from cachefleet_operator.api.derived import maxmemory_bytes
from cachefleet_operator.api.known import Known
from cachefleet_operator.api.parameters import find, resolve
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning.actions import ConfigSet
from cachefleet_operator.planning.knowledge import Knowledge
from cachefleet_operator.planning.pods import memory_limit
from cachefleet_operator.planning.snapshot import Server, Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.configmap import parameters

MAXMEMORY_BYTES_MAX = 1 << 63


def without_refused(cache: Cache, refusals: Iterable[Refusal]) -> Cache:
    """The Cache as it can be had: without the parameters that a server refused."""
    refused = {r.subject for r in refusals}
    config = {name: value for name, value in cache.spec.config.items() if resolve(name) not in refused}
    if len(config) == len(cache.spec.config):
        return cache
    return cache.model_copy(update={"spec": cache.spec.model_copy(update={"config": config})})


def is_refused_still(snapshot: Snapshot, refusal: Refusal, has: Knowledge) -> bool:
    """Whether the refused value of a parameter is still what the spec says (or means by saying nothing), and nobody has
    taken it since."""
    if wanted_live(snapshot.cache, has.of(refusal.target)).get(refusal.subject) != refusal.wish:
        return False
    server = snapshot.servers.get(refusal.target)
    has_it = server is not None and not server.error and server.parameters.get(refusal.subject) == refusal.wish
    pods = {names.pod(snapshot.cache.metadata.name, ordinal) for ordinal in range(snapshot.cache.spec.instances)}
    return refusal.target in pods and not has_it


def wanted_live(cache: Cache, known: Known) -> dict[str, str]:
    """Every parameter that CONFIG SET changes and that is the spec's to say, with its wanted value in a server."""
    wished = {name: value for name, value in parameters(cache, known).items() if known[name].live}
    unset = {name: fact.default for name, fact in known.items() if fact.live and fact.default is not None}
    return {**{name: value for name, value in unset.items() if _is_free(name)}, **wished}


def _is_free(name: str) -> bool:
    """Whether spec.config decides it; what we do not know is not ours to set."""
    parameter = find(name)
    return parameter is not None and not parameter.owner


def differences(cache: Cache, server: Server, known: Known) -> dict[str, str]:
    """Live parameters whose value in the server is not the wanted one. A parameter the server lacks is passed over."""
    return {
        name: value
        for name, value in wanted_live(cache, known).items()
        if server.parameters.get(name, value) != value
    }


def step(
    snapshot: Snapshot, cache: Cache, has: Knowledge, refusals: Iterable[Refusal], due: Iterable[Refusal] = ()
) -> Step:
    """`cache` is the one without what was refused; of this, `due` is tried anew."""
    actions = []
    again: dict[str, dict[str, str]] = {}
    for refusal in due:
        again.setdefault(refusal.target, {})[refusal.subject] = refusal.wish
    refused = {(r.target, r.subject) for r in refusals}
    for pod, server in sorted(snapshot.servers.items()):
        if server.error or server.loading:
            continue
        differing = differences(cache, server, has.of(pod))
        wanted = {name: value for name, value in differing.items() if (pod, name) not in refused}
        wanted |= again.get(pod, {})
        if int(wanted.get("maxmemory", 0)) > _room(snapshot, cache, pod):
            del wanted["maxmemory"]
        if wanted:
            words = ", ".join(f"{name} {value or repr('')}" for name, value in sorted(wanted.items()))
            actions.append(ConfigSet(f"set {words} in {pod}", pod, server.run_id, wanted))
    return Step(tuple(actions), "Updating") if actions else NOTHING


def pending(snapshot: Snapshot, cache: Cache, has: Knowledge, refusals: Iterable[Refusal]) -> str:
    """What is still to be set, or who cannot be asked what it has; empty = every server has what is wanted."""
    sets = [action.reason for action in step(snapshot, cache, has, refusals).actions]
    answers = {pod for pod, server in snapshot.servers.items() if not server.error and not server.loading}
    silent = [pod["metadata"]["name"] for pod in snapshot.pods() if pod["metadata"]["name"] not in answers]
    return "; ".join([*sets, *(f"{pod} does not answer yet" for pod in silent)])


def _room(snapshot: Snapshot, cache: Cache, pod: str) -> int:
    """The maxmemory that the limit of the pod's container, as it runs, allows."""
    limit = memory_limit(snapshot.get("Pod", pod) or {})
    if not limit:
        return MAXMEMORY_BYTES_MAX
    memory = cache.spec.memory.model_copy(update={"limit": limit})
    return maxmemory_bytes(cache.spec.model_copy(update={"memory": memory}))


def restart_needed(snapshot: Snapshot, cache: Cache, has: Knowledge) -> tuple[str, ...]:
    """Parameters whose value in a running server differs from the wish and that only a restart changes."""
    found = set()
    for server in snapshot.servers.values():
        for name, value in parameters(cache, has.file).items():
            if not server.error and not has.file[name].live and server.parameters.get(name, value) != value:
                found.add(f"{name}: {server.parameters[name]} -> {value}")
    return tuple(sorted(found))
