"""Admission without an API server: what `kubectl apply` would refuse, refused here in as readable words.

`admit(manifest, old)` gives the Cache as the API server would store it, defaults filled in, or raises `Invalid` with
every fault found: unknown fields (kubectl's strict validation), what the models refuse, and the CEL rules. Python
cannot run CEL without a library, so each rule has a twin in TWINS, keyed by its expression: a rule that is added or
changed has no twin until somebody writes it, and a test says so. Like the API server, a transition rule (one that
speaks of oldSelf) is evaluated only where an old object exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, get_args

from cachefleet_operator.api import names
from cachefleet_operator.api.parse import FAULTS_MAX, PATH_CHARACTERS_MAX, Malformed
from cachefleet_operator.api.parse import parse as parse_body
from cachefleet_operator.api.quantity import parse
from cachefleet_operator.api.spelling import did_you_mean
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache, CacheSpec, Metadata, Model, Rule

Fields = Mapping[str, Any]
Twin = Callable[[Fields, Fields], bool]

# Expression of a Rule -> the same in Python. `s` is self, `o` is oldSelf ({} unless the rule speaks of it).
TWINS: dict[str, Twin] = {
    "quantity(string(self.limit)).compareTo(quantity('96Mi')) >= 0": lambda s, o: parse(s["limit"]) >= parse("96Mi"),
    "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || "
    "self.storageClassName == oldSelf.storageClassName)":
        lambda s, o: s.get("storageClassName") == o.get("storageClassName"),
    "self.type == 'LoadBalancer' || !has(self.loadBalancerClass)":
        lambda s, o: s["type"] == "LoadBalancer" or "loadBalancerClass" not in s,
    "self.type == 'LoadBalancer' || size(self.loadBalancerSourceRanges) == 0":
        lambda s, o: s["type"] == "LoadBalancer" or not s["loadBalancerSourceRanges"],
    "self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)":
        lambda s, o: s["type"] != "ClusterIP" or "externalTrafficPolicy" not in s,
    "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) == "
    "has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == "
    "oldSelf.loadBalancerClass))":
        lambda s, o: s["type"] != "LoadBalancer" or o["type"] != s["type"]
        or s.get("loadBalancerClass") == o.get("loadBalancerClass"),
    "(self.mode == 'none') == (oldSelf.mode == 'none')": lambda s, o: (s["mode"] == "none") == (o["mode"] == "none"),
    "(self.mode == 'secret') == has(self.secretRef)": lambda s, o: (s["mode"] == "secret") == ("secretRef" in s),
    "!has(self.version) || !has(self.image) || self.image == ''": lambda s, o: "version" not in s or not s.get("image"),
    "!('memory' in self.limits)": lambda s, o: "memory" not in s["limits"],
    "self.mode == 'replicated' || self.copies == 1": lambda s, o: s["mode"] == "replicated" or s["copies"] == 1,
    "self.durability.mode != 'replicated' || self.durability.copies < self.instances":
        lambda s, o: s["durability"]["mode"] != "replicated" or s["durability"]["copies"] < s["instances"],
    "!self.metadata.name.matches('-shard-[0-9]+$')":
        lambda s, o: re.search("-shard-[0-9]+$", s["metadata"]["name"]) is None,
    "size(self.metadata.name) <= 40": lambda s, o: len(s["metadata"]["name"]) <= 40,
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')":
        lambda s, o: re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", s["metadata"]["name"]) is not None,
}  # fmt: skip


class Invalid(Exception):
    """A manifest that the API server would refuse; `faults` has one sentence each, beginning with the field, for the
    first FAULTS_MAX."""

    def __init__(self, what: str, faults: list[str]) -> None:
        more = [f"and {len(faults) - FAULTS_MAX} more"] if len(faults) > FAULTS_MAX else []
        self.what, self.faults = what, [*faults[:FAULTS_MAX], *more]
        super().__init__(f"{what} is invalid: " + "; ".join(self.faults))


def admit(manifest: Fields, old: Cache | None) -> Cache:
    """The Cache that `manifest` asks for. `old` is the one that is stored, for the rules of what may change."""
    what = f"{KIND} {_name_of(manifest)}"
    # Each comes with a guess at what was meant: not for ten thousand of them.
    faults = list(islice(_strangers(_Manifest, manifest, ""), FAULTS_MAX))
    try:
        cache = parse_body({**manifest, "metadata": _ours(manifest), "status": {}})
    except Malformed as error:
        raise Invalid(what, faults + error.faults) from None
    if not names.is_label(cache.metadata.namespace):
        faults.append(f"metadata.namespace: {names.LABEL_WORDS}")
    faults += _broken(Cache, cache.wire(), old.wire() if old is not None else None, "")
    if faults:
        raise Invalid(what, faults)
    return cache


def models(model: type[Model] = Cache) -> Iterator[type[Model]]:
    """The model and all that it holds: where rules may be."""
    yield model
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            yield from models(inner)


def _ours(manifest: Fields) -> Any:
    """The part of the metadata that a user decides; the rest is the store's."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping):
        return metadata
    return {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if metadata.get(name)}


def _name_of(manifest: Fields) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, Mapping) else "?"


class _Metadata(Metadata):
    """Metadata as people and `kubectl get -o yaml` write it: server-owned fields are known, and ignored."""

    self_link: str = ""
    creation_timestamp: str | None = None
    generate_name: str = ""
    finalizers: tuple[str, ...] = ()
    managed_fields: tuple[dict[str, Any], ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()


class _Manifest(Model):
    """The top level of a manifest, for the search for unknown fields alone."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: _Metadata
    spec: CacheSpec
    status: dict[str, Any]


def _strangers(model: type[Model], value: Any, path: str) -> Iterator[str]:
    """Fields that the model does not have."""
    if not isinstance(value, Mapping):
        return  # the model's own complaint is better
    known = {(f.alias or name): f.annotation for name, f in model.model_fields.items()}
    for name, inner in value.items():
        where = f"{path}.{str(name)[:PATH_CHARACTERS_MAX]}".lstrip(".")
        if name not in known:
            yield f"{where}: unknown field{did_you_mean(str(name), known)}"
            continue
        for part in _models_in(known[name]):
            if isinstance(inner, list):
                for index, item in enumerate(inner):
                    yield from _strangers(part, item, f"{where}[{index}]")
            else:
                yield from _strangers(part, inner, where)


def _broken(model: type[Model], value: Fields, old: Fields | None, path: str) -> list[str]:
    """The messages of the rules that do not hold, of this object and of those inside it."""
    faults = [
        f"{path}: {rule.message}" if path else rule.message
        for rule in model.RULES
        if not (is_transition(rule) and old is None) and not TWINS[rule.expression](value, old or {})
    ]
    for name, field in model.model_fields.items():
        key = field.alias or name
        for inner in _models_in(field.annotation):
            if isinstance(value.get(key), Mapping):
                faults += _broken(inner, value[key], (old or {}).get(key), f"{path}.{key}".lstrip("."))
    return faults


def is_transition(rule: Rule) -> bool:
    return "oldSelf" in rule.expression


def _models_in(annotation: Any) -> Iterator[type[Model]]:
    """The models of a field: its type, or the types in its tuple or union."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
