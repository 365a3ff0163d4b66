"""MEMORY: arguments beside the real Valkey; figures against what the server was given to hold."""

from __future__ import annotations

import re

import pytest

from fleettest.client import Connection, Verbatim
from fleettest.instance import Instance
from fleettest.process import rss_bytes
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ERRORS = """
MEMORY|MEMORY FOO|MEMORY HELP|MEMORY HELP x|MEMORY USAGE|MEMORY USAGE nosuch|MEMORY USAGE nosuch SAMPLES
MEMORY USAGE nosuch SAMPLES x|MEMORY USAGE nosuch SAMPLES -1|MEMORY USAGE k SAMPLES|MEMORY USAGE k SAMPLES x
MEMORY USAGE k SAMPLES -1|MEMORY USAGE k SAMPLES 1.5|MEMORY USAGE k SAMPLES 99999999999999999999|MEMORY USAGE k FOO 1
MEMORY USAGE nosuch SAMPLES 1 SAMPLES 2|MEMORY USAGE nosuch FOO 1|MEMORY USAGE nosuch SAMPLES 0|MEMORY PURGE
MEMORY PURGE x|MEMORY DOCTOR|MEMORY DOCTOR x|MEMORY MALLOC-STATS|MEMORY MALLOC-STATS x|MEMORY STATS x
MEMORY USAGE k SAMPLES 0|MEMORY USAGE k samples 5 SAMPLES 1
""".replace("\n", "|").strip("|").split("|")


def test_replies_and_errors(pair: Pair) -> None:
    pair.run("SET", "k", "v")
    for line in ERRORS:
        pair.run(*line.split())


def test_stats_has_valkeys_fields_in_its_order(pair: Pair) -> None:
    pair.flush()
    pair.run("SET", "a", "b", "EX", "100")
    pair.run("SELECT", "5")
    pair.run("SET", "a", "b")
    mine, real = (c.call("MEMORY", "STATS") for c in (pair.ours, pair.theirs))

    def shape(reply: object) -> object:
        if isinstance(reply, dict):
            return [(key, shape(value)) for key, value in reply.items()]
        return [shape(x) for x in reply] if isinstance(reply, list) else type(reply)

    if isinstance(mine, list):
        mine, real = (dict(zip(reply[::2], reply[1::2], strict=True)) for reply in (mine, real))
    # Valkey also lists databases that are empty but were used once.
    real = {name: value for name, value in real.items() if name in mine or not re.fullmatch(rb"db\.\d+", name)}
    assert shape(mine) == shape(real)
    assert {b"db.0", b"db.5"} <= set(mine)
    pair.flush()


def test_usage_grows_with_key_and_value(client: Connection) -> None:
    sizes = []
    for n in (1, 100, 10_000, 1_000_000):
        client.call("SET", "k", "x" * n)
        sizes.append(client.call("MEMORY", "USAGE", "k"))
        assert n < sizes[-1] < n * 1.3 + 100
    client.call("SET", "k" * 1000, "x")
    assert client.call("MEMORY", "USAGE", "k" * 1000) > sizes[0] + 900
    before = client.call("MEMORY", "USAGE", "k")
    client.call("EXPIRE", "k", "100")
    assert client.call("MEMORY", "USAGE", "k") >= before


def test_usage_is_what_used_memory_says(client: Connection, server: Instance) -> None:
    """The sum over all keys is what the data added, within the table's own growth."""
    server.settled_memory()
    before = int(server.info("memory")["used_memory_dataset"])
    keys = [f"key:{i}" for i in range(5000)]
    client.pipeline([("SET", key, "x" * (i % 500)) for i, key in enumerate(keys)])
    total = sum(client.pipeline([("MEMORY", "USAGE", key) for key in keys]))
    server.settled_memory()
    added = int(server.info("memory")["used_memory_dataset"]) - before
    assert 0.9 < total / added < 1.1


def test_stats_agree_with_info(client3: Connection, server: Instance) -> None:
    client3.call("SET", "peak", "x" * 30_000_000)
    client3.call("DEL", "peak")  # the next command does not raise it
    client3.pipeline([("SET", f"k{i}", "x" * 1000) for i in range(1000)])
    server.settled_memory()
    stats = client3.call("MEMORY", "STATS")
    info = server.info("memory")
    assert stats[b"keys.count"] == 1000
    assert 1000 < stats[b"keys.bytes-per-key"] < 5000, "buffers of connections are in it"
    for name, field in ((b"startup.allocated", "used_memory_startup"), (b"peak.allocated", "used_memory_peak")):
        assert stats[name] == int(info[field])
    assert abs(stats[b"total.allocated"] - int(info["used_memory"])) < 100_000
    assert stats[b"overhead.total"] + stats[b"dataset.bytes"] == stats[b"total.allocated"]
    assert 0 < stats[b"dataset.percentage"] <= 100
    assert stats[b"db.0"][b"overhead.hashtable.main"] > 0


def test_purge_gives_memory_back(client: Connection, server: Instance) -> None:
    """Every other value goes and leaves holes of whole pages in the heap; purging returns these to the system."""
    size, count = 20_000, 4000
    for start in range(0, count, 500):
        client.pipeline([("SET", f"k{i}", "x" * size) for i in range(start, start + 500)])
    client.call("DEL", *(f"k{i}" for i in range(0, count, 2)))
    server.settled_memory()
    before = rss_bytes(server)
    assert client.call("MEMORY", "PURGE") == "OK"
    assert before - rss_bytes(server) > size * count // 2 // 2, "half of what was deleted"


def test_slack_of_slabs_is_fragmentation() -> None:
    """Objects count as used and as allocated; what their pages hold beyond them counts as active only."""
    count, entry = 200_000, 96
    data = count * entry
    with Instance("cachefleet") as server, server.connect() as client:

        def memory() -> tuple[int, int, int]:
            info = server.info("memory")
            return int(info["used_memory"]), int(info["allocator_allocated"]), int(info["allocator_frag_bytes"])

        for start in range(0, count, 10_000):
            client.pipeline([("SET", f"k{i:06}", "v" * 80) for i in range(start, start + 10_000)])
        full_used, full_allocated, full_slack = memory()
        assert full_allocated > full_used > data
        assert full_slack < data / 10
        for start in range(0, count, 10_000):
            client.pipeline([("DEL", f"k{i:06}") for i in range(start, start + 10_000) if i % 4])
        used, allocated, slack = memory()
        assert full_used - used == pytest.approx(data * 3 / 4, rel=0.02)
        assert full_allocated - allocated == pytest.approx(data * 3 / 4, rel=0.02)
        assert slack - full_slack == pytest.approx(data * 3 / 4, rel=0.02)
        client.call("FLUSHALL", "SYNC")
        assert memory()[2] < data / 10


def test_doctor_and_malloc_stats(client3: Connection, server: Instance) -> None:
    server.settled_memory()  # what the test before left is freed by another thread
    assert b"too little data" in client3.call("MEMORY", "DOCTOR")
    client3.call("SET", "big", "x" * 20_000_000)
    assert b"Limit" not in client3.call("MEMORY", "DOCTOR")
    used = int(server.info("memory")["used_memory"])
    with server.configured(maxmemory=used + 100_000):
        assert b"* Limit: " in client3.call("MEMORY", "DOCTOR")
    client3.call("FLUSHALL", "SYNC")
    client3.call("SET", "big", "x" * 6_000_000)
    assert b"* Peak: " in client3.call("MEMORY", "DOCTOR")
    stats = client3.call("MEMORY", "MALLOC-STATS")
    assert isinstance(stats, Verbatim) and b"allocated" in stats
