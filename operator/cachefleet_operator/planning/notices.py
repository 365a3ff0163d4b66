"""Notices: events for what began, ended or became something else without an act of ours, read off the change of the
status. Two reasons that take turns are told in each turn; who sends events says the same once in a while only
(execution/kube/events.py).
"""

from __future__ import annotations

from typing import NamedTuple

from cachefleet_operator.api import conditions
from cachefleet_operator.api.v1alpha1 import CacheStatus
from cachefleet_operator.planning.actions import EventType


class Notice(NamedTuple):
    """An event without an act."""

    type: EventType
    word: str  # CamelCase
    message: str


# The status of these conditions that is a warning.
_BAD = {conditions.READY: "False", conditions.DEGRADED: "True", conditions.PRIMARY_HEALTHY: "False"}


def notices(old: CacheStatus, new: CacheStatus) -> tuple[Notice, ...]:
    """Events for the change from `old` to `new`."""
    before = {c.type: c for c in old.conditions}
    found = []
    for condition in new.conditions:
        was = before.get(condition.type)
        bad = condition.status == _BAD.get(condition.type)
        # That a new Cache is not ready yet is no news; that something is wrong with it is.
        new_ones = (conditions.READY, conditions.PRIMARY_HEALTHY)
        expected = _BAD[conditions.READY] if condition.type in new_ones else "False"
        news = condition.status != (was.status if was else expected)
        other = was is not None and was.reason != condition.reason
        # Somebody who mends a refused spec wants to hear what is still wrong with it.
        mended = condition.reason == "SpecRefused" and was is not None and was.message != condition.message
        if condition.type in _BAD and (news or (condition.type == conditions.DEGRADED and (other or mended))):
            message = condition.message or "nothing is wrong any more"
            found.append(Notice("Warning" if bad else "Normal", condition.reason, message))
    return tuple(found)
