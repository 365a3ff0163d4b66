"""Known: which of our parameters a server knows, which of them CONFIG SET changes there, and what their defaults are.

Servers of one fleet differ: an operator is upgraded, and Caches keep the images that they have. The operator's own
table (parameters.py) is that of its own version's server. Of any other it is a guess, and a wrong guess stops a start
(the file has a parameter that the server does not know) or changes a cache that nobody touched (a default of ours that
is not the server's).

    expected    of an image whose servers have said nothing yet: what its version had. Every server knows the
                parameters of the first release; what came later (SINCE), one whose tag is of that version or later
    learned     of a server that answered: the names that CONFIG GET * shows. It tells no defaults: they are ours if it
                is of our version, and unknown (None) if not
    kept        what was learned of an image before, with what is learned now. The older word stands, because it may be
                that of the operator who had the server's table; and a later one would change templates by its own

A default that is unknown is nobody's wish: what the spec does not set stays as it is in that server. Of a parameter
that is set piecewise it is what the server showed at first, so that what a value leaves out stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cachefleet_operator.api import parameters

_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:[-+].*)?")
HIDDEN = frozenset(("rdb-key-save-delay", "key-load-delay", "loading-process-events-interval-bytes"))  # by GET *


class Fact(NamedTuple):
    live: bool  # CONFIG SET changes it
    default: str | None  # None = unknown


Known = Mapping[str, Fact]  # by the parameter's first name


def own() -> Known:
    """What the server of our own version knows."""
    return _ours(p.name for p in parameters.PARAMETERS)


def expected(version: str, ours: str) -> Known:
    """`version` is the tag of an image, `ours` that of this operator."""
    names = (p.name for p in parameters.PARAMETERS if _has(version, parameters.SINCE.get(p.name, "")))
    return _ours(names, defaults=version == ours)


def learned(shown: Mapping[str, str], version: str, ours: str) -> Known:
    """`shown` is what CONFIG GET * says on a server of that version."""
    unseen = {p.name for p in parameters.PARAMETERS if p.secret or p.name in HIDDEN} - parameters.SINCE.keys()
    known = _ours((p.name for p in parameters.PARAMETERS if p.name in shown or p.name in unseen), version == ours)
    if version == ours:
        return known
    parts = (p.name for p in parameters.PARAMETERS if p.kind.piecewise and p.name in shown)
    return {**known, **{name: Fact(known[name].live, _readable(name, shown[name])) for name in parts}}


def kept(old: Known, new: Known, shown: Mapping[str, str]) -> Known:
    """What the server shows and another operator knew is not ours to forget. A default that is learned later counts
    where no template has it."""
    found = {name: fact for name, fact in old.items() if name in new or name in shown}
    late = {name: new[name] for name, fact in found.items() if fact.live and fact.default is None and name in new}
    return {**new, **found, **late}


def common(one: Known, others: Iterable[Known]) -> Known:
    """What each of the others knows, too."""
    rest = tuple(others)
    return {name: fact for name, fact in one.items() if all(name in other for other in rest)}


def _ours(names: Iterable[str], defaults: bool = True) -> Known:
    chosen = frozenset(names)
    found = (p for p in parameters.PARAMETERS if p.name in chosen)
    return {p.name: Fact(p.live, p.default if defaults else None) for p in found}


def _readable(name: str, value: str) -> str | None:
    """A pod may run anything, and say anything."""
    try:
        return parameters.canonical(name, value)
    except ValueError:
        return None


def _has(version: str, since: str) -> bool:
    """Whether a server of that version has what came with `since`; not if nobody can tell."""
    if not since:
        return True
    found, first = _VERSION.fullmatch(version), _VERSION.fullmatch(since)
    return found is not None and first is not None and _numbers(found) >= _numbers(first)


def _numbers(version: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part or 0) for part in version.groups())
