"""The connection Secret <name>-binding: written where it lacks, or says what does not hold any more.

It has the password that servers have (and not the wish of the users' Secret, which may be told to them later), and the
address of the -rw Service inside the cluster, or the Service's own word for it, as local mode has. It is made beside
the others: that it cannot be had is told, and keeps no pod from being made.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning.actions import WriteBinding
from cachefleet_operator.planning.auth import as_password
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.metadata import labelled
from cachefleet_operator.resources.secrets import binding_data, binding_secret


def made(cache: Cache) -> str:
    """The Secret as refusals name it."""
    return str(key_of(binding_secret(cache)))


def step(snapshot: Snapshot, refusals: Iterable[Refusal]) -> Step:
    cache = snapshot.cache
    source = (names.secret_server_password(cache.metadata.name), names.PASSWORD_KEY)
    password = _data(snapshot, source[0]).get(source[1])
    refused = any(r.subject in WHOLE and r.target == made(cache) for r in refusals)
    if password is None or refused or (where := _where(snapshot)) is None:
        return NOTHING
    name = names.secret_binding(cache.metadata.name)
    if _data(snapshot, name) == binding_data(*where, as_password(password)):
        return NOTHING
    words = f"wrote into Secret {name} how to connect"
    secret = labelled(binding_secret(cache), cache, snapshot.site)
    return Step((WriteBinding(words, secret, *where, source),), "Updating")


def lost(snapshot: Snapshot, refusals: Iterable[Refusal]) -> Step:
    """The same where it is not there at all."""
    name = names.secret_binding(snapshot.cache.metadata.name)
    return step(snapshot, refusals) if snapshot.get("Secret", name) is None else NOTHING


def _where(snapshot: Snapshot) -> tuple[str, int] | None:
    """Host and port; None while there is no Service."""
    service = names.service_rw(snapshot.cache.metadata.name)
    live = snapshot.get("Service", service)
    if live is None:
        return None
    own = str(live["metadata"].get("annotations", {}).get(names.ANNOTATION_ENDPOINT, ""))
    host, _, port = own.rpartition(":")
    if host and port.isdecimal():
        return host.strip("[]"), int(port)
    return f"{service}.{snapshot.cache.metadata.namespace}.svc.{snapshot.site.cluster_domain}", names.PORT


def _data(snapshot: Snapshot, secret: str) -> dict[str, bytes]:
    found = snapshot.get("Secret", secret) or {}
    return {key: b64decode(text) for key, text in (found.get("data") or {}).items()}
