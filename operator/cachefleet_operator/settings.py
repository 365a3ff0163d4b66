"""The operator's settings, from its environment (the chart sets them); one row each. A wrong one stops the start."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import GROUP

LEVELS = ("debug", "info", "warning", "error")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")  # a label's value, its name without the prefix


class SettingsError(Exception):
    """Names the variable, what it says and what it may say."""


@dataclass(frozen=True, slots=True)
class Settings:
    namespaces: tuple[str, ...]  # whose Caches it looks after; empty: all
    pod_namespace: str
    pod_name: str
    server_image: str
    server_version: str
    cluster_domain: str
    log_level: str
    concurrency: int
    probe_s: int
    probe_single_s: int
    http_host: str
    http_port: int
    image_pull_secrets: tuple[str, ...]
    storage_class: str
    priority_class: str
    labels: Mapping[str, str]
    inherited_labels: tuple[str, ...]
    fixed_user: bool


def read(environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    found: dict[str, Any] = {}
    for field, variable in VARIABLES.items():
        text = environment.get(variable.name, "").strip() or variable.default
        try:
            found[field] = variable.take(text)
        except ValueError as error:
            raise SettingsError(f"{variable.name}={text!r}: {error}") from None
    return Settings(**found)


def _namespaces(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in found:
        _namespace(name)
    return found


def _namespace(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a namespace has lower-case letters, digits and dashes, 63 at most; several by commas")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_object_name(name) for part in text.split(",") if (name := part.strip())))


def _object_name(text: str) -> str:
    if text and (len(text) > 253 or not _OBJECT.fullmatch(text)):
        raise ValueError("a name of an object has lower-case letters, digits, dots and dashes, 253 at most")
    return text


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        prefix, _, last = name.rpartition("/")
        if not equals or not _WORD.fullmatch(last) or (value and not _WORD.fullmatch(value)):
            raise ValueError("labels are name=value by commas, which have letters, digits and inner -_. at most 63")
        if prefix and (len(prefix) > 253 or not _OBJECT.fullmatch(prefix)):
            raise ValueError(f"the prefix of the label {name} is no domain")
        found[name] = value
    return found


def _label_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key for part in text.split(",") if (key := part.strip()))
    for key in keys:
        prefix, _, last = key.rpartition("/")
        if not _WORD.fullmatch(last) or (prefix and (len(prefix) > 253 or not _OBJECT.fullmatch(prefix))):
            raise ValueError(f"{key} is no name of a label; several by commas")
        if key in names.labels("") or key.startswith(f"{GROUP}/"):
            raise ValueError(f"{key} belongs to the operator")
    return tuple(dict.fromkeys(keys))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _text(text: str) -> str:
    if not text or any(c.isspace() for c in text):
        raise ValueError("must be one word")
    return text


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return text.lower()


def _number(low: int, high: int) -> Callable[[str], int]:
    def take(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text[:9]) <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return int(text)

    return take


def own_version() -> str:
    try:
        return version("cachefleet")
    except PackageNotFoundError:  # a tree that was not installed
        return "0.0.0"


class Variable(NamedTuple):
    name: str
    default: str
    take: Callable[[str], Any]
    meaning: str


# Field -> where it comes from.
VARIABLES: dict[str, Variable] = {
    "namespaces": Variable("CACHEFLEET_NAMESPACES", "", _namespaces, "whose Caches it takes, by commas; empty: all"),
    "pod_namespace": Variable("POD_NAMESPACE", "default", _namespace, "its own namespace, where the Lease is"),
    "pod_name": Variable("POD_NAME", "cachefleet-operator", _text, "its own pod, for the Lease"),
    "server_image": Variable("CACHEFLEET_SERVER_IMAGE", "cachefleet/server", _text, "image of servers, without a tag"),
    "server_version": Variable("CACHEFLEET_SERVER_VERSION", own_version(), _text, "tag of that image for new Caches"),
    "cluster_domain": Variable("CACHEFLEET_CLUSTER_DOMAIN", "cluster.local", _text, "the end of its DNS names"),
    "log_level": Variable("CACHEFLEET_LOG_LEVEL", "info", _level, ", ".join(LEVELS)),
    "concurrency": Variable("CACHEFLEET_CONCURRENCY", "16", _number(1, 256), "Caches looked after at a time"),
    "probe_s": Variable("CACHEFLEET_PROBE_SECONDS", "1", _number(1, 60), "how often each server is asked"),
    "probe_single_s": Variable(
        "CACHEFLEET_PROBE_SINGLE_SECONDS", "10", _number(1, 60), "the same where a Cache has one instance"
    ),
    "http_host": Variable("CACHEFLEET_HTTP_HOST", "0.0.0.0", _text, "address of /metrics, /healthz and /readyz"),
    "http_port": Variable("CACHEFLEET_HTTP_PORT", "8080", _number(0, 65535), "their port; 0: any that is free"),
    # What a Cache gets where its spec says nothing.
    "image_pull_secrets": Variable("CACHEFLEET_IMAGE_PULL_SECRETS", "", _names, "Secrets to pull images by, by commas"),
    "storage_class": Variable("CACHEFLEET_STORAGE_CLASS", "", _object_name, "class of volumes; empty: the cluster's"),
    "priority_class": Variable("CACHEFLEET_PRIORITY_CLASS", "", _object_name, "priority class of the pods"),
    "labels": Variable("CACHEFLEET_LABELS", "", _labels, "labels of pods and objects: name=value by commas"),
    "inherited_labels": Variable(
        "CACHEFLEET_INHERITED_LABELS", "", _label_keys, "labels of a Cache that what it owns has, too"
    ),
    "fixed_user": Variable("CACHEFLEET_FIXED_USER", "true", _bool, "false: the cluster gives pods their users"),
}
