"""A node: containerd, kubelet and kube-proxy in a network namespace of their own, with real containers.

A `Node` is a name for files and addresses that follow from the cluster's folder and its number, so any process inside
the cluster can make one. Its programs are entered with nsenter and not with `ip netns exec`, which hides the cgroup
mounts, without which kubelet ends. All processes of a node's containers are in the cgroup `Node.cgroup`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Final

import machine
import network
from component import Component
from images import PAUSE
from pki import Authority
from sandbox import make_cgroup, run

PROGRAMS: Final = ("containerd", "kubelet", "kube-proxy")
NEVER_EVICT: Final = {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"}

CONTAINERD: Final = """\
version = 2
root = "{home}/containerd"
state = "{home}/containerd-state"
# It makes /opt/containerd on the machine.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{home}/cni"
"""


@dataclasses.dataclass(frozen=True)
class Node:
    """Node `index` (from 1) of the cluster in `folder`."""

    folder: Path
    index: int

    @property
    def name(self) -> str:
        return network.node_name(self.index)

    @property
    def home(self) -> Path:
        return self.folder / self.name

    @property
    def socket(self) -> Path:
        return self.home / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """In every tree of /sys/fs/cgroup."""
        return f"{self.folder.name}/{self.name}"

    def component(self, program: str) -> Component:
        """One of PROGRAMS, started earlier."""
        return Component.load(self.folder, f"{program}-{self.name}")

    # -- start

    def start_containerd(self) -> None:
        self.home.mkdir()
        (self.home / "cni").mkdir()
        # Images and what containers write outside volumes: in memory, 30 s faster to fill and to remove than on disk.
        (self.home / "containerd").mkdir()
        run("mount", "-t", "tmpfs", "images", self.home / "containerd")
        (self.home / "cni" / "pods.conflist").write_text(json.dumps(self._cni()))
        config = self.home / "containerd.toml"
        config.write_text(CONTAINERD.format(home=self.home, socket=self.socket, pause=PAUSE, cni=machine.CNI))
        self._start("containerd", "containerd", "--config", str(config))
        self.wait_for_containerd()

    def wait_for_containerd(self) -> None:
        """A kubelet that does not find it ends."""
        self.component("containerd").wait_ready(lambda: self.socket.exists() and run(*self._ctr(), "version"))

    def load_image(self, archive: Path) -> None:
        """An image as `images` makes them; pods with imagePullPolicy IfNotPresent or Never can use it."""
        run(*self._ctr(), "-n", "k8s.io", "images", "import", archive)

    def start_kubelet(self, programs: Path, authority: Authority, server: str) -> None:
        make_cgroup(self.cgroup)
        subject = f"/O=system:nodes/CN=system:node:{self.name}"
        kubeconfig = authority.kubeconfig(self.home / f"{self.name}.kubeconfig", server, subject)
        config = self._write("kubelet.json", self._kubelet(authority))
        self._start(
            "kubelet",
            str(programs / "kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={self.home}/kubelet",
            f"--hostname-override={self.name}",
            f"--node-ip={network.node_address(self.index)}",
            f"--containerd={self.socket}",  # where its cAdvisor finds the names of containers
        )

    def start_proxy(self, programs: Path, kubeconfig: Path) -> None:
        config = self._write("kube-proxy.json", proxy_config(kubeconfig, self.name))
        self._start("kube-proxy", str(programs / "kube-proxy"), f"--config={config}")

    def _start(self, program: str, *argv: str) -> Component:
        enter = ["nsenter", f"--net={network.node_namespace(self.index)}"]
        return Component(self.folder, f"{program}-{self.name}", [*enter, *argv], detached=True).start()

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = self.home / name
        path.write_text(json.dumps(config))
        return path

    def _ctr(self) -> list[str]:
        return ["ctr", "-a", str(self.socket)]

    # -- what is inside

    def container_pids(self, container: str = "") -> list[int]:
        """Processes of a container (its id), or of all containers of the node; the first process comes first."""
        inside = re.compile(f"/{re.escape(self.cgroup)}/.*{re.escape(container)}")
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    groups = (folder / "cgroup").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if inside.search(groups):
                    found.append(int(folder.name))
        return sorted(found)

    def shim_pids(self) -> list[int]:
        """The processes that hold the containers for containerd; they outlive it."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if words[0].endswith(b"containerd-shim-runc-v2") and str(self.socket).encode() in words:
                    found.append(int(folder.name))
        return found

    # -- configuration

    def _cni(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "dataDir": f"{self.home}/addresses",
            "ranges": [[{"subnet": network.node_pods(self.index)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}

    def _kubelet(self, authority: Authority) -> dict[str, Any]:
        resolv = self.home / "resolv.conf"
        resolv.write_text("")  # names outside the cluster lead nowhere
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(authority.certificate)}},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "clusterDNS": [network.OUTSIDE],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolv),
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "enforceNodeAllocatable": [],
            "cgroupRoot": f"/{self.cgroup}",
            "failSwapOn": False,
            "evictionHard": NEVER_EVICT,
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            "volumeStatsAggPeriod": "5s",
            "podLogsDir": f"{self.folder}/logs/pods-{self.name}",
            "volumePluginDir": f"{self.home}/plugins",
        }


def proxy_config(kubeconfig: Path, node: str) -> dict[str, Any]:
    """kube-proxy waits half a minute for its node, so `node` must exist."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "nftables",
        "clusterCIDR": network.PODS,
        "hostnameOverride": node,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
