"""One block of a list: elements in listpack's entry bytes, with room at both ends.

    refs | bytes | capacity | first | count | form | room ... entries ... room
                                                          ^ first    ^ first + bytes

Saving adds a listpack's head and end; nothing else is converted. With room on both sides a push at either end is a
copy of the element alone. A block without room on the side that grows gets a sixteenth of its bytes, from the other
side if half of that is there, else by growing; one that a quarter of is empty gives that back. So each byte is moved
O(1) times, about 16. (Doubling would save 4 ns of 24 a push, but a list of 1000 elements of 10 bytes would have 16
bytes an element, not 12.4.)

Forms: packed; *plain*, one element too large to be packed, bare; either may be compressed by LZF (LB_LZF): then
`bytes` is what it has uncompressed and `capacity` what it has now. What would save less than LB_SAVING bytes stays
raw and remembers that it was tried (LB_TRIED) until it changes.

A block has owners (ds/owners.pxd): lists that share it. All functions with a `place`
need an only owner and an uncompressed packed block, and may move it. Element numbers are walked to from the nearer
end: a mean of 170 steps of 1.6 ns in 8 KB of ten bytes each.

Cost: push, pop amortised O(1); anything inside O(bytes of the block).
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from cachefleet_server.ds.listpack cimport LP_EMPTY, lp_get, lp_item_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    LB_PLAIN = 1  # form
    LB_LZF = 2
    LB_TRIED = 4

    LB_COMPRESS_MIN = 48  # bytes: below, nothing is compressed
    LB_SAVING = 8

cdef struct lblock_t:
    size_t refs  # owners
    size_t bytes  # of the entries, or of the plain element
    size_t capacity  # of data
    uint32_t first  # offset of the first entry
    uint32_t count  # elements
    uint32_t form  # LB_*
    char data[0]

cdef lblock_t* lb_new(heap_t* h, size_t capacity, size_t first) noexcept nogil  # packed, empty
cdef lblock_t* lb_plain(heap_t* h, const char* p, size_t n) noexcept nogil
cdef lblock_t* lb_copy(heap_t* h, const lblock_t* b) noexcept nogil  # of any form
cdef lblock_t* lb_compressed(heap_t* h, const lblock_t* b) noexcept nogil  # NULL: not worth it
cdef lblock_t* lb_uncompressed(heap_t* h, const lblock_t* b) noexcept nogil
    # NULL only if the bytes were corrupt, which no block that lb_compressed made is.

cdef const char* lb_at(const lblock_t* b, size_t i) noexcept nogil
    # Entry i of an uncompressed packed block; i == count is the end of the last.
cdef void lb_insert(heap_t* h, lblock_t** place, size_t offset, const lp_item_t* e, size_t limit) noexcept nogil
    # Before the entry at this offset from the first. The caller knows that `limit` bytes of entries are not exceeded.
cdef void lb_append_entries(
    heap_t* h, lblock_t** place, const char* entries, size_t bytes, size_t count, size_t limit) noexcept nogil
cdef void lb_cut(heap_t* h, lblock_t** place, size_t i, size_t j) noexcept nogil  # removes the entries [i, j)
cdef lblock_t* lb_split(heap_t* h, lblock_t** place, size_t i) noexcept nogil  # takes the entries [i, count) out
cdef void lb_trim(heap_t* h, lblock_t** place, size_t spare) noexcept nogil  # if more than `spare` bytes are unused

cdef void lb_save(const lblock_t* b, char* out) noexcept nogil
    # As a listpack of lb_saved_size bytes. Uncompressed and packed.
cdef size_t lb_listpack_check(const char* p, size_t n, bint* odd) noexcept nogil
    # Elements of untrusted bytes that are a listpack, plus 1; 0: they are none. `odd`: some are lp_entry_is_odd.
cdef int lb_check(heap_t* h, const lblock_t* b) noexcept nogil
    # 0, or the first that is not so. 1: it has an owner; 2: an element; 3: entries within the capacity; 4: plain is
    # one; 5: each entry is valid and not odd; 6: count; 7: compressed bytes expand to that size.

cdef inline const char* lb_begin(const lblock_t* b) noexcept nogil:
    return &b.data[0] + b.first

cdef inline size_t lb_saved_size(const lblock_t* b) noexcept nogil:
    return b.bytes if b.form & LB_PLAIN else b.bytes + LP_EMPTY

cdef inline size_t lb_saving(const lblock_t* b) noexcept nogil:
    """Bytes that compression saves."""
    return b.bytes - b.capacity if b.form & LB_LZF else 0

cdef inline void lb_get(const lblock_t* b, size_t i, lp_item_t* e) noexcept nogil:
    """Element i of an uncompressed block."""
    if b.form & LB_PLAIN:
        e.str = lb_begin(b)
        e.len = b.bytes
    else:
        lp_get(lb_at(b, i), e)
