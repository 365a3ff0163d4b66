"""What tests do to an engine that no user may; in development builds only."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.clock cimport clock_refresh
from cachefleet_server.engine cimport Engine


def advance(Engine engine, int64_t ms):
    """Moves the engine's unix time, and everything that expires with it."""
    engine.ptr.clock_offset_us += ms * 1000
    clock_refresh(engine.ptr)


def now_ms(Engine engine):
    """The time that commands see; it stands still between ticks."""
    return engine.ptr.now_ms


def seed_random(Engine engine, uint64_t seed):
    """What samples and draws are made from; not 0."""
    engine.ptr.rng = seed
