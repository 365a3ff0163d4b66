"""Servers as subprocesses: ours, and the real ones that it is compared with, behind one interface.

    with Instance("cachefleet", options={"appendonly": "yes"}) as server:
        server.connect().call("PING")

An instance has a folder of its own (`dir`), a free port on loopback, and its output in `log`. `start` returns when
PING is answered or raises `StartError` with the end of the log. Leaving the `with` block kills the process and, if
the folder was made here, removes it. A server dies with the test process (PR_SET_PDEATHSIG), however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from fleettest.client import Address, Connection, Error
from fleettest.programs import Kind, program
from fleettest.wait import assert_eventually

Option = str | int | float | bytes | Sequence[str | int]

ROOT: Final = Path(__file__).resolve().parents[3]
START_S: Final = 30.0
STOP_S: Final = 20.0
LOG_TAIL_BYTES: Final = 6000
CRASH: Final = re.compile(r"ERROR: AddressSanitizer|runtime error:|REPORT START|Fatal Python error|Traceback")
PORT_TRIES: Final = 5
PORTS: Final = range(10_000, 32_000)  # below those of outgoing connections (ip_local_port_range)
PORT_SHARES: Final = 8  # workers of one run that cannot meet
HIDDEN: Final = ("rdb-key-save-delay", "key-load-delay", "loading-process-events-interval-bytes")  # from CONFIG GET *
HASH_SEED: Final = "FLEETTEST_HASH_SEED"  # a variable: what a run's servers are to have, so that it can be repeated
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)

DEFAULTS: Final[dict[str, Option]] = {"bind": "127.0.0.1", "save": "", "appendonly": "no"}


class StartError(Exception):
    """The process ended, or did not answer PING in time; holds the command line and the end of its log."""


@functools.cache
def _ports() -> Iterator[int]:
    """Ports, one after another, that no other worker of this run hands out and the kernel gives to no connection."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw-1")
    share = len(PORTS) // PORT_SHARES
    first = (int(worker.removeprefix("gw")) + 1) % PORT_SHARES * share
    start = random.SystemRandom().randrange(share)
    return itertools.cycle(PORTS[first + (start + i) % share] for i in range(share))


def free_port() -> int:
    for port in itertools.islice(_ports(), len(PORTS)):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise StartError(f"no free port in {PORTS}")


def option_arguments(options: Mapping[str, Option]) -> list[str]:
    """`--name value` pairs; a list or tuple gives several words after one name, underscores become dashes."""
    words: list[str] = []
    for name, value in options.items():
        words.append("--" + name.replace("_", "-"))
        if isinstance(value, bytes):
            words.append(os.fsdecode(value))
        elif isinstance(value, str | int | float):
            words.append(str(value))
        else:
            words += [str(word) for word in value]
    return words


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Instance:
    """One server process. `options` are its parameters; `config` a file given before them; `env` adds variables."""

    def __init__(
        self,
        kind: Kind = "cachefleet",
        *,
        directory: Path | None = None,
        options: Mapping[str, Option] | None = None,
        config: Path | None = None,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        seeded = kind in ("cachefleet", "valkey") and HASH_SEED in os.environ
        seed = {"hash-seed": os.environ[HASH_SEED]} if seeded else {}
        self.options = {**DEFAULTS, **seed, **(options or {})}
        self.config = config
        self.env = dict(env or {})
        self.wrapper = list(wrapper)
        self.program = [sys.executable, "-m", "cachefleet_server"] if kind == "cachefleet" else []
        self.process: subprocess.Popen[bytes] | None = None
        self._fixed_port = port
        self.port = port or 0
        self._owns_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"fleettest-{kind}-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / "server.log"

    def __repr__(self) -> str:
        return f"<{self.kind} port={self.port} pid={self.process.pid if self.process else None}>"

    def __enter__(self) -> Instance:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (text := self.ended()):
            error.add_note(text)
        self.close()

    # -- life

    def start(self, deadline_s: float = START_S) -> Instance:
        """Starts and waits for PING ("+PONG", or "-NOAUTH"). While loading, PING is refused, so this waits for it."""
        self.spawn()
        try:
            for _ in range(PORT_TRIES):
                if self._wait_ready(deadline_s):
                    return self
                self.spawn()
        except BaseException:
            self.kill()
            raise
        raise StartError(f"no free port after {PORT_TRIES} tries")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts without waiting: for tests of refused starts and of loading."""
        if self._fixed_port is None and (self.port == 0 or self.process is not None):
            self.port = free_port()
        environment = {**os.environ, **self.env}
        if self.kind == "cachefleet":
            sanitized = environment.get("FLEETTEST_SANITIZED")  # set by tests/asan.sh --server
            if sanitized:
                environment |= {"LD_PRELOAD": environment["FLEETTEST_PRELOAD"], "PYTHONMALLOC": "malloc"}
            if "PYTHONPATH" not in self.env:  # else the test says where the program is
                paths = [str(Path(sanitized or ROOT) / "server"), environment.get("PYTHONPATH", "")]
                environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command_line(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=environment,
                preexec_fn=_die_with_parent,
            )
        return self.process

    def command_line(self) -> list[str]:
        words = self.program or program(self.kind)
        file = [str(self.config)] if self.config else []
        own: dict[str, Option] = {"port": self.port, "dir": str(self.directory)}
        return [*self.wrapper, *words, *file, *option_arguments({**own, **self.options})]

    def stop(self, deadline_s: float = STOP_S) -> int:
        """SIGTERM and wait: the orderly end. Its exit code."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self} did not stop within {deadline_s} s of SIGTERM\n{self.log_tail()}") from None
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL; does nothing when it is gone already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, *, kill: bool = False) -> Instance:
        """Ends it (SIGTERM, or SIGKILL) and starts it again with the same folder, port and options."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def wait_exit(self, deadline_s: float = STOP_S) -> int:
        """Waits until it ends by itself; its exit code."""
        process = self._running()
        try:
            code = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {deadline_s} s\n{self.log_tail()}") from None
        self.process = None
        return code

    def close(self) -> None:
        self.kill()
        if self._owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- talking to it

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        return self._running().pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ended(self) -> str:
        """How it ended, if it did so by itself: code and the end of its log."""
        code = self.process.poll() if self.process is not None else None
        return "" if code is None else f"{self} has ended with code {code}\n{self.log_tail()}"

    def connect(self, *, resp: int = 2, timeout_s: float = 30.0) -> Connection:
        return Connection(self.address, resp=resp, timeout_s=timeout_s)

    def call(self, *args: str | bytes | int | float) -> Any:
        """One command on a connection of its own."""
        with self.connect() as connection:
            return connection.call(*args)

    def info(self, section: str = "") -> dict[str, str]:
        """INFO as a dictionary of texts."""
        text = self.call("INFO", section) if section else self.call("INFO")
        assert not isinstance(text, Error), text
        lines = (line for line in text.decode().split("\r\n") if line and not line.startswith("#"))
        return dict(line.split(":", 1) for line in lines)

    def settled_memory(self) -> int:
        """used_memory when nothing is freed any more: neither by another thread nor of the replies' chunks.

        The server keeps up to 8 MB of chunks for replies and gives half of them back once a second (and INFO takes
        one again), so it has none left when the size was at its lowest and found nothing lower for longer than that.
        """
        lowest, found_at = sys.maxsize, time.monotonic()

        def settled() -> bool:
            nonlocal lowest, found_at
            info = self.info("memory")
            if int(info["used_memory"]) < lowest or info["lazyfree_pending_objects"] != "0":
                lowest, found_at = min(lowest, int(info["used_memory"])), time.monotonic()
            return time.monotonic() - found_at > 2.5

        assert_eventually(settled, "used_memory settles", deadline_s=60, pause_s=0.05)
        return lowest

    @contextlib.contextmanager
    def configured(self, **parameters: str | int) -> Iterator[None]:
        """CONFIG SET for the block; the old values come back after it. Underscores stand for dashes."""
        with self.connect() as connection:
            before: dict[str, bytes] = {}
            for key, value in parameters.items():
                name = key.replace("_", "-")
                pair = connection.call("CONFIG", "GET", name)
                assert len(pair) == 2, f"no parameter {name}: {pair!r}"
                before[name] = pair[1]
                reply = connection.call("CONFIG", "SET", name, value)
                assert reply == "OK", f"CONFIG SET {name} {value}: {reply!r}"
        try:
            yield
        finally:
            with self.connect() as connection:
                for name, old in before.items():
                    assert connection.call("CONFIG", "SET", name, old) == "OK"

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self) -> str:
        """The end of the log; where a crash is reported, the beginning of the report."""
        text = self.log_text()
        crash = CRASH.search(text)
        part = text[crash.start() : crash.start() + LOG_TAIL_BYTES] if crash else text[-LOG_TAIL_BYTES:]
        return f"--- from the log of {self.kind} ---\n{part}\n---"

    # -- inside

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise AssertionError(f"{self.kind} is not running")
        return self.process

    def _wait_ready(self, deadline_s: float) -> bool:
        """True when it answers; False when its port was taken by another and a new one may be tried."""
        process = self._running()
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if process.poll() is not None:
                taken = "ddress already in use" in self.log_text()
                if taken and self._fixed_port is None:
                    return False
                line = " ".join(self.command_line())
                raise StartError(f"exit code {process.returncode} from: {line}\n{self.log_tail()}")
            with contextlib.suppress(OSError, EOFError), self.connect(timeout_s=2.0) as connection:
                reply = connection.call("PING")
                if reply == "PONG" or (isinstance(reply, Error) and reply.startswith("NOAUTH")):
                    return True
            time.sleep(0.01)
        raise StartError(f"no PONG within {deadline_s} s from: {' '.join(self.command_line())}\n{self.log_tail()}")


class Pool:
    """Servers that tests share: one per kind and option set, started on first use.

    A test leaves their parameters as it found them: `changed` says which it did not. conftest.py asks after each test.
    """

    def __init__(self) -> None:
        self._instances: dict[tuple[Any, ...], Instance] = {}
        self._parameters: dict[Instance, Any] = {}  # at the start
        self._lent: set[Instance] = set()  # since `changed` was asked

    def get(self, kind: Kind = "cachefleet", **options: Option) -> Instance:
        """A running server with these options, emptied. Underscores in names stand for dashes.

        It is replaced when a test killed it. Tests that change parameters use `Instance.configured`.
        """
        key = (kind, *sorted((name, str(value)) for name, value in options.items()))
        instance = self._instances.get(key)
        if instance is None or not instance.alive():
            if instance is not None:
                instance.close()
            named = {name.replace("_", "-"): value for name, value in options.items()}
            instance = Instance(kind, options={"enable-debug-command": "yes", **named}).start()
            self._instances[key] = instance
            self._parameters[instance] = instance.call("CONFIG", "GET", "*", *HIDDEN)
        reply = instance.call("FLUSHALL")
        assert reply == "OK" or isinstance(reply, Error), reply
        self._lent.add(instance)
        return instance

    def ended(self) -> list[str]:
        """Of servers lent to the running test."""
        return [text for instance in self._lent if (text := instance.ended())]

    def changed(self) -> list[str]:
        """What differs from the start on servers lent since the last time, a line each. Those servers are ended."""
        found = []
        for instance in self._lent:
            if not instance.alive():
                continue
            before, now = self._parameters[instance], instance.call("CONFIG", "GET", "*", *HIDDEN)
            if now == before:
                continue
            instance.kill()
            if isinstance(now, Error):
                found.append(f"{instance.kind}: CONFIG GET is answered by {now}")
                continue
            old = dict(zip(before[::2], before[1::2], strict=True))
            pairs = zip(now[::2], now[1::2], strict=True)
            found += [f"{instance.kind}: {n.decode()} {old[n]!r} -> {v!r}" for n, v in pairs if old[n] != v]
        self._lent.clear()
        return found

    def close(self) -> None:
        for instance in self._instances.values():
            instance.close()
        self._instances.clear()
