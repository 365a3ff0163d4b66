"""An asyncio loop on the simulated clock, for one process of one place: tasks of the product run in virtual time, in an
order that the seed alone decides.

It has timers and tasks and nothing else: no sockets, no threads. Its time is the place's own clock, which drifts. A
place that hangs runs nothing until that ends. `kill` ends the process: all tasks are cancelled there and then, and what
they would say to the world is said to nobody, as `Place.gone` is set before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from simclock import Clock, Place

KILL_ROUNDS_MAX = 1000


class _Handle:
    """As asyncio's, as far as anybody uses it."""

    __slots__ = ("args", "context", "gone", "what")

    def __init__(self, what: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.what, self.args, self.context, self.gone = what, args, context, False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone


class Loop:
    """To asyncio this is its loop (`Any`): it asks for no more than what is here."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place, self._clock = place, clock
        self._ready: deque[_Handle] = deque()
        self._is_due = self._dead = False
        self.faults: list[str] = []  # what nobody caught

    def time(self) -> float:
        return self._place.local(self._clock.now)

    # -- what asyncio asks of it

    def call_soon(self, what: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(what, args, context)
        self._ready.append(handle)
        if not self._is_due and not self._dead:
            self._is_due = True
            self._clock.after(0.0, self._drain)
        return handle

    def call_later(self, delay: float, what: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(what, args, context)
        if not self._dead:
            self._clock.after(max(0.0, delay), lambda: self._fire(handle))
        return handle

    def call_at(self, when: float, what: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        return self.call_later((when - self.time()) / self._place.rate, what, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=_any(self))

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=_any(self), **more)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(repr(context.get("exception", context["message"])))

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return self._dead

    # -- the clock's side

    def _fire(self, handle: _Handle) -> bool:
        if not handle.gone and not self._dead:
            self._ready.append(handle)
            if not self._is_due:
                self._drain()
        return False

    def _drain(self) -> bool:
        """False (simclock.py): what a process does by itself changes no server."""
        if self._dead:
            return False
        self._is_due = True  # what is added meanwhile is done now
        if self._place.hung:
            self._place.waiting.append(self._drain)
            return False
        self._run()
        self._is_due = False
        return False

    def _run(self) -> None:
        asyncio._set_running_loop(_any(self))
        try:
            ready = self._ready
            while ready:
                handle = ready.popleft()
                if handle.gone:
                    continue
                if handle.context is None:
                    handle.what(*handle.args)
                else:
                    handle.context.run(handle.what, *handle.args)
        finally:
            asyncio._set_running_loop(None)

    def kill(self) -> None:
        self._dead = True
        for _ in range(KILL_ROUNDS_MAX):
            self._run()
            tasks = asyncio.all_tasks(_any(self))
            if not tasks:
                return
            for task in tasks:
                task.cancel()
        raise RuntimeError(f"tasks that do not end: {asyncio.all_tasks(_any(self))}")


def _any(loop: Loop) -> Any:
    return loop
