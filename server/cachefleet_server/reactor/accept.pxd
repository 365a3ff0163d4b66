"""Accepting: connections waiting on a listening socket become clients, or are refused with a text."""

from cachefleet_server.core.engine cimport engine_t, transport_t

cdef int accept_clients(
        engine_t* e, const transport_t* transport, int listener, int limit, bint unix_socket,
        const char* denied) noexcept nogil
    # Takes at most `limit` connections, which speak by `transport`. `denied`: what those that are not from loopback are
    # told before they are closed; NULL admits everybody. Returns 0, or the errno of an accept that failed for want of
    # resources.
