"""Intsets: a sorted array of different integers, all as wide as the widest needs. In memory as in RDB files and DUMP.

    +-----------+-----------+----------------------------+
    | width u32 | count u32 | count integers, ascending  |     width 2, 4 or 8 bytes; little-endian
    +-----------+-----------+----------------------------+

Finding is O(log n), a change O(n) (one memmove). The first integer that needs more bytes makes all of them wider; none
makes them narrower again, as in Redis.

An intset lies in memory of its owner's, who knows its length. A change is planned (what it will be, and the new
length), then the owner makes room, then it is committed:

    n = intset_plan_add(data, v, &edit)   # or intset_plan_remove
    grow to n bytes, if that is more      # may move the data
    intset_commit(data, &edit)
    shrink to n bytes, if that is less

Between plan and commit the content must stay. Limit: INTSET_MAX integers; the caller's limit is far below.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

from cachefleet_server.ds.intrin cimport cf_load16, cf_load32, cf_load64

cdef enum:
    INTSET_HEADER = 8
    INTSET_MAX = 1 << 26  # integers: half a gigabyte of them

cdef struct intset_edit_t:
    size_t len  # afterwards
    int64_t value
    uint32_t at  # index where it is put, or from which it is removed
    uint32_t width  # afterwards
    bint remove

cdef inline uint32_t intset_width(const char* p) noexcept nogil:
    return cf_load32(p)

cdef inline uint32_t intset_count(const char* p) noexcept nogil:
    return cf_load32(p + 4)

cdef inline size_t intset_len(const char* p) noexcept nogil:
    """Bytes in all."""
    return INTSET_HEADER + <size_t>intset_count(p) * intset_width(p)

cdef inline int64_t intset_load(const char* p, uint32_t i, uint32_t width) noexcept nogil:
    p += INTSET_HEADER
    if width == 2:
        return <int16_t>cf_load16(p + <size_t>i * 2)
    if width == 4:
        return <int32_t>cf_load32(p + <size_t>i * 4)
    return <int64_t>cf_load64(p + <size_t>i * 8)

cdef inline int64_t intset_at(const char* p, uint32_t i) noexcept nogil:
    """The integer at an index below the count; a random index makes it a random one."""
    return intset_load(p, i, intset_width(p))

cdef void intset_init(char* p) noexcept nogil  # an empty one: INTSET_HEADER bytes
cdef bint intset_find(const char* p, int64_t v, uint32_t* at) noexcept nogil
    # Whether it is there, and the index where it is or would be.
cdef size_t intset_plan_add(const char* p, int64_t v, intset_edit_t* edit) noexcept nogil
    # The new length; 0: it is there already, or nothing more fits in.
cdef size_t intset_plan_remove(const char* p, int64_t v, intset_edit_t* edit) noexcept nogil  # 0: it is not there
cdef size_t intset_plan_remove_at(const char* p, uint32_t at, intset_edit_t* edit) noexcept nogil  # at < count
cdef void intset_commit(char* p, const intset_edit_t* edit) noexcept nogil

# Many at once, as ascending arrays of different integers.
cdef void intset_read(const char* p, int64_t* out) noexcept nogil  # all of them
cdef size_t integers_merge(
    const int64_t* a, size_t n, const int64_t* b, size_t m, int64_t* out) noexcept nogil
    # Those of two arrays, and how many they are: `out` has room for n + m, and lies in neither.
cdef size_t intset_write(char* p, const int64_t* v, size_t n) noexcept nogil
    # Makes an intset of 0 < n <= INTSET_MAX integers, as wide as they need: its length, at most INTSET_HEADER + 8 n.

cdef bint intset_validate(const char* p, size_t n, size_t* fault) noexcept nogil
    # Are these untrusted bytes an intset that is not empty? Else `fault` is the offset of what is wrong.
cdef int intset_check(const char* p, size_t n) noexcept nogil
    # 0, or: 1 length, 2 width, 3 count, 4 order.
