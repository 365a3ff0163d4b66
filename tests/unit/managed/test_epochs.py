"""Epochs that no record leads to: they are not promised, or nothing could ever follow."""

from __future__ import annotations

import pytest

from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed.machine import EPOCHS_AHEAD, PRIMARY, Machine
from cachefleet_server.managed.state import ASYNC, ELECTED, Greeting, Position, Quorum, Record, Start, Stored

pytestmark = pytest.mark.unit

P, B, DATA, END = "p" * 40, "b" * 40, "d" * 40, 120
KEPT = Stored(P, boot="boot", data_set=DATA, promise=3, starts=(Start(3, 50),), offset=100, kept=True)
LAST = 10**18 - 1  # that can be said
FAR = KEPT.promise + EPOCHS_AHEAD + 1


def started(stored: Stored | None = KEPT) -> Machine:
    machine = Machine(stored, run="run", draw=lambda: P)
    machine.handle(e.Started(END, torn=False, kept=True, synced=False, boot="boot"), 0)
    return machine


def told(epoch: int, primary: str = P) -> e.Told:
    two = Quorum(frozenset((P, B)), 1)
    at = Position(3, END)
    record = Record(epoch, epoch, ELECTED, primary, "run", two, at, DATA, ASYNC, ("10.0.0.1", 6379))
    return e.Told(P, record, "", END)


@pytest.mark.parametrize("epoch", [FAR, LAST])
@pytest.mark.parametrize("what", [told, lambda epoch: told(epoch, B), lambda epoch: e.Fence(P, epoch, "", END)])
def test_what_is_far_above_the_promise_is_refused_and_nothing_changes(epoch: int, what: object) -> None:
    machine = started()
    machine.handle(told(4), 0)
    actions = machine.handle(what(epoch + 1), 0)  # type: ignore[operator]
    assert [action.word for action in actions if isinstance(action, a.Refuse)] == ["ERR"]
    assert (machine.role, machine.stored.promise) == (PRIMARY, 4)


def test_as_far_as_that_it_is_promised() -> None:
    machine = started()
    assert not any(isinstance(action, a.Refuse) for action in machine.handle(e.Fence(P, FAR - 1, "", END), 0))
    assert machine.stored.promise == FAR - 1


def test_who_has_promised_nothing_takes_the_record_that_there_is() -> None:
    """A new pod of a Cache that is old."""
    machine = started(None)
    assert a.Done() in machine.handle(told(LAST, B), 0)
    assert machine.stored.promise == LAST


def test_a_primary_that_is_far_above_is_not_followed() -> None:
    machine = started()
    machine.handle(told(4, B), 0)
    greeted = machine.handle(e.Greeted(Greeting(LAST, B, DATA, KEPT.starts)), 0)
    assert [type(action) for action in greeted] == [a.Drop]
    machine.handle(e.Greeted(Greeting(4, B, DATA, KEPT.starts)), 0)
    assert isinstance(machine.handle(e.Heard(LAST, END), 0)[0], a.Drop)
    assert machine.stored.promise == 4
