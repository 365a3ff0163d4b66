"""What tests do to an engine that no user may; in development builds only."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.clock cimport clock_refresh
from cachefleet_server.core.engine cimport held_condition_t, journal_consumer_t
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.held cimport held_add, held_confirmed, held_failed, held_remove
from cachefleet_server.keyspace.journal cimport journal_attach, journal_detach, journal_end


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


cdef void _ignore(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    pass


cdef class Condition:
    """A condition of held output that a test confirms by hand, and a journal that is kept for it.

    Counts from its making to `remove`; the journal is on for as long.
    """

    cdef Engine engine
    cdef journal_consumer_t consumer
    cdef held_condition_t condition

    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.consumer.name = self.condition.name = b"test"
        self.consumer.take_fn = _ignore
        journal_attach(engine.ptr, &self.consumer)
        self.condition.confirmed = journal_end(engine.ptr)
        held_add(engine.ptr, &self.condition)

    def confirm(self, uint64_t offset):
        self.condition.confirmed = offset
        held_confirmed(self.engine.ptr)

    def confirm_all(self):
        self.confirm(journal_end(self.engine.ptr))

    def fail(self):
        held_failed(self.engine.ptr)

    def remove(self):
        held_remove(self.engine.ptr, &self.condition)
        journal_detach(self.engine.ptr, &self.consumer)

    @property
    def journal_end(self):
        return journal_end(self.engine.ptr)

    @property
    def waiting(self):
        return self.engine.ptr.held.waiting != NULL
