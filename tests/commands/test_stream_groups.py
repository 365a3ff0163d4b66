"""Reading streams and consumer groups against the real Valkey, byte for byte, in both protocols."""

from __future__ import annotations

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

ENTRIES = [["XADD", "k", f"{i}-{i % 3}", "f", f"v{i}"] for i in range(1, 13)]
SETS: dict[str, list[list[str]]] = {
    "none": [],
    "string": [["SET", "k", "text"]],
    "entries": ENTRIES,
    "group": [*ENTRIES, ["XGROUP", "CREATE", "k", "g", "0"]],
    "pending": [
        *ENTRIES,
        ["XGROUP", "CREATE", "k", "g", "0"], ["XGROUP", "CREATE", "k", "h", "5-2"],
        ["XREADGROUP", "GROUP", "g", "bob", "COUNT", "4", "STREAMS", "k", ">"],
        ["XREADGROUP", "GROUP", "g", "alice", "COUNT", "3", "STREAMS", "k", ">"],
        ["XREADGROUP", "GROUP", "h", "bob", "COUNT", "2", "NOACK", "STREAMS", "k", ">"],
    ],
    "gone": [
        *ENTRIES,
        ["XGROUP", "CREATE", "k", "g", "0"],
        ["XREADGROUP", "GROUP", "g", "bob", "COUNT", "6", "STREAMS", "k", ">"],
        ["XDEL", "k", "2-2", "4-1", "8-2"],
    ],
    "empty": [["XGROUP", "CREATE", "k", "g", "$", "MKSTREAM"], ["XGROUP", "CREATECONSUMER", "k", "g", "bob"]],
}  # fmt: skip

SCRIPTS = {
    "read": """
        XREAD
        XREAD STREAMS k
        XREAD STREAMS k 0 1
        XREAD STREAMS k 0
        XREAD STREAMS k k 0 9
        XREAD COUNT 2 STREAMS k 3
        XREAD COUNT 0 STREAMS k 10
        XREAD COUNT -1 STREAMS k 11
        XREAD COUNT a STREAMS k 0
        XREAD COUNT
        XREAD STREAMS no 0
        XREAD STREAMS no k 0 11-0
        XREAD STREAMS k $
        XREAD STREAMS k +
        XREAD STREAMS no +
        XREAD COUNT 1 STREAMS k +
        XDEL k 12-0
        XREAD STREAMS k +
        XREAD STREAMS k >
        XREAD STREAMS k -
        XREAD STREAMS k (1
        XREAD STREAMS k a
        XREAD STREAMS k 12
        XREAD STREAMS k 12-0
        XREAD STREAMS k 18446744073709551615-18446744073709551615
        XREAD GROUP g c STREAMS k 0
        XREAD NOACK STREAMS k 0
        XREAD NOSUCH STREAMS k 0
        XREAD BLOCK a STREAMS k 0
        XREAD BLOCK -1 STREAMS k 0
        XREAD BLOCK 9223372036854775807 STREAMS k 0
        XREAD BLOCK 10 STREAMS k 0
        XREAD BLOCK 5 STREAMS k $
        XREAD BLOCK 5 STREAMS no 0
        XREAD BLOCK
        xread block 5 count 1 streams k no 11 0
    """,
    "groups": """
        XGROUP
        XGROUP CREATE
        XGROUP NOSUCH k g
        XGROUP CREATE k g 0
        XGROUP CREATE k g 0 NOSUCH
        XGROUP CREATE k g 0 MKSTREAM x
        XGROUP CREATE k new 0 ENTRIESREAD
        XGROUP CREATE k new 0 ENTRIESREAD a
        XGROUP CREATE k new 0 ENTRIESREAD -2
        XGROUP CREATE k new 0 ENTRIESREAD -1
        XGROUP CREATE k new2 1-1 ENTRIESREAD 5
        XGROUP CREATE k new3 1-1 ENTRIESREAD 5000
        XGROUP CREATE k new4 $ MKSTREAM
        XGROUP CREATE k new5 a
        XGROUP CREATE k new5 -
        XGROUP CREATE k new5 +
        XGROUP CREATE other g $
        XGROUP CREATE other g $ MKSTREAM
        XGROUP CREATE other g $ MKSTREAM
        XGROUP CREATE other2 g a MKSTREAM
        EXISTS other2
        XGROUP CREATE k "" 0
        XGROUP CREATECONSUMER k g alice
        XGROUP CREATECONSUMER k g alice
        XGROUP CREATECONSUMER k g ""
        XGROUP CREATECONSUMER k nosuch alice
        XGROUP CREATECONSUMER no g alice
        XGROUP CREATECONSUMER k g
        XGROUP DELCONSUMER k g bob
        XGROUP DELCONSUMER k g bob
        XGROUP DELCONSUMER k nosuch bob
        XGROUP SETID k g 3
        XGROUP SETID k g $
        XGROUP SETID k g -
        XGROUP SETID k g + ENTRIESREAD 3
        XGROUP SETID k g 0 MKSTREAM
        XGROUP SETID k g 0 ENTRIESREAD -1
        XGROUP SETID k g a
        XGROUP SETID k nosuch 0
        XGROUP SETID no g 0
        XINFO GROUPS k
        XINFO GROUPS other
        XGROUP DESTROY k g
        XGROUP DESTROY k g
        XGROUP DESTROY no g
        XGROUP DESTROY k new
        XINFO GROUPS k
        XINFO GROUPS no
        XINFO GROUPS
        XINFO NOSUCH k
        XINFO CONSUMERS k
        XINFO CONSUMERS k nosuch
        XINFO CONSUMERS no g
        XINFO STREAM no
        XINFO STREAM k FUL
        XINFO STREAM k FULL COUNT
        XINFO STREAM k FULL COUNT a
        XINFO STREAM k FULL COUN 1
        XLEN other
    """,
    "read_group": """
        XREADGROUP
        XREADGROUP GROUP g bob STREAMS k
        XREADGROUP GROUP g bob STREAMS k >
        XREADGROUP GROUP g STREAMS k >
        XREADGROUP COUNT 1 COUNT 1 STREAMS k >
        XREADGROUP GROUP nosuch bob STREAMS k >
        XREADGROUP GROUP g bob STREAMS no >
        XREADGROUP GROUP g bob STREAMS k $
        XREADGROUP GROUP g bob STREAMS k +
        XREADGROUP GROUP g bob STREAMS k a
        XREADGROUP GROUP g bob STREAMS k k 0
        XREADGROUP GROUP g carol COUNT 2 STREAMS k >
        XREADGROUP GROUP g carol STREAMS k 0
        XREADGROUP GROUP g bob STREAMS k 0
        XREADGROUP GROUP g bob COUNT 2 STREAMS k 1-1
        XREADGROUP GROUP g bob STREAMS k 99
        XREADGROUP GROUP g bob STREAMS k 18446744073709551615-18446744073709551615
        XREADGROUP GROUP g dave NOACK STREAMS k >
        XREADGROUP GROUP g dave STREAMS k 0
        XADD k 100-1 f v
        XREADGROUP GROUP g dave NOACK STREAMS k >
        XREADGROUP GROUP g dave STREAMS k >
        XREADGROUP GROUP g dave BLOCK 5 STREAMS k >
        XREADGROUP GROUP g dave BLOCK 5 STREAMS k 0
        XADD k 101-1 f v
        XREADGROUP GROUP g erin BLOCK 5 STREAMS k k > 0
        XPENDING k g
        XINFO GROUPS k
        XGROUP SETID k g 0
        XREADGROUP GROUP g frank COUNT 100 STREAMS k >
        XPENDING k g - + 100 frank
        XINFO GROUPS k
        XACK k g 1-1 2-2 3-0
        XPENDING k g
        XREADGROUP GROUP h bob COUNT 1 STREAMS k >
        XINFO GROUPS k
    """,
    "acknowledge": """
        XACK
        XACK k g
        XACK k g 1-1
        XACK k g 1-1
        XACK k g 2 3 4
        XACK k g 2-2 3-0 4-1 5-2 99-99
        XACK k g a
        XACK k g 6-0 a
        XACK k nosuch 1-1
        XACK no g 1-1
        XACK no g a
        XPENDING k g
        XPENDING k g - + 10
        XINFO GROUPS k
    """,
    "pending": """
        XPENDING
        XPENDING k
        XPENDING k g
        XPENDING k nosuch
        XPENDING no g
        XPENDING k g - +
        XPENDING k g - + a
        XPENDING k g - + 0
        XPENDING k g - + -1
        XPENDING k g a + 1
        XPENDING k g - a 1
        XPENDING k g IDLE 0 - +
        XPENDING k g IDLE a - + 1
        XPENDING k g IDLE 10000 - + 10
        XPENDING k g IDLE 10000 - + 10 bob
        XPENDING k g - + 1 bob extra
        XPENDING k g - + 10 nobody
        XPENDING k g (18446744073709551615-18446744073709551615 + 10
        XPENDING k g - (0-0 10
        XPENDING k h
        XPENDING k h - + 10
    """,
    "claim": """
        XCLAIM
        XCLAIM k g carol 0
        XCLAIM k g carol a 1-1
        XCLAIM k g carol 0 1-1
        XCLAIM k g carol 100000 2-2
        XCLAIM k g carol -5 2-2 JUSTID
        XCLAIM k g carol 0 3-0 4-1 5-2 TIME 0
        XCLAIM k g carol 0 6-0 IDLE 5000 RETRYCOUNT 7
        XCLAIM k g carol 0 12-0
        XCLAIM k g carol 0 12-0 FORCE
        XCLAIM k g carol 0 11-2 FORCE JUSTID
        XCLAIM k g carol 0 10-1 FORCE RETRYCOUNT 3 JUSTID
        XCLAIM k g carol 0 999-1 FORCE
        XCLAIM k g carol 0 1-1 LASTID 50-0
        XCLAIM k g carol 0 999-1 LASTID 60-0
        XCLAIM k g carol 0 1-1 LASTID a
        XCLAIM k g carol 0 1-1 LASTID
        XCLAIM k g carol 0 1-1 NOSUCH
        XCLAIM k g carol 0 1-1 TIME a
        XCLAIM k g carol 0 1-1 IDLE a
        XCLAIM k g carol 0 1-1 RETRYCOUNT a
        XCLAIM k g carol 0 1-1 RETRYCOUNT -3
        XCLAIM k g carol 0 a
        XCLAIM k nosuch carol 0 1-1
        XCLAIM no g carol 0 1-1
        XCLAIM k g bob 0 1-1 2-2 3-0 4-1 TIME 1 JUSTID
        XPENDING k g
        XINFO GROUPS k
        XREADGROUP GROUP g carol STREAMS k 0
    """,
    "autoclaim": """
        XAUTOCLAIM
        XAUTOCLAIM k g carol 0
        XAUTOCLAIM k g carol 0 -
        XAUTOCLAIM k g carol 0 0 COUNT 2
        XAUTOCLAIM k g carol 0 3-0 COUNT 2 JUSTID
        XAUTOCLAIM k g carol 0 (3-0 COUNT 1
        XAUTOCLAIM k g carol 100000 0
        XAUTOCLAIM k g carol 100000 0 COUNT 1
        XAUTOCLAIM k g carol -1 0 JUSTID
        XAUTOCLAIM k g carol a 0
        XAUTOCLAIM k g carol 0 a
        XAUTOCLAIM k g carol 0 (18446744073709551615-18446744073709551615
        XAUTOCLAIM k g carol 0 0 COUNT 0
        XAUTOCLAIM k g carol 0 0 COUNT a
        XAUTOCLAIM k g carol 0 0 COUNT 9223372036854775807
        XAUTOCLAIM k g carol 0 0 NOSUCH
        XAUTOCLAIM k nosuch carol 0 0
        XAUTOCLAIM no g carol 0 0
        XAUTOCLAIM k g carol 0 99
        XPENDING k g
        XREADGROUP GROUP g carol STREAMS k 0
    """,
    "lag": """
        XINFO GROUPS k
        XDEL k 12-0
        XINFO GROUPS k
        XREADGROUP GROUP g bob COUNT 1 STREAMS k >
        XINFO GROUPS k
        XDEL k 1-1
        XINFO GROUPS k
        XTRIM k MAXLEN 5
        XINFO GROUPS k
        XADD k 50-1 f v
        XREADGROUP GROUP g bob STREAMS k >
        XINFO GROUPS k
        XGROUP SETID k g 9-0
        XINFO GROUPS k
        XREADGROUP GROUP g bob COUNT 1 STREAMS k >
        XINFO GROUPS k
        XDEL k 9-0 10-1
        XINFO GROUPS k
        XREADGROUP GROUP g bob COUNT 1 STREAMS k >
        XINFO GROUPS k
        XREADGROUP GROUP g bob STREAMS k >
        XINFO GROUPS k
        XGROUP CREATE k n 0 ENTRIESREAD 3
        XGROUP CREATE k m $
        XGROUP CREATE k o 100-1
        XINFO GROUPS k
        XTRIM k MAXLEN 0
        XINFO GROUPS k
        XADD k 60-1 f v
        XINFO GROUPS k
        XSETID k 70-1 ENTRIESADDED 100 MAXDELETEDID 65-0
        XINFO GROUPS k
        XADD k 80-1 f v
        XINFO GROUPS k
        XREADGROUP GROUP m bob STREAMS k >
        XINFO GROUPS k
    """,
    "lag_of_trimmed": """
        XGROUP CREATE k n 0 ENTRIESREAD 0
        XGROUP CREATE k m 3-0
        XREADGROUP GROUP n bob COUNT 2 STREAMS k >
        XTRIM k MAXLEN 6
        XINFO GROUPS k
        XREADGROUP GROUP n bob COUNT 2 STREAMS k >
        XREADGROUP GROUP m bob COUNT 2 STREAMS k >
        XINFO GROUPS k
        XTRIM k MAXLEN 1
        XINFO GROUPS k
        XADD k 99-1 f v
        XINFO GROUPS k
        XDEL k 12-0
        XINFO GROUPS k
        XADD k 100-1 f v
        XREADGROUP GROUP n bob COUNT 1 STREAMS k >
        XINFO GROUPS k
        XREADGROUP GROUP m bob STREAMS k >
        XINFO GROUPS k
        XDEL k 99-1 100-1
        XINFO GROUPS k
    """,
    "set_id_below": """
        XDEL k 12-0 11-2
        XSETID k 12-0 MAXDELETEDID 1-1
        XINFO GROUPS k
        XSETID k 11-1
        XADD k 11-1 f v
        XADD k 11-2 f v
        XADD k 11-* g w
        XRANGE k - +
        XREVRANGE k + 10
        DEBUG DIGEST-VALUE k
        XDEL k 11-2 11-3
        XSETID k 11-3 MAXDELETEDID 1-1
        XSETID k 11-0
        XADD k 11-5 f v
        XRANGE k 10 +
        XINFO STREAM k
        XREADGROUP GROUP g bob STREAMS k >
        XINFO GROUPS k
    """,
    "set_id": """
        XSETID
        XSETID k
        XSETID k 100-1
        XSETID k 1-1
        XSETID k 100-1 ENTRIESADDED 1
        XSETID k 100-1 ENTRIESADDED 100 MAXDELETEDID 50-0
        XSETID k 40-1
        XSETID k 100-1 MAXDELETEDID 200
        XSETID k 100-1 ENTRIESADDED -1
        XSETID k 100-1 ENTRIESADDED a
        XSETID k a
        XSETID k 100-1 NOSUCH
        XSETID k 100-1 MAXDELETEDID
        XSETID no 1-1
        XADD k 100-1 f v
        XADD k 101-1 f v
        XINFO GROUPS k
    """,
}


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_replies(server: Instance, valkey: Instance, name: str, form: str, resp: int) -> None:
    with Pair(server, valkey, resp=resp) as pair:
        both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("form", SETS)
def test_what_is_known(server: Instance, valkey: Instance, form: str, resp: int) -> None:
    known = """
        XGROUP CREATECONSUMER k g new
        XADD k 500-1 f v
        XREADGROUP GROUP g noack NOACK STREAMS k >
        XINFO CONSUMERS k g
        XINFO STREAM k
        XINFO STREAM k FULL
        XINFO STREAM k FULL COUNT 2
        xinfo stream k full count 0
        XINFO STREAM k FULL COUNT -1
        XGROUP HELP
        XINFO HELP
    """
    with Pair(server, valkey, resp=resp) as pair:
        both_ways(pair, [*SETS[form], *script(known)])


@pytest.mark.parametrize(
    "command",
    [
        "XREADGROUP GROUP g bob STREAMS k >", "XREADGROUP GROUP g bob STREAMS k 0", "XACK k g 1-1", "XACK k g 9-9",
        "XGROUP CREATE k n 0", "XGROUP CREATE no n 0 MKSTREAM", "XGROUP DESTROY k g", "XGROUP SETID k g 0",
        "XGROUP CREATECONSUMER k g c", "XGROUP DELCONSUMER k g bob", "XCLAIM k g carol 0 1-1",
        "XAUTOCLAIM k g carol 0 0", "XSETID k 100-1", "XREAD STREAMS k 0", "XPENDING k g", "XINFO GROUPS k",
    ],
)  # fmt: skip
def test_what_changes_a_watched_key(server: Instance, valkey: Instance, command: str) -> None:
    with Pair(server, valkey) as pair:
        pair.flush()
        pair.pipeline([*SETS["pending"], ["WATCH", "k", "no"], command.split(), ["MULTI"], ["EXEC"]])


def test_many_pending_entries(client: Connection) -> None:
    """Of a thousand consumers; what they cost, and how they go."""
    entries, consumers = 100_000, 1000
    client.pipeline([("XADD", "k", f"{i + 1}-1", "f", "v") for i in range(entries)])
    client.call("XGROUP", "CREATE", "k", "g", "0")
    before = int(client.call("MEMORY", "USAGE", "k"))
    each = entries // consumers
    client.pipeline([
        ("XREADGROUP", "GROUP", "g", f"c{i}", "COUNT", each, "STREAMS", "k", ">") for i in range(consumers)
    ])  # fmt: skip
    assert client.call("XPENDING", "k", "g")[0] == entries
    assert int(client.call("MEMORY", "USAGE", "k")) - before < entries * 70 + consumers * 200
    assert client.call("XGROUP", "DELCONSUMER", "k", "g", "c7") == each
    assert client.call("XACK", "k", "g", *(f"{i + 1}-1" for i in range(0, entries, 2))) == entries // 2 - each // 2
    assert client.call("XPENDING", "k", "g")[0] == entries // 2 - each // 2
    assert client.call("DEBUG", "RELOAD") == "OK"
    assert client.call("XPENDING", "k", "g")[0] == entries // 2 - each // 2
