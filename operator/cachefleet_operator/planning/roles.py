"""Roles: each pod carries the role of its server as a label, by which Services find it."""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.planning.actions import LabelPod
from cachefleet_operator.planning.snapshot import ROLES, Snapshot
from cachefleet_operator.planning.step import Step


def step(snapshot: Snapshot) -> Step:
    actions = []
    for pod in snapshot.pods():
        name = pod["metadata"]["name"]
        server = snapshot.servers.get(name)
        role = ROLES.get(server.role, "") if server is not None and not server.error else ""
        if role and pod["metadata"].get("labels", {}).get(names.LABEL_ROLE) != role:
            actions.append(LabelPod(f"{name} is {role}", name, pod["metadata"]["uid"], {names.LABEL_ROLE: role}))
    return Step(tuple(actions))
