"""The few functions of the accounted allocator that are not inline; see zmalloc.pxd."""

from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort


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
