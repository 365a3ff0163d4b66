"""Following a primary, for Python; see stream.pyi."""

from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.following cimport following_t

cdef class Stream:
    cdef Engine engine
    cdef following_t f
    cdef public object on_lost
    cdef object on_beat

    cdef void _lost(self) noexcept
    cdef void _heard(self, bytes word) noexcept
    cdef void _disconnect(self) noexcept
