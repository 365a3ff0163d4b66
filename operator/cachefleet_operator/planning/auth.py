"""The password: `wish` (what the users' Secret says) and `have` (what <name>-server-password says servers have).

    wish missing or blank   generated mode makes it; secret mode waits (what runs goes on with what it has)
    have missing            copied from the wish: nobody runs yet, or somebody deleted it
    a server has another    SetPassword: it let us in with `have`, not with the wish
    all have the wish       `have` is copied from the wish, so that the next start knows it

A crash of the operator between the last two is harmless: every server is asked with the wish first, then with what we
had. Without auth the wish is the empty password; the Secret and its volume stay, so that turning auth on or off needs
no restart.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning.actions import CopySecret, GenerateSecret, SetPassword
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.secrets import auth_secret, server_password_secret


def source(cache: Cache) -> tuple[str, str] | None:
    """(Secret, key) of the wish; None = no password."""
    auth = cache.spec.auth
    if auth.mode == "none":
        return None
    if auth.mode == "secret" and auth.secret_ref is not None:
        return auth.secret_ref.name, auth.secret_ref.key
    return names.secret_auth(cache.metadata.name), names.PASSWORD_KEY


def missing(snapshot: Snapshot) -> str:
    """What is wrong with the Secret that the user named; empty = nothing."""
    if snapshot.cache.spec.auth.mode != "secret":
        return ""
    wanted = source(snapshot.cache)
    if wanted is None:
        return ""
    secret, key = wanted
    if snapshot.get("Secret", secret) is None:
        return f"Secret {secret} does not exist"
    if is_blank(_value(snapshot, secret, key)):
        return f"Secret {secret} has no value under the key {key}"
    return ""


def is_blank(password: bytes | None) -> bool:
    """None at all. A server drops the newline at the end of its file: of an editor's empty line nothing would be left,
    and everybody would be let in."""
    return not (password or b"").strip(b"\r\n")


def made(cache: Cache) -> frozenset[str]:
    """The Secrets that are ours to make, as refusals name them."""
    generated = (auth_secret(cache),) if cache.spec.auth.mode == "generated" else ()
    return frozenset(str(key_of(secret)) for secret in (*generated, server_password_secret(cache)))


def refused(cache: Cache, refusals: Iterable[Refusal]) -> str:
    """Why one of them cannot be made; empty = nobody has said no."""
    ours = made(cache)
    return next((r.message for r in refusals if r.subject in WHOLE and r.target in ours), "")


def step(snapshot: Snapshot, refusals: Iterable[Refusal] = ()) -> Step:
    cache, name = snapshot.cache, snapshot.cache.metadata.name
    wanted = source(cache)
    have = snapshot.get("Secret", names.secret_server_password(name))
    if trouble := missing(snapshot) or refused(cache, refusals):
        return Step(waiting=trouble, patient=True)
    copy = CopySecret("the servers start with this password", server_password_secret(cache), names.PASSWORD_KEY, wanted)
    if wanted is not None and is_blank(_value(snapshot, *wanted)):
        make = GenerateSecret(f"made a password in Secret {wanted[0]}", auth_secret(cache), wanted[1])
        return Step((make, copy) if have is None else (make,), "Creating")
    wish = _value(snapshot, *wanted) if wanted is not None else b""
    if have is None:
        return Step((copy,), "Creating")
    changes = tuple(
        SetPassword(f"changed the password of {pod}", pod, wanted)
        for pod, server in sorted(snapshot.servers.items())
        if not server.error and not server.password_is_current
    )
    if changes:
        return Step(changes, "Updating")
    if _value(snapshot, names.secret_server_password(name), names.PASSWORD_KEY) != wish:
        return Step((replace(copy, reason="the servers have a new password"),), "Updating")
    return NOTHING


def _value(snapshot: Snapshot, secret: str, key: str) -> bytes | None:
    found: Object | None = snapshot.get("Secret", secret)
    text = (found or {}).get("data", {}).get(key)
    return None if text is None else b64decode(text)
