"""A thread that merges pages into huge ones: tables and slab arenas that have reached their final size.

With huge pages a random access misses the TLB less: GET of 2 M keys takes 10 to 19 % less CPU (docs/performance.md).
The kernel does it by itself only slowly, and doing it on the engine's thread would stop that for 0.6 ms a page, or 4 ms
when other cores are busy. Here it stops only who touches that very page meanwhile.

The queue is a ring of address ranges, not of owners: a range that was unmapped before its turn makes the kernel refuse,
and nothing else. A range that finds the ring full stays as it is. The thread is started by the first range.
"""

cdef struct merger_t

cdef merger_t* merger_new() noexcept nogil  # NULL without memory
cdef void merger_free(merger_t* m) noexcept nogil  # ends the thread, within one page's time; NULL is fine
cdef void merger_add(merger_t* m, void* p, size_t bytes) noexcept nogil  # multiples of HUGE_PAGE are merged
