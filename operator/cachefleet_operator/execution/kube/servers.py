"""Servers (execution/ports.py) in a cluster's pods, at their addresses. Only who leads may tell them anything: a
password that is not the newest any more would shut out the one who does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.ports import Command, Endpoint, Reply
from cachefleet_operator.execution.wire import Wire


class KubeServers(Wire):
    """`must_lead` raises ExecutionError where we may not change anything (any more)."""

    def __init__(self, must_lead: Callable[[], None]) -> None:
        super().__init__()
        self._must_lead = must_lead

    def address(self, pod: Object) -> tuple[str, int] | None:
        status = pod.get("status", {})
        ip = str(status.get("podIP", "")) if status.get("phase") == "Running" else ""
        return (ip, names.PORT) if ip else None

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        self._must_lead()
        return await super().tell(endpoint, run_id, commands)
