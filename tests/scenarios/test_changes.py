"""The spec changes under a running cache: live where that is possible, by a restart where not, refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from fleettest.kube import KubeError
from fleettest.stage import SMALL, Stage

pytestmark = [pytest.mark.kube, pytest.mark.cluster]


def test_parameters_change_live_by_restart_or_not_at_all(stage: Stage) -> None:
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()

    live = {"slowlog-log-slower-than": "5"}
    stage.apply(memory={**SMALL["memory"], "evictionPolicy": "allkeys-lfu"}, config=live)
    stage.settled()
    assert stage.parameter(client, "maxmemory-policy") == "allkeys-lfu"
    assert stage.parameter(client, "slowlog-log-slower-than") == "5"
    assert stage.identity() == old
    assert any("slowlog-log-slower-than 5" in note for note in stage.notes("ConfigSet"))

    stage.apply(config={**live, "slowlog-log-slower": "6"})
    refused = stage.told("ConfigApplied", "Refused")
    hint = "(did you mean slowlog-log-slower-than?)"
    assert refused["message"] == f"spec.config.slowlog-log-slower: unknown parameter {hint}"
    stage.apply(config={**live, "dir": "/tmp"})
    stage.told("ConfigApplied", "Refused", words="spec.config.dir: belongs to the operator")
    assert stage.cache()["status"]["message"].startswith("spec.config.dir")
    assert stage.identity() == old
    assert client.ping()

    stage.apply(config={**live, "databases": "4"})
    stage.replaced(old)
    stage.settled()
    stage.check(client)
    assert stage.parameter(client, "databases") == "4"
    (note,) = stage.notes("PodRestarted")
    assert note.startswith("restarting orders-0: ") and "databases" in note, note


def test_memory_grows_with_its_pod(stage: Stage) -> None:
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()
    before = int(stage.parameter(client, "maxmemory"))
    stage.apply(memory={"limit": "128Mi"})
    pod = stage.replaced(old)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "128Mi"
    stage.settled()
    stage.check(client)
    assert int(stage.parameter(client, "maxmemory")) > before


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"persistence": {"storage": {"storageClassName": "sized"}}}, "storage.storageClassName is immutable"),
    ({"persistence": {"mode": "none"}}, "persistence.mode cannot change to or from none"),
    ({"memory": {"limit": "10Mi"}}, "memory.limit must be at least 96Mi"),
    ({"auth": {"mode": "secret"}}, "auth.mode secret needs auth.secretRef, and only that mode has one"),
    ({"memory": {"evictionPolicy": "lru"}}, 'supported values: "noeviction", "allkeys-lru"'),
    ({"replicaz": 1}, 'unknown field "spec.replicaz"'),
)


def test_what_cannot_be_is_refused_by_the_api_server(stage: Stage) -> None:
    stage.kube.kubectl("apply", "-n", stage.namespace, "-f", "-", stdin=_yaml(stage, {}))
    for spec, words in REFUSED:
        with pytest.raises(KubeError) as told:
            stage.kube.kubectl("apply", "-n", stage.namespace, "-f", "-", stdin=_yaml(stage, spec))
        assert words in str(told.value), spec
    long = stage.manifest("a" * 41)
    assert "metadata.name must be at most 40 characters" in stage.kube.refused(long)


def _yaml(stage: Stage, spec: dict[str, Any]) -> str:
    return json.dumps({**stage.manifest(), "spec": spec})


def test_passwords_are_rotated_under_connections(stage: Stage) -> None:
    kube, namespace = stage.kube, stage.namespace
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": namespace}}
    kube.apply({**secret, "stringData": {"word": "first"}})
    stage.apply("own")
    stage.apply("ref", auth={"mode": "secret", "secretRef": {"name": "mine", "key": "word"}})
    for name in ("own", "ref"):
        stage.settled(name)
    old = {name: stage.identity(name) for name in ("own", "ref")}
    first = {"own": stage.password("own"), "ref": "first"}
    held = {name: stage.client(name, password=word) for name, word in first.items()}
    numbers = {name: stage.answers(client.client_id) for name, client in held.items()}

    kube.patch("secret", "own-auth", namespace, {"stringData": {"password": "second"}})
    kube.patch("secret", "mine", namespace, {"stringData": {"word": "second"}})
    for name in ("own", "ref"):
        _takes(stage, name, "second")
        _refuses(stage, name, first[name])

    kube.delete("secret", "own-auth", namespace)  # a new one is made
    kube.wait_for(lambda: kube.find("secret", "own-auth", namespace))
    third = stage.password("own")
    assert third not in ("second", first["own"])
    _takes(stage, "own", third)
    _refuses(stage, "own", "second")

    kube.delete("secret", "mine", namespace)  # what runs goes on
    stage.told("Degraded", "SecretMissing", "ref", "Secret mine does not exist")
    _takes(stage, "ref", "second")

    for name, client in held.items():
        assert client.client_id() == numbers[name], "the connection was lost"
        assert stage.identity(name) == old[name]


def _takes(stage: Stage, name: str, password: str) -> None:
    def taken() -> bool:
        try:
            return bool(stage.client(name, password=password).ping())
        except redis.AuthenticationError:
            return False

    stage.wait(taken, "the new password works", name)


def _refuses(stage: Stage, name: str, password: str) -> None:
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        stage.client(name, password=password).ping()


SIZE = "import os; s = os.statvfs('/data'); print(s.f_blocks * s.f_frsize >> 20)"


def test_storage_grows_under_its_pod(stage: Stage) -> None:
    def sized(size: str) -> dict[str, Any]:
        return {"storage": {"size": size, "storageClassName": "sized"}}

    stage.apply(persistence=sized("48Mi"))
    stage.settled()
    client, old = stage.fill(), stage.identity()
    statefulset = stage.kube.get("statefulset", "orders", stage.namespace)["metadata"]["uid"]
    assert stage.execute(SIZE) == "48\n"
    stage.apply(persistence=sized("96Mi"))
    stage.wait(lambda: stage.execute(SIZE) == "96\n", "the volume is larger")
    stage.settled()
    claim = stage.kube.get("pvc", "data-orders-0", stage.namespace)
    assert claim["status"]["capacity"]["storage"] == "96Mi"
    fresh = stage.kube.get("statefulset", "orders", stage.namespace)
    assert fresh["metadata"]["uid"] != statefulset
    assert fresh["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "96Mi"
    assert stage.identity() == old
    assert stage.pod()["metadata"]["ownerReferences"][0]["uid"] == fresh["metadata"]["uid"]
    stage.check(client)
