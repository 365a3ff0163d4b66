"""Pods that somebody wrote to do harm, or by mistake: nothing outside of their folder is touched, the reason is told in
words, and the corrected spec, or the folder put right, heals them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.execution.local import kubelet as local_kubelet
from cachefleet_operator.execution.local import reading
from cachefleet_operator.planning.pods import is_ready, trouble
from fleettest.localpods import CACHE, NS, POD, World, configmap, eventually, in_world, statefulset

SECRET = {
    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-auth", "labels": names.labels(CACHE)},
    "data": {"password": b64encode(b"sesame").decode(), "nul": b64encode(b"\0").decode()},
}  # fmt: skip
SOMEONE = "someone"  # a folder beside the data that is nothing to us


def hostile(**spec: Any) -> dict[str, Any]:
    """A StatefulSet whose pods have these fields of a spec instead of their own."""
    made = statefulset()
    made["spec"]["template"]["spec"] |= spec
    return made


def without_claim() -> dict[str, Any]:
    made = statefulset()
    del made["spec"]["volumeClaimTemplates"]
    return made


def auth(**source: Any) -> dict[str, Any]:
    return {"name": "auth", **source}


def someone(world: World) -> Path:
    folder = world.store.data.parent / SOMEONE
    folder.mkdir(mode=0o755)
    (folder / "letter").write_text("dear")
    return folder


def intact(folder: Path) -> bool:
    mine = folder / "letter"
    return folder.stat().st_mode & 0o777 == 0o755 and list(folder.iterdir()) == [mine] and mine.read_text() == "dear"


async def told(world: World, words: str) -> None:
    try:
        await eventually(lambda: words in trouble(world.pod(), time.time()))
    except TimeoutError:
        raise AssertionError(f"not told: {words}; but: {trouble(world.pod(), time.time())}") from None


async def mended(world: World) -> None:
    """The folder was put right: a change of a volume has the pod look again at once."""
    world.store.apply(NS, configmap(**{"cachefleet.conf": "b\n"}))
    await world.ready()


async def heals(world: World) -> None:
    """The corrected spec, as the plan rolls it out."""
    world.store.apply(NS, SECRET)
    world.start()
    world.kubelet.delete_pod(NS, POD)
    await world.ready()


# -- names that are no paths


@pytest.mark.parametrize(
    "name", ["{someone}", "../../../../someone", "../data-orders-0", ".", "", "a/b", "\0", "x" * 64, "Auth", "auth\n"]
)
@in_world
async def test_the_name_of_a_volume_is_no_path(world: World, name: str) -> None:
    folder, appendonly = someone(world), world.home / "data-orders-0" / "appendonly.aof"
    appendonly.parent.mkdir(parents=True)
    appendonly.write_text("data")
    world.store.apply(NS, SECRET)
    volume = {"name": name.format(someone=folder), "secret": {"secretName": "orders-auth"}}
    world.store.apply(NS, hostile(volumes=[volume]))
    await told(world, "spec.volumes[0].name: ")
    assert intact(folder) and appendonly.read_text() == "data"
    await heals(world)
    assert intact(folder) and appendonly.read_text() == "data"


@pytest.mark.parametrize("path", ["{someone}/letter", "../../../../../someone/letter", "a/../../b", ".", "", "\0"])
@pytest.mark.parametrize("projected", [False, True])
@in_world
async def test_the_path_of_an_item_stays_in_its_volume(world: World, path: str, projected: bool) -> None:
    folder = someone(world)
    items = [{"key": "password", "path": path.format(someone=folder)}]
    volume = auth(secret={"secretName": "orders-auth", "items": items})
    if projected:
        volume = auth(projected={"sources": [{"secret": {"name": "orders-auth", "items": items}}]})
    world.store.apply(NS, SECRET)
    world.store.apply(NS, hostile(volumes=[volume]))
    await told(world, ".items[0].path: must")
    assert intact(folder)


@pytest.mark.parametrize("key", ["../../../../../someone/letter", "..", "a/../../../b", "\0"])
@in_world
async def test_the_keys_of_a_configmap_stay_in_their_volume(world: World, key: str) -> None:
    folder = someone(world)
    world.store.apply(NS, configmap(**{key: "x"}))
    world.store.apply(NS, statefulset())
    await told(world, "leaves its folder")
    assert intact(folder)
    await heals(world)


@in_world
async def test_volumes_without_a_variable_are_not_written(world: World) -> None:
    """A process sees no mounts; and the name of one could be that of the log, the lock, or the data."""
    world.store.apply(NS, SECRET)
    extra = [{"name": name, "secret": {"secretName": "orders-auth"}} for name in ("lock", "extra", "data")]
    spec = statefulset()["spec"]["template"]["spec"]
    world.store.apply(NS, configmap(**{"cachefleet.conf": "a\n"}))
    world.store.apply(NS, hostile(volumes=[*spec["volumes"], *extra]))
    await world.ready()
    assert not list(world.home.rglob("password"))
    assert f"pod {POD} has no volume extra on this machine" in world.heard


# -- links that lead out


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("orders-0", ""), ("data-orders-0", ""), ("orders-0/config", ""),
        ("orders-0/lock", "letter"), ("orders-0/server.log", "letter"), ("orders-0/config/sub", ""),
        ("orders-0/lock", "none"), ("orders-0/server.log", "none"), ("orders-0/config", "none"),
    ],
)  # fmt: skip
@in_world
async def test_a_link_leads_nowhere(world: World, place: str, target: str) -> None:
    folder, link = someone(world), world.home / place
    link.parent.mkdir(parents=True)
    link.symlink_to(folder / target)
    world.store.apply(NS, configmap(**{"cachefleet.conf": "a\n"}))
    items = [{"key": "cachefleet.conf", "path": "sub/letter"}]
    made = {"name": "config", "configMap": {"name": "orders-config", "items": items}}
    world.store.apply(NS, hostile(volumes=[made]))
    await told(world, "leaves its folder")
    assert intact(folder)
    link.unlink()
    await mended(world)
    assert intact(folder)


# -- what is removed


@in_world
async def test_only_what_a_pod_made_is_removed_from_its_volumes(world: World) -> None:
    world.start()
    await world.ready()
    folder = world.home / POD / "config"
    (folder / "mine").write_text("a note of somebody's")
    world.store.apply(NS, configmap(**{"other.conf": "b\n"}))
    await eventually(lambda: sorted(p.name for p in folder.iterdir()) == ["mine", "other.conf"])


@in_world
async def test_what_an_earlier_pod_made_is_removed_by_the_next(world: World) -> None:
    """A password that is in no Secret any more is in no file either."""
    world.store.apply(NS, SECRET)
    items = [{"key": "password", "path": "deep/er/word"}, {"key": "password", "path": "deep/word"}]
    world.store.apply(NS, hostile(volumes=[auth(secret={"secretName": "orders-auth", "items": items})]))
    await world.ready()
    assert (world.home / POD / "auth" / "deep" / "er" / "word").read_text() == "sesame"
    world.store.apply(NS, hostile(volumes=[]))
    world.kubelet.delete_pod(NS, POD)
    await eventually(lambda: not list((world.home / POD / "auth").iterdir()))


@in_world
async def test_an_empty_folder_is_as_old_as_its_pod(world: World) -> None:
    world.store.apply(NS, configmap())
    world.store.apply(NS, without_claim())
    await world.ready()
    (world.home / POD / "data" / "dump.rdb").write_text("x")
    first = world.pod()["metadata"]["uid"]
    world.kubelet.delete_pod(NS, POD)
    await eventually(lambda: world.pod()["metadata"].get("uid") not in (None, first))
    await world.ready()
    assert not list((world.home / POD / "data").iterdir())


@pytest.mark.parametrize("linked", [False, True])
@in_world
async def test_a_data_folder_of_somebody_elses_is_not_emptied(world: World, linked: bool) -> None:
    folder, place = someone(world), world.home / POD / "data"
    place.parent.mkdir(parents=True)
    if linked:
        place.symlink_to(folder)
    else:
        shutil.copytree(folder, place)
    world.store.apply(NS, configmap())
    world.store.apply(NS, without_claim())
    await told(world, "leaves its folder" if linked else "is not of this pod's making: it is not emptied")
    assert intact(folder) and intact(place)
    place.rename(place.with_name("elsewhere"))
    await mended(world)


# -- the task of a pod


@in_world
async def test_a_pod_that_waits_does_not_keep_the_others_from_working(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it waits for is not there, and something else changes: it looks once more, and waits again."""
    looks, real = [0], reading.environment

    def environment(*arguments: Any) -> dict[str, str]:
        looks[0] += 1
        assert looks[0] < 100, "a hot loop"
        return real(*arguments)

    monkeypatch.setattr(reading, "environment", environment)
    variable = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "orders-auth", "key": "password"}}}
    made = statefulset()
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [variable]
    world.store.apply(NS, made)
    await told(world, "couldn't find key password in Secret orders-auth")
    before = looks[0]
    world.store.apply(NS, configmap())
    await eventually(lambda: looks[0] > before)
    world.store.apply(NS, SECRET)
    await world.ready()


@in_world
async def test_a_data_folder_that_cannot_be_is_told_and_mended(world: World) -> None:
    """The pod holds its lock already; it must not take itself for an intruder."""
    place = world.home / "data-orders-0"
    place.parent.mkdir(parents=True)
    place.write_text("a file")
    world.start()
    await told(world, f"File exists: {place}")
    warned = len(world.heard)
    place.unlink()
    await mended(world)
    assert len(world.heard) == warned


def server(**fields: Any) -> dict[str, Any]:
    own = statefulset()["spec"]["template"]["spec"]["containers"][0]
    return {"containers": [{**own, **fields}]}


def variable(**fields: Any) -> dict[str, Any]:
    return server(env=[{"name": "A", **fields}])


TWICE = [{"key": "password", "path": "a"}, {"key": "password", "path": "a/b"}]
# What is in the way -> what is said of it. tests/unit/execution/test_local_podspec.py has all that cannot be read.
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"volumes": [auth(secret={})]}, "spec.volumes[0].secret.secretName: is required"),
    ({"volumes": [auth(secret={"secretName": "orders-auth", "items": [{"key": "a"}]})]}, "items[0].path: is required"),
    ({"volumes": [auth(secret={"secretName": "orders-auth", "items": [{"key": "a", "path": "a"}]})]}, "has no key 'a'"),
    ({"volumes": [auth(secret={"secretName": "none"})]}, "secret 'none' not found"),
    ({"volumes": [auth(secret={"secretName": "orders-auth", "items": TWICE})]}, "auth/a"),
    ({"volumes": 5}, "spec.volumes: must be a list, not 5"),
    ({"terminationGracePeriodSeconds": "abc"}, "spec.terminationGracePeriodSeconds: must be an integer, not 'abc'"),
    ({"terminationGracePeriodSeconds": 10**400}, "spec.terminationGracePeriodSeconds: must be less than"),
    ({"containers": []}, "there is no container server"),
    ({"containers": None}, "spec.containers: is required"),
    (variable(value="\0"), "env[0].value: must not contain NUL"),
    (variable(valueFrom={"secretKeyRef": {"name": "orders-auth", "key": "nul"}}), "env A: its value has a NUL"),
    (variable(value="x" * 200_000), "expands to more than 131072 characters"),
    (server(args=["x" * 200_000]), "expands to more than 131072 characters"),
    (server(args=["x" * 100_000] * 100), "Argument list too long"),
    (server(command=["/nonexistent/server"]), "there is no /nonexistent/server"),
    (server(command=[str(Path(__file__).parent)]), "there is no "),
]  # fmt: skip


@in_world
async def test_a_pod_that_cannot_be_made_lives_says_why_and_is_healed(world: World) -> None:
    world.store.apply(NS, SECRET)
    world.store.apply(NS, configmap())
    for spec, words in BROKEN:
        world.store.apply(NS, hostile(**spec))
        world.kubelet.delete_pod(NS, POD)
        await told(world, words)
    await heals(world)
    assert not [words for words in world.heard if "Error" in words]


@in_world
async def test_a_bug_of_ours_ends_no_pod(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))

    def broken(*arguments: Any) -> dict[str, str]:
        raise ZeroDivisionError("who divides here?")

    world.store.apply(NS, SECRET)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "environment", broken)
        world.start()
        await told(world, "ZeroDivisionError: who divides here?")
    assert [type(context["exception"]) for context in heard] == [ZeroDivisionError]
    await mended(world)


@in_world
async def test_a_bug_while_the_server_runs_leaves_no_second_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    world.start()
    await world.ready()
    first = world.pid()

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("who divides here?")

    with monkeypatch.context() as patch:
        patch.setattr(local_kubelet, "rotate", broken)
        await told(world, "ZeroDivisionError: who divides here?")
        assert not Path(f"/proc/{first}").exists()
    await mended(world)
    assert world.pid() not in (0, first)


@in_world
async def test_a_folder_that_somebody_removed_is_made_anew(world: World) -> None:
    world.start()
    await world.ready()
    first = world.pid()
    shutil.rmtree(world.home)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: world.pid() not in (0, first) and is_ready(world.pod()))
    assert (world.home / POD / "config" / "cachefleet.conf").exists()
    assert (world.home / POD / "lock").read_text().strip() == str(world.pid())
