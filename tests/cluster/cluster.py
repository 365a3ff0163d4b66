"""Tier 2: a Kubernetes with nodes and real containers, around one command.

    python tests/cluster/cluster.py [--nodes 2] [--images a.tar,b.tar] -- COMMAND

The command runs inside the cluster's namespaces, where it reaches Services and pods by name and address. It finds
KUBECONFIG, kubectl and helm in PATH, and CACHEFLEET_CLUSTER, the folder that `faults` and `fleettest.kube` read. Its
exit code is this program's. When it ends everything ends: process 1 of the namespaces is this script, and it has
no other purpose than to start things, reap what nobody waits for, and end. After a failure the logs stay; the last line
says where.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import binaries  # noqa: E402
import images  # noqa: E402
import machine  # noqa: E402
import network  # noqa: E402
import provisioner  # noqa: E402
import sandbox  # noqa: E402
from api import Api  # noqa: E402
from component import Component, StartError  # noqa: E402
from control_plane import SERVICES, ControlPlane, Place  # noqa: E402
from faults import VARIABLE  # noqa: E402
from node import Node, proxy_config  # noqa: E402
from pki import ADMIN  # noqa: E402

COREFILE: Final = """\
.:53 {{
  errors
  ready 127.0.0.1:8181
  cache 1
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
"""
START_FAILED: Final = 70  # EX_SOFTWARE; COMMAND never ran


class Cluster:
    """Inside: starts everything. `archives` are loaded on each node."""

    def __init__(self, folder: Path, nodes: int, archives: Sequence[Path]) -> None:
        self.folder = folder
        self.nodes = [Node(folder, index) for index in range(1, nodes + 1)]
        self.archives = archives
        self.programs = binaries.find()
        place = Place(api_port=6443, etcd_port=2379, advertise=network.OUTSIDE)
        self.plane = ControlPlane(folder, place, detached=True)

    def start(self) -> None:
        sandbox.isolate(self.folder)
        network.create(len(self.nodes), SERVICES)
        with ThreadPoolExecutor() as pool:
            loaded = [pool.submit(self._containers, node) for node in self.nodes]
            self.plane.start()
            api = Api(self.plane.kubeconfig)
            self.plane.start_scheduler()
            self._dns()
            self._volumes(api)
            for images_of_node in loaded:
                images_of_node.result()
        for node in self.nodes:
            node.start_kubelet(self.programs, self.plane.authority, self.plane.place.server)
        kubeconfig = self._client("kube-proxy", "/CN=system:kube-proxy")
        for node in self.nodes:
            node.component("kubelet").wait_ready(partial(node_conditions, api, node.name))
            node.start_proxy(self.programs, kubeconfig)
        self._outside_proxy(kubeconfig)
        for node in self.nodes:
            node.component("kubelet").wait_ready(partial(node_ready, api, node.name))

    def _containers(self, node: Node) -> None:
        node.start_containerd()
        for archive in self.archives:
            node.load_image(archive)

    def _dns(self) -> None:
        corefile = self.folder / "Corefile"
        corefile.write_text(COREFILE.format(kubeconfig=self._client("coredns", ADMIN)))
        dns = self._component("coredns", str(self.programs / "coredns"), "-conf", str(corefile))
        sandbox.use_nameserver(network.OUTSIDE)
        dns.wait_ready(lambda: urllib.request.urlopen("http://127.0.0.1:8181/ready", timeout=5).status == 200)

    def _volumes(self, api: Api) -> None:
        provisioner.create_classes(api)
        kubeconfig = self._client("provisioner", "/O=system:masters/CN=provisioner")
        script = [sys.executable, provisioner.__file__, str(kubeconfig), str(self.folder / "volumes")]
        self._component("provisioner", *script)

    def _outside_proxy(self, kubeconfig: Path) -> None:
        config = self.folder / "kube-proxy.json"
        config.write_text(json.dumps(proxy_config(kubeconfig, self.nodes[0].name)))
        self._component("kube-proxy", str(self.programs / "kube-proxy"), f"--config={config}")

    def _client(self, name: str, subject: str) -> Path:
        path = self.folder / f"{name}.kubeconfig"
        return self.plane.authority.kubeconfig(path, self.plane.place.server, subject)

    def _component(self, name: str, *argv: str) -> Component:
        return Component(self.folder, name, argv, detached=True).start()


def node_conditions(api: Api, name: str) -> dict[str, str]:
    return {c["type"]: c["status"] for c in api.get(f"/api/v1/nodes/{name}")["status"]["conditions"]}


def node_ready(api: Api, name: str) -> bool:
    return node_conditions(api, name).get("Ready") == "True"


def inside(folder: Path, nodes: int, archives: Sequence[Path], command: Sequence[str]) -> int:
    """Process 1."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    began = time.monotonic()
    cluster = Cluster(folder, nodes, archives)
    try:
        cluster.start()
    except (StartError, RuntimeError, AssertionError) as error:
        print(f"the cluster does not start: {error}", file=sys.stderr)
        return START_FAILED
    print(f"cluster with {nodes} nodes after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    environment = {
        **os.environ,
        VARIABLE: str(folder),
        "KUBECONFIG": str(cluster.plane.kubeconfig),
        "KUBECACHEDIR": str(folder / "kubectl"),  # the user's own would be of another cluster with this address
        "PATH": f"{cluster.programs}:{machine.search_path()}",
    }
    try:
        pid = os.posix_spawnp(command[0], list(command), environment, setsigdef=[signal.SIGINT])
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return START_FAILED
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            _end_all()
            return os.waitstatus_to_exitcode(status)


def _end_all() -> None:
    """And waits for each, so that what all in here cost is found in the costs of this process. Orphans become children
    of process 1."""
    while children := [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]:
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        for _ in children:
            os.wait()


def outside(nodes: int, archives: Sequence[Path], command: Sequence[str]) -> int:
    machine.need_root("A cluster with nodes")
    machine.need(*machine.NODES, cni=True)
    binaries.build()
    every = [images.pause(), *archives]
    folder = Path(tempfile.mkdtemp(prefix="cachefleet-kube-"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    words = [f"--inside={folder}", f"--nodes={nodes}", f"--images={','.join(str(path) for path in every)}"]
    code = 1
    try:
        code = sandbox.run_inside([sys.executable, __file__, *words, "--", *command])
        if code:
            print(f"the logs of all components: {keep_logs(folder)}", file=sys.stderr)
    finally:
        sandbox.remove(folder)
    return code


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def keep_logs(folder: Path) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="cachefleet-logs-"))
    shutil.copytree(folder / "logs", kept, dirs_exist_ok=True, symlinks=True)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs COMMAND inside a Kubernetes cluster of its own.")
    parser.add_argument("--nodes", type=int, default=2, choices=range(1, network.NODES_MAX + 1), metavar="N")
    parser.add_argument("--images", default="", help="archives of images, separated by commas, for every node")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args()
    archives = [Path(name).resolve() for name in arguments.images.split(",") if name]
    for archive in archives:
        if not archive.is_file():
            parser.error(f"no image archive {archive}")
    if arguments.inside:
        return inside(arguments.inside, arguments.nodes, archives, arguments.command)
    return outside(arguments.nodes, archives, arguments.command)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except machine.Missing as missing:
        sys.exit(str(missing))
