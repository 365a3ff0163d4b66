"""O3: a record that asks less of the primary: stored first, told then.

Allowed when (S, A) implies (S', A'): whatever A of S have, A' of S' have. So members may be added, one may go for each
acknowledgement less, or the primary goes on alone. Only while it answers and holds the tenure, and never in a record
that elects: the disk of the only member may be gone by then. For the same reason no set is left in which more members
than it can miss have lost their disk.
"""

from __future__ import annotations

from cachefleet_operator.api.v1alpha1 import Member, RecordedPrimary, Topology
from cachefleet_operator.planning.failover.facts import Seat, State, View, disks, is_superseded
from cachefleet_operator.planning.failover.moves import Decide, Move


def implies(record: Topology, members: tuple[Member, ...], acks: int) -> bool:
    if acks == 0:
        return True
    removed = disks(record.members) - {record.primary.disk} - disks(members)
    return record.acks - len(removed) >= acks


def is_safe(view: View, members: tuple[Member, ...], acks: int) -> bool:
    return sum(is_superseded(view, member) for member in members) <= acks


def move(view: View, seat: Seat, state: State, members: tuple[Member, ...], acks: int) -> Move | None:
    if not implies(view.stands, members, acks) or not is_safe(view, members, acks):
        return None
    return continued(view, state, members, acks, _words(view, seat, members, acks))


def continued(view: View, state: State, members: tuple[Member, ...], acks: int, words: str) -> Decide:
    """The primary stays, under the next epoch; its process is that which answers."""
    record = view.stands
    made = record.model_copy(
        update={
            "epoch": view.next_epoch(), "kind": "continued", "members": members, "acks": acks, "reason": words,
            "primary": RecordedPrimary(pod=record.primary.pod, disk=record.primary.disk, run=state.run),
            "data_set": record.data_set or state.data_set or None,
            "durability": view.wish.durability, "down_since": None,
        }
    )  # fmt: skip
    return Decide(words=words, record=made)


def _words(view: View, seat: Seat, members: tuple[Member, ...], acks: int) -> str:
    before, after = disks(view.stands.members), disks(members)
    came = [member.pod for member in members if member.disk not in before]
    went = [member.pod for member in view.stands.members if member.disk not in after]
    parts = [f"{' and '.join(came)} in sync"] if came else []
    parts += [f"{' and '.join(went)} away"] if went else []
    alone = f"{seat.pod} goes on alone" if acks == 0 else f"{seat.pod} goes on with {acks} of {len(members) - 1}"
    return f"{alone}: {', '.join(parts) or 'so it is wished'}"
