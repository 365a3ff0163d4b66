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
