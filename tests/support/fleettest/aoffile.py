"""AOF folders as tests look at them, and an AOF without a server around it.

    files = AofFolder(directory)                 <directory>/appendonlydir
    files.incremental                            the file that is being appended to
    with Store(directory, appendfsync="no") as store:      engine and AOF in this process
        store.run("SET", "k", "v")
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import TracebackType
from typing import Any

from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import option_lines
from cachefleet_server.engine import Engine
from cachefleet_server.log import Log
from cachefleet_server.persistence.aof import Aof
from cachefleet_server.persistence.rdb import Rdb
from fleettest.client import encode

TIMESTAMP = re.compile(rb"#TS:(\d+)\r\n")
NOTE = re.compile(rb"#JOURNAL:([0-9a-f]{40}) (\d+) (\d+)\r\n")  # where in the journal the file is
ANNOTATION = re.compile(rb"#[^\n]*\r\n")


def commands(data: bytes) -> list[list[bytes]]:
    """The commands of an incremental file, annotations left out; AssertionError where it is not whole."""
    result, at = [], 0
    while at < len(data):
        if annotation := ANNOTATION.match(data, at):
            at = annotation.end()
            continue
        words: list[bytes] = []
        count, at = _line(data, at, b"*")
        for _ in range(count):
            size, at = _line(data, at, b"$")
            assert data[at + size : at + size + 2] == b"\r\n", f"at byte {at + size}"
            words.append(data[at : at + size])
            at += size + 2
        result.append(words)
    return result


def plain(data: bytes) -> bytes:
    """Commands alone. For files in which no value holds an annotation."""
    return ANNOTATION.sub(b"", data)


def _line(data: bytes, at: int, kind: bytes) -> tuple[int, int]:
    end = data.index(b"\r\n", at)
    assert data[at : at + 1] == kind, f"{data[at:end + 2]!r} at byte {at}"
    return int(data[at + 1 : end]), end + 2


class AofFolder:
    """The folder below a server's `dir`, under the default names."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "appendonlydir"
        self.manifest = self.path / "appendonly.aof.manifest"

    def names(self, kinds: str = "bi") -> list[str]:
        """File names in the manifest of these types (b, i, h), in its order."""
        rows = [line.split() for line in self.manifest.read_text().splitlines()]
        return [row[1] for row in rows if row[5] in kinds]

    @property
    def base(self) -> Path:
        return self.path / self.names("b")[0]

    @property
    def incremental(self) -> Path:
        return self.path / self.names("i")[-1]

    def is_clean(self) -> bool:
        """Nothing lies there but what the manifest names."""
        return {p.name for p in self.path.iterdir()} == {*self.names(), self.manifest.name}


class Store:
    """An engine with its RDB and AOF, started as the server does it; raises what stops a start."""

    def __init__(self, directory: Path, **options: str) -> None:
        directory.mkdir(exist_ok=True)
        named = {"dir": str(directory), "appendonly": "yes", "save": "", **options}
        words = [word for name, value in named.items() for word in (f"--{name.replace('_', '-')}", value)]
        self.config = Config()
        self.config.load(option_lines(words), {})
        self.log_path = directory / "store.log"
        self.log = Log()
        self.log.open(str(self.log_path))
        self.engine = Engine(databases=self.config.number("databases"))
        self.config.attach(self.engine)
        self.rdb = Rdb(self.engine, self.config, self.log, lambda: None)
        self.aof = Aof(self.engine, self.config, self.log, self.rdb, lambda: None)
        self.aof.register()
        self.engine.set_persist("loading", 1)
        try:
            asyncio.run(self._start())
        except BaseException:
            self.close()
            raise
        self.engine.set_persist("loading", 0)

    async def _start(self) -> None:
        await self.rdb.start()
        await self.aof.start()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        asyncio.run(self.aof.stop())
        self.engine.close()

    def run(self, *words: str | bytes | int, db: int = 0) -> Any:
        """A command and the end of its tick."""
        reply = self.engine.execute(*(w if isinstance(w, bytes) else str(w).encode() for w in words), db=db)
        self.engine.tick()
        return reply

    @property
    def position(self) -> tuple[bytes, int, int]:
        """Of the journal's end: (name of the history, tenure, offset)."""
        return self.aof._file.position

    @property
    def earlier(self) -> tuple[bytes, int]:
        """(name, end) of the history that was loaded."""
        return self.aof._file.earlier

    def keys(self, db: int = 0) -> dict[bytes, bytes]:
        return {key: self.engine.execute(b"GET", key, db=db) for key in self.engine.execute(b"KEYS", b"*", db=db)}

    def log_text(self) -> str:
        return self.log_path.read_text()


def make_folder(directory: Path, incremental: bytes, base: bytes = b"") -> AofFolder:
    """A folder with this content, as a server of another kind might leave it."""
    files = AofFolder(directory)
    files.path.mkdir(parents=True, exist_ok=True)
    lines = "file appendonly.aof.1.incr.aof seq 1 type i\n"
    (files.path / "appendonly.aof.1.incr.aof").write_bytes(incremental)
    if base:
        lines = "file appendonly.aof.1.base.aof seq 1 type b\n" + lines
        (files.path / "appendonly.aof.1.base.aof").write_bytes(base)
    files.manifest.write_text(lines)
    return files


def as_aof(*rows: str) -> bytes:
    """Commands, words separated by blanks, as they are in a file."""
    return b"".join(encode(*row.split(" ")) for row in rows)
