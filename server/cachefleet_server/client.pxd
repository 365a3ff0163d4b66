"""The Python view of a client_t."""

from cachefleet_server.core.engine cimport client_t

cdef class Client:
    cdef client_t* c  # borrowed
