"""Checking of the ordered index in tests and debug commands; the invariants are listed in the .pyx."""

from cachefleet_server.ds.bt_node cimport btree_t

cdef int bt_check(btree_t* t) noexcept nogil  # 0, or the number of the first broken invariant; O(n)
