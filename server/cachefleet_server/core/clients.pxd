"""Walking through all connections.

    c = client_first(e)
    while c != NULL:
        following = client_next(c)  # where c may be freed
"""

from cachefleet_server.core.engine cimport client_t, engine_t

cdef inline client_t* client_first(const engine_t* e) noexcept nogil:
    return <client_t*>e.clients.all.first

cdef inline client_t* client_next(const client_t* c) noexcept nogil:
    return <client_t*>c.link.next
