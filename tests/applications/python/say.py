"""What scenario.md says of values, for the programs in Python: `say(step, *values)` prints a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def text(value: Any) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return text(value.decode())
    if isinstance(value, str):
        return "1" if value == "OK" else value
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        return "{" + " ".join(sorted(f"{text(key)}={text(one)}" for key, one in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(text(one) for one in value) + "]"
    return str(value)


def scored(pair: Any) -> str:
    """A member with its score."""
    member, score = pair
    return f"{text(member)}={text(float(score))}"


def ordered(members: Iterable[Any]) -> list[str]:
    return sorted(text(member) for member in members)


def say(step: str, *values: Any) -> None:
    print(f"{step}: {' '.join(text(value) for value in values)}", flush=True)
