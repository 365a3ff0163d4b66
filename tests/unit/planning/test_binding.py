"""The connection Secret: what it says, when it is written, and that nothing waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key
from cachefleet_operator.execution import passwords
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning import binding
from cachefleet_operator.resources.secrets import binding_data
from fleettest.snapshots import cache, secret, snapshot
from fleettest.world import World

BINDING = Key("Secret", "orders-binding")
HOST = "orders-rw.shop.svc.cluster.local"


def entries(world: World) -> dict[str, bytes]:
    return {key: passwords.value(world.objects[BINDING], key) or b"" for key in world.objects[BINDING]["data"]}


def running(**spec: Any) -> World:
    world = World(cache(**spec))
    world.settle()
    return world


def test_it_says_all_that_a_workload_needs() -> None:
    world = running()
    password = passwords.value(world.objects[Key("Secret", "orders-auth")], "password") or b""
    assert entries(world) == {
        "type": b"redis", "provider": b"cachefleet", "host": HOST.encode(), "port": b"6379", "username": b"default",
        "password": password, "uri": b"redis://default:" + password + b"@" + HOST.encode() + b":6379",
    }  # fmt: skip
    assert world.objects[BINDING]["type"] == "servicebinding.io/redis"
    assert world.cache.status.binding is not None and world.cache.status.binding.name == BINDING.name


def test_without_a_password_it_names_none() -> None:
    assert entries(running(auth={"mode": "none"})).keys() == {"type", "provider", "host", "port", "uri"}


@pytest.mark.parametrize(
    ("host", "password", "uri"),
    [
        ("h", b"a/b@c:d%", b"redis://default:a%2Fb%40c%3Ad%25@h:1"),
        ("h", b"\xff", b"redis://default:%FF@h:1"),
        ("fd00::1", b"", b"redis://[fd00::1]:1"),
    ],
)
def test_any_password_and_address_make_a_uri(host: str, password: bytes, uri: bytes) -> None:
    assert binding_data(host, 1, password)["uri"] == uri


def test_an_editors_newline_is_no_part_of_it() -> None:
    """As the server reads its file."""
    service = {"kind": "Service", "metadata": {"name": "orders-rw"}}
    made = {key: text.decode() for key, text in binding_data(HOST, 6379, b"first").items()}
    have = [service, secret("orders-server-password", password="first\n"), secret("orders-binding", **made)]
    assert not binding.step(snapshot(cache(), *have), ()).actions


def test_it_has_the_password_that_servers_have() -> None:
    ref = {"mode": "secret", "secretRef": {"name": "mine"}}
    world = World(cache(auth=ref))
    world.objects[Key("Secret", "mine")] = secret("mine", password="first")
    world.settle()
    assert entries(world)["password"] == b"first"
    world.away = True  # nobody can be told the next one
    world.objects[Key("Secret", "mine")] = secret("mine", password="second")
    for _ in range(4):
        world.cycle()
    assert entries(world)["password"] == b"first"
    world.away = False
    world.settle()
    assert entries(world)["password"] == b"second"


@pytest.mark.parametrize("damage", ["deleted", "host", "more"])
def test_what_somebody_did_to_it_is_put_right(damage: str) -> None:
    world = running()
    before = entries(world)
    if damage == "deleted":
        del world.objects[BINDING]
    else:
        live = world.objects[BINDING]
        world.objects[BINDING] = {**live, "data": {**live["data"], damage: "eA=="}}
    world.settle()
    assert entries(world) == before


def test_a_service_that_says_where_it_is_is_believed() -> None:
    """As in local mode."""
    service = {
        "kind": "Service", "metadata": {"name": "orders-rw", "annotations": {names.ANNOTATION_ENDPOINT: "[::1]:7000"}}
    }  # fmt: skip
    have = secret("orders-server-password", password="p")
    (write,) = binding.step(snapshot(cache(), service, have), ()).actions
    assert isinstance(write, act.WriteBinding)
    assert (write.host, write.port) == ("::1", 7000)
    assert not binding.step(snapshot(cache(), have), ()).actions, "there is no Service yet"


@pytest.mark.parametrize("words", ["", "cache.test", "cache.test:", "cache.test:redis", ":7000", "7000"])
def test_of_a_service_that_says_no_address_it_has_the_name(words: str) -> None:
    service = {"kind": "Service", "metadata": {"name": "orders-rw", "annotations": {names.ANNOTATION_ENDPOINT: words}}}
    (write,) = binding.step(snapshot(cache(), service, secret("orders-server-password", password="p")), ()).actions
    assert isinstance(write, act.WriteBinding)
    assert (write.host, write.port) == (HOST, 6379)


def test_that_it_cannot_be_had_keeps_nothing_else() -> None:
    world = World(cache())
    words = "Secret/orders-binding is somebody else's"

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        return (str(BINDING), "metadata.name", "", words) if isinstance(action, act.WriteBinding) else None

    world.refuse, world.foreign = refuse, {BINDING}
    world.settle()
    told = {c.type: (c.status, c.reason, c.message) for c in world.cache.status.conditions}
    assert told["Ready"][:2] == ("True", "Serving")
    assert told["Degraded"] == ("True", "ApplyFailed", words)
    assert Key("ConfigMap", "orders-accepted") in world.objects, "the spec is had all the same"


def test_it_comes_back_while_the_spec_is_refused() -> None:
    world = running()
    before = entries(world)
    world.edit(cache(config={"no-such": "1"}))
    del world.objects[BINDING]
    world.settle()
    assert world.cache.status.phase == "Refused"
    assert entries(world) == before
