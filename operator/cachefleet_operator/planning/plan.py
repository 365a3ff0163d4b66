"""plan(snapshot, now): what to do next, what to say, and when to look again. Pure.

The order of the steps is the order of their importance; each is one function that looks at the snapshot alone and
returns what it wants, with a reason. At most one disruptive action a cycle, and none while an earlier one is still
under way. What was refused (status.refusals) is not asked for again until the wish or the server changed, or
RETRY_S have passed.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachefleet_operator.api.v1alpha1 import CacheStatus
from cachefleet_operator.planning.actions import Action
from cachefleet_operator.planning.snapshot import Snapshot

CONVERGING_S, STEADY_S, RETRY_S = 2.0, 30.0, 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    status: CacheStatus  # as it should be after the actions; written once, and only if it differs
    wake_after_s: float


def plan(snapshot: Snapshot, now: float) -> Plan:
    """What to do about one Cache at unix time `now`."""
    raise NotImplementedError
