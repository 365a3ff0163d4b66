"""Kubernetes quantities ("1Gi", "500m", "1e3") as exact numbers, and back in one canonical form.

`Quantity` is a string field of the models: what a user wrote is kept, what we compare and compute is `parse`d.
Source of the grammar: the API conventions' resource.Quantity; suffixes are case-sensitive.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from cachefleet_operator.api.scalars import as_text, int_or_string

_SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{s: Fraction(1000**i) for i, s in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{s: Fraction(1024**i) for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
CHARACTERS_MAX = 64  # far more than any number needs; the cost of the CRD's rules is estimated from it
PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$"
_MATCH = re.compile(PATTERN)


def parse(text: str) -> Fraction:
    """The value of a quantity. Raises ValueError in Kubernetes' words."""
    match = _MATCH.fullmatch(text) if len(text) <= CHARACTERS_MAX else None
    if match is None:
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    suffix = match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        exponent = int(suffix[1:])
        if abs(exponent) > 24:
            raise ValueError(f"quantity {text!r} is out of range")
        return Fraction(text[: match.start(2)]) * Fraction(10) ** exponent
    return Fraction(text[: match.start(2)] if suffix else text) * _SUFFIXES[suffix]


def as_stored(text: str) -> Fraction:
    """The value that an object holds after it was written: the API server rounds amounts up to thousandths."""
    return Fraction(-(-1000 * parse(text) // 1), 1000)


def to_bytes(text: str) -> int:
    """A quantity of memory or storage in bytes, rounded up as Kubernetes does."""
    value = parse(text)
    return -(-value.numerator // value.denominator)


def _take(value: Any) -> str:
    text = as_text(value)
    parse(text)
    return text


Quantity = Annotated[
    str, BeforeValidator(_take), WithJsonSchema(int_or_string(pattern=PATTERN, maxLength=CHARACTERS_MAX))
]
