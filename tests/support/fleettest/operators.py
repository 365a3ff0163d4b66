"""Operators as processes against a real API server, with no more rights than the chart gives them.

    with grants(kube, namespace) as account:            a service account, with execution/kube/permissions.py
        with Operator(account, namespace) as operator:
            operator.metric("leader")

It looks at a Cache that is as it should be every STEADY_S of here: shorter than its own, so that tests wait less. One
of a release (`code`, a folder with its packages) is that release's own main, told nothing but settings: what faults
reach into is promised to nobody.
An operator looks after `namespaces` (by default its own alone; () = all, which needs `grants(..., everywhere=True)`).
It logs JSON to `log`. It dies with the test process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from cachefleet_operator.api.crd import crd
from cachefleet_operator.execution.kube import lease, permissions
from fleettest.instance import _die_with_parent, free_port
from fleettest.kube import Kube, Request
from fleettest.wait import assert_eventually

ROOT: Final = Path(__file__).resolve().parents[3]
ACCOUNT: Final = "cachefleet-operator"
PREFIX: Final = "cachefleet_operator_"
START_S: Final = 60.0
STEADY_S: Final = 5.0
# Where its package is, from which all of its modules come, and what it takes for its version.
ORIGINS: Final = """\
from importlib.metadata import distribution
from pathlib import Path
import cachefleet_operator
print(*[Path(path).parent for path in cachefleet_operator.__path__], sep="\\n")
print(distribution("cachefleet").locate_file(""))
"""


def install_crd(kube: Kube) -> None:
    kube.apply(dict(crd()))
    kube.kubectl("wait", "--for=condition=Established", "crd/caches.cachefleet.io", "--timeout=60s")


@contextlib.contextmanager
def grants(kube: Kube, namespace: str, *, everywhere: bool = False) -> Iterator[Kube]:
    """The cluster as an operator in `namespace` may see it; gone at the end, where it is cluster-wide."""
    kube.kubectl("create", "serviceaccount", ACCOUNT, "-n", namespace)
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    work, leading = permissions.rules(), permissions.lease_rules(lease.NAME)
    objects = _role("Role", f"{ACCOUNT}-lease", namespace, leading, subject)
    if everywhere:
        objects += _role("ClusterRole", f"{ACCOUNT}-{namespace}", "", work, subject)
    else:
        objects += _role("Role", ACCOUNT, namespace, work, subject)
    kube.apply(objects)
    try:
        with kube.as_service_account(namespace, ACCOUNT) as account:
            yield account
    finally:
        if everywhere:
            for kind in ("clusterrole", "clusterrolebinding"):
                kube.delete(kind, f"{ACCOUNT}-{namespace}", "default")


def _role(kind: str, name: str, namespace: str, rules: Any, subject: dict[str, str]) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    common = {"apiVersion": f"{group}/v1", "metadata": metadata}
    reference = {"apiGroup": group, "kind": kind, "name": name}
    return [
        {**common, "kind": kind, "rules": rules},
        {**common, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]},
    ]


def beyond_upkeep(requests: Iterable[Request]) -> set[tuple[str, str]]:
    """(verb, resource) of what an operator in steady state has no reason to ask: all but its watches, the renewals of
    its Lease, and the question, every two minutes, which kinds there are."""
    return {
        (r.verb, r.resource)
        for r in requests
        if r.verb != "watch" and (r.verb, r.resource) != ("update", "leases") and not r.resource.startswith("/apis/")
    }


class Ended(RuntimeError):
    """The process is no more."""


class Operator:
    """One operator process. `faults` are the variables of fleettest.operator_main."""

    def __init__(
        self,
        account: Kube,
        namespace: str,
        *,
        namespaces: tuple[str, ...] | None = None,
        name: str = "operator",
        faults: Mapping[str, str] | None = None,
        level: str = "info",
        steady_s: float = STEADY_S,
        settings: Mapping[str, str] | None = None,
        code: Path | None = None,
    ) -> None:
        """`settings` are a chart's variables, of which those are ours that say where it runs."""
        assert code is None or not faults
        self.name, self.namespace = name, namespace
        self._module = "fleettest.operator_main" if code is None else "cachefleet_operator"
        paths = (ROOT / "operator", ROOT / "tests" / "support") if code is None else (code,)
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="cachefleet-operator-")
        self.log = Path(self._folder.name) / "operator.log"
        watched = (namespace,) if namespaces is None else namespaces
        self._environment = {
            **account.environment(),
            **(settings or {}),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "POD_NAME": name,
            "POD_NAMESPACE": namespace,
            "CACHEFLEET_NAMESPACES": ",".join(watched),
            "CACHEFLEET_HTTP_HOST": "127.0.0.1",
            "CACHEFLEET_HTTP_PORT": str(self.port),
            "CACHEFLEET_LOG_LEVEL": level,
            "CACHEFLEET_PROBE_SINGLE_SECONDS": "1",
            "FAULT_STEADY_S": str(steady_s),
            **(faults or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Operator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- life

    def close(self) -> None:
        self.kill()
        # pytest shows it with a test that fails.
        sys.stderr.write(f"--- log of {self.name} ---\n{self.log_text()[-8000:]}\n")
        self._folder.cleanup()

    def spawn(self) -> Operator:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=self._environment, stdout=log, stderr=log, preexec_fn=_die_with_parent,
            )  # fmt: skip
        return self

    def start(self) -> Operator:
        """Returns when it knows all that there is."""
        self.spawn()
        return self.wait_ready()

    def wait_ready(self) -> Operator:
        assert_eventually(lambda: self.ready(), lambda: f"{self.name}\n{self.log_text()}", deadline_s=START_S)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, deadline_s: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(deadline_s)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self, deadline_s: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(deadline_s)

    def origins(self) -> set[Path]:
        """The folders that it is from: what Python finds for this process, asked of another like it."""
        command = [sys.executable, "-c", ORIGINS]
        done = subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True)
        return {Path(line) for line in done.stdout.splitlines()}

    # -- what it says

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """Its log; a line that is no JSON fails."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        return self.get("/readyz")[0] == 200

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name with these labels."""
        return sum(self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[float]:
        """The values of the series of that name with these labels. The end of the process ends a wait for them."""
        if self.process is not None and self.process.poll() is not None:
            raise Ended(f"{self.name} ended with {self.process.returncode}")
        text = self.get("/metrics")[1]
        return [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]

    def leads(self) -> bool:
        return self.metric("leader") == 1

    def rss_bytes(self) -> int:
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
