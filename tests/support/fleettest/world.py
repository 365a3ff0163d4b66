"""A small world for the planner and the interpreter: the simulated pair of ports (execution/ports.py).

Cycles are the operator's own (execution/cycle.py). Behind the ports are what the API server, the controllers and the
kubelet would do: objects are stored as applied and defaulted a little; a StatefulSet makes its pods and claims; a
restarted pod comes up with the new template; a server reads its ConfigMap at its start and takes CONFIG SET while it
runs. What it does not know stops it, as it would a real one: that fails the test. Every write is counted, so that
"writes nothing" can be asserted. Nothing here is random: a test decides what fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from cachefleet_operator.api import names, parameters
from cachefleet_operator.api.objects import Key, Object, Site, key_of, server_container
from cachefleet_operator.api.quantity import parse
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache, CacheKey, Metadata
from cachefleet_operator.execution.cycle import Cycle, Observes, Planner
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.lanes import Glances
from cachefleet_operator.execution.mergepatch import merged
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.ports import Command, Endpoint, Line, Reply
from cachefleet_operator.execution.wire import TIMEOUT_S, Locked, NotListening
from cachefleet_operator.execution.witness import Witnesses
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning.plan import Plan, plan, survive
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_server.config.parser import text_lines
from fleettest.snapshots import NOW, SITE
from fleettest.snapshots import cache as cache_of
from fleettest.virtualtime import pass_time

Refuse = Callable[[act.Action], tuple[str, str, str, str] | None]  # -> target, subject, wish, words
Event = tuple[str, str, str]  # type, word, note


class Build(NamedTuple):
    """A build of the server."""

    version: str
    defaults: Mapping[str, str]  # of all that it knows


class World:
    def __init__(self, cache: Cache, site: Site = SITE) -> None:
        self.cache, self.site, self.now = cache, site, NOW
        self.objects: dict[Key, dict[str, Any]] = {}
        self.servers: dict[str, dict[str, Any]] = {}  # pod -> build, parameters, password, run, role
        self.build = Build("1.0.0", {p.name: p.default for p in parameters.PARAMETERS})  # of this operator's version
        self.builds: dict[str, Build] = {}  # of images, where it is another one
        self.writes: list[str] = []
        self.history: list[Plan] = []
        self.refuse: Refuse = lambda action: None
        self.away = False  # the pods run, and no server answers
        self.silent: set[str] = set()  # pods whose server does not answer; it runs
        self.lags: dict[str, float] = {}  # pods whose server takes so long to answer, in virtual time; inf: it hangs
        self.ended: set[str] = set()  # pods without a process
        self.meanwhile: Callable[[], object] = lambda: None  # what others do between a plan and its acts
        self.hangs = False  # nor says no: who asks without a deadline waits for ever
        self.questions = Counter[str]()  # to servers: ask, call, glance, tell
        self.unmade: dict[str, str] = {}  # pods that cannot be made, and why; empty: nobody has tried yet
        self.events_read = 0
        self.foreign: set[Key] = set()  # objects of other people's
        self.events: list[Event] = []
        self.failures: list[str] = []  # what cycles ended with
        self._serial = 0
        self.ports = _Objects(self), _Servers(self)
        self.witnesses = Witnesses(lambda: self.now)
        self._observer = Observer(*self.ports, site, witnesses=self.witnesses)
        self._interpreter = _Interpreter(self, *self.ports)
        lanes: tuple[tuple[Observes, Planner], ...] = (
            (self._observer, self._plan),
            (Glances(self._observer), self._survive),
        )
        self._cycle, self._fast = (
            Cycle(self.ports[0], observer, self._interpreter, self._tell, planner=planner, clock=lambda: self.now)
            for observer, planner in lanes
        )

    # -- what a test does

    def edit(self, cache: Cache) -> None:
        """A new spec, as `kubectl apply` gives it."""
        generation = self.cache.metadata.generation + 1
        metadata = cache.metadata.model_copy(update={"generation": generation, "resource_version": self._next()})
        self.cache = cache.model_copy(update={"metadata": metadata, "status": self.cache.status})

    def cycle(self, dies_after: int | None = None) -> Plan:
        """One reconcile, and the controllers' answer to it. The operator may die after so many of its actions."""
        self._interpreter.lives = dies_after
        try:
            asyncio.run(self._cycle.run(self.cache))
        except Died:
            pass
        except ExecutionError as error:
            self.failures.append(str(error))
        made = self.history[-1]
        self.controllers()
        self.now += made.wake_after_s
        return made

    def survive(self) -> list[str]:
        """One pass of the fast lane; what it wrote."""
        before = len(self.writes)
        try:
            asyncio.run(self._fast.run(self.cache))
        except ExecutionError as error:
            self.failures.append(str(error))
        self.controllers()
        return self.writes[before:]

    def upgrade(self, site: Site) -> None:
        """Another operator takes over, with other settings."""
        self.site = self._observer.site = site

    def settle(self, cycles_max: int = 30) -> int:
        """Cycles until one writes nothing; fails if there is none."""
        for count in range(cycles_max):
            self.writes.clear()
            if not self.cycle().actions and not self.writes:
                return count
        raise AssertionError(f"does not converge: {self.writes}, {[a.reason for a in self.history[-1].actions]}")

    def snapshot(self) -> Snapshot:
        return asyncio.run(self._observer.observe(self.cache))

    def _tell(self, cache: Metadata, type: act.EventType, word: str, note: str) -> None:
        self.events.append((type, word, note))

    def _plan(self, snapshot: Snapshot, now: float) -> Plan:
        self.history.append(plan(snapshot, now))
        self.meanwhile()
        return self.history[-1]

    def _survive(self, snapshot: Snapshot, now: float) -> Plan:
        made = survive(snapshot, now)
        self.meanwhile()
        return made

    # -- how the cluster answers

    def controllers(self) -> None:
        """The StatefulSet controller, the provisioner and the kubelet, each to its end."""
        for key, claim in self.objects.items():
            if key.kind == "PersistentVolumeClaim":
                claim["status"] = {"capacity": dict(claim["spec"]["resources"]["requests"])}
        statefulset = self.objects.get(Key("StatefulSet", names.statefulset(self.cache.metadata.name)))
        if statefulset is None:
            return
        template = statefulset["spec"]["template"]
        revision = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        statefulset["status"] = {
            "updateRevision": revision,
            "observedGeneration": statefulset["metadata"]["generation"],
        }
        for ordinal in range(statefulset["spec"]["replicas"]):
            self._start(statefulset, ordinal, revision)
        for server in self.servers.values():
            self._reads(server["build"])  # its container may start again at any time

    def _start(self, statefulset: dict[str, Any], ordinal: int, revision: str) -> None:
        name = f"{statefulset['metadata']['name']}-{ordinal}"
        for claim in statefulset["spec"].get("volumeClaimTemplates", ()):
            key = Key("PersistentVolumeClaim", f"{claim['metadata']['name']}-{name}")
            if key not in self.objects:
                self.store({"kind": key.kind, "metadata": {"name": key.name}, "spec": deepcopy(claim["spec"])}, {})
        if Key("Pod", name) in self.objects or name in self.unmade:
            return
        template = deepcopy(statefulset["spec"]["template"])
        labels = {**template["metadata"]["labels"], "controller-revision-hash": revision}
        metadata = {**template["metadata"], "name": name, "labels": labels}
        self.store({"kind": "Pod", "metadata": metadata, "spec": template["spec"]}, {})
        self.objects[Key("Pod", name)]["status"] = {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": names.CONTAINER, "ready": True, "state": {"running": {}}}],
        }
        build = self.builds.get(server_container(self.objects[Key("Pod", name)])["image"], self.build)
        self.servers[name] = {
            "build": build,
            "parameters": {**build.defaults, **self._reads(build)},
            "password": self._have(),
            "run": f"run-{self._serial}",
            "role": "master",
        }

    def file(self) -> str:
        """What the next start reads."""
        found = self.objects.get(Key("ConfigMap", names.configmap(self.cache.metadata.name)), {})
        return str(found.get("data", {}).get(names.CONFIG_FILE, ""))

    def _reads(self, build: Build) -> dict[str, str]:
        file = {line.words[0]: line.words[1] for line in text_lines(self.file(), names.CONFIG_FILE)}
        assert file.keys() <= build.defaults.keys(), f"{sorted(file.keys() - build.defaults.keys())} stop the start"
        return file

    def reply(self, pod: str, command: Command) -> Reply:
        return reply(self.servers[pod], command)

    # -- small things

    def store(self, obj: dict[str, Any], old: Object) -> Object:
        version = self._next()
        before = old.get("metadata", {})
        obj["metadata"] = {
            **obj["metadata"],
            "uid": before.get("uid", f"uid-{version}"),
            "generation": before.get("generation", 0) + 1,
            "resourceVersion": version,
        }
        if "status" in old:
            obj["status"] = old["status"]
        self.objects[key_of(obj)] = obj
        return deepcopy(obj)

    def write_status(self, seen: Mapping[str, Any], status: Mapping[str, Any]) -> Object:
        """A merge patch onto the Cache, if it is still of that version."""
        body: dict[str, Any] = self.cache.wire()
        if seen.get("resourceVersion") != body["metadata"]["resourceVersion"]:
            raise ExecutionError("Cache/orders has been changed", conflict=True)
        body = merged(body, {"metadata": {"resourceVersion": self._next()}, "status": status})
        self.cache = Cache.model_validate(body)
        return {"apiVersion": API_VERSION, "kind": KIND, **body}

    def _next(self) -> str:
        self._serial += 1
        return str(self._serial)

    def _have(self) -> bytes:
        found = self.objects.get(Key("Secret", names.secret_server_password(self.cache.metadata.name)), {})
        return b64decode(found.get("data", {}).get(names.PASSWORD_KEY, ""))


def restarts(world: World) -> list[str]:
    return [a.reason for p in world.history for a in p.actions if isinstance(a, act.RestartPod)]


def told(world: World) -> list[str]:
    """What was done, but for what the operator notes for itself."""
    found = (a for p in world.history for a in p.actions)
    return [a.reason for a in found if a.subject not in ("ConfigMap/orders-accepted", "ConfigMap/orders-parameters")]


def settled(**wanted: Any) -> World:
    """One that has what it wants, and no history."""
    world = World(cache_of(**wanted))
    world.settle()
    world.history.clear()
    return world


class Died(BaseException):
    """The operator was killed."""


class _Interpreter(Interpreter):
    """The operator's own; a test may refuse an action, or kill the operator after some."""

    def __init__(self, world: World, objects: _Objects, servers: _Servers) -> None:
        super().__init__(objects, servers, lambda: b"generated", witnesses=world.witnesses)
        self._world = world
        self.lives: int | None = None  # actions that are left to it

    async def execute(self, cache: Cache, action: act.Action) -> None:
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise Died
        if refusal := self._world.refuse(action):
            target, subject, wish, words = refusal
            raise Refused(words, target=target, subject=subject, wish=wish)
        await super().execute(cache, action)


class _Objects:
    """Objects (execution/ports.py)."""

    def __init__(self, world: World) -> None:
        self._world = world

    def cache(self, key: CacheKey) -> Object | None:
        return {"apiVersion": API_VERSION, "kind": KIND, **self._world.cache.wire()}

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        return deepcopy(self._world.objects)

    async def get(self, namespace: str, key: Key) -> Object | None:
        theirs = {"kind": key.kind, "metadata": {"name": key.name}}
        return theirs if key in self._world.foreign else deepcopy(self._world.objects.get(key))

    async def apply(self, namespace: str, obj: Object) -> Object:
        old = self._world.objects.get(key_of(obj), {})
        if old and obj["kind"] == "StatefulSet":
            for fixed in ("volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"):
                assert old["spec"].get(fixed) == obj["spec"].get(fixed), f"{fixed} is immutable"
        self._world.writes.append(f"apply {key_of(obj)}")
        return self._world.store(dict(deepcopy(obj)), old)

    async def create(self, namespace: str, obj: Object) -> Object:
        assert key_of(obj) not in self._world.objects
        return await self.apply(namespace, obj)

    async def patch(self, namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        self._world.writes.append(f"patch {key} {subresource}")
        if key.kind == KIND:
            return self._world.write_status(patch["metadata"], patch["status"])
        old = self._world.objects.get(key)
        if old is None:
            raise ExecutionError(f"{key} does not exist", conflict=True)
        seen = patch.get("metadata", {})
        assert seen.get("uid", old["metadata"]["uid"]) == old["metadata"]["uid"]
        assert seen.get("resourceVersion", old["metadata"]["resourceVersion"]) == old["metadata"]["resourceVersion"]
        if key.kind == "PersistentVolumeClaim" and "spec" in patch:
            before, after = (o["spec"]["resources"]["requests"]["storage"] for o in (old, patch))
            assert parse(before) < parse(after)
        return self._world.store(merged(old, patch), old)

    async def delete(self, namespace: str, key: Key, uid: str, *, orphan: bool = False) -> None:
        self._world.writes.append(f"delete {key}")
        gone = self._world.objects.pop(key)
        assert gone["metadata"]["uid"] == uid
        assert key.kind != "StatefulSet" or orphan, "its pods would go with it"
        if key.kind == "Pod":
            self._world.servers.pop(key.name, None)

    async def events_of(self, namespace: str, uid: str, reason: str) -> Sequence[Object]:
        self._world.events_read += 1
        return [
            {"note": f"create Pod {pod} in StatefulSet orders failed error: {why}"}
            for pod, why in self._world.unmade.items() if why
        ]


class _Servers:
    """Servers (execution/ports.py): a pod's name is its address."""

    def __init__(self, world: World) -> None:
        self._world = world

    def address(self, pod: Object) -> tuple[str, int] | None:
        name = pod["metadata"]["name"]
        return (name, names.PORT) if name in self._world.servers else None

    async def ask(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
        return await self.answer("ask", endpoint, commands)

    async def call(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[Line, bytes, list[Reply]]:
        used, replies = await self.answer("call", endpoint, commands)
        return _Line(self, self._world, endpoint), used, replies

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        assert run_id == self._world.servers[endpoint.host]["run"], "decided by what another process said"
        self._world.writes.append(f"tell {endpoint.host}")
        return (await self.answer("tell", endpoint, commands))[1]

    async def answer(
        self, how: str, endpoint: Endpoint, commands: Sequence[Command], *, known: bool = False
    ) -> tuple[bytes, list[Reply]]:
        """`known`: it has logged in before."""
        self._world.questions[how] += 1
        if self._world.away or endpoint.host in self._world.silent:
            raise ExecutionError("timed out")
        if endpoint.host in self._world.ended:
            raise NotListening("nothing listens there")
        if lag_s := self._world.lags.get(endpoint.host):
            await pass_time(min(lag_s, TIMEOUT_S))
            if lag_s > TIMEOUT_S:
                raise ExecutionError("timed out")
        if self._world.hangs:
            await asyncio.get_running_loop().create_future()
        server = self._world.servers[endpoint.host]
        if not known and server["password"] not in (*endpoint.passwords, b""):
            raise Locked("WRONGPASS")
        return server["password"], [self._world.reply(endpoint.host, command) for command in commands]


class _Line:
    """Line (execution/ports.py) to one process."""

    def __init__(self, servers: _Servers, world: World, endpoint: Endpoint) -> None:
        self._servers, self._world, self._endpoint = servers, world, endpoint
        self._run = world.servers[endpoint.host]["run"]

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        if self._world.servers.get(self._endpoint.host, {}).get("run") != self._run:
            raise ExecutionError("closed the connection without an answer")
        return (await self._servers.answer("glance", self._endpoint, commands, known=True))[1]

    def close(self) -> None: ...


def reply(server: dict[str, Any], command: Command) -> Reply:
    """What a server of these facts answers to what an operator asks of any."""
    match [word.upper() for word in command[:2]]:
        case [b"INFO", *_]:
            version = server["build"].version
            info = f"run_id:{server['run']}\r\nrole:{server['role']}\r\ncachefleet_version:{version}\r\n"
            return info.encode()
        case [b"CONFIG", b"GET"]:
            return [word.encode() for pair in server["parameters"].items() for word in pair]
        case [b"CONFIG", b"SET"]:
            for name, value in zip(command[2::2], command[3::2], strict=True):
                if name == b"requirepass":
                    server["password"] = value
                else:
                    assert name.decode() in server["build"].defaults, "it does not know it"
                    server["parameters"][name.decode()] = value.decode()
    return b"OK"
