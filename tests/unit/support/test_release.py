"""The release that upgrades are tested from is complete, and its API is a promise: all of it is still taken."""

from __future__ import annotations

import copy
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api.crd import crd
from fleettest import release
from fleettest.compatible import breaks

pytestmark = pytest.mark.unit

Change = Callable[[dict[str, Any]], Any]

# What broke in spite of the promise -> why it may.
ALLOWED: dict[str, str] = {}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# -- the entry


def test_there_is_one_and_it_is_complete() -> None:
    assert [entry.problems() for entry in release.entries()] == [[]]
    assert number(release.last().version) <= number(release.own_version())


def test_what_is_wrong_with_an_entry_is_seen(tmp_path: Path) -> None:
    last = release.last()
    other = release.Release(tmp_path / "7.7.7")
    shutil.copytree(last.folder, other.folder)
    assert "and not" in other.problems()[0]
    (other.folder / last.chart.name).rename(other.chart)
    (other.folder / last.wheel.name).rename(other.wheel)
    old = last.version
    assert other.problems() == [f"{who} is of {old}" for who in ("the chart", "the chart's application", "the wheel")]
    with zipfile.ZipFile(other.wheel, "w") as archive:
        archive.writestr("README", "")
    assert other.problems()[2:] == [
        "the wheel is of no version", "the wheel is of one platform", "the wheel has no operator",
    ]  # fmt: skip

    same = release.Release(tmp_path / last.version)
    shutil.copytree(last.folder, same.folder)
    assert same.problems() == []
    same.chart.unlink()
    assert len(same.problems()) == 1


# -- the API


def test_everything_of_the_release_is_still_taken() -> None:
    found = breaks(release.last().crd(), crd()["spec"])
    assert set(found) == set(ALLOWED), "what the release took is refused or dropped, or ALLOWED for nothing"


def node(spec: dict[str, Any], path: str) -> Any:
    """The schema of a field."""
    found = spec["versions"][0]["schema"]["openAPIV3Schema"]
    for name in filter(None, path.split(".")):
        found = found["properties"][name]
    return found


def change(path: str, **fields: Any) -> Change:
    """Sets parts of that field's schema, or takes them away (None)."""

    def changed(spec: dict[str, Any]) -> None:
        found = node(spec, path)
        for key, value in fields.items():
            name = key.replace("x_", "x-kubernetes-", 1).replace("_", "-")
            if value is None:
                del found[name]
            else:
                found[name] = value

    return changed


def remove(path: str) -> Change:
    parent, _, name = path.rpartition(".")
    return lambda spec: node(spec, parent)["properties"].pop(name)


def add(path: str, **schema: Any) -> Change:
    parent, _, name = path.rpartition(".")
    return lambda spec: node(spec, parent)["properties"].update({name: schema})


def demand(path: str, rule: str) -> Change:
    return lambda spec: node(spec, path).setdefault("x-kubernetes-validations", []).append({"rule": rule})


def unserved(spec: dict[str, Any]) -> None:
    spec["versions"][0]["served"] = False


def renamed(spec: dict[str, Any]) -> None:
    spec["names"]["shortNames"] = []


def without_scale(spec: dict[str, Any]) -> None:
    del spec["versions"][0]["subresources"]["scale"]


INSTANCES, LIMIT, FSYNC = "v1alpha1.spec.instances", "v1alpha1.spec.memory.limit", "v1alpha1.spec.persistence.fsync"
# What somebody does to the CRD -> what is said of it.
BREAKS: tuple[tuple[Change, str], ...] = (
    (remove("spec.instances"), f"{INSTANCES}: removed"),
    (remove("status.topology.primary.run"), "v1alpha1.status.topology.primary.run: removed"),
    (change("spec.instances", type="string"), f"{INSTANCES}: another type"),
    (change("spec.memory.limit", x_int_or_string=None, type="string"), f"{LIMIT}: another type"),
    (change("spec.instances", default=2), f"{INSTANCES}: another default than 1"),
    (change("spec.image", default="a"), "v1alpha1.spec.image: a default where there was none"),
    (change("status.conditions", x_list_type=None), "v1alpha1.status.conditions: x-kubernetes-list-type changed"),
    (change("spec.instances", minimum=2), f"{INSTANCES}: minimum is 2"),
    (change("spec.instances", maximum=9), f"{INSTANCES}: maximum is 9"),
    (change("spec.memory.limit", pattern="x"), f"{LIMIT}: pattern changed"),
    (change("spec.persistence.fsync", enum=["always", "everysec"]), f"{FSYNC}: not 'never' any more"),
    (change("spec.image", enum=["a"]), "v1alpha1.spec.image: only ['a']"),
    (change("spec.memory", required=["maxmemoryPercent", "new"]), "v1alpha1.spec.memory.new: newly required"),
    (change("spec.config", additionalProperties=None), "v1alpha1.spec.config.*: removed"),
    (change("spec.podTemplate.spec", x_preserve_unknown_fields=None),
     "v1alpha1.spec.podTemplate.spec: unknown fields are dropped"),
    (demand("spec.memory", "self.limit != ''"), "v1alpha1.spec.memory: newly demands self.limit != ''"),
    (unserved, "v1alpha1: not served"),
    (renamed, "names.shortNames: without cfc"),
    (without_scale, "v1alpha1: subresources changed"),
)  # fmt: skip
KEPT: tuple[Change, ...] = (
    add("spec.new", type="object", required=["a"], properties={"a": {"type": "string", "enum": ["b"]}}),
    change("spec.instances", maximum=11, description="other"),
    change("spec.image", type=None, x_int_or_string=True),
    change("spec.persistence.fsync", enum=["always", "everysec", "never", "sometimes"]),
    change("spec.memory", required=["maxmemoryPercent"]),
    change("spec.instances", minimum=None),
    demand("spec.memory", "self.limit == oldSelf.limit"),
)


@pytest.mark.parametrize(("changed", "said"), BREAKS, ids=[said for _, said in BREAKS])
def test_what_breaks_the_promise_is_seen(changed: Change, said: str) -> None:
    spec = copy.deepcopy(release.last().crd())
    changed(spec)
    assert breaks(release.last().crd(), spec) == [said]


@pytest.mark.parametrize("number", range(len(KEPT)))
def test_what_is_added_or_loosened_is_not(number: int) -> None:
    spec = copy.deepcopy(release.last().crd())
    KEPT[number](spec)
    assert spec != release.last().crd()
    assert breaks(release.last().crd(), spec) == []
