"""The operator's own main with a fault in it: `python -m fleettest.operator_main`, told by the environment.

    FAULT_KILL_AT=n        it kills itself (SIGKILL) at its n-th act: a write to the API (the Lease and events do not
                           count), or a command that changes a server
    FAULT_KILL_WHEN        before or after the act is done (it does not hear the answer); before by default
    FAULT_DISCOVER_S       how often it looks for CRDs that came or went
    FAULT_STEADY_S         how long it lets a Cache alone that is as it should be, and how old a connection gets
    FAULT_NEWER=1          it is of the next version (fleettest.newer)
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from cachefleet_operator.__main__ import main
from cachefleet_operator.execution import prober
from cachefleet_operator.execution.kube.client import Kube
from cachefleet_operator.execution.kube.servers import KubeServers
from cachefleet_operator.handlers import supervisor
from cachefleet_operator.planning import plan
from fleettest import newer

T = TypeVar("T")


class _Killer:
    """Counts acts, and dies at the one that was chosen."""

    def __init__(self, at: int, when: str) -> None:
        self._at, self._after, self._acts = at, when == "after", 0

    def around(self, function: Callable[..., Awaitable[T]], counts: Callable[..., bool]) -> Callable[..., Awaitable[T]]:
        async def wrapped(*words: Any, **named: Any) -> T:
            mine = False
            if counts(*words):
                self._acts += 1
                mine = self._acts == self._at
            if mine and not self._after:
                _die()
            result = await function(*words, **named)
            if mine:
                _die()
            return result

        return wrapped


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_write(kube: Kube, method: str, path: str, *rest: object) -> bool:
    return method != "GET" and "/leases" not in path and "/events" not in path


def _always(*words: object) -> bool:
    return True


def arm(environment: dict[str, str]) -> None:
    if at := environment.get("FAULT_KILL_AT"):
        killer = _Killer(int(at), environment.get("FAULT_KILL_WHEN", "before"))
        for owner, name, counts in (
            (Kube, "_request", _is_write),
            (KubeServers, "tell", _always),
        ):
            setattr(owner, name, killer.around(getattr(owner, name), counts))
    if seconds := environment.get("FAULT_DISCOVER_S"):
        supervisor.DISCOVER_S = float(seconds)
    if seconds := environment.get("FAULT_STEADY_S"):
        plan.STEADY_S = prober.RENEW_S = float(seconds)
    if environment.get("FAULT_NEWER"):
        newer.become(newer.put)
        newer.put("cachefleet_operator.handlers.supervisor.own_version", lambda: newer.VERSION)


if __name__ == "__main__":
    arm(dict(os.environ))
    sys.exit(main())
