"""DEBUG HTSTATS and HTSTATS-KEY in Valkey's words. The sizes are of our tables (ds/hashtable.pxd)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachefleet_server.engine import TableStats

NAMES = ("main hash table", "rehashing target")


def table_lines(tables: Sequence[TableStats]) -> str:
    """Of one hash table, and of the one that it is resized into."""
    lines = []
    for i, table in enumerate(tables):
        lines += [
            f"Hash table {i} stats ({NAMES[i]}):",
            f" table size: {table['room']}",
            f" number of entries: {table['used']}",
            f" rehashing index: {table['rehash_index']}",
            *(_chain_lines(table) if "chains" in table else ()),
        ]
    return "".join(line + "\n" for line in lines)


def _chain_lines(table: TableStats) -> list[str]:
    buckets, chains = table["buckets"], table["chains"]
    lines = [
        f" top-level buckets: {buckets}",
        f" child buckets: {table['children']}",
        f" max chain length: {table['longest']}",
        f" avg chain length: {table['children'] / buckets:.6f}",
        " chain length distribution:",
    ]
    for length, count in enumerate(chains):
        if count:
            or_more = "+" if length == len(chains) - 1 else ""
            lines.append(f"   {length}{or_more}: {count} ({100 * count / buckets:.2f}%)")
    return lines
