"""Checks a pack: for tests, debug builds and what came from outside. The invariants are listed in pack.pxd."""

cdef int pack_check(const char* data, size_t len) noexcept nogil
    # 0, or the number of the first invariant that is broken. Reads nothing outside, whatever the bytes are. O(n log n)
    # for tags that differ; more, where many are equal.
