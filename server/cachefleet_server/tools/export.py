"""`cachefleet export`: a running server's data as an RDB file, as a replica gets them.

The server makes a snapshot of one moment and sends it; no keys are read one by one, and none is missed that moves
meanwhile. It says how long the snapshot is, or with which 40 bytes it ends. The file has its name when it is whole and
on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from cachefleet_server.files import sync_folder
from cachefleet_server.tools import aof_parts, text
from cachefleet_server.tools.link import READ_BYTES, Link, command, login
from cachefleet_server.tools.outcome import Exit, Failure, fresh, naming, say
from cachefleet_server.tools.progress import Show, progress

MARK_BYTES: Final = 40
LINE_MAX: Final = 1024
# What is said before the question, and whether a server must know it. Each gives what it knows in the newest form that
# these words name: `version` means Valkey's own.
WORDS: Final = (
    ((b"REPLCONF", b"capa", b"eof", b"capa", b"cachefleet"), True),
    ((b"REPLCONF", b"version", b"9.1.0"), False),
    ((b"REPLCONF", b"rdb-only", b"1"), False),
)


def export(options: argparse.Namespace) -> Exit:
    fresh(options.file, options.force)
    with Link(options.server, login(options)) as link:
        for words, needed in WORDS:
            (link.must if needed else link.call)(*words)
        size = _Receiving(link).into(options.file)
    say(f"{options.file}: {text.size(size)} of {link.where}")
    return Exit.OK


class _Receiving:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._rest = b""

    def into(self, path: str) -> int:
        with self._link.said():
            self._link.socket.sendall(command(b"SYNC"))
            head = self._line()
        if not head.startswith(b"$"):
            why = head.lstrip(b"-").decode("utf-8", "replace")
            raise Failure(Exit.FAILED, f"{self._link.where} gives no snapshot: {why}")
        marked = head.startswith(b"$EOF:")
        if not (len(head) == 5 + MARK_BYTES if marked else head[1:].isdigit()):
            raise Failure(Exit.FAILED, f"{self._link.where} is no server of this kind")
        with _beside(path) as (file, temp):
            size = 0 if marked else int(head[1:])
            with progress(path, None if marked else size) as show:
                if marked:
                    size = self._until(head[5:], file, show)
                else:
                    self._bytes(size, file, show)
            file.flush()
            if not aof_parts.begins_with_snapshot(temp):
                raise Failure(Exit.FAILED, f"what {self._link.where} sends is no snapshot")
        return size

    def _more(self) -> bytes:
        with self._link.said():
            data = self._link.socket.recv(READ_BYTES)
            if not data:
                raise EOFError("it closed the connection")
        return data

    def _line(self) -> bytes:
        """The next one that is not empty; with those a server says that it is still at it."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline and line.strip():
                self._rest = rest
                return line.rstrip(b"\r")
            self._rest = rest if newline else line + self._more()
            if len(self._rest) > LINE_MAX and b"\n" not in self._rest:
                raise Failure(Exit.FAILED, f"{self._link.where} is no server of this kind")

    def _bytes(self, size: int, file: BinaryIO, show: Show) -> None:
        done = 0
        while done < size:
            data = (self._rest or self._more())[: size - done]
            self._rest = b""
            file.write(data)
            done += len(data)
            show(done)

    def _until(self, mark: bytes, file: BinaryIO, show: Show) -> int:
        data, done = self._rest, 0
        while (end := data.find(mark)) < 0:
            sure = max(0, len(data) - MARK_BYTES)  # the rest may be the beginning of the mark
            file.write(data[:sure])
            done += sure
            show(done)
            data = data[sure:] + self._more()
        file.write(data[:end])
        return done + end


@contextlib.contextmanager
def _beside(path: str) -> Iterator[tuple[BinaryIO, str]]:
    """A file that takes this path when all went well, and is gone otherwise."""
    temp = f"{path}.{os.getpid()}.tmp"
    with naming(temp), open(temp, "xb") as file:
        try:
            yield file, temp
            file.flush()
            os.fsync(file.fileno())
            os.rename(temp, path)
        except BaseException:
            os.unlink(temp)
            raise
    sync_folder(os.path.dirname(path))
