"""docs/differences.md: all that is not as in Valkey 9.1. Its tables are those by which the tests forgive.

    python -m fleettest.differences > docs/differences.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fleettest.reference import ABSENT_FIELDS, EXPLAINED, EXPLAINED_COMMANDS, EXPLAINED_DOCS

HEAD = """\
<!-- Made by `make generated` from tests/support/fleettest/reference.py and differences.py. -->
# What differs from Valkey

Replies, errors, encodings, the journal and files are Valkey 9.1's, byte for byte: the tests send the same commands to
both servers and compare. This page holds every difference that they forgive.
"""
ON_PURPOSE = (
    ("RESTORE, files", "those of Redis 7.4 to 8.0 are read, too", "Valkey refuses the other dialect"),
    (
        "files",
        "Redis 7.0's version, unless fields of a hash expire (then Valkey 9's), or members of a set or a stream with"
        " producers (then our own)",
        "every server reads the first; what others cannot read is refused there, whole: [member-ttl.md](member-ttl.md)",
    ),
    ("the journal", "conditions of SET, GETEX, MSETEX become plain commands", "older servers load it"),
    ("SORT of a small sorted set", "does not change its encoding", "reading changes nothing"),
    ("GEOSEARCH BYPOLYGON around a pole", "finds what is inside", "Valkey looks at cells that it has not set"),
    ("PFDEBUG DECODE of a broken value", "is refused", "Valkey does not look whether all registers are there"),
    ("CLIENT SETNAME with a NUL", "the name ends there", "as it does in Valkey's own lists"),
    (
        "when a stream's consumer was last active",
        "is in files when it was last seen, as long as nothing else needs a newer version; DUMP has both",
        "Redis 7.0 reads the file; the time came with 7.2",
    ),
    (
        "what producers of a stream sent (IDMP of XADD, XCFGSET)",
        "is in our own files, payloads of DUMP and the journal (XIDMPRECORD of Redis 8.8) alone; in an AOF with"
        " `aof-use-rdb-preamble no` without iids-added and iids-duplicates",
        "no file of Valkey has a place for it; XCFGSET to other values and then to 100 and 100 removes it",
    ),
    (
        "IDMPAUTO",
        "pairs of a field and a value count in any order",
        "clients take them from hash tables, whose order differs when they send again",
    ),
    ("XCFGSET with the values that there are", "forgets nothing", "so every producer may set them when it starts"),
    ("XCLAIM RETRYCOUNT above 2^48", "counts as 2^48 - 1", "a pending entry takes 48 bytes, where Valkey needs 125"),
    ("XAUTOCLAIM with a huge COUNT", "is done", "Valkey takes memory for as many ids at once"),
    ("XSETID below the id of a deleted entry", "what was deleted leaves its block", "ids of later entries do not fall"),
    ("bytes 0xFF in an inline request", "are kept", "Valkey drops them"),
    ("CONFIG SET dir during a snapshot", "is refused", "it would be installed in another folder"),
    ("DEBUG LOADAOF without files", "drops nothing", "Valkey empties the databases"),
    (
        "a replica's full synchronisation",
        "is loaded beside the old data, which are served meanwhile and kept if it fails",
        "nothing is lost by a primary that ends, or sends what cannot be loaded; it takes memory for both",
    ),
    ("while it is loaded (`async_loading`)", "no command is refused", "BGSAVE, REPLICAOF and others do no harm then"),
    (
        "FAILOVER, and the target's answer is lost",
        "it is asked again, and followed if it is a primary by then",
        "Valkey becomes a primary again, beside the target that may be one",
    ),
    ("FAILOVER, and a target has all when time is up", "it takes over", "Valkey gives up, or does not look (FORCE)"),
    (
        "a command of the primary that fails on its replica",
        "ends the stream, and all data are asked for anew",
        "Valkey goes on and differs from its primary (propagation-error-behavior)",
    ),
    (
        "a replica that may be written to",
        "keeps such writes out of its append only file, and does not remove the keys among them that expire",
        "the file and the offsets are the primary's: so a restart goes on from them",
    ),
    ("maxmemory of a replica", "never evicts", "it holds what its primary holds (replica-ignore-maxmemory)"),
    ("CLIENT CAPA redirect on a replica", "redirects nobody yet", "writes are answered -READONLY"),
)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _words(pattern: str) -> str:
    """A pattern as a reader expects it."""
    return re.sub(r"\\b|\$|\.\*", "", pattern)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def page() -> str:
    lines = [HEAD, "## On purpose", "", *_table(("where", "here", "why"), ON_PURPOSE)]
    lines += ["", "## Replies that no two servers give alike", ""]
    lines += _table(("command", "why"), ((_code(_words(rule.command)), rule.reason) for rule in EXPLAINED))
    lines += ["", "## COMMAND and its subcommands", ""]
    info = (
        (_code(name.replace("|", " ")), field, reason)
        for field, names in EXPLAINED_COMMANDS.items()
        for name, reason in names.items()
    )
    docs = ((_code(name), field or "all of it", reason) for (name, field), reason in EXPLAINED_DOCS.items())
    lines += _table(("command", "field", "why"), (*info, *docs))
    lines += ["", "## Fields that INFO lacks", ""]
    lines += _table(("field", "why"), ((_code(pattern), reason) for pattern, reason in ABSENT_FIELDS.items()))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
