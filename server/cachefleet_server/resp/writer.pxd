"""Replies to bytes: RESP2 and RESP3 into a chain of pooled chunks.

An `out_t` is one connection's pending output. Chunks come from a pool that all connections of an
engine share and go back when they are drained, so an idle connection owns none. `bytes` is what has
not been written to the socket yet.

`resp` (2 or 3) is an argument where the two protocols differ; in RESP2 maps are flat arrays, sets and
pushes arrays, doubles and big numbers bulk strings, booleans integers, null `$-1` or `*-1`.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    CHUNK_SIZE = 16384  # bytes of a pooled chunk, header included
    CHUNK_POOL_MAX = 512  # chunks kept free

cdef struct chunk_t:
    chunk_t* next
    size_t len
    size_t cap
    char data[0]

cdef struct chunk_pool_t:
    heap_t* heap
    chunk_t* free
    size_t free_count

cdef struct out_t:
    chunk_pool_t* pool
    chunk_t* head
    chunk_t* tail
    size_t sent  # bytes of head already written to the socket
    size_t bytes  # bytes pending in all chunks

cdef struct mark_t:  # a place in the output where an aggregate header will be inserted
    chunk_t* chunk
    size_t offset

cdef void chunk_pool_init(chunk_pool_t* p, heap_t* heap) noexcept nogil
cdef void chunk_pool_free(chunk_pool_t* p) noexcept nogil
cdef void out_init(out_t* o, chunk_pool_t* pool) noexcept nogil
cdef void out_clear(out_t* o) noexcept nogil  # drops everything pending
cdef char* out_grow(out_t* o, size_t n) noexcept nogil  # slow path of out_reserve
cdef void out_consume(out_t* o, size_t n) noexcept nogil  # n bytes went to the socket
cdef void out_raw(out_t* o, const void* p, size_t n) noexcept nogil
cdef void out_copy(out_t* dst, const out_t* src) noexcept nogil

cdef inline char* out_reserve(out_t* o, size_t n) noexcept nogil:
    """n contiguous writable bytes. The caller fills a prefix and reports it with out_added."""
    if o.tail != NULL and o.tail.cap - o.tail.len >= n:
        return &o.tail.data[0] + o.tail.len
    return out_grow(o, n)

cdef inline void out_added(out_t* o, size_t n) noexcept nogil:
    o.tail.len += n
    o.bytes += n

cdef void out_simple(out_t* o, const char* text) noexcept nogil  # "+text\r\n"; text without CR or LF
cdef void out_error(out_t* o, const char* text, size_t n) noexcept nogil  # "-text\r\n"; CR and LF become spaces
cdef void out_int(out_t* o, int64_t v) noexcept nogil
cdef void out_bulk(out_t* o, const void* p, size_t n) noexcept nogil
cdef void out_null(out_t* o, int resp) noexcept nogil  # "$-1" or "_"
cdef void out_null_array(out_t* o, int resp) noexcept nogil  # "*-1" or "_"
cdef void out_bool(out_t* o, int resp, bint v) noexcept nogil
cdef void out_double(out_t* o, int resp, double v) noexcept nogil
cdef void out_bignum(out_t* o, int resp, const char* p, size_t n) noexcept nogil
cdef void out_verbatim(out_t* o, int resp, const char* format3, const char* p, size_t n) noexcept nogil
cdef void out_array(out_t* o, int64_t n) noexcept nogil
cdef void out_map(out_t* o, int resp, int64_t pairs) noexcept nogil
cdef void out_set(out_t* o, int resp, int64_t n) noexcept nogil
cdef void out_push(out_t* o, int resp, int64_t n) noexcept nogil
cdef void out_attribute(out_t* o, int64_t pairs) noexcept nogil  # RESP3 only

# Aggregates whose length is known only afterwards: mark, write the elements, then insert the header.
cdef mark_t out_mark(out_t* o) noexcept nogil
cdef void out_insert(out_t* o, mark_t m, char type_byte, int64_t n) noexcept nogil  # type_byte: '*', '%', '~', '>'
cdef void out_truncate(out_t* o, mark_t m) noexcept nogil  # drops everything written since the mark
cdef int out_check(const out_t* o) noexcept nogil  # 0 when chain, lengths and `bytes` agree
