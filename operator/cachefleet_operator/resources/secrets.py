"""Secrets <name>-auth, <name>-server-password and <name>-binding, without data: no plan holds a password, execution
puts it in. `binding_data` says what goes into the last.
"""

from __future__ import annotations

import string

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata

BINDING_TYPE, USER = "redis", "default"
UNRESERVED = frozenset(f"{string.ascii_letters}{string.digits}-._~".encode())  # of RFC 3986


def auth_secret(cache: Cache) -> Object:
    """The password as users know it, where we generate it."""
    return _secret(cache, names.secret_auth(cache.metadata.name))


def server_password_secret(cache: Cache) -> Object:
    """The password that the servers have (planning/auth.py)."""
    return _secret(cache, names.secret_server_password(cache.metadata.name))


def binding_secret(cache: Cache) -> Object:
    """How to connect, as workloads take it that follow the Service Binding convention."""
    return _secret(cache, names.secret_binding(cache.metadata.name), f"servicebinding.io/{BINDING_TYPE}")


def _quoted(words: bytes) -> str:
    """As a part of a URI. (urllib would do it, and could reach a network, which nothing here may.)"""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in words)


def binding_data(host: str, port: int, password: bytes) -> dict[str, bytes]:
    """Its entries; without username and password where none is needed."""
    login = {"username": USER.encode(), "password": password} if password else {}
    prefix = f"{USER}:{_quoted(password)}@" if password else ""
    return {
        "type": BINDING_TYPE.encode(),
        "provider": names.APP.encode(),
        "host": host.encode(),
        "port": str(port).encode(),
        "uri": f"redis://{prefix}{names.address(host, port)}".encode(),
        **login,
    }


def _secret(cache: Cache, name: str, kind: str = "Opaque") -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(cache, name), "type": kind}
