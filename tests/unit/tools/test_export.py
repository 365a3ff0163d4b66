"""What `export` makes of each way to send a snapshot, whole or not, from a server that sends it in pieces."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from cachefleet_server.tools.export import export
from cachefleet_server.tools.outcome import Exit, Failure
from fleettest.rdbfile import Builder
from fleettest.tools import answering

pytestmark = pytest.mark.unit

FILE = Builder().select(0).key(b"k", b"v" * 300).end()
MARK = b"m" * 39 + b"n"
SIZED = b"$%d\r\n%b" % (len(FILE), FILE)
MARKED = b"$EOF:%b\r\n%b%b" % (MARK, FILE, MARK)


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDISCLI_AUTH", raising=False)


def exported(folder: Path, sent: bytes, piece: int) -> Exit:
    def talk(connection: socket.socket) -> None:
        for reply in (b"+OK\r\n", b"-ERR Unrecognized REPLCONF option\r\n", b"+OK\r\n"):
            assert b"REPLCONF" in connection.recv(1000)
            connection.sendall(reply)
        assert b"SYNC" in connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        try:
            for at in range(0, len(sent), piece):
                connection.sendall(sent[at : at + piece])
        except ConnectionError:  # it has heard enough
            pass

    with answering(folder, talk) as where:
        return export(argparse.Namespace(server=where, file=str(folder / "out.rdb"), force=False, user=None,
                                         password_file=None))  # fmt: skip


@pytest.mark.parametrize("piece", [1, 7, 41, 100_000])
@pytest.mark.parametrize(
    "sent", [SIZED, MARKED, b"\n\n" + SIZED, b"\r\n\n" + MARKED, MARKED + b"*1\r\n$4\r\nPING\r\n"],
    ids=["sized", "marked", "late", "late and marked", "with commands behind it"],
)  # fmt: skip
def test_snapshots(tmp_path: Path, sent: bytes, piece: int) -> None:
    assert exported(tmp_path, sent, piece) is Exit.OK
    assert (tmp_path / "out.rdb").read_bytes() == FILE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.rdb", "socket"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (SIZED[:-1], "closed the connection"),
        (MARKED[:-1], "closed the connection"),
        (MARKED[: -len(MARK)] + MARK[:-1] + b"x", "closed the connection"),
        (b"", "closed the connection"),
        (b"-NOPERM no\r\n", "gives no snapshot: NOPERM no"),
        (b"$EOF:short\r\n", "no server of this kind"),
        (b"$many\r\n", "no server of this kind"),
        (b"x" * 3000, "no server of this kind"),
        (b"$5\r\nhello", "sends is no snapshot"),
    ],
)
@pytest.mark.parametrize("piece", [3, 100_000])
def test_what_is_none(tmp_path: Path, sent: bytes, words: str, piece: int) -> None:
    with pytest.raises(Failure, match=words):
        exported(tmp_path, sent, piece)
    assert [path.name for path in tmp_path.iterdir()] == ["socket"]
