"""The few functions of the accounted allocator that are not inline; see zmalloc.pxd."""

from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport memset

from cachefleet_server.ds.intrin cimport cf_monotonic_us
from cachefleet_server.ds.mapping cimport HUGE_PAGE, map_aligned, map_drop, map_free
from cachefleet_server.ds.merger cimport merger_add, merger_free, merger_new
from cachefleet_server.ds.slab cimport slab_cron, slab_destroy, slab_new

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef enum:
    CRON_US = 1000
    PAGE_BYTES_MAX = 64 * 1024  # mappings are sized in this unit: at least a page on every platform


cdef heap_t* heap_new() noexcept nogil:
    cdef heap_t* h = <heap_t*>calloc(1, sizeof(heap_t))
    if h == NULL:
        oom_abort(sizeof(heap_t))
    h.merger = merger_new()
    h.slab = slab_new(h.merger)
    if h.merger == NULL or h.slab == NULL:
        oom_abort(sizeof(slab_t))
    return h


cdef void heap_free(heap_t* h) noexcept nogil:
    merger_free(h.merger)
    slab_destroy(h.slab)
    free(h)


cdef void heap_cron(heap_t* h) noexcept nogil:
    slab_cron(h.slab, cf_monotonic_us() + CRON_US)


cdef void oom_abort(size_t n) noexcept nogil:
    fprintf(stderr, "Out of memory allocating %zu bytes\n", n)
    abort()


cdef inline size_t _map_bytes(size_t n) noexcept nogil:
    return (n + PAGE_BYTES_MAX - 1) & ~<size_t>(PAGE_BYTES_MAX - 1)


cdef void* array_new(size_t n) noexcept nogil:
    cdef void* p
    cdef size_t bytes
    if n < ARRAY_MAP_MIN:
        p = aligned_alloc(64, (n + 63) & ~<size_t>63)
        if p == NULL:
            oom_abort(n)
        memset(p, 0, n)
        return p
    bytes = _map_bytes(n)
    p = map_aligned(bytes, HUGE_PAGE if bytes >= HUGE_PAGE else PAGE_BYTES_MAX)
    if p == NULL:
        oom_abort(n)
    return p


cdef void array_merge(heap_t* h, void* p, size_t n) noexcept nogil:
    if n >= HUGE_PAGE:
        merger_add(h.merger, p, n)


cdef void array_drop(void* p, size_t n, size_t offset) noexcept nogil:
    if n >= ARRAY_MAP_MIN and offset >= ARRAY_DROP:
        map_drop(<char*>p + offset - ARRAY_DROP, ARRAY_DROP)


cdef void array_free(void* p, size_t n) noexcept nogil:
    if p == NULL:
        return
    if n < ARRAY_MAP_MIN:
        free(p)
    else:
        map_free(p, _map_bytes(n))
