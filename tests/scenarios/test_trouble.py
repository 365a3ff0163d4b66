"""What goes wrong with a cache is said in words, and is over when its cause is."""

from __future__ import annotations

import time

import pytest
import redis

from cachefleet_operator.resources.podspec import READINESS_FAILURES, READINESS_PERIOD_S
from fleettest.stage import Stage

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

FILL = """
import os
file = os.open("/data/ballast", os.O_CREAT | os.O_WRONLY)
size = 1 << 20
while size:
    try:
        os.write(file, bytes(size))
    except OSError:
        size >>= 1
"""
EMPTY = "import os; os.unlink('/data/ballast')"


def test_a_full_disk(stage: Stage) -> None:
    stage.apply(persistence={"storage": {"size": "48Mi", "storageClassName": "sized"}})
    stage.settled()
    client, old = stage.fill(), stage.identity()
    direct = stage.client(host=stage.pod()["status"]["podIP"])
    stage.execute(FILL)

    def refused() -> str:
        try:
            direct.set("more", "x" * 100_000)
        except redis.ResponseError as error:
            return str(error)
        return ""

    words = stage.wait(refused, "writes are refused")
    assert words.startswith("MISCONF"), words
    stage.told("Degraded", "ServerFailing", words="MISCONF")
    stage.told("Ready", "ReadOnly", words="MISCONF")
    fresh, end = stage.client(), time.monotonic() + READINESS_PERIOD_S * (READINESS_FAILURES + 1)
    while time.monotonic() < end:  # reads through the Service go on for longer than a probe takes to end them
        assert fresh.get("key:1") == "value 1"
    stage.check(fresh)
    assert "orders-0: MISCONF" in stage.cache()["status"]["message"]

    stage.execute(EMPTY)
    stage.told("Degraded", "AsExpected")
    stage.settled()
    assert stage.answers(lambda: client.set("again", "works"))
    assert stage.identity() == old
    stage.kill()  # what was acknowledged before and after is in the file
    stage.replaced(old)
    stage.check(client)
    assert client.get("again") == "works"


def test_out_of_memory(stage: Stage) -> None:
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()
    stage.starve(stage.host())
    stage.told("Degraded", "PodFailing", words="pod orders-0 was killed: out of memory")
    stage.replaced(old)
    stage.check(client)
    stage.told("Ready", "Serving")


def test_what_is_deleted_under_a_refused_spec_comes_back(stage: Stage) -> None:
    stage.apply()
    stage.settled()
    stage.fill()
    old, limit = stage.identity(), stage.pod()["spec"]["containers"][0]["resources"]["limits"]["memory"]
    kube, namespace = stage.kube, stage.namespace
    stage.wait(lambda: kube.find("configmap", "orders-accepted", namespace), "the spec is accepted")
    stage.apply(config={"timeot": "5"}, memory={"limit": "128Mi"})
    stage.told("Degraded", "SpecRefused", words="timeot")
    kinds = {"service": "orders-rw", "secret": "orders-auth", "pod": "orders-0"}
    for kind, name in kinds.items():
        kube.delete(kind, name, namespace)
    pod = stage.replaced(old)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == limit, "it runs what was accepted"
    stage.wait(lambda: all(kube.find(*what, namespace) for what in kinds.items()), "all are back")
    stage.told("Ready", "Serving")
    stage.told("Degraded", "SpecRefused", words="timeot")
    stage.check(stage.client())
    stage.apply()
    stage.settled()


def test_a_wrong_image_and_its_cure(stage: Stage) -> None:
    stage.apply("fresh", image="cachefleet/server:none")
    stage.apply()
    stage.settled()
    client, old = stage.fill(), stage.identity()
    stage.apply(image="cachefleet/server:none")
    for name in ("orders", "fresh"):
        stage.told("Degraded", "PodFailing", name, "cannot pull its image")
    for name in ("orders", "fresh"):
        stage.apply(name)
    for name in ("orders", "fresh"):
        stage.settled(name)
        stage.told("Degraded", "AsExpected", name)
    assert stage.identity() != old
    stage.check(client)
