"""What can go wrong in a cluster, done for real. For tests that run inside one (`cluster.py`).

    nodes()                         the nodes, by name
    stopped("kube-apiserver")       a component is away during the block: etcd, coredns, kubelet-node1 ...
    partitioned(node)               its cable is pulled during the block; NotReady after some 20 s, containers run on
    kill_node(node), start_node     power loss: everything of it is killed; and power on
    signal_container(pod, ...)      SIGKILL, SIGSTOP, SIGCONT ... to a container's first process
    empty(pod, container, folder)   what it has in a folder is gone, whatever is mounted there
    cut_off(pod, container)         no packet reaches it or leaves it during the block; inside it goes on
    enter(pod, container)           this thread is in the pod's network from now on
    slow_link(node, rate)           its cable carries no more than `rate`, in both directions, during the block
    lossy_link(node, percent)       its cable loses 1 to 100 % of packets, in both directions, during the block

Latency is missing because netem is a module that many kernels lack; tbf and nftables are everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import network
from component import Component, process_exists
from node import PROGRAMS, Node
from sandbox import run

from fleettest.wait import assert_eventually

VARIABLE: Final = "CACHEFLEET_CLUSTER"
CLONE_NEWNET: Final = 0x40000000


def cluster_folder() -> Path:
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise RuntimeError(f"not inside a cluster with nodes: run this with tests/cluster/cluster.py ({VARIABLE})")
    return Path(folder)


def nodes() -> dict[str, Node]:
    folder = cluster_folder()
    found = [Node(folder, index) for index in range(1, network.NODES_MAX + 1)]
    return {node.name: node for node in found if node.home.exists()}


@contextlib.contextmanager
def stopped(component: str, number: int = SIGKILL) -> Iterator[None]:
    """The component is killed, and started with the same command line at the end."""
    process = Component.load(cluster_folder(), component)
    process.stop(number)
    try:
        yield
    finally:
        process.start()


@contextlib.contextmanager
def partitioned(node: Node) -> Iterator[None]:
    run("ip", "link", "set", network.node_link(node.index), "down")
    try:
        yield
    finally:
        run("ip", "link", "set", network.node_link(node.index), "up")


def kill_node(node: Node) -> None:
    """Returns when no process of the node is left."""
    for program in PROGRAMS:
        node.component(program).stop(SIGKILL)

    def gone() -> bool:
        pids = [*node.shim_pids(), *node.container_pids()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        return not any(process_exists(pid) for pid in pids)

    assert_eventually(gone, f"processes of {node.name} are killed")


def start_node(node: Node) -> None:
    node.socket.unlink(missing_ok=True)  # of the containerd that was killed
    for program in PROGRAMS:
        node.component(program).start()
        if program == "containerd":
            node.wait_for_containerd()


def container_pids(pod: dict[str, Any], container: str) -> list[int]:
    """Of a running container of a pod (as `kubectl get -o json` gives it); the first process comes first."""
    statuses = {status["name"]: status for status in pod["status"]["containerStatuses"]}
    identity = statuses[container]["containerID"].rpartition("/")[2]
    pids = nodes()[pod["spec"]["nodeName"]].container_pids(identity)
    assert pids, f"container {container} of {pod['metadata']['name']} has no process"
    return pids


def signal_container(pod: dict[str, Any], container: str, number: int) -> None:
    """SIGKILL ends the container; SIGSTOP freezes its first process: probes fail, nothing exits."""
    os.kill(container_pids(pod, container)[0], number)


def empty(pod: dict[str, Any], container: str, folder: str) -> None:
    """As a disk that was lost; a server that runs on may notice."""
    for path in Path(f"/proc/{container_pids(pod, container)[0]}/root{folder}").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def cut_off(pod: dict[str, Any], container: str) -> Iterator[None]:
    """The kubelet's probes fail, too; what runs in it reaches itself."""
    with _dropping(_network_of(pod, container), "cut", "drop"):
        yield


def enter(pod: dict[str, Any], container: str) -> None:
    """For a thread that has no other purpose: there is no way back."""
    with open(_network_of(pod, container)) as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def _network_of(pod: dict[str, Any], container: str) -> Path:
    return Path(f"/proc/{container_pids(pod, container)[0]}/ns/net")


@contextlib.contextmanager
def slow_link(node: Node, rate: str) -> Iterator[None]:
    """`rate` as tc writes it: 1mbit, 64kbit."""
    link = network.node_link(node.index)
    inside = ("nsenter", f"--net={network.node_namespace(node.index)}")
    shape = ("root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
    run("tc", "qdisc", "add", "dev", link, *shape)
    try:
        run(*inside, "tc", "qdisc", "add", "dev", "eth0", *shape)
        yield
    finally:
        run("tc", "qdisc", "del", "dev", link, "root")
        run(*inside, "tc", "qdisc", "del", "dev", "eth0", "root")


@contextlib.contextmanager
def lossy_link(node: Node, percent: int) -> Iterator[None]:
    with _dropping(network.node_namespace(node.index), "loss", f"numgen random mod 100 <= {percent - 1} drop"):
        yield


@contextlib.contextmanager
def _dropping(namespace: Path, table: str, drop: str) -> Iterator[None]:
    """`drop` for whatever passes eth0 of that network namespace."""
    nft = ("nsenter", f"--net={namespace}", "nft")
    come = f"chain come {{ type filter hook prerouting priority raw; iifname eth0 {drop}; }}"
    go = f"chain go {{ type filter hook postrouting priority 300; oifname eth0 {drop}; }}"
    run(*nft, f"table ip {table} {{\n{come}\n{go}\n}}")
    try:
        yield
    finally:
        run(*nft, f"delete table ip {table}")
