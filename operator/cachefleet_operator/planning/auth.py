"""The password. Secret <name>-server-password holds what servers may have: `have` (they start with it), `previous`, and
while it is changed, `next`. The users' Secret holds the wish.

    wish missing or blank   generated mode makes it; secret mode waits (what runs goes on with what it has)
    have missing            copied from the wish: nobody runs yet, or somebody deleted it
    wish is not have        it becomes `next`, before any server is told
    a server lacks next     SetPassword, from `next`
    all have it             `next` becomes `have`, so that the next start knows it, and `have` is `previous`

A server that is told a password is told one that is recorded, and `next` is not given up before every server of a pod
has answered with it (or with another, so that nobody has it). So whatever the users' Secret says meanwhile, and
whenever the operator or a server is away: one of the three fits. Where no pod exists, the wish becomes `have` at once.
Without auth the wish is the empty password; the Secret and its volume stay, so that turning auth on or off needs no
restart.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning.actions import CopySecret, GenerateSecret, SetPassword
from cachefleet_operator.planning.pods import is_running
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.metadata import labelled
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


def as_password(value: bytes) -> bytes:
    """The password in a Secret's value, which may end with an editor's newline: as the server reads its file."""
    return value.removesuffix(b"\n").removesuffix(b"\r")


def made(cache: Cache) -> frozenset[str]:
    """The Secrets that are ours to make, as refusals name them."""
    generated = (auth_secret(cache),) if cache.spec.auth.mode == "generated" else ()
    return frozenset(str(key_of(secret)) for secret in (*generated, server_password_secret(cache)))


def refused(cache: Cache, refusals: Iterable[Refusal]) -> str:
    """Why one of them cannot be made; empty = nobody has said no."""
    ours = made(cache)
    return next((r.message for r in refusals if r.subject in WHOLE and r.target in ours), "")


def step(snapshot: Snapshot, refusals: Iterable[Refusal] = ()) -> Step:
    cache, name = snapshot.cache, names.secret_server_password(snapshot.cache.metadata.name)
    wanted = source(cache)
    have = _value(snapshot, name, names.PASSWORD_KEY)
    if trouble := missing(snapshot) or refused(cache, refusals):
        return Step(waiting=trouble, patient=True)
    copy = CopySecret(
        "the servers start with this password", labelled(server_password_secret(cache), cache, snapshot.site),
        names.PASSWORD_KEY, wanted,
        needs=_made_by(wanted),
    )  # fmt: skip
    if wanted is not None and is_blank(_value(snapshot, *wanted)):
        made = labelled(auth_secret(cache), cache, snapshot.site)
        make = GenerateSecret(f"made a password in Secret {wanted[0]}", made, wanted[1])
        return Step((make, copy) if have is None else (make,), "Creating")
    if have is None:
        return Step((copy,), "Creating")
    wish = _value(snapshot, *wanted) if wanted is not None else b""
    following = _value(snapshot, name, names.NEXT_KEY)
    if following is None and wish == have:
        changes = _changes(snapshot, (name, names.PASSWORD_KEY))
        return Step(changes, "Updating") if changes else NOTHING
    if following is None and not _may_have_it(snapshot, have):
        return Step((replace(copy, reason="the servers have a new password"),), "Updating")
    return _rotate(snapshot, copy, (name, names.NEXT_KEY), recorded=following is not None, is_wish=following == wish)


def lost(snapshot: Snapshot, refusals: Iterable[Refusal], kept: Cache) -> Step:
    """What of it waits for nothing else: a Secret that is not there at all, and was to be by the accepted spec, too."""
    absent = {str(key_of(secret)) for secret in (auth_secret(snapshot.cache), server_password_secret(snapshot.cache))}
    absent -= {str(key) for key in snapshot.objects}
    if not absent & made(kept):
        return NOTHING
    found = step(snapshot, refusals)
    again = (a for a in found.actions if isinstance(a, GenerateSecret | CopySecret) and str(key_of(a.object)) in absent)
    return Step(tuple(again), found.progress)


def _rotate(snapshot: Snapshot, copy: CopySecret, place: tuple[str, str], *, recorded: bool, is_wish: bool) -> Step:
    """The next act of a change of the password under pods. `place` is where the next one is recorded."""
    behind = _changes(snapshot, place)
    silent = _silent(snapshot)
    nobody = not silent and len(behind) == len(snapshot.pods())
    if not recorded or (nobody and not is_wish):
        record = replace(copy, reason="recorded the new password before a server is told", field=names.NEXT_KEY)
        return Step((record,), "Updating")
    if behind:
        return Step(behind, "Updating")
    if silent and _may_have_it(snapshot, _value(snapshot, place[0], names.PASSWORD_KEY)):
        return Step(waiting=f"{silent[0]} does not answer: its password is changed when it does", patient=True)
    return Step((replace(copy, reason="the servers have a new password", source=place),), "Updating")


def _changes(snapshot: Snapshot, place: tuple[str, str]) -> tuple[SetPassword, ...]:
    return tuple(
        SetPassword(f"changed the password of {pod}", pod, server.run_id, place, needs=_made_by(place))
        for pod, server in sorted(snapshot.servers.items())
        if not server.error and not server.password_is_current
    )


def _made_by(source: tuple[str, str] | None) -> frozenset[str]:
    return frozenset() if source is None else frozenset((str(Key("Secret", source[0])),))


def _silent(snapshot: Snapshot) -> list[str]:
    """Pods whose server does not say which password it has."""
    found = (pod["metadata"]["name"] for pod in snapshot.pods())
    return [name for name in found if name not in snapshot.servers or snapshot.servers[name].error]


def _may_have_it(snapshot: Snapshot, have: bytes | None) -> bool:
    """Whether a server may have, or soon start with, a password that must not be forgotten. No server starts with a
    blank one, so it must not be waited for, where none runs."""
    return any(is_running(pod) or not is_blank(have) for pod in snapshot.pods())


def _value(snapshot: Snapshot, secret: str, key: str) -> bytes | None:
    found: Object | None = snapshot.get("Secret", secret)
    text = (found or {}).get("data", {}).get(key)
    return None if text is None else b64decode(text)
