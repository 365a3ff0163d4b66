"""A stage for scenarios: one namespace under the restricted Pod Security profile, Caches in it, and their clients.

    stage.apply("orders", memory={"limit": "96Mi"})
    stage.settled("orders")                        Ready, and nothing is left to be done
    stage.client("orders").set("k", "v")           redis-py, by the DNS name of the Service
    stage.identity("orders")                       what changes when its pod or container is another one

`Deployed` is the operator that the chart installed: its pods, their metrics, and how to send it away for a while.
Everything runs inside tests/cluster/cluster.py, where Services and pods are reachable.
"""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final, NamedTuple, TypeVar

import faults
import redis
from prometheus_client.parser import text_string_to_metric_families

from cachefleet_operator.api import names
from fleettest.client import encode
from fleettest.kube import Kube, KubeError

T = TypeVar("T")
Object = dict[str, Any]
Client = redis.Redis

ROOT: Final = Path(__file__).resolve().parents[3]
CHART: Final = ROOT / "charts" / "cachefleet"
RELEASE: Final = "cachefleet"
SYSTEM: Final = "cachefleet-system"  # the operator's namespace
OPERATOR_IMAGE: Final = "cachefleet/operator:0.1.0"
SERVER_IMAGE: Final = "cachefleet/server:0.1.0"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
DEADLINE_S: Final = 120.0
SMALL: Final[Object] = {"memory": {"limit": "96Mi"}, "resources": {"requests": {"cpu": "10m"}}}
KEYS: Final = 500
TOO_MUCH: Final = 400_000_000
AWAY: Final = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


class Identity(NamedTuple):
    pod: str  # uid
    container: str  # id


class Stage:
    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self._clients = contextlib.ExitStack()

    def close(self) -> None:
        self._clients.close()

    # -- Caches

    def apply(self, name: str = "orders", **spec: Any) -> None:
        """A small Cache; `spec` adds to SMALL. Applying it again takes out what is not said any more."""
        self.kube.apply(self.manifest(name, **spec))

    def manifest(self, name: str = "orders", **spec: Any) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": metadata}
        return {**body, "spec": {**SMALL, **spec}}

    def cache(self, name: str = "orders") -> Object:
        return self.kube.get("cache", name, self.namespace)

    def condition(self, kind: str, name: str = "orders") -> Object:
        """Empty while the operator has not looked at the spec as it is."""
        cache = self.cache(name)
        found = [c for c in cache.get("status", {}).get("conditions", ()) if c["type"] == kind]
        return found[0] if found and found[0]["observedGeneration"] == cache["metadata"]["generation"] else {}

    def told(self, kind: str, reason: str, name: str = "orders", words: str = "") -> Object:
        """The condition, when it has that reason and `words` in its message."""

        def condition() -> Object | None:
            found = self.condition(kind, name)
            return found if found.get("reason") == reason and words in found.get("message", "") else None

        return self.wait(condition, f"{kind} is {reason} of {name}", name)

    def settled(self, name: str = "orders") -> Object:
        """The Cache, when it is Ready and as its spec says."""

        def settled() -> Object | None:
            reasons = [self.condition(kind, name).get("reason") for kind in ("Ready", "Progressing", "ConfigApplied")]
            return self.cache(name) if reasons == ["Serving", "UpToDate", "Applied"] else None

        return self.wait(settled, f"{name} settles", name)

    def wait(self, condition: Callable[[], T | None], what: str, name: str = "orders") -> T:
        """With the status of the Cache in the message of a failure."""
        found = self.kube.wait_for(condition, lambda: f"{what}: {self.find_status(name)}", DEADLINE_S)
        assert found is not None
        return found

    def find_status(self, name: str) -> Object:
        return dict((self.kube.find("cache", name, self.namespace) or {}).get("status", {}))

    def notes(self, reason: str, name: str = "orders") -> list[str]:
        """What the operator's events of that reason say of the Cache, once there is one; they follow what they tell."""

        def told() -> list[str]:
            events = self.kube.list("events.events.k8s.io", self.namespace)
            mine = [e for e in events if e["reason"] == reason and e["regarding"]["kind"] == "Cache"]
            return [e["note"] for e in mine if e["regarding"]["name"] == name]

        return self.wait(told, f"no event {reason} of {name}", name)

    # -- pods

    def pod(self, name: str = "orders") -> Object:
        return self.kube.get("pod", f"{name}-0", self.namespace)

    def identity(self, name: str = "orders") -> Identity:
        pod = self.pod(name)
        return Identity(pod["metadata"]["uid"], _server(pod)["containerID"])

    def restarts(self, name: str = "orders") -> int:
        return int(_server(self.pod(name))["restartCount"])

    def replaced(self, old: Identity, name: str = "orders") -> Object:
        """The pod, when it is Ready and its container another one."""

        def ready() -> Object | None:
            pod = self.pod(name)
            status = _server(pod)
            fresh = status.get("containerID", old.container) != old.container
            return pod if fresh and status["ready"] and _is_ready(pod) else None

        return self.wait(ready, f"{name}-0 is replaced", name)

    def execute(self, script: str, name: str = "orders") -> str:
        """Python, in the container of the server."""
        where = ("-n", self.namespace, f"{name}-0", "-c", "server")
        return self.kube.kubectl("exec", *where, "--", "python3", "-c", script)

    def owned(self) -> list[str]:
        """Objects of Caches that are there, but for claims."""
        kinds = "statefulset,pod,service,configmap,secret,serviceaccount,poddisruptionbudget,networkpolicy"
        found = self.kube.list(kinds, self.namespace, "cachefleet.io/cache")
        return [f"{one['kind']}/{one['metadata']['name']}" for one in found]

    def kill(self, name: str = "orders") -> None:
        """SIGKILL to the server's process."""
        faults.signal_container(self.pod(name), "server", SIGKILL)

    def starve(self, host: str, name: str = "orders") -> None:
        """A request that is larger than the memory of the pod at `host`, which is killed for it."""
        begun = encode("AUTH", self.password(name)) + b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % TOO_MUCH
        with socket.create_connection((host, names.PORT), timeout=30) as connection:
            connection.sendall(begun)
            try:
                connection.sendall(bytes(TOO_MUCH))
            except OSError:
                return
        raise AssertionError(f"{host} has room for {TOO_MUCH} bytes")

    # -- clients

    def host(self, name: str = "orders") -> str:
        return f"{name}-rw.{self.namespace}.svc.cluster.local"

    def password(self, name: str = "orders") -> str:
        secret = self.kube.get("secret", f"{name}-auth", self.namespace)
        return b64decode(secret["data"]["password"]).decode()

    def client(self, name: str = "orders", *, host: str = "", password: str = "") -> Client:
        """Closed with the stage. One connection, which is made again when it broke."""
        found = redis.Redis(
            host=host or self.host(name),
            password=password or self.password(name),
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=5,
        )
        self._clients.callback(found.close)
        return found

    @staticmethod
    def parameter(client: Client, name: str) -> str:
        """What the server runs with."""
        return str(client.config_get(name)[name])

    def fill(self, name: str = "orders") -> Client:
        """Writes KEYS keys, each acknowledged."""
        client = self.client(name)

        def write() -> bool:
            with client.pipeline(transaction=False) as pipe:
                for number in range(KEYS):
                    pipe.set(f"key:{number}", f"value {number}")
                return all(pipe.execute())

        self.answers(write)
        return client

    def check(self, client: Client) -> None:
        """All that `fill` wrote is there, as soon as somebody answers."""
        wanted = {f"key:{number}": f"value {number}" for number in range(KEYS)}
        found = self.answers(lambda: dict(zip(wanted, client.mget(list(wanted)), strict=True)))
        missing = {key for key, value in wanted.items() if found[key] != value}
        assert not missing, f"{len(missing)} of {KEYS} keys are lost, {sorted(missing)[:5]} among them"

    def answers(self, call: Callable[[], T]) -> T:
        """What it returns, as soon as the server can be reached; a Service follows its pods with some delay."""

        def attempt() -> tuple[T]:
            try:
                return (call(),)
            except AWAY as error:
                raise AssertionError(repr(error)) from error

        return self.kube.wait_for(attempt, "the server answers", DEADLINE_S)[0]


def _server(pod: Object) -> Object:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return dict(next((s for s in statuses if s["name"] == "server"), {}))


def _is_ready(pod: Object) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


class Deployed:
    """The operator of the release RELEASE."""

    selector = f"app.kubernetes.io/name=cachefleet-operator,app.kubernetes.io/instance={RELEASE}"

    def __init__(self, kube: Kube) -> None:
        self.kube = kube

    def upgrade(self, chart: Path = CHART, *flags: str) -> None:
        """Installs it where there is none; returns when the new pods are ready and the old ones told to go."""
        self.kube.helm("upgrade", "--install", RELEASE, str(chart), "-n", SYSTEM, "--wait", "--timeout=110s", *flags)

    def pods(self) -> list[Object]:
        found = self.kube.list("pod", SYSTEM, self.selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> list[Object]:
        """Both pods, when both are ready."""

        def ready() -> list[Object] | None:
            pods = self.pods()
            return pods if len(pods) == 2 and all(_is_ready(pod) for pod in pods) else None

        return self.kube.wait_for(ready, "two operators are ready", DEADLINE_S) or []

    def metric(self, pod: Object, name: str) -> float:
        """The sum of the series of that name; 0 from a pod that does not answer."""
        try:
            with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080/metrics", timeout=5) as reply:
                text = reply.read().decode()
        except OSError:
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(s.value for f in families for s in f.samples if s.name == f"cachefleet_operator_{name}")

    def kill(self) -> None:
        """SIGKILL to all of them at once."""
        for pod in self.pods():
            faults.signal_container(pod, "operator", SIGKILL)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nobody looks after Caches during the block."""
        self._scale(0)
        self.kube.wait_for(lambda: not self.kube.list("pod", SYSTEM, self.selector), "operators are gone", DEADLINE_S)
        try:
            yield
        finally:
            self._scale(2)
            self.ready()

    def _scale(self, replicas: int) -> None:
        self.kube.kubectl("scale", f"deployment/{RELEASE}", "-n", SYSTEM, f"--replicas={replicas}")


@contextlib.contextmanager
def new_stage(kube: Kube) -> Iterator[Stage]:
    with kube.new_namespace("shop") as namespace:
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}})
        stage = Stage(kube, namespace)
        try:
            yield stage
        finally:
            stage.close()


def restricted_pod(stage: Stage, name: str, script: str, environment: list[Object]) -> Object:
    """A pod that runs Python in the operator's image, which has redis-py, until it is done."""
    container = {
        "name": "main",
        "image": OPERATOR_IMAGE,
        "command": ["python3", "-c", script],
        "env": environment,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "restartPolicy": "Never", "securityContext": security}
    metadata = {"name": name, "namespace": stage.namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


# -- after a failure

REPORT: Final = (
    ("get", "all,cache,pvc,events.events.k8s.io", "-o", "wide"),
    ("get", "cache", "-o", "yaml"),
    ("describe", "pod"),
)


def report(kube: Kube, namespace: str) -> str:
    """What one wants to read after a failure: objects, statuses, events, logs of the pods and of the operators."""
    commands = [("-n", namespace, *words) for words in REPORT]
    for place in (namespace, SYSTEM):
        for pod in _try(kube, "get", "pod", "-n", place, "-o", "name").split():
            for flags in ((), ("--previous",)):
                commands.append(("logs", "-n", place, pod, "--tail=60", *flags))
    return "\n".join(f"$ kubectl {' '.join(words)}\n{_try(kube, *words)}" for words in commands)


def _try(kube: Kube, *words: str) -> str:
    try:
        return kube.kubectl(*words)
    except KubeError as error:
        return str(error)
