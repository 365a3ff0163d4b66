"""A walk over an RDB file, for those who do more with a record than ask for it. The theory is in rdb_walk.pyx."""

from libc.stdint cimport uint64_t

from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.persistence.rdb_load cimport RdbLoader

cdef class RdbWalk(RdbLoader):
    cdef entry_t* entry  # of the record that was given last, in the engine's database 0; NULL: none
    cdef bint owns  # the engine
    cdef uint64_t hash
    cdef bytes key
    cdef list types  # their names
    cdef readonly list functions
    cdef int _read(self) noexcept nogil
    cdef int _value(self, int type_byte) noexcept nogil
    cdef object _record(self)
    cdef int _forget(self) except -1
    cdef entry_t* _there(self) except NULL  # the entry
