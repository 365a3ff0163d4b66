"""Accounted allocation.

A `heap_t` counts the bytes that one engine holds, as the allocator rounds them (usable size), so
`used_memory` is what the process really pays. Every structure takes its heap as an argument:
several engines in one process are accounted apart. `used` belongs to the engine's thread; a helper
thread that frees uses `zfree_remote`, whose bytes are subtracted on reading.
Out of memory is not an operating error here: the process says so and aborts, as Redis does.
`ztry_malloc` returns NULL instead, for sizes that a client chose.

Small objects (entries) come from slabs (slab.pxd) by functions of their own, because who frees must know: `zsmall_*`.

Large zeroed arrays (hash tables) come from `array_new`: not accounted here, because their pages cost
nothing before they are touched; the owner accounts what it uses.
"""

from libc.stdlib cimport calloc, free, malloc, realloc

from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_atomic_get, cf_likely, cf_unlikely, cf_usable_size
from cachefleet_server.ds.merger cimport merger_t
from cachefleet_server.ds.slab cimport (
    SLAB_MAX, slab_alloc, slab_free, slab_free_remote, slab_page_of, slab_size, slab_t)

cdef struct heap_t:
    size_t used  # bytes allocated less bytes freed on the engine's thread, but for what the slab has given
    size_t freed_remote  # atomic: bytes freed by helper threads
    size_t peak  # updated by heap_used()
    slab_t* slab  # small objects; NULL in a helper's heap, which only frees
    merger_t* merger  # makes huge pages

cdef heap_t* heap_new() noexcept nogil
cdef void heap_free(heap_t* h) noexcept nogil
cdef void heap_cron(heap_t* h) noexcept nogil  # up to 1 ms of upkeep of the slabs
cdef void oom_abort(size_t n) noexcept nogil

cdef void* array_new(size_t n) noexcept nogil
    # n zero bytes, aligned to 64. From ARRAY_MAP_MIN on it is a mapping of its own: creating it takes microseconds
    # at any size, and its pages are zeroed when first touched.
cdef void array_merge(heap_t* h, void* p, size_t n) noexcept nogil
    # The array is in use as a whole from now on: its pages are merged into huge ones, on another thread. Not from the
    # beginning: a fault on a huge page stops the thread for 0.6 ms.
cdef void array_drop(void* p, size_t n, size_t offset) noexcept nogil
    # Bytes before `offset` (a multiple of ARRAY_DROP) are not needed again: gives the last ARRAY_DROP of them back.
cdef void array_free(void* p, size_t n) noexcept nogil  # the same n as in array_new; NULL is fine

cdef enum:
    ARRAY_MAP_MIN = 256 * 1024  # bytes
    ARRAY_DROP = 2 * 1024 * 1024  # bytes; HUGE_PAGE

cdef inline size_t heap_used(heap_t* h) noexcept nogil:
    """Of an engine's heap."""
    cdef size_t n = h.used + h.slab.given - cf_atomic_get(&h.freed_remote)
    if n > h.peak:
        h.peak = n
    return n

cdef inline void* ztry_malloc(heap_t* h, size_t n) noexcept nogil:
    cdef void* p = malloc(n)
    if p != NULL:
        h.used += cf_usable_size(p)
    return p

cdef inline void* zmalloc(heap_t* h, size_t n) noexcept nogil:
    cdef void* p = ztry_malloc(h, n)
    if cf_unlikely(p == NULL):
        oom_abort(n)
    return p

cdef inline void* zcalloc(heap_t* h, size_t n) noexcept nogil:
    cdef void* p = calloc(1, n)
    if cf_unlikely(p == NULL):
        oom_abort(n)
    h.used += cf_usable_size(p)
    return p

cdef inline void* zrealloc(heap_t* h, void* p, size_t n) noexcept nogil:
    cdef size_t before = cf_usable_size(p) if p != NULL else 0
    p = realloc(p, n)
    if cf_unlikely(p == NULL):
        oom_abort(n)
    h.used += cf_usable_size(p) - before
    return p

cdef inline void zfree(heap_t* h, void* p) noexcept nogil:
    if p != NULL:
        h.used -= cf_usable_size(p)
        free(p)

cdef inline void zfree_remote(heap_t* h, void* p) noexcept nogil:
    if p != NULL:
        cf_atomic_add(&h.freed_remote, cf_usable_size(p))
        free(p)

cdef inline void* zsmall_alloc(heap_t* h, size_t n) noexcept nogil:
    """0 < n <= SLAB_MAX bytes, aligned to 8."""
    cdef void* p = slab_alloc(h.slab, n)
    if cf_unlikely(p == NULL):
        oom_abort(n)
    h.slab.given += slab_size(p)
    return p

cdef inline void zsmall_free(heap_t* h, void* p) noexcept nogil:
    """On any thread, with that thread's heap."""
    if cf_likely(slab_page_of(p).slab == h.slab):
        h.slab.given -= slab_size(p)
        slab_free(p)
    else:
        h.used -= slab_size(p)
        slab_free_remote(p)
