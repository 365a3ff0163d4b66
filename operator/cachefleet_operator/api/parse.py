"""From what the API carries to a Cache, or to words that say which field is wrong.

The API server has usually checked the body against the CRD; not when the CRD is older than this operator, or when there
is no API server. So every body is possible here, and the only exception is Malformed.

A status is ours: a part of it that cannot be read (another version wrote it) is dropped and made anew, for else nobody
could ever repair it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache

FAULTS_MAX = 10  # as many are said
INPUT_CHARACTERS_MAX = 80
PATH_CHARACTERS_MAX = 200  # a key of somebody's may be part of it

# pydantic's types of errors in our words, where its own speak of Python.
WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
    "string_unicode": "must be Unicode",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "too_long": "must have at most {max_length} items",
    "string_too_long": "must have at most {max_length} characters",
}


class Malformed(ValueError):
    """A body that is no Cache; `faults` has one sentence each, beginning with the field."""

    def __init__(self, faults: list[str]) -> None:
        more = f" and {len(faults) - FAULTS_MAX} more" if len(faults) > FAULTS_MAX else ""
        super().__init__("; ".join(faults[:FAULTS_MAX]) + more)
        self.faults = faults


def parse(body: Any) -> Cache:
    """The Cache of a body as the API carries it. Raises Malformed."""
    if not isinstance(body, Mapping):
        raise Malformed(["a Cache must be an object"])
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if body.get(field) != expected:
            raise Malformed([f"{field}: must be {expected}"])
    try:
        return Cache.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False)
    wrong = [sentence(detail) for detail in details if detail["loc"][:1] != ("status",)]
    if wrong:
        raise Malformed(wrong)
    return _with_readable_status(body, details)


def _with_readable_status(body: Mapping[str, Any], details: list[ErrorDetails]) -> Cache:
    unread = {detail["loc"][1] for detail in details if len(detail["loc"]) > 1}
    status = body["status"] if isinstance(body["status"], Mapping) else {}
    try:
        return Cache.model_validate({**body, "status": {k: v for k, v in status.items() if k not in unread}})
    except ValidationError:
        return Cache.model_validate({**body, "status": {}})


def sentence(detail: ErrorDetails) -> str:
    """A complaint of pydantic's as `spec.memory.limit: ...`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    known = WORDS.get(detail["type"], "").format(**detail.get("ctx", {}))
    words = known or detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    text = f"{path[:PATH_CHARACTERS_MAX]}: {words}{_shown(detail['input'])}"
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(given: Any) -> str:
    """The value itself if it is short and plain."""
    plain = isinstance(given, str | bool | float) or (isinstance(given, int) and given.bit_length() <= 64)
    text = ascii(given) if plain else ""
    return f", not {text}" if text and len(text) <= INPUT_CHARACTERS_MAX else ""
