"""The network of a cluster: one bridge, a network namespace per node, a range of pod addresses per node.

    outside (tests, API server, DNS)   10.84.0.1      on the bridge
    node N                             10.84.0.(10+N) the other end of veth `vN`, default route to outside
    pods of node N                     10.85.N.0/24   routed to node N, by everybody
    Services                           10.96.0.0/16   rewritten by the kube-proxy of whoever connects

All of it is in the cluster's own network namespace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sandbox import run

BRIDGE: Final = "br0"
OUTSIDE: Final = "10.84.0.1"
PODS: Final = "10.85.0.0/16"
NODES_MAX: Final = 9


def node_name(index: int) -> str:
    return f"node{index}"


def node_address(index: int) -> str:
    return f"10.84.0.{10 + index}"


def node_pods(index: int) -> str:
    return f"10.85.{index}.0/24"


def node_link(index: int) -> str:
    """The bridge's end of the node's cable."""
    return f"v{index}"


def node_namespace(index: int) -> Path:
    return Path("/run/netns") / node_name(index)


def create(nodes: int, services: str) -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Without a route connect() fails before kube-proxy's rules can rewrite the address.
    run("ip", "route", "add", services, "dev", BRIDGE)
    for index in range(1, nodes + 1):
        _add_node(index, nodes)
        run("ip", "route", "add", node_pods(index), "via", node_address(index))


def _add_node(index: int, nodes: int) -> None:
    name, link = node_name(index), node_link(index)
    run("ip", "netns", "add", name)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", link, "master", BRIDGE, "up")
    inside = ("ip", "-n", name)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", f"{node_address(index)}/24", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "add", "default", "via", OUTSIDE)
    for other in range(1, nodes + 1):
        if other != index:
            run(*inside, "route", "add", node_pods(other), "via", node_address(other))
    run("nsenter", f"--net={node_namespace(index)}", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
