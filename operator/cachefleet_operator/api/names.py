"""Names, labels, annotations and ports: every string that two places must agree on.

Objects of Cache `orders`: StatefulSet `orders`, pods `orders-0` ..., Services `orders-rw`, `orders-ro`, `orders-pods`
(headless), ConfigMaps `orders-config`, `orders-accepted` (the spec that was had, see planning/accepted.py) and
`orders-parameters` (what its servers know, see planning/knowledge.py), Secrets `orders-auth` (the password as users
know it; generated), `orders-server-password` (the password that the servers have now, see planning/auth.py) and
`orders-binding` (all that an application needs to connect, see planning/binding.py), ServiceAccount,
PodDisruptionBudget, NetworkPolicy and PodMonitor `orders`.

Two Caches of a namespace never want one name: of the suffixes of a kind none ends with another. (Of `-auth` and
`-server-auth`, the Caches `orders` and `orders-server` would want one Secret.) Shard 0 is called as its Cache is, and
shard 1 `orders-shard-1`, as no Cache may be (a rule of the CRD): its objects and its pods meet nobody else's either.
"""

from __future__ import annotations

import re

from cachefleet_operator.api.v1alpha1 import GROUP

APP = "cachefleet"
FIELD_MANAGER = "cachefleet-operator"

LABEL_APP = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_CACHE = f"{GROUP}/cache"
LABEL_SHARD = f"{GROUP}/shard"
LABEL_ROLE = f"{GROUP}/role"  # primary or replica; the Service -rw selects by it
LABEL_READS = f"{GROUP}/reads"  # "yes": the Service -ro selects by it

ANNOTATION_APPLIED = f"{GROUP}/applied"  # hash of the object as we last wrote it (resources/diff.py)
ANNOTATION_ENDPOINT = f"{GROUP}/endpoint"  # on a Service: where it is reached, if not by its DNS name
ANNOTATION_TEMPLATE = f"{GROUP}/template"  # on the StatefulSet: generation and hash of its pod template
ANNOTATION_FAILOVER = f"{GROUP}/failover"  # on the Cache: whom a person wants (planning/failover/handover.py)
ANNOTATION_DATA_FROM = f"{GROUP}/data-from"  # on the Cache: a person's word (planning/failover/token.py)
ANNOTATION_RESTART = f"{GROUP}/restart-parameters"  # on the pod template: parameters that only a restart changes

ROLE_PRIMARY, ROLE_REPLICA = "primary", "replica"
READS = "yes"

CONTAINER = "server"
PORT, METRICS_PORT, TLS_PORT, BUS_PORT = 6379, 9121, 6380, 16379
# A server whose disk fails refuses writes and answers reads: out of the Services, it would do neither.
READINESS_PATH = "/readyz?exclude=disk"
PORT_NAME, METRICS_PORT_NAME, TLS_PORT_NAME, BUS_PORT_NAME = "redis", "metrics", "redis-tls", "bus"
CONFIG_FILE = "cachefleet.conf"
PASSWORD_KEY, NEXT_KEY, PREVIOUS_KEY = "password", "next", "previous"
VOLUME_DATA, VOLUME_CONFIG, VOLUME_AUTH, VOLUME_TOKEN = "data", "config", "auth", "token"
MOUNTS = {
    VOLUME_DATA: "/data",
    VOLUME_CONFIG: "/etc/cachefleet/config",
    VOLUME_AUTH: "/etc/cachefleet/auth",
    VOLUME_TOKEN: "/etc/cachefleet/token",
}

# The environment of a pod's container, which its arguments refer to as $(NAME). The local backend gives the same names
# other values: folders of its own and a free port.
ENV_PORT, ENV_METRICS_PORT = "SERVER_PORT", "SERVER_METRICS_PORT"
ENV_BIND, ENV_METRICS_BIND = "SERVER_BIND", "SERVER_METRICS_BIND"  # the latter is one address, or empty for all
ENV_CONFIG, ENV_DATA, ENV_AUTH = "SERVER_CONFIG_DIR", "SERVER_DATA_DIR", "SERVER_AUTH_DIR"
# What a pod must know to speak for itself to the API server; a container that restarts keeps all of it.
ENV_TOKEN = "SERVER_TOKEN_DIR"
ENV_OF_POD = {
    "SERVER_POD_NAME": "metadata.name",
    "SERVER_POD_NAMESPACE": "metadata.namespace",
    "SERVER_POD_UID": "metadata.uid",
}

LABEL_WORDS = "must be lower case letters, digits and inner dashes, at most 63"


def is_label(name: str) -> bool:
    """Whether it is a DNS label, as namespaces, containers and volumes are called."""
    return re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) is not None


def address(host: str, port: int) -> str:
    """host:port, with the brackets without which nobody could tell an IPv6 address from its port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def statefulset(cache: str) -> str:
    return cache


def pod(cache: str, ordinal: int) -> str:
    return f"{cache}-{ordinal}"


def ordinal(pod: str) -> int:
    return int(pod.rsplit("-", 1)[-1])


def claim(cache: str, ordinal: int) -> str:
    """The PersistentVolumeClaim that the StatefulSet controller makes for a pod."""
    return f"{VOLUME_DATA}-{cache}-{ordinal}"


def service_rw(cache: str) -> str:
    return f"{cache}-rw"


def service_ro(cache: str) -> str:
    return f"{cache}-ro"


def service_headless(cache: str) -> str:
    return f"{cache}-pods"


def configmap(cache: str) -> str:
    return f"{cache}-config"


def configmap_accepted(cache: str) -> str:
    return f"{cache}-accepted"


def configmap_parameters(cache: str) -> str:
    return f"{cache}-parameters"


def secret_auth(cache: str) -> str:
    return f"{cache}-auth"


def secret_server_password(cache: str) -> str:
    return f"{cache}-server-password"


def secret_binding(cache: str) -> str:
    return f"{cache}-binding"


def secrets(cache: str) -> tuple[str, ...]:
    """All that are made for it."""
    return secret_auth(cache), secret_server_password(cache), secret_binding(cache)


def selector_labels(cache: str) -> dict[str, str]:
    """What selects a Cache's pods, of all shards."""
    return {LABEL_APP: APP, LABEL_INSTANCE: cache, LABEL_CACHE: cache}


def shard_labels(cache: str) -> dict[str, str]:
    """What selects the pods of its one shard. Immutable in a StatefulSet: never change it."""
    return {**selector_labels(cache), LABEL_SHARD: "0"}


def labels(cache: str) -> dict[str, str]:
    """On every object that we own."""
    return {**selector_labels(cache), LABEL_COMPONENT: "cache", LABEL_MANAGED_BY: FIELD_MANAGER}
