"""CONFIG, AUTH, HELLO and ACL: the same commands to Valkey give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.config.params import OURS
from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

# Parameters whose effects would disturb the test or the shared servers.
NOT_PROBED = {
    "bind", "port", "maxclients", "requirepass", "protected-mode", "loglevel", "log-format", "log-timestamp-format",
    "tls-port", "tls-cluster", "tls-replication", "dir", "maxmemory-clients", "rdma-port", "rdma-bind",
    "io-threads", "appendonly", "save", "maxmemory", "maxmemory-policy",
    "bind-source-addr", "client-query-buffer-limit", "timeout", "import-mode", "appendfsync",
}  # fmt: skip
ODD_VALUES = (
    "", "zz!", "0", "1", "-1", "7", "yes", "NO", "100", "101", "1kb", "5%", "99999999999", "-99999999999",
    "9223372036854775807", "9223372036854775808", "1 2", "1 2 3", " 1", "01", "a.b", "KEA", "default",
)  # fmt: skip
HOSTILE_VALUES = (
    "9" * 5000, "9" * 5000 + "mb", "9" * 5000 + "%", "x" * (1 << 20), "a\0b", "1\0", "\0", "yes\0", b"\xff\xfe",
    b"1\xff", " ", "a\nb", "1\n", "\t", "\u0665", "\u0665%", "1_0", "1e1", "0x1p3", "inf", "4 ",
)  # fmt: skip
# The real server crashes or disconnects the client.
NOT_PROBED_WITH_HOSTILE = {
    "bind", "port", "tls-port", "tls-cluster", "tls-replication", "dir", "rdma-port", "rdma-bind",
    "maxmemory-clients", "client-query-buffer-limit",
}  # fmt: skip
NOT_BUILT = {"activedefrag"}  # refused for a reason of our own


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers of the test's own: it may break their parameters."""
    with Instance("cachefleet") as ours, Instance("valkey") as theirs, Pair(ours, theirs) as pair:
        yield pair


def as_dict(pairs: list[bytes]) -> dict[str, str]:
    return {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}


def test_all_parameters_and_defaults(own_pair: Pair) -> None:
    ours = as_dict(own_pair.ours.call("CONFIG", "GET", "*"))
    theirs = as_dict(own_pair.theirs.call("CONFIG", "GET", "*"))
    assert sorted(ours) == sorted({*theirs, *(row.name for row in OURS)})
    differing = {name: (ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]}
    assert set(differing) == {"port", "dir"}, differing


def test_every_parameter_takes_and_refuses_the_same(own_pair: Pair) -> None:
    names = [n for n in as_dict(own_pair.theirs.call("CONFIG", "GET", "*")) if n not in NOT_PROBED]
    mismatches = []
    for name in sorted(names):
        for value in ODD_VALUES:
            replies = [side.call("CONFIG", "SET", name, value) for side in (own_pair.ours, own_pair.theirs)]
            shown = [side.call("CONFIG", "GET", name) for side in (own_pair.ours, own_pair.theirs)]
            if name not in NOT_BUILT and (replies, shown) != (replies[:1] * 2, shown[:1] * 2):
                mismatches.append((name, value, replies, shown))
    assert not mismatches


def test_hostile_values_give_the_same(own_pair: Pair) -> None:
    defaults = as_dict(own_pair.theirs.call("CONFIG", "GET", "*"))
    mismatches = []
    for name in sorted({*defaults} - NOT_PROBED_WITH_HOSTILE - NOT_BUILT):
        for value in HOSTILE_VALUES:
            replies = [side.call("CONFIG", "SET", name, value) for side in (own_pair.ours, own_pair.theirs)]
            shown = [side.call("CONFIG", "GET", name) for side in (own_pair.ours, own_pair.theirs)]
            if (replies, shown) != (replies[:1] * 2, shown[:1] * 2):
                mismatches.append((name, value[:50], replies, shown))
            if replies[0] == "OK":
                for side in (own_pair.ours, own_pair.theirs):
                    assert side.call("CONFIG", "SET", name, defaults[name]) == "OK"
    assert not mismatches


@pytest.mark.parametrize(
    "arguments",
    [
        "", "FOO", "GET", "HELP x", "RESETSTAT x", "GET nope", "GET hz HZ", "GET HZ hz", "GET hz timeout",
        "GET *?*?*?*?*?*?*?*?*?*?*?*?Z", "GET MAXM*Y", "GET max[a-M]em*[^y]", "GET h[z", "GET [z-g]z", "GET h\\z",
        "GET [h]z TimeOut", "GET slave-priority replica-priority", "GET key-load-delay dynamic-hz", "GET key-load*",
        "SET nope 1", "SET hz", "SET hz 1 timeout", "SET hz 20 nope 1", "SET NOPE 1", "SET hz 20 HZ 30",
        "SET hz 20 timeout x", "SET databases 4", "SET DATABASES 4 nope 1", "SET dir /tmp", "SET DIR /tmp",
        "SET nope 1 databases 2", "SET MaxMemory 1x", "SET SLAVE-PRIORITY x", "SET user x", "SET include x",
        "SET slaveof x", "SET maxmemory-policy foo", "SET save 1", "SET client-output-buffer-limit x",
        "REWRITE", "REWRITE x", "HELP", "help", "RESETSTAT",
    ],
)  # fmt: skip
def test_config(pair: Pair, arguments: str) -> None:
    pair.run("CONFIG", *arguments.split())
    pair.run("CONFIG", "GET", "hz")


def test_several_pairs_are_one_change(own_pair: Pair) -> None:
    own_pair.run("CONFIG", "SET", "hz", "33", "replica-priority", "7", "maxmemory", "1mb", "maxmemory-samples", "x")
    own_pair.run("CONFIG", "GET", "hz", "replica-priority", "maxmemory")
    own_pair.run("CONFIG", "SET", "hz", "33", "replica-priority", "7", "maxmemory", "1mb")
    own_pair.run("CONFIG", "GET", "maxmemory", "replica-priority", "hz")
    own_pair.run("CONFIG", "SET", "min-slaves-to-write", "1", "min-replicas-to-write", "0")
    own_pair.run("CONFIG", "GET", "min-slaves-to-write")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("save", "100 1 200 2"), ("save", ""), ("client-output-buffer-limit", "replica 2mb 1mb 10"),
        ("client-output-buffer-limit", "pubsub 1 1 1 normal 0 0 5"), ("maxmemory", "1gb"), ("maxmemory", "1G"),
        ("maxmemory-policy", "ALLKEYS-LFU"), ("maxmemory-clients", "5%"), ("notify-keyspace-events", "KEA"),
        ("notify-keyspace-events", "Kg$xn"), ("latency-tracking-info-percentiles", "50 99.5 100"), ("hz", "1000"),
        ("shutdown-on-sigterm", "nosave now"), ("oom-score-adj-values", "1 2 3"), ("proto-max-bulk-len", "1mb"),
        ("loglevel", "DEBUG"), ("requirepass", ""), ("bind", "127.0.0.1"), ("appendfsync", "Always"),
        ("slowlog-log-slower-than", "-1"), ("list-max-ziplist-size", "-5"),
    ],
)  # fmt: skip
def test_values_are_shown_alike(own_pair: Pair, name: str, value: str) -> None:
    own_pair.run("CONFIG", "SET", name, value)
    own_pair.run("CONFIG", "GET", name)


def test_rewrite(tmp_path: Path) -> None:
    """What we write, we read; and so does Valkey."""
    file = tmp_path / "x.conf"
    file.write_text("# keep me\nhz 20\nsave 60 1\n")
    folder = tmp_path / "data"
    with Instance("cachefleet", config=file, directory=folder) as server, server.connect() as c:
        assert c.call("CONFIG", "SET", "maxmemory", "100mb", "save", "", "hz", "30", "requirepass", 'a "b"') == "OK"
        assert c.call("CONFIG", "SET", "client-output-buffer-limit", "replica 10mb 5mb 7") == "OK"
        assert c.call("CONFIG", "REWRITE") == "OK"
        expected = c.call("CONFIG", "GET", "*")
        address = server.port
    assert file.read_text().startswith("# keep me\nhz 30\n")
    for kind in ("cachefleet", "valkey"):
        with Instance(kind, config=file, port=address, directory=folder) as again, again.connect() as c:
            assert c.call("AUTH", 'a "b"') == "OK"
            found = as_dict(c.call("CONFIG", "GET", "*"))
            assert found == {name: value for name, value in as_dict(expected).items() if name in found}


def test_rewrite_without_a_file(client: Connection) -> None:
    assert client.call("CONFIG", "REWRITE") == Error("ERR The server is running without a config file")


def test_resetstat(client: Connection, server: Instance) -> None:
    client.call("GET", "missing")
    assert int(server.info("stats")["keyspace_misses"]) > 0
    assert client.call("CONFIG", "RESETSTAT") == "OK"
    assert server.info("stats")["keyspace_misses"] == "0"


def test_protected_parameters_can_be_permitted(tmp_path: Path) -> None:
    with Instance(options={"enable-protected-configs": "local"}) as server:
        assert server.call("CONFIG", "SET", "dir", str(tmp_path)) == "OK"
        assert server.call("CONFIG", "GET", "dir") == [b"dir", str(tmp_path).encode()]


def test_extended_compatibility_names_redis(own_pair: Pair) -> None:
    own_pair.run("CONFIG", "SET", "extended-redis-compatibility", "yes", "availability-zone", "a1")
    ours, theirs = own_pair.ours.call("HELLO"), own_pair.theirs.call("HELLO")
    names = [b"id", b"modules"]
    assert [x for x in pairs_of(ours) if x[0] not in names] == [x for x in pairs_of(theirs) if x[0] not in names]


def pairs_of(flat: list[object]) -> list[tuple[object, object]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


HELLOS = (
    "HELLO 4", "HELLO 1", "HELLO x", "HELLO -1", "HELLO 02", "HELLO 9223372036854775808", "HELLO 3 AUTH a",
    "HELLO 2 SETNAME", "HELLO 2 FOO", "HELLO AUTH", "HELLO 2 SETNAME x AUTH nobody y", "HELLO 2 AUTH default x",
    "HELLO 2 SETNAME abc", "HELLO 2 SETNAME é", "HELLO",
)  # fmt: skip


@pytest.mark.parametrize("command", [*HELLOS, "AUTH", "AUTH x", "AUTH default x", "AUTH nobody x", "AUTH a b c"])
def test_hello_and_auth(pair: Pair, command: str) -> None:
    pair.run(*command.split())
    pair.run("CLIENT", "GETNAME")


def test_hello_is_valkeys(own_pair: Pair) -> None:
    replies = []
    for side in (own_pair.ours, own_pair.theirs):
        reply = side.call("HELLO", "3", "SETNAME", "me")
        assert reply.pop(b"id") > 0
        reply.pop(b"modules")
        replies.append(list(reply.items()))
    assert replies[0] == replies[1]


def test_a_password(own_pair: Pair) -> None:
    pair = own_pair
    ours, theirs = pair.instances
    pair.run("CONFIG", "SET", "requirepass", "foo")
    pair.run("PING")  # who was there stays in
    with Pair(ours, theirs) as other:
        for command in ("PING", "GET", "FOO", "CONFIG", "HELLO", "HELLO 3", "HELLO 5", "RESET", "AUTH bar",
                        "AUTH default bar", "AUTH nobody foo", "HELLO 2 AUTH default bar", "PING", "ACL WHOAMI"):
            other.run(*command.split())  # fmt: skip
        other.run("HELLO", "2", "AUTH", "default", "foo", "SETNAME", "a b")
        other.run("PING")
        other.run("AUTH", "foo")
        other.run("PING")
        other.run("AUTH", "bar")
        other.run("PING")
        other.run("ACL", "GETUSER", "default")
        other.run("ACL", "LIST")
        other.run("RESET")
        other.run("PING")
        pair.run("CONFIG", "SET", "requirepass", "")
        other.run("PING")  # without a password everybody is in
        other.run("AUTH", "foo")


def test_binary_passwords(own_pair: Pair) -> None:
    own_pair.run("CONFIG", "SET", "requirepass", b"\x00\xff'\"")
    own_pair.run("CONFIG", "GET", "requirepass")
    own_pair.run("AUTH", b"\x00\xff'\"")
    own_pair.run("AUTH", b"\x00\xff'")


@pytest.mark.parametrize(
    "arguments",
    ["", "FOO", "WHOAMI", "WHOAMI x", "USERS", "LIST", "CAT", "CAT foo", "CAT a b", "GETUSER default", "GETUSER x",
     "GENPASS 0", "GENPASS x", "GENPASS 4097", "GENPASS 1 2", "SAVE", "LOAD"],
)  # fmt: skip
def test_acl(pair: Pair, arguments: str) -> None:
    pair.run("ACL", *arguments.split())


def test_passwords_are_generated(client: Connection) -> None:
    assert len(client.call("ACL", "GENPASS")) == 64
    assert len(client.call("ACL", "GENPASS", "5")) == 2
    assert client.call("ACL", "GENPASS") != client.call("ACL", "GENPASS")
