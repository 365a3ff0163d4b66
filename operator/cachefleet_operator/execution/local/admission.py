"""Admission without an API server: what `kubectl apply` would refuse, refused here in as readable words.

`admit(manifest, old)` gives the Cache as the API server would store it, defaults filled in, or raises `Invalid` with
every fault found: unknown fields (kubectl's strict validation), what the models refuse, and the CEL rules (cel.py).
Like the API server, a transition rule (one that speaks of oldSelf) is evaluated only where an old object exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, get_args

from cachefleet_operator.api import names
from cachefleet_operator.api.parse import FAULTS_MAX, PATH_CHARACTERS_MAX, Malformed, parse
from cachefleet_operator.api.spelling import did_you_mean
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache, CacheSpec, Metadata, Model, Rule
from cachefleet_operator.execution.local.cel import holds

Fields = Mapping[str, Any]


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
        cache = parse({**manifest, "metadata": _ours(manifest), "status": {}})
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
        if not (is_transition(rule) and old is None) and not holds(rule.expression, value, old)
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
