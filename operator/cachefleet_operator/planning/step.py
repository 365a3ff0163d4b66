"""Step: what one part of the plan wants. `plan.py` runs the parts in order and joins what they say."""

from __future__ import annotations

from dataclasses import dataclass

from cachefleet_operator.planning.actions import Action


@dataclass(frozen=True, slots=True)
class Step:
    actions: tuple[Action, ...] = ()
    progress: str = ""  # reason of condition Progressing while this goes on, e.g. "Restarting"
    waiting: str = ""  # what it waits for, as a sentence; empty = nothing
    patient: bool = False  # it waits for a person: looked at less and less often


NOTHING = Step()
