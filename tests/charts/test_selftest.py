"""What `helm test` runs: it uses the Cache as an application would, tells what is wrong, and always deletes it."""

from __future__ import annotations

from base64 import b64encode
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from cachefleet_operator import selftest
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.validation import problems
from fleettest.instance import Instance

pytestmark = pytest.mark.server

NAME = "helm-test-x7k2p"


class Caches:
    """The API of Caches, with one that has this status from the second look on."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status, self.looks = status, 0
        self.alive: list[str] = []
        self.made: dict[str, Any] = {}

    def create_namespaced_custom_object(self, group: str, version: str, namespace: str, plural: str, body: Any) -> Any:
        assert (group, version, plural) == ("cachefleet.io", "v1alpha1", "caches")
        self.made = {**body, "metadata": {**body["metadata"], "name": NAME, "namespace": namespace}}
        self.alive.append(NAME)
        return self.made

    def get_namespaced_custom_object(self, group: str, version: str, namespace: str, plural: str, name: str) -> Any:
        self.looks += 1
        return {**self.made, **({"status": self.status} if self.looks > 1 else {})}

    def delete_namespaced_custom_object(self, group: str, version: str, namespace: str, plural: str, name: str) -> None:
        self.alive.remove(name)


class Secrets:
    def read_namespaced_secret(self, name: str, namespace: str) -> Any:
        assert name == f"{NAME}-auth"
        return SimpleNamespace(data={"password": b64encode(b"s3cret").decode()})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "POLL_S", 0.01)
    monkeypatch.setattr(selftest, "READY_S", 0.2)
    monkeypatch.setattr(selftest, "CONNECT_S", 0.2)


def ready(server: Instance) -> dict[str, Any]:
    conditions = [{"type": "Progressing", "status": "False"}, {"type": "Ready", "status": "True"}]
    return {"phase": "Running", "conditions": conditions, "endpoint": f"127.0.0.1:{server.port}"}


def test_it_writes_reads_and_deletes(capsys: pytest.CaptureFixture[str]) -> None:
    with Instance(options={"requirepass": "s3cret"}) as server:
        caches = Caches(ready(server))
        selftest.try_cache(caches, Secrets(), "shop")
    assert caches.alive == []
    assert problems(parse(caches.made)) == ()
    assert capsys.readouterr().out.splitlines() == [
        f"made Cache shop/{NAME}",
        f"it is Ready: Running, at 127.0.0.1:{server.port}",
        "wrote and read a key",
        "deleted it",
    ]


def test_it_says_why_a_cache_is_not_ready() -> None:
    words = f"Pod {NAME}-0 cannot pull its image"
    caches = Caches({"phase": "Degraded", "message": words, "conditions": [{"type": "Ready", "status": "False"}]})
    with pytest.raises(TimeoutError, match=f"Degraded: {words}"):
        selftest.try_cache(caches, Secrets(), "shop")
    assert caches.alive == []


def test_it_says_when_there_is_no_operator() -> None:
    with pytest.raises(TimeoutError, match="no operator has seen it"):
        selftest.try_cache(Caches({}), Secrets(), "shop")


def test_a_wrong_password_is_an_error() -> None:
    with Instance(options={"requirepass": "another"}) as server:
        caches = Caches(ready(server))
        with pytest.raises(redis.AuthenticationError):
            selftest.try_cache(caches, Secrets(), "shop")
    assert caches.alive == []
