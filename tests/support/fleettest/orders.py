"""The Cache `orders` of a test, as its user sees it: applied, changed, waited for, and asked as a server."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final

from cachefleet_operator.api import names
from fleettest.client import Connection, Error
from fleettest.hollow import HollowKubelet
from fleettest.kube import Kube

CACHE: Final = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache"}


class ServerError(Exception):
    """A server's error reply."""


class Orders:
    """The Cache of a test, and its first pod; several have names of their own."""

    def __init__(self, kube: Kube, namespace: str, kubelet: HollowKubelet, name: str = "orders") -> None:
        self.kube, self.namespace, self.kubelet, self.name = kube, namespace, kubelet, name
        self.first = names.pod(name, 0)

    def apply(self, **spec: Any) -> None:
        self.kube.apply({**CACHE, "metadata": {"name": self.name, "namespace": self.namespace}, "spec": spec})

    def change(self, **spec: Any) -> None:
        self.kube.patch("cache", self.name, self.namespace, {"spec": spec})

    def status(self) -> dict[str, Any]:
        return dict(self.kube.get("cache", self.name, self.namespace).get("status", {}))

    def reasons(self) -> dict[str, str]:
        return {c["type"]: c["reason"] for c in self.status().get("conditions", [])}

    def is_running(self) -> bool:
        """Everything of the newest spec is done."""
        found = self.kube.get("cache", self.name, self.namespace)
        status = found.get("status", {})
        assert status.get("observedGeneration") == found["metadata"]["generation"]
        assert status.get("phase") == "Running", status.get("phase")
        return True

    def wait(self) -> None:
        self.kube.wait_for(self.is_running)

    def uid(self) -> str:
        return str(self.kube.get("pod", self.first, self.namespace)["metadata"]["uid"])

    def wait_for_another(self, before: str) -> None:
        """Another pod than the one of this uid answers, and everything is done."""

        def is_ready() -> bool:
            pod = self.kube.get("pod", self.first, self.namespace)
            conditions = pod.get("status", {}).get("conditions", [])
            return pod["metadata"]["uid"] != before and any(
                c["type"] == "Ready" and c["status"] == "True" for c in conditions
            )

        self.kube.wait_for(is_ready)
        self.wait()

    def password(self, secret: str = "", key: str = "password") -> str:
        found = self.kube.get("secret", secret or f"{self.name}-auth", self.namespace)
        return b64decode(found["data"][key]).decode()

    def call(self, password: str, *words: str, pod: str = "") -> Any:
        """A reply of the first pod, or another, as text. Raises ServerError."""
        with Connection((self.kubelet.pod(pod or self.first).ip, names.PORT)) as client:
            for command in ([("AUTH", password)] if password else []) + [words]:
                reply = client.call(*command)
                if isinstance(reply, Error):
                    raise ServerError(str(reply))
        return _text(reply)

    def set_secret(self, name: str, key: str, value: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {key: value}})


def _text(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_text(one) for one in reply]
    return reply.decode() if isinstance(reply, bytes) else reply
