"""What a pod does before its server gets SIGTERM: saves, and lets clients leave. `python3 -m cachefleet_server.prestop`

Kubernetes runs it while the Service stops sending new clients here, and waits for it. Where save points are configured
it asks for a snapshot, which is taken while clients are still served; what SIGTERM has to write after that is the same
again, but a node that goes down too early then costs a few seconds of changes and not everything. A primary whose place
others could take is waited for until an operator has handed it over: it would have to be found dead otherwise. It ends
when the snapshot is written and the clients have gone or had their time.

Bounded and harmless: it gives up after the longest of these times, and whatever the server answers it exits with 0, for
a failed hook would only be noise about a pod that goes anyway. It needs the standard library alone and the environment
that the server has: SERVER_PORT, and SERVER_AUTH_DIR with the file `password` (and, around a rotation, `previous` and
`next`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

HOSTS: Final = ("127.0.0.1", "::1")
ANSWER_S: Final = 5.0  # for one reply; a server that is slower has other worries
PAUSE_S: Final = 0.2
DIALS_MAX: Final = 4  # a server that is fenced disconnects its clients, this one too
REPLY_BYTES_MAX: Final = 1 << 20

Reply = bytes | list["Reply"] | None


class ServerError(Exception):
    """The server said no."""


class ProtocolError(Exception):
    """What answered does not speak RESP, or hung up."""


class Link:
    """One connection, RESP2, one command at a time."""

    def __init__(self, port: int) -> None:
        self._socket = _connect(port)
        self._input = self._socket.makefile("rb")

    def close(self) -> None:
        self._input.close()
        self._socket.close()

    def call(self, *words: str | bytes) -> Reply:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        head = b"*%d\r\n" % len(parts)
        self._socket.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self._reply()

    def _reply(self) -> Reply:
        line = self._input.readline(REPLY_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise ProtocolError("the connection ended")
        mark, rest = line[:1], line[1:-2]
        if mark == b"-":
            raise ServerError(rest.decode("utf-8", "replace"))
        if mark in (b"+", b":"):
            return rest
        if mark not in (b"$", b"*") or not rest.lstrip(b"-").isdigit() or int(rest) > REPLY_BYTES_MAX:
            raise ProtocolError(f"unexpected {line[:32]!r}")
        size = int(rest)
        if size < 0:
            return None
        if mark == b"*":
            return [self._reply() for _ in range(size)]
        data = self._input.read(size + 2)
        if len(data) != size + 2:
            raise ProtocolError("the connection ended")
        return data[:-2]


def _connect(port: int) -> socket.socket:
    for host in HOSTS[:-1]:
        try:
            return socket.create_connection((host, port), timeout=ANSWER_S)
        except OSError:
            continue
    return socket.create_connection((HOSTS[-1], port), timeout=ANSWER_S)


def log_in(link: Link, folder: str) -> None:
    """With the first password that is right; without any, if there are none or the server wants none."""
    for name in ("password", "previous", "next"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                password = file.read().removesuffix(b"\n").removesuffix(b"\r")
            if password:
                link.call("AUTH", password)
                return
        except (OSError, ServerError):
            continue


class Server:
    """The server of this pod, over a link that is made again when it breaks."""

    def __init__(self, port: int, folder: str) -> None:
        self._port, self._folder, self._dials = port, folder, 0
        self._link = self._dial()

    def close(self) -> None:
        self._link.close()

    def call(self, *words: str | bytes) -> Reply:
        while True:
            try:
                return self._link.call(*words)
            except (OSError, ProtocolError):
                self._link.close()
                if self._dials >= DIALS_MAX:
                    raise
                self._link = self._dial()

    def _dial(self) -> Link:
        self._dials += 1
        link = Link(self._port)
        log_in(link, self._folder)
        return link


def begin_save(server: Server) -> bool:
    """Begins a snapshot where save points are configured. Whether there is one to wait for."""
    answer = server.call("CONFIG", "GET", "save")
    if not isinstance(answer, list) or len(answer) != 2 or not answer[1]:
        return False
    try:
        server.call("BGSAVE")
    except ServerError as error:
        return "in progress" in str(error)
    return True


def has_heirs(server: Server) -> bool:
    """Whether it is the primary of others, one of which an operator is about to give its place."""
    try:
        answer = server.call("CACHEFLEET", "STATE")
    except ServerError:  # nobody tells it what it is
        return False
    said = dict(zip(answer[::2], answer[1::2], strict=False)) if isinstance(answer, list) else {}
    return said.get(b"role") == b"primary" and said.get(b"lease") != b"none"


def facts(server: Server) -> dict[str, str]:
    """INFO, by field."""
    text = server.call("INFO")
    lines = text.decode("utf-8", "replace").split("\r\n") if isinstance(text, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def drain(server: Server, *, saving: bool, save_s: float, handover_s: float, drain_s: float) -> str:
    """Waits for the handover, then for the clients, and for the snapshot, each for its time. What came of it."""
    began = time.monotonic()
    while has_heirs(server) and time.monotonic() - began < handover_s:
        time.sleep(PAUSE_S)
    handed = time.monotonic()
    while True:
        said, now = facts(server), time.monotonic()
        running = saving and said["rdb_bgsave_in_progress"] == "1"
        others = int(said["connected_clients"]) - 1
        if not (running and now - began < save_s) and not (others > 0 and now - handed < drain_s):
            break
        time.sleep(PAUSE_S)
    save = "not finished" if running else said["rdb_last_bgsave_status"] if saving else "not wanted"
    return f"save {save}, {others} clients left"


def run(arguments: Sequence[str]) -> str:
    """Everything; the sentence that says what came of it."""
    parser = argparse.ArgumentParser(prog="cachefleet_server.prestop", description="Save, and let clients leave.")
    parser.add_argument("--save-seconds", type=float, default=30.0, help="how long a snapshot may take")
    parser.add_argument("--drain-seconds", type=float, default=5.0, help="how long clients are waited for")
    parser.add_argument("--handover-seconds", type=float, default=10.0, help="how long another one may take to follow")
    options = parser.parse_args(arguments)
    times = {"save_s": options.save_seconds, "handover_s": options.handover_seconds, "drain_s": options.drain_seconds}
    try:
        server = Server(int(os.environ.get("SERVER_PORT", "6379")), os.environ.get("SERVER_AUTH_DIR", ""))
        try:
            return drain(server, saving=begin_save(server), **times)
        finally:
            server.close()
    except (OSError, ValueError, KeyError, ServerError, ProtocolError) as error:
        return f"gave up: {error!r}"


def main() -> None:
    with contextlib.suppress(OSError):  # nobody may be reading
        os.write(2, f"prestop: {run(sys.argv[1:])}\n".encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main()
