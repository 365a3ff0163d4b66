"""A file of data as memory: mapped to be read once from its beginning to its end, larger than memory or not.

Who reads says now and then how far he is, and pages in front of that are given back, so a file costs no memory but
what is being looked at. The bytes are there until mapping_close.
"""

from libc.stdint cimport uint64_t

cdef struct mapping_t:
    const char* base  # NULL: not open, or the file is empty
    uint64_t size
    uint64_t dropped  # bytes whose pages were given back

cdef int mapping_open(mapping_t* m, str path) except -1  # OSError, also for all but regular files (files.py)
cdef void mapping_drop(mapping_t* m, uint64_t upto) noexcept nogil  # what is in front of this is not needed again
cdef void mapping_close(mapping_t* m) noexcept nogil  # idempotent; of one that was zeroed, too
