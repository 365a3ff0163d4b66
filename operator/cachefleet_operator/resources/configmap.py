"""ConfigMap <name>-config: the server's configuration file; and `parameters`, which file and planner share.

The file holds what spec.config says, what other fields decide, and DEFAULTS. A running server gets those that can
change live by CONFIG SET; the file is what its next start reads. Values are canonical (api/parameters.py), so that
file, wish and what CONFIG GET answers compare as strings. What the servers do not know (`known`) is not written.

The file's syntax is redis.conf's: `name word`; the word is quoted unless it is plain, so the file is printable ASCII
whatever a value holds. Values of several words are one quoted word, which the server splits, as CONFIG SET does.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

from cachefleet_operator.api import names
from cachefleet_operator.api.derived import maxmemory_bytes
from cachefleet_operator.api.known import Known, own
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.parameters import canonical, resolve
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata
from cachefleet_parameters.text import quote_if_needed

# Our defaults where the server's do not suit a pod. spec.config may say otherwise.
DEFAULTS = {
    "log-format": "json",
    "log-timestamp-format": "iso8601",
}
SHOWN_CHARACTERS_MAX = 64  # of a value in the annotation of the pod; of a longer one its hash is shown


def parameters(cache: Cache, known: Known | None = None) -> dict[str, str]:
    """Every parameter that is written, by its first name, canonical and sorted. What validation refuses is left out,
    and what is not `known`; None: by the server of our own version."""
    facts = own() if known is None else known
    wished = {resolve(name): value for name, value in sorted(cache.spec.config.items())}
    found = {}
    for name, value in {**DEFAULTS, **wished, **_owned(cache)}.items():
        if name in facts:
            with suppress(ValueError):
                found[name] = canonical(name, value, facts[name].default)
    return dict(sorted(found.items()))


def restart_parameters(cache: Cache, known: Known | None = None) -> dict[str, str]:
    """Those that only a restart changes. One that is set to the server's default is as good as not set."""
    facts = own() if known is None else known
    found = parameters(cache, facts).items()
    return {n: value for n, value in found if not facts[n].live and facts[n].default != value}


def restart_annotation(cache: Cache, known: Known | None = None) -> str:
    """`restart_parameters` as the pod template carries them: readable JSON, with hashes in the place of long values."""
    return json.dumps({name: annotated(value) for name, value in restart_parameters(cache, known).items()})


def annotated(value: str) -> str:
    return value if len(value) <= SHOWN_CHARACTERS_MAX else _hash(value)


def config_map(cache: Cache, known: Known | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(cache, names.configmap(cache.metadata.name)),
        "data": {names.CONFIG_FILE: config_file(parameters(cache, known)) + _no_password(cache)},
    }


def _no_password(cache: Cache) -> str:
    """Without this line a server takes the empty file of its password for a mistake and does not start."""
    return 'requirepass ""\n' if cache.spec.auth.mode == "none" else ""


def config_file(values: dict[str, str]) -> str:
    lines = [f"{name} {quote_if_needed(value)}\n" for name, value in values.items()]
    return "# Written by the operator from the Cache's spec.\n" + "".join(lines)


def _owned(cache: Cache) -> dict[str, str]:
    """What other fields of the spec, or we, decide."""
    spec = cache.spec
    snapshots = spec.persistence.schedule if spec.persistence.mode == "snapshot" else ()
    return {
        "maxmemory": str(maxmemory_bytes(spec)),
        "maxmemory-policy": spec.memory.eviction_policy,
        "appendonly": "yes" if spec.persistence.mode == "aof" else "no",
        "appendfsync": "no" if spec.persistence.fsync == "never" else spec.persistence.fsync,
        "save": " ".join(f"{point.seconds} {point.changes}" for point in snapshots),
        # It would shut out everybody, the operator too, while there is no password: the NetworkPolicy decides, and
        # auth.mode none was asked for.
        "protected-mode": "no",
        # A disk that takes no last snapshot must not keep a pod until it is killed: what is lost is the same.
        "shutdown-on-sigterm": "force",
        # Who is told its role begins without one. A record that speaks of disks is for servers that are told.
        **({"managed": "yes"} if is_managed(cache) else {}),
    }


def is_managed(cache: Cache) -> bool:
    """Whether more than one pod is wanted, or the record already speaks of disks."""
    stands = cache.status.topology
    return cache.spec.instances > 1 or (stands is not None and bool(stands.primary.disk))


def _hash(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}"
