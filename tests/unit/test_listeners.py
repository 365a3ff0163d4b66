"""What connections get from their listening socket, without a server."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from cachefleet_server.config.config import Config
from cachefleet_server.engine import Engine
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
