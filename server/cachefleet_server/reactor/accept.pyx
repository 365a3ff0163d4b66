"""Accepting; see accept.pxd.

Nothing is set on an accepted socket: Linux hands TCP_NODELAY and the keepalive settings down from the listening
socket, where listeners.py sets them once, so a connection costs one accept4 and one epoll_ctl.
"""

from libc.errno cimport EINTR, EAGAIN, ECONNABORTED, EPROTO, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memset, strlen

from cachefleet_server.core.engine cimport CLIENT_UNIX_SOCKET, engine_t, transport_t
from cachefleet_server.reactor.connection cimport client_new
from cachefleet_server.reactor.epoll cimport close

cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        unsigned short sa_family
    cdef struct sockaddr_storage:
        pass
    int accept4(int fd, sockaddr* address, unsigned int* length, int flags)
    enum:
        AF_INET
        AF_INET6
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        in_addr sin_addr
    cdef struct sockaddr_in6:
        in6_addr sin6_addr

cdef const char* MAXCLIENTS = b"-ERR max number of clients reached\r\n"


cdef bint _is_loopback(const sockaddr_storage* address) noexcept nogil:
    cdef uint8_t one[16]
    cdef const uint8_t* ipv4
    if (<const sockaddr*>address).sa_family == AF_INET6:
        memset(one, 0, 16)
        one[15] = 1
        return memcmp((<const sockaddr_in6*>address).sin6_addr.s6_addr, one, 16) == 0
    ipv4 = <const uint8_t*>&(<const sockaddr_in*>address).sin_addr.s_addr  # network order: first byte first
    return (<const sockaddr*>address).sa_family == AF_INET and ipv4[0] == 127


cdef void _refuse(engine_t* e, const transport_t* transport, int fd, const char* text) noexcept nogil:
    if transport.refuse_fn != NULL:
        transport.refuse_fn(fd, text, strlen(text))
    close(fd)
    e.stats.rejected_connections += 1


cdef int accept_clients(
        engine_t* e, const transport_t* transport, int listener, int limit, bint unix_socket,
        const char* denied) noexcept nogil:
    cdef sockaddr_storage address
    cdef unsigned int length
    cdef int fd
    while limit > 0:
        length = sizeof(address)
        fd = accept4(listener, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EAGAIN:
                return 0
            if errno == EINTR or errno == ECONNABORTED or errno == EPROTO:
                continue  # it gave up while it waited
            return errno
        limit -= 1
        if <long long>e.clients.count >= e.params.maxclients:
            _refuse(e, transport, fd, MAXCLIENTS)
        elif denied != NULL and not unix_socket and not _is_loopback(&address):
            _refuse(e, transport, fd, denied)
        elif client_new(e, transport, fd, CLIENT_UNIX_SOCKET if unix_socket else 0) == NULL:
            close(fd)
            e.stats.rejected_connections += 1
    return 0
