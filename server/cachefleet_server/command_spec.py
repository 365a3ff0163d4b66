"""What the command table says about a command: the Python half of a row.

C rows and Python rows are described by the same `CommandSpec`; COMMAND INFO, DOCS, GETKEYS and ACL categories are
made from it. The compact texts of a row (`keys`, `syntax`) are parsed here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One row. `name` is lower case; "config|get" is a subcommand. See core/command.pxd for the texts."""

    name: str
    arity: int
    flags: frozenset[str]
    acl: frozenset[str]
    keys: str
    group: str
    since: str
    complexity: str
    summary: str
    syntax: str


def row(
    name: str, arity: int, flags: str, acl: str, keys: str, about: str, summary: str, syntax: str
) -> CommandSpec:
    """A spec from the texts of a row; `about` is "<group> <since> <complexity>"."""
    group, since, complexity = about.split(" ", 2)
    return CommandSpec(
        name, arity, frozenset(flags.split()), frozenset(acl.split()), keys, group, since, complexity, summary, syntax
    )


def simple_range(keys: str) -> tuple[int, int, int]:
    """(first, last, step) of the first key spec when it is a plain range, else zeros (movable or no keys)."""
    head = keys.split(";")[0].split(" ")[0]
    if not head or not head[0].isdigit():
        return 0, 0, 0
    numbers = [int(part) for part in head.split(":")]
    first = numbers[0]
    last = numbers[1] if len(numbers) > 1 else first
    return first, last, numbers[2] if len(numbers) > 2 else 1


CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
    "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
)  # fmt: skip
"""ACL categories in the order of their bits."""


def categories(spec: CommandSpec) -> frozenset[str]:
    """All ACL categories of a row: the named ones and those that its flags imply."""
    words = set(spec.acl)
    if "write" in spec.flags:
        words.add("write")
    if "readonly" in spec.flags and "scripting" not in words:
        words.add("read")
    if "admin" in spec.flags:
        words |= {"admin", "dangerous"}
    if "pubsub" in spec.flags:
        words.add("pubsub")
    if "blocking" in spec.flags:
        words.add("blocking")
    words.add("fast" if "fast" in spec.flags else "slow")
    return frozenset(words)


def category_bits(spec: CommandSpec) -> int:
    """The categories as a bit set in the order of CATEGORIES."""
    return sum(1 << CATEGORIES.index(word) for word in categories(spec))
