"""What kinds of parameters there are: how each is read, shown by CONFIG GET, and rewritten.

A `Kind` is immutable and knows nothing of a particular parameter beyond its limits. `split` makes words of what CONFIG
SET gets, one string; `read` takes words and the present value, which kinds that are set piecewise merge into, and
raises ParameterError with Valkey's text. What `show` gives is taken back unchanged.

Kinds without limits of their own are no dataclasses: each takes half a millisecond of every start.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachefleet_parameters.text import quote, quote_if_needed

INT_MAX = 2**31 - 1
INT_MIN = -(2**31)
UINT_MAX = 2**32 - 1
LONG_MAX = 2**63 - 1
ULONG_MAX = 2**64 - 1

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_MEMORY = re.compile(r"([0-9]{0,127})([a-zA-Z]{0,2})")  # as many digits as Valkey has room for
# No two neighbours may match the same character: a long value would be tried at each of its characters as their border.
_C_INTEGER = re.compile(r"(?:[\t-\r ]*([-+]?)0*([1-9][0-9]*)?)?")
_FLOAT = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?|inf|infinity)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}


class ParameterError(ValueError):
    """A value that a parameter does not take."""


def parse_integer(text: str) -> int | None:
    """A decimal 64-bit integer in canonical form: no blanks, no plus sign, no leading zeros."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -LONG_MAX - 1 <= value <= LONG_MAX else None


def parse_c_integer(text: str) -> int | None:
    """As strtoll reads it: blanks and a plus sign before it, leading zeros, nothing for 0; too large is the largest."""
    match = _C_INTEGER.fullmatch(text)
    if match is None or (match[1] and text.endswith(match[1])):
        return None
    digits = match[2] or "0"
    value = int(digits) if len(digits) < 20 else LONG_MAX + 1
    return max(-value, -LONG_MAX - 1) if match[1] == "-" else min(value, LONG_MAX)


def parse_memory(text: str) -> int | None:
    """Bytes with an optional unit: b, k (1000), kb (1024), m, mb, g, gb in any case."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        return None
    unit = _UNITS.get(match[2].lower())
    if unit is None:
        return None
    value = int(match[1] or 0) * unit
    return value if value <= ULONG_MAX else None


def memory_text(value: int) -> str:
    """The shortest exact text of a memory size, for CONFIG REWRITE."""
    for unit in ("gb", "mb", "kb"):
        if value and value % _UNITS[unit] == 0:
            return f"{value // _UNITS[unit]}{unit}"
    return str(value)


@dataclass(frozen=True, slots=True)
class Kind:
    """Base: any text, one word."""

    many = False  # takes several words, or none
    accumulates = False  # several lines of one configuration file add up
    piecewise = False  # what a value leaves out stays as it is
    keeps_nul = False  # NUL is an ordinary character; values of the other kinds end there, as C's strings do

    def split(self, text: str) -> list[str]:
        """The words of a value that came as one string: several are split at single spaces."""
        return text.split(" ") if self.many else [text]

    def read(self, words: Sequence[str], old: Any = None) -> Any:
        """The value in the kind's own form."""
        return self.parse(words if self.keeps_nul else [word.partition("\0")[0] for word in words], old)

    def parse(self, words: Sequence[str], old: Any) -> Any:
        """Of words that end at NUL."""
        return words[0]

    def join(self, old: Any, new: Any) -> Any:
        """The value after a second line in a file; only for kinds that accumulate."""
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """As CONFIG GET shows it."""
        return str(value)

    def lines(self, value: Any, default: Any) -> list[str]:
        """What CONFIG REWRITE writes after the name, one item a line."""
        return [quote(self.show(value))]

    def whole(self, value: Any) -> list[str]:
        """What gives this value whatever lines come before."""
        return self.lines(value, None)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """One word of text; what does not match `pattern` is refused with `complaint`."""

    pattern: str = ""
    complaint: str = ""
    empty: bool = True  # may be empty
    bytes_max: int = 0  # 0 = any number
    too_long: str = ""

    def parse(self, words: Sequence[str], old: Any) -> str:
        if self.bytes_max and len(words[0].encode("utf-8", "surrogateescape")) > self.bytes_max:
            raise ParameterError(self.too_long)
        fine = self.empty if not words[0] else not self.pattern or re.fullmatch(self.pattern, words[0])
        if not fine:
            raise ParameterError(self.complaint)
        return words[0]


class Binary(Text):
    """Text that may hold NUL."""

    keeps_nul = True


class Filename(Text):
    """A name without a folder."""

    def parse(self, words: Sequence[str], old: Any) -> str:
        if "/" in words[0] or not words[0] or words[0] in (".", ".."):
            raise ParameterError(self.complaint)
        return words[0]


@dataclass(frozen=True, slots=True)
class IpAddress(Kind):
    version: int = 4

    def parse(self, words: Sequence[str], old: Any) -> str:
        address = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        try:
            if "%" in words[0]:
                raise ValueError("a zone, which inet_pton does not take")
            if words[0]:
                address(words[0])
        except ValueError:
            raise ParameterError(f"Invalid IPv{self.version} address") from None
        return words[0]


@dataclass(frozen=True, slots=True)
class Words(Kind):
    """Any number of words, kept as a tuple."""

    limit: int = 64
    complaint: str = "wrong number of arguments"

    many = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[str, ...]:
        kept = tuple(word for word in words if word)
        if len(kept) > self.limit:
            raise ParameterError(self.complaint)
        return kept

    def show(self, value: Any) -> str:
        return " ".join(value)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [" ".join(map(quote_if_needed, value)) if value else '""']


class Primary(Kind):
    """Host and port of a server to follow: ("10.1.2.3", 6379); () is none."""

    many = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[str, int] | tuple[()]:
        if [word.lower() for word in words] in ([""], ["no", "one"]):
            return ()
        if len(words) != 2:
            raise ParameterError("wrong number of arguments")
        port = parse_integer(words[1])
        if port is None or not 0 <= port <= 65535:
            raise ParameterError("Invalid primary port")
        return words[0], port

    def show(self, value: Any) -> str:
        return " ".join(map(str, value))

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value)] if value else []


class Bool(Kind):
    def parse(self, words: Sequence[str], old: Any) -> bool:
        word = words[0].lower()
        if word not in ("yes", "no"):
            raise ParameterError("argument must be 'yes' or 'no'")
        return word == "yes"

    def show(self, value: Any) -> str:
        return "yes" if value else "no"

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value)]


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    low: int = 0
    high: int = INT_MAX
    clamp_low: int = -LONG_MAX - 1  # silently moved into the limits, as hz is
    clamp_high: int = LONG_MAX

    keeps_nul = True  # and so refuses it

    def parse(self, words: Sequence[str], old: Any) -> int:
        value = parse_integer(words[0])
        if value is None:
            raise ParameterError("argument couldn't be parsed into an integer")
        _check_range(value, self.low, self.high)
        return min(max(value, self.clamp_low), self.clamp_high)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [str(value)]


def _check_range(value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ParameterError(f"argument must be between {low} and {high} inclusive")


class Octal(Integer):
    def parse(self, words: Sequence[str], old: Any) -> int:
        if not re.fullmatch("[0-7]+", words[0]):
            raise ParameterError("argument couldn't be parsed as an octal number")
        value = int(words[0], 8)
        if not self.low <= value <= self.high:
            raise ParameterError(f"argument must be between {self.low:o} and {self.high:o} inclusive")
        return value

    def show(self, value: Any) -> str:
        return f"{value:o}"

    def lines(self, value: Any, default: Any) -> list[str]:
        return [f"{value:o}"]


@dataclass(frozen=True, slots=True)
class Memory(Kind):
    """Bytes. With `percent`, also a share of maxmemory, kept as a negative number."""

    low: int = 0
    high: int = LONG_MAX
    percent: bool = False
    clamp_low: int = -1  # silently raised to this

    def parse(self, words: Sequence[str], old: Any) -> int:
        text = words[0]
        share = parse_integer(text[:-1]) if self.percent and text.endswith("%") else None
        if share is not None and share >= 0:
            if share > 100:
                raise ParameterError("percentage argument must be less or equal to 100")
            return -share
        value = parse_memory(text)
        if value is None and self.low < 0:
            value = parse_integer(text)
        if value is None:
            raise ParameterError(f"argument must be a memory {'or percent ' if self.percent else ''}value")
        if self.percent and value > self.high:
            raise ParameterError("percentage argument must be less or equal to 100")  # Valkey reads it as negative
        _check_range(value, self.low, self.high)
        return max(value, self.clamp_low)

    def show(self, value: Any) -> str:
        return f"{-value}%" if self.percent and value < 0 else str(value)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value) if value < 0 else memory_text(value)]


@dataclass(frozen=True, slots=True)
class Enum(Kind):
    """One of some words, in any case; kept in the table's spelling."""

    words: tuple[str, ...]

    def parse(self, words: Sequence[str], old: Any) -> str:
        for word in self.words:
            if word.lower() == words[0].lower():
                return word
        raise ParameterError("argument(s) must be one of the following: " + ", ".join(self.words))

    def lines(self, value: Any, default: Any) -> list[str]:
        return [str(value)]


@dataclass(frozen=True, slots=True)
class Flags(Kind):
    """A set of words; `none` is the word for the empty set. Kept as a tuple in the table's order."""

    words: tuple[str, ...]
    none: str
    exclusive: tuple[str, str]
    complaint: str

    many = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[str, ...]:
        given = {word.lower() for word in words}
        if not words or not given <= {*self.words, self.none}:
            raise ParameterError("argument(s) must be one of the following: " + ", ".join((self.none, *self.words)))
        if given >= set(self.exclusive):
            raise ParameterError(self.complaint)
        return tuple(word for word in self.words if word in given)

    def show(self, value: Any) -> str:
        return " ".join(value) or self.none

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value)]


class SavePoints(Kind):
    """Pairs of seconds and changes; "" is none."""

    many = True
    accumulates = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[tuple[int, int], ...]:
        if len(words) == 1 and not words[0]:
            return ()
        numbers = [parse_c_integer(word) for word in words]
        points = []
        for seconds, changes in zip(numbers[::2], numbers[1::2], strict=False):
            if seconds is None or changes is None or seconds < 1 or changes < 0:
                raise ParameterError("Invalid save parameters")
            points.append((seconds, changes))
        if len(words) % 2:
            raise ParameterError("Invalid save parameters")
        return tuple(points)

    def join(self, old: Any, new: Any) -> Any:
        return (*old, *new) if new else ()

    def show(self, value: Any) -> str:
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [f"{seconds} {changes}" for seconds, changes in value] or ['""']

    def whole(self, value: Any) -> list[str]:
        return ['""', *(self.lines(value, None) if value else ())]


OUTPUT_CLASSES = ("normal", "replica", "pubsub")  # in the order of a value's triples
OUTPUT_CLASSES_SHOWN = ("normal", "slave", "pubsub")


class OutputLimits(Kind):
    """Hard limit, soft limit and soft seconds of each client class; a tuple of three triples."""

    keeps_nul = True  # while the words are counted
    many = True
    piecewise = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[tuple[int, int, int], ...]:
        limits: list[tuple[int, int, int]] = list(old or ((0, 0, 0),) * 3)
        if list(words) == [""]:
            return tuple(limits)
        if len(words) % 4:
            raise ParameterError("Wrong number of arguments in buffer limit configuration.")
        words = [word.partition("\0")[0] for word in words]
        for name, *numbers in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
            name = name.lower().replace("slave", "replica")
            if name not in OUTPUT_CLASSES:
                raise ParameterError("Invalid client class specified in buffer limit configuration.")
            hard, soft, seconds = parse_memory(numbers[0]), parse_memory(numbers[1]), parse_c_integer(numbers[2])
            if hard is None or soft is None or seconds is None or seconds < 0:
                raise ParameterError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
            limits[OUTPUT_CLASSES.index(name)] = (hard, soft, seconds)
        return tuple(limits)

    def show(self, value: Any) -> str:
        shown = zip(OUTPUT_CLASSES_SHOWN, value, strict=True)
        return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in shown)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [
            f"{name} {memory_text(hard)} {memory_text(soft)} {seconds}"
            for name, (hard, soft, seconds), usual in zip(OUTPUT_CLASSES, value, default, strict=True)
            if (hard, soft, seconds) != usual
        ]

    def whole(self, value: Any) -> list[str]:
        return self.lines(value, (None,) * len(value))


class Percentiles(Kind):
    """Numbers from 0 to 100."""

    keeps_nul = True  # and so refuses it
    many = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[float, ...]:
        if len(words) == 1 and not words[0]:
            return ()
        values = []
        for word in words:
            value = float(word) if _FLOAT.fullmatch(word) else math.nan
            if math.isnan(value) or (math.isinf(value) and word[-1].isdigit()):  # out of the type's range
                raise ParameterError("Invalid latency-tracking-info-percentiles parameters")
            if not 0.0 <= value <= 100.0:
                raise ParameterError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
            values.append(value)
        return tuple(values)

    def show(self, value: Any) -> str:
        return " ".join(repr(percentile).removesuffix(".0") for percentile in value)

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value) or '""']


class OomScores(Kind):
    many = True

    def parse(self, words: Sequence[str], old: Any) -> tuple[int, ...]:
        if len(words) != 3:
            raise ParameterError("wrong number of arguments")
        values = []
        for word in words:
            value = parse_c_integer(word)
            if value is None or not -2000 <= value <= 2000:
                raise ParameterError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
            values.append(value)
        return tuple(values)

    def show(self, value: Any) -> str:
        return " ".join(map(str, value))

    def lines(self, value: Any, default: Any) -> list[str]:
        return [self.show(value)]


EVENTS = "g$lshzxetd"  # what "A" stands for, in the order in which they are shown


class KeyspaceEvents(Kind):
    """Letters of notify-keyspace-events, kept in the order in which CONFIG GET shows them. It does not show "n" beside
    "A", as in Valkey, but CONFIG REWRITE writes it: the events are sent."""

    def parse(self, words: Sequence[str], old: Any) -> str:
        letters = set(words[0])
        if not letters <= set(EVENTS + "AnmKE"):
            raise ParameterError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        if "A" in letters or letters >= set(EVENTS):
            letters = letters.difference(EVENTS) | {"A"}
        return "".join(letter for letter in f"A{EVENTS}nKEm" if letter in letters)

    def show(self, value: Any) -> str:
        return str(value).replace("An", "A")

    def lines(self, value: Any, default: Any) -> list[str]:
        return [quote(value)]
