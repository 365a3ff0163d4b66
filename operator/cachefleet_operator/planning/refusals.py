"""What was refused is remembered in the status, so that nobody is asked again in a hot loop.

A refusal holds while its wish is still ours and RETRY_S have not passed; then it is dropped and the wish tried anew.
"""

from __future__ import annotations

from cachefleet_operator.api.v1alpha1 import CacheStatus, Refusal
from cachefleet_operator.planning.moments import seconds, stamp

RETRY_S = 300.0
REFUSALS_MAX = 32
MESSAGE_CHARACTERS_MAX = 1024
OBJECT = "object"  # the subject of a refused object; its wish is the object's applied hash
STORAGE = "storage.size"


def remember(
    status: CacheStatus, *, target: str, subject: str, wish: str, message: str, now: float
) -> CacheStatus:
    """The status with one more refusal; it replaces an older one of the same target and subject."""
    new = Refusal(target=target, subject=subject, wish=wish, message=message[:MESSAGE_CHARACTERS_MAX], at=stamp(now))
    others = [r for r in status.refusals if (r.target, r.subject) != (target, subject)]
    return status.model_copy(update={"refusals": (*others[-(REFUSALS_MAX - 1) :], new)})


def standing(status: CacheStatus, now: float) -> tuple[Refusal, ...]:
    """Those that are not too old to hold."""
    return tuple(r for r in status.refusals if now - seconds(r.at) < RETRY_S)
