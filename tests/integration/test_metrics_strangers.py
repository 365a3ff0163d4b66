"""Who may reach the metrics port may be anybody: what they send is no bug, and what they hold is no harm."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.metrics.port import CONNECTIONS_MAX
from fleettest.client import Connection, Error
from fleettest.scraped import Scraped, Strangers
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

PROBE_S = 1.0  # what a kubelet waits by default
# What strangers send before they fall silent.
SILENT = {
    "idle": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: a",
    "slow reader": b"GET /metrics HTTP/1.1\r\n\r\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Scraped]:
    with Scraped() as server:
        yield server
        assert "Internal error" not in server.log_text() and "Traceback" not in server.log_text()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /nosuch HTTP/1.1", 404), ("GET / HTTP/1.1", 404), ("GET /metrics/ HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405), ("DELETE /healthz HTTP/1.0", 405), ("GET /metrics", 400),
        ("GET  /metrics HTTP/1.1", 400), ("GET", 400),
        ("GET /metrics SMTP", 400), ("*1", 400), ("\x00\xff\xfe", 400), ("", 400), ("GET /metrics?x=1 HTTP/1.1", 200),
        ("get /metrics HTTP/1.1", 405),
    ],
)  # fmt: skip
def test_wrong_requests(server: Scraped, request_line: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server.metrics_port), timeout=20) as s:
        s.sendall(request_line.encode("latin-1") + b"\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer


def test_head_has_the_headers_alone(server: Scraped) -> None:
    for path in ("/metrics", "/healthz", "/readyz", "/nosuch"):
        status, headers, body = server.get(path, "HEAD")
        assert status == (404 if path == "/nosuch" else 200) and body == b"" and int(headers["content-length"]) > 0


def test_a_header_without_end_is_cut_off(server: Scraped) -> None:
    with socket.create_connection(("127.0.0.1", server.metrics_port), timeout=20) as s:
        try:
            for _ in range(1000):
                s.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1000)
            assert s.recv(100) == b""
        except ConnectionError:
            pass
    assert server.get("/healthz")[0] == 200


def test_who_goes_away_in_the_middle_harms_nobody(server: Scraped) -> None:
    for _ in range(50):
        s = socket.create_connection(("127.0.0.1", server.metrics_port), timeout=20)
        s.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        s.close()
    assert server.get("/metrics")[0] == 200
    assert "Internal error" not in server.log_text() and "Traceback" not in server.log_text()


@pytest.mark.parametrize("accept", ["text/plain;version=abc", "application/openmetrics-text;version=1.x;escaping=x"])
def test_a_header_that_a_library_cannot_read(server: Scraped, accept: str) -> None:
    assert server.get("/metrics", Accept=accept)[0] == 200


# -- probes get through


@pytest.mark.parametrize("request_", SILENT.values(), ids=SILENT)
def test_probes_get_through(server: Scraped, request_: bytes) -> None:
    """Four times as many as there are places, each opened again when it is closed."""
    with Strangers(server.metrics_port, request_, count=4 * CONNECTIONS_MAX, pause_s=0.002) as strangers:
        assert_eventually(lambda: strangers.opened > 4 * CONNECTIONS_MAX)
        while strangers.opened < 12 * CONNECTIONS_MAX:
            for path in ("/healthz", "/readyz", "/readyz?exclude=disk"):
                assert server.get(path, timeout_s=PROBE_S)[0] == 200
        assert server.call("PING") == "PONG"


def test_a_probe_that_dawdles_gets_through(server: Scraped) -> None:
    """Whoever holds the places loses them, as fast as they are opened again: not a single one from elsewhere."""
    half = SILENT["half a head"]
    with (
        Strangers(server.metrics_port, half, count=4 * CONNECTIONS_MAX, source="127.0.0.2") as strangers,
        socket.create_connection(("127.0.0.1", server.metrics_port), timeout=20) as probe,
    ):
        probe.sendall(b"GET /healthz HTTP/1.1\r\n")
        seen = strangers.opened
        assert_eventually(lambda: strangers.opened > seen + 10 * CONNECTIONS_MAX)
        assert server.get("/metrics")[0] == 200
        probe.sendall(b"\r\n")
        assert probe.recv(100).startswith(b"HTTP/1.1 200 ")


# -- descriptors


def fill(server: Scraped, clients: list[Connection]) -> None:
    """Connects until there are too many."""
    while True:
        connection = server.connect()
        clients.append(connection)
        if connection.call("PING") != "PONG":
            clients.pop().close()
            return


@pytest.mark.parametrize("limit", [160, 1024])
def test_a_full_house(tmp_path: Path, limit: int) -> None:
    """All clients that there may be, all connections to the metrics port, and work on every file, under the hard limit
    of open files that the start found."""
    prlimit = shutil.which("prlimit")
    assert prlimit, "no prlimit: apt-get install util-linux"
    config = tmp_path / "cachefleet.conf"
    config.write_text("maxmemory 100mb\n")
    server = Scraped(
        directory=tmp_path, config=config, wrapper=[prlimit, f"--nofile={limit}:{limit}"],
        options={"appendonly": "yes", "save": "3600 1", "unixsocket": str(tmp_path / "s")},
    )  # fmt: skip
    clients: list[Connection] = []
    with (
        server,
        server.connect() as c,
        Strangers(server.metrics_port, b"GET", count=100, source="127.0.0.2", pause_s=0.001) as strangers,
    ):
        assert_eventually(lambda: strangers.opened > 100)
        fill(server, clients)
        try:
            assert len(clients) + 1 == int(c.call("CONFIG", "GET", "maxclients")[1])
            assert c.call("CONFIG", "SET", "bind", " ".join(f"127.0.0.{i}" for i in range(1, 17))) == "OK"
            assert c.call("CONFIG", "SET", "bind", " ".join(f"127.0.0.{i}" for i in (1, *range(17, 32)))) == "OK"
            for i in range(5):
                assert c.call("SET", f"k{i}", "v") == "OK"
                assert not isinstance(c.call("BGREWRITEAOF"), Error)
                assert not isinstance(c.call("BGSAVE", "SCHEDULE"), Error)
                assert c.call("CONFIG", "REWRITE") == "OK"
                assert server.get("/metrics")[0] == server.get("/readyz", timeout_s=PROBE_S)[0] == 200
                assert c.call("SET", f"k{i}", "w") == "OK"
                done = {
                    "aof_rewrites": str(i + 1), "aof_rewrite_in_progress": "0",
                    "rdb_saves": str(i + 1), "rdb_bgsave_in_progress": "0",
                }  # fmt: skip
                assert_eventually(lambda done=done: done.items() <= info(c).items(), str(done))
            assert info(c)["aof_last_write_status"] == "ok"
            assert "Too many open files" not in server.log_text()
        finally:
            for client in clients:
                client.close()


def info(c: Connection) -> dict[str, str]:
    lines = c.call("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
