"""The pods fit Pod Security "restricted", by a checker of our own that is itself checked.

The rules are those of the Pod Security Standards; the real admission runs in the cluster tests.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from cachefleet_operator.api.objects import Object

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: Mapping[str, Any]) -> Iterator[str]:
    """What `restricted` (and `baseline`) would refuse in a PodSpec."""
    outer = pod.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield name
    for volume in pod.get("volumes", ()):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {kinds}"
    if outer.get("sysctls") or outer.get("windowsOptions", {}).get("hostProcess"):
        yield "sysctls"
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        own = container.get("securityContext", {})
        both = {**outer, **own}
        wrong = {
            "privileged": own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop": own.get("capabilities", {}).get("drop") != ["ALL"],
            "capabilities.add": set(own.get("capabilities", {}).get("add", ())) - {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is not True,
            "runAsUser": both.get("runAsUser") == 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "seLinuxOptions": both.get("seLinuxOptions"),
            "appArmorProfile": both.get("appArmorProfile", {}).get("type") == "Unconfined",
            "procMount": own.get("procMount", "Default") != "Default",
            "hostPort": any(port.get("hostPort") for port in container.get("ports", ())),
        }
        yield from (f"{container['name']}: {rule}" for rule, broken in wrong.items() if broken)


def pod_of(objects: tuple[Object, ...]) -> dict[str, Any]:
    (spec,) = (obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] == "StatefulSet")
    return copy.deepcopy(spec)


def test_pods_are_restricted(named: tuple[str, tuple[Object, ...]]) -> None:
    assert list(violations(pod_of(named[1]))) == []


def test_pods_are_more_than_restricted(named: tuple[str, tuple[Object, ...]]) -> None:
    pod = pod_of(named[1])
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [mount["name"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["data"]


def server(pod: dict[str, Any]) -> dict[str, Any]:
    return pod["containers"][0]["securityContext"]


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "volume x: {'hostPath'}": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "sysctls": lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "server: privileged": lambda pod: server(pod).update(privileged=True),
    "server: allowPrivilegeEscalation": lambda pod: server(pod).pop("allowPrivilegeEscalation"),
    "server: capabilities.drop": lambda pod: server(pod).pop("capabilities"),
    "server: capabilities.add": lambda pod: server(pod)["capabilities"].update(add=["SYS_ADMIN"]),
    "server: runAsNonRoot": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "server: runAsUser": lambda pod: server(pod).update(runAsUser=0),
    "server: seccompProfile": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "server: hostPort": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=6379),
}


@pytest.mark.parametrize("rule", BREAKS)
@pytest.mark.parametrize("named", ["default"], indirect=True)
def test_the_checker_notices(named: tuple[str, tuple[Object, ...]], rule: str) -> None:
    pod = pod_of(named[1])
    BREAKS[rule](pod)
    assert list(violations(pod)) == [rule]
