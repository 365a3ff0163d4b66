"""FAILOVER: ours and Valkey 9.1 hand over to each other under write load, and what may come in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.proxy import Proxy
from fleettest.replicas import SYNC_S, Start, assert_follows, assert_same_data, assert_sound, link_is
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

BUSY = Error("ERR FAILOVER already in progress.")


def state(server: Instance) -> str:
    return server.info("replication")["master_failover_state"]


def role(server: Instance) -> str:
    return server.info("replication")["role"]


def address(server: Instance) -> tuple[str, str]:
    return "127.0.0.1", str(server.port)


def hold(proxy: Proxy, primary: Instance) -> None:
    """Nothing goes through from now on. Before, the primary has heard that its replicas have what they were sent."""
    assert_eventually(lambda: set(re.findall(r"state=(\w+)", str(primary.info("replication")))) == {"online"})
    proxy.hold()


def assert_handed_over(former: Instance, target: Instance) -> None:
    assert_eventually(
        lambda: (role(former), role(target), state(former)) == ("slave", "master", "no-failover"),
        lambda: former.log_tail() + target.log_tail(),
        deadline_s=SYNC_S,
        pause_s=0.02,
    )


def history(server: Instance) -> str:
    return server.info("replication")["master_replid"]


def syncs(server: Instance) -> tuple[int, int]:
    """(full, partial) synchronisations that it gave."""
    stats = server.info("stats")
    return int(stats["sync_full"]), int(stats["sync_partial_ok"])


@contextlib.contextmanager
def suspended(server: Instance) -> Iterator[None]:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


class Client:
    """Writes numbers to whichever of the servers takes them, from another thread, and knows which were acknowledged."""

    def __init__(self, name: str, servers: Sequence[Instance]) -> None:
        self.name, self.acknowledged = name, 0
        self._servers = itertools.cycle(servers)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, EOFError), next(self._servers).connect() as connection:
                while not self._over.is_set() and self._appended(connection):
                    self.acknowledged += 1

    def _appended(self, connection: Connection) -> bool:
        reply = connection.call("SADD", self.name, self.acknowledged)
        return not isinstance(reply, Error)


def assert_goes_on(client: Client) -> None:
    before = client.acknowledged
    assert_eventually(lambda: client.acknowledged > before + 100, "writes go on", deadline_s=SYNC_S)


@pytest.mark.parametrize(("first", "second"), [
    ("cachefleet", "cachefleet"), ("cachefleet", "valkey"), ("valkey", "cachefleet"),
])  # fmt: skip
def test_back_and_forth_under_writes_loses_nothing(first: Kind, second: Kind, start: Start) -> None:
    """Each way once, so each is former primary and target; a third server follows, at the end of a chain."""
    primary = start(first)
    replica = start(second, of=primary)
    third = start(of=primary)
    for server in (replica, third):
        assert_follows(primary, server)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(f"client{i}", (primary, replica))) for i in range(3)]
        for client in clients:
            assert_goes_on(client)
        for former, target in ((primary, replica), (replica, primary), (primary, replica)):
            _, partial = syncs(target)
            assert former.call("FAILOVER", "TO", *address(target)) == "OK"
            assert_handed_over(former, target)
            for client in clients:
                assert_goes_on(client)
            assert_eventually(lambda target=target, partial=partial: syncs(target)[1] > partial)
            assert_eventually(lambda target=target: history(third) == history(target), deadline_s=SYNC_S)
    for server in (primary, third):
        assert_same_data(replica, server)
    with replica.connect() as connection:
        for client in clients:
            assert connection.call("SCARD", client.name) >= client.acknowledged
            assert connection.call("SISMEMBER", client.name, client.acknowledged - 1) == 1
    assert (syncs(primary)[0], syncs(replica)[0]) == (2, 0), "all but the first synchronisations were partial"
    for server in (primary, replica, third):
        assert_sound(server)


@pytest.mark.parametrize(("file", "killed"), [("appendonly", True), ("save", False)])
def test_restarts_of_both_afterwards(file: str, killed: bool, start: Start) -> None:
    """Their files tell of the new history: nobody gets all data."""
    options = {"appendonly": "yes"} if file == "appendonly" else {"save": "3600 1"}
    former = start(**options)
    target = start(of=former, **options)
    assert_follows(former, target)
    former.call("SET", "a", "1")
    assert former.call("FAILOVER") == "OK"
    assert_handed_over(former, target)
    target.call("SET", "b", "1")
    assert_same_data(target, former)
    former.restart(kill=killed)
    target.call("SET", "c", "1")
    former.call("REPLICAOF", *address(target))
    assert_same_data(target, former)
    assert syncs(target) == (0, 2)
    del target.options["replicaof"]
    target.restart(kill=killed)
    assert_same_data(target, former)
    assert target.call("FAILOVER") == "OK"
    assert_handed_over(target, former)
    assert_same_data(former, target)
    assert (syncs(target), syncs(former), former.call("DBSIZE")) == ((0, 1), (0, 1), 3)


def test_words_and_refusals_are_valkeys(start: Start) -> None:
    said: dict[str, list[object]] = {}
    for kind in ("cachefleet", "valkey"):
        alone = start(kind)
        replies: list[object] = [alone.call("FAILOVER", *words) for words in ((), ("FORCE",), ("TO", "h", "1"))]
        with Proxy(alone.address) as proxy:
            replica = start(kind, of=proxy)
            assert_follows(alone, replica)
            target = ("TO", *address(replica))
            replies += [alone.call("FAILOVER", *words) for words in (
                ("ABORT",), ("TO",), ("TO", "h"), ("TO", "h", "x"), ("TO", "h", "1"), ("TO", "h", "1", "TO", "h", "2"),
                ("FORCE",), ("FORCE", "TIMEOUT", "1"), ("FORCE", "FORCE"), ("TIMEOUT", "0"), ("TIMEOUT", "-1"),
                ("TIMEOUT", "x"), ("TIMEOUT",), ("TIMEOUT", "1", "TIMEOUT", "1"), ("ABORT", "FORCE"), ("foo",),
                ("TO", "127.0.0.1", "9" * 30), (*target, "FORCE"), ("FORCE", "TO", "h", "1", "TIMEOUT", "5"),
            )]  # fmt: skip
            replies += [alone.call("PSYNC", history(alone), "1", "failover"), alone.call("PSYNC", "?", "x", "FAILOVER")]
            replies += [replica.call("FAILOVER"), replica.call("FAILOVER", "ABORT")]
            replies += [replica.call("PSYNC", "x" * 40, "1", "FAILOVER")]
            hold(proxy, alone)
            alone.call("SET", "not", "there")
            replies += [alone.call("FAILOVER"), alone.call("FAILOVER"), alone.call("failover", "force")]
            replies += [alone.call(*words.split()) for words in (
                "REPLICAOF NO ONE", "REPLICAOF h 1", "SLAVEOF h x", "SYNC", "PSYNC ? -1", "CLIENT UNPAUSE",
            )]  # fmt: skip
            replies += [state(alone), alone.info("clients")["paused_reason"], alone.info("clients")["paused_actions"]]
            replies += [alone.call("FAILOVER", "ABORT"), state(alone), alone.call("FAILOVER", "ABORT")]
            with alone.connect() as connection:
                replies += [connection.call(*words.split()) for words in (
                    "MULTI", "FAILOVER TIMEOUT 100000", "SET a b", "FAILOVER", "EXEC", "FAILOVER ABORT", "GET a",
                )]  # fmt: skip
        said[kind] = [repr(reply) for reply in replies]
        assert_sound(alone)
    assert said["cachefleet"] == said["valkey"]


def test_writes_wait_and_reads_do_not(start: Start) -> None:
    primary = start()
    with Proxy(primary.address) as proxy, primary.connect() as reader, primary.connect() as writer:
        replica = start(of=proxy)
        assert_follows(primary, replica)
        hold(proxy, primary)
        reader.call("SET", "a", "1")
        assert reader.call("FAILOVER") == "OK"
        writer.send_command("SET", "a", "2")
        assert_eventually(lambda: reader.call("CLIENT", "LIST", "FLAGS", "b").count(b"cmd=set") == 1)
        assert (reader.call("GET", "a"), state(primary)) == (b"1", "waiting-for-sync")
        proxy.release()
        assert str(writer.read()).startswith("READONLY")
        assert_handed_over(primary, replica)
        assert_same_data(replica, primary)
    assert (replica.call("GET", "a"), syncs(replica)) == (b"1", (0, 1))


def test_time_is_up(start: Start) -> None:
    """Without FORCE all is as it was, with the same id and the same connections."""
    primary = start()
    with Proxy(primary.address) as proxy, primary.connect() as writer:
        replica = start(of=proxy)
        assert_follows(primary, replica)
        before = history(primary)
        hold(proxy, primary)
        writer.call("SET", "a", "1")
        assert primary.call("FAILOVER", "TIMEOUT", "300") == "OK"
        assert writer.call("SET", "a", "2") == "OK", "it waits until then"
        assert (state(primary), role(primary)) == ("no-failover", "master")
        proxy.release()
        assert_same_data(primary, replica)
    assert (history(primary), syncs(primary), proxy.connections) == (before, (1, 0), 1)


@pytest.mark.slow("longer than repl-timeout")
def test_a_target_that_goes_away_keeps_the_others_waiting_and_connected(start: Start) -> None:
    """Nobody may synchronise meanwhile, not even itself; who is connected stays so, however long it takes."""
    primary = start(repl_timeout=3)
    with Proxy(primary.address) as proxy, primary.connect() as writer:
        replica, other = start(of=proxy), start(of=primary, repl_timeout=3)
        for server in (replica, other):
            assert_follows(primary, server)
        hold(proxy, primary)
        primary.call("SET", "a", "1")
        assert primary.call("FAILOVER", "TO", *address(replica)) == "OK"
        writer.send_command("SET", "a", "2")
        replica.kill()
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "1")
        proxy.release()
        replica.start()
        assert_eventually(lambda: "NOMASTERLINK" in replica.log_text())
        offset = int(primary.info("replication")["master_repl_offset"])
        pings = offset + 4 * len("*1\r\n$4\r\nPING\r\n")
        assert_eventually(lambda: int(primary.info("replication")["master_repl_offset"]) >= pings)
        assert (state(primary), link_is(other, "up")) == ("waiting-for-sync", True)
        assert primary.call("FAILOVER", "ABORT") == "OK"
        assert writer.read() == "OK"
        for server in (replica, other):
            assert_same_data(primary, server)
    assert "repl-timeout" not in other.log_text()
    assert_sound(primary)


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_forced(kind: Kind, start: Start) -> None:
    """What the target had not is lost; who was primary takes its data."""
    primary = start()
    with Proxy(primary.address) as proxy:
        replica = start(kind, of=proxy)
        assert_follows(primary, replica)
        hold(proxy, primary)
        primary.call("SET", "lost", "1")
        assert primary.call("FAILOVER", "TO", *address(replica), "FORCE", "TIMEOUT", "100") == "OK"
        assert_handed_over(primary, replica)
        assert_same_data(replica, primary)
        assert primary.call("GET", "lost") is None
    assert syncs(replica) == (1, 0)
    assert_sound(primary)


def test_a_target_that_does_not_answer_can_be_aborted(start: Start) -> None:
    """Nobody is the primary until then, and a write that waits goes on waiting. The replicas go on where they were."""
    primary = start()
    replica, other = start(of=primary), start(of=primary)
    for server in (replica, other):
        assert_follows(primary, server)
    with suspended(replica), primary.connect() as writer, primary.connect() as admin:
        admin.call("SET", "a", "1")
        words = ("FAILOVER", "TO", *address(replica), "FORCE", "TIMEOUT", "500")
        assert admin.call(*words) == "OK"
        writer.send_command("SET", "a", "2")
        assert_eventually(lambda: admin.call("CLIENT", "LIST", "FLAGS", "b").count(b"cmd=set") == 1)
        assert_eventually(lambda: state(primary) == "failover-in-progress")
        assert role(primary) == "slave"
        assert str(admin.call("SET", "a", "3")).startswith("READONLY")
        assert (admin.call(*words), admin.call("REPLICAOF", "NO", "ONE")) == (
            BUSY, Error("ERR REPLICAOF not allowed while failing over."),
        )  # fmt: skip
        assert admin.call("FAILOVER", "ABORT") == "OK"
        assert writer.read() == "OK"
        assert (state(primary), role(primary)) == ("no-failover", "master")
    for server in (replica, other):
        assert_same_data(primary, server)
    assert role(replica) == "slave"
    assert (primary.call("GET", "a"), syncs(primary)[0]) == (b"2", 2)
    assert_sound(primary)


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_a_target_that_is_a_primary_declines(kind: Kind, start: Start) -> None:
    """It says that it is reached where another server is, which has writes of its own."""
    primary, stranger = start(kind), start()
    replica = start(of=primary, replica_announce_port=stranger.port)
    assert_follows(primary, replica)
    assert stranger.call("SET", "a", "of its own") == "OK"
    assert primary.call("SET", "a", "1") == "OK"
    before = history(primary)
    assert primary.call("FAILOVER", "TO", *address(stranger)) == "OK"
    assert primary.call("SET", "a", "2") == "OK", "it waits until that is over"
    assert (state(primary), role(primary), role(stranger)) == ("no-failover", "master", "master")
    assert history(primary) != before
    assert_same_data(primary, replica)
    assert (stranger.call("GET", "a"), syncs(primary)[0]) == (b"of its own", 1)


def test_an_answer_that_is_lost_is_asked_for_again(start: Start) -> None:
    """The target has become the primary and nobody heard of it: it stays the only one."""
    primary = start()
    replica = start()
    with Proxy(replica.address) as door:
        replica.call("CONFIG", "SET", "replica-announce-port", str(door.address[1]))
        replica.call("REPLICAOF", *address(primary))
        assert_follows(primary, replica)
        door.limit_bytes = len("+PONG\r\n" + 3 * "+OK\r\n") + 3  # of its answer to PSYNC
        assert primary.call("SET", "a", "1") == "OK"
        assert primary.call("FAILOVER") == "OK"
        assert_eventually(lambda: role(replica) == "master", deadline_s=SYNC_S)
        assert_eventually(lambda: door.connections > 1, deadline_s=SYNC_S)
        assert (state(primary), role(primary)) == ("failover-in-progress", "slave")
        door.limit_bytes = None
        assert_handed_over(primary, replica)
        assert replica.call("SET", "a", "2") == "OK"
        assert_same_data(replica, primary)
    assert syncs(replica) == (0, 2), replica.log_text()
    assert "it had taken the offer" in primary.log_text()


def test_while_the_server_stops(start: Start) -> None:
    primary = start(save="3600 1", shutdown_timeout=600)
    with Proxy(primary.address) as proxy, primary.connect() as admin:
        replica = start(of=proxy)
        assert_follows(primary, replica)
        hold(proxy, primary)
        admin.call("SET", "a", "1")
        with primary.connect() as asking:
            asking.send_command("SHUTDOWN")
            assert_eventually(lambda: primary.info("clients")["paused_reason"] == "shutdown_in_progress")
            assert admin.call("FAILOVER") == "OK"
            assert admin.call("FAILOVER", "ABORT") == "OK"
            assert primary.info("clients")["paused_reason"] == "shutdown_in_progress"
            assert admin.call("FAILOVER") == "OK"
            assert admin.call("SHUTDOWN", "ABORT") == "OK"
            assert isinstance(asking.read(), Error)
        assert primary.info("clients")["paused_reason"] == "failover_in_progress"
        proxy.release()
        assert_handed_over(primary, replica)
    assert replica.stop() == 0
