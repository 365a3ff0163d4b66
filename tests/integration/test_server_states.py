"""Changes of parameters while the server loads, saves, rewrites, is paused or ends: refused, or no data is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from cachefleet_parameters import kinds
from cachefleet_server.config.config import Config
from cachefleet_server.config.params import OURS, PARAMS, Param
from cachefleet_server.config.parser import option_lines
from cachefleet_server.log import Log
from cachefleet_server.server import Server
from fleettest.client import Connection, Error
from fleettest.instance import Instance, free_port
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

KEYS = 20_000
LIVE = [row for row in PARAMS if not row.immutable]
LOADS: dict[str, str | int] = {"enable-protected-configs": "yes", "key-load-delay": 1000}
ENTER = {"saving": ["BGSAVE"], "rewriting": ["BGREWRITEAOF"], "paused": ["CLIENT", "PAUSE", "600000", "WRITE"]}
# They decide who may connect, or what is kept.
LEFT_ALONE = {"bind", "port", "requirepass", "maxmemory", "maxmemory-policy", "maxclients", "timeout", "dir",
              "maxmemory-clients", "min-replicas-to-write"}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a snapshot."""
    folder = tmp_path / "data"
    with Instance(directory=folder, options={"enable-debug-command": "yes"}) as server:
        assert server.call("DEBUG", "POPULATE", KEYS) == "OK"
        assert server.call("SAVE") == "OK"
    return folder


def loading(server: Instance) -> bool:
    return server.info("persistence")["loading"] == "1"


def spawn(server: Instance) -> None:
    server.spawn()

    def there() -> bool:
        try:
            return loading(server)
        except OSError:
            return False

    assert_eventually(there, server.log_tail)


@pytest.fixture
def loading_server(folder: Path, tmp_path: Path) -> Iterator[Instance]:
    config = tmp_path / "x.conf"
    config.write_text("hz 20\n")
    server = Instance(directory=folder, options=LOADS, config=config)
    del server.options["appendonly"]  # the file is to decide
    spawn(server)
    yield server
    server.close()


def finish(server: Instance) -> None:
    assert server.call("CONFIG", "SET", "key-load-delay", 0) == "OK"
    assert_eventually(lambda: not loading(server), server.log_tail)
    assert server.call("DBSIZE") == KEYS


@pytest.mark.differential
def test_what_is_refused_while_loading(folder: Path) -> None:
    """By name, as by Valkey; and which of several complaints comes first."""
    options = {**LOADS, "loading-process-events-interval-bytes": 1024}
    with Instance() as ours:
        names = ours.call("CONFIG", "GET", "*")
    theirs = Instance("valkey", directory=folder, options=options)
    ours = Instance(directory=folder, options=options)
    try:
        spawn(ours)
        spawn(theirs)
        values = dict(zip(names[::2], names[1::2], strict=True))
        skipped = {b"port", b"bind", b"dir", b"rdma-bind", b"rdma-port", *(row.name.encode() for row in OURS)}
        sets = [("CONFIG", "SET", name, value) for name, value in values.items() if name not in skipped]
        sets.append(("CONFIG", "SET", "dir", str(folder)))
        several = (
            "appendonly yes nope 1", "nope 1 appendonly yes", "appendonly zz", "hz zz appendonly yes",
            "databases 4 appendonly yes", "appendonly yes databases 4", "appendonly yes hz 25",
            "appendonly yes appendonly yes", "hz 20 hz 20 appendonly yes", "hz 26",
        )  # fmt: skip
        for words in several:
            sets += [("CONFIG", "SET", *words.split()), ("CONFIG", "GET", "hz", "appendonly")]
        with Pair(ours, theirs) as pair:
            pair.pipeline(sets)
        assert loading(ours)
        assert loading(theirs)
    finally:
        ours.close()
        theirs.close()


def test_the_aof_cannot_begin_while_data_loads(loading_server: Instance, folder: Path) -> None:
    """What was loaded so far would become its base, and the rest be lost."""
    server = loading_server
    assert server.call("CONFIG", "SET", "appendonly", "yes") == Error("LOADING Valkey is loading the dataset in memory")
    assert server.config is not None
    server.config.write_text("hz 30\nappendonly yes\n")
    os.kill(server.pid, signal.SIGHUP)
    refusal = "not reloaded: appendonly cannot change now: the dataset is being loaded. Send SIGHUP again later"
    assert_eventually(lambda: refusal in server.log_text(), server.log_tail)
    assert server.call("CONFIG", "GET", "hz", "appendonly") == [b"hz", b"20", b"appendonly", b"no"]
    finish(server)
    assert not (folder / "appendonlydir").exists()
    os.kill(server.pid, signal.SIGHUP)
    assert_eventually(lambda: server.info("persistence")["aof_enabled"] == "1", server.log_tail)
    assert server.call("SET", "one more", "v") == "OK"
    server.options["key-load-delay"] = 0
    server.restart()
    assert server.call("DBSIZE") == KEYS + 1
    assert (folder / "appendonlydir").exists()


def test_nobody_hands_over_while_data_loads(loading_server: Instance) -> None:
    refusal = Error("LOADING Valkey is loading the dataset in memory")
    assert loading_server.call("FAILOVER") == loading_server.call("FAILOVER", "ABORT") == refusal
    finish(loading_server)


def test_the_folder_stays_while_data_loads(loading_server: Instance, tmp_path: Path) -> None:
    refusal = Error("LOADING Valkey is loading the dataset in memory")
    assert loading_server.call("CONFIG", "SET", "dir", str(tmp_path)) == refusal
    finish(loading_server)


def test_the_folder_stays_while_a_snapshot_is_written(tmp_path: Path) -> None:
    """It would still be renamed in the old folder, which another server may have taken by then."""
    options = {"enable-debug-command": "yes", "enable-protected-configs": "yes", "rdb-key-save-delay": 100_000}
    with Instance(directory=tmp_path / "data", options=options) as server, server.connect() as c:
        assert c.call("DEBUG", "POPULATE", 100) == "OK"
        assert "started" in str(c.call("BGSAVE"))
        assert c.call("CONFIG", "SET", "dir", str(tmp_path)) == Error(
            "ERR CONFIG SET failed (possibly related to argument 'dir') - "
            "a snapshot is being written; try again when it is done"
        )
        assert "cancelled" in str(c.call("BGSAVE", "CANCEL"))
        assert_eventually(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0", server.log_tail)
        assert c.call("CONFIG", "SET", "dir", str(tmp_path)) == "OK"


def test_nothing_changes_any_more_when_the_server_ends(tmp_path: Path) -> None:
    """Clients are paused by then; SIGHUP is not."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--logfile", str(tmp_path / "log")]
    config, log = Config(), Log()
    config.load(option_lines([*options, "--save", ""]), {})

    async def main() -> int:
        server = Server(config, log, sources=lambda: option_lines([*options, "--hz", "20", "--save", ""]))
        running = asyncio.ensure_future(server.run())
        await asyncio.wait_for(_answers(port), 30)
        ending = asyncio.ensure_future(server.shutdown.request(["nosave"]))  # type: ignore[arg-type]
        server._on_reload()
        await asyncio.wait_for(ending, 30)
        return await asyncio.wait_for(running, 30)

    assert uvloop.run(main()) == 0
    log.close()
    assert "hz cannot change now: the server is shutting down" in (tmp_path / "log").read_text()
    assert config.number("hz") == 10


async def _answers(port: int) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"PING\r\n")
        if await reader.readline() == b"+PONG\r\n":
            writer.close()
            return
        writer.close()


def another_value(row: Param, shown: str) -> str | None:
    """One that the parameter may have, other than this one; None when only people know."""
    kind = row.kind
    if isinstance(kind, kinds.Bool):
        return "no" if shown == "yes" else "yes"
    if isinstance(kind, kinds.Enum):
        return next(word for word in kind.words if word != shown)
    if isinstance(kind, kinds.Integer | kinds.Memory) and shown.lstrip("-").isdigit():
        number = int(shown) + 1
        return str(number if number <= kind.high else kind.low)
    if isinstance(kind, kinds.SavePoints):
        return "900 1" if shown != "900 1" else ""
    if isinstance(kind, kinds.Filename):
        return "another" if shown != "another" else "a-third"
    return None


def change_everything(connection: Connection) -> list[str]:
    """Sets each live parameter to another value; those that were refused."""
    refused = []
    for row in LIVE:
        if row.name in LEFT_ALONE or row.needs:
            continue
        value = another_value(row, connection.call("CONFIG", "GET", row.name)[1].decode())
        if value is not None and connection.call("CONFIG", "SET", row.name, value) != "OK":
            refused.append(row.name)
    return refused


@pytest.mark.parametrize("persistence", ["snapshots", "aof"])
@pytest.mark.parametrize("state", ENTER)
def test_no_change_in_any_state_loses_data(tmp_path: Path, state: str, persistence: str) -> None:
    config = tmp_path / "x.conf"
    on = persistence == "aof"
    saved = "appendonly yes\nsave ''" if on else "appendonly no\nsave 900 1"
    config.write_text(f"enable-debug-command yes\nenable-protected-configs yes\nbind 127.0.0.1\n{saved}\n")
    server = Instance(directory=tmp_path / "data", config=config)
    server.options.clear()
    try:
        server.start()
        with server.connect() as connection:
            assert connection.call("DEBUG", "POPULATE", 1000) == "OK"
            assert connection.call("CONFIG", "SET", "rdb-key-save-delay", 3000) == "OK"
            assert not isinstance(connection.call(*ENTER[state]), Error)
            assert change_everything(connection) == []
            assert connection.call("CLIENT", "UNPAUSE") == "OK"
            assert connection.call("CONFIG", "SET", "rdb-key-save-delay", 0, "key-load-delay", 0) == "OK"
            assert connection.call("SET", "one more", "v") == "OK"
            assert connection.call("CONFIG", "REWRITE") == "OK"
            with pytest.raises(EOFError):
                connection.call("SHUTDOWN", "SAVE")
        assert server.wait_exit() == 0
        server.start()
        assert server.call("DBSIZE") == 1001
        assert server.call("CONFIG", "GET", "appendonly")[1] == (b"no" if on else b"yes")
    finally:
        server.close()
