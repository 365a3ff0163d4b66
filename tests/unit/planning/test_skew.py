"""A newer operator over Caches of older servers: what it does not write, and what it leaves as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.planning import knowledge
from cachefleet_operator.planning.refusals import NAME
from fleettest import newer as newer_operator
from fleettest.snapshots import SITE, cache, pod, server, snapshot
from fleettest.world import Build, World, restarts, told

NOTE, STATEFULSET, POD = Key("ConfigMap", "orders-parameters"), Key("StatefulSet", "orders"), Key("Pod", "orders-0")
OLD = Build("1.0.0", {p.name: p.default for p in PARAMETERS})
NEW = Build(newer_operator.VERSION, {p.name: p.default for p in newer_operator.TABLE})
NEWER = replace(SITE, version=NEW.version, default_version=NEW.version)
# Set to the old default, to the new one, to neither, and in part.
SET = {"databases": "16", "tcp-backlog": "100", "client-output-buffer-limit": "normal 1 1 1"}


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From here on the operator is of the next version."""

    def become(world: World | None = None) -> None:
        newer_operator.become(monkeypatch.setattr)
        if world is not None:
            world.upgrade(NEWER)

    return become


def running(**spec: Any) -> World:
    """A Cache of the older operator."""
    world = World(cache(**spec))
    world.settle()
    world.history.clear()
    return world


def shown(world: World) -> dict[str, str]:
    found: dict[str, str] = world.servers["orders-0"]["parameters"]
    return found


def config_applied(world: World) -> tuple[str, str]:
    return next((c.reason, c.message) for c in world.cache.status.conditions if c.type == "ConfigApplied")


def started(world: World) -> Any:
    """What makes a pod of the template, and what it reads."""
    return world.objects[STATEFULSET]["spec"]["template"], world.file(), world.objects[POD]["metadata"]["uid"]


@pytest.mark.parametrize("config", [{}, SET, {"databases": "32", "timeout": "60"}], ids=str)
def test_an_upgrade_changes_nothing_and_a_drain_brings_the_same_server_back(
    newer: Callable[..., None], config: dict[str, str]
) -> None:
    world = running(config=config)
    before, parameters_before = started(world), dict(shown(world))
    newer(world)
    assert world.settle() == 0
    assert started(world) == before
    del world.objects[POD], world.servers["orders-0"]  # the node is drained
    world.controllers()
    world.settle()
    assert not told(world) or told(world) == ["orders-0 is primary"]
    assert started(world)[:2] == before[:2]
    assert (shown(world), config_applied(world)) == (parameters_before, ("Applied", ""))


def test_a_line_that_is_taken_out_gives_the_servers_own_default(newer: Callable[..., None]) -> None:
    world = running(config={"timeout": "5"})
    newer(world)
    world.edit(cache())
    world.settle()
    assert shown(world)["timeout"] == "0"


def test_what_the_server_does_not_know_waits_for_one_that_does(newer: Callable[..., None]) -> None:
    wish = {"new-live": "5", "new-at-start": "4", "hz": "20"}
    world = running()
    before = started(world)
    newer(world)
    world.edit(cache(config=wish))
    world.settle()
    assert started(world)[::2] == before[::2], "the template and the pod"
    assert "new-" not in world.file() and shown(world)["hz"] == "20"
    words = [f"{p.name}: the server in orders-0, version 1.0.0, does not know it" for p in newer_operator.ADDED]
    assert config_applied(world) == ("Unsupported", "; ".join(words))
    assert world.cache.status.phase == "Running"

    world.builds["registry.test/cachefleet-server:99.0.0"] = NEW
    world.edit(cache(config=wish, version="99.0.0"))
    world.settle()
    assert {name: shown(world)[name] for name in wish} == wish
    assert (config_applied(world), world.cache.status.version) == (("Applied", ""), "99.0.0")
    assert shown(world)["timeout"] == "60"

    world.edit(cache(config=wish, version="1.0.0"))  # and back: a start with an unknown parameter fails the test
    world.settle()
    assert (config_applied(world)[0], world.cache.status.version) == ("Unsupported", "1.0.0")
    assert shown(world) == {**OLD.defaults, **shown(world)} and shown(world)["timeout"] == "0"


@pytest.mark.parametrize(
    ("spec", "knows"),
    [({}, True), ({"version": "99.1.0"}, True), ({"version": "1.0.0"}, False), ({"image": "own.test/x:latest"}, False)],
    ids=str,
)
def test_before_a_server_has_answered_its_version_says_what_it_knows(
    newer: Callable[..., None], spec: dict[str, Any], knows: bool
) -> None:
    newer()
    world = World(cache(config={"new-at-start": "4", "timeout": "7"}, **spec), NEWER)
    world.build = NEW if knows else OLD
    world.settle()
    assert shown(world).get("new-at-start") == ("4" if knows else None)
    assert not restarts(world)
    assert config_applied(world)[0] == ("Applied" if knows else "Unsupported")


def test_an_unanswered_image_that_knows_all_has_it_after_its_answer(newer: Callable[..., None]) -> None:
    newer()
    world = World(cache(config={"new-at-start": "4"}, image="own.test/x:latest"), NEWER)
    world.build = NEW
    world.settle()
    assert (shown(world)["new-at-start"], len(restarts(world))) == ("4", 1)


def test_defaults_of_a_server_that_nobody_knew_are_not_touched(newer: Callable[..., None]) -> None:
    newer()
    world = World(cache(version="1.0.0", config={"databases": "16"}), NEWER)
    world.build = OLD
    world.settle()
    assert shown(world)["timeout"] == "0"
    shown(world)["timeout"] = "9"
    assert world.settle() == 0
    assert json.loads(world.objects[NOTE]["data"]["images.json"])[0]["live"]["timeout"] is None
    world.edit(cache(version="1.0.0", config={"databases": "16", "timeout": "8"}))
    world.settle()
    assert shown(world)["timeout"] == "8"


def test_an_operator_that_knows_the_servers_version_has_its_defaults(
    newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer()
    world = World(cache(version="1.0.0", config=SET), NEWER)
    world.build = OLD
    world.settle()
    before = started(world)
    shown(world)["timeout"] = "9"
    monkeypatch.undo()
    newer_operator.generations(monkeypatch.setattr)  # which it must know all the same
    world.upgrade(SITE)
    world.settle()
    assert (shown(world)["timeout"], config_applied(world)) == ("0", ("Applied", ""))
    assert started(world) == before


def test_an_older_operator_forgets_nothing_and_a_newer_one_learns_more(
    newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(cache(config=SET))
    world.build = NEW
    world.settle()
    template, file, _ = started(world)
    newer(world)
    world.settle()
    assert started(world)[:2] == (template, file)
    world.edit(cache(config={**SET, "new-live": "5"}))
    world.settle()
    assert (shown(world)["new-live"], config_applied(world)) == ("5", ("Applied", ""))
    world.edit(cache(config=SET))
    world.settle()
    before, note = started(world), world.objects[NOTE]["data"]
    monkeypatch.undo()
    world.upgrade(SITE)
    assert world.settle() == 0
    assert (started(world), world.objects[NOTE]["data"]) == (before, note)


@pytest.mark.parametrize("junk", ["", "[]", "[{}]", "{}", "7", '[{"image": 1, "live": 3}]', "[" * 100_000])
def test_a_note_that_cannot_be_read_is_written_anew(junk: str) -> None:
    world = running(config=SET)
    before, note = started(world), world.objects[NOTE]["data"]
    world.objects[NOTE] = {**world.objects[NOTE], "data": {"images.json": junk}}
    world.settle()
    assert (started(world), world.objects[NOTE]["data"]) == (before, note)


def test_a_note_that_is_deleted_comes_back_even_under_a_refused_spec() -> None:
    world = running()
    note = world.objects[NOTE]["data"]
    world.edit(cache(config={"no-such": "1"}))
    world.settle()
    del world.objects[NOTE]
    world.settle()
    assert world.objects[NOTE]["data"] == note


def test_that_it_cannot_be_had_is_told_and_keeps_nothing_else() -> None:
    world = World(cache(config={"timeout": "5"}))
    world.refuse = lambda action: (str(NOTE), NAME, "", "is not ours") if action.subject == str(NOTE) else None
    world.foreign.add(NOTE)
    world.settle()
    asked = [a.subject for p in world.history for a in p.actions].count(str(NOTE))
    assert (asked, shown(world)["timeout"]) == (1, "5")
    world.edit(cache(config={"timeout": "6"}))
    world.settle()
    assert '"timeout": "6"' in world.objects[Key("ConfigMap", "orders-accepted")]["data"]["spec.json"]
    del world.objects[STATEFULSET]
    world.settle()
    assert STATEFULSET in world.objects
    assert next(c.reason for c in world.cache.status.conditions if c.type == "Degraded") == "ApplyFailed"


# ---- the template


@pytest.mark.parametrize("spec", [{}, {"image": "own.test/x:latest"}], ids=str)
def test_what_is_learned_restarts_nothing(spec: dict[str, Any]) -> None:
    """Before the first answer nobody knows the defaults of an image whose tag is no version."""
    world = World(cache(config=SET, **spec))
    world.settle()
    assert (restarts(world), config_applied(world)) == ([], ("Applied", ""))


@pytest.mark.parametrize("lost", [(NOTE,), (NOTE, STATEFULSET)], ids=str)
@pytest.mark.parametrize("away", [False, True])
def test_nor_does_what_is_forgotten(newer: Callable[..., None], lost: tuple[Key, ...], away: bool) -> None:
    world = running(config=SET)
    before = started(world)
    newer(world)
    for key in lost:
        del world.objects[key]
    world.away = away
    world.settle()
    world.away = False
    world.settle()
    assert started(world)[::2] == before[::2]
    assert config_applied(world) == ("Applied", "")


def test_a_server_that_runs_with_another_value_is_restarted_whatever_nobody_knows(newer: Callable[..., None]) -> None:
    world = running()
    newer(world)
    del world.objects[NOTE]
    world.settle()
    world.edit(cache(config={"databases": "32"}))
    world.settle()
    assert (len(restarts(world)), shown(world)["databases"]) == (1, "32")
    world.edit(cache(config={"databases": "16"}))
    world.settle()
    assert (len(restarts(world)), shown(world)["databases"]) == (2, "16")


@pytest.mark.parametrize("junk", ["", "[]", "7", "{", "[" * 100_000])
def test_a_template_that_says_nothing_readable_is_put_back(junk: str) -> None:
    world = running(config={"databases": "4"})
    before = world.objects[STATEFULSET]["spec"]["template"]
    spoilt = {**before["metadata"], "annotations": {names.ANNOTATION_RESTART: junk}}
    body = world.objects[STATEFULSET]
    world.objects[STATEFULSET] = {**body, "spec": {**body["spec"], "template": {**before, "metadata": spoilt}}}
    world.settle()
    assert world.objects[STATEFULSET]["spec"]["template"] == before


# ---- by image


def with_digest(digest: str) -> dict[str, Any]:
    found = pod()
    found["status"]["containerStatuses"][0]["imageID"] = digest and f"registry.test/cachefleet-server@sha256:{digest}"
    return found


def noted(*digests: str, shows: tuple[str, ...] = ("timeout", "hz")) -> dict[str, Any]:
    """The ConfigMap after servers of these images answered, one after the other; each knows one parameter less."""
    objects: list[Any] = []
    for count, digest in enumerate(digests):
        says = server(parameters=dict.fromkeys(shows[count:], "1"))
        seen = snapshot(cache(), with_digest(digest), *objects, servers=[says])
        objects = [dict(knowledge.record(seen, knowledge.knowledge(seen)))]
    return dict(objects[0])


def test_a_tag_that_moved_is_another_image() -> None:
    note = noted("a", "b")
    assert [row["digest"] for row in json.loads(note["data"]["images.json"])] == ["sha256:a", "sha256:b"]
    for digest, knows in (("a", True), ("b", False), ("", False)):
        has = knowledge.knowledge(snapshot(cache(), note, with_digest(digest)))
        assert ("timeout" in has.of("orders-0"), "hz" in has.of("orders-0")) == (knows, True), digest
        assert "timeout" not in has.file, "the next start may be of either"


def test_a_server_of_the_same_image_is_one_note() -> None:
    assert len(json.loads(noted("a", "a")["data"]["images.json"])) == 1


def test_few_images_are_remembered() -> None:
    note = noted(*"abcdef", shows=tuple(p.name for p in PARAMETERS))
    assert [row["digest"][-1] for row in json.loads(note["data"]["images.json"])] == list("cdef")


def test_a_server_that_shows_nothing_tells_nothing() -> None:
    has = knowledge.knowledge(snapshot(cache(), with_digest("a"), servers=[server()]))
    assert not has.images and "timeout" in has.file
