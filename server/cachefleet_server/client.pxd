"""The Python view of a client_t."""

from cachefleet_server.core.engine cimport client_t

cdef class Client:
    cdef client_t* c  # borrowed

cdef list shown_argv(client_t* c)  # the running command as logs keep it: never a copy of a large argument
