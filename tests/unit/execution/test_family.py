"""The family CACHEFLEET: what we write is what the server reads, and its answers, or what is none."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from cachefleet_operator.execution import admin, family
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ports import Command, Reply
from cachefleet_operator.planning.failover.facts import Confirmed, Point, Prepared, Target
from cachefleet_operator.planning.snapshot import Server
from cachefleet_server.managed import events as e
from cachefleet_server.managed import words
from cachefleet_server.managed.state import Position, Quorum
from fleettest.views import record

TARGET = Target("c-0", "d0", "r0")
FIELDS: dict[str, Any] = {
    "disk": "d0", "run": "r0", "boot": "b", "claim": "", "data-set": "data", "keys": 7, "promise": 5, "epoch": 5,
    "role": "primary", "reign": 3, "solo-epoch": 0, "prepared": "5 1 d0,d1", "tenure": 3, "offset": 200, "marked": 3,
    "confirmed-age-ms": 1500, "primary": "", "link": "none", "beat-age-ms": "", "loading": 0, "lease": "held",
    "confirmations": "d1=3:190:120,d2=3:0:-1", "something-new": "x",
}  # fmt: skip


def flat(**changes: Any) -> Reply:
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [str(word).encode() for name, value in fields.items() if value is not None for word in (name, value)]


def test_a_record_is_read_as_it_was_written() -> None:
    command = family.record_command(record(acks=1), TARGET, ("10.0.0.1", 6379), "v0")
    told = words.event(words.record, list(command), 0)
    assert isinstance(told, e.Told)
    assert (told.disk, told.claim) == ("d0", "v0")
    got = told.record
    assert (got.epoch, got.tenure, got.kind, got.primary, got.run) == (5, 3, "continued", "d0", "r0")
    assert (got.quorum, got.start) == (Quorum(frozenset(("d0", "d1", "d2")), 1), Position(2, 100))
    assert (got.data_set, got.durability, got.address) == ("data", "replicated", ("10.0.0.1", 6379))
    unclaimed = words.event(words.record, list(family.record_command(record(), TARGET, ("::1", 1), "")), 0)
    assert isinstance(unclaimed, e.Told)
    assert unclaimed.claim == ""


@pytest.mark.parametrize(
    ("parse", "command", "expected"),
    [
        (words.fence, family.fence_command(TARGET, 6, "v0"), e.Fence("d0", 6, "v0", 9)),
        (words.fence, family.fence_command(TARGET, 6, ""), e.Fence("d0", 6, "", 9)),
        (
            words.prepare, family.prepare_command(TARGET, Prepared(5, frozenset(("d0", "d1")), 1)),
            e.Prepare("d0", 5, Quorum(frozenset(("d0", "d1")), 1), 9),
        ),
        (words.pause, family.pause_command(TARGET, 5, 800), e.Pause("d0", 5, 800)),
        (words.resume, family.resume_command(TARGET, 5), e.Resume("d0", 5)),
    ],
)  # fmt: skip
def test_commands(parse: words.Parse, command: Command, expected: e.Event) -> None:
    assert words.event(parse, list(command), 9) == expected


def test_a_state_is_read() -> None:
    found = family.state(flat())
    assert found is not None
    assert (found.disk, found.run, found.promise, found.epoch, found.reign) == ("d0", "r0", 5, 5, 3)
    assert (found.at, found.marked, found.beat_s, found.loading) == (Point(3, 200), 3, None, False)
    assert found.prepared == Prepared(5, frozenset(("d0", "d1")), 1)
    assert found.confirmed == {"d1": Confirmed(Point(3, 190), 0.12)}, "who confirmed no beat yet has not confirmed"
    follower = family.state(flat(reign=0, primary="d9", beat_age_ms=250, loading=1, confirmations="", prepared=""))
    assert follower is not None
    assert (follower.follows, follower.beat_s, follower.loading, follower.prepared) == ("d9", 0.25, True, None)


def test_who_is_not_managed_says_nothing_of_itself() -> None:
    for words_ in ("ERR This server is not managed.", "ERR unknown command 'CACHEFLEET'"):
        assert family.state(hiredis.ReplyError(words_)) is None


@pytest.mark.parametrize(
    "reply",
    [b"OK", None, [], flat(disk=""), flat(run=None), flat(epoch="many"), flat(offset=-1), flat(promise="9" * 30),
     flat(confirmations="d1"), flat(confirmations="d1=3:x:1"), flat(prepared="5")],
)  # fmt: skip
def test_an_answer_that_is_none(reply: Reply) -> None:
    with pytest.raises(ExecutionError):
        family.state(reply)


def test_a_promise_is_read_and_an_age_that_is_not_there_means_never() -> None:
    found = family.promise(flat(), 6)
    assert (found.epoch, found.disk, found.run, found.at, found.reign, found.silence_s) == (
        6, "d0", "r0", Point(3, 200), 3, 1.5,
    )  # fmt: skip
    assert family.promise(flat(confirmed_age_ms=""), 6).silence_s is None


class _Line:
    def __init__(self) -> None:
        self.asked: list[Command] = []

    async def ask(self, commands: Any) -> list[Reply]:
        self.asked += commands
        answers: list[Reply] = [b"role:master\r\n", b"PONG", flat()]
        return answers[: len(commands)]

    def close(self) -> None: ...


@pytest.mark.asyncio
@pytest.mark.parametrize("managed", ["yes", "no", None])
async def test_only_who_is_managed_is_asked_for_its_state(managed: str | None) -> None:
    line = _Line()
    known = Server("c-0", parameters={"managed": managed} if managed else {})
    found = await admin.glance(line, known)
    assert (family.STATE in line.asked) == (managed == "yes")
    assert (found.managed is not None) == (managed == "yes")
