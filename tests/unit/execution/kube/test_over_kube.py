"""Observer and interpreter over the ports of Kubernetes, with an API and servers in memory: what is ours, what is
refused, who knows a password."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import API_VERSION, Cache, CacheStatus, Metadata, PodStatus, Refusal
from cachefleet_operator.execution import passwords
from cachefleet_operator.execution.cycle import Cycle
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.kube.client import ApiError, NotLeading
from cachefleet_operator.execution.kube.objects import KubeObjects
from cachefleet_operator.execution.kube.servers import KubeServers
from cachefleet_operator.execution.kube.store import Store
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.ports import Command, Endpoint, Reply
from cachefleet_operator.planning import actions as act
from cachefleet_operator.resources.metadata import metadata
from cachefleet_operator.resources.secrets import auth_secret, server_password_secret
from fleettest import snapshots

pytestmark = pytest.mark.asyncio

KEY = ("shop", "orders")


class Api:
    """Objects by kind and name; every write gets the next version. `refuse` may answer instead."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.version = 100
        self.writes: list[str] = []
        self.refuse: Callable[[str, str], ApiError | None] = lambda verb, kind: None
        self.leads = True
        self.events: list[dict[str, Any]] = []
        self.events_read = 0

    def must_lead(self) -> None:
        if not self.leads:
            raise NotLeading("no")

    def has(self, obj: Object, **more: Any) -> dict[str, Any]:
        """It exists, whoever made it."""
        self.version += 1
        known = {"uid": f"uid-{obj['kind']}-{obj['metadata']['name']}", "namespace": "shop"}
        body = {**obj, **more, "metadata": {**known, **obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[obj["kind"], obj["metadata"]["name"]] = body
        return body

    def _write(self, verb: str, kind: str, name: str) -> None:
        if error := self.refuse(verb, kind):
            raise error
        self.writes.append(f"{verb} {kind}/{name}")

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, name))

    async def events_of(self, namespace: str, uid: str, reason: str) -> list[Object]:
        self.events_read += 1
        if error := self.refuse("list", "Event"):
            raise error
        return [e for e in self.events if (e["regarding"]["uid"], e["reason"]) == (uid, reason)]

    async def apply(self, namespace: str, obj: Object) -> Object:
        self._write("apply", obj["kind"], obj["metadata"]["name"])
        return self.has(obj)

    async def create(self, namespace: str, obj: Object) -> Object:
        self._write("create", obj["kind"], obj["metadata"]["name"])
        return self.has(obj)

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        self._write(f"merge{subresource and '/' + subresource}", kind, name)
        live = self.objects.get((kind, name))
        if live is None:
            raise ApiError("not found", 404)
        if patch.get("metadata", {}).get("resourceVersion", live["metadata"]["resourceVersion"]) != (
            live["metadata"]["resourceVersion"]
        ):
            raise ApiError("the object has been modified", 409)
        return self.has(live, **{k: v for k, v in patch.items() if k != "metadata"})

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, orphan: bool = False) -> None:
        self._write(f"delete{' orphan' if orphan else ''} {uid}", kind, name)


class Servers(KubeServers):
    """Writes down who was asked and told what; `slow` is how often it does not answer."""

    def __init__(self, must_lead: Callable[[], None]) -> None:
        super().__init__(must_lead)
        self.asked: list[Endpoint] = []
        self.told: list[tuple[Endpoint, str, list[bytes]]] = []
        self.slow = 0

    async def ask(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
        self.asked.append(endpoint)
        self.slow -= 1
        if self.slow >= 0:
            raise ExecutionError("slow")
        return endpoint.passwords[0], [b"role:master\r\n", [], b"PONG"]

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        self._must_lead()
        self.told += [(endpoint, run_id, list(command)) for command in commands]
        return [b"OK"] * len(commands)


class Events:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def tell(self, cache: Metadata, kind: str, word: str, note: str) -> None:
        self.told.append((kind, word, note))


class World:
    """A backend, what it stands on, and a Cache that the store knows."""

    def __init__(self, **spec: Any) -> None:
        self.api, self.store, self.events = Api(), Store(), Events()
        objects = KubeObjects(self.api, self.store)  # type: ignore[arg-type]
        self.servers = Servers(self.api.must_lead)
        self.observer = Observer(objects, self.servers, snapshots.SITE)
        self.interpreter = Interpreter(objects, self.servers)
        self.cycle = Cycle(objects, self.observer, self.interpreter, self.events.tell)
        meta = {"name": "orders", "uid": "u-1", "generation": 1}
        self.store.put(self.api.has({"apiVersion": API_VERSION, "kind": "Cache", "metadata": meta, "spec": spec}))
        self.cache = self.read()

    def read(self) -> Cache:
        found = self.cycle.cache(KEY)
        assert found is not None
        return found

    def live(self, kind: str, name: str) -> dict[str, Any]:
        return self.api.objects[kind, name]

    def known(self, obj: Object) -> dict[str, Any]:
        """The API has it, and the watch has told."""
        body = self.api.has(obj)
        self.store.put(body)
        return body


def service(cache: Cache, **meta: Any) -> dict[str, Any]:
    name = names.service_rw("orders")
    annotations = {names.ANNOTATION_APPLIED: "hash"}
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {**metadata(cache, name, annotations=annotations), **meta}}  # fmt: skip


def pod(name: str = "orders-0", ip: str = "10.0.0.1", phase: str = "Running", **meta: Any) -> dict[str, Any]:
    owner = {"kind": "StatefulSet", "name": "orders", "uid": "s", "controller": True}
    about = {"name": name, "labels": names.labels("orders"), "ownerReferences": [owner], **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "status": {"phase": phase, "podIP": ip}}


# -- observing


async def test_only_what_is_ours_is_shown() -> None:
    world = World()
    ours = world.known(service(world.cache))
    foreign = [{"kind": "Job", "name": "j", "uid": "x", "controller": True}]
    world.known(service(world.cache, name="foreign", ownerReferences=foreign))
    world.known(service(world.cache, name="orphaned", ownerReferences=[]))
    world.known(service(world.cache, name="users", ownerReferences=[], labels=names.selector_labels("orders")))
    world.known(pod())
    world.known(pod("orders-debug"))
    world.known(pod("other-0"))
    world.known(pod("orders-1", ownerReferences=foreign))
    for name in ("data-orders-0", "data-orders-x", "backup-orders-0"):
        about = {"name": name, "labels": names.labels("orders")}
        world.known({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about})
    seen = await world.observer.observe(world.cache)
    assert {str(key) for key in seen.objects} == {
        "Service/orders-rw", "Service/orphaned", "Pod/orders-0", "PersistentVolumeClaim/data-orders-0",
    }  # fmt: skip
    assert seen.objects[Key("Service", "orders-rw")]["metadata"]["uid"] == ours["metadata"]["uid"]
    assert [endpoint.host for endpoint in world.servers.asked] == ["10.0.0.1"]


async def test_pods_that_do_not_run_are_not_asked() -> None:
    world = World()
    world.known(pod("orders-0", ip=""))
    world.known(pod("orders-1", phase="Pending"))
    assert dict((await world.observer.observe(world.cache)).servers) == {}
    assert not world.servers.asked


@pytest.mark.parametrize(("ready", "failures", "error"), [(True, 1, ""), (True, 2, "slow"), (False, 1, "slow")])
async def test_a_ready_pod_is_asked_twice(ready: bool, failures: int, error: str) -> None:
    world = World()
    world.servers.slow = failures
    body = pod()
    body["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]
    world.known(body)
    assert (await world.observer.observe(world.cache)).servers["orders-0"].error == error


@pytest.mark.parametrize("instances", [1, 3])
async def test_why_a_pod_is_not_made_is_asked_only_while_one_is_lacking(instances: int) -> None:
    """A quota, Pod Security, a ServiceAccount or priority class that is missing: the controller says it in events."""
    world, last = World(instances=instances), f"orders-{instances - 1}"

    async def seen(*known: str) -> dict[str, str]:
        """With a status that knows these pods."""
        status = CacheStatus(pods=tuple(PodStatus(name=name) for name in known))
        return dict((await world.observer.observe(world.cache.model_copy(update={"status": status}))).unmade)

    assert not await seen()
    meta, others = {**metadata(world.cache, "orders"), "uid": "s"}, [f"orders-{n}" for n in range(instances - 1)]
    world.known({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {"replicas": instances}})
    for name in others:
        world.known(pod(name))
    assert not await seen()
    notes = [f"create Pod {last} in StatefulSet orders failed error: {why}" for why in ("quota", "no priority class")]
    for note in (*notes, f"create Pod {last}0 in StatefulSet orders failed error: of another", "of no pod"):
        world.api.events.append({"regarding": {"uid": "s"}, "reason": "FailedCreate", "note": note})
    assert await seen(*others) == {last: notes[-1]}
    world.api.refuse = lambda verb, kind: ApiError("forbidden", 403)  # an older chart
    assert not await seen(*others)
    read = world.api.events_read
    assert not await seen(*others, last), "it has only just gone"
    going = world.known(pod("orders-7", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not await seen(*others), "one goes, the next comes"
    world.store.remove(going)
    world.known(pod(last))
    assert not await seen(*others)
    assert world.api.events_read == read, "a Cache with all its pods costs no call"


async def test_the_passwords_that_a_server_may_have() -> None:
    world = World()
    world.known(pod())
    world.known(passwords.with_data(auth_secret(world.cache), {"password": b"wish\n"}))
    world.known(passwords.with_data(server_password_secret(world.cache), {"password": b"have", "previous": b"before"}))
    await world.observer.observe(world.cache)
    assert world.servers.asked == [Endpoint("10.0.0.1", 6379, (b"wish", b"have", b"before"))]


async def test_the_secret_that_the_spec_names_is_read_each_time() -> None:
    world = World(auth={"mode": "secret", "secretRef": {"name": "mine", "key": "p"}})
    world.known(pod())
    assert (await world.observer.observe(world.cache)).get("Secret", "mine") is None
    for value in (b"one", b"two"):
        about = {"kind": "Secret", "metadata": {"name": "mine"}}
        world.api.has(passwords.with_data(about, {"p": value}))
        seen = await world.observer.observe(world.cache)
        assert passwords.value(seen.get("Secret", "mine"), "p") == value
        assert world.servers.asked[-1].passwords == (value,)


async def test_without_auth_the_wish_is_no_password() -> None:
    world = World(auth={"mode": "none"})
    world.known(pod())
    world.known(passwords.with_data(server_password_secret(world.cache), {"password": b"have"}))
    await world.observer.observe(world.cache)
    assert world.servers.asked[0].passwords == (b"", b"have")


async def test_a_cache_that_cannot_be_read_says_which_field() -> None:
    world = World()
    world.store.put(world.api.has({**world.live("Cache", "orders"), "spec": {"instances": "many"}}))
    with pytest.raises(ExecutionError, match=r"this Cache cannot be read: spec\.instances: must be an integer"):
        world.cycle.cache(KEY)
    assert [(kind, word) for kind, word, _ in world.events.told] == [("Warning", "Unreadable")]
    assert world.cycle.cache(("shop", "other")) is None


# -- objects


async def test_every_type_of_action_is_in_the_table() -> None:
    world = World()
    types = {t for t in vars(act).values() if isinstance(t, type) and issubclass(t, act.Action)}
    types = {t for t in types if not t.__name__.startswith("_")} - {act.Action}
    assert set(world.interpreter._do) == types
    assert all(t is act.Apply or t.WORD for t in types), "each has a word for its event"
    with pytest.raises(KeyError):
        await world.interpreter.execute(world.cache, act.Action("?"))


async def test_an_answer_is_known_before_the_watch_tells() -> None:
    world = World()
    await world.interpreter.execute(world.cache, act.Apply("r", service(world.cache), create=True))
    assert world.store.get(KEY, "Service", "orders-rw") is not None


@pytest.mark.parametrize(
    ("owners", "labels", "outcome"),
    [
        ([{"kind": "Cache", "name": "orders", "uid": "u-1", "controller": True}], {}, "taken"),  # its labels were lost
        ([], names.labels("orders"), "taken"),  # orphaned
        ([], names.labels("carts"), "refused"),
        ([], {}, "refused"),
        ([{"kind": "Deployment", "name": "d", "uid": "x", "controller": True}], names.labels("orders"), "refused"),
        ([{"kind": "Cache", "name": "orders", "uid": "old", "controller": True}], names.labels("orders"), "waits"),
        ([{"kind": "Cache", "name": "carts", "uid": "u-2", "controller": True}], names.labels("carts"), "refused"),
    ],
)
async def test_what_exists_is_taken_over_only_if_it_is_ours(
    owners: list[Any], labels: dict[str, str], outcome: str
) -> None:
    world = World()
    about = {"name": "orders-rw", "ownerReferences": owners, "labels": labels}
    world.api.has({"apiVersion": "v1", "kind": "Service", "metadata": about})
    apply = act.Apply("r", service(world.cache), create=True)
    if outcome == "taken":
        await world.interpreter.execute(world.cache, apply)
        assert world.api.writes == ["apply Service/orders-rw"]
        return
    with pytest.raises(ExecutionError) as error:
        await world.interpreter.execute(world.cache, apply)
    assert world.api.writes == []
    assert isinstance(error.value, Refused) is (outcome == "refused")
    if isinstance(error.value, Refused):
        refused = error.value
        assert (refused.target, refused.subject, refused.wish) == ("Service/orders-rw", "metadata.name", "")
        whose = f"belongs to {owners[0]['kind']} {owners[0]['name']}" if owners else "does not belong to this Cache"
        assert str(refused) == f"Service/orders-rw exists and {whose}"


@pytest.mark.parametrize(("code", "refused"), [(422, True), (403, True), (409, False), (500, False), (0, False)])
async def test_what_the_api_refuses_for_good_is_a_refusal(code: int, refused: bool) -> None:
    world = World()
    world.api.refuse = lambda verb, kind: ApiError("spec: Forbidden", code)
    with pytest.raises(ExecutionError, match="spec: Forbidden") as error:
        await world.interpreter.execute(world.cache, act.Apply("r", service(world.cache)))
    assert isinstance(error.value, Refused) is refused
    with pytest.raises(ExecutionError, match="spec: Forbidden") as error:
        await world.interpreter.execute(world.cache, act.ResizeClaim("r", "data-orders-0", "2Gi"))
    assert isinstance(error.value, Refused) is refused
    if isinstance(error.value, Refused):
        found = error.value
        assert (found.target, found.subject, found.wish) == (
            "PersistentVolumeClaim/data-orders-0", "storage.size", "2Gi",
        )  # fmt: skip


@pytest.mark.parametrize(("code", "refused"), [(403, True), (500, False)])
async def test_a_secret_that_the_api_refuses_is_a_refusal(code: int, refused: bool) -> None:
    world = World()
    world.api.refuse = lambda verb, kind: ApiError("exceeded quota: secrets", code)
    world.api.has({"kind": "Secret", "metadata": {"name": "mine"}, "data": {"password": "eA=="}})
    for action in (
        act.GenerateSecret("r", auth_secret(world.cache), "password"),
        act.CopySecret("r", server_password_secret(world.cache), "password", ("mine", "password")),
    ):
        with pytest.raises(ExecutionError, match="exceeded quota: secrets") as error:
            await world.interpreter.execute(world.cache, action)
        assert isinstance(error.value, Refused) is refused
        if isinstance(error.value, Refused):
            name = action.object["metadata"]["name"]
            assert (error.value.target, error.value.subject, error.value.wish) == (f"Secret/{name}", "object", "")


async def test_what_the_api_does_not_keep_is_a_refusal() -> None:
    """It would be put back as wanted for ever."""

    class Forgetful(Api):
        async def apply(self, namespace: str, obj: Object) -> Object:
            spec = {name: value for name, value in obj["spec"].items() if name != "hostUsers"}
            return await super().apply(namespace, {**obj, "spec": spec})

    world = World()
    world.api = Forgetful()
    world.interpreter = Interpreter(KubeObjects(world.api, world.store), world.servers)  # type: ignore[arg-type]
    wanted = {**service(world.cache), "spec": {"type": "ClusterIP", "hostUsers": True}}
    with pytest.raises(Refused, match=r"did not keep what was written: spec.hostUsers is missing, want true") as error:
        await world.interpreter.execute(world.cache, act.Apply("r", wanted))
    assert (error.value.target, error.value.subject, error.value.wish) == ("Service/orders-rw", "object", "hash")
    assert world.store.get(KEY, "Service", "orders-rw") is not None


async def test_small_writes() -> None:
    world = World()
    world.known(pod())
    for action in (
        act.Delete("r", Key("StatefulSet", "orders"), "u7", orphan=True),
        act.RestartPod("r", "orders-0", "u8"),
        act.LabelPod("r", "orders-0", "uid-Pod-orders-0", {names.LABEL_ROLE: "primary"}),
    ):
        await world.interpreter.execute(world.cache, action)
    assert world.api.writes == ["delete orphan u7 StatefulSet/orders", "delete u8 Pod/orders-0", "merge Pod/orders-0"]


# -- status


async def test_the_status_is_written_onto_what_was_seen() -> None:
    world = World()
    await world.cycle._write_status(world.cache, CacheStatus(phase="Running"))
    assert world.read().status.phase == "Running"
    with pytest.raises(ExecutionError) as error:  # Somebody changed it meanwhile.
        await world.cycle._write_status(world.cache, CacheStatus(phase="Late"))
    assert error.value.conflict
    assert world.read().status.phase == "Running"


async def test_a_cache_whose_end_no_watch_told_is_dropped() -> None:
    world = World()
    del world.api.objects["Cache", "orders"]
    with pytest.raises(ExecutionError):
        await world.cycle._write_status(world.cache, CacheStatus(phase="Running"))
    assert world.cycle.cache(KEY) is None


# -- passwords


async def test_a_generated_password_is_random_and_never_replaced() -> None:
    found = set()
    for _ in range(3):
        world = World()
        generate = act.GenerateSecret("r", auth_secret(world.cache), "password")
        await world.interpreter.execute(world.cache, generate)
        await world.interpreter.execute(world.cache, generate)
        assert world.api.writes == ["create Secret/orders-auth"]
        found.add(passwords.value(world.live("Secret", "orders-auth"), "password"))
    assert len(found) == 3
    assert {len(value or b"") for value in found} == {32}


@pytest.mark.parametrize("data", [{}, {"password": ""}, {"password": "Cg=="}])
async def test_a_generated_password_that_somebody_emptied_is_made_anew(data: dict[str, str]) -> None:
    world = World()
    world.known({**auth_secret(world.cache), "data": data})
    await world.interpreter.execute(world.cache, act.GenerateSecret("r", auth_secret(world.cache), "password"))
    assert len(passwords.value(world.live("Secret", "orders-auth"), "password") or b"") == 32


async def test_a_secret_of_somebody_else_is_not_ours_to_fill() -> None:
    world = World()
    world.api.has({"kind": "Secret", "metadata": {"name": "orders-auth"}})
    with pytest.raises(Refused, match="Secret/orders-auth exists and does not belong to this Cache"):
        await world.interpreter.execute(world.cache, act.GenerateSecret("r", auth_secret(world.cache), "password"))
    assert not world.api.writes


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount"])
async def test_the_planner_hears_when_a_foreign_object_is_gone(kind: str) -> None:
    world, key = World(), Key(kind, "orders-auth")
    refusal = Refusal(target=str(key), subject="metadata.name", wish="", message="", at="2026-01-01T00:00:00Z")
    refused = world.cache.model_copy(update={"status": CacheStatus(refusals=(refusal,))})
    world.api.has({"kind": kind, "metadata": {"name": "orders-auth"}})
    assert (await world.observer.observe(refused)).foreign == {key}
    assert (await world.observer.observe(world.cache)).foreign == frozenset(), "nobody asks without need"
    world.api.has({"kind": kind, "metadata": {"name": "orders-auth", "labels": names.labels("orders")}})
    assert (await world.observer.observe(refused)).foreign == frozenset(), "it was given to us"
    del world.api.objects[key]
    assert (await world.observer.observe(refused)).foreign == frozenset()


async def test_copying_keeps_what_was_before() -> None:
    world = World()
    copy = act.CopySecret("r", server_password_secret(world.cache), "password", ("orders-auth", "password"))
    for value, expected in (
        (b"one", {"password": b"one"}),
        (b"two", {"password": b"two", "previous": b"one"}),
        (b"two", {"password": b"two", "previous": b"one"}),  # done twice, because an answer was lost
        (b"three", {"password": b"three", "previous": b"two"}),
    ):
        world.known(passwords.with_data(auth_secret(world.cache), {"password": value}))
        await world.interpreter.execute(world.cache, copy)
        data = world.live("Secret", "orders-server-password")["data"]
        assert {k: b64decode(v) for k, v in data.items()} == expected


async def test_the_next_password_is_recorded_beside_and_then_takes_its_place() -> None:
    world = World()
    world.known(pod())
    ours = server_password_secret(world.cache)
    world.known(passwords.with_data(auth_secret(world.cache), {"password": b"two"}))
    world.known(passwords.with_data(ours, {"password": b"one", "previous": b"zero"}))

    def held() -> dict[str, bytes]:
        return {k: b64decode(v) for k, v in world.live("Secret", "orders-server-password")["data"].items()}

    await world.interpreter.execute(world.cache, act.CopySecret("r", ours, "next", ("orders-auth", "password")))
    assert held() == {"password": b"one", "previous": b"zero", "next": b"two"}
    world.known(passwords.with_data(auth_secret(world.cache), {"password": b"three"}))  # somebody is in a hurry
    source = ("orders-server-password", "next")
    await world.interpreter.execute(world.cache, act.SetPassword("r", "orders-0", "r1", source))
    tried = Endpoint("10.0.0.1", 6379, (b"two", b"three", b"one", b"zero"))
    assert world.servers.told == [(tried, "r1", [b"CONFIG", b"SET", b"requirepass", b"two"])]
    copy = act.CopySecret("r", ours, "password", ("orders-server-password", "next"))
    await world.interpreter.execute(world.cache, copy)
    assert held() == {"password": b"two", "previous": b"one"}


async def test_no_password_is_copied_as_the_empty_one() -> None:
    world = World()
    copy = act.CopySecret("r", server_password_secret(world.cache), "password", None)
    await world.interpreter.execute(world.cache, copy)
    assert world.live("Secret", "orders-server-password")["data"] == {"password": ""}


async def test_a_source_that_is_gone_is_looked_for_again() -> None:
    world = World()
    copy = act.CopySecret("r", server_password_secret(world.cache), "password", ("orders-auth", "password"))
    with pytest.raises(ExecutionError, match="Secret orders-auth has no password") as error:
        await world.interpreter.execute(world.cache, copy)
    assert error.value.conflict


async def test_servers_are_told_with_the_passwords_they_may_have() -> None:
    world = World()
    world.known(pod())
    world.known(passwords.with_data(auth_secret(world.cache), {"password": b"two\n"}))
    world.known(passwords.with_data(server_password_secret(world.cache), {"password": b"one"}))
    await world.interpreter.execute(world.cache, act.SetPassword("r", "orders-0", "r1", ("orders-auth", "password")))
    await world.interpreter.execute(world.cache, act.ConfigSet("r", "orders-0", "r1", {"hz": "20"}))
    where = Endpoint("10.0.0.1", 6379, (b"two", b"one"))
    assert world.servers.told == [
        (where, "r1", [b"CONFIG", b"SET", b"requirepass", b"two"]), (where, "r1", [b"CONFIG", b"SET", b"hz", b"20"]),
    ]  # fmt: skip


async def test_who_does_not_lead_tells_servers_nothing() -> None:
    """A password that is not the newest any more would shut out the one who leads."""
    world = World(auth={"mode": "none"})
    world.known(pod())
    world.api.leads = False
    set_timeout = act.ConfigSet("r", "orders-0", "r1", {"timeout": "1"})
    for action in (set_timeout, act.SetPassword("r", "orders-0", "r1", None)):
        with pytest.raises(NotLeading):
            await world.interpreter.execute(world.cache, action)
    assert not world.servers.told


async def test_a_server_that_is_gone_is_a_conflict() -> None:
    world = World()
    with pytest.raises(ExecutionError, match="orders-0 has no server now") as error:
        await world.interpreter.execute(world.cache, act.ConfigSet("r", "orders-0", "r1", {"hz": "20"}))
    assert error.value.conflict


async def test_no_log_and_no_event_holds_a_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    world.known(pod())
    for action in (
        act.GenerateSecret("made a password", auth_secret(world.cache), "password"),
        act.CopySecret("copied", server_password_secret(world.cache), "password", ("orders-auth", "password")),
        act.SetPassword("set", "orders-0", "r1", ("orders-auth", "password")),
    ):
        await world.cycle._act(world.cache, action)
    value = passwords.value(world.live("Secret", "orders-auth"), "password")
    assert value
    assert value.decode() not in caplog.text + repr(world.events.told)


async def test_events_have_the_words_of_the_actions() -> None:
    world = World()
    world.known(pod())
    await world.cycle._act(world.cache, act.RestartPod("restarting orders-0", "orders-0", "u"))
    await world.cycle._act(world.cache, act.Apply("created", service(world.cache), create=True))
    assert world.events.told == [("Normal", "PodRestarted", "restarting orders-0"), ("Normal", "Created", "created")]
