"""What compiled modules above the facade (persistence, later replication) may use of an Engine."""

from cachefleet_server.core.engine cimport client_t, keyspace_t
from cachefleet_server.resp.input cimport request_t
from cachefleet_server.rows cimport Rows

cdef class Keyspace:
    cdef Engine engine
    cdef keyspace_t* ptr  # NULL after drop()

cdef class Engine(Rows):
    cdef client_t* actors[8]  # ROLES: one for each role without a connection, NULL while it runs a request
    cdef readonly int epoll_fd
    cdef object __weakref__
    cdef client_t* new_actor(self, int role) noexcept  # who makes requests of a role (core/role.pxd); free_actor
    cdef client_t* new_link(self, int fd, bytes early)
        # The stream of our primary, of which this has been read already. NULL: the fd is still the caller's.
    cdef void free_actor(self, client_t* actor) noexcept
    cdef void run(self, client_t* actor, request_t* request) noexcept nogil  # one request; nothing of a tick's end
    cdef bytes failure(self, client_t* actor)
        # "name: text" of the first error, of a role for which errors are fatal (CLIENT_FAILED); it is taken
