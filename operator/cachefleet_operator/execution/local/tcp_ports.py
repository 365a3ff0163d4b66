"""Ports of the servers on this machine: the first pod gets 6379 and 9121 if they are free, or the two that the user
chose, and every other one the next that are free above those.

A pod keeps its ports from one run to the next (ports.json in the Cache's folder), so that clients find it again. Ports
that another Cache of the data folder remembers are not given away. When another program has taken one meanwhile, the
pod gets a new one and `moved` says so.

Between the choice of a port and its server's bind there is a start, and between two servers of a pod there is nobody.
So a port that is given away is held, against every other `up` on the machine: by a socket that is bound to the port's
number in the abstract namespace of unix sockets. That is one step, has the bounds that the port has (it belongs to the
network namespace), and ends with the process, however that ends. Nobody ever talks on it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.paths import below, private_folder, replace_file

HOST = "127.0.0.1"
FILE = "ports.json"
PORTS_MAX = 1000  # how many are tried


class Ports(NamedTuple):
    redis: int
    metrics: int


FIRST = Ports(names.PORT, names.METRICS_PORT)


class PortTaken(ExecutionError):
    """Somebody else has the port that the user chose."""


class PortBook:
    """Who listens where. `first` are the ports that the first pod gets. What it gives away is held until `close`."""

    def __init__(self, data: Path, first: Ports = FIRST) -> None:
        self._data = data
        self._first = first
        self._held: dict[int, socket.socket] = {}
        self._known: dict[tuple[str, str, str], Ports] = {}
        for path in sorted(data.glob(f"*/*/{FILE}")):
            for pod, ports in _read(path).items():
                self._known[path.parts[-3], path.parts[-2], pod] = ports

    def close(self) -> None:
        self._release(list(self._held))

    __del__ = close

    def of(self, namespace: str, cache: str, pod: str) -> Ports | None:
        return self._known.get((namespace, cache, pod))

    def assign(self, namespace: str, cache: str, pod: str, moved: Callable[[str], None]) -> Ports:
        """The ports of a pod that is about to start; nothing of ours listens there now. Raises ExecutionError."""
        known = self._known.get((namespace, cache, pod))
        wanted = known or self._first
        redis = self._choose(wanted.redis, known, but=wanted.metrics)
        ports = Ports(redis, self._choose(wanted.metrics, known, but=redis))
        if known is not None and ports != known:
            moved(f"another program has taken a port of {pod}: it listens on {ports.redis} and {ports.metrics} now, "
                  f"not on {known.redis} and {known.metrics}")
        if ports != known:
            self._remember(namespace, cache, pod, ports)
            self._release(set(known or ()) - set(ports))
        return ports

    def pin(self, namespace: str, cache: str, pod: str, redis: int | None, metrics: int | None) -> None:
        """Gives a pod ports by the user's own choice (None: any), before it starts; those without any follow. Raises
        PortTaken."""
        if redis is None and metrics is None:
            return
        if redis == metrics:
            raise PortTaken(f"port {redis} cannot be both")
        known = self._known.get((namespace, cache, pod))
        for port in (redis, metrics):
            keeper = next((key for key, ports in self._known.items() if ports != known and port in ports), None)
            if keeper is not None:
                raise PortTaken(f"port {port} is kept for {'/'.join(keeper[:2])}")
            # On its own from last time an orphan may still be ending.
            if port is not None and not (self._hold(port) if port in (known or ()) else self._take(port)):
                raise PortTaken(f"port {port} is taken by another program")
        self._first = Ports(redis or self._first.redis, metrics or self._first.metrics)
        wanted = known or self._first
        redis = redis or self._other(wanted.redis, known, metrics)
        ports = Ports(redis, metrics or self._other(wanted.metrics, known, redis))
        self._remember(namespace, cache, pod, ports)

    def _other(self, wanted: int, known: Ports | None, chosen: int | None) -> int:
        """Beside the one that the user chose: that of last time, though an orphan may still be ending there."""
        keeps = known and wanted != chosen and self._hold(wanted)
        return wanted if keeps else self._choose(wanted, known, but=chosen)

    def _choose(self, wanted: int, own: Ports | None, but: int | None) -> int:
        """`but` is the pod's other port."""
        reserved = {but, *(port for ports in self._known.values() if ports != own for port in ports)}
        for port in range(wanted, min(wanted + PORTS_MAX, 65536)):
            if port not in reserved and self._take(port):
                return port
        raise ExecutionError(f"no free port at or above {wanted}")

    def _take(self, port: int) -> bool:
        """Whether it is free, and held for us from now on."""
        was_ours = port in self._held
        found = self._hold(port) and is_free(port)
        if not found and not was_ours:
            self._release([port])
        return found

    def _hold(self, port: int) -> bool:
        """Whether no other `up` has it, whoever listens there."""
        if port not in self._held:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                sock.bind(b"\0cachefleet-port-%d" % port)
            except OSError:
                sock.close()
                return False
            self._held[port] = sock
        return True

    def _release(self, ports: Iterable[int]) -> None:
        for port in ports:
            if port in self._held:
                self._held.pop(port).close()

    def _remember(self, namespace: str, cache: str, pod: str, ports: Ports) -> None:
        """In the file first: what could not be written is written with the next start."""
        mine = {pod: ports for (n, c, pod), ports in self._known.items() if (n, c) == (namespace, cache)} | {pod: ports}
        path = below(self._data, namespace, cache, FILE)
        try:
            private_folder(path.parent)
            replace_file(path, json.dumps(mine).encode())
        except OSError as error:
            raise ExecutionError(f"cannot write {path}: {error.strerror}") from error
        self._known[namespace, cache, pod] = ports


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is no hindrance
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def _read(path: Path) -> dict[str, Ports]:
    """What an earlier run noted; a damaged file is as none."""
    try:
        noted = json.loads(path.read_bytes()).items()
        found = {str(pod): Ports(int(redis), int(metrics)) for pod, (redis, metrics) in noted}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return {pod: ports for pod, ports in found.items() if all(0 < port < 65536 for port in ports)}
