"""What was refused is remembered in the status, so that nobody is asked again in a hot loop.

A refusal holds while its wish is still ours and RETRY_S have not passed; then it is dropped and the wish tried anew.
That a name is taken holds no longer than somebody else's object is there, which is looked at in each cycle.
"""

from __future__ import annotations

from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.v1alpha1 import CacheStatus, Refusal
from cachefleet_operator.planning.moments import seconds, stamp

RETRY_S = 300.0
REFUSALS_MAX = 32
MESSAGE_CHARACTERS_MAX = 1024
# Subjects that are no parameters.
OBJECT = "object"  # the wish is the object's applied hash
NAME = "metadata.name"  # somebody else's object has the name of one of ours
STORAGE = "storage.size"
WHOLE = frozenset((OBJECT, NAME))  # an object cannot be had


def remember(
    status: CacheStatus, *, target: str, subject: str, wish: str, message: str, now: float
) -> CacheStatus:
    """The status with one more refusal; it replaces an older one of the same target and subject."""
    new = Refusal(target=target, subject=subject, wish=wish, message=message[:MESSAGE_CHARACTERS_MAX], at=stamp(now))
    others = [r for r in status.refusals if (r.target, r.subject) != (target, subject)]
    return status.model_copy(update={"refusals": (*others[-(REFUSALS_MAX - 1) :], new)})


def key_of_target(refusal: Refusal) -> Key:
    kind, _, name = refusal.target.partition("/")
    return Key(kind, name)


def taken(status: CacheStatus) -> tuple[Key, ...]:
    """Where somebody else's object stood at the last try."""
    return tuple(key_of_target(refusal) for refusal in status.refusals if refusal.subject == NAME)


def standing(status: CacheStatus, now: float) -> tuple[Refusal, ...]:
    """Those that are not too old to hold."""
    return tuple(r for r in status.refusals if now - seconds(r.at) < RETRY_S)
