"""Replies to bytes: RESP2 and RESP3 into a chain of pooled chunks.

An `out_t` is one connection's pending output. Chunks come from a pool that all connections of an
engine share and go back when they are drained, so an idle connection owns none. `bytes` is what has
not been written to the socket yet.

    out_t.head --> [ sent | pending ] --> [ pending ] --> ... --> [ pending | room ] <-- out_t.tail

A pooled chunk is CHUNK_SIZE bytes. What is larger than one gets a chunk of exactly its size, which
is freed when it is drained. A long value is not copied: its bytes lie in a blob (ds/blob.pxd) that the reply owns
with others. A chunk of references holds up to REFS_MAX blobs, each of which is one whole bulk string whose header
is made when it is written, so a reply of a long value takes some 10 bytes. A part of a value is a chunk of its own,
and shared. What follows either goes to a small chunk, so that a pipeline of long values does not take a pooled chunk
for each. `bytes` and `out_memory` count shared bytes like others: the value may be gone from the keyspace, and
then this reply is what holds it.

The functions that nearly every command ends with (bulk strings, small
integers) are inline here: reserve once in the tail, write digits and payload, report once.

`resp` (2 or 3) is an argument where the two protocols differ; in RESP2 maps are flat arrays, sets and
pushes arrays, doubles and big numbers bulk strings, booleans integers, null `$-1` or `*-1`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.intrin cimport cf_likely
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    CHUNK_SIZE = 16384  # bytes of a pooled chunk, header included
    CHUNK_POOL_MAX = 512  # chunks kept free
    ZERO = 48  # the digit
    OUT_PIECES = 126  # of one writev
    OUT_HEADERS = 24 * (OUT_PIECES / 3 + 1)  # bytes: HEADER_MAX (resp/command.pxd) for each reference among them
    OUT_BULK_INLINE_MAX = 999  # bytes; longer bulk strings go through out_bulk_long
    REFS_MAX = 256  # values in a chunk of references
    OUT_SHARE_MIN = 8192  # bytes of a value from which sharing costs less than copying (docs/performance.md)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef struct chunk_t:
    chunk_t* next
    size_t len
    size_t cap  # room behind the struct; len in a shared chunk and in one of references
    char* data  # behind the struct, or in the blob; of references: the blob_t*
    blob_t* blob  # owned with others; NULL unless shared
    uint32_t refs  # blobs, in a chunk of references; 0 in others
    uint32_t refs_cap

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

cdef struct replies_t:  # some of the output: replies, one right behind the other
    uint64_t at
    uint64_t end
    uint64_t count

cdef struct mark_t:  # a place in the output where an aggregate header will be inserted
    chunk_t* chunk  # NULL: the output was empty
    size_t offset

cdef void chunk_pool_init(chunk_pool_t* p, heap_t* heap) noexcept nogil
cdef void chunk_pool_free(chunk_pool_t* p) noexcept nogil
cdef void chunk_pool_trim(chunk_pool_t* p) noexcept nogil  # gives half of the free chunks back; once a second
cdef void out_init(out_t* o, chunk_pool_t* pool) noexcept nogil
cdef void out_clear(out_t* o) noexcept nogil  # drops everything pending
cdef char* out_grow(out_t* o, size_t n) noexcept nogil  # slow path of out_reserve
cdef void out_consume(out_t* o, size_t n) noexcept nogil  # n bytes went to the socket
cdef void out_raw_split(out_t* o, const void* p, size_t n) noexcept nogil  # slow path of out_raw
cdef void out_text(const out_t* o, char* to) noexcept nogil  # all pending bytes: o.bytes of them
cdef void out_move(out_t* dst, out_t* src) noexcept nogil  # appends src's chunks, of which nothing was sent yet
cdef void out_push_text(out_t* o, int resp, const char* p, size_t n) noexcept nogil
    # A push, or its beginning, that is written out in RESP2. It takes room in proportion to what is pending: there may
    # be thousands of receivers who have no chunk yet.
cdef int out_pieces(const out_t* o, iovec* iov, size_t left, char* headers, size_t* total) noexcept nogil
    # What is pending, from the front, as up to OUT_PIECES pieces of `total` bytes, at most `left`; returns how many.
    # `headers` is room for OUT_HEADERS bytes, to which some pieces point.
cdef size_t out_memory(const out_t* o) noexcept nogil  # bytes of the chunks, for client memory and its limits

cdef inline char* out_reserve(out_t* o, size_t n) noexcept nogil:
    """n contiguous writable bytes. The caller fills a prefix and reports it with out_added."""
    if o.tail != NULL and o.tail.cap - o.tail.len >= n:
        return o.tail.data + o.tail.len
    return out_grow(o, n)

cdef inline void out_added(out_t* o, size_t n) noexcept nogil:
    o.tail.len += n
    o.bytes += n

cdef inline void out_raw(out_t* o, const void* p, size_t n) noexcept nogil:
    """Bytes that are RESP already; they may be split over chunks."""
    if cf_likely(o.tail != NULL and o.tail.cap - o.tail.len >= n):
        memcpy(o.tail.data + o.tail.len, p, n)
        out_added(o, n)
    else:
        out_raw_split(o, p, n)

cdef void out_header(out_t* o, char type_byte, int64_t n) noexcept nogil  # type byte, number, CRLF
cdef void out_bulk_long(out_t* o, const void* p, size_t n) noexcept nogil  # out_bulk of any size
cdef void out_bulk_shared(out_t* o, blob_t* blob, const char* p, size_t n) noexcept nogil
    # n > 0 bytes at p, which lie in the blob. Becomes one of its owners.
cdef void out_raw_shared(out_t* o, blob_t* blob, const char* p, size_t n) noexcept nogil
    # The same bytes as they are. What follows the end of the output in its blob costs nothing.
cdef void out_simple(out_t* o, const char* text) noexcept nogil  # "+text\r\n"; text without CR or LF
cdef void out_error(out_t* o, const char* text, size_t n) noexcept nogil  # "-text\r\n"; CR and LF become spaces

cdef inline void out_int(out_t* o, int64_t v) noexcept nogil:
    cdef char* q
    if <uint64_t>v <= 9:  # counts and flags: the replies of DEL, EXISTS, EXPIRE, SETNX ...
        q = out_reserve(o, 4)
        q[0] = b':'
        q[1] = <char>(ZERO + v)
        q[2] = b'\r'
        q[3] = b'\n'
        out_added(o, 4)
    else:
        out_header(o, b':', v)

cdef inline void out_bulk(out_t* o, const void* p, size_t n) noexcept nogil:
    cdef char* start
    cdef char* q
    if n > OUT_BULK_INLINE_MAX:
        out_bulk_long(o, p, n)
        return
    start = out_reserve(o, n + 8)  # '$', three digits, twice CRLF
    q = start
    q[0] = b'$'
    q += 1
    if n >= 10:
        if n >= 100:
            q[0] = <char>(ZERO + n // 100)
            q += 1
        q[0] = <char>(ZERO + n // 10 % 10)
        q += 1
    q[0] = <char>(ZERO + n % 10)
    q[1] = b'\r'
    q[2] = b'\n'
    q += 3
    if n:  # an empty value may be NULL
        memcpy(q, p, n)
        q += n
    q[0] = b'\r'
    q[1] = b'\n'
    out_added(o, q + 2 - start)

cdef inline void out_null(out_t* o, int resp) noexcept nogil:  # "$-1" or "_"
    if resp == 3:
        out_raw(o, b"_\r\n", 3)
    else:
        out_raw(o, b"$-1\r\n", 5)

cdef inline void out_null_array(out_t* o, int resp) noexcept nogil:  # "*-1" or "_"
    if resp == 3:
        out_raw(o, b"_\r\n", 3)
    else:
        out_raw(o, b"*-1\r\n", 5)

cdef void out_bool(out_t* o, int resp, bint v) noexcept nogil
cdef void out_double(out_t* o, int resp, double v) noexcept nogil
cdef void out_bignum(out_t* o, int resp, const char* p, size_t n) noexcept nogil
cdef void out_verbatim(out_t* o, int resp, const char* format3, const char* p, size_t n) noexcept nogil
cdef void out_array(out_t* o, int64_t n) noexcept nogil
cdef void out_map(out_t* o, int resp, int64_t pairs) noexcept nogil
cdef void out_set(out_t* o, int resp, int64_t n) noexcept nogil
cdef void out_push(out_t* o, int resp, int64_t n) noexcept nogil
cdef void out_attribute(out_t* o, int64_t pairs) noexcept nogil  # RESP3 only

# Aggregates whose length is known only afterwards: mark, write the elements, then insert the header. Marks nest;
# the inner header is inserted before the outer one. Nothing may be consumed while a mark is in use.
cdef mark_t out_mark(out_t* o) noexcept nogil
cdef void out_insert(out_t* o, mark_t m, char type_byte, int64_t n) noexcept nogil  # type_byte: '*', '%', '~', '>'
cdef void out_truncate(out_t* o, mark_t m) noexcept nogil  # drops everything written since the mark
cdef uint64_t out_replace_by_errors(
    out_t* o, uint64_t base, const replies_t* runs, size_t n, const char* text, size_t len) noexcept nogil
    # Each of the replies in these n runs, which rise, becomes the error `text`; the first byte that is pending has the
    # number `base`. Returns by how much what lies behind the last run has moved, as an unsigned number that wraps.
cdef int out_check(const out_t* o) noexcept nogil  # 0 when chain, lengths and `bytes` agree
