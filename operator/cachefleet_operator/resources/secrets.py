"""Secrets <name>-auth and <name>-server-password, without data: no plan holds a password, execution puts it in."""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata


def auth_secret(cache: Cache) -> Object:
    """The password as users know it, where we generate it."""
    return _secret(cache, names.secret_auth(cache.metadata.name))


def server_password_secret(cache: Cache) -> Object:
    """The password that the servers have (planning/auth.py)."""
    return _secret(cache, names.secret_server_password(cache.metadata.name))


def _secret(cache: Cache, name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(cache, name), "type": "Opaque"}
