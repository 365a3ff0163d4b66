"""What the images are built from: pins that fit pyproject.toml and are complete, Dockerfiles that fit the charts."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cachefleet_operator.resources.podspec import USER
from fleettest.helm import ROOT, Helm

DEPLOY = ROOT / "deploy"
PINS = dict(
    line.split("==") for line in (DEPLOY / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
DOCKERFILES = {name: (DEPLOY / f"Dockerfile.{name}").read_text() for name in ("server", "operator")}


def requirements() -> list[Requirement]:
    """As `make pins` reads them."""
    return [Requirement(text) for text in runpy.run_path(str(DEPLOY / "pins.py"))["requirements"]()]


def needed(wanted: list[Requirement]) -> set[str]:
    """All that they need in the images, by the metadata of what is installed here."""
    base = re.search(r"^ARG BASE=\S+/python:(\d+\.\d+)-", (DEPLOY / "Dockerfile.operator").read_text(), re.MULTILINE)
    assert base is not None
    python = {"python_version": base[1], "python_full_version": f"{base[1]}.0"}
    found: set[str] = set()
    todo = [(canonicalize_name(r.name), frozenset(r.extras)) for r in wanted]
    seen = set(todo)
    while todo:
        name, extras = todo.pop()
        found.add(name)
        for text in requires(name) or ():
            requirement = Requirement(text)
            chosen = [{**python, "extra": extra} for extra in extras or ("",)]
            if requirement.marker is None or any(requirement.marker.evaluate(extra) for extra in chosen):
                new = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if new not in seen:
                    seen.add(new)
                    todo.append(new)
    return found


def test_pins_are_within_what_the_project_wants() -> None:
    wanted = requirements()
    assert len(wanted) > 8
    for requirement in wanted:
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


def test_pins_are_complete() -> None:
    """What is not pinned is whatever is newest on the day of a build."""
    assert needed(requirements()) - set(PINS) == set()


def test_pins_fit_each_other() -> None:
    """What the installed versions want of each other holds for the pins, where these are installed here."""
    for name in PINS:
        if version(name) != PINS[name]:
            continue
        for text in requires(name) or ():
            requirement = Requirement(text)
            other = canonicalize_name(requirement.name)
            if other in PINS and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                assert requirement.specifier.contains(PINS[other]), f"{name} wants {requirement}"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_have_a_base_that_can_be_chosen_and_the_pods_user(name: str) -> None:
    text = DOCKERFILES[name]
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == ["${BASE} AS build", "${BASE}"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == [f"{USER}:{USER}"]
    assert "PIP_CONSTRAINT=/src/deploy/constraints.txt" in text


def test_images_have_the_names_and_ports_of_the_charts(helm: Helm) -> None:
    (deployment,) = (obj for obj in helm.template("cachefleet") if obj["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {v["name"]: v.get("value") for v in container["env"]}
    server = f"{environment['CACHEFLEET_SERVER_IMAGE']}:{environment['CACHEFLEET_SERVER_VERSION']}"
    for name, image in (("operator", container["image"]), ("server", server)):
        assert f"-t {image} " in DOCKERFILES[name]
        assert re.search(rf"-t {re.escape(image)} +\.", (DEPLOY / "README.md").read_text())
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in DOCKERFILES["operator"]
    assert "EXPOSE 6379 9121\n" in DOCKERFILES["server"]
