"""Strings that people write as numbers: `maxclients: 500` is as good as "500" (x-kubernetes-int-or-string)."""

from __future__ import annotations

from typing import Any


def as_text(value: Any) -> str:
    """The text of an integer or string, as JSON has them. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("must be an integer or a string; yes, no, on and off need quotes in YAML")
    if isinstance(value, int) and value.bit_length() <= 64:
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be an integer or a string; write other numbers in quotes")
    return value


def int_or_string(**limits: Any) -> dict[str, Any]:
    """The schema of such a field."""
    return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True, **limits}
