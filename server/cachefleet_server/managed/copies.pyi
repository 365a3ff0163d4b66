"""Copies as what replies wait for: those to writes leave only when enough members have confirmed the journal so far."""

from cachefleet_server.engine import Engine

class Copies:
    def __init__(self, engine: Engine) -> None: ...
    def set(self, confirmed: int | None) -> None: ...  # up to this offset they have it; None: nothing waits for copies
    def fail(self) -> None: ...  # nobody will confirm any more: who waits is disconnected
    def end(self) -> None: ...  # before the engine
