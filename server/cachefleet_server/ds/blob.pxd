"""Long strings that have several owners (ds/owners.pxd): a count and the bytes, in one allocation.

The value of a long string is a blob. A reply that sends it owns the same blob until the socket has taken it, a
snapshot until its writer thread has written it.
"""

from cachefleet_server.ds.zmalloc cimport heap_t, zmalloc

cdef struct blob_t:
    size_t refs  # owners
    size_t len
    char data[0]

cdef inline blob_t* blob_new(heap_t* h, size_t capacity) noexcept nogil:
    """One owner, no content: the caller sets len and bytes."""
    cdef blob_t* b = <blob_t*>zmalloc(h, sizeof(blob_t) + capacity)
    b.refs = 1
    return b
