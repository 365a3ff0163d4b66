"""Events of a Cache, as `kubectl describe` shows them: what was done, and why.

They are told in the background: a reconcile never waits for one, and none is worth an error. What is said with the same
word within GATHER_S becomes one event (all objects of a new Cache, say). All that is held is bounded: the same note
about the same Cache is told once in REPEAT_S; a Cache has BURST events, then one in EVERY_S; what is beyond PENDING_MAX
is dropped, and counted in the log.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Metadata
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.kube.client import Kube
from cachefleet_operator.execution.kube.kinds import EVENT
from cachefleet_operator.planning import actions as act

GATHER_S = 0.5
PENDING_MAX, NOTES_MAX = 2000, 64
REPEAT_S = 300.0
BURST, EVERY_S = 20.0, 20.0
TOLD_MAX = 10_000
NOTE_BYTES_MAX = 1024  # the API's limit
CONTROLLER = "cachefleet.io/operator"

log = logging.getLogger(__name__)


class _Topic(NamedTuple):
    """What one event is about."""

    cache: tuple[str, str, str]  # namespace, name, uid
    kind: act.EventType
    word: str


class Events:
    def __init__(self, kube: Kube, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._kube, self._instance, self._clock = kube, instance, clock
        self._pending: dict[_Topic, list[str]] = {}  # oldest first
        self._woken = asyncio.Event()
        self._told: dict[tuple[str, str, str], float] = {}  # (uid, word, note) -> when; oldest first
        self._budgets: dict[str, tuple[float, float]] = {}  # uid -> tokens, when; oldest first
        self._dropped = 0
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sender = asyncio.create_task(self._send_always(), name="events")

    async def stop(self, grace_s: float = 2.0) -> None:
        """What is pending is sent if that takes no longer than `grace_s`."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        try:
            async with asyncio.timeout(grace_s):
                await self._send_pending()
        except TimeoutError:
            log.warning("%d events were not sent", len(self._pending))

    def tell(self, cache: Metadata, kind: act.EventType, word: str, note: str) -> None:
        """Never raises and never waits."""
        note = _cut(note)
        topic = _Topic((cache.namespace, cache.name, cache.uid), kind, word)
        if not self._fresh((cache.uid, word, note), self._clock()):
            return
        notes = self._pending.get(topic)
        if notes is not None and len(notes) < NOTES_MAX:
            notes.append(note)
        elif notes is None and len(self._pending) < PENDING_MAX and self._affordable(cache.uid, self._clock()):
            self._pending[topic] = [note]
            self._woken.set()
        else:
            self._dropped += 1

    def _fresh(self, what: tuple[str, str, str], now: float) -> bool:
        if now - self._told.get(what, -REPEAT_S) < REPEAT_S:
            return False
        self._told.pop(what, None)  # It becomes the youngest.
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

    async def _send_always(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(GATHER_S)
            self._woken.clear()
            await self._send_pending()
            if self._dropped:
                log.warning("%d events were dropped: too many at once", self._dropped)
                self._dropped = 0

    async def _send_pending(self) -> None:
        while self._pending:
            topic = next(iter(self._pending))
            event = self._event(topic, "; ".join(self._pending.pop(topic)))
            namespace, name, _ = topic.cache
            try:
                await self._kube.create(namespace, event)
            except ExecutionError as error:
                log.debug("event not sent: %s", error, extra={"cache": f"{namespace}/{name}"})

    def _event(self, topic: _Topic, note: str) -> Object:
        namespace, name, uid = topic.cache
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{name}.{secrets.token_hex(8)}", "namespace": namespace},
            "eventTime": datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": topic.kind,
            "reason": topic.word,
            "action": topic.word,
            "note": _cut(note),
            "regarding": {"apiVersion": API_VERSION, "kind": KIND, "namespace": namespace, "name": name, "uid": uid},
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }


def _cut(note: str) -> str:
    text = note.encode(errors="replace")
    if len(text) > NOTE_BYTES_MAX:
        text = text[: NOTE_BYTES_MAX - 3] + b"..."
    return text.decode(errors="ignore")  # half a character at the cut
