"""A file of data as memory; see mapping.pxd."""

import os

from posix.mman cimport MADV_DONTNEED, MADV_SEQUENTIAL, MAP_FAILED, MAP_PRIVATE, PROT_READ, madvise, mmap, munmap
from posix.unistd cimport close

from cachefleet_server.files import open_regular

cdef enum:
    DROP_EVERY = 33554432  # bytes after which pages are given back
    PAGE = 65536  # bytes; the largest that a machine has


cdef int mapping_open(mapping_t* m, str path) except -1:
    cdef void* base
    cdef int fd = open_regular(path, os.O_RDONLY)
    m.base = NULL
    m.size = m.dropped = 0
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            return 0
        base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
    finally:
        close(fd)
    if base == MAP_FAILED:
        raise OSError(f"cannot map {path} into memory")
    madvise(base, size, MADV_SEQUENTIAL)
    m.base = <const char*>base
    m.size = size
    return 0


cdef void mapping_drop(mapping_t* m, uint64_t upto) noexcept nogil:
    upto &= ~<uint64_t>(PAGE - 1)
    if upto >= m.dropped + DROP_EVERY:
        madvise(<void*>(m.base + m.dropped), upto - m.dropped, MADV_DONTNEED)
        m.dropped = upto


cdef void mapping_close(mapping_t* m) noexcept nogil:
    if m.base != NULL:
        munmap(<void*>m.base, m.size)
        m.base = NULL
