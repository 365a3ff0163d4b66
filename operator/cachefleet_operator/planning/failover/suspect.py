"""O9: when a server is suspect. Suspicion elects nobody: it only has others asked for their promises.

O8: that a pod object is missing (force delete), is not ready, or misses probes proves no death. Deaths for certain are
`Evidence.dead`, and come from the processes themselves.
"""

from __future__ import annotations

from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.facts import Seat, View, disks


def is_silent(seat: Seat | None) -> bool:
    """It missed three questions, or nothing listens where its container has terminated, or there is no pod to ask."""
    if seat is None or not seat.exists:
        return True
    return seat.failures >= times.FAILURES_SUSPECT or (seat.refuses and seat.ended)


def is_heard(view: View) -> bool:
    """Whether a member has heard the primary's beat lately: then it is we who do not reach it."""
    record = view.stands
    members = disks(record.members) - {record.primary.disk}
    return any(
        state.beat_s is not None and state.beat_s < times.BEAT_MISSED_S
        for _, state in view.answering()
        if state.disk in members and state.follows == record.primary.disk
    )


def primary(view: View) -> bool:
    """Whether the record's primary, which does not answer, is suspect."""
    return is_silent(view.seat(view.stands.primary.pod)) and not is_heard(view)
