"""Waiting for a condition with a deadline; nothing in the tests sleeps for a fixed time instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 10.0
PAUSE_S = 0.01


def assert_eventually(
    condition: Callable[[], T],
    message: str | Callable[[], str] = "",
    *,
    deadline_s: float = DEADLINE_S,
    pause_s: float = PAUSE_S,
) -> T:
    """Calls `condition` until it returns something true, and returns that.

    An AssertionError inside the condition counts as "not yet"; the last one is shown when time is up. Other
    exceptions pass through at once.
    """
    end = time.monotonic() + deadline_s
    last: AssertionError | None = None
    value: T | None = None
    while True:
        try:
            value = condition()
            last = None
        except AssertionError as error:
            last = error
        else:
            if value:
                return value
        if time.monotonic() >= end:
            break
        time.sleep(pause_s)
    text = message() if callable(message) else message
    what = f"{text or 'condition'} did not hold within {deadline_s} s"
    raise AssertionError(f"{what}; last value: {value!r}" if last is None else f"{what}: {last}") from last
