"""Servers (execution/ports.py) of this machine, at the ports that the book gave their pods."""

from __future__ import annotations

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.local.store import owner
from cachefleet_operator.execution.local.tcp_ports import HOST, PortBook
from cachefleet_operator.execution.wire import Wire


class LocalServers(Wire):
    def __init__(self, book: PortBook) -> None:
        super().__init__()
        self._book = book

    def address(self, pod: Object) -> tuple[str, int] | None:
        """None while it has no process: somebody else may be there."""
        states = pod.get("status", {}).get("containerStatuses", ())
        if not any("running" in status["state"] for status in states):
            return None
        metadata = pod["metadata"]
        ports = self._book.of(metadata["namespace"], owner(pod), metadata["name"])
        return (HOST, ports.redis) if ports is not None else None
