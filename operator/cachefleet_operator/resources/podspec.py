"""The pod template: one container, `server`, under the rules of Pod Security "restricted".

Nothing in it may depend on what a running server can take over, nor on the operator's version: any change of it is a
restart of every pod. So it has from the start what hand-over, TLS and sharding will need: the pod's own identity and
token, names for ports on which nobody listens yet, time to hand over. What a later operator must change all the same is
a new row of GENERATIONS, and planning/template.py says which Cache has which. What CONFIG SET can change is in the
ConfigMap, persistence can go from snapshot to aof without a restart, and the times below follow the memory limit and
not the mode.

The arguments name folders and ports by variables ($(SERVER_PORT) ...), which the kubelet expands from the container's
own environment; the local backend gives them other values.

Probes ask the server about itself only, never about others. /healthz answers while data is being read, so that no disk
is slow enough to have a loading server killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.known import Known
from cachefleet_operator.api.objects import NO_DEFAULTS, Defaults
from cachefleet_operator.api.quantity import parse, to_bytes
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.configmap import restart_annotation
from cachefleet_operator.resources.merge import strategic_merge

USER = 65532  # the image's; any other that is not root works, for the pod writes to its volume alone
EVERY_ADDRESS = "* -::*"  # IPv4, and IPv6 where the node has it; the other way round where it has only that
CPU_REQUEST = "100m"  # an idle server needs a hundredth of it, a small busy one about this
DISK_BYTES_S = 8 << 20  # a slow network volume; faster ones are only done sooner

# Starting: what must be over before /healthz is asked seriously. Data of the memory limit's size may be read meanwhile.
START_S = 60
# A server that does not answer for two minutes hangs. Shorter stalls are disks and neighbours, and a kill costs more.
LIVENESS_PERIOD_S, LIVENESS_FAILURES = 10, 12
READINESS_PERIOD_S, READINESS_FAILURES = 2, 3
PROBE_TIMEOUT_S = 5

# Stopping: preStop saves and lets clients leave, then SIGTERM has the server save once more, with what came meanwhile.
HANDOVER_S = 10  # until another pod is the primary
DRAIN_S = 5  # until a Service's endpoints have changed everywhere, and pools have noticed
STOP_S = 30  # the rest: closing files, a busy node
GRACE_S_MAX = 3600  # drains of whole nodes give up after an hour, too

NODE, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NODE_WEIGHT, ZONE_WEIGHT = 50, 100  # a zone's end takes all of its nodes

Fields = dict[str, Any]

_PORTS = {
    names.PORT_NAME: names.PORT,
    names.TLS_PORT_NAME: names.TLS_PORT,
    names.BUS_PORT_NAME: names.BUS_PORT,
    names.METRICS_PORT_NAME: names.METRICS_PORT,
}
# As in a pod with an automatic token. The certificate may be missing: no server waits for it.
_TOKEN: list[Fields] = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
    {
        "configMap": {
            "name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}], "optional": True
        }
    },
]


def pod_template(
    cache: Cache, image: str, defaults: Defaults = NO_DEFAULTS, generation: int = 0, known: Known | None = None
) -> Fields:
    """As that generation has it; 0 is the newest. `known` as in resources/configmap.py."""
    build = GENERATIONS[generation] if generation else GENERATIONS[max(GENERATIONS)]
    override = cache.spec.pod_template
    given = {**defaults.labels, **override.labels}
    labels = {name: value for name, value in given.items() if name not in (names.LABEL_ROLE, names.LABEL_READS)}
    base = {**build(cache, image), **_platform(defaults, override.spec)}
    return {
        "metadata": {
            "labels": {**labels, **names.labels(cache.metadata.name), **names.shard_labels(cache.metadata.name)},
            "annotations": {**override.annotations, names.ANNOTATION_RESTART: restart_annotation(cache, known)},
        },
        "spec": strategic_merge(base, override.spec),
    }


def _platform(defaults: Defaults, override: Mapping[str, Any]) -> Fields:
    """What the platform says of pods. Lists merge, so a Cache that names pull secrets of its own gets no others."""
    found: Fields = {"securityContext": _security_context(fixed_user=defaults.fixed_user)}
    if defaults.priority_class:
        found["priorityClassName"] = defaults.priority_class
    if defaults.image_pull_secrets and "imagePullSecrets" not in override:
        found["imagePullSecrets"] = [{"name": name} for name in defaults.image_pull_secrets]
    return found


def _security_context(*, fixed_user: bool) -> Fields:
    """Without a fixed user admission gives one, and a group for the volume (OpenShift's restricted-v2)."""
    return {
        "runAsNonRoot": True,
        **({"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER} if fixed_user else {}),
        "fsGroupChangePolicy": "OnRootMismatch",  # a volume of a million files is not walked at each start
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def disk_seconds(cache: Cache) -> int:
    """How long a slow disk takes for as much data as fits."""
    return -(-to_bytes(cache.spec.memory.limit) // DISK_BYTES_S)


def save_seconds(cache: Cache) -> int:
    """How long one of the two last snapshots may take."""
    return min(disk_seconds(cache), (GRACE_S_MAX - HANDOVER_S - DRAIN_S - STOP_S) // 2)


def grace_seconds(cache: Cache) -> int:
    return HANDOVER_S + DRAIN_S + 2 * save_seconds(cache) + STOP_S


def _pod_spec(cache: Cache, image: str) -> Fields:
    return {
        "serviceAccountName": cache.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(cache),
        **_spread(cache),
        "containers": [_server(cache, image)],
        "volumes": _volumes(cache),
    }


def _spread(cache: Cache) -> Fields:
    """Away from the shard's other pods. Preferences are one list, which a user's own replaces as a whole; constraints
    of one key would be merged into each other."""
    wished = cache.spec.spread
    pods = {"labelSelector": {"matchLabels": names.shard_labels(cache.metadata.name)}}
    apart: Fields = {}
    if wished.nodes == "required":
        apart["requiredDuringSchedulingIgnoredDuringExecution"] = [{"topologyKey": NODE, **pods}]
    wishes = ((wished.nodes, NODE, NODE_WEIGHT), (wished.zones, ZONE, ZONE_WEIGHT))
    if preferred := [
        {"weight": weight, "podAffinityTerm": {"topologyKey": key, **pods}}
        for wish, key, weight in wishes
        if wish == "preferred"
    ]:
        apart["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    evenly = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", **pods}
    return {
        **({"affinity": {"podAntiAffinity": apart}} if apart else {}),
        **({"topologySpreadConstraints": [evenly]} if wished.zones == "required" else {}),
    }


def _server(cache: Cache, image: str) -> Fields:
    return {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cachefleet-server"],
        "args": [
            f"$({names.ENV_CONFIG})/{names.CONFIG_FILE}",
            *("--port", f"$({names.ENV_PORT})"),
            *("--bind", f"$({names.ENV_BIND})"),
            *("--dir", f"$({names.ENV_DATA})"),
            *("--metrics-port", f"$({names.ENV_METRICS_PORT})"),
            *("--metrics-bind", f"$({names.ENV_METRICS_BIND})"),
            *("--requirepass-file", f"$({names.ENV_AUTH})/{names.PASSWORD_KEY}"),
        ],
        "env": [
            *({"name": name, "value": value} for name, value in _environment().items()),
            *({"name": n, "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in names.ENV_OF_POD.items()),
        ],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in _PORTS.items()],
        "resources": _resources(cache),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": names.VOLUME_AUTH, "mountPath": names.MOUNTS[names.VOLUME_AUTH], "readOnly": True},
            {"name": names.VOLUME_CONFIG, "mountPath": names.MOUNTS[names.VOLUME_CONFIG], "readOnly": True},
            {"name": names.VOLUME_DATA, "mountPath": names.MOUNTS[names.VOLUME_DATA]},
            {"name": names.VOLUME_TOKEN, "mountPath": names.MOUNTS[names.VOLUME_TOKEN], "readOnly": True},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",  # so that status can say why it would not start
        "lifecycle": {"preStop": {"exec": {"command": _pre_stop(cache)}}},
        **_probes(cache),
    }


def _environment() -> dict[str, str]:
    return {
        names.ENV_CONFIG: names.MOUNTS[names.VOLUME_CONFIG],
        names.ENV_DATA: names.MOUNTS[names.VOLUME_DATA],
        names.ENV_AUTH: names.MOUNTS[names.VOLUME_AUTH],
        names.ENV_TOKEN: names.MOUNTS[names.VOLUME_TOKEN],
        names.ENV_BIND: EVERY_ADDRESS,
        names.ENV_PORT: str(names.PORT),
        names.ENV_METRICS_BIND: "",  # every address
        names.ENV_METRICS_PORT: str(names.METRICS_PORT),
    }


def _pre_stop(cache: Cache) -> list[str]:
    """`python3` is the one beside `cachefleet-server`: both are found by the image's PATH."""
    bounds = ["--save-seconds", str(save_seconds(cache)), "--drain-seconds", str(DRAIN_S)]
    return ["python3", "-m", "cachefleet_server.prestop", *bounds]


def _probes(cache: Cache) -> Fields:
    return {
        "startupProbe": _probe("/healthz", 1, START_S + disk_seconds(cache)),
        "livenessProbe": _probe("/healthz", LIVENESS_PERIOD_S, LIVENESS_FAILURES),
        "readinessProbe": _probe(names.READINESS_PATH, READINESS_PERIOD_S, READINESS_FAILURES),
    }


def _probe(path: str, period_s: int, failures: int) -> Fields:
    return {
        "httpGet": {"path": path, "port": names.METRICS_PORT_NAME},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": PROBE_TIMEOUT_S,
    }


def _resources(cache: Cache) -> Fields:
    wished = cache.spec.resources
    limits = {**wished.limits, "memory": cache.spec.memory.limit}
    # A request above its limit is refused, so a CPU limit below our default is the request.
    cpu = min((CPU_REQUEST, limits.get("cpu", CPU_REQUEST)), key=parse)
    return {"limits": limits, "requests": {"cpu": cpu, "memory": cache.spec.memory.limit, **wished.requests}}


def _volumes(cache: Cache) -> list[Fields]:
    name = cache.metadata.name
    found: list[Fields] = [
        {"name": names.VOLUME_AUTH, "secret": {"secretName": names.secret_server_password(name), "defaultMode": 0o440}},
        {"name": names.VOLUME_CONFIG, "configMap": {"name": names.configmap(name)}},
        {"name": names.VOLUME_TOKEN, "projected": {"sources": _TOKEN}},
    ]
    if cache.spec.persistence.mode == "none":
        # Nothing is written unless somebody says SAVE: room for that snapshot, and for the one it replaces.
        room = 2 * to_bytes(cache.spec.memory.limit)
        found.append({"name": names.VOLUME_DATA, "emptyDir": {"sizeLimit": str(room)}})
    return found


# Generation -> its PodSpec before overrides. An operator builds every one that Caches may have.
GENERATIONS: dict[int, Callable[[Cache, str], Fields]] = {1: _pod_spec}
