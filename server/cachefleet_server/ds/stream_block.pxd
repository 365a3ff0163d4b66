"""A block of a stream: entries in a listpack, byte for byte as Valkey has them in memory and in files.

    refs | room | listpack: count, deleted, fields, field ... field, 0, entry ... entry

    entry:   flags, ms, seq, value ... value, size                             with SB_SAME: the fields are the block's
             flags, ms, seq, fields, field, value ... field, value, size

Each word is an element of the listpack. The block's *master* id is that of its first entry when it was made; it lies in
the index, and entries have the differences to it. `size` is how many elements the entry has besides, so that one can
go backwards. A deleted entry stays, with its flag; `count` and `deleted` say how many there are of either kind.

Flags are one byte in any block: 0 to 3. Other numbers may have any of listpack's codes, and back-lengths that of Redis
7.0, so both are read, and change by `sb_set_int`. A block has owners (ds/owners.pxd); what writes needs an only one's,
and may move it. Room grows by doubling up to the limit of a block; `sb_trim` gives it back when the block is full.

Cost: O(1) to append, as to remove an entry once it is found; to find one, a walk through the block.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.intrin cimport cf_load32
from cachefleet_server.ds.listpack cimport lp_back_skip, lp_get, lp_item_t, lp_skip
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    SB_DELETED = 1  # flags of an entry
    SB_SAME = 2  # it has the block's fields
    SB_HEADER = 16

cdef struct sblock_t:
    size_t refs  # owners
    size_t room  # bytes of data
    char data[0]  # a listpack

cdef struct span_t:  # bytes; what begins like this may lie `stride` bytes apart
    const char* ptr
    size_t len

cdef struct shead_t:
    int64_t count
    int64_t deleted
    size_t fields
    const char* names  # the first field
    const char* entries  # the first entry

cdef struct sentry_t:
    sid_t id
    int flags
    size_t fields
    const char* at  # its flags
    const char* body  # its first value, or field

cdef inline size_t sb_bytes(const sblock_t* b) noexcept nogil:
    return cf_load32(&b.data[0])

cdef inline const char* sb_end(const sblock_t* b) noexcept nogil:
    """Behind the last entry."""
    return &b.data[0] + sb_bytes(b) - 1

cdef inline const char* sb_next(const char* p) noexcept nogil:
    """The element behind the one at p."""
    cdef size_t n = lp_skip(p)
    return p + n + lp_back_skip(p + n, n)

cdef inline const char* sb_item(const char* p, lp_item_t* out) noexcept nogil:
    """The element at p; returns the next."""
    cdef size_t n = lp_get(p, out)
    return p + n + lp_back_skip(p + n, n)

cdef sblock_t* sb_new(heap_t* h, const char* args, size_t stride, size_t fields, size_t room) noexcept nogil
    # Without entries, with the fields of these arguments: field, value, field, value ...
cdef sblock_t* sb_of(heap_t* h, const char* p, size_t n) noexcept nogil  # of a listpack's bytes
cdef sblock_t* sb_own(heap_t* h, sblock_t** place) noexcept nogil  # a copy takes its place if it has several owners
cdef void sb_trim(heap_t* h, sblock_t** place) noexcept nogil

cdef void sb_head(const sblock_t* b, shead_t* out) noexcept nogil
cdef bint sb_same_fields(const shead_t* head, const char* args, size_t stride, size_t fields) noexcept nogil
cdef size_t sb_room_for(const char* args, size_t stride, size_t fields) noexcept nogil
    # Bytes, at most, of an entry of these arguments.
cdef void sb_append(
    heap_t* h, sblock_t** place, const sid_t* difference, const char* args, size_t stride, size_t fields, bint same,
    size_t limit) noexcept nogil
    # The count is the caller's to set. Room grows to `limit` by doubling.
cdef void sb_counts(heap_t* h, sblock_t** place, int64_t count, int64_t deleted) noexcept nogil
    # Says how many entries there are, and how many deleted ones; what pointed into the block is no longer good.

cdef void sb_cut(sblock_t* b, size_t at, size_t elements) noexcept nogil
    # The last entry, at this offset and of so many elements, goes. The counts are the caller's to set.

cdef bint sb_entry(
    const sblock_t* b, const shead_t* head, const sid_t* master, const char* p, sentry_t* out) noexcept nogil
    # The entry at p; false at the end.
cdef const char* sb_entry_end(const sentry_t* e) noexcept nogil  # where the next one begins
cdef const char* sb_entry_before(const shead_t* head, const char* p) noexcept nogil
    # The one that ends at p; NULL: none.

cdef inline void sb_delete(const sentry_t* e) noexcept nogil:
    """Flags it; the counts are the caller's."""
    (<char*>e.at)[0] |= SB_DELETED

cdef bint sb_validate(const char* p, size_t n, const sid_t* master, int64_t* count, sid_t* last) noexcept nogil
    # Are these untrusted bytes a block with this master id? Then its count of entries that are not deleted, and the
    # last id (of any; the master's if there is none). Ids rise from the master on.
