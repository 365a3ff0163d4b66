"""What a scenario's traffic is judged by: a change of the primary that was not planned is found in its records."""

from __future__ import annotations

from typing import Any

import pytest

from fleettest.client import Connection
from fleettest.traffic import Reader, Writer
from fleettest.trio import Seen


def connect() -> Connection:
    raise NotImplementedError


def seen(*kinds: str) -> Seen:
    writer = Writer("numbers", connect)
    found = Seen(writer, Reader(writer, connect), ())
    found.records = [record(epoch, kind) for epoch, kind in enumerate(kinds, 1)]
    return found


def record(epoch: int, kind: str) -> dict[str, Any]:
    return {"epoch": epoch, "kind": kind, "reason": "a reason"}


@pytest.mark.parametrize(
    "kinds",
    [(), ("continued",), ("continued", "elected", "continued"), ("handover", "elected"), ("elected", "handover")],
)
def test_what_was_not_planned_is_found(kinds: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError):
        seen(*kinds).was_planned()


def test_what_was_planned_passes() -> None:
    seen("continued", "handover", "continued").was_planned()


@pytest.mark.parametrize("kind", ["handover", "elected", "first"])
def test_a_primary_that_did_not_stay_is_found(kind: str) -> None:
    seen("continued").stayed()
    with pytest.raises(AssertionError):
        seen("continued", kind).stayed()
