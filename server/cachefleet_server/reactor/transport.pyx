"""The plain transport: the socket itself; see transport.pxd."""

from libc.errno cimport EAGAIN, EINTR, errno

from cachefleet_server.core.engine cimport TRANSPORT_ERROR, TRANSPORT_WANT_READ, TRANSPORT_WANT_WRITE, client_t
from cachefleet_server.reactor.epoll cimport read, write, writev
from cachefleet_server.resp.writer cimport iovec

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void* p, size_t n, int flags)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL


cdef ssize_t _read(client_t* c, char* to, size_t n) noexcept nogil:
    cdef ssize_t done = read(c.fd, to, n)
    while done < 0 and errno == EINTR:
        done = read(c.fd, to, n)
    if done >= 0:
        return done
    return TRANSPORT_WANT_READ if errno == EAGAIN else TRANSPORT_ERROR


cdef inline ssize_t _written(ssize_t done) noexcept nogil:
    if done >= 0:
        return done
    return TRANSPORT_WANT_WRITE if errno == EAGAIN else TRANSPORT_ERROR


cdef ssize_t _write(client_t* c, const char* p, size_t n) noexcept nogil:
    cdef ssize_t done = write(c.fd, p, n)
    while done < 0 and errno == EINTR:
        done = write(c.fd, p, n)
    return _written(done)


cdef ssize_t _writev(client_t* c, const iovec* iov, int count) noexcept nogil:
    cdef ssize_t done = writev(c.fd, iov, count)
    while done < 0 and errno == EINTR:
        done = writev(c.fd, iov, count)
    return _written(done)


cdef void _refuse(int fd, const char* text, size_t n) noexcept nogil:
    """One write that may be lost: the peer may have sent a request that we never read, so that the kernel answers the
    close with a reset, which can overtake the text; Redis has the same."""
    send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef transport_t PLAIN  # constant after import
PLAIN.name = b"plain"
PLAIN.read_fn = _read
PLAIN.write_fn = _write
PLAIN.writev_fn = _writev
PLAIN.unread_fn = NULL
PLAIN.close_fn = NULL
PLAIN.refuse_fn = _refuse


cdef const transport_t* plain_transport() noexcept nogil:
    return &PLAIN
