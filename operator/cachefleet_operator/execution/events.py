"""Events of a Cache, as `kubectl describe` shows them: what was done, and why.

They are told in the background: a reconcile never waits for one, and none is worth an error. All that is held is
bounded. The same words about the same Cache are told once in REPEAT_S; a Cache has BURST of them, then one in EVERY_S;
what does not fit the queue is dropped, and counted in the log.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Metadata
from cachefleet_operator.execution.backend import BackendError
from cachefleet_operator.execution.kinds import EVENT
from cachefleet_operator.execution.kube import Kube
from cachefleet_operator.planning import actions as act

QUEUE_MAX = 2000
SENDERS = 2
REPEAT_S = 300.0
BURST, EVERY_S = 40.0, 20.0
TOLD_MAX = 10_000
NOTE_CHARACTERS_MAX = 1024  # the API's limit
CONTROLLER = "cachefleet.io/operator"

WORDS: dict[type[act.Action], str] = {
    act.Apply: "Applied",
    act.Delete: "Deleted",
    act.GenerateSecret: "PasswordGenerated",
    act.CopySecret: "PasswordStored",
    act.SetPassword: "PasswordSet",
    act.LabelPod: "RoleLabelled",
    act.RestartPod: "PodRestarted",
    act.ConfigSet: "ConfigSet",
    act.ResizeClaim: "VolumeResized",
}

log = logging.getLogger(__name__)


class Events:
    def __init__(self, kube: Kube, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._kube, self._instance, self._clock = kube, instance, clock
        self._queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue(QUEUE_MAX)
        self._told: dict[tuple[str, str, str], float] = {}  # (uid, word, note) -> when; oldest first
        self._budgets: dict[str, tuple[float, float]] = {}  # uid -> tokens, when; oldest first
        self._dropped = 0
        self._senders: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._senders = [asyncio.create_task(self._send(), name="events") for _ in range(SENDERS)]

    async def stop(self, grace_s: float = 1.0) -> None:
        """What is queued is sent if that takes no longer than `grace_s`."""
        try:
            async with asyncio.timeout(grace_s):
                await self._queue.join()
        except TimeoutError:
            log.warning("%d events were not sent", self._queue.qsize())
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def tell(self, cache: Metadata, kind: act.EventType, word: str, note: str) -> None:
        """Never raises and never waits."""
        now = self._clock()
        note = note[:NOTE_CHARACTERS_MAX]
        if not self._fresh((cache.uid, word, note), now) or not self._affordable(cache.uid, now):
            return
        try:
            self._queue.put_nowait((cache.namespace, self._event(cache, kind, word, note, now)))
        except asyncio.QueueFull:
            self._dropped += 1

    def _fresh(self, what: tuple[str, str, str], now: float) -> bool:
        if now - self._told.pop(what, -REPEAT_S) < REPEAT_S:
            return False
        self._told[what] = now
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        return True

    def _affordable(self, uid: str, now: float) -> bool:
        tokens, since = self._budgets.pop(uid, (BURST, now))
        tokens = min(BURST, tokens + (now - since) / EVERY_S)
        self._budgets[uid] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._budgets) > TOLD_MAX:
            del self._budgets[next(iter(self._budgets))]
        return tokens >= 1

    def _event(self, cache: Metadata, kind: act.EventType, word: str, note: str, now: float) -> Object:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{cache.name}.{secrets.token_hex(8)}", "namespace": cache.namespace},
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": kind,
            "reason": word,
            "action": word,
            "note": note,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": cache.namespace,
                "name": cache.name,
                "uid": cache.uid,
            },
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }

    async def _send(self) -> None:
        while True:
            namespace, event = await self._queue.get()
            try:
                await self._kube.create(namespace, event)
            except BackendError as error:
                log.debug("event not sent: %s", error, extra={"cache": f"{namespace}/{event['regarding']['name']}"})
            finally:
                self._queue.task_done()
            if self._dropped and self._queue.empty():
                log.warning("%d events were dropped: too many at once", self._dropped)
                self._dropped = 0
