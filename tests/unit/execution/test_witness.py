"""What one operator remembers of what servers answered: how old it is by now, and when it is void."""

from __future__ import annotations

import pytest

from cachefleet_operator.execution.witness import VAIN_S, Witness, Witnesses
from cachefleet_operator.planning.failover.facts import Prepared, Target, Vain
from fleettest.views import EPOCH, TENURE, fenced, promise, record, reigning, state

ME = Target("c-0", "d0", "r0")


def test_a_promise_ages_from_when_it_was_heard() -> None:
    witness = Witness()
    witness.promised(promise(1, silence_s=0.5), 100.0)
    witness.promised(promise(2, silence_s=None), 100.0)
    found = witness.evidence(record(), {}, 102.0).promises
    assert found["d1"].silence_s == pytest.approx(2.5)
    assert found["d2"].silence_s is None


def test_asked_twice_the_tenure_that_was_held_is_not_forgotten() -> None:
    witness = Witness()
    witness.promised(promise(0, reign=TENURE), 1.0)
    witness.promised(promise(0, reign=0), 2.0)
    assert witness.evidence(record(), {}, 3.0).promises["d0"].reign == TENURE
    witness.promised(promise(0, reign=0, run="r9"), 4.0)
    assert witness.evidence(record(), {}, 5.0).promises["d0"].reign == 0


def test_a_process_is_dead_when_its_pod_answers_with_another() -> None:
    witness = Witness()
    for uid, run, at in (("u1", "a", 1.0), ("u1", "a", 2.0), ("u2", "c", 2.0)):
        witness.saw(uid, run, at)
    assert witness.evidence(record(), {}, 3.0).dead == frozenset()
    witness.saw("u1", "b", 3.0)
    assert witness.evidence(record(), {}, 4.0).dead == {"a"}


def test_what_is_heard_late_proves_no_death() -> None:
    """Two lanes look at different times; the one that tells later may have looked before."""
    witness = Witness()
    witness.saw("u1", "b", 3.0)
    witness.saw("u1", "a", 2.0)
    assert witness.evidence(record(), {}, 4.0).dead == frozenset()
    witness.saw("u1", "c", 5.0)
    witness.saw("u1", "b", 6.0)
    assert witness.evidence(record(), {}, 7.0).dead == {"b"}


def test_pauses_for_an_heir_are_in_vain_while_the_primary_goes_on() -> None:
    witness = Witness()

    def vain(now: float, tenure: int = TENURE) -> dict[str, Vain]:
        return dict(witness.evidence(record(tenure=tenure), {}, now).vain)

    assert vain(1.0) == {}
    witness.paused(ME, 10.8, "d1")
    assert vain(10.5) == {}, "it is under way"
    assert vain(12.8) == {"d1": Vain(1, 2.0)}
    witness.paused(ME, 20.8, "d1")
    witness.paused(ME, 30.8, "d2")
    assert vain(31.8) == {"d1": Vain(2, 11.0), "d2": Vain(1, 1.0)}
    witness.paused(ME, 40.8, "d2")
    witness.resumed(ME)
    assert vain(40.2)["d2"] == Vain(2, 0.0), "ended before its time"
    witness.paused(ME, 40.8 + VAIN_S, "d2")
    assert vain(41.8 + VAIN_S)["d2"] == Vain(1, 1.0), "long ago"
    assert vain(102.0, tenure=TENURE + 1) == {}, "another one is the primary"


def test_a_pause_ends_by_itself_and_an_agreement_is_of_one_process() -> None:
    witness = Witness()
    witness.paused(ME, 10.8, "d1")
    witness.agreed(ME, Prepared(EPOCH, frozenset(("d0", "d1")), 1))
    assert witness.evidence(record(), {}, 10.5).paused == {"d0"}
    assert witness.evidence(record(), {}, 10.9).paused == frozenset()
    assert witness.evidence(record(), {}, 10.9).agreed_by == ME
    witness.paused(ME, 20.0, "d1")
    witness.resumed(ME)
    assert not witness.evidence(record(), {}, 15.0).paused


def test_a_refusal_is_of_one_record_and_one_process() -> None:
    witness = Witness()
    witness.refused(Target("c-1", "d1", "r1"), EPOCH)
    assert witness.evidence(record(), {"c-1": state(1)}, 1.0).refused == {"c-1"}
    assert not witness.evidence(record(), {"c-1": state(1, run="r9")}, 1.0).refused
    assert not witness.evidence(record(epoch=EPOCH + 1), {"c-1": state(1)}, 1.0).refused


def test_since_when_the_primary_reigns_and_since_when_not() -> None:
    witness = Witness()
    reigns = {"c-0": reigning()}
    assert witness.evidence(record(), reigns, 100.0).reign_s == 0.0
    found = witness.evidence(record(), {}, 101.0)  # not heard of: it may still reign
    assert (found.reign_s, found.down_s) == (0.0, 0.0)
    found = witness.evidence(record(), reigns, 103.0)
    assert (found.reign_s, found.down_s) == (3.0, 0.0)
    found = witness.evidence(record(), reigns, 104.5, {"c-0": 1.0})  # it was asked a second ago
    assert (found.reign_s, found.down_s) == (3.5, 0.0)
    assert witness.evidence(record(epoch=EPOCH + 1), reigns, 104.0).reign_s == 0.0
    witness.evidence(record(), {"c-0": fenced(0)}, 105.0)
    found = witness.evidence(record(), {"c-0": fenced(0)}, 107.0)
    assert (found.reign_s, found.down_s) == (0.0, 2.0)


def test_since_when_a_member_has_another_disk() -> None:
    witness = Witness()
    other = {"c-1": state(1, disk="new")}
    assert witness.evidence(record(), other, 1.0).replaced_s == {"c-1": 0.0}
    assert witness.evidence(record(), other, 4.0).replaced_s == {"c-1": 3.0}
    assert witness.evidence(record(), {"c-1": state(1, disk="newer")}, 5.0).replaced_s == {"c-1": 0.0}
    assert witness.evidence(record(), {"c-1": state(1)}, 6.0).replaced_s == {}


def test_each_cache_has_a_memory_of_its_own() -> None:
    witnesses = Witnesses(lambda: 1.0)
    one = witnesses.of(("a", "b"))
    assert witnesses.of(("a", "b")) is one
    assert witnesses.of(("a", "c")) is not one
    witnesses.forget(("a", "b"))
    assert witnesses.of(("a", "b")) is not one
