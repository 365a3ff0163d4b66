"""Clients as connections: creation, reading into requests, writing replies, limits, closing.

Reading and writing are functions over one client's own state; only `shared_input` is common, and a client
holds a place in it from its read until the batch is done.
"""

from cachefleet_server.core.engine cimport client_t, engine_t, transport_t
from cachefleet_server.core.role cimport role_t

cdef client_t* client_new(engine_t* e, const transport_t* transport, int fd, unsigned long flags) noexcept nogil
    # Takes the descriptor. NULL when the kernel refuses to watch it; the caller closes it then.
cdef client_t* link_new(engine_t* e, const transport_t* transport, int fd) noexcept nogil
    # The same for the stream of our primary (keyspace/following.pxd), which goes on at the journal's end.
cdef client_t* actor_new(engine_t* e, const role_t* role) noexcept nogil
    # A client without a socket, for execute_as. It is in no list; its maker frees it and takes its output.
cdef void client_free(client_t* c) noexcept nogil  # at once; not from inside a batch
cdef bint client_read(client_t* c) noexcept nogil  # one read; false when there is nothing to parse
cdef void client_write(client_t* c) noexcept nogil  # writes what fits; the rest waits for the socket
cdef size_t client_memory(client_t* c) noexcept nogil  # bytes that this connection owns, its transaction included
cdef void client_account(client_t* c) noexcept nogil  # its memory may have changed; call it while there is a limit
cdef void clients_account(engine_t* e) noexcept nogil  # the limit was set: all anew, and the next tick applies it
cdef void clients_evict(engine_t* e) noexcept nogil  # maxmemory-clients: flags the largest until the rest fits
cdef void clients_cron(engine_t* e) noexcept nogil  # idle time-outs, soft output limits
