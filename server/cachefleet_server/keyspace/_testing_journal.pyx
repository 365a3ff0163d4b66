"""The journal with consumers that keep what they get, for unit tests: an engine of which only that part is used."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from cachefleet_server.core.engine cimport arg_t, engine_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_used
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_attach, journal_command, journal_continue, journal_detach, journal_end, journal_hand_over,
    journal_mute, journal_raw, journal_transaction_begin, journal_transaction_end, journal_verbatim)

cdef enum:
    _CONSUMERS = 4

cdef struct recorder_t:
    journal_consumer_t consumer
    buf_t got
    uint64_t next  # the offset that must come
    bint broken


cdef void _record(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    cdef recorder_t* r = <recorder_t*>consumer.ctx
    r.broken |= offset != r.next or n == 0
    r.next = offset + n
    buf_put(&r.got, data, n)


cdef class Journal:
    """Consumers have numbers below four; number 0 is attached from the start."""

    cdef engine_t* e
    cdef recorder_t recorders[4]  # _CONSUMERS

    def __cinit__(self):
        cdef int i
        self.e = <engine_t*>calloc(1, sizeof(engine_t))
        self.e.heap = heap_new()
        self.e.journal.db = -1
        buf_init(&self.e.journal.buf, self.e.heap)
        for i in range(_CONSUMERS):
            buf_init(&self.recorders[i].got, self.e.heap)
            self.recorders[i].consumer.name = b"recorder"
            self.recorders[i].consumer.ctx = &self.recorders[i]
            self.recorders[i].consumer.take_fn = _record
        self.attach(0)

    def close(self):
        """Frees everything; returns the bytes that are still accounted for, which should be none."""
        cdef int i
        cdef size_t left
        if self.e == NULL:
            return 0
        buf_free(&self.e.journal.buf)
        for i in range(_CONSUMERS):
            buf_free(&self.recorders[i].got)
        left = heap_used(self.e.heap)
        heap_free(self.e.heap)
        free(self.e)
        self.e = NULL
        return left

    def __dealloc__(self):
        self.close()

    def attach(self, int i):
        journal_attach(self.e, &self.recorders[i].consumer)
        self.recorders[i].next = self.recorders[i].consumer.since

    def detach(self, int i):
        journal_detach(self.e, &self.recorders[i].consumer)

    def hand_over(self):
        journal_hand_over(self.e)

    def taken(self, int i=0):
        """What a consumer got since the last call. AssertionError unless it got every byte once and in order."""
        cdef recorder_t* r = &self.recorders[i]
        if r.broken:
            raise AssertionError(f"consumer {i} missed something or got it twice")
        got = r.got.data[:r.got.len] if r.got.len else b""
        r.got.len = 0
        return got

    def take(self):
        """The end of a tick, and what consumer 0 got."""
        self.hand_over()
        return self.taken()

    def command(self, int db, *args):
        cdef arg_t argv[8]
        cdef int i
        for i in range(len(args)):
            argv[i] = journal_arg(args[i], len(args[i]))
        journal_command(self.e, db, len(args), argv)

    def raw(self, int db, bytes raw):
        journal_raw(self.e, db, raw, len(raw))

    def verbatim(self, int db, bytes data):
        journal_verbatim(self.e, db, data, len(data))

    def transaction(self, bint begin):
        if begin:
            journal_transaction_begin(self.e)
        else:
            journal_transaction_end(self.e)

    def mute(self, bint on):
        journal_mute(self.e, on)

    def go_on(self, bytes id40, uint64_t tenure, uint64_t offset):
        journal_continue(self.e, id40, tenure, offset, -1)

    @property
    def end(self):
        return journal_end(self.e)

    @property
    def enabled(self):
        return self.e.journal.enabled

    @property
    def id(self):
        return <bytes>self.e.journal.id

    @property
    def earlier(self):
        return <bytes>self.e.journal.earlier_id, self.e.journal.earlier_end
