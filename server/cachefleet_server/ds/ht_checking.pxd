"""The invariants of a hash table, for tests and for Engine.check()."""

from cachefleet_server.ds.hashtable cimport hashtable_t

cdef int ht_check(hashtable_t* t) noexcept nogil  # 0, or the number of the first broken invariant (see .pyx); O(n)
