"""Observer and interpreter over the ports of this machine: what becomes of its store, and what the planner sees."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Site
from cachefleet_operator.api.v1alpha1 import KIND, Cache, CacheStatus, Refusal
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.local.kubelet import Kubelet
from cachefleet_operator.execution.local.objects import LocalObjects
from cachefleet_operator.execution.local.servers import LocalServers
from cachefleet_operator.execution.local.store import Store
from cachefleet_operator.execution.local.tcp_ports import PortBook, Ports
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.planning import actions as act
from fleettest.instance import free_port
from fleettest.snapshots import cache

NS = "shop"
CACHE = cache()
MINE = {"name": "orders-auth", "labels": names.labels("orders")}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": MINE}
OURS = {"apiVersion": "v1", "kind": "Secret", "metadata": {**MINE, "name": "orders-server-password"}}


class Local:
    def __init__(self, data: Path) -> None:
        self.events: list[tuple[str, ...]] = []
        self.store = Store(data, time.time)
        self.ports = PortBook(data, Ports(free_port(), free_port()))
        kubelet = Kubelet(self.store, self.ports, lambda *event: self.events.append(event), time.time)
        self.objects, servers = LocalObjects(self.store, kubelet), LocalServers(self.ports)
        self.observer = Observer(self.objects, servers, Site("image", "1"))
        self.interpreter = Interpreter(self.objects, servers)

    def do(self, *actions: act.Action, cache: Cache = CACHE) -> None:
        self.wait(self._all(cache, actions))

    async def _all(self, cache: Cache, actions: tuple[act.Action, ...]) -> None:
        for action in actions:
            await self.interpreter.execute(cache, action)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def data(self, secret: str) -> dict[str, str]:
        found = self.store.get(NS, "Secret", secret)
        return {key: b64decode(text).decode() for key, text in (found or {}).get("data", {}).items()}


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local(tmp_path)


def test_a_password_is_made_once(local: Local) -> None:
    local.do(act.GenerateSecret("", SECRET, "password"))
    first = local.data("orders-auth")["password"]
    assert len(first) == 32
    local.do(act.GenerateSecret("", SECRET, "password"))
    assert local.data("orders-auth") == {"password": first}


def test_a_password_that_somebody_emptied_is_made_anew(local: Local) -> None:
    local.store.apply(NS, {**SECRET, "stringData": {"password": "\n"}})
    local.do(act.GenerateSecret("", SECRET, "password"))
    assert len(local.data("orders-auth")["password"]) == 32


@pytest.mark.parametrize(
    "action", [act.Apply("", SECRET, create=True), act.GenerateSecret("", SECRET, "password")],
    ids=lambda a: type(a).__name__,
)  # fmt: skip
def test_what_belongs_to_somebody_else_is_not_touched(local: Local, action: act.Action) -> None:
    local.store.apply(NS, {"kind": "Secret", "metadata": {"name": "orders-auth"}, "stringData": {"a": "theirs"}})
    with pytest.raises(Refused, match="Secret/orders-auth exists and does not belong to this Cache") as caught:
        local.do(action)
    assert (caught.value.target, caught.value.subject) == ("Secret/orders-auth", "metadata.name")
    assert local.data("orders-auth") == {"a": "theirs"}
    target, subject = caught.value.target, caught.value.subject
    refusal = Refusal(target=target, subject=subject, wish="", message="", at="2026-01-01T00:00:00Z")
    refused = CACHE.model_copy(update={"status": CacheStatus(refusals=(refusal,))})
    assert local.wait(local.observer.observe(refused)).foreign == {Key("Secret", "orders-auth")}
    local.store.delete(NS, Key("Secret", "orders-auth"))
    assert local.wait(local.observer.observe(refused)).foreign == frozenset()


def test_pods_that_cannot_be_read_are_refused(local: Local) -> None:
    """As the API server would, so that a wrong edit costs nobody a restart."""
    spec = {"containers": [{"name": "server"}], "volumes": [{"name": "extra", "secret": {}}]}
    metadata = {**MINE, "name": "orders", "annotations": {names.ANNOTATION_APPLIED: "hash"}}
    made = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"template": {"spec": spec}}}
    with pytest.raises(Refused) as caught:
        local.do(act.Apply("", made))
    assert str(caught.value) == "spec.template.spec.volumes[0].secret.secretName: is required"
    assert (caught.value.target, caught.value.subject, caught.value.wish) == ("StatefulSet/orders", "object", "hash")
    assert local.store.get(NS, "StatefulSet", "orders") is None


def test_objects_are_deleted_by_uid(local: Local) -> None:
    local.do(act.Apply("", SECRET, create=True))
    found = local.store.get(NS, "Secret", "orders-auth")
    assert found is not None
    local.do(act.Delete("", Key("Secret", "orders-auth"), "another"))
    assert local.store.get(NS, "Secret", "orders-auth") is not None
    local.do(act.Delete("", Key("Secret", "orders-auth"), found["metadata"]["uid"]))
    assert local.store.get(NS, "Secret", "orders-auth") is None


def test_a_claim_grows_at_once(local: Local) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    local.store.apply(NS, {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-orders-0"}, "spec": spec})
    local.do(act.ResizeClaim("", "data-orders-0", "2Gi"))
    claim = local.store.get(NS, "PersistentVolumeClaim", "data-orders-0")
    assert claim is not None
    assert claim["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["status"]["capacity"] == {"storage": "2Gi"}


@pytest.mark.parametrize(
    "action", [act.ConfigSet("", "orders-0", "r1", {"hz": "1"}), act.SetPassword("", "orders-0", "r1", None)],
    ids=lambda a: type(a).__name__,
)  # fmt: skip
def test_a_pod_without_a_server_is_asked_later(local: Local, action: act.Action) -> None:
    with pytest.raises(ExecutionError, match="orders-0 has no server now") as caught:
        local.do(action)
    assert caught.value.conflict


def test_a_pod_that_is_gone_is_looked_for_again(local: Local) -> None:
    local.do(act.RestartPod("", "orders-0", "uid"))
    with pytest.raises(ExecutionError, match="Pod/orders-0 does not exist") as caught:
        local.do(act.LabelPod("", "orders-0", "uid", {"a": "b"}))
    assert caught.value.conflict


def test_preconditions_hold_as_in_a_cluster(local: Local) -> None:
    local.store.apply(NS, {**SECRET, "stringData": {"password": "one"}})
    key, objects = Key("Secret", "orders-auth"), local.objects
    live = local.store.get(NS, *key)
    assert live is not None
    for field in ("uid", "resourceVersion"):
        with pytest.raises(ExecutionError, match="Secret/orders-auth has been changed") as caught:
            local.wait(objects.patch(NS, key, {"metadata": {field: "7777"}}))
        assert caught.value.conflict
    seen = {field: live["metadata"][field] for field in ("uid", "resourceVersion")}
    local.wait(objects.patch(NS, key, {"metadata": {**seen, "labels": {"a": "b"}}, "data": {"password": None}}))
    assert local.data("orders-auth") == {}
    with pytest.raises(ExecutionError, match="exists") as caught:
        local.wait(objects.create(NS, SECRET))
    assert caught.value.conflict


def test_a_cache_whose_file_was_lost_has_its_objects(tmp_path: Path) -> None:
    uids = set()
    for folder in ("a", "b"):
        store = Store(tmp_path / folder, time.time)
        uids.add(store.apply(NS, {"kind": KIND, "metadata": {"name": "orders"}})["metadata"]["uid"])
    assert len(uids) == 1


def test_the_planner_sees_our_objects_the_users_secret_and_the_address(local: Local) -> None:
    service = {"kind": "Service", "metadata": {"name": "orders-rw", "labels": names.labels("orders")}}
    stored = local.store.apply(NS, service)
    local.store.apply(NS, {"kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"password": "one"}})
    local.store.apply(NS, {"kind": "Secret", "metadata": {"name": "other"}})
    ports = local.ports.assign(NS, "orders", "orders-0", lambda _: None)
    snapshot = local.wait(local.observer.observe(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}})))
    assert set(snapshot.objects) == {Key("Service", "orders-rw"), Key("Secret", "mine")}
    seen = snapshot.get("Service", "orders-rw")
    assert seen["metadata"]["annotations"] == {names.ANNOTATION_ENDPOINT: f"127.0.0.1:{ports.redis}"}
    assert local.store.get(NS, "Service", "orders-rw") is stored  # in the store it is as applied
    assert snapshot.servers == {}
