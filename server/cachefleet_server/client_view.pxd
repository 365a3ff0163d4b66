"""The Python view of a client_t."""

from cachefleet_server.core.engine cimport client_t

cdef class Client:
    cdef client_t* c  # NULL once the client has gone
    cdef client_t* live(self) except NULL  # c, or raises ClientGone

cdef Client client_view(client_t* c)  # the one view of c
cdef void forget_view(client_t* c) noexcept  # c goes away

cdef list shown_argv(client_t* c)  # the running command as logs keep it: never a copy of a large argument
