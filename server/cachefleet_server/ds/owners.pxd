"""Owners of an allocation: its first word counts them, and the last one to let go frees it.

What is shared so (blobs, blocks of lists, and as a rule every payload of an entry: core/types.pxd) must not change
while it has several owners: who wants to write makes a copy first. Owners may be on several threads, since a flushed
database is freed on a helper thread while replies still send values of it; the count is atomic. Nobody can become an
owner of what only helpers hold. The bytes are accounted once, on the heap of whoever lets go last.
"""

from cachefleet_server.ds.intrin cimport cf_ref_add, cf_ref_drop, cf_ref_get
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zfree_remote

cdef inline bint is_shared(const void* p) noexcept nogil:
    """It has more than one owner."""
    return cf_ref_get(<const size_t*>p) > 1

cdef inline void owner_add(void* p) noexcept nogil:
    cf_ref_add(<size_t*>p)

cdef inline void owner_drop(heap_t* h, void* p) noexcept nogil:
    """With the heap of the thread that runs. NULL is fine."""
    if p != NULL and cf_ref_drop(<size_t*>p):
        zfree(h, p)

cdef inline void owner_drop_remote(heap_t* h, void* p) noexcept nogil:
    """On a helper thread, with the heap of another."""
    if p != NULL and cf_ref_drop(<size_t*>p):
        zfree_remote(h, p)
