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
from cachefleet_operator.planning import auth

RANDOM_BYTES = 24  # 32 characters of base64


def generate() -> bytes:
    return secrets.token_urlsafe(RANDOM_BYTES).encode()


def value(secret: Object | None, key: str) -> bytes | None:
    """What a Secret holds under `key`; None: nothing, or there is no Secret."""
    text = ((secret or {}).get("data") or {}).get(key)
    return None if text is None else b64decode(text)


def known(cache: Cache, secret: Callable[[str], Object | None]) -> tuple[bytes, ...]:
    """The passwords that a server may have, the one that it should have first: the next one or the wish, then what it
    had, and what it had before that."""
    source = auth.source(cache)
    wish = value(secret(source[0]), source[1]) if source is not None else b""
    recorded = secret(names.secret_server_password(cache.metadata.name))
    coming, have, before = (value(recorded, key) for key in (names.NEXT_KEY, names.PASSWORD_KEY, names.PREVIOUS_KEY))
    found = (coming, wish or b"", have, before) if coming is not None else (wish or b"", have, before)
    return tuple(auth.as_password(password) for password in found if password is not None)


def copied(old: Object | None, key: str, new: bytes) -> dict[str, bytes]:
    """The data of a Secret `old` that takes `new` under `key`. Under PASSWORD_KEY it takes the place of the one before,
    which stays under PREVIOUS_KEY, and no next one is left."""
    kept = (names.PASSWORD_KEY, names.PREVIOUS_KEY)
    before = {name: found for name in kept if (found := value(old, name)) is not None}
    if key != names.PASSWORD_KEY:
        return {**before, key: new}
    last = before.get(key)
    if last == new:  # It was copied, and we did not hear of it.
        last = before.get(names.PREVIOUS_KEY)
    return {key: new} if last is None else {key: new, names.PREVIOUS_KEY: last}


def with_data(secret: Object, data: Mapping[str, bytes]) -> Object:
    return {**secret, "data": {key: b64encode(content).decode() for key, content in data.items()}}
