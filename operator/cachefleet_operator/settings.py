"""The operator's settings, from its environment (the chart sets them); one row each. A wrong one stops the start."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

LEVELS = ("debug", "info", "warning", "error")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


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
    http_host: str
    http_port: int


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
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in names:
        _namespace(name)
    return names


def _namespace(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a namespace has lower-case letters, digits and dashes, 63 at most; several by commas")
    return text


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
    "http_host": Variable("CACHEFLEET_HTTP_HOST", "0.0.0.0", _text, "address of /metrics, /healthz and /readyz"),
    "http_port": Variable("CACHEFLEET_HTTP_PORT", "8080", _number(0, 65535), "their port; 0: any that is free"),
}
