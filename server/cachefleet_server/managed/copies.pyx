"""Copies as a condition of held output (keyspace/held.pxd); see copies.pyi.

    tick of the primary    writes are executed, go to the AOF and to the replicas; their replies are held
    tick of a replica      executes them, writes its AOF, confirms (keyspace/following.pxd)
    tick of the primary    REPLCONF ACK -> machine.py counts -> `set` -> the replies go, in this same tick

One confirmation a tick stands for all that the tick brought, whoever wrote it: a group commit. Up to where enough have
confirmed is machine.py's to say, of the record's set and of a prepared one.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cachefleet_server.core.engine cimport held_condition_t
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.held cimport held_add, held_confirmed, held_failed, held_remove


cdef class Copies:
    cdef Engine engine
    cdef held_condition_t condition
    cdef bint counts

    def __cinit__(self, Engine engine not None):
        memset(&self.condition, 0, sizeof(held_condition_t))
        self.engine = engine
        self.condition.name = b"copies"

    def __dealloc__(self):
        if self.engine.ptr != NULL:
            self._end()

    cdef void _end(self) noexcept:
        if self.counts:
            self.counts = False
            held_remove(self.engine.ptr, &self.condition)

    def set(self, confirmed):
        if confirmed is None:
            self._end()
            return
        self.condition.confirmed = <uint64_t>confirmed
        if not self.counts:
            held_add(self.engine.ptr, &self.condition)
            self.counts = True
        held_confirmed(self.engine.ptr)

    def fail(self):
        if self.counts:
            held_failed(self.engine.ptr)

    def end(self):
        self._end()
