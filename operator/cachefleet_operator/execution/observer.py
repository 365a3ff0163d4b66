"""observe(cache) -> Snapshot: what is known, and what each server says, read once and frozen.

What the prober knows of a server is taken as it is, so nobody waits for one that hangs; a server that it has not seen
lately, or that was told something since, is asked. `glance` asks nobody: it is for the fast lane (lanes.py).

Nothing is read from the API in steady state, but for one Secret a cycle where spec.auth.secretRef names one: it carries
no label of ours, and a watch of its own would hold a connection a Cache. So a changed password is noticed with the next
cycle, at most planning.plan.STEADY_S later. So is the end of a foreign object that has the name of one of ours. Of
events only those are read that say why a StatefulSet lacks a pod, once the status was written without that pod: what is
made in good time costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site
from cachefleet_operator.api.v1alpha1 import Cache, CacheKey
from cachefleet_operator.execution import admin, passwords
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ownership import is_ours, is_shown
from cachefleet_operator.execution.ports import Endpoint, Objects, Servers
from cachefleet_operator.execution.prober import Prober, Target
from cachefleet_operator.execution.witness import Witnesses
from cachefleet_operator.planning.acting import acting
from cachefleet_operator.planning.failover.facts import NO_EVIDENCE, Evidence
from cachefleet_operator.planning.pods import is_ready
from cachefleet_operator.planning.refusals import taken
from cachefleet_operator.planning.snapshot import Server, Snapshot

_NAMES = re.compile(r"[a-z0-9.-]+")

log = logging.getLogger(__name__)


class Observer:
    """`site` may be replaced between cycles. Without a prober every server is asked each time."""

    def __init__(
        self,
        objects: Objects,
        servers: Servers,
        site: Site,
        prober: Prober | None = None,
        clock: Callable[[], float] = time.time,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._witnesses = witnesses or Witnesses()
        self._objects, self._servers, self._prober, self._clock = objects, servers, prober, clock
        self.site = site
        self._fetched: dict[CacheKey, dict[Key, Object]] = {}  # what was last asked for, of each Cache
        self._unmade_pods: dict[CacheKey, Mapping[str, str]] = {}  # the same

    def forget(self, key: CacheKey) -> None:
        """This Cache is gone: nobody asks its servers any more."""
        self._fetched.pop(key, None)
        self._unmade_pods.pop(key, None)
        self._witnesses.forget(key)
        if self._prober is not None:
            self._prober.watch(key, {})

    def glance(self, cache: Cache) -> Snapshot:
        """What is known without asking anybody: somebody else's object is where it was, and no events are read."""
        objects = {key: obj for key, obj in self._objects.known(cache.key).items() if is_shown(obj, cache)}
        acts = acting(cache, objects)
        reference = acts.cache.spec.auth.secret_ref
        objects |= self._fetched.get(cache.key, {})
        # Without its password no server is asked: the next cycle will have fetched it.
        if reference is None or Key("Secret", reference.name) in objects:
            self._watch(acts.cache, self._asked(acts.cache, objects))
        facts = self._facts(cache.key)
        evidence = self._evidence(cache, objects, facts)
        foreign, unmade = frozenset(taken(cache.status)), self._unmade_pods.get(cache.key, {})
        return Snapshot(cache, acts, self.site, objects, facts, foreign, unmade, evidence)

    async def observe(self, cache: Cache) -> Snapshot:
        namespace = cache.metadata.namespace
        objects = {key: obj for key, obj in self._objects.known(cache.key).items() if is_shown(obj, cache)}
        acts = acting(cache, objects)
        auth = acts.cache.spec.auth
        if auth.secret_ref is not None:
            key = Key("Secret", auth.secret_ref.name)
            if (secret := await self._objects.get(namespace, key)) is not None:
                objects[key] = secret
            self._fetched[cache.key] = {key: secret} if secret is not None else {}
        else:
            self._fetched.pop(cache.key, None)
        servers = await self._servers_of(acts.cache, self._asked(acts.cache, objects))
        foreign, unmade = await self._foreign(cache), await self._unmade(cache, objects)
        self._unmade_pods[cache.key] = unmade
        evidence = self._evidence(cache, objects, servers)
        return Snapshot(cache, acts, self.site, objects, servers, foreign, unmade, evidence)

    def _evidence(self, cache: Cache, objects: Mapping[Key, Object], servers: Mapping[str, Server]) -> Evidence:
        """What managed servers answered, and since when they say what they say now."""
        said = {name: server.managed for name, server in servers.items() if server.managed and not server.error}
        if not said and cache.status.topology is None:
            return NO_EVIDENCE
        witness = self._witnesses.of(cache.key)
        for name, state in said.items():
            if (pod := objects.get(Key("Pod", name))) is not None:
                witness.saw(pod["metadata"]["uid"], state.run, servers[name].seen_at)
        ages_s = {name: self._clock() - servers[name].seen_at for name in said}
        return witness.evidence(cache.status.topology, said, self._witnesses.now(), ages_s)

    def _asked(self, cache: Cache, objects: Mapping[Key, Object]) -> list[tuple[Object, Endpoint]]:
        """The pods that have a server, and where it is asked."""
        tried = passwords.known(cache, lambda name: objects.get(Key("Secret", name)))
        pods = [obj for key, obj in objects.items() if key.kind == "Pod"]
        return [(pod, Endpoint(*at, tried)) for pod in pods if (at := self._servers.address(pod)) is not None]

    def _watch(self, cache: Cache, asked: Sequence[tuple[Object, Endpoint]]) -> None:
        if self._prober is not None:
            targets = {pod["metadata"]["name"]: Target(pod["metadata"]["uid"], at, is_ready(pod)) for pod, at in asked}
            # A Cache that shrinks has more servers than it wants, and hands over between them.
            self._prober.watch(cache.key, targets, alone=cache.spec.instances == 1 and len(targets) <= 1)

    def _facts(self, key: CacheKey) -> Mapping[str, Server]:
        return self._prober.facts(key) if self._prober is not None else {}

    async def _servers_of(self, cache: Cache, asked: Sequence[tuple[Object, Endpoint]]) -> dict[str, Server]:
        self._watch(cache, asked)
        known = self._facts(cache.key)
        unknown = [(pod, endpoint) for pod, endpoint in asked if pod["metadata"]["name"] not in known]
        answers = await asyncio.gather(*(self._inspect(pod, endpoint) for pod, endpoint in unknown))
        return {**known, **{server.pod: server for server in answers}}

    async def _inspect(self, pod: Object, endpoint: Endpoint) -> Server:
        """Asks twice where Kubernetes says that it is ready: one slow answer is no news."""
        server = await admin.inspect(self._servers, pod["metadata"]["name"], endpoint)
        if server.error and is_ready(pod):
            server = await admin.inspect(self._servers, pod["metadata"]["name"], endpoint)
        return server if server.error else replace(server, seen_at=self._clock())

    async def _foreign(self, cache: Cache) -> frozenset[Key]:
        """Whether it made way is told by no watch: an object of somebody else's carries no label of ours."""
        found = {key: await self._objects.get(cache.metadata.namespace, key) for key in taken(cache.status)}
        return frozenset(key for key, live in found.items() if live is not None and not is_ours(live, cache))

    async def _unmade(self, cache: Cache, objects: Mapping[Key, Object]) -> Mapping[str, str]:
        """What the StatefulSet's controller says of pods that it cannot make: its status has no word for it."""
        statefulset = objects.get(Key("StatefulSet", names.statefulset(cache.metadata.name)))
        lacking = _lacking(cache, objects, statefulset) if statefulset is not None else ()
        if statefulset is None or not lacking:
            return {}
        uid = statefulset["metadata"]["uid"]
        try:
            said = await self._objects.events_of(cache.metadata.namespace, uid, "FailedCreate")
        except ExecutionError as error:
            log.debug("no events can be read: %s", error, extra={"cache": str(cache.key)})
            return {}
        notes = [str(event.get("note", "")) for event in said]
        return {pod: note for note in notes for pod in _NAMES.findall(note) if pod in lacking}


def _lacking(cache: Cache, objects: Mapping[Key, Object], statefulset: Object) -> Sequence[str]:
    """Pods that the StatefulSet wants and has not had since the status was written. Those that the status knows have
    only gone: their controller has begun to make the next ones, and old words about them may be around."""
    if any(obj["metadata"].get("deletionTimestamp") for key, obj in objects.items() if key.kind == "Pod"):
        return ()
    wanted = [names.pod(cache.metadata.name, n) for n in range(statefulset.get("spec", {}).get("replicas", 0))]
    known = {pod.name for pod in cache.status.pods}
    return [pod for pod in wanted if pod not in known and Key("Pod", pod) not in objects]
