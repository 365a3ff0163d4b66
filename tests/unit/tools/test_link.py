"""Addresses, logins, and a pipeline against a server that answers as a test wants."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import Any

import pytest

from cachefleet_server.tools import link
from cachefleet_server.tools.link import Address, Link, Login, Pipeline, command, error_text
from cachefleet_server.tools.outcome import Exit, Failure
from fleettest.tools import answering

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("db", ("db", 6379)), ("db:1", ("db", 1)), ("[::1]:7000", ("::1", 7000)), ("[::1]", ("::1", 6379)),
        ("/run/s:1", ("/run/s:1", 6379)),
    ],
)  # fmt: skip
def test_addresses(word: str, found: tuple[str, int]) -> None:
    assert link.address(word) == Address(*found)


@pytest.mark.parametrize("word", ["", ":", "db:", "db:x", "db:0", "db:70000", "[]", ":6379"])
def test_no_addresses(word: str) -> None:
    with pytest.raises(ValueError):
        link.address(word)


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"user": None, "password_file": None, **given})


def test_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(link.PASSWORD_VARIABLE, raising=False)
    assert link.login(options()) == Login()
    with pytest.raises(Failure, match="wants a password") as caught:
        link.login(options(user="ann"))
    assert caught.value.code is Exit.USAGE
    monkeypatch.setenv(link.PASSWORD_VARIABLE, "from there")
    assert link.login(options(user="ann")) == Login(b"ann", b"from there")
    (tmp_path / "word").write_bytes(b"from a file\n")
    assert link.login(options(password_file=str(tmp_path / "word"))) == Login(b"", b"from a file")
    (tmp_path / "word").write_bytes(b"\n")
    with pytest.raises(Failure, match="has no password"):
        link.login(options(password_file=str(tmp_path / "word")))


def test_a_pipeline_reads_while_it_sends(tmp_path: Path) -> None:
    """A server that answers at once and reads no more until it is heard: neither waits for the other."""
    count, answer = 3000, b"$4000\r\n" + b"x" * 4000 + b"\r\n"
    data = command(b"ECHO", b"y" * 1000)

    def talk(connection: socket.socket) -> None:
        got = sent = 0
        while sent < count:
            got += len(connection.recv(1 << 16))
            while sent < got // len(data):
                connection.sendall(answer)
                sent += 1

    heard: list[int] = []
    with answering(tmp_path, talk) as where, Link(where, Login()) as opened:
        pipeline = Pipeline(opened, lambda who, number, reply: heard.append(len(reply)))
        for _ in range(count // 100):
            pipeline.put(data * 100, 100, lambda number: "")
        pipeline.drain()
    assert heard == [4000] * count


def test_who_is_answered(tmp_path: Path) -> None:
    ping = command(b"PING")

    def talk(connection: socket.socket) -> None:
        got = 0
        replies = [b"+OK\r\n", b"-ERR no\r\n", b"*2\r\n:1\r\n-ERR inside\r\n", b"$-1\r\n"]
        while data := connection.recv(1000):
            got += len(data)
            while len(replies) > 4 - got // len(ping):
                connection.sendall(replies.pop(0))

    heard: list[tuple[str, str]] = []
    with answering(tmp_path, talk) as where, Link(where, Login()) as opened:
        pipeline = Pipeline(opened, lambda who, number, reply: heard.append((who(number), error_text(reply))))
        pipeline.put(ping * 3, 3, lambda number: f"first {number}")
        pipeline.put(ping, 1, lambda number: f"second {number}")
        pipeline.drain()
    assert heard == [("first 0", ""), ("first 1", "ERR no"), ("first 2", "ERR inside"), ("second 0", "")]


@pytest.mark.parametrize(
    ("sent", "words"),
    [(b"+O", "it closed the connection"), (b"HTTP/1.1\r\n", "no server of this kind"),
     (b"+OK\r\n" * 3, "what nobody asked for")],
)  # fmt: skip
def test_what_breaks_a_connection(tmp_path: Path, sent: bytes, words: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1000):
            pass

    with answering(tmp_path, talk) as where, Link(where, Login()) as opened:
        pipeline = Pipeline(opened, lambda *_: None)

        def ping_twice() -> None:
            for _ in range(2):
                pipeline.put(command(b"PING"), 1, lambda number: "")
                pipeline.drain()

        with pytest.raises(Failure, match=words) as caught:
            ping_twice()
    assert caught.value.code is Exit.FAILED and str(where) in str(caught.value)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="No such file"):
        Link(Address(str(tmp_path / "none")), Login())
