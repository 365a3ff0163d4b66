"""A small world for the planner: it executes plans as the API server, the controllers and the kubelet would.

Objects are stored as applied and defaulted a little; a StatefulSet makes its pods and claims; a restarted pod comes up
with the new template after a while; a server reads its ConfigMap at its start and takes CONFIG SET while it runs. Every
write is counted, so that "writes nothing" can be asserted. Nothing here is random: a test decides what fails.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site, key_of
from cachefleet_operator.api.parameters import PARAMETERS, resolve
from cachefleet_operator.api.quantity import parse
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.execution import passwords
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning.plan import Plan, plan
from cachefleet_operator.planning.refusals import remember
from cachefleet_operator.planning.snapshot import Server, Snapshot
from cachefleet_operator.resources.configmap import parameters
from fleettest.snapshots import NOW, SITE

Refuse = Callable[[act.Action], tuple[str, str, str, str] | None]  # -> target, subject, wish, words


class World:
    def __init__(self, cache: Cache, site: Site = SITE) -> None:
        self.cache, self.site, self.now = cache, site, NOW
        self.objects: dict[Key, dict[str, Any]] = {}
        self.servers: dict[str, dict[str, Any]] = {}  # pod -> parameters, password, run
        self.writes: list[str] = []
        self.history: list[Plan] = []
        self.refuse: Refuse = lambda action: None
        self.away = False  # the pods run, and no server answers
        self.foreign: set[Key] = set()  # objects of other people's
        self._serial = 0

    # -- what a test does

    def edit(self, cache: Cache) -> None:
        """A new spec, as `kubectl apply` gives it."""
        generation = self.cache.metadata.generation + 1
        metadata = cache.metadata.model_copy(update={"generation": generation})
        self.cache = cache.model_copy(update={"metadata": metadata, "status": self.cache.status})

    def cycle(self, dies_after: int | None = None) -> Plan:
        """One reconcile, and the controllers' answer to it. The operator may die after so many of its actions."""
        made = plan(self.snapshot(), self.now)
        self.history.append(made)
        status = made.status
        for action in made.actions[:dies_after]:
            refusal = self.refuse(action)
            if refusal is not None:
                target, subject, wish, words = refusal
                status = made.stopped(words)
                status = remember(status, target=target, subject=subject, wish=wish, message=words, now=self.now)
                break
            self._execute(action)
        if status != self.cache.status and dies_after is None:
            self.writes.append("status")
            self.cache = self.cache.model_copy(update={"status": status})
        self._controllers()
        self.now += made.wake_after_s
        return made

    def settle(self, cycles_max: int = 30) -> int:
        """Cycles until one writes nothing; fails if there is none."""
        for count in range(cycles_max):
            self.writes.clear()
            if not self.cycle().actions and not self.writes:
                return count
        raise AssertionError(f"does not converge: {self.writes}, {[a.reason for a in self.history[-1].actions]}")

    def snapshot(self) -> Snapshot:
        servers = {}
        for pod, state in self.servers.items():
            known = passwords.known(self.cache, lambda name: self.objects.get(Key("Secret", name)))
            error = "" if state["password"] in (*known, b"") else "WRONGPASS"
            error = "timed out" if self.away else error
            servers[pod] = Server(
                pod, error, locked=error == "WRONGPASS", run_id=state["run"], role="master", version="1.0.0",
                parameters=dict(state["parameters"]), password_is_current=state["password"] == known[0],
            )  # fmt: skip
        return Snapshot(self.cache, self.site, deepcopy(self.objects), servers, frozenset(self.foreign))

    # -- how the cluster answers

    def _execute(self, action: act.Action) -> None:
        if not isinstance(action, act.Notice):
            self.writes.append(action.reason)
        getattr(self, f"_do_{type(action).__name__}")(action)

    def _do_Notice(self, action: act.Notice) -> None: ...

    def _do_Apply(self, action: act.Apply) -> None:
        assert action.create == (action.key not in self.objects), action.reason
        old = self.objects.get(action.key, {})
        if old and action.key.kind == "StatefulSet":
            for fixed in ("volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"):
                assert old["spec"].get(fixed) == action.object["spec"].get(fixed), f"{fixed} is immutable"
        self._store(dict(deepcopy(action.object)), old)

    def _do_Delete(self, action: act.Delete) -> None:
        gone = self.objects.pop(action.key)
        assert gone["metadata"]["uid"] == action.uid
        if action.key.kind == "StatefulSet":
            assert action.orphan, "its pods would go with it"

    def _do_GenerateSecret(self, action: act.GenerateSecret) -> None:
        self._secret(action.object, {action.field: b"generated"})

    def _do_CopySecret(self, action: act.CopySecret) -> None:
        old = self.objects.get(key_of(action.object))
        self._secret(action.object, passwords.copied(old, action.field, self._read(action.source)))

    def _do_LabelPod(self, action: act.LabelPod) -> None:
        self.objects[Key("Pod", action.pod)]["metadata"]["labels"].update(action.labels)

    def _do_RestartPod(self, action: act.RestartPod) -> None:
        gone = self.objects.pop(Key("Pod", action.pod))
        assert gone["metadata"]["uid"] == action.uid
        self.servers.pop(action.pod, None)

    def _do_ConfigSet(self, action: act.ConfigSet) -> None:
        self.servers[action.pod]["parameters"].update(action.parameters)

    def _do_SetPassword(self, action: act.SetPassword) -> None:
        self.servers[action.pod]["password"] = self._read(action.source)

    def _do_ResizeClaim(self, action: act.ResizeClaim) -> None:
        claim = self.objects[Key("PersistentVolumeClaim", action.claim)]
        assert parse(claim["spec"]["resources"]["requests"]["storage"]) < parse(action.size)
        claim["spec"]["resources"]["requests"]["storage"] = action.size

    def _do_OwnClaim(self, action: act.OwnClaim) -> None:
        claim = self.objects[Key("PersistentVolumeClaim", action.claim)]
        assert claim["metadata"]["resourceVersion"] == action.version
        claim["metadata"]["ownerReferences"] = [dict(owner) for owner in action.owners]

    def _controllers(self) -> None:
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

    def _start(self, statefulset: dict[str, Any], ordinal: int, revision: str) -> None:
        name = f"{statefulset['metadata']['name']}-{ordinal}"
        for claim in statefulset["spec"].get("volumeClaimTemplates", ()):
            key = Key("PersistentVolumeClaim", f"{claim['metadata']['name']}-{name}")
            if key not in self.objects:
                self._store({"kind": key.kind, "metadata": {"name": key.name}, "spec": deepcopy(claim["spec"])}, {})
        if Key("Pod", name) in self.objects:
            return
        template = deepcopy(statefulset["spec"]["template"])
        labels = {**template["metadata"]["labels"], "controller-revision-hash": revision}
        metadata = {**template["metadata"], "name": name, "labels": labels}
        self._store({"kind": "Pod", "metadata": metadata, "spec": template["spec"]}, {})
        self.objects[Key("Pod", name)]["status"] = {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": names.CONTAINER, "ready": True, "state": {"running": {}}}],
        }
        file = {resolve(k): v for k, v in parameters(self._as_written()).items()}
        defaults = {p.name: p.default for p in PARAMETERS}
        self.servers[name] = {
            "parameters": {**defaults, **file},
            "password": self._have(),
            "run": f"run-{self._serial}",
        }

    def _as_written(self) -> Cache:
        """The Cache whose ConfigMap lives: refused parameters are not in the file."""
        refused = {r.subject for r in self.cache.status.refusals}
        config = {k: v for k, v in self.cache.spec.config.items() if resolve(k) not in refused}
        return self.cache.model_copy(update={"spec": self.cache.spec.model_copy(update={"config": config})})

    # -- small things

    def _store(self, obj: dict[str, Any], old: Object) -> None:
        self._serial += 1
        before = old.get("metadata", {})
        obj["metadata"] = {
            **obj["metadata"],
            "uid": before.get("uid", f"uid-{self._serial}"),
            "generation": before.get("generation", 0) + 1,
            "resourceVersion": str(self._serial),
        }
        if "status" in old:
            obj["status"] = old["status"]
        self.objects[key_of(obj)] = obj

    def _secret(self, shell: Object, data: dict[str, bytes]) -> None:
        obj = dict(passwords.with_data(deepcopy(shell), data))
        self._store(obj, self.objects.get(key_of(obj), {}))

    def _read(self, source: tuple[str, str] | None) -> bytes:
        if source is None:
            return b""
        return b64decode(self.objects[Key("Secret", source[0])]["data"][source[1]])

    def _have(self) -> bytes:
        found = self.objects.get(Key("Secret", names.secret_server_password(self.cache.metadata.name)), {})
        return b64decode(found.get("data", {}).get(names.PASSWORD_KEY, ""))
