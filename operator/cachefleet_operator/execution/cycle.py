"""One cycle of one Cache: observe -> plan -> record -> execute -> tell -> write the status. Clock and chance are
injected.

A decision about the topology is stored first, by itself, onto the version of the Cache that was seen. If that fails,
nothing is done that needs it (actions.RECORD): somebody else may have decided otherwise.

A failed action keeps those from being done that need what it would have done (Action.needs), and no other. What was
refused is remembered in the status, where the next plan sees it. The rest of the status is written once, and only if it
differs.

    a failure       is in the sentence of what goes on; from FAILURES_SAID in a row on it is a condition, until a cycle
                    ends without one. What the other lane is trying at the moment is neither
    a conflict      is news to nobody, and the status is left to the cycle that follows at once; one that lasts for
                    CONFLICT_S is a failure like others, and holds the status up no longer
    of the Cache    its version is another one: that cannot be written over, and whoever changed it goes on

A server that hangs holds up no failover: promises of several are asked for side by side, and records are told so, after
the first of them, which the others may need. Who has not answered after PATIENCE_S is left: the cycle goes on, and
another one follows at once, which decides by those who did. What a late one says counts when it comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, Protocol

from cachefleet_operator.api.conditions import RECONCILE_FAILED
from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.parse import Malformed, parse
from cachefleet_operator.api.v1alpha1 import KIND, Cache, CacheKey, CacheStatus, Metadata, Topology
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.ledger import Ledger
from cachefleet_operator.execution.mergepatch import between
from cachefleet_operator.execution.ports import Objects
from cachefleet_operator.planning.actions import RECORD, Action, EventType, FenceServer, TellRecord, ToManaged
from cachefleet_operator.planning.notices import Notice, notices
from cachefleet_operator.planning.plan import Plan, plan
from cachefleet_operator.planning.refusals import WHOLE, remember
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.status import without_samples

Planner = Callable[[Snapshot, float], Plan]
Tell = Callable[[Metadata, EventType, str, str], None]  # the Cache, a word, a sentence; never raises, never waits
Result = Literal["unchanged", "acted", "refused", "conflict", "failed", "bug"]

PATIENCE_S = 0.05  # more than a server that is well takes, its disk included; who is slower loses no answer by it
FAILURES_SAID = 2  # one may be a time-out
CONFLICT_S = 5.0  # a failover is through by then
WORDS_S = 60.0  # so often the words of a failure that lasts may change: who says it may say it otherwise each time
SIDE_BY_SIDE = (FenceServer, TellRecord)

log = logging.getLogger(__name__)


class Meter(Protocol):
    """Who counts what is done."""

    def reconciled(self, result: Result, duration_s: float) -> None: ...

    def acted(self, action: Action) -> None: ...


class Observes(Protocol):
    """An Observer (observer.py), as far as a cycle knows it."""

    async def observe(self, cache: Cache) -> Snapshot: ...

    def forget(self, key: CacheKey) -> None:
        """There is no such Cache (any more)."""


class NoMeter:
    def reconciled(self, result: Result, duration_s: float) -> None: ...

    def acted(self, action: Action) -> None: ...


@dataclass(slots=True)
class _Outcome:
    """What became of the record and the actions."""

    seen: Cache  # as it was seen, and with the record that was stored since
    undone: set[str] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)
    failed: list[ExecutionError] = field(default_factory=list)
    words: str = ""  # of the first that was not done
    left: bool = False  # somebody has not answered yet
    open: bool = False  # something is being done by somebody else


@dataclass(slots=True)
class _Trouble:
    """Cycles of one Cache that failed, in a row."""

    since: float
    failures: int = 0  # conflicts left out
    words: str = ""
    words_at: float = 0.0

    def add(self, failed: Sequence[ExecutionError], now: float) -> None:
        real = [error for error in failed if not error.conflict]
        self.failures += bool(real)
        if not self.words or now - self.words_at >= WORDS_S:
            self.words, self.words_at = str((real or failed)[0]), now

    def lasts(self, now: float) -> bool:
        return self.failures >= FAILURES_SAID or now - self.since >= CONFLICT_S


class Cycle:
    def __init__(
        self,
        objects: Objects,
        observer: Observes,
        interpreter: Interpreter,
        tell: Tell,
        *,
        planner: Planner = plan,
        clock: Callable[[], float] = time.time,
        meter: Meter | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._objects, self._observer, self._interpreter = objects, observer, interpreter
        self._tell, self._plan, self._clock = tell, planner, clock
        self._meter, self._ledger = meter or NoMeter(), ledger or Ledger()
        self._late: set[asyncio.Task[None]] = set()  # of servers that were left
        self._troubles: dict[CacheKey, _Trouble] = {}
        # What a CRD that is older did not keep, and of which version: to write it again would be for ever.
        self._dropped: dict[CacheKey, tuple[str, CacheStatus]] = {}

    async def stop(self) -> None:
        """Nobody who was left is waited for."""
        for task in (late := tuple(self._late)):
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def cache(self, key: CacheKey) -> Cache | None:
        """The Cache of a key. Whose body is none has no plan, and so no status: an event is all that its user sees."""
        found = self._objects.cache(key)
        if found is None:
            self._observer.forget(key)
            self._ledger.forget(key)
            self._troubles.pop(key, None)
            self._dropped.pop(key, None)
            return None
        try:
            return parse(found)
        except Malformed as error:
            words = f"this Cache cannot be read: {error}"
            self._tell(Metadata.model_validate(found["metadata"]), "Warning", "Unreadable", words)
            raise ExecutionError(words) from None

    async def run(self, cache: Cache) -> tuple[Result, float]:
        """What came of it, and in how many seconds to look again. Raises ExecutionError."""
        since = self._ledger.now()
        snapshot = await self._observer.observe(cache)
        made = self._plan(snapshot, self._clock())
        outcome = _Outcome(cache)
        if made.record is not None:
            await self._record(made.record, outcome, rolled_back=made.rolled_back)
        await self._carry_out(snapshot.acting.cache, made.actions, since, outcome)
        stale = next((error for error in outcome.failed if error.conflict), None)
        if RECORD in outcome.undone and outcome.failed[0].conflict:  # that of the record comes first
            raise outcome.failed[0]
        lasting = self._lasting(cache, outcome)
        if stale is not None and not lasting:
            raise stale
        words = lasting or outcome.words
        status = made.stopped(words, lasting) if words else made.status
        if RECORD in outcome.undone:
            status = status.model_copy(update={"topology": outcome.seen.status.topology})
        for refusal in outcome.refused:
            status = remember(
                status, target=refusal.target, subject=refusal.subject, wish=refusal.wish, message=str(refusal),
                now=self._clock(),
            )  # fmt: skip
        self._notify(cache, notices(cache.status, status))
        self._notify(cache, (Notice("Warning", "Refused", _words(refusal)) for refusal in outcome.refused))
        # What goes on is worth telling even if it failed this time.
        changed = await self._write_status(outcome.seen, status) is not outcome.seen
        told = [error for error in outcome.failed if not error.conflict]
        self._notify(cache, (Notice("Warning", "Failed", str(error)) for error in told))
        if outcome.failed or lasting:
            # What the other lane is at keeps the row of failures, and lets nobody wait.
            raise stale or next(iter(outcome.failed), ExecutionError(lasting, conflict=True))
        acted = bool(made.actions) or made.record is not None or changed
        result: Result = "refused" if outcome.refused else "acted" if acted else "unchanged"
        return result, 0.0 if outcome.left else made.wake_after_s

    def _lasting(self, cache: Cache, outcome: _Outcome) -> str:
        """The words of a failure that lasts; empty = there is none, or it may be over with the next cycle."""
        said = next((c.message for c in cache.status.conditions if c.reason == RECONCILE_FAILED), "")
        if outcome.failed:
            trouble = self._troubles.setdefault(cache.key, _Trouble(self._clock()))
            trouble.add(outcome.failed, self._clock())
            return trouble.words if said or trouble.lasts(self._clock()) else ""
        if not outcome.open:
            self._troubles.pop(cache.key, None)
            return ""
        return said

    async def _record(self, record: Topology, outcome: _Outcome, *, rolled_back: bool) -> None:
        cache = outcome.seen
        try:
            outcome.seen = await self._write_status(cache, cache.status.model_copy(update={"topology": record}))
            if outcome.seen.status.topology != record:
                raise ExecutionError("the API server did not keep status.topology: its CRD is older than the operator")
        except ExecutionError as error:
            outcome.failed.append(error)
            outcome.undone.add(RECORD)
            outcome.words = str(error)
            return
        log.info("%s", record.reason, extra={"cache": str(cache.key), "reason": "Record"})
        if rolled_back:
            self._tell(cache.metadata, "Warning", "DataRolledBack", record.reason)
        elif record.kind == "continued":
            self._tell(cache.metadata, "Normal", "MembersChanged", record.reason)
        elif record.kind != "first":  # of which the labels tell
            type: EventType = "Normal" if record.kind == "handover" else "Warning"
            self._tell(cache.metadata, type, "PrimaryChanged", record.reason)

    async def _carry_out(self, cache: Cache, actions: Iterable[Action], since: int, outcome: _Outcome) -> None:
        for batch in _batches(actions):
            if any(error.final for error in outcome.failed):
                break
            ready = [action for action in batch if not outcome.undone & action.needs]
            outcome.undone.update(action.subject for action in batch if outcome.undone & action.needs)
            if told := [action for action in ready if isinstance(action, SIDE_BY_SIDE)]:
                await self._side_by_side(cache, told, since, outcome)
                continue
            for action in ready:
                await self._attempt(self._once(cache, action, since, outcome), action, outcome)

    async def _attempt(self, doing: Awaitable[None], action: Action, outcome: _Outcome) -> None:
        try:
            await doing
            return
        except Refused as refusal:
            outcome.refused.append(refusal)
            error: ExecutionError = refusal
        except ExecutionError as failure:
            outcome.failed.append(failure)
            error = failure
        outcome.words = outcome.words or str(error)
        outcome.undone.add(action.subject)

    async def _side_by_side(
        self, cache: Cache, actions: Sequence[FenceServer | TellRecord], since: int, outcome: _Outcome
    ) -> None:
        doing = {asyncio.create_task(self._once(cache, action, since, outcome)): action for action in actions}
        try:
            await asyncio.wait(doing, timeout=None if _is_needed(actions[0]) else PATIENCE_S)
            for task, action in doing.items():
                if task.done():
                    await self._attempt(task, action, outcome)
                else:
                    self._leave(cache, task, action, outcome)
        finally:
            mine = [task for task in doing if task not in self._late]
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)

    def _leave(
        self, cache: Cache, task: asyncio.Task[None], action: FenceServer | TellRecord, outcome: _Outcome
    ) -> None:
        """It goes on by itself; what was known of the server counts no more till it answers."""
        outcome.left = True
        outcome.undone.add(action.subject)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        task.add_done_callback(lambda done: _note(done, cache, action))
        self._interpreter.left(cache, action.pod)

    async def _once(self, cache: Cache, action: Action, since: int, outcome: _Outcome) -> None:
        if not self._ledger.begin(self, cache.key, action, since):
            outcome.open = outcome.open or self._ledger.is_under_way(cache.key, action)
            return
        done = False
        try:
            await self._act(cache, action)
            done = True
        finally:
            self._ledger.end(cache.key, action, done=done)

    async def _act(self, cache: Cache, action: Action) -> None:
        await self._interpreter.execute(cache, action)
        self._meter.acted(action)
        log.info("%s", action.reason, extra={"cache": str(cache.key), "reason": type(action).__name__})
        if not isinstance(action, ToManaged):  # Of these the record tells that they lead to, or come from.
            self._tell(cache.metadata, "Normal", action.word, action.reason)

    def _notify(self, cache: Cache, found: Iterable[Notice]) -> None:
        for notice in found:
            level = logging.WARNING if notice.type == "Warning" else logging.INFO
            log.log(level, "%s", notice.message, extra={"cache": str(cache.key), "reason": "Notice"})
            self._tell(cache.metadata, notice.type, notice.word, notice.message)

    async def _write_status(self, cache: Cache, status: CacheStatus) -> Cache:
        """The Cache as it is then; the very same where nothing was to be written."""
        news = without_samples(status)
        if status == cache.status or self._dropped.get(cache.key) == (cache.metadata.resource_version, news):
            return cache
        live = self._objects.cache(cache.key) or {}
        patch = {
            "metadata": {"resourceVersion": cache.metadata.resource_version, "uid": cache.metadata.uid},
            "status": between(live.get("status") or {}, status.wire()),
        }
        after = parse(await self._objects.patch(cache.key.namespace, Key(KIND, cache.key.name), patch, "status"))
        self._dropped.pop(cache.key, None)
        if without_samples(after.status) != news:
            self._dropped[cache.key] = after.metadata.resource_version, news
        return after


def _batches(actions: Iterable[Action]) -> Iterator[tuple[Action, ...]]:
    """In their order; together those that may go out side by side."""
    for kind, group in groupby(actions, key=type):
        first, *others = group
        yield (first,)
        if issubclass(kind, SIDE_BY_SIDE) and others:
            yield tuple(others)
            continue
        yield from ((action,) for action in others)


def _is_needed(action: Action) -> bool:
    """Whom the others are to follow: who is told of it before only knocks in vain."""
    return isinstance(action, TellRecord) and action.pod == action.record.primary.pod


def _note(done: asyncio.Task[None], cache: Cache, action: Action) -> None:
    """What became of one that was left. Of a failure there is nothing to do: who answers again is asked again."""
    if done.cancelled() or (error := done.exception()) is None:
        return
    level = logging.DEBUG if isinstance(error, ExecutionError) else logging.ERROR
    log.log(level, "%s: %r", action.subject, error, extra={"cache": str(cache.key)})


def _words(refusal: Refused) -> str:
    whole = f"{refusal.target} cannot be had"
    part = f"{refusal.target} refused {refusal.subject} {refusal.wish}"
    return f"{whole if refusal.subject in WHOLE else part}: {refusal}"
