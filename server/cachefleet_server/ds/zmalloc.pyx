"""The few functions of the accounted allocator that are not inline; see zmalloc.pxd."""

from libc.stdint cimport uintptr_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport memset

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    int madvise(void* addr, size_t length, int advice)
    int PROT_READ
    int PROT_WRITE
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MADV_DONTNEED
    int MADV_HUGEPAGE
    void* MAP_FAILED

cdef extern from * nogil:
    """
    #ifndef MADV_COLLAPSE
    #define MADV_COLLAPSE 25 /* Linux 6.1; older ones refuse it */
    #endif
    """
    int MADV_COLLAPSE

cdef enum:
    PAGE_BYTES_MAX = 64 * 1024  # mappings are sized in this unit: at least a page on every platform


cdef heap_t* heap_new() noexcept nogil:
    cdef heap_t* h = <heap_t*>calloc(1, sizeof(heap_t))
    if h == NULL:
        oom_abort(sizeof(heap_t))
    return h


cdef void heap_free(heap_t* h) noexcept nogil:
    free(h)


cdef void oom_abort(size_t n) noexcept nogil:
    fprintf(stderr, "Out of memory allocating %zu bytes\n", n)
    abort()


cdef inline size_t _map_bytes(size_t n) noexcept nogil:
    return (n + PAGE_BYTES_MAX - 1) & ~<size_t>(PAGE_BYTES_MAX - 1)


cdef void* array_new(size_t n) noexcept nogil:
    cdef void* p
    cdef size_t bytes, slack, skip
    if n < ARRAY_MAP_MIN:
        p = aligned_alloc(64, (n + 63) & ~<size_t>63)
        if p == NULL:
            oom_abort(n)
        memset(p, 0, n)
        return p
    bytes = _map_bytes(n)
    slack = ARRAY_DROP if bytes >= ARRAY_DROP else 0  # so that huge pages fit from the first byte on
    p = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if p == MAP_FAILED:
        oom_abort(n)
    if slack:
        skip = -<uintptr_t>p & (ARRAY_DROP - 1)
        if skip:
            munmap(p, skip)
            p = <char*>p + skip
        munmap(<char*>p + bytes, slack - skip)
    return p


cdef void array_settle(void* p, size_t n) noexcept nogil:
    if n >= ARRAY_DROP:
        madvise(p, _map_bytes(n), MADV_HUGEPAGE)


cdef bint array_collapse(void* p, size_t n, size_t offset) noexcept nogil:
    return offset + ARRAY_DROP <= n and madvise(<char*>p + offset, ARRAY_DROP, MADV_COLLAPSE) == 0


cdef void array_drop(void* p, size_t n, size_t offset) noexcept nogil:
    if n >= ARRAY_MAP_MIN and offset >= ARRAY_DROP:
        madvise(<char*>p + offset - ARRAY_DROP, ARRAY_DROP, MADV_DONTNEED)


cdef void array_free(void* p, size_t n) noexcept nogil:
    if p == NULL:
        return
    if n < ARRAY_MAP_MIN:
        free(p)
    else:
        munmap(p, _map_bytes(n))
