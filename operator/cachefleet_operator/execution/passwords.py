"""Passwords in Secrets: read, generated, put in. The one place where a plan's (Secret, key) becomes bytes, and that
knows which of them a server may have.

Nothing here is logged, and no error names a value.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.execution import admin
from cachefleet_operator.planning import auth

RANDOM_BYTES = 24  # 32 characters of base64


def generate() -> bytes:
    return secrets.token_urlsafe(RANDOM_BYTES).encode()


def value(secret: Object | None, key: str) -> bytes | None:
    """What a Secret holds under `key`; None: nothing, or there is no Secret."""
    text = ((secret or {}).get("data") or {}).get(key)
    return None if text is None else b64decode(text)


def known(cache: Cache, secret: Callable[[str], Object | None]) -> list[bytes]:
    """The passwords that a server may have: the wish, what it had, what it had before that."""
    source = auth.source(cache)
    wish = value(secret(source[0]), source[1]) if source is not None else b""
    have = secret(names.secret_server_password(cache.metadata.name))
    older = [value(have, key) for key in (names.PASSWORD_KEY, names.PREVIOUS_KEY)]
    return [admin.as_password(found) for found in (wish or b"", *older) if found is not None]


def copied(old: Object | None, key: str, new: bytes) -> dict[str, bytes]:
    """The data of a Secret `old` that takes `new` under `key`: what it held before stays under PREVIOUS_KEY."""
    before = value(old, key)
    if before == new:  # It was copied, and we did not hear of it.
        before = value(old, names.PREVIOUS_KEY)
    return {key: new} if before is None else {key: new, names.PREVIOUS_KEY: before}


def with_data(secret: Object, data: Mapping[str, bytes]) -> Object:
    return {**secret, "data": {key: b64encode(content).decode() for key, content in data.items()}}
