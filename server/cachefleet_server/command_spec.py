"""What the command table says about a command: the Python half of a row.

C rows and Python rows are described by the same `CommandSpec`; COMMAND INFO, DOCS, GETKEYS and ACL categories are
made from it. The compact texts of a row (`keys`, `about`, `syntax`) are parsed here.

`about` is "<group> <since> <complexity>", then clauses that each begin with "; " and a word:

    ; doc_flags <flag> ...                           flags of COMMAND DOCS besides "deprecated"
    ; deprecated <since> <what to use instead>       once
    ; tips <tip> <tip> ...                           command tips, as request_policy:multi_shard
    ; history <since> <what changed>                 any number of times

`keys` holds key specs separated by ";", each "<where> <FLAG words>", where <where> is one of

    <first>[:<last>[:<step>]]               argument indexes; <last> counts from the end when negative
    numkeys:<at>[:<first>[:<step>]]         argument <at> is the number of keys; the first one is <first> (1) arguments
                                            behind it, and so on by <step> (1). The number is read as C's atoi does
    exact-numkeys:<at>[:<first>[:<step>]]   the same; the number is an integer as commands take it
    keyword:<TOKEN>:<from>:<last>:<step>[:<limit>]
                                            keys start behind TOKEN, searched from argument <from> (negative: backwards
                                            from the end); <last> relative to the first key, or -1; with -1, <limit> n
                                            means: the first n-th part of what is left
    unknown                                 the arguments must be parsed by the command's own rules

`syntax` lists the arguments after the command's name, separated by blanks. Types: key string integer double pattern
unix-time.

    item      name:type                  a value
              TOKEN                      a pure token, a word in capitals (or = ~ * $), named by its lower case
              name=TOKEN                 a pure token with another name
              name(item | item ...)      one of several
              name{item item ...}        a block
              TOKEN item                 an item behind a token, as "EX seconds:integer" (a bare TOKEN directly before a
                                         value, choice or block always binds to it; write name=TOKEN where it must not)
              item...                    one or more times (the token, if any, is not repeated)
              [item]                     optional
              [item]...                  optional, any number of times, its token repeated each time
    item@1.2  the version that added it; comes last, before "]"
              item@-1.2                  the version that deprecated it
              name<shown>:type           a value that is shown by another name
              name:type#2                a value that is shown as belonging to that key spec; # alone: to spec 0

A key argument belongs to the key spec of the same rank (the first key argument to the first spec ...), or to the last
spec when there are fewer specs than key arguments. Names hold lower-case letters, digits, "-" and "_".

    SET    key:key value:string [condition(NX@2.6.12 | XX@2.6.12 | IFEQ comparison-value:string@8.1.0)] [GET@6.2.0]
           [expiration(EX seconds:integer@2.6.12 | ... | KEEPTTL@6.0.0)]
    MSET   data{key:key value:string}...
    ZRANGE key:key start:string stop:string [sortby(BYSCORE | BYLEX)] [REV] [LIMIT offset_count{offset:integer
           count:integer}] [WITHSCORES]
    SORT   key:key [BY by-pattern<pattern>:pattern#1] ... [GET get-pattern<pattern>:pattern#1]... [order(ASC | DESC)]
           [sorting=ALPHA] [STORE destination:key#2]
"""

from __future__ import annotations

import re
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
    deprecated: tuple[str, str] | None = None  # since, replacement
    tips: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()  # since, change
    doc_flags: tuple[str, ...] = ()


_CLAUSE = re.compile("; (?=doc_flags |deprecated |tips |history )")


def row(
    name: str, arity: int, flags: str, acl: str, keys: str, about: str, summary: str, syntax: str
) -> CommandSpec:
    """A spec from the texts of a row."""
    head, *clauses = _CLAUSE.split(about)
    group, since, complexity = head.split(" ", 2)
    deprecated: tuple[str, str] | None = None
    tips: tuple[str, ...] = ()
    history: list[tuple[str, str]] = []
    doc_flags: tuple[str, ...] = ()
    for clause in clauses:
        word, _, rest = clause.partition(" ")
        version, _, text = rest.partition(" ")
        if word == "deprecated":
            deprecated = version, text
        elif word == "doc_flags":
            doc_flags = tuple(rest.split())
        elif word == "tips":
            tips = tuple(rest.split())
        else:
            history.append((version, text))
    return CommandSpec(
        name, arity, frozenset(flags.split()), frozenset(acl.split()), keys, group, since, complexity, summary, syntax,
        deprecated, tips, tuple(history), doc_flags,
    )  # fmt: skip


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
