"""`cachefleet rdb|aof` as a process, and what it says of data as the seeder knows them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cachefleet_parameters.text import split_words
from cachefleet_server.tools.link import Address
from fleettest.client import encode
from fleettest.rdbfile import Entries, Fields, Scores
from fleettest.seeder import Data

TOOLS = [sys.executable, "-m", "cachefleet_server.tools"]


def tool(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Ends by itself; never by a signal or with a trace."""
    done = subprocess.run(
        [*TOOLS, *map(str, words)],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        capture_output="stdout" not in options,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    assert done.returncode in (0, 1, 2, 3), (done.returncode, done.stderr)
    assert "Traceback" not in (done.stderr or ""), done.stderr
    return done


def peak_kb(*words: str) -> int:
    """Of the process's memory."""
    script = (
        "import os, resource, sys\n"
        "child = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])\n"
        "assert child == 0\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *TOOLS, *words], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@contextmanager
def answering(folder: Path, talk: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A server of one connection, handled by `talk` behind the greeting."""
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1000) == encode("PING")
                connection.sendall(b"+PONG\r\n")
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address(path)
        thread.join()


def data_of(lines: str) -> Data:
    """What `rdb json` wrote."""
    data: Data = {}
    for line in lines.splitlines():
        row = json.loads(line)
        read = _unescaped if row.get("escaped") else str.encode
        data[row["db"], read(row["key"])] = (row["type"], _value(row, read), row.get("expire_ms", -1))
    return data


def _unescaped(text: str) -> bytes:
    words = split_words(f'"{text}"')
    assert words is not None, text
    return words[0].encode("utf-8", "surrogateescape")


def _value(row: dict[str, Any], read: Any) -> Any:
    value = row["value"]
    match row["type"]:
        case "list":
            return tuple(map(read, value))
        case "set":
            return frozenset(map(read, value))
        case "hash":
            return Fields((read(name), read(field)) for name, field in value.items())
        case "zset":
            return Scores((read(member), float(score)) for member, score in value)
        case "stream":
            return Entries((id.encode(), tuple(map(read, words))) for id, words in value["entries"])
        case _:
            return read(value)
