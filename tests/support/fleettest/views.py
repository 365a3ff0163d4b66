"""Facts for tests of planning/failover: three pods `c-0` to `c-2`, disk `d0` in the first, run `r0` in it, and so on.

`view()` is a fleet that is well: record 5, c-0 reigns since 3, the others follow it, and all confirm. What a test
changes is what it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cachefleet_operator.api.v1alpha1 import Member, Position, RecordedPrimary, Topology
from cachefleet_operator.planning.failover.facts import (
    Confirmed,
    Evidence,
    Point,
    Promise,
    Seat,
    State,
    View,
    Wish,
)

DATA = "data"
EPOCH, TENURE = 5, 3
START, HERE = Point(2, 100), Point(TENURE, 200)


def record(*members: int, primary: int = 0, acks: int | None = None, **more: Any) -> Topology:
    ordinals = members or (0, 1, 2)
    facts = {
        "epoch": EPOCH, "tenure": TENURE, "kind": "continued", "acks": len(ordinals) - 1 if acks is None else acks,
        "start": Position(tenure=START.tenure, offset=START.offset), "data_set": DATA, "durability": "replicated",
        **more,
    }  # fmt: skip
    return Topology(
        primary=RecordedPrimary(pod=f"c-{primary}", disk=f"d{primary}", run=f"r{primary}"),
        members=tuple(member(n) for n in ordinals), **facts,
    )  # fmt: skip


def member(ordinal: int, disk: str = "") -> Member:
    return Member(pod=f"c-{ordinal}", disk=disk or f"d{ordinal}", claim_uid=f"v{ordinal}")


def state(ordinal: int, **more: Any) -> State:
    """Of a replica that is in sync."""
    facts = {
        "disk": f"d{ordinal}", "run": f"r{ordinal}", "data_set": DATA, "keys": 9, "promise": EPOCH, "epoch": EPOCH,
        "at": HERE, "marked": TENURE, "follows": "d0", "link": "up", "beat_s": 0.1, **more,
    }  # fmt: skip
    return State(**facts)


def reigning(ordinal: int = 0, *, confirmed: Mapping[str, Confirmed] | None = None, **more: Any) -> State:
    said = {f"d{n}": Confirmed(HERE, 0.1) for n in range(3) if n != ordinal} if confirmed is None else confirmed
    facts = {"reign": TENURE, "follows": "", "link": "none", "beat_s": None, "lease": "held", "confirmed": said, **more}
    return state(ordinal, **facts)


def fenced(ordinal: int, **more: Any) -> State:
    """As after a restart, or a FENCE."""
    return state(ordinal, **{"epoch": 0, "follows": "", "link": "none", "beat_s": None, **more})


def seat(ordinal: int, said: State | None, **more: Any) -> Seat:
    """Nothing said: it does not answer, and is suspect."""
    facts: dict[str, Any] = {"answers": said is not None, "failures": 0 if said is not None else 3, **more}
    return Seat(pod=f"c-{ordinal}", ordinal=ordinal, claim_uid=f"v{ordinal}", state=said, **facts)


def promise(ordinal: int, **more: Any) -> Promise:
    facts = {
        "epoch": EPOCH + 1, "disk": f"d{ordinal}", "run": f"r{ordinal}", "at": HERE, "marked": TENURE,
        "silence_s": 60.0, "data_set": DATA, "keys": 9, **more,
    }  # fmt: skip
    return Promise(**facts)


def view(
    *said: State | Seat | None, of: Topology | None = None, wish: Wish | None = None, token: str = "",
    promises: tuple[Promise, ...] = (), successor: str = "", **evidence: Any,
) -> View:  # fmt: skip
    """What the servers say, by ordinal; None: that one is away."""
    found = said or (reigning(), state(1), state(2))
    seats = tuple(one if isinstance(one, Seat) else seat(n, one) for n, one in enumerate(found))
    known = Evidence(promises={one.disk: one for one in promises}, **{"reign_s": 60.0, "down_s": 1.0, **evidence})
    wanted = wish or Wish(len(seats), "replicated", copies=max(1, len(seats) - 1))
    return View(of or record(*range(len(seats))), seats, wanted, known, seed="seed", token=token, successor=successor)


def without_record(found: View) -> View:
    return replace(found, record=None)
