"""Manifests that somebody wrote to do harm, or by mistake, and a real server: nothing but its own folder is touched, it
runs on, the reason is told in words, and the corrected file heals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleettest.local import READY_S, Local, manifest
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


def pod(**spec: Any) -> str:
    return manifest(podTemplate={"spec": spec})


def volume(name: str, **source: Any) -> str:
    return pod(volumes=[{"name": name, **source}])


def server(**fields: Any) -> str:
    return pod(containers=[{"name": "server", **fields}])


LABEL = "must be lower case letters, digits and inner dashes, at most 63"
PLACE = "StatefulSet/orders: spec.template.spec"
# manifest -> what the status says of it
WRONG: list[tuple[str, str]] = [
    (volume("../data-orders-0", secret={"secretName": "orders-auth"}),
     f"spec.podTemplate.spec.volumes[0].name: {LABEL}"),
    (volume("extra", secret={}), f"{PLACE}.volumes[3].secret.secretName: is required"),
    (volume("extra", secret={"secretName": "orders-auth", "items": [{"key": "password"}]}),
     f"{PLACE}.volumes[3].secret.items[0].path: is required"),
    (pod(terminationGracePeriodSeconds="abc"), f"{PLACE}.terminationGracePeriodSeconds: must be an integer, not 'abc'"),
    (server(env=[{"name": "A", "value": "a\0"}]), f"{PLACE}.containers[0].env[11].value: must not contain NUL"),
    (server(env=[{"name": "A", "valueFrom": {"secretKeyRef": "x"}}]),
     f"{PLACE}.containers[0].env[11].valueFrom.secretKeyRef: must be an object"),
]  # fmt: skip


def phase(local: Local) -> str:
    return str(local.cache()["status"].get("phase", ""))


def message(local: Local) -> str:
    return str(local.cache()["status"].get("message", ""))


def says(local: Local, words: str) -> None:
    assert_eventually(lambda: words in message(local), lambda: f"{words}\n{message(local)}", deadline_s=READY_S)


def heals(local: Local) -> None:
    local.write(manifest())
    assert_eventually(lambda: phase(local) == "Running", lambda: phase(local), deadline_s=READY_S)
    local.ready()


def test_a_wrong_pod_costs_no_restart_and_is_healed_by_the_right_one(local: Local) -> None:
    local.up()
    with local.client() as client:
        client.set("a", "1")
    pid = local.pid()
    for text, words in WRONG:
        local.write(text)
        says(local, words)
        heals(local)
    with local.client() as client:
        assert client.get("a") == "1"
    assert local.pid() == pid
    assert "Something broke" not in local.said()


def test_a_wrong_pod_from_the_first_start(local: Local) -> None:
    text, words = WRONG[1]
    local.write(text)
    answer = local.run("up", "-d", "-f", "cache.yaml", "--port", str(local.port))
    assert (answer.returncode, words in answer.stderr) == (3, True), answer.stderr
    heals(local)


def test_a_pod_that_cannot_be_made_is_healed(local: Local) -> None:
    """It can be read, but what it names is not there: this one takes the place of what runs, as in a cluster."""
    local.up().ready()
    local.write(volume("extra", secret={"secretName": "none"}))
    says(local, "cannot be configured: secret 'none' not found")
    heals(local)


def test_the_name_of_a_volume_reaches_nobodys_folder(local: Local, tmp_path: Path) -> None:
    someone = tmp_path / "someone"
    someone.mkdir(mode=0o755)
    (someone / "letter").write_text("dear")
    local.write(volume(str(someone), secret={"secretName": "orders-auth"}))
    local.up()
    says(local, f"spec.podTemplate.spec.volumes[0].name: {LABEL}")
    assert json.loads(local.run("status", "-o", "json").stdout)["caches"][0]["ready"] is False
    heals(local)
    assert [p.name for p in someone.iterdir()] == ["letter"] and someone.stat().st_mode & 0o777 == 0o755
