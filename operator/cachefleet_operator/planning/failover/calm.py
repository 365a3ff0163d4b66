"""When nothing can become otherwise by what is no news: then nobody needs to look before there is some.

What a prober tells at once (execution/prober.py): answers that fail, links, epochs, promises, disks, runs, and ages
that pass QUIET_S, LEASE_S and BEAT_MISSED_S. What it does not: positions, which decide who joins and who may take over,
and time that passes, after which somebody is told again or given up. So the set must be as it should be, all of it here
and confirming, and nobody be about to leave.
"""

from __future__ import annotations

from cachefleet_operator.planning.failover import handover, times
from cachefleet_operator.planning.failover.facts import Seat, State, View, disks


def is_calm(view: View, primary: Seat, state: State) -> bool:
    """Of a view about which nothing is to be done; `state` is the primary's, which reigns."""
    if len(view.seats) != view.wish.instances or view.token or state.prepared is not None:
        return False
    if handover.is_to_leave(view, primary) or handover.asked_for(view):
        return False
    return all(seat is primary or _is_well(view, state, seat) for seat in view.seats) and not primary.failures


def _is_well(view: View, primary: State, seat: Seat) -> bool:
    """A member that follows and confirms."""
    said = seat.state
    if said is None or not seat.answers or seat.failures or said.disk not in disks(view.stands.members):
        return False
    confirmed = primary.confirmed.get(said.disk)
    follows = said.follows == primary.disk and said.link == "up" and not said.loading
    heard = said.beat_s is not None and said.beat_s < times.BEAT_MISSED_S
    return follows and heard and confirmed is not None and confirmed.age_s < times.QUIET_S
