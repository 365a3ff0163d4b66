"""Strategic merge: its rules one by one, its laws by random patches, and kubectl as the judge of both."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.resources.diff import drift
from cachefleet_operator.resources.listkeys import LIST_KEYS
from cachefleet_operator.resources.merge import strategic_merge
from fleettest.instance import ROOT

BASE: dict[str, Any] = {
    "serviceAccountName": "orders",
    "securityContext": {"runAsUser": 5, "fsGroup": 5},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "containers": [
        {
            "name": "server",
            "image": "i:1",
            "args": ["--port", "1"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 1, "name": "redis"}, {"containerPort": 2, "name": "metrics"}],
            "volumeMounts": [{"mountPath": "/data", "name": "data"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        }
    ],
    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}}],
}


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "server", **fields}]}


def base_with(**fields: Any) -> dict[str, Any]:
    """BASE with other fields of its container."""
    return {**BASE, "containers": [{**BASE["containers"][0], **fields}]}


SERVER = BASE["containers"][0]
# What a patch does -> patch, result. kubectl agrees to all of them but for the order of lists that are sets.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, BASE),
    "a new field": ({"priorityClassName": "high"}, {**BASE, "priorityClassName": "high"}),
    "another value": ({"serviceAccountName": "x"}, {**BASE, "serviceAccountName": "x"}),
    "null removes": ({"nodeSelector": None}, {k: v for k, v in BASE.items() if k != "nodeSelector"}),
    "null removes nothing": ({"hostname": None}, BASE),
    "maps merge": ({"nodeSelector": {"zone": "b"}}, {**BASE, "nodeSelector": {"disk": "ssd", "zone": "b"}}),
    "null in a map": ({"securityContext": {"fsGroup": None}}, {**BASE, "securityContext": {"runAsUser": 5}}),
    "replace a map": (
        {"nodeSelector": {"$patch": "replace", "zone": "b"}}, {**BASE, "nodeSelector": {"zone": "b"}},
    ),
    "lists replace": ({"tolerations": [{"key": "b"}]}, {**BASE, "tolerations": [{"key": "b"}]}),
    "arguments replace": (container(args=["x"]), base_with(args=["x"])),
    "a sidecar": (
        {"containers": [{"name": "logs", "image": "l"}]},
        {**BASE, "containers": [SERVER, {"name": "logs", "image": "l"}]},
    ),
    "a container is removed": (
        {"containers": [{"name": "server", "$patch": "delete"}, {"name": "x", "image": "y"}]},
        {**BASE, "containers": [{"name": "x", "image": "y"}]},
    ),
    "all containers are replaced": (
        {"containers": [{"name": "x", "image": "y"}, {"$patch": "replace"}]},
        {**BASE, "containers": [{"name": "x", "image": "y"}]},
    ),
    "a variable is changed": (
        container(env=[{"name": "B", "value": "3"}]),
        base_with(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]),
    ),
    "a variable is added": (
        container(env=[{"name": "C", "value": "3"}]), base_with(env=[*SERVER["env"], {"name": "C", "value": "3"}]),
    ),
    "a variable is removed": (
        container(env=[{"name": "A", "$patch": "delete"}]), base_with(env=[{"name": "B", "value": "2"}]),
    ),
    "a variable that is not there is removed": (container(env=[{"name": "Z", "$patch": "delete"}]), BASE),
    "a port by its number": (
        container(ports=[{"containerPort": 2, "name": "m"}]),
        base_with(ports=[{"containerPort": 1, "name": "redis"}, {"containerPort": 2, "name": "m"}]),
    ),
    "a mount by its path": (
        container(volumeMounts=[{"mountPath": "/data", "name": "other"}, {"mountPath": "/x", "name": "data"}]),
        base_with(volumeMounts=[{"mountPath": "/data", "name": "other"}, {"mountPath": "/x", "name": "data"}]),
    ),
    "another source of a volume": (
        {"volumes": [{"name": "data", "emptyDir": None, "hostPath": {"path": "/d"}}]},
        {**BASE, "volumes": [{"name": "data", "hostPath": {"path": "/d"}}, BASE["volumes"][1]]},
    ),
    "spread by its key": (
        {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]},
        {**BASE, "topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]},
    ),
    "affinity is new": (
        {"affinity": {"nodeAffinity": {}, "podAffinity": None}}, {**BASE, "affinity": {"nodeAffinity": {}}},
    ),
    "a limit is removed": (
        container(resources={"limits": {"cpu": None}}), base_with(resources={"limits": {"memory": "1Gi"}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rules(case: str) -> None:
    patch, wanted = CASES[case]
    base, before = copy.deepcopy(BASE), copy.deepcopy(patch)
    assert strategic_merge(base, patch) == wanted
    assert (base, patch) == (BASE, before), "an argument was changed"


ZONES = [{"topologyKey": "zone", "whenUnsatisfiable": when, "maxSkew": n}
         for n, when in enumerate(("DoNotSchedule", "ScheduleAnyway"), 1)]  # fmt: skip
DNS = [{"containerPort": 53, "protocol": protocol, "name": protocol.lower()} for protocol in ("TCP", "UDP")]


@pytest.mark.parametrize(
    ("field", "base", "patch", "wanted"),
    [
        ("topologySpreadConstraints", [], ZONES, ZONES),
        ("topologySpreadConstraints", ZONES[:1], ZONES[::-1], ZONES),
        ("topologySpreadConstraints", ZONES[1:], ZONES[:1], ZONES[:1]),  # as kubectl: the patch speaks of this key
        ("topologySpreadConstraints", ZONES, [{**ZONES[1], "maxSkew": 7}], [ZONES[0], {**ZONES[1], "maxSkew": 7}]),
        ("ports", [], DNS, DNS),
        ("ports", DNS[:1], DNS[::-1], DNS),
        ("ports", [{"containerPort": 53, "hostIP": "::"}], DNS[1:] + DNS[:1], [{"hostIP": "::", **DNS[0]}, DNS[1]]),
        ("ports", DNS, [{"containerPort": 53, "$patch": "delete"}, DNS[1]], DNS[1:]),
        ("env", [], [{"name": "A", "value": "1"}] * 2, [{"name": "A", "value": "1"}] * 2),  # the API server's to refuse
    ],
)
def test_what_a_patch_adds_is_not_matched_with_itself(field: str, base: Any, patch: Any, wanted: Any) -> None:
    assert strategic_merge({field: base}, {field: patch}) == {field: wanted}


def test_what_was_merged_is_no_drift() -> None:
    """Both read lists by one table: no element hides behind another with the same first key."""
    for field, elements in (("topologySpreadConstraints", ZONES), ("ports", DNS)):
        merged = strategic_merge({}, {field: elements})
        assert not drift(merged, {field: elements[::-1]})
        assert drift(merged, {field: elements[:1]})


# Patches that make no sense: what must come of them is the API server's to refuse.
@pytest.mark.parametrize(("patch", "wanted"), [
    ({"containers": "x"}, {**BASE, "containers": "x"}),
    ({"containers": ["x", 5]}, {**BASE, "containers": [SERVER, "x", 5]}),
    ({"containers": [{"image": "no name"}]}, {**BASE, "containers": [SERVER, {"image": "no name"}]}),
    ({"containers": {"name": "x"}}, {**BASE, "containers": {"name": "x"}}),
    ({"nodeSelector": [1]}, {**BASE, "nodeSelector": [1]}),
    ({"nodeSelector": {"$patch": "wipe"}}, {**BASE, "nodeSelector": {"disk": "ssd", "$patch": "wipe"}}),
    ({"containers": [{"name": {"a": []}}]}, {**BASE, "containers": [SERVER, {"name": {"a": []}}]}),
], ids=str)  # fmt: skip
def test_nonsense_is_taken_over(patch: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert strategic_merge(BASE, patch) == wanted


SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "b", "delete", "replace"])
KEYS = [key for alternatives in LIST_KEYS.values() for keys in alternatives for key in keys]
FIELDS = st.sampled_from([*LIST_KEYS, *KEYS, "x", "$patch"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=12
)
MAPS = st.dictionaries(FIELDS, VALUES, max_size=4)
PLAIN = MAPS.filter(lambda value: "$patch" not in json.dumps(value))


@given(MAPS)
def test_an_empty_patch_changes_nothing(base: dict[str, Any]) -> None:
    assert strategic_merge(base, {}) == base


@given(PLAIN, MAPS)
def test_a_patch_twice_is_the_patch_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    once = strategic_merge(base, patch)
    assert strategic_merge(once, patch) == once


@given(MAPS, MAPS)
def test_no_argument_is_ever_changed(base: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    strategic_merge(base, patch)
    assert (base, patch) == before


# -- the same by kubectl


@pytest.fixture(scope="module")
def kubectl() -> str:
    found = shutil.which("kubectl") or built_kubectl()
    if found is None:
        pytest.skip("no kubectl to compare with: python tests/cluster/binaries.py builds one")
    return found


def built_kubectl() -> str | None:
    """The one of the test clusters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "cluster"))
        import binaries

        path = binaries.folder() / "kubectl"
        return str(path) if path.exists() else None


def by_kubectl(kubectl: str, folder: Path, base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    pod = folder / "pod.json"
    pod.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": base}))
    command = [kubectl, "patch", "--local", "--type", "strategic", "-f", str(pod), "-o", "json"]
    command += ["-p", json.dumps({"spec": patch})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["spec"]  # type: ignore[no-any-return]


def unordered(value: Any, field: str = "") -> Any:
    """With the lists that are sets in the order of their keys, and without what is as good as absent."""
    if isinstance(value, dict):
        inner = {name: unordered(part, name) for name, part in value.items()}
        return {name: part for name, part in inner.items() if part not in ({}, [], None)}
    if isinstance(value, list):
        parts = [unordered(part) for part in value]
        leading = LIST_KEYS[field][0][0] if field in LIST_KEYS else ""
        return sorted(parts, key=lambda part: str(part[leading])) if leading else parts
    return value


@pytest.mark.parametrize("case", CASES)
def test_kubectl_agrees(kubectl: str, tmp_path: Path, case: str) -> None:
    patch, wanted = CASES[case]
    assert unordered(by_kubectl(kubectl, tmp_path, BASE, patch)) == unordered(wanted)


def test_kubectl_agrees_to_random_patches(kubectl: str, tmp_path: Path, rng: random.Random) -> None:
    for _ in range(25):
        patch = random_patch(rng)
        assert unordered(by_kubectl(kubectl, tmp_path, BASE, patch)) == unordered(strategic_merge(BASE, patch)), patch


def random_patch(rng: random.Random) -> dict[str, Any]:
    """A valid patch of BASE with a few things in it. Directives only where BASE has a list: elsewhere kubectl leaves
    them in the result, and we take them out."""

    def some(makers: dict[str, Any]) -> dict[str, Any]:
        return {name: makers[name]() for name in rng.sample(sorted(makers), rng.randint(1, len(makers) // 2))}

    def elements(
        key: str, makers: dict[Any, dict[str, Any]], *, directives: bool = False, replaces: bool = True
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for value in rng.sample(list(makers), rng.randint(1, len(makers))):
            deletes = directives and rng.random() < 0.2
            found.append({key: value, **({"$patch": "delete"} if deletes else some(makers[value]))})
        return [*found, {"$patch": "replace"}] if directives and replaces and rng.random() < 0.1 else found

    def word() -> str:
        return rng.choice("abcd")

    def or_null(value: Any) -> Any:
        return rng.choice([None, value])

    def container(*, known: bool) -> dict[str, Any]:
        variable = {"value": word, "valueFrom": lambda: None}
        port = {"name": word, "hostIP": word}
        mount = {"name": word, "subPath": word}
        return {
            "image": lambda: or_null("j"),
            "args": lambda: [word() for _ in range(rng.randint(0, 2))],
            "env": lambda: elements("name", dict.fromkeys("ABC", variable), directives=known),
            "ports": lambda: elements("containerPort", dict.fromkeys((1, 2, 3), port), directives=known),
            "volumeMounts": lambda: elements("mountPath", dict.fromkeys(("/data", "/x"), mount), directives=known),
            "resources": lambda: {"limits": {"cpu": or_null("2")}},
        }

    containers = {"server": container(known=True), "logs": container(known=False)}
    volume = {"emptyDir": lambda: or_null({"medium": ""}), "secret": lambda: {"secretName": word()}}
    alias = {"hostnames": lambda: [word()], "hostname": lambda: None}
    return some({
        "serviceAccountName": word,
        "nodeName": lambda: or_null("n"),
        "nodeSelector": lambda: {word(): or_null("b"), **({"$patch": "replace"} if rng.random() < 0.3 else {})},
        "securityContext": lambda: {"fsGroup": or_null(1), "supplementalGroups": [1]},
        "tolerations": lambda: [{"key": word()}],
        "containers": lambda: elements("name", containers, directives=True, replaces=False),
        "initContainers": lambda: elements("name", {"init": container(known=False)}),
        "volumes": lambda: elements("name", dict.fromkeys(("data", "new"), volume), directives=True),
        "imagePullSecrets": lambda: [{"name": word()}],
        "hostAliases": lambda: elements("ip", dict.fromkeys("12", alias)),
    })  # fmt: skip


@pytest.mark.parametrize("element", [lambda n: {"name": f"A{n}"}, lambda n: {"name": {"n": n}}, lambda n: {"value": n}])
def test_the_cost_of_a_list_is_not_its_square(element: Any) -> None:
    """The operator has one thread; ten thousand elements fit into an object."""
    elements = [element(n) for n in range(10_000)]
    began = time.process_time()
    merged = strategic_merge({"env": elements}, {"env": [{**e, "more": 1} for e in elements]})
    assert time.process_time() - began < 2.0
    assert len(merged["env"]) == (20_000 if "value" in elements[0] else 10_000)
