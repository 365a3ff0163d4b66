"""What was refused is remembered in the status, so that nobody is asked again in a hot loop.

A refusal holds while its wish is still ours and RETRY_S have not passed; then it is dropped and the wish tried anew.
That a name is taken holds no longer than somebody else's object is there, which is looked at in each cycle. A refused
parameter is tried anew, too, but its refusal ends only when an answering server has the value: until then the file that
the next start reads must not have it, however long the pod is away.
"""

from __future__ import annotations

from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.v1alpha1 import CacheStatus, Refusal
from cachefleet_operator.planning.moments import seconds, stamp

RETRY_S = 300.0
REFUSALS_MAX = 32  # beside those of parameters: a forgotten one of these would reach the file
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
    forgotten = [r for r in others if not is_parameter(r)][: -(REFUSALS_MAX - 1)]
    return status.model_copy(update={"refusals": (*(r for r in others if r not in forgotten), new)})


def is_parameter(refusal: Refusal) -> bool:
    return refusal.subject not in WHOLE and refusal.subject != STORAGE


def key_of_target(refusal: Refusal) -> Key:
    kind, _, name = refusal.target.partition("/")
    return Key(kind, name)


def taken(status: CacheStatus) -> tuple[Key, ...]:
    """Where somebody else's object stood at the last try."""
    return tuple(key_of_target(refusal) for refusal in status.refusals if refusal.subject == NAME)


def is_due(refusal: Refusal, now: float) -> bool:
    """Whether it is time to try its wish anew."""
    return now - seconds(refusal.at) >= RETRY_S
