"""The CRD's CEL rules without an API server.

cel-python knows the language, its regular expressions by RE2 as the API server's. What Kubernetes adds to it and our
rules use is registered here: `quantity(text)` and `compareTo`. An expression is compiled once; the library is imported
with the first, since most commands admit nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from cachefleet_operator.api.quantity import parse

Fields = Mapping[str, Any]


def holds(expression: str, value: Fields, old: Fields | None = None) -> bool:
    """Is the rule kept by `self` (and `oldSelf`)? One that cannot be evaluated is broken, as in the API server."""
    return _program(expression)(value, old)


@cache
def _program(expression: str) -> Callable[[Fields, Fields | None], bool]:
    from celpy import Environment
    from celpy.adapter import json_to_cel
    from celpy.celtypes import IntType
    from celpy.evaluation import CELEvalError

    def compare(one: Fraction, other: Fraction) -> IntType:
        return IntType((one > other) - (one < other))

    functions: dict[str, Any] = {"quantity": lambda text: parse(str(text)), "compareTo": compare}
    environment = Environment()
    program = environment.program(environment.compile(expression), functions=functions)

    def run(value: Fields, old: Fields | None) -> bool:
        facts = {"self": json_to_cel(dict(value)), "oldSelf": json_to_cel(dict(old or {}))}
        try:
            return bool(program.evaluate(facts))
        except CELEvalError:
            return False

    return run
