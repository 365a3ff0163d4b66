"""Long strings that have several owners: a count and the bytes, in one allocation.

The value of a long string is a blob. A reply that sends it owns the same blob until the socket has taken it, a
snapshot until its writer thread has written it. So a blob with more than one owner must not change: `blob_is_shared`
says when a writer needs a copy of its own. The bytes are accounted once, on the heap of whoever lets go last.

The owners may be on several threads, since a flushed database is freed on a helper thread while replies still send
values of it; the count is atomic. Nobody can become an owner of a blob that only helpers hold.
"""

from cachefleet_server.ds.intrin cimport cf_ref_add, cf_ref_drop, cf_ref_get
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zfree_remote, zmalloc

cdef struct blob_t:
    size_t refs  # owners; only the functions below change it. The first word, as in every payload (core/types.pxd)
    size_t len
    char data[0]

cdef inline blob_t* blob_new(heap_t* h, size_t capacity) noexcept nogil:
    """One owner, no content: the caller sets len and bytes."""
    cdef blob_t* b = <blob_t*>zmalloc(h, sizeof(blob_t) + capacity)
    b.refs = 1
    return b

cdef inline bint blob_is_shared(const blob_t* b) noexcept nogil:
    return cf_ref_get(&b.refs) > 1

cdef inline blob_t* blob_share(blob_t* b) noexcept nogil:
    """One more owner."""
    cf_ref_add(&b.refs)
    return b

cdef inline void blob_release(heap_t* h, blob_t* b) noexcept nogil:
    """One owner less; the last one frees. NULL is fine."""
    if b != NULL and cf_ref_drop(&b.refs):
        zfree(h, b)

cdef inline void blob_release_remote(heap_t* h, blob_t* b) noexcept nogil:
    """The same on a helper thread."""
    if b != NULL and cf_ref_drop(&b.refs):
        zfree_remote(h, b)
