"""Leader election by a Lease: of all operators, one acts. The others keep their store warm and wait.

`decide` is pure: the Lease as it was read, when its holder was last seen to renew it, and our own clock. No clock of
another machine is ever compared with ours: a Lease has expired when we have seen the same renewal for all its duration.

    nobody holds it, or it has expired      Take
    we hold it                              Renew
    somebody else does                      Wait

The loop reads and writes it every RETRY_S. Who has not renewed for RENEW_S stops acting (`leads` is asked before every
write, so that even a process that was frozen writes nothing) and ends: RENEW_S is shorter than DURATION_S, so that
there are never two. A clean stop gives the Lease back, and the next one takes it at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.kube.client import Kube
from cachefleet_operator.execution.kube.kinds import LEASE

NAME = "cachefleet-operator"
DURATION_S, RENEW_S, RETRY_S = 15.0, 10.0, 2.0

log = logging.getLogger(__name__)


class Lost(Exception):
    """We led, and could not renew in time, or somebody else has the Lease."""


class Step(Enum):
    TAKE, RENEW, WAIT = "take", "renew", "wait"


@dataclass(frozen=True, slots=True)
class Seen:
    """The last renewal that we saw, and when by our own clock."""

    holder: str = ""
    renewal: str = ""  # renewTime and transitions, as text: only whether it changed matters
    duration_s: float = DURATION_S
    at: float = 0.0


def observe(seen: Seen, lease: Object | None, now: float) -> Seen:
    """`seen` with what a fresh read shows; the time moves only if the Lease did."""
    spec = (lease or {}).get("spec") or {}
    fresh = Seen(
        holder=spec.get("holderIdentity") or "",
        renewal=f"{spec.get('renewTime')} {spec.get('leaseTransitions')}",
        duration_s=float(spec.get("leaseDurationSeconds") or DURATION_S),
        at=now,
    )
    return seen if replace(fresh, at=seen.at) == seen else fresh


def decide(seen: Seen, me: str, now: float) -> Step:
    if seen.holder == me:
        return Step.RENEW
    if not seen.holder or now - seen.at >= seen.duration_s:
        return Step.TAKE
    return Step.WAIT


class Elector:
    """`me` must be unique among all processes; a pod's name and something random."""

    def __init__(
        self, kube: Kube, namespace: str, me: str, *, name: str = NAME, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._namespace, self._me, self._name, self._clock = kube, namespace, me, name, clock
        self._seen = Seen(at=clock())
        self._lease: Object | None = None
        self._renewed_at: float | None = None  # when we asked for the renewal that was granted last; None: not leading

    def leads(self) -> bool:
        return self._renewed_at is not None and self._clock() - self._renewed_at < RENEW_S

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Waits for the Lease, then runs `lead` until it ends or the Lease is lost; cancelling it gives the Lease back.

        Raises Lost.
        """
        while not await self._try():
            await asyncio.sleep(RETRY_S)
        log.info("leading", extra={"reason": "Leading"})
        task = asyncio.ensure_future(lead())
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=RETRY_S)
                if not await self._try() and not self.leads():
                    raise Lost(f"the Lease {self._namespace}/{self._name} could not be renewed")
            await task
        except asyncio.CancelledError:
            await _end(task)
            await self._release()
            raise
        finally:
            await _end(task)
            self._renewed_at = None

    async def _try(self) -> bool:
        """One read and, if it is ours to write, one write of the Lease. Whether we hold it now."""
        asked_at = self._clock()
        try:
            async with asyncio.timeout(self._patience_s(asked_at)):
                if self._lease is None or self._renewed_at is None:
                    self._lease = await self._kube.get(LEASE.name, self._namespace, self._name)
                self._seen = observe(self._seen, self._lease, self._clock())
                step = decide(self._seen, self._me, self._clock())
                if step is Step.WAIT:
                    self._renewed_at = None
                    return False
                self._lease = await self._write(_held(self._lease, self._me, self._namespace, self._name, step))
        except (ExecutionError, TimeoutError) as error:
            # Somebody else was faster, or we cannot know: look again. `leads` ends by itself.
            log.warning("Lease: %s", str(error) or "no answer in time")
            self._lease = None
            return False
        self._renewed_at = asked_at
        return True

    def _patience_s(self, now: float) -> float:
        """How long one try may take: a leader must know in time that it is none any more."""
        return RENEW_S / 2 if self._renewed_at is None else max(0.1, self._renewed_at + RENEW_S - now)

    async def _write(self, lease: Object) -> Object:
        if "resourceVersion" in lease["metadata"]:
            return await self._kube.replace(self._namespace, lease)
        return await self._kube.create(self._namespace, lease)

    async def _release(self) -> None:
        """Gives the Lease back. It is read once more: a renewal of ours may have been under way."""
        try:
            async with asyncio.timeout(RETRY_S):
                lease = await self._kube.get(LEASE.name, self._namespace, self._name)
                if lease is not None and lease["spec"].get("holderIdentity") == self._me:
                    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _stamp()}
                    await self._kube.replace(self._namespace, {**lease, "spec": spec})
        except (ExecutionError, TimeoutError) as error:
            log.warning("the Lease was not given back: %s", str(error) or "no answer in time")


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _held(lease: Object | None, me: str, namespace: str, name: str, step: Step) -> Object:
    """The Lease with us as its holder."""
    old = (lease or {}).get("spec") or {}
    spec = {**old, "holderIdentity": me, "leaseDurationSeconds": int(DURATION_S), "renewTime": _stamp()}
    if step is Step.TAKE:
        spec |= {"acquireTime": _stamp(), "leaseTransitions": int(old.get("leaseTransitions") or 0) + 1}
    metadata = lease["metadata"] if lease is not None else {"name": name, "namespace": namespace}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
