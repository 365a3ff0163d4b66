"""A lease as what replies wait for: those to writes leave only if it is valid at the end of the tick."""

from cachefleet_server.engine import Engine

class Lease:
    def __init__(self, engine: Engine) -> None: ...
    def begin(self) -> None: ...  # counts from now on: it is over
    def set(self, until: float) -> None: ...  # seconds of CLOCK_BOOTTIME; inf: for ever
    def end(self) -> None: ...
