"""Scalars with a form of their own: strings that people write as numbers (`maxclients: 500` is as good as "500",
x-kubernetes-int-or-string), and networks (the API server's format cidr)."""

from __future__ import annotations

from ipaddress import ip_interface
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


def as_network(text: str) -> str:
    """A network as 10.0.0.0/8 or fd00::/8. Raises ValueError."""
    address, _, bits = text.partition("/")
    try:
        if bits.isdecimal() and "%" not in address:
            ip_interface(text)
            return text
    except ValueError:
        pass
    raise ValueError("must be a network, as 10.0.0.0/8")


def int_or_string(**limits: Any) -> dict[str, Any]:
    """The schema of such a field."""
    return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True, **limits}
