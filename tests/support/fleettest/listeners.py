"""Clients that are told things without asking, of two servers in lock step: messages, events, invalidations.

A `Socket` reads whatever has come; `Several` has pairs of them, one of each server, and compares what both got after a
step. Servers tell in an order of their own where one message concerns a client several times; `settled` forgets that.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from fleettest.client import Arg, Incomplete, Push, encode, parse
from fleettest.instance import Instance

DEADLINE_S = 5.0
Settled = Callable[[list[Any]], list[Any]]


class Socket:
    """A connection that never waits. `id` is the client's on its server."""

    def __init__(self, server: Instance) -> None:
        assert not isinstance(server.address, str), "no unix socket"
        self.socket = socket.create_connection(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(encode("CLIENT", "ID"))
        self.id = int(self.socket.recv(100)[1:-2])
        self.socket.setblocking(False)
        self.closed = False

    def send(self, rows: Sequence[Sequence[Arg]]) -> None:
        self.socket.sendall(b"".join(encode(*row) for row in rows))

    def read(self) -> bytes:
        got = b""
        try:
            while part := self.socket.recv(1 << 20):
                got += part
        except BlockingIOError:
            return got
        except ConnectionResetError:
            pass
        self.closed = True
        return got


def replies(raw: bytes) -> list[Any]:
    """All that came, parsed. What is not whole is a failure."""
    found, at = [], 0
    while at < len(raw):
        value, at = parse(raw, at)
        found.append(value)
    return found


def _kind(reply: Any) -> tuple[Any, ...]:
    """What neighbours have in common that may come in any order: the messages of one PUBLISH, the names of one
    UNSUBSCRIBE."""
    if isinstance(reply, list) and reply:
        word = reply[0]
        if word == b"pmessage" and len(reply) == 4:
            return (word, reply[2], reply[3])
        if word in (b"unsubscribe", b"punsubscribe", b"sunsubscribe") and len(reply) == 3:
            return (word,)
    return ()


def _greets(reply: Any) -> bool:
    return isinstance(reply, list) and reply[:1] == [b"server"]


def any_order(found: list[Any]) -> list[Any]:
    """Messages of several patterns are sorted; of names that were left, names and counts for themselves. HELLO's reply
    has versions and ids."""
    result: list[Any] = []
    found = ["greeting" if isinstance(reply, dict) or _greets(reply) else reply for reply in found]
    for kind, group in itertools.groupby(found, key=_kind):
        rows = list(group)
        if not kind:
            result += rows
        elif len(kind) == 1:
            kinds = {type(row) for row in rows}
            result.append((kind, kinds, sorted(str(row[1]) for row in rows), [row[2] for row in rows]))
        else:
            result += [(type(row), row) for row in sorted(rows, key=repr)]
    return result


def without_ids(found: list[Any]) -> list[Any]:
    """The same for clients that cache: redirections are ids."""
    rows: list[Any] = []
    for reply in any_order(found):
        if reply == "greeting":
            rows.append(reply)
        elif isinstance(reply, dict) and b"redirect" in reply:
            rows.append((reply[b"flags"], reply[b"redirect"] in (0, -1), reply[b"prefixes"]))
        elif isinstance(reply, list) and reply[:1] == [b"flags"]:
            rows.append((reply[1], reply[3] in (0, -1), reply[5]))
        elif isinstance(reply, list) and reply[:1] == [b"tracking-redir-broken"]:
            rows.append("broken")
        else:
            rows.append((type(reply), reply))
    return rows


class Several:
    """Pairs of clients, one of our server and one of the other."""

    def __init__(self, ours: Instance, theirs: Instance, count: int, settled: Settled = any_order) -> None:
        self.servers = (ours, theirs)
        self.admins = [server.connect() for server in self.servers]
        self.settled = settled
        self.clients = [self._pair() for _ in range(count)]

    def _pair(self) -> tuple[Socket, Socket]:
        ours, theirs = self.servers
        return Socket(ours), Socket(theirs)

    def close(self) -> None:
        for socket_ in itertools.chain.from_iterable(self.clients):
            socket_.socket.close()
        for admin in self.admins:
            admin.close()

    def run(self, client: int, *rows: Sequence[Arg]) -> list[list[Any]]:
        """One client sends these; what each client then got, which is the same on both servers. `{3}` in a text is the
        id of client 3. Who was disconnected is connected anew, and a last `closed` says so."""
        for side in (0, 1):
            ids = [pair[side].id for pair in self.clients]
            self.clients[client][side].send([
                [word.format(*ids) if isinstance(word, str) and "{" in word else word for word in row] for row in rows
            ])  # fmt: skip
        return self.compare(f"after {client}: {rows}")

    def compare(self, when: str = "") -> list[list[Any]]:
        """Also of use alone: what came of itself."""
        for _ in range(3):  # executed, told, written
            for admin in self.admins:
                admin.call("PING")
        result = []
        for i, (ours, theirs) in enumerate(self.clients):
            got, expected = self._read(ours, theirs)
            assert self._is_same(got, expected) and ours.closed == theirs.closed, (
                f"{when}: client {i} got\n  {got!r}{' <closed>' * ours.closed}\ninstead of\n  {expected!r}"
                f"{' <closed>' * theirs.closed}")  # fmt: skip
            result.append(replies(expected) + ["closed"] * theirs.closed)
            if theirs.closed:
                ours.socket.close()
                theirs.socket.close()
                self.clients[i] = self._pair()
        return result

    def _read(self, ours: Socket, theirs: Socket) -> tuple[bytes, bytes]:
        """What both got. Where that is not the same, more is waited for: what fills a socket comes in parts."""
        got = expected = b""
        end = time.monotonic() + DEADLINE_S
        while True:
            got, expected = got + ours.read(), expected + theirs.read()
            same = self._is_same(got, expected) and ours.closed == theirs.closed
            if same or time.monotonic() >= end:
                return got, expected
            for admin in self.admins:
                admin.call("PING")

    def _is_same(self, got: bytes, expected: bytes) -> bool:
        try:
            return self.settled(replies(got)) == self.settled(replies(expected))
        except Incomplete:
            return False


def messages(found: list[Any]) -> list[Any]:
    """The pushes among replies, of RESP3, or what has their form."""
    words = (b"message", b"pmessage", b"smessage", b"invalidate")
    return [reply for reply in found if isinstance(reply, Push | list) and reply and reply[0] in words]
