"""The invariants of a sequence; of tests and DEBUG alone.

0, or 1 owners; 2 ends (no head only without elements, no tail only without a tree, ends uncompressed);
3 counts of slots; 4 levels, capacity; 5 two small neighbours below one node; 6 limits of a block; 7 len, bytes,
blocks, saved; 8 compression by depth; 10 + n: lb_check says n.
"""

from cachefleet_server.ds.seq_tree cimport seq_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef int seq_check(heap_t* h, const seq_t* s) noexcept nogil
