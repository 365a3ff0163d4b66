"""Time to live: the EXPIRE family against the real Valkey, lazy and active expiry, and a million short-lived keys."""

from __future__ import annotations

import threading
import time

import pytest

from fleettest.client import Connection, Error, encode
from fleettest.instance import Instance, Pool
from fleettest.process import main_thread_cpu_seconds
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

LAST = 9223372036854775807
SETTERS = ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")


@pytest.mark.parametrize("name", SETTERS)
def test_arguments(pair: Pair, name: str) -> None:
    pair.run("SET", "k", "v")
    for key in ("k", "nokey"):
        for options in (
            ("NX", "XX"), ("NX", "GT"), ("NX", "LT"), ("GT", "LT"), ("XX", "GT", "LT"), ("FOO",), ("NX", "FOO"),
            ("FOO", "NX", "XX"), ("",),
        ):  # fmt: skip
            pair.run(name, key, 10, *options)
            pair.run(name, key, "x", *options)
        for when in ("", "x", "1.5", " 1", LAST, LAST + 1, -LAST - 1, -LAST - 2, LAST // 1000 + 1, -LAST // 1000 - 2):
            pair.run(name, key, when)
    pair.run(name, "k")
    pair.run(name)


def test_latest_possible_times(pair: Pair) -> None:
    pair.run("SET", "k", "v")
    assert pair.run("PEXPIREAT", "k", LAST) == 1
    pair.run("PEXPIRETIME", "k")
    pair.run("EXPIRETIME", "k")
    pair.run("EXPIREAT", "k", LAST // 1000)
    pair.run("EXPIRETIME", "k")
    pair.run("PERSIST", "k")


def test_conditions(pair: Pair) -> None:
    at = int(time.time()) + 100_000
    for before in (None, at, at + 50, at - 50):
        for options in ((), ("NX",), ("XX",), ("GT",), ("LT",), ("XX", "GT"), ("xx", "lt"), ("GT", "GT"), ("NX", "NX")):
            pair.run("SET", "k", "v")
            if before is not None:
                pair.run("EXPIREAT", "k", before)
            pair.run("EXPIREAT", "k", at, *options)
            pair.run("EXPIRETIME", "k")
            pair.run("PEXPIREAT", "k", at * 1000, *options)
            pair.run("PEXPIRETIME", "k")
            pair.run("EXPIRE", "k", -1, *options)
            pair.run("EXISTS", "k")


@pytest.mark.parametrize("name", SETTERS)
def test_past_times_delete(pair: Pair, name: str) -> None:
    for when in (0, -1, -100_000) if name in ("EXPIRE", "PEXPIRE") else (0, 1, -5):
        pair.run("SET", "k", "v")
        assert pair.run(name, "k", when) == 1
        assert pair.run("EXISTS", "k") == 0
        assert pair.run(name, "k", when) == 0


def test_asking(pair: Pair) -> None:
    pair.run("SET", "forever", "v")
    pair.run("SET", "k", "v", "EX", 1000)
    for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"):
        pair.run(name, "nokey")
        pair.run(name, "forever")
        pair.run(name)
        pair.run(name, "k", "k", "k")  # of two words ours may be a key and a member
    assert pair.run("TTL", "k") == 1000
    pair.run("PEXPIREAT", "k", 33177117420499)
    assert pair.run("EXPIRETIME", "k") == 33177117420
    pair.run("PEXPIREAT", "k", 33177117420500)
    assert pair.run("EXPIRETIME", "k") == 33177117421
    assert pair.run("PERSIST", "k") == 1
    assert pair.run("PERSIST", "k") == 0
    assert pair.run("TTL", "k") == -1


def test_expired_keys_are_invisible_to_every_command(pair: Pair) -> None:
    """Lazy expiry alone: the cycles are off."""
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        for command in (
            ("GET", "k"), ("EXISTS", "k"), ("TTL", "k"), ("TYPE", "k"), ("RENAME", "k", "x"), ("COPY", "k", "x"),
            ("MOVE", "k", 1), ("PERSIST", "k"), ("EXPIRE", "k", 10), ("TOUCH", "k"), ("DEL", "k"), ("KEYS", "*"),
            ("OBJECT", "ENCODING", "k"), ("RANDOMKEY",), ("STRLEN", "k"), ("APPEND", "k", "x"), ("INCR", "k"),
            ("SET", "k", "v", "XX"), ("DUMP", "k"), ("RENAMENX", "live", "k"), ("COPY", "live", "k"),
        ):  # fmt: skip
            pair.run("FLUSHALL")
            pair.run("SET", "live", "v")
            pair.run("SET", "k", "5", "PX", 1)
            pair.run("DEBUG", "SLEEP", "0.003")  # any other command might delete it
            if command[0] == "RANDOMKEY":
                pair.run("DEL", "live")
            pair.run(*command)
            pair.run("EXISTS", "k")
            pair.run("DBSIZE")
    finally:
        pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_statistics(server: Instance, client: Connection) -> None:
    before = int(server.info("stats")["expired_keys"])
    client.call("SET", "a", 1, "PX", 1)
    client.call("SET", "b", 1)
    client.call("EXPIRE", "b", -1)  # counts too, as in Valkey
    assert_eventually(lambda: client.call("DBSIZE") == 0)
    info = server.info("stats")
    assert int(info["expired_keys"]) == before + 2


def test_the_share_of_stale_keys_is_estimated(server: Instance, client: Connection) -> None:
    """It rises while the cycle finds many that have expired, and falls when it finds none."""

    def stale() -> float:
        return float(server.info("stats")["expired_stale_perc"])

    assert_eventually(lambda: stale() < 1, deadline_s=30)
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        client.pipeline([("SET", f"k{i}", 1, "PX", 1) for i in range(20_000)])
        client.call("SET", "probe", 1, "PX", 10)
        assert_eventually(lambda: client.call("EXISTS", "probe") == 0)
        assert stale() < 1, "nobody looks"
    finally:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert_eventually(lambda: stale() > 3)
    assert_eventually(lambda: client.call("DBSIZE") == 0)
    assert_eventually(lambda: stale() < 1, deadline_s=30)


def test_active_expiry_can_be_switched_off(client: Connection) -> None:
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    client.call("SET", "k", 1, "PX", 1)
    client.call("SET", "probe", 1, "PX", 400)
    try:
        assert_eventually(lambda: client.call("EXISTS", "probe") == 0)
        assert client.call("DBSIZE") == 1
    finally:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert_eventually(lambda: client.call("DBSIZE") == 0)


def test_avg_ttl(server: Instance, client: Connection) -> None:
    client.pipeline([("SET", f"k{i}", i, "EX", 100) for i in range(100)])
    text = assert_eventually(lambda: t if "avg_ttl=0" not in (t := server.info("keyspace")["db0"]) else "")
    fields = dict(part.split("=") for part in text.split(","))
    assert (fields["keys"], fields["expires"]) == ("100", "100")
    assert 90_000 < int(fields["avg_ttl"]) <= 100_000


def test_every_database_is_served(client: Connection) -> None:
    for db in (0, 3, 15):
        client.call("SELECT", db)
        client.pipeline([("SET", f"k{i}", i, "PX", 30) for i in range(500)])
    for db in (0, 3, 15):
        client.call("SELECT", db)
        assert_eventually(lambda: client.call("DBSIZE") == 0)
    client.call("SELECT", 0)


def test_few_expired_among_many_lasting(client: Connection) -> None:
    """The cycle stops early where little is expired, but must get everywhere in the end."""
    client.pipeline([("SET", f"live{i}", i, "EX", 1000) for i in range(20_000)])
    client.pipeline([("SET", f"gone{i}", i, "PX", 10) for i in range(200)])
    assert_eventually(lambda: client.call("DBSIZE") == 20_000, deadline_s=60)


def test_a_slice_deletes_a_share_of_what_is_expired(client: Connection) -> None:
    """It is a millisecond long and looks at the clock after 128 keys at most, each of which takes 10 ns anywhere."""
    count = 300_000
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        for start in range(0, count, 10_000):
            client.pipeline([("SET", f"k{i}", "v", "PX", 1) for i in range(start, start + 10_000)])
        client.call("CONFIG", "RESETSTAT")
    finally:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert_eventually(lambda: client.call("DBSIZE") == 0, deadline_s=60)
    largest = client.call("DEBUG", "SLICES")[1]
    print(f"{largest} keys a slice at most")
    assert 0 < largest < count // 3


class _Pinger(threading.Thread):
    """Asks PING every few milliseconds and keeps the longest time of an answer."""

    def __init__(self, server: Instance) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.connection = server.connect()
        self.times_ms: list[float] = []
        self.most_work_s = 0.0  # of the server's thread, before it answered one PING
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            start, worked = time.perf_counter(), main_thread_cpu_seconds(self.server)
            assert self.connection.call("PING") == "PONG"
            self.times_ms.append((time.perf_counter() - start) * 1000)
            self.most_work_s = max(self.most_work_s, main_thread_cpu_seconds(self.server) - worked)

    def finish(self) -> list[float]:
        self.over.set()
        self.join()
        self.connection.close()
        return sorted(self.times_ms)


@pytest.mark.slow("a million keys that expire at a date")
def test_a_million_short_lived_keys(servers: Pool) -> None:
    """Memory comes back as the keys expire, and nobody waits for it."""
    server = servers.get("cachefleet", appendonly="no", hz=10)
    with server.connect(timeout_s=120) as client:
        empty = int(server.info("memory")["used_memory"])
        count, batch = 1_000_000, 10_000

        def fill(start: int, deadline_ms: int) -> None:
            client.send(
                b"".join(
                    encode("SET", f"key:{i}", "value-of-some-bytes", "PXAT", deadline_ms + i * 7919 % 4000)
                    for i in range(start, start + batch)
                )
            )
            expected = b"+OK\r\n" * batch
            while expected:
                got = client.sock.recv(len(expected))
                assert got and expected.startswith(got)
                expected = expected[len(got) :]

        began = time.monotonic()
        for _ in range(3):
            fill(0, int(time.time() * 1000) + 1_000_000)
        batches_s = (time.monotonic() - began) / 3 * count / batch
        deadline_ms = int((time.time() + max(15.0, 4 * batches_s)) * 1000)
        for start in range(0, count, batch):  # all expire within the same four seconds, wherever the filling takes long
            fill(start, deadline_ms)
        full = int(server.info("memory")["used_memory"])
        assert client.call("DBSIZE") == count, "the filling took too long for this test"
        assert full > empty + 60 * count
        quiet = _Pinger(server)
        quiet.start()
        while time.time() * 1000 < deadline_ms:
            time.sleep(max(0.0, deadline_ms / 1000 - time.time()))  # a date, not a condition
        usual = quiet.finish()
        pinger = _Pinger(server)
        pinger.start()
        assert_eventually(lambda: client.call("DBSIZE") == 0, deadline_s=60, pause_s=0.05)
        lag_s = time.time() - (deadline_ms + 4000) / 1000
        times = pinger.finish()
        assert_eventually(lambda: int(server.info("memory")["used_memory"]) < empty + (full - empty) // 20)
        info = server.info("stats")
        slices = int(info["expired_time_cap_reached_count"])
        slice_ms = int(info["expire_cycle_cpu_milliseconds"]) / max(slices, 1)
        print(f"gone {lag_s:.2f} s after the last one expired; {slices} slices of {slice_ms:.2f} ms; PING in ms:")
        for name, all_ in (("before", usual), ("meanwhile", times)):
            marks = {mark: all_[int(len(all_) * mark / 100)] for mark in (50, 90, 99)}
            print(f"  {name}: {marks}, max {all_[-1]:.2f}")
        assert slices > 10, "it did not go in slices"
        assert slice_ms > 0
        print(f"  at most {pinger.most_work_s * 1000:.0f} ms of work before a PING")
        assert pinger.most_work_s < 0.15, "all at once takes longer"


def test_errors_do_not_set_anything(pair: Pair) -> None:
    pair.run("SET", "k", "v", "EX", 1000)
    for command in (("EXPIRE", "k", "x"), ("EXPIRE", "k", 10, "NX", "XX"), ("EXPIRE", "k", LAST)):
        assert isinstance(pair.run(*command), Error)
        assert pair.run("TTL", "k") == 1000
