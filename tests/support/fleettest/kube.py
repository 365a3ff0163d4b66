"""Kubernetes for pytest: the fixtures `kube` and `namespace`, and what tests say to a cluster.

    def test_x(kube: Kube, namespace: str) -> None:
        kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}})
        kube.wait_for(lambda: kube.get("configmap", "a", namespace))

`kube` is one cluster for the session: that of CACHEFLEET_TEST_KUBECONFIG or KUBECONFIG when one of them is set, and
otherwise a control plane without nodes that starts in some three seconds (tests/cluster/control_plane.py). Inside
`tests/cluster/cluster.py` it is the cluster around the tests, which has nodes; module `faults` breaks those. Each test
makes its objects in a namespace of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import binaries
import machine
import pytest
from audit import WRITES, Audit, Request
from control_plane import ControlPlane
from faults import VARIABLE as CLUSTER_VARIABLE
from pki import write_kubeconfig

from fleettest.wait import assert_eventually

T = TypeVar("T")
Manifest = str | dict[str, Any] | list[dict[str, Any]]

KUBECONFIG_VARIABLES: Final = ("CACHEFLEET_TEST_KUBECONFIG", "KUBECONFIG")
DEADLINE_S: Final = 60.0
PAUSE_S: Final = 0.2
COMMAND_S: Final = 120.0

__all__ = ["WRITES", "Kube", "KubeError", "Request", "connect", "kube", "namespace"]


class KubeError(AssertionError):
    """kubectl or helm said no; the text is what it said, and `said` its standard output. Inside `wait_for` this means
    "not yet"."""

    def __init__(self, words: str, said: str = "") -> None:
        super().__init__(words)
        self.said = said


class Kube:
    """A cluster as one user sees it. `kubeconfig` may be handed to other programs."""

    def __init__(self, kubeconfig: Path, audit: Audit | None = None) -> None:
        self.kubeconfig = kubeconfig
        self._audit = audit
        self._programs = binaries.find()
        # kubectl remembers what an address serves, and the next cluster may have the same address.
        self._cache = tempfile.TemporaryDirectory(prefix="cachefleet-kubectl-")
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._cache.cleanup()

    # -- the two programs of users

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self._run("kubectl", arguments, stdin)

    def helm(self, *arguments: str, stdin: str = "") -> str:
        return self._run("helm", arguments, stdin)

    def environment(self) -> dict[str, str]:
        """For programs that a test starts itself: an operator, a script."""
        cache = self._cache.name
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": cache,
            "HELM_CACHE_HOME": cache,
            "HELM_CONFIG_HOME": cache,
            "HELM_DATA_HOME": cache,
            "PATH": f"{self._programs}:{os.environ.get('PATH', '')}",
        }

    def command(self, *arguments: str) -> list[str]:
        """Of kubectl, for what goes on while a test does; with `environment`."""
        return [str(self._programs / "kubectl"), *arguments]

    def _run(self, program: str, arguments: tuple[str, ...], stdin: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            input=stdin,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        if done.returncode:
            words = done.stderr.strip() or done.stdout.strip()
            raise KubeError(f"{program} {' '.join(arguments)}: {words}", done.stdout)
        return done.stdout

    # -- objects

    def apply(self, manifest: Manifest, *flags: str) -> str:
        """Server-side apply. YAML text, an object, or a list of objects."""
        return self.kubectl("apply", "--server-side", *flags, "-f", "-", stdin=_text(manifest))

    def refused(self, manifest: Manifest, *flags: str) -> str:
        """What the API server says against it; an AssertionError when it takes it."""
        try:
            taken = self.apply(manifest, *flags)
        except KubeError as error:
            return str(error)
        raise AssertionError(f"not refused: {taken}")

    def may(self, request: str, namespace: str, *flags: str) -> bool:
        """Whether the user may; `request` is as one says it to `kubectl auth can-i`. That nobody answers, or that there
        is no such resource, does not mean no: it is a KubeError."""
        try:
            self.kubectl("auth", "can-i", *request.split(), "-n", namespace, *flags)
        except KubeError as error:
            if error.said.strip() != "no" or "resource type" in str(error):
                raise
            return False
        return True

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        return self._json("get", kind, name, "-n", namespace)

    def find(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """None when there is none."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return dict(json.loads(text)) if text else None

    def list(self, kind: str, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        return list(self._json("get", kind, "-n", namespace, f"--selector={selector}")["items"])

    def patch(self, kind: str, name: str, namespace: str, change: dict[str, Any], *flags: str) -> None:
        """A JSON merge patch; `--subresource=status` is a flag."""
        self.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(change), *flags)

    def delete(self, kind: str, name: str, namespace: str = "default", *flags: str) -> None:
        self.kubectl("delete", kind, name, "-n", namespace, *flags)

    def _json(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl(*arguments, "-o", "json")))

    def wait_for(
        self, condition: Callable[[], T], message: str | Callable[[], str] = "", deadline_s: float = DEADLINE_S
    ) -> T:
        return assert_eventually(condition, message, deadline_s=deadline_s, pause_s=PAUSE_S)

    # -- users and namespaces

    @contextlib.contextmanager
    def new_namespace(self, prefix: str = "test") -> Iterator[str]:
        """Deleted, without waiting, at the end. Pods can be made in it at once."""
        name = f"{prefix}-{os.getpid()}-{next(self._numbers)}"
        self.kubectl("create", "namespace", name)
        self.wait_for(lambda: self.get("serviceaccount", "default", name))
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    @contextlib.contextmanager
    def as_service_account(self, namespace: str, name: str) -> Iterator[Kube]:
        """The cluster as that account sees it, with its rights; the audit log names it
        `system:serviceaccount:NAMESPACE:NAME`. Its kubeconfig is gone at the end."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=6h").strip()
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        cluster = view["clusters"][0]["cluster"]
        with tempfile.TemporaryDirectory(prefix="cachefleet-account-") as folder:
            path = Path(folder) / "kubeconfig"
            write_kubeconfig(path, cluster["server"], cluster["certificate-authority-data"], {"token": token})
            user = Kube(path, self._audit)
            try:
                yield user
            finally:
                user.close()

    # -- what requests cost

    @property
    def audit(self) -> Audit:
        """Marks and counts requests by user, agent and verb. Not every cluster lets us read its log."""
        if self._audit is None:
            raise RuntimeError(
                f"the audit log of this cluster is out of reach; unset {' and '.join(KUBECONFIG_VARIABLES)}"
            )
        return self._audit


def _text(manifest: Manifest) -> str:
    if isinstance(manifest, str):
        return manifest
    if isinstance(manifest, dict):
        return json.dumps(manifest)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifest})


@contextlib.contextmanager
def connect() -> Iterator[Kube]:
    """The cluster of the environment, or a control plane that lives as long as the block."""
    given = next((os.environ[name] for name in KUBECONFIG_VARIABLES if os.environ.get(name)), None)
    with contextlib.ExitStack() as stack:
        if given is None:
            plane = stack.enter_context(ControlPlane())
            cluster = Kube(plane.kubeconfig, plane.audit)
        else:
            folder = os.environ.get(CLUSTER_VARIABLE)
            cluster = Kube(Path(given), Audit(Path(folder) / "logs" / "audit.json") if folder else None)
        stack.callback(cluster.close)
        yield cluster


# -- fixtures


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    try:
        with connect() as cluster:
            yield cluster
    except machine.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    with kube.new_namespace() as name:
        yield name
