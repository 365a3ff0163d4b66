"""The lease as a condition of held output (keyspace/held.pxd); see lease.pyi.

It takes part in the hand-over of the journal as a consumer, at the end of each tick: what the tick has written may be
replied if the lease is valid *then*. So a process that was stopped in the middle of a tick says nothing of it, and its
clients are disconnected: nobody can say what becomes of their writes. Replies that wait for copies (copies.pyx) since
an earlier tick need no lease: what enough members have, every later primary has.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.clock cimport clock_boottime_us
from cachefleet_server.core.engine cimport engine_t, held_condition_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.held cimport held_add, held_remove, held_withdraw
from cachefleet_server.keyspace.journal cimport journal_attach, journal_detach, journal_end

cdef enum:
    FOREVER_S = 4294967296  # no machine runs so long

cdef struct lease_t:
    engine_t* engine
    journal_consumer_t consumer
    held_condition_t condition
    int64_t until_us  # of CLOCK_BOOTTIME


cdef void _take(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    """journal_consumer_t.take_fn. Nothing of what lies in front of its end has been replied yet."""
    cdef lease_t* lease = <lease_t*>consumer.ctx
    lease.condition.confirmed = offset + n
    if clock_boottime_us() >= lease.until_us:
        held_withdraw(lease.engine)


cdef class Lease:
    cdef Engine engine
    cdef lease_t lease
    cdef bint counts

    def __cinit__(self, Engine engine not None):
        memset(&self.lease, 0, sizeof(lease_t))
        self.engine = engine
        self.lease.engine = engine.ptr
        self.lease.consumer.name = self.lease.condition.name = b"lease"
        self.lease.consumer.ctx = &self.lease
        self.lease.consumer.take_fn = _take

    def __dealloc__(self):
        if self.engine.ptr != NULL:
            self._end()

    def begin(self):
        if not self.counts:
            journal_attach(self.engine.ptr, &self.lease.consumer)
            self.lease.condition.confirmed = journal_end(self.engine.ptr)
            held_add(self.engine.ptr, &self.lease.condition)
            self.counts = True

    def end(self):
        self._end()

    cdef void _end(self) noexcept:
        if self.counts:
            self.counts = False
            held_remove(self.engine.ptr, &self.lease.condition)
            journal_detach(self.engine.ptr, &self.lease.consumer)

    def set(self, double until):
        self.lease.until_us = INT64_MAX if until >= FOREVER_S else <int64_t>(max(until, 0.0) * 1e6)
