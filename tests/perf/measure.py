"""What the benchmark measures with: a process's CPU clock, its memory, and the compiled load.

CPU is what the kernel charged to the server (all its threads, user and system), as in /proc/<pid>/stat, read through
the process's CPU clock because that has nanoseconds where stat has ticks of 10 ms. Wall time plays no part.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cases import Fill, Words

from fleettest.client import Connection
from fleettest.instance import Instance, StartError, free_port
from fleettest.wait import assert_eventually

HERE = Path(__file__).resolve().parent
CFLAGS = ("-O2", "-Wall", "-D_GNU_SOURCE")
JEMALLOC_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64")
_CPUCLOCK_SCHED = 2


class Target(Protocol):
    """What the load is aimed at."""

    port: int

    @property
    def pid(self) -> int: ...


def compile_c(source: Path, into: Path) -> Path:
    """Compiles one of the programs beside this file with `cc`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise StartError("no C compiler: apt-get install gcc")
    into.mkdir(parents=True, exist_ok=True)
    binary = into / source.stem
    subprocess.run([compiler, *CFLAGS, "-o", str(binary), str(source)], check=True)
    return binary


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, those that ended included."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:  # the thread ended
            continue
    return found


def memory_bytes(pid: int, field: str = "Pss") -> int:
    """`Pss` of a process counts a page shared with a forked child by halves, so sums over both are right."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (OSError, ProcessLookupError):
        return 0
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def jemalloc() -> str:
    """The library, which Debian's redis-server uses."""
    library = "libjemalloc.so.2"
    if not any((Path(folder) / library).exists() for folder in JEMALLOC_FOLDERS):
        raise StartError(f"no {library}: apt-get install libjemalloc2")
    return library


class Floor:
    """The C epoll loop of floor.c, for requests of one size and one reply to each."""

    def __init__(self, binary: Path, request_bytes: int, reply: bytes) -> None:
        self.port = free_port()
        command = [str(binary), str(self.port), str(request_bytes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(reply)
        self.process.stdin.close()
        assert_eventually(lambda: _listens(self.port), "floor is up")

    @property
    def pid(self) -> int:
        return self.process.pid

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _listens(port: int) -> bool:
    try:
        with Connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def reply_to(server: Instance, words: tuple[str, ...]) -> bytes:
    """The bytes with which a server answers one request."""
    with server.connect(timeout_s=120) as connection:
        return connection.raw(*words)


@dataclass(frozen=True, slots=True)
class Result:
    """One run of the load against one server."""

    ops: int
    seconds: float
    cpu_us: float  # of the server, per operation
    load_share: float  # of the load's own core; near 1 means the load was the limit
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


class LoadError(Exception):
    """The load could not run, or the server replied with errors."""


class Load:
    """load.c, compiled."""

    def __init__(self, build: Path) -> None:
        self.binary = compile_c(HERE / "load.c", build)

    def start(
        self, target: Target, commands: Sequence[Words], partner: Sequence[Words] = (), /, **options: float
    ) -> subprocess.Popen[bytes]:
        """`commands` follow each other in each batch; `partner` is what every second connection does instead."""
        pairs = [f"{name}={value}" for name, value in options.items()]
        words = [word for command in commands for word in ("--", *command)]
        if partner:
            words += ["---", *(word for command in partner for word in (*command, "--"))][:-1]
        return subprocess.Popen(
            [str(self.binary), str(target.port), *pairs, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def finish(self, process: subprocess.Popen[bytes], *, errors_allowed: bool = False) -> dict[str, Any]:
        out, err = process.communicate(timeout=600)
        if process.returncode != 0:
            raise LoadError(err.decode())
        report: dict[str, Any] = json.loads(out)
        if report["errors"] and not errors_allowed:
            raise LoadError(f"{report['errors']} error replies of {report['ops']}: {process.args!r}")
        return report

    def run(
        self, target: Target, commands: Sequence[Words], partner: Sequence[Words] = (), /, **options: float
    ) -> Result:
        before = cpu_seconds(target.pid)
        report = self.finish(self.start(target, commands, partner, **options))
        spent = cpu_seconds(target.pid) - before
        return Result(
            ops=report["ops"],
            seconds=report["seconds"],
            cpu_us=spent * 1e6 / max(report["ops"], 1),
            load_share=report["cpu_seconds"] / report["seconds"],
            p50_us=report["p50_us"],
            p99_us=report["p99_us"],
            p999_us=report["p999_us"],
            max_us=report["max_us"],
        )

    def make(self, target: Target, fill: Fill) -> None:
        """Sends each command of a fill once."""
        pipeline = min(fill.count, 100 if sum(map(len, fill.words)) <= 2048 else 10)
        batches = -(-fill.count // pipeline)
        options = {"conns": min(20, batches), "ops": batches * pipeline, "keys": fill.keys, "seq": 1}
        self.finish(self.start(target, [fill.words], pipeline=pipeline, **options))

    def fill(self, server: Instance, keys: int, value_bytes: int) -> None:
        """Empties the server and sets keys 0 .. keys-1."""
        with server.connect(timeout_s=120) as connection:
            assert connection.call("FLUSHALL") == "OK"
        self.make(server, Fill(("SET", "__key__", "x" * value_bytes), keys, keys))
        got = server.call("DBSIZE")
        if got != keys:
            raise LoadError(f"{server} holds {got} keys after the fill, not {keys}")
