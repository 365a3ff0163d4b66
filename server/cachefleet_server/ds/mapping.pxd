"""Memory straight from the kernel: aligned mappings, giving pages back, huge pages."""

cdef enum:
    HUGE_PAGE = 2 * 1024 * 1024

cdef void* map_aligned(size_t bytes, size_t alignment) noexcept nogil
    # Zero bytes, a multiple of the largest page size in use (64 KB); NULL without memory. Costs microseconds at any
    # size: pages come to be when they are touched.
cdef void map_free(void* p, size_t bytes) noexcept nogil
cdef void map_drop(void* p, size_t bytes) noexcept nogil  # gives the pages back; they are zero when touched again
cdef bint map_collapse(void* p, size_t bytes) noexcept nogil
    # Merges pages into huge ones now, 0.3 ms each; false where the kernel cannot (before Linux 6.1).
