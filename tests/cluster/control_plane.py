"""Tier 1: etcd, API server and controllers without any node. No root, no containers, ready in about three seconds.

Everything that happens in the API is real: validation with CEL, server-side apply, RBAC, garbage collection by
ownerReferences, the controllers of StatefulSets, Deployments, PodDisruptionBudgets. Pods stay Pending.

    with ControlPlane() as plane:            its own folder, free ports on loopback, gone at the end
        plane.kubeconfig, plane.audit

Tier 2 (`cluster.py`) uses the same class with fixed addresses in its own network, and adds a scheduler and nodes.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

import audit
import binaries
import machine
import pki
from api import Api
from component import Component

from fleettest.instance import free_port

SERVICES: Final = "10.96.0.0/16"
SERVER_NAMES: Final = "IP:10.96.0.1,IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
# Kubernetes waits five minutes before it gives up the pods of a node that is away. A scenario cannot.
NODE_AWAY_S: Final = 15
NODE_SILENT_S: Final = 20


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the API server and etcd listen. `advertise` is the address that pods reach; none without nodes."""

    api_port: int
    etcd_port: int
    advertise: str = ""

    @classmethod
    def on_loopback(cls) -> Place:
        return cls(api_port=free_port(), etcd_port=free_port())

    @property
    def server(self) -> str:
        return f"https://{self.advertise or '127.0.0.1'}:{self.api_port}"


class ControlPlane:
    """The processes of one control plane and their folder. `place` and `folder` are its own unless given."""

    def __init__(self, folder: Path | None = None, place: Place | None = None, *, detached: bool = False) -> None:
        machine.need(*machine.CONTROL_PLANE)
        self.programs = binaries.find()
        self._owns_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="cachefleet-kube-"))
        self.place = place or Place.on_loopback()
        self.detached = detached
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.audit = audit.Audit(self.folder / "logs" / "audit.json")
        self.started: list[Component] = []

    def __enter__(self) -> ControlPlane:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> ControlPlane:
        """Raises `StartError` when a component does not come up; the folder then stays, for its logs."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self.authority = pki.Authority(self.folder / "pki")
        (self.folder / "audit-policy.json").write_text(json.dumps(audit.POLICY))
        self._component("etcd", *self._etcd())
        server = self._component("kube-apiserver", *self._apiserver())
        self.authority.kubeconfig(self.kubeconfig, self.place.server, pki.ADMIN)
        api = Api(self.kubeconfig)
        server.wait_ready(api.ready)
        controllers = self._component("kube-controller-manager", *self._controllers())
        # A namespace can hold pods from the moment its account is there: the controllers work.
        controllers.wait_ready(lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"))

    def start_scheduler(self) -> None:
        self._component("kube-scheduler", *self._client("kube-scheduler"), "--leader-elect=false", "--secure-port=0")

    def stop(self) -> None:
        """Kills; nothing of a test's cluster is worth an orderly end."""
        for component in reversed(self.started):
            component.stop(9)
        self.started.clear()

    def close(self) -> None:
        self.stop()
        if self._owns_folder:
            shutil.rmtree(self.folder)

    def _component(self, name: str, *arguments: str) -> Component:
        component = Component(self.folder, name, [str(self.programs / name), *arguments], detached=self.detached)
        self.started.append(component)
        return component.start()

    def _etcd(self) -> list[str]:
        client = f"http://127.0.0.1:{self.place.etcd_port}"
        peer = "http://127.0.0.1:0"  # there is none; the port is whatever is free
        return [
            f"--data-dir={self.folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _apiserver(self) -> list[str]:
        keys, advertise = self.authority.folder, self.place.advertise
        names = f"{SERVER_NAMES},IP:{advertise}" if advertise else SERVER_NAMES
        certificate, key = self.authority.issue("kube-apiserver", "/CN=kube-apiserver", names)
        to_kubelet, to_kubelet_key = self.authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver")
        if advertise:
            reach = [f"--advertise-address={advertise}", "--bind-address=0.0.0.0"]
        else:
            # The address is nobody's to use, but without one the server looks for a default route and ends.
            nowhere = ["--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]
            reach = ["--bind-address=127.0.0.1", *nowhere]
        return [
            *reach,
            f"--secure-port={self.place.api_port}",
            f"--etcd-servers=http://127.0.0.1:{self.place.etcd_port}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--cert-dir={keys}",
            f"--client-ca-file={self.authority.certificate}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--kubelet-client-certificate={to_kubelet}",
            f"--kubelet-client-key={to_kubelet_key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={self.authority.service_account_key}",
            f"--service-account-signing-key-file={self.authority.service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            f"--default-not-ready-toleration-seconds={NODE_AWAY_S}",
            f"--default-unreachable-toleration-seconds={NODE_AWAY_S}",
            f"--audit-log-path={self.audit.log}",
            "--audit-log-maxsize=100000",  # megabytes: never another file
            f"--audit-policy-file={self.folder}/audit-policy.json",
        ]

    def _controllers(self) -> list[str]:
        return [
            *self._client("kube-controller-manager"),
            "--use-service-account-credentials",
            f"--root-ca-file={self.authority.certificate}",
            f"--service-account-private-key-file={self.authority.service_account_key}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--node-monitor-grace-period={NODE_SILENT_S}s",
            "--node-monitor-period=2s",
            "--pvclaimbinder-sync-period=1s",
            "--horizontal-pod-autoscaler-sync-period=1s",
            # The default of 20 requests a second would be what a test with hundreds of objects measures.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]

    def _client(self, name: str) -> list[str]:
        path = self.folder / f"{name}.kubeconfig"
        self.authority.kubeconfig(path, self.place.server, f"/CN=system:{name}")
        return [f"--kubeconfig={path}"]
