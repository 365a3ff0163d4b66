"""Mappings: see mapping.pxd. Advice that a kernel does not know is refused by it and changes nothing."""

from libc.stdint cimport uintptr_t
from posix.mman cimport (
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, madvise, mmap, munmap)

cdef extern from * nogil:
    """
    #include <sys/mman.h>
    #ifndef MADV_COLLAPSE
    #define MADV_COLLAPSE 25
    #endif
    """
    int MADV_COLLAPSE


cdef void* map_aligned(size_t bytes, size_t alignment) noexcept nogil:
    cdef char* p = <char*>mmap(NULL, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    cdef size_t skip
    if p == <char*>MAP_FAILED:
        return NULL
    skip = -<uintptr_t>p & (alignment - 1)
    if skip:
        munmap(p, skip)
    if skip < alignment:
        munmap(p + skip + bytes, alignment - skip)
    return p + skip


cdef void map_free(void* p, size_t bytes) noexcept nogil:
    munmap(p, bytes)


cdef void map_drop(void* p, size_t bytes) noexcept nogil:
    madvise(p, bytes, MADV_DONTNEED)


cdef bint map_collapse(void* p, size_t bytes) noexcept nogil:
    return madvise(p, bytes, MADV_COLLAPSE) == 0
