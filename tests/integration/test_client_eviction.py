"""maxmemory-clients: who is disconnected when connections hold too much memory, beside the real Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

KB, MB = 1 << 10, 1 << 20


@pytest.fixture(params=["cachefleet", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """Both servers must do the same; ours is the one that counts."""
    with Instance(request.param) as instance:
        yield instance


@pytest.fixture
def clients(server: Instance) -> Iterator[Callable[[str], Connection]]:
    """Opens named connections, which stay open."""
    with ExitStack() as stack:

        def new(name: str) -> Connection:
            connection = stack.enter_context(server.connect())
            assert connection.call("CLIENT", "SETNAME", name) == "OK"
            return connection

        yield new


@pytest.fixture
def admin(clients: Callable[[str], Connection]) -> Connection:
    """A connection that is never evicted, for looking on."""
    connection = clients("admin")
    assert connection.call("CLIENT", "NO-EVICT", "on") == "OK"
    return connection


def names(admin: Connection) -> set[str]:
    listed = admin.call("CLIENT", "LIST").decode().splitlines()
    return {line.split(" name=")[1].split(" ")[0] for line in listed} - {"admin"}


def evicted(admin: Connection) -> int:
    return int(admin.call("INFO", "stats").decode().split("evicted_clients:")[1].split("\r\n")[0])


def memory(admin: Connection, name: str) -> int:
    line = next(x for x in admin.call("CLIENT", "LIST").decode().splitlines() if f" name={name} " in x)
    return int(line.split(" tot-mem=")[1].split(" ")[0])


def unfinished(size: int) -> bytes:
    """Input that stays with the connection: an argument that has not ended."""
    return b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (size * 2) + b"x" * size


def half_request(connection: Connection, size: int) -> None:
    connection.send(unfinished(size))


def send_until_evicted(connection: Connection, data: bytes) -> None:
    """The eviction may come while the bytes are still on their way."""
    with suppress(ConnectionError):
        connection.send(data)


def limit(admin: Connection, value: str | int) -> None:
    assert admin.call("CONFIG", "SET", "maxmemory-clients", value) == "OK"


def test_the_largest_goes_and_the_others_stay(clients: Callable[[str], Connection], admin: Connection) -> None:
    sizes = {"small": 10 * KB, "middle": 300 * KB, "large": 3 * MB}
    opened = {name: clients(name) for name in sizes}
    for name, size in sizes.items():
        half_request(opened[name], size)
        assert_eventually(lambda n=name, s=size: memory(admin, n) >= s)
    limit(admin, 2 * MB)
    assert_eventually(lambda: names(admin) == {"small", "middle"})
    assert opened["large"].closed_by_server()
    assert evicted(admin) == 1


def test_as_many_as_needed_but_no_more(clients: Callable[[str], Connection], admin: Connection) -> None:
    """Ten equal ones of 1 MB under a limit of 4.5 MB: some must go, at least three may stay."""
    opened = [clients(f"c{i}") for i in range(10)]
    for i, connection in enumerate(opened):
        half_request(connection, MB)
        assert_eventually(lambda n=f"c{i}": memory(admin, n) >= MB)
    each = memory(admin, "c0")
    limit(admin, 4 * each + each // 2)
    assert_eventually(lambda: 0 < len(names(admin)) <= 4)
    left = len(names(admin))
    assert left >= 3 and evicted(admin) == 10 - left
    limit(admin, 0)
    half_request(clients("more"), 10 * MB)
    assert_eventually(lambda: memory(admin, "more") >= 10 * MB)
    assert len(names(admin)) == left + 1, "without a limit nobody goes"


def test_whole_size_classes_first(clients: Callable[[str], Connection], admin: Connection) -> None:
    """Many small ones hold more than the one large one; still the large one goes."""
    for i in range(40):
        half_request(clients(f"small{i}"), 100 * KB)
    half_request(clients("large"), 2 * MB)
    assert_eventually(lambda: memory(admin, "large") >= 2 * MB)
    assert_eventually(lambda: all(memory(admin, f"small{i}") >= 100 * KB for i in range(40)))
    total = sum(memory(admin, name) for name in names(admin))
    limit(admin, total - MB)
    assert_eventually(lambda: "large" not in names(admin))
    assert len(names(admin)) == 40 and evicted(admin) == 1


def test_exempt_clients_are_neither_evicted_nor_counted(
    clients: Callable[[str], Connection], admin: Connection
) -> None:
    exempt, other = clients("exempt"), clients("other")
    assert exempt.call("CLIENT", "NO-EVICT", "on") == "OK"
    limit(admin, MB)
    half_request(exempt, 5 * MB)
    half_request(other, 200 * KB)
    assert_eventually(lambda: memory(admin, "exempt") >= 5 * MB and memory(admin, "other") >= 200 * KB)
    assert names(admin) == {"exempt", "other"} and evicted(admin) == 0


def test_who_loses_the_exemption_counts_again(clients: Callable[[str], Connection], admin: Connection) -> None:
    client = clients("client")
    assert client.call("CLIENT", "NO-EVICT", "on") == "OK"
    limit(admin, MB)
    client.send(b"*1\r\n$5\r\nMULTI\r\n" + b"*2\r\n$4\r\nECHO\r\n$100000\r\n%b\r\n" % (b"x" * 100_000) * 30)
    assert client.read() == "OK"
    assert [client.read() for _ in range(30)] == ["QUEUED"] * 30
    assert_eventually(lambda: memory(admin, "client") >= 3 * MB - 200 * KB)
    client.send(b"*1\r\n$7\r\nDISCARD\r\n*3\r\n$6\r\nCLIENT\r\n$8\r\nNO-EVICT\r\n$3\r\noff\r\n")
    assert client.read() == "OK" and client.read() == "OK"
    send_until_evicted(client, unfinished(2 * MB))
    assert_eventually(lambda: names(admin) == set())
    assert evicted(admin) == 1


@pytest.mark.parametrize("what", ["input", "transaction", "replies"])
def test_all_that_a_connection_holds_counts(
    clients: Callable[[str], Connection], admin: Connection, what: str
) -> None:
    """Growth past the limit while it is on: unfinished input, a queued transaction, replies nobody reads."""
    limit(admin, MB)
    hog, innocent = clients("hog"), clients("innocent")
    admin.call("SET", "big", b"x" * 200 * KB)
    growth = {
        "input": unfinished(3 * MB),
        "transaction": b"*1\r\n$5\r\nMULTI\r\n" + b"*2\r\n$4\r\nECHO\r\n$100000\r\n%b\r\n" % (b"x" * 100_000) * 30,
        "replies": b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 400,
    }
    send_until_evicted(hog, growth[what])
    assert_eventually(lambda: names(admin) == {"innocent"})
    assert evicted(admin) == 1
    assert innocent.call("PING") == "PONG"


def test_a_share_of_maxmemory(clients: Callable[[str], Connection], admin: Connection) -> None:
    half_request(clients("client"), MB + 200 * KB)
    assert_eventually(lambda: memory(admin, "client") >= MB + 200 * KB)
    limit(admin, "5%")
    assert names(admin) == {"client"}, "of no maxmemory"
    assert admin.call("CONFIG", "SET", "maxmemory", 100 * MB) == "OK"
    assert names(admin) == {"client"}, "5 MB are enough"
    assert admin.call("CONFIG", "SET", "maxmemory", 20 * MB) == "OK"
    assert_eventually(lambda: names(admin) == set())
    assert evicted(admin) == 1


def test_wrong_limits_are_refused(admin: Connection) -> None:
    for value in ("x", "101%", "-1", "5%%"):
        assert isinstance(admin.call("CONFIG", "SET", "maxmemory-clients", value), Error)


def test_accounts_balance(clients: Callable[[str], Connection], admin: Connection) -> None:
    """After much coming and going the sum is still right: a limit just above what all hold evicts nobody, one below
    does."""
    limit(admin, 100 * MB)
    for round in range(3):
        some = [clients(f"r{round}-{i}") for i in range(20)]
        for connection in some:
            half_request(connection, 50 * KB)
        for connection in some[::2]:
            connection.close()
        kept = {f"r{r}-{i}" for r in range(round + 1) for i in range(1, 20, 2)}
        assert_eventually(lambda k=kept: names(admin) == k)
    assert_eventually(lambda: all(memory(admin, name) >= 50 * KB for name in names(admin)))
    total = sum(memory(admin, name) for name in names(admin))
    limit(admin, total + 64 * KB)
    assert admin.call("PING") == "PONG" and len(names(admin)) == 30 and evicted(admin) == 0
    limit(admin, total - 10 * KB)
    assert_eventually(lambda: len(names(admin)) < 30)
