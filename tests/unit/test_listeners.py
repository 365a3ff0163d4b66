"""What connections get from their listening socket, without a server."""

from __future__ import annotations

import errno
import grp
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import Line
from cachefleet_server.engine import Engine
from cachefleet_server.errors import StartupError
from cachefleet_server.listeners import Listeners
from cachefleet_server.log import NOTHING, Log
from fleettest.instance import free_port

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def config() -> Config:
    config = Config()
    config.set([("bind", "127.0.0.1"), ("port", str(free_port()))])
    return config


@pytest.fixture
def listeners(engine: Engine, config: Config) -> Iterator[Listeners]:
    listeners = Listeners(engine, config, Log(level=NOTHING), SimpleNamespace(open=True))
    listeners.open()
    yield listeners
    listeners.close()


def listening(listeners: Listeners) -> socket.socket:
    (sock,) = listeners._tcp.values()
    return sock


def connect(config: Config) -> socket.socket:
    return socket.create_connection(("127.0.0.1", config.number("port")))


def test_settings_are_inherited(listeners: Listeners, config: Config) -> None:
    for interval in (300, 9, 0):
        config.set([("tcp-keepalive", str(interval))])
        with connect(config):
            accepted, _ = listening(listeners).accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == bool(interval)
            if interval:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == interval
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == interval // 3


def test_at_most_so_many_at_once(engine: Engine, listeners: Listeners, config: Config) -> None:
    waiting = [connect(config) for _ in range(5)]
    descriptor = listening(listeners).fileno()
    assert engine.accept(descriptor, 3) == 0
    assert engine.client_count == 3
    assert engine.accept(descriptor, 3) == 0
    assert engine.client_count == 5
    for sock in waiting:
        sock.close()


def test_the_text_for_strangers_spares_loopback(engine: Engine, listeners: Listeners, config: Config) -> None:
    with connect(config):
        assert engine.accept(listening(listeners).fileno(), 10, denied=b"-DENIED\r\n") == 0
        assert engine.client_count == 1


def test_out_of_descriptors(engine: Engine, listeners: Listeners, config: Config) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(config):
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            error = engine.accept(listening(listeners).fileno(), 10)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert os.strerror(error) == "Too many open files"
        assert engine.accept(listening(listeners).fileno(), 10) == 0
        assert engine.client_count == 1


def unix_listeners(engine: Engine, path: Path, **options: str) -> Listeners:
    config = Config()
    words = {"port": "0", "unixsocket": str(path), **options}
    config.load([Line("test", 1, "", (name, value)) for name, value in words.items()], {})
    return Listeners(engine, config, Log(level=NOTHING), SimpleNamespace(open=True))


def test_a_unix_socket_listens_when_its_group_and_mode_are_set(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that, whoever finds the path is refused."""
    path, refused = tmp_path / "s", []

    def while_it_is_set(name: str) -> None:
        real = getattr(os, name)

        def call(target: str, *arguments: int) -> None:
            with socket.socket(socket.AF_UNIX) as early:
                refused.append((name, early.connect_ex(str(path))))
            real(target, *arguments)

        monkeypatch.setattr(os, name, call)

    while_it_is_set("chmod")
    while_it_is_set("chown")
    group = grp.getgrgid(os.getgid()).gr_name
    listeners = unix_listeners(engine, path, unixsocketperm="600", unixsocketgroup=group)
    listeners.open()
    assert refused == [("chown", errno.ECONNREFUSED), ("chmod", errno.ECONNREFUSED)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listeners.close()
    assert not path.exists()


def test_a_unix_socket_in_use_is_not_taken_over(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = unix_listeners(engine, path)
    first.open()
    with pytest.raises(StartupError, match=f"Failed opening Unix socket {path}: another server listens there"):
        unix_listeners(engine, path).open()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()


@pytest.mark.parametrize("left", ["socket", "empty file", "dangling link"])
def test_what_a_dead_server_left_makes_way(engine: Engine, tmp_path: Path, left: str) -> None:
    path = tmp_path / "s"
    if left == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
    elif left == "empty file":
        path.touch()
    else:
        path.symlink_to(tmp_path / "gone")
    listeners = unix_listeners(engine, path)
    listeners.open()
    assert stat.S_ISSOCK(path.lstat().st_mode)
    listeners.close()


def test_a_file_at_the_path_of_the_unix_socket_stays(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("somebody's data")
    with pytest.raises(StartupError, match="there is a file that is no socket"):
        unix_listeners(engine, path).open()
    assert path.read_text() == "somebody's data"


def test_a_unix_socket_that_cannot_be_set_up_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(StartupError, match="no-such-group"):
        unix_listeners(engine, path, unixsocketgroup="no-such-group").open()
    assert not path.exists()


def test_the_path_of_another_servers_socket_stays_at_the_end(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "s"
    first, second = unix_listeners(engine, path), unix_listeners(engine, path)
    first.open()
    path.unlink()
    second.open()
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_a_relative_path_is_removed_from_where_it_was_made(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONFIG SET dir moves the process meanwhile."""
    monkeypatch.chdir(tmp_path)
    listeners = unix_listeners(engine, Path("s"))
    listeners.open()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    listeners.close()
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("port", "bind"), [("0", "127.0.0.1"), ("7000", "")])
def test_a_server_that_would_listen_nowhere_does_not_start(engine: Engine, port: str, bind: str) -> None:
    config = Config()
    config.set([("bind", bind), ("port", port)])
    with pytest.raises(StartupError, match="Configured to not listen anywhere, exiting"):
        Listeners(engine, config, Log(level=NOTHING), SimpleNamespace(open=True)).open()
