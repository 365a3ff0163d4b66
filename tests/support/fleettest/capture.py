"""Change capture as tests use it.

    reader = Reader(server)              reads with a connection of its own, and remembers where it is
    reader.more()                        what is new: [(database, words)]
    start_example(port, path)            the documentation's program, following a server into a file
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fleettest.client import Error
from fleettest.docs import blocks
from fleettest.instance import ROOT, Instance

Change = tuple[int, list[bytes]]


class Reader:
    def __init__(self, server: Instance, position: str | bytes = "-", *options: str | int) -> None:
        self.server = server
        self.position = position
        self.options = options

    def more(self) -> list[Change]:
        """To the end."""
        changes: list[Change] = []
        with self.server.connect() as c:
            while True:
                reply: Any = c.call("CDC", "READ", self.position, *self.options)
                assert not isinstance(reply, Error), reply
                self.position = reply[0]
                if not reply[1]:
                    return changes
                left = [row[2] for row in reply[1]]
                assert left[-1] == 0, "a transaction comes whole"
                assert all(a == b + 1 or a == 0 for a, b in pairwise(left)), left
                changes += [(row[1], row[3]) for row in reply[1]]

    def error(self) -> str:
        reply = self.server.call("CDC", "READ", self.position, *self.options)
        assert isinstance(reply, Error), reply
        return str(reply)


def start_example(port: int, path: Path) -> subprocess.Popen[bytes]:
    (code,) = blocks((ROOT / "docs" / "change-capture.md").read_text(), "python")
    return subprocess.Popen([sys.executable, "-c", code, str(port), str(path)], env=dict(os.environ))


def example_lines(path: Path) -> list[Any]:
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def example_changes(path: Path) -> list[Change]:
    rows = [row for line in example_lines(path) for row in line["changes"]]
    return [(db, [word.encode("latin-1") for word in words]) for db, words in rows]


def replay(server: Instance, changes: Sequence[Change]) -> None:
    """On the data of their beginning: makes those of their end."""
    with server.connect() as c:
        requests: list[tuple[Any, ...]] = []
        for db, words in changes:
            requests += [("SELECT", db), tuple(words)]
        for reply in c.pipeline(requests):
            assert not isinstance(reply, Error), reply
