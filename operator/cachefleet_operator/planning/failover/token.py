"""§10: a person's word, where the rules wait: annotation cachefleet.io/data-from on the Cache.

    <pod>/<disk>@<epoch>    what this member has is what there is
    empty@<epoch>           go on without data

It is valid over the record of that epoch alone (0: there is none), so it cannot decide twice. It stands in for the
quorum, never for the promise: the chosen server is fenced first, as any other. It says, too, that a primary that nobody
reaches is dead. Who has other data keeps them, and takes no part until a person gives its pod an empty volume. Without
persistence a single pod has nothing after a restart, as was asked for: that is `empty` without a word.
"""

from __future__ import annotations

import re

from cachefleet_operator.planning.failover import first
from cachefleet_operator.planning.failover.elect import alone
from cachefleet_operator.planning.failover.facts import Promise, Seat, View
from cachefleet_operator.planning.failover.moves import ELECTING, NO_CANDIDATE, Decide, Fence, Move, Rest

EMPTY = "empty"
_TOKEN = re.compile(r"(?:(?P<pod>[^/@\s]+)/(?P<disk>[^/@\s]+)|empty)@(?P<epoch>[0-9]{1,18})")


def wanted(view: View) -> tuple[str, str] | None:
    """Pod and disk that are meant, or EMPTY and ""; None: nothing is said, or not of this record."""
    stands = view.record.epoch if view.record is not None else 0
    found = _TOKEN.fullmatch(view.token)
    if found is not None and int(found["epoch"]) == stands:
        return (found["pod"], found["disk"]) if found["pod"] else (EMPTY, "")
    implied = not view.wish.keeps_data and view.wish.instances == 1 and view.record is not None
    return (EMPTY, "") if implied else None


def move(view: View) -> Move | None:
    said = wanted(view)
    if said is None:
        return None
    epoch = first.epoch(view) if first.is_first(view) else view.next_epoch()
    promises = view.promised(epoch)
    unasked = [
        seat.target for seat, state in view.answering()
        if state.disk not in promises and not state.loading and not view.is_far(state)
    ]  # fmt: skip
    if unasked:
        words = f"asking {', '.join(target.pod for target in unasked)} to promise epoch {epoch}, as a person said"
        return Fence(words=words, reason=ELECTING, epoch=epoch, servers=tuple(unasked))
    pairs = first.pairs_of(view, promises)
    return _empty(view, pairs, epoch) if said == (EMPTY, "") else _data(view, pairs, said, epoch)


def _data(view: View, pairs: list[tuple[Seat, Promise]], said: tuple[str, str], epoch: int) -> Move:
    for seat, promise in pairs:
        if (seat.pod, promise.disk) == said:
            words = f"{seat.pod} is the primary, with what it has: a person said so"
            made = alone(view, seat, promise, epoch, words)
            made = made.model_copy(update={"data_set": promise.data_set or first.new_data_set(view, pairs)})
            return Decide(words=words, reason=ELECTING, record=made, rolled_back=True)
    return Rest(words=f"{'/'.join(said)}, which a person named, does not answer", reason=NO_CANDIDATE)


def _empty(view: View, pairs: list[tuple[Seat, Promise]], epoch: int) -> Move:
    blank = [pair for pair in pairs if first.is_blank(pair[1])]
    if not blank:
        return Rest(words="no server is empty, as a person wants one to be", reason=NO_CANDIDATE)
    seat, promise = min(blank, key=lambda pair: (pair[0].going, pair[0].ordinal))
    words = f"{seat.pod} is the primary, without data"
    made = alone(view, seat, promise, epoch, words)
    made = made.model_copy(update={"data_set": first.new_data_set(view, pairs)})
    return Decide(words=words, reason=ELECTING, record=made, rolled_back=True)
