"""StatefulSets come true on this machine: what Kubernetes' controller and its kubelet do, for one process a pod.

The controller part makes claims and pods that are missing, removes those that are too many, and never replaces a pod by
itself (OnDelete): whoever wants that deletes it. The kubelet part has one task a pod: it waits until nobody else works
on the pod's folder, writes ConfigMaps and Secrets as files, starts the server, asks /readyz, starts a server that ended
again (at once, then with growing pauses), and writes the pod's status. A deleted pod gets SIGTERM and, after the
template's grace, SIGKILL. preStop hooks are not run: the server saves on SIGTERM by itself.

    <cache>/<pod>/                see volumes.py
    <cache>/<claim>/              a PersistentVolumeClaim; its size is noted, not enforced
    <cache>/<pod>/server.log      with server.log.1
    <cache>/<pod>/lock            see process.py

Everything runs in one event loop. A pod's object is in the store from its creation until its process is gone, and so
is its task, whatever its spec says: what cannot be run is told in its status, and looked at again until it is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local import reading
from cachefleet_operator.execution.local.paths import below, private_folder
from cachefleet_operator.execution.local.podspec import ConfigError, PodSpec, read
from cachefleet_operator.execution.local.process import Lock, Process, last_line, not_ready, rotate, start, take_over
from cachefleet_operator.execution.local.reading import Life
from cachefleet_operator.execution.local.store import Clock, Store, Where, owner
from cachefleet_operator.execution.local.tcp_ports import HOST, PortBook, Ports
from cachefleet_operator.execution.local.volumes import empty_data, mount
from cachefleet_operator.planning.moments import stamp

PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before the first restart, the second ...
STABLE_S = 60.0  # a process that lived so long begins the row anew
RETRY_S = 1.0  # when a container cannot be made
PROBE_S, FIRST_PROBE_S = 1.0, 0.05  # once ready, and until then
LOG, LOCK = "server.log", "lock"
REVISION = "controller-revision-hash"

# (namespace, cache, "Normal" or "Warning", word, message)
Tell = Callable[[str, str, str, str, str], None]


class PodId(NamedTuple):
    namespace: str
    name: str


class Kubelet:
    """Keeps processes as the StatefulSets of the store want them."""

    def __init__(self, store: Store, ports: PortBook, tell: Tell, clock: Clock) -> None:
        self.store, self.ports, self.tell, self.clock = store, ports, tell, clock
        self._pods: dict[PodId, _Pod] = {}
        self._stopping = False
        store.watch(self._seen)

    def delete_pod(self, namespace: str, name: str) -> None:
        """Begins to end a pod. Its StatefulSet, if it still exists, makes it anew when it is gone."""
        pod = self._pods.get(PodId(namespace, name))
        if pod is not None:
            pod.delete()

    async def stop_cache(self, namespace: str, cache: str) -> None:
        """Ends the pods of one Cache, whose StatefulSet must be gone; returns when all have ended."""
        mine = [pod for pod in self._pods.values() if (pod.id.namespace, pod.cache) == (namespace, cache)]
        await _end(mine)

    async def stop(self) -> None:
        """Ends all pods; nothing is started any more."""
        self._stopping = True
        await _end(list(self._pods.values()))

    def kill(self) -> None:
        """Ends all pods at once, without saving."""
        for pod in self._pods.values():
            pod.kill()

    # -- the controller

    def _seen(self, where: Where, found: Object | None) -> None:
        kind, name = where.key
        if (kind == "StatefulSet" and found is not None) or kind == "Pod":
            statefulset = name if kind == "StatefulSet" else name.rpartition("-")[0]
            asyncio.get_running_loop().call_soon(self._sync, where.namespace, statefulset)
        elif kind in ("ConfigMap", "Secret"):
            for pod in self._pods.values():
                if pod.id.namespace == where.namespace:
                    pod.remount()

    def _sync(self, namespace: str, name: str) -> None:
        """Brings claims, pods and status of a StatefulSet where its spec wants them."""
        statefulset = self.store.get(namespace, "StatefulSet", name)
        if statefulset is None or self._stopping:
            return
        wanted = [names.pod(name, ordinal) for ordinal in range(statefulset["spec"].get("replicas", 1))]
        live = {id.name: pod for id, pod in self._pods.items() if id.namespace == namespace and pod.statefulset == name}
        try:
            for ordinal, pod in enumerate(wanted):
                if pod not in live:
                    self._make_claims(statefulset, ordinal)
                    self._make_pod(statefulset, pod)
            for pod in live.keys() - set(wanted):
                live[pod].delete()
            self._write_status(statefulset, wanted)
        except ExecutionError as error:
            self.tell(namespace, owner(statefulset), "Warning", "FailedCreate", str(error))
            asyncio.get_running_loop().call_later(RETRY_S, self._sync, namespace, name)

    def _make_claims(self, statefulset: Object, ordinal: int) -> None:
        namespace, name = statefulset["metadata"]["namespace"], statefulset["metadata"]["name"]
        for template in statefulset["spec"].get("volumeClaimTemplates", ()):
            claim = f"{template['metadata']['name']}-{names.pod(name, ordinal)}"
            if self.store.get(namespace, "PersistentVolumeClaim", claim) is not None:
                continue
            labels = {**template["metadata"].get("labels", {}), **statefulset["spec"]["selector"]["matchLabels"]}
            self.store.apply(namespace, {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "labels": labels},
                "spec": template["spec"],
            })  # fmt: skip
            size = template["spec"]["resources"]["requests"]["storage"]
            status = {"phase": "Bound", "capacity": {"storage": size}}
            self.store.change(namespace, "PersistentVolumeClaim", claim, {"status": status})

    def _make_pod(self, statefulset: Object, name: str) -> None:
        metadata, template = statefulset["metadata"], statefulset["spec"]["template"]
        labels = {
            **template["metadata"].get("labels", {}), REVISION: revision(statefulset),
            "statefulset.kubernetes.io/pod-name": name,
        }  # fmt: skip
        parent = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"],
                  "controller": True}  # fmt: skip
        self.store.apply(metadata["namespace"], {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "labels": labels, "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [parent],
            },
            "spec": {**template["spec"], "hostname": name},
        })  # fmt: skip
        claims = [t["metadata"]["name"] for t in statefulset["spec"].get("volumeClaimTemplates", ())]
        id = PodId(metadata["namespace"], name)
        self._pods[id] = _Pod(self, id, owner(statefulset), metadata["name"], names.VOLUME_DATA in claims)

    def _write_status(self, statefulset: Object, wanted: list[str]) -> None:
        namespace, update = statefulset["metadata"]["namespace"], revision(statefulset)
        pods = [found for name in wanted if (found := self.store.get(namespace, "Pod", name)) is not None]
        updated = sum(pod["metadata"]["labels"][REVISION] == update for pod in pods)
        ready = sum(_is_ready(pod) for pod in pods)
        before = statefulset.get("status", {}).get("currentRevision", update)
        self.store.change(namespace, "StatefulSet", statefulset["metadata"]["name"], {"status": {
            "observedGeneration": statefulset["metadata"]["generation"], "replicas": len(pods), "readyReplicas": ready,
            "availableReplicas": ready, "updatedReplicas": updated, "updateRevision": update,
            "currentRevision": update if updated == len(pods) else before,
        }})  # fmt: skip

    def gone(self, pod: _Pod) -> None:
        """A pod's task has ended: the pod is no more."""
        del self._pods[pod.id]
        self.store.delete(pod.id.namespace, Key("Pod", pod.id.name))


class _Place(NamedTuple):
    """Where a pod is, once nobody else is there."""

    lock: Lock
    folder: Path
    data: Path
    log: Path


class _Pod:
    """One pod and the task that looks after it."""

    def __init__(self, kubelet: Kubelet, id: PodId, cache: str, statefulset: str, has_claim: bool) -> None:
        self._kubelet, self.id, self.cache, self.statefulset = kubelet, id, cache, statefulset
        self._has_claim = has_claim
        self._image = ""
        self._life = Life()
        self._failures = 0  # in a row
        self._poke = asyncio.Event()  # something happened: deletion, the end of the process, a change of a volume
        self._deleted = False
        self._hurry = False  # no more grace, for nobody
        self._stale = False  # a volume's content may have changed
        self._process: Process | None = None
        self.task = asyncio.create_task(self._run(), name=f"pod {id.name}")
        self.task.add_done_callback(_report)

    # -- what others say

    def delete(self) -> None:
        if not self._deleted:
            self._deleted = True
            metadata = {**self._object["metadata"], "deletionTimestamp": stamp(self._kubelet.clock())}
            self._kubelet.store.change(self.id.namespace, "Pod", self.id.name, {"metadata": metadata})
        self._poke.set()

    def kill(self) -> None:
        self._hurry = True
        if self._process is not None:
            self._process.send(signal.SIGKILL)

    def remount(self) -> None:
        self._stale = True
        self._poke.set()

    # -- its life

    @property
    def _object(self) -> Object:
        found = self._kubelet.store.get(self.id.namespace, "Pod", self.id.name)
        assert found is not None  # the store has it until `gone`
        return found

    async def _run(self) -> None:
        place: _Place | None = None
        while not self._deleted:
            self._stale = False
            try:
                spec = read(self._object["spec"])
                self._image = spec.server.image
                place = place or await self._enter(spec)
                if not self._deleted:  # it may have waited for long
                    await self._one_process(spec, place)
            except Exception as error:  # whatever it is: a pod ends by its deletion alone
                if place is not None and not place.folder.is_dir():  # somebody removed it, and the lock in it
                    place.lock.release()
                    place = None
                await self._cannot(error)
        if place is not None:
            place.lock.release()
        self._kubelet.gone(self)

    async def _enter(self, spec: PodSpec) -> _Place:
        """The pod's folder, with nobody else in it."""
        home = self._kubelet.store.folder(self.id.namespace, self.cache)
        folder = below(home, self.id.name)
        private_folder(folder)
        grace_s = spec.termination_grace_period_seconds
        lock = await take_over(below(folder, LOCK), grace_s, lambda: self._hurry)
        try:
            if self._has_claim:
                data = below(home, f"{names.VOLUME_DATA}-{self.id.name}")
                private_folder(data)
            else:
                data = empty_data(folder)
            log = below(folder, LOG)
        except BaseException:
            lock.release()
            raise
        for part in reading.left_out(spec):
            words = f"pod {self.id.name} has no {part} on this machine"
            self._kubelet.tell(self.id.namespace, self.cache, "Warning", "NotRunHere", words)
        return _Place(lock, folder, data, log)

    async def _one_process(self, spec: PodSpec, place: _Place) -> None:
        """From start to end, and the pause after an end that nobody asked for."""
        ports = self._kubelet.ports.assign(self.id.namespace, self.cache, self.id.name, self._warn)
        variables = _variables(ports, place)
        environment = reading.environment(self._object, spec.server, variables, self._lookup)
        arguments = reading.arguments(spec.server, environment)
        mount(place.folder, reading.files(spec, self._lookup))
        process = self._process = await start(arguments, environment, place.folder, place.log, place.lock)
        born = self._kubelet.clock()
        self._now(started_at=born, pid=process.pid, unready="the server has just been started")
        ended = asyncio.create_task(process.wait())
        ended.add_done_callback(lambda _: self._poke.set())
        try:
            while not ended.done() and not self._deleted:
                await self._look(spec, place, ports)
        finally:
            if not ended.done():
                await process.stop(spec.termination_grace_period_seconds)
            code = await ended
            self._process = None
        now = self._kubelet.clock()
        last = reading.terminated(code, born, now, last_line(place.log))
        if self._deleted:
            return
        past = 0 if now - born >= STABLE_S else self._failures
        self._failures = past + 1
        pause_s = PAUSES_S[min(past, len(PAUSES_S) - 1)]
        again = f"in {pause_s:g} s" if pause_s else "at once"
        self._warn(f"the server of {self.id.name} ended with code {code} and starts again {again}")
        why = f"back-off {pause_s:g}s restarting failed container={names.CONTAINER} pod={self.id.name}"
        self._now(started_at=0, pid=0, unready="the server has ended", last=last, restarts=self._life.restarts + 1,
                  waiting=("CrashLoopBackOff", why))  # fmt: skip
        await self._pause(pause_s)

    async def _look(self, spec: PodSpec, place: _Place, ports: Ports) -> None:
        """One look at a server that runs, then a pause."""
        if self._stale:
            self._stale = False
            try:
                mount(place.folder, reading.files(spec, self._lookup))
            except (ExecutionError, OSError) as error:
                self._warn(f"the files of {self.id.name} stay as they are: {error}")
        rotate(place.log)
        unready = await not_ready(HOST, ports.metrics)
        self._now(unready=unready)
        await self._wait(FIRST_PROBE_S if unready else PROBE_S)

    async def _cannot(self, error: Exception) -> None:
        reason = "CreateContainerConfigError" if isinstance(error, ConfigError) else "CreateContainerError"
        message = _words(error)
        if self._life.waiting != (reason, message):
            self._warn(f"{self.id.name} cannot be started: {message}")
            if not isinstance(error, ExecutionError | OSError):
                _hear(self.task, error)
        self._now(started_at=0, pid=0, unready=message, waiting=(reason, message))
        await self._pause(RETRY_S)

    async def _pause(self, seconds: float) -> None:
        """Until time is up, the pod is deleted, or a volume has changed (which may be the cure)."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._deleted and not self._stale and (left := end - loop.time()) > 0:
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Until time is up or something happens."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._poke.wait(), seconds)
        self._poke.clear()

    def _now(self, **facts: Any) -> None:
        """Notes what has become of the container."""
        self._life = replace(self._life, **facts)
        status = reading.status(self._object, self._image, self._life, self._kubelet.clock())
        self._kubelet.store.change(self.id.namespace, "Pod", self.id.name, {"status": status})

    def _warn(self, message: str) -> None:
        self._kubelet.tell(self.id.namespace, self.cache, "Warning", "Pod", message)

    def _lookup(self, kind: str, name: str) -> Object | None:
        return self._kubelet.store.get(self.id.namespace, kind, name)


def _variables(ports: Ports, place: _Place) -> dict[str, str]:
    return {
        names.ENV_PORT: str(ports.redis),
        names.ENV_METRICS_PORT: str(ports.metrics),
        names.ENV_BIND: HOST,
        names.ENV_METRICS_BIND: HOST,
        names.ENV_CONFIG: str(place.folder / names.VOLUME_CONFIG),
        names.ENV_AUTH: str(place.folder / names.VOLUME_AUTH),
        names.ENV_DATA: str(place.data),
    }


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) if isinstance(error, ExecutionError | OSError) else f"{type(error).__name__}: {error}"


def _report(task: asyncio.Task[None]) -> None:
    """A pod's task that failed is a bug: it is heard of at once, and the pod not made anew in a hot loop."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _hear(task, error)


def _hear(task: asyncio.Task[None], error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": task.get_name(), "exception": error})


def revision(statefulset: Object) -> str:
    """Name of what its pods are made from: changes with the pod template and with nothing else."""
    template = json.dumps(statefulset["spec"]["template"], sort_keys=True)
    return f"{statefulset['metadata']['name']}-{hashlib.sha256(template.encode()).hexdigest()[:10]}"


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _end(pods: list[_Pod]) -> None:
    for pod in pods:
        pod.delete()
    if pods:
        done, _ = await asyncio.wait([pod.task for pod in pods])
        for task in done:
            task.result()  # raises what should not have been
