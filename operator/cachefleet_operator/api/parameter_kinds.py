"""Kinds of parameters: from a value as somebody writes it to the text that CONFIG GET shows, or a complaint.

KINDS maps the names of the server's kinds to functions `(limits, value, default) -> shown`, pure and without state;
each raises ValueError in the server's words. A value is one string, as CONFIG SET gets it; kinds of several words split
it at single spaces. Showing is idempotent: what was shown is taken back unchanged.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

LONG_MAX, ULONG_MAX = 2**63 - 1, 2**64 - 1

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_MEMORY = re.compile(r"([0-9]{0,127})([a-zA-Z]{0,2})")
# No two neighbours may match the same character: a long value would be tried at each of its characters as their border.
_C_INTEGER = re.compile(r"(?:[\t-\r ]*([-+]?)0*([1-9][0-9]*)?)?")
_FLOAT = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?|inf|infinity)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row of the server's table says of its kind; each kind reads what it needs."""

    low: int = 0
    high: int = LONG_MAX
    clamp_low: int = -LONG_MAX - 1  # silently moved into the limits
    clamp_high: int = ULONG_MAX
    percent: bool = False
    words: tuple[str, ...] = ()
    none: str = ""
    exclusive: tuple[str, ...] = ()
    pattern: str = ""
    complaint: str = ""
    empty: bool = True
    bytes_max: int = 0  # 0 = any number
    too_long: str = ""
    limit: int = 64
    version: int = 4


Show = Callable[[Limits, str, str], str]


def _text(limits: Limits, value: str, default: str) -> str:
    if limits.bytes_max and len(value.encode("utf-8", "surrogateescape")) > limits.bytes_max:
        raise ValueError(limits.too_long)
    fine = limits.empty if not value else not limits.pattern or re.fullmatch(limits.pattern, value)
    if not fine:
        raise ValueError(limits.complaint)
    return value


def _filename(limits: Limits, value: str, default: str) -> str:
    if "/" in value or value in ("", ".", ".."):
        raise ValueError(limits.complaint)
    return value


def _folder(limits: Limits, value: str, default: str) -> str:
    """Only the server knows which folders it has."""
    return value


def _ip_address(limits: Limits, value: str, default: str) -> str:
    address = ipaddress.IPv4Address if limits.version == 4 else ipaddress.IPv6Address
    try:
        if value:
            address(value)
        if "%" in value:
            raise ValueError
    except ValueError:
        raise ValueError(f"Invalid IPv{limits.version} address") from None
    return value


def _words(limits: Limits, value: str, default: str) -> str:
    kept = [word for word in value.split(" ") if word]
    if len(kept) > limits.limit:
        raise ValueError(limits.complaint or "wrong number of arguments")
    return " ".join(kept)


def _primary(limits: Limits, value: str, default: str) -> str:
    words = value.split(" ")
    if [word.lower() for word in words] in ([""], ["no", "one"]):
        return ""
    if len(words) != 2:
        raise ValueError("wrong number of arguments")
    port = _number(words[1])
    if port is None or not 0 <= port <= 65535:
        raise ValueError("Invalid primary port")
    return f"{words[0]} {port}"


def _bool(limits: Limits, value: str, default: str) -> str:
    if value.lower() not in ("yes", "no"):
        raise ValueError("argument must be 'yes' or 'no'")
    return value.lower()


def _number(text: str) -> int | None:
    """A decimal 64-bit integer in canonical form: no blanks, no plus sign, no leading zeros."""
    if not _INTEGER.fullmatch(text) or not -LONG_MAX - 1 <= int(text) <= LONG_MAX:
        return None
    return int(text)


def _c_number(text: str) -> int | None:
    """As strtoll reads it: blanks and a plus sign before it, leading zeros, nothing for 0; too large is the largest."""
    match = _C_INTEGER.fullmatch(text)
    if match is None or (match[1] and text.endswith(match[1])):
        return None
    value = _digits(match[2] or "0")
    return max(-value, -LONG_MAX - 1) if match[1] == "-" else min(value, LONG_MAX)


def _within(limits: Limits, value: int) -> int:
    if not limits.low <= value <= limits.high:
        raise ValueError(f"argument must be between {limits.low} and {limits.high} inclusive")
    return min(max(value, limits.clamp_low), limits.clamp_high)


def _integer(limits: Limits, value: str, default: str) -> str:
    number = _number(value)
    if number is None:
        raise ValueError("argument couldn't be parsed into an integer")
    return str(_within(limits, number))


def _octal(limits: Limits, value: str, default: str) -> str:
    if not re.fullmatch("[0-7]+", value):
        raise ValueError("argument couldn't be parsed as an octal number")
    number = int(value, 8)
    if not limits.low <= number <= limits.high:
        raise ValueError(f"argument must be between {limits.low:o} and {limits.high:o} inclusive")
    return f"{number:o}"


def _bytes(text: str) -> int | None:
    """Bytes with an optional unit: b, k (1000), kb (1024), m, mb, g, gb in any case."""
    match = _MEMORY.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        return None
    number = _digits(match[1]) * unit
    return number if number <= ULONG_MAX else None


def _digits(text: str) -> int:
    """The number; one of more digits than 64 bits have is cut off but still too large, for int() refuses thousands."""
    return int(text.lstrip("0")[:24] or 0)


def _memory(limits: Limits, value: str, default: str) -> str:
    share = _number(value[:-1]) if limits.percent and value.endswith("%") else None
    if share is not None and share >= 0:
        if share > 100:
            raise ValueError("percentage argument must be less or equal to 100")
        return f"{share}%" if share else "0"
    number = _bytes(value)
    if number is None and limits.low < 0:
        number = _number(value)
    if number is None:
        raise ValueError(f"argument must be a memory {'or percent ' if limits.percent else ''}value")
    if limits.percent and number > limits.high:
        raise ValueError("percentage argument must be less or equal to 100")  # the server reads it as negative
    return str(_within(limits, number))


def _enum(limits: Limits, value: str, default: str) -> str:
    for word in limits.words:
        if word.lower() == value.lower():
            return word
    raise ValueError("argument(s) must be one of the following: " + ", ".join(limits.words))


def _flags(limits: Limits, value: str, default: str) -> str:
    given = {word.lower() for word in value.split(" ")}
    if not given <= {*limits.words, limits.none}:
        raise ValueError("argument(s) must be one of the following: " + ", ".join((limits.none, *limits.words)))
    if given >= set(limits.exclusive):
        raise ValueError(limits.complaint)
    return " ".join(word for word in limits.words if word in given) or limits.none


def _save_points(limits: Limits, value: str, default: str) -> str:
    if not value:
        return ""
    numbers = [_c_number(word) for word in value.split(" ")]
    lows = [1, 0] * (len(numbers) // 2)  # seconds, changes
    if len(numbers) % 2 or any(n is None or n < low for n, low in zip(numbers, lows, strict=True)):
        raise ValueError("Invalid save parameters")
    return " ".join(map(str, numbers))


def _output_limits(limits: Limits, value: str, default: str) -> str:
    """Hard limit, soft limit and soft seconds of the classes that are named; the others have their default."""
    shown = {name: numbers for name, *numbers in _fours(default.split(" "))}
    words = value.split(" ") if value else []
    if len(words) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    for name, hard, soft, seconds in _fours(words):
        name = name.lower().replace("replica", "slave")
        if name not in shown:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        numbers = [_bytes(hard), _bytes(soft), _c_number(seconds)]
        if any(number is None or number < 0 for number in numbers):
            raise ValueError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
        shown[name] = [str(number) for number in numbers]
    return " ".join(" ".join((name, *numbers)) for name, numbers in shown.items())


def _fours(words: list[str]) -> zip[tuple[str, str, str, str]]:
    return zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)


def _percentiles(limits: Limits, value: str, default: str) -> str:
    if not value:
        return ""
    return " ".join(repr(_percentile(word)).removesuffix(".0") for word in value.split(" "))


def _percentile(word: str) -> float:
    number = float(word) if _FLOAT.fullmatch(word) else math.nan
    if math.isnan(number) or (math.isinf(number) and word[-1].isdigit()):  # out of the type's range
        raise ValueError("Invalid latency-tracking-info-percentiles parameters")
    if not 0.0 <= number <= 100.0:
        raise ValueError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
    return number


def _oom_scores(limits: Limits, value: str, default: str) -> str:
    numbers = [_c_number(word) for word in value.split(" ")]
    if len(numbers) != 3:
        raise ValueError("wrong number of arguments")
    if any(number is None or not -2000 <= number <= 2000 for number in numbers):
        raise ValueError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    return " ".join(map(str, numbers))


_EVENTS = "g$lshzxetd"  # what "A" stands for, in the order in which they are shown


def _keyspace_events(limits: Limits, value: str, default: str) -> str:
    letters = set(value)
    if not letters <= set(_EVENTS + "AnmKE"):
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    if "A" in letters or letters >= set(_EVENTS):
        shown = "A"
    else:
        shown = "".join(letter for letter in _EVENTS + "n" if letter in letters)
    return shown + "".join(letter for letter in "KEm" if letter in letters)


PIECEWISE = frozenset(("OutputLimits",))  # what a value leaves out has the default
KINDS: dict[str, Show] = {
    "Text": _text,
    "Filename": _filename,
    "Folder": _folder,
    "IpAddress": _ip_address,
    "Words": _words,
    "Primary": _primary,
    "Bool": _bool,
    "Integer": _integer,
    "Octal": _octal,
    "Memory": _memory,
    "Enum": _enum,
    "Flags": _flags,
    "SavePoints": _save_points,
    "OutputLimits": _output_limits,
    "Percentiles": _percentiles,
    "OomScores": _oom_scores,
    "KeyspaceEvents": _keyspace_events,
}
