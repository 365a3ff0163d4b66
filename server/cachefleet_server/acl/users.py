"""Who may connect. Now: the default user with `requirepass`; the rules of other users come with full ACL.

Passwords are kept as SHA-256 digests and compared in constant time. The engine's `auth_required` says whether a new
connection begins unauthenticated; connections keep what they had when the password changes, as in Redis, except that
without a password everybody is authenticated.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cachefleet_server.config.config import Config
from cachefleet_server.engine import ClientFlag, Engine

DEFAULT_USER: Final = "default"


class Users:
    """The users of one server."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._digest: bytes | None = None  # None: no password needed
        self._take(config.text("requirepass"))
        config.subscribe("requirepass", self._take)

    @property
    def open(self) -> bool:
        """The default user needs no password."""
        return self._digest is None

    def password_digest(self) -> str:
        """Hexadecimal digest of the default user's password; "" without one."""
        return self._digest.hex() if self._digest is not None else ""

    def check(self, user: str, password: bytes) -> bool:
        """Whether the pair is right. Takes the same time for every wrong password."""
        given = hashlib.sha256(password).digest()
        matches = hmac.compare_digest(given, self._digest if self._digest is not None else given)
        return matches and user == DEFAULT_USER

    def _take(self, password: str) -> None:
        raw = password.encode("utf-8", "surrogateescape")
        self._digest = hashlib.sha256(raw).digest() if raw else None
        self._engine.set_param("auth_required", 0 if self.open else 1)
        if self.open:
            for client in self._engine.clients():
                client.set_flag(ClientFlag.AUTHENTICATED, True)
