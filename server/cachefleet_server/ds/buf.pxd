"""Growing byte buffer: the journal, serialised values, text being built.

`data[0:len]` is content; capacity doubles, so appending is amortised O(1). The owner calls
`buf_free`. `buf_take` hands the memory to the caller.
"""

from libc.string cimport memcpy

from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zmalloc, zrealloc

cdef struct buf_t:
    heap_t* heap
    char* data
    size_t len
    size_t cap

cdef inline void buf_init(buf_t* b, heap_t* heap) noexcept nogil:
    b.heap = heap
    b.data = NULL
    b.len = 0
    b.cap = 0

cdef inline void buf_free(buf_t* b) noexcept nogil:
    zfree(b.heap, b.data)
    b.data = NULL
    b.len = 0
    b.cap = 0

cdef inline char* buf_reserve(buf_t* b, size_t n) noexcept nogil:
    """Room for n more bytes; returns where they go. The caller adds to b.len."""
    cdef size_t need = b.len + n
    if need > b.cap:
        b.cap = need if need > 2 * b.cap else 2 * b.cap
        if b.cap < 64:
            b.cap = 64
        b.data = <char*>zrealloc(b.heap, b.data, b.cap)
    return b.data + b.len

cdef inline void buf_put(buf_t* b, const void* p, size_t n) noexcept nogil:
    if n:
        memcpy(buf_reserve(b, n), p, n)
        b.len += n

cdef inline void buf_putc(buf_t* b, unsigned char c) noexcept nogil:
    buf_reserve(b, 1)[0] = c
    b.len += 1
