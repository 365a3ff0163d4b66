"""What is opened at a start and is no regular file: refused in words at once, whatever it is, and never waited for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fleettest.aoffile import AofFolder
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}

AOF_FILES: dict[str, Callable[[AofFolder], Path]] = {
    "base": lambda files: files.base,
    "incremental": lambda files: files.incremental,
    "manifest": lambda files: files.manifest,
    "lock": lambda files: files.path.parent / ".cachefleet.lock",
}


def refused(server: Instance) -> str:
    server.log.unlink(missing_ok=True)
    server.spawn()
    assert server.wait_exit() == 1
    assert "Traceback" not in server.log_text()
    return server.log_text()


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_the_aof(tmp_path: Path, kind: str) -> None:
    server = Instance(directory=tmp_path, options={"appendonly": "yes"})
    with server:
        server.call("SET", "k", "v")
        assert server.stop() == 0
    files = AofFolder(tmp_path)
    for find in AOF_FILES.values():
        path, aside = find(files), tmp_path / "aside"
        path.rename(aside)
        KINDS[kind](path)
        log = refused(server)
        assert str(path) in log
        assert f"it is {kind}, not a regular file" in log
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        aside.rename(path)
    with server:
        assert server.call("GET", "k") == b"v"


@pytest.mark.parametrize("kind", KINDS)
def test_the_rdb_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "dump.rdb")
    assert f"{tmp_path}/dump.rdb" in refused(Instance(directory=tmp_path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", ["config", "include", "secret"])
def test_configuration(tmp_path: Path, kind: str, named: str) -> None:
    odd, config = tmp_path / "odd", tmp_path / "server.conf"
    KINDS[kind](odd)
    config.write_text({"include": f"include {odd}\n", "secret": f"requirepass-file {odd}\n", "config": ""}[named])
    server = Instance(directory=tmp_path, config=odd if named == "config" else config)
    log = refused(server)
    assert str(odd) in log
    assert f"it is {kind}, not a regular file" in log


def test_a_configuration_that_became_a_fifo_is_not_read_again(tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text("maxclients 100\n")
    with Instance(directory=tmp_path, config=config) as server:
        config.unlink()
        os.mkfifo(config)
        os.kill(server.pid, signal.SIGHUP)
        assert_eventually(lambda: "The configuration was not reloaded" in server.log_text())
        assert server.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"100"]


def test_a_pipe_with_a_configuration_in_it(tmp_path: Path) -> None:
    """`cachefleet-server <(make-config)`."""
    script = 'exec "$0" "$@" < <(echo maxclients 123)'
    config = Path("/proc/self/fd/0")
    with Instance(directory=tmp_path, config=config, wrapper=("bash", "-c", script)) as server:
        assert server.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"123"]


def test_a_log_file_that_nobody_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    server = Instance(options={"logfile": str(tmp_path / "log")})
    assert "Can't open the log file" in (text := refused(server)) and "nobody reads this FIFO" in text


def test_a_log_file_that_somebody_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with Instance(options={"logfile": str(tmp_path / "log")}) as server:
        assert server.stop() == 0
    text = os.read(reader, 1 << 16)
    os.close(reader)
    assert b"Ready to accept connections" in text and b"bye bye" in text


def test_a_log_whose_reader_has_stopped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with Instance(options={"logfile": str(tmp_path / "log"), "enable-debug-command": "yes"}) as server:
        for _ in range(100):
            assert server.call("DEBUG", "LOG", "x" * 1000) == "OK"  # more than a FIFO takes
        assert os.read(reader, 1 << 17).count(b"x" * 1000) < 100
        server.call("DEBUG", "LOG", "the reader is back")
        assert server.stop() == 0
    text = os.read(reader, 1 << 17)
    os.close(reader)
    assert b"lines could not be written here and are lost" in text and b"the reader is back" in text


def test_a_pid_file_that_nobody_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    with Instance(options={"pidfile": str(tmp_path / "pid")}) as server:
        assert "Failed to write PID file" in server.log_text()
        assert server.stop() == 0
