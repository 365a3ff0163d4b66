"""What a pod does before its server gets SIGTERM: saves, and lets clients leave. `python3 -m cachefleet_server.prestop`

Kubernetes runs it while the Service stops sending new clients here, and waits for it. Where save points are configured
it asks for a snapshot, which is taken while clients are still served; what SIGTERM has to write after that is the same
again, but a node that goes down too early then costs a few seconds of changes and not everything. It ends when the
snapshot is written and the clients have gone or had their time.

Bounded and harmless: it gives up after the longer of both times, and whatever the server answers it exits with 0, for a
failed hook would only be noise about a pod that goes anyway. It needs the standard library alone and the environment
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


def begin_save(link: Link) -> bool:
    """Begins a snapshot where save points are configured. Whether there is one to wait for."""
    answer = link.call("CONFIG", "GET", "save")
    if not isinstance(answer, list) or len(answer) != 2 or not answer[1]:
        return False
    try:
        link.call("BGSAVE")
    except ServerError as error:
        return "in progress" in str(error)
    return True


def facts(link: Link) -> dict[str, str]:
    """INFO, by field."""
    text = link.call("INFO")
    lines = text.decode("utf-8", "replace").split("\r\n") if isinstance(text, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def drain(link: Link, *, saving: bool, save_s: float, drain_s: float) -> str:
    """Waits for the snapshot and for the clients, each for its time. What came of it."""
    began = time.monotonic()
    while True:
        now = facts(link)
        waited = time.monotonic() - began
        running = saving and now["rdb_bgsave_in_progress"] == "1"
        others = int(now["connected_clients"]) - 1
        if not (running and waited < save_s) and not (others > 0 and waited < drain_s):
            break
        time.sleep(PAUSE_S)
    save = "not finished" if running else now["rdb_last_bgsave_status"] if saving else "not wanted"
    return f"save {save}, {others} clients left"


def run(arguments: Sequence[str]) -> str:
    """Everything; the sentence that says what came of it."""
    parser = argparse.ArgumentParser(prog="cachefleet_server.prestop", description="Save, and let clients leave.")
    parser.add_argument("--save-seconds", type=float, default=30.0, help="how long a snapshot may take")
    parser.add_argument("--drain-seconds", type=float, default=5.0, help="how long clients are waited for")
    options = parser.parse_args(arguments)
    try:
        link = Link(int(os.environ.get("SERVER_PORT", "6379")))
        try:
            log_in(link, os.environ.get("SERVER_AUTH_DIR", ""))
            saving = begin_save(link)
            return drain(link, saving=saving, save_s=options.save_seconds, drain_s=options.drain_seconds)
        finally:
            link.close()
    except (OSError, ValueError, KeyError, ServerError, ProtocolError) as error:
        return f"gave up: {error!r}"


def main() -> None:
    with contextlib.suppress(OSError):  # nobody may be reading
        os.write(2, f"prestop: {run(sys.argv[1:])}\n".encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main()
