"""A hollow kubelet: runs the pods of Caches as processes, where a test's cluster has no nodes.

It makes of a pod what a kubelet would: its ConfigMap and Secret as files, its container's arguments with $(VARIABLES)
expanded, and a status with an address of its own in 127.84.0.0/16. The server is the real one. What it does not do:
images, probes (a pod is ready when its server answers), volumes that outlive the pod by themselves (a claim's folder is
kept by its name), and new versions of mounted files after 60 s (they are new at the next start).
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from base64 import b64decode
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from api import Api

from cachefleet_operator.api import names
from fleettest.instance import ROOT, _die_with_parent
from fleettest.kube import Kube

PAUSE_S: Final = 0.1
_NUMBERS = itertools.count(1)


class HollowKubelet:
    """Runs all pods of Caches in one namespace while its block lasts."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._api = Api(kube.kubeconfig, agent="hollow-kubelet")
        self._root = f"/api/v1/namespaces/{namespace}"
        self.folder = Path(tempfile.mkdtemp(prefix="cachefleet-hollow-"))
        self.pods: dict[str, _Pod] = {}  # by uid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hollow kubelet")
        self.errors: list[str] = []

    def __enter__(self) -> HollowKubelet:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for pod in self.pods.values():
            pod.kill()
            # pytest shows it with a test that fails.
            sys.stderr.write(f"--- log of {pod.name} ---\n{pod.log.read_text()[-4000:]}\n")
        shutil.rmtree(self.folder)
        if kind is None:
            assert not self.errors, self.errors

    def pod(self, name: str) -> _Pod:
        """The pod of that name that runs now."""
        (found,) = (pod for pod in self.pods.values() if pod.name == name)
        return found

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            try:
                self._sync()
            except OSError:  # ApiError is one.
                pass  # The API server is away; what runs goes on.
            except Exception as error:
                self.errors.append(repr(error))
                raise

    def _sync(self) -> None:
        found = self._api.get(f"{self._root}/pods?labelSelector={names.LABEL_CACHE}")["items"]
        there = {pod["metadata"]["uid"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}
        for uid in [uid for uid in self.pods if uid not in there]:
            self.pods.pop(uid).kill()
        for uid, body in there.items():
            if uid not in self.pods:
                self.pods[uid] = _Pod(self._api, self._root, body, self.folder)
            pod = self.pods[uid]
            if (status := pod.status()) != pod.told:
                self._api.patch(f"{self._root}/pods/{pod.name}/status", {"status": status})
                pod.told = status


class _Pod:
    """One server process and its files."""

    def __init__(self, api: Api, root: str, body: dict[str, Any], folder: Path) -> None:
        self.name = body["metadata"]["name"]
        self.told: dict[str, Any] = {}
        self.ip = f"127.84.{os.getpid() % 250 + 1}.{next(_NUMBERS) % 250 + 1}"
        self._container = next(c for c in body["spec"]["containers"] if c["name"] == names.CONTAINER)
        home = folder / body["metadata"]["uid"]
        data = folder / f"claim-{self.name}"
        data.mkdir(exist_ok=True)
        volumes = {volume["name"]: volume for volume in body["spec"]["volumes"]}
        config = api.get(f"{root}/configmaps/{volumes[names.VOLUME_CONFIG]['configMap']['name']}")
        secret = api.get(f"{root}/secrets/{volumes[names.VOLUME_AUTH]['secret']['secretName']}")
        self._write(home / "config", {k: v.encode() for k, v in config.get("data", {}).items()})
        self._write(home / "auth", {k: b64decode(v) for k, v in secret.get("data", {}).items()})
        environment = {v["name"]: v.get("value", "") for v in self._container["env"]}
        environment |= {
            names.ENV_CONFIG: str(home / "config"),
            names.ENV_AUTH: str(home / "auth"),
            names.ENV_DATA: str(data),
            names.ENV_BIND: self.ip,
            names.ENV_METRICS_BIND: self.ip,
        }
        arguments = [_expand(word, environment) for word in self._container["args"]]
        self.log = home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cachefleet_server", *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT / "server"), **environment},
                stdout=log, stderr=log, preexec_fn=_die_with_parent,
            )  # fmt: skip

    @staticmethod
    def _write(folder: Path, files: dict[str, bytes]) -> None:
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def status(self) -> dict[str, Any]:
        ready, state = self._answers(), self.process.poll()
        container: dict[str, Any] = {
            "name": names.CONTAINER, "ready": ready, "restartCount": 0, "image": self._container["image"],
            "imageID": "", "state": {"running": {}},
        }  # fmt: skip
        if state is not None:
            container["state"] = {"terminated": {"exitCode": state, "message": self.log.read_text()[-1000:]}}
        return {
            "phase": "Running",
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
            "containerStatuses": [container],
        }

    def _answers(self) -> bool:
        try:
            url = f"http://{self.ip}:{names.METRICS_PORT}{names.READINESS_PATH}"
            with urllib.request.urlopen(url, timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


def _expand(word: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], word)
