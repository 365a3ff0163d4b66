"""The two lanes in which each Cache is looked after, and the prober that both listen to.

    slow    observe, plan, write the status (planning.plan.plan): one of `concurrency` places, a back-off up to a minute
    fast    what may not wait for that (planning.plan.survive): by what is known, asking nobody; no place is needed, and
            a failure of the other lane delays nothing

A wake wakes both. The fast one is a little faster, so that what it does is there when the other looks; what both decide
is done once (ledger.py). Both run the same cycle over the same ports, so what one writes the other knows; whoever
writes the status from old facts has a conflict, and looks again. `swift` are objects by connections that the slow lane
cannot use up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from cachefleet_operator.api.objects import Site
from cachefleet_operator.api.v1alpha1 import Cache, CacheKey, Metadata
from cachefleet_operator.execution.cycle import Cycle, Meter, Tell
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.ledger import Ledger
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.ports import Objects, Servers
from cachefleet_operator.execution.prober import Prober
from cachefleet_operator.execution.reconciler import EVERYBODY, STOP_S, Pace, Reconciler
from cachefleet_operator.execution.witness import Witnesses
from cachefleet_operator.planning.actions import EventType
from cachefleet_operator.planning.plan import survive
from cachefleet_operator.planning.snapshot import Snapshot

# What fails in it fails in the slow lane as well, which says so: less often. A failover is some cycles one after the
# other, and a handover has less than a second for them (failover/times.py), whatever there was before.
FAST = Pace(debounce_s=0.01, failure_s_max=5.0, cycle_s_max=15.0, level=logging.DEBUG, every_s=0.1)
FAILURES = frozenset(("Failed", "Unreadable"))  # words of events


class Glances:
    """Observes (cycle.py) without asking anybody."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.forget = observer.forget

    async def observe(self, cache: Cache) -> Snapshot:
        return self._observer.glance(cache)


class Lanes:
    def __init__(
        self,
        objects: Objects,
        swift: Objects,
        servers: Servers,
        site: Site,
        tell: Tell,
        *,
        prober: Prober,
        concurrency: int = 16,
        meter: Meter | None = None,
    ) -> None:
        ledger, told, seen = Ledger(), prober.told, Witnesses(lambda: asyncio.get_running_loop().time())
        self.observer = Observer(objects, servers, site, prober, witnesses=seen)
        slow = Cycle(
            objects, self.observer, Interpreter(objects, servers, told=told, witnesses=seen), tell, meter=meter,
            ledger=ledger,
        )  # fmt: skip
        fast = Cycle(
            swift, Glances(self.observer), Interpreter(swift, servers, told=told, witnesses=seen), _successes(tell),
            planner=survive, meter=meter, ledger=ledger,
        )  # fmt: skip
        self._cycles = slow, fast
        self.slow = Reconciler(slow, concurrency=concurrency, meter=meter)
        self._fast = Reconciler(fast, concurrency=EVERYBODY, pace=FAST)
        self._prober = prober
        prober.listen(self.wake)

    def start(self, keys: Iterable[CacheKey]) -> None:
        """From now on wakes count; `keys` are woken at once."""
        keys = tuple(keys)
        self._fast.start(keys)
        self.slow.start(keys)

    def wake(self, key: CacheKey) -> None:
        """Something about this Cache may have changed."""
        self._fast.wake(key)
        self.slow.wake(key)

    async def stop(self, grace_s: float = STOP_S) -> None:
        await self._fast.stop(grace_s)
        await self.slow.stop(grace_s)
        for cycle in self._cycles:
            await cycle.stop()
        await self._prober.stop()


def _successes(tell: Tell) -> Tell:
    def told(cache: Metadata, type: EventType, word: str, note: str) -> None:
        if word not in FAILURES:
            tell(cache, type, word, note)

    return told
