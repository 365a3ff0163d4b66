"""The failover under random faults: no invariant breaks, a seed repeats, and each rule is missed when it is broken.

`make sim SEEDS=1-9` runs more schedules than the gate does, a thousand a seed; docs/figures.md has the sums.
"""

from __future__ import annotations

import time

import pytest
import simfleet
from simmanaged import Managed
from simmutations import MUTATIONS, Mutation, applied
from simserver import Server

from fleettest import figures

SERVERS = (Server, Managed)  # the small model, and the server's own state machine
KEPT = [
    pytest.param(778666, Server, id="the only data lost their end before the first record was told"),
    pytest.param(60671, Server, id="data of one that grew, whose process ended between two records that it never took"),
    pytest.param(2058, Managed, id="the next to be restarted was waited for with a disk that it had no more"),
]
SCHEDULES = 150
MANY = 1000
MUTANT_SCHEDULES_MAX = 400  # most are caught by one of the first fifty, all by one of the first two hundred
SEED_MAX = 10**6


def _story(schedule: int, make: type[Server]) -> str:
    return f"its story: python tests/sim/simrun.py {schedule}{' managed' if make is Managed else ''}"


@pytest.mark.parametrize("make", SERVERS, ids=lambda make: make.__name__)
def test_no_invariant_breaks(seed: int, make: type[Server]) -> None:
    """The first from the seed of the session, so each tree has schedules of its own."""
    began = time.process_time()
    first, events = seed % SEED_MAX, 0
    for one in range(first, first + SCHEDULES):
        try:
            events += simfleet.run(one, make=make).clock.delivered
        except (simfleet.Broken, simfleet.Crashed) as broken:
            pytest.fail(f"schedule {one}: {broken}   ({_story(one, make)})")
    figures.count(SCHEDULES)
    took_s = time.process_time() - began
    print(f"{SCHEDULES} schedules from {first}, {events} messages, {SCHEDULES / took_s:.0f} schedules a second")


@pytest.mark.parametrize("make", SERVERS, ids=lambda make: make.__name__)
def test_a_seed_repeats(make: type[Server]) -> None:
    one, other = simfleet.run(7, make=make), simfleet.run(7, make=make)
    assert one.record == other.record
    assert (one.acked, one.clock.delivered, one.decided) == (other.acked, other.clock.delivered, other.decided)


def test_schedules_meet_what_they_are_for() -> None:
    """Records of all kinds, and enough writes that losing one would be seen."""
    fleets = [simfleet.run(one) for one in range(len(simfleet.SETTINGS) * 3)]
    kinds = {record.kind for fleet in fleets for record in fleet.records.values()}
    assert kinds == {"first", "elected", "handover", "continued"}
    assert sum(len(written) for fleet in fleets for written in fleet.acked.values()) > 1000


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.rule}-{mutation.name}")
def test_a_broken_rule_is_noticed(mutation: Mutation) -> None:
    with applied(mutation):
        for one in (mutation.seed, *range(MUTANT_SCHEDULES_MAX)):
            try:
                simfleet.run(one, mutation.setting)
            except simfleet.Broken:
                return
    pytest.fail(f"{MUTANT_SCHEDULES_MAX} schedules do not notice it")


@pytest.mark.parametrize(("schedule", "make"), KEPT)
def test_what_was_broken_once(schedule: int, make: type[Server]) -> None:
    simfleet.run(schedule, make=make)


@pytest.mark.exhaustive
def test_many_schedules(seed: int) -> None:
    """For `make sim`, a seed of which is this many schedules."""
    for one in range(seed * MANY, (seed + 1) * MANY):
        make = SERVERS[one // len(simfleet.SETTINGS) % len(SERVERS)]
        try:
            simfleet.run(one, make=make)
        except (simfleet.Broken, simfleet.Crashed) as broken:
            pytest.fail(f"schedule {one}: {broken}   ({_story(one, make)})")
        figures.count()
