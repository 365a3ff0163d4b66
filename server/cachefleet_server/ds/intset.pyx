"""Intsets; see intset.pxd."""

from libc.string cimport memcpy, memmove

from cachefleet_server.ds.intrin cimport cf_assert, cf_store16, cf_store32, cf_store64


cdef inline uint32_t _width_of(int64_t v) noexcept nogil:
    if -0x8000 <= v <= 0x7FFF:
        return 2
    return 4 if -0x80000000LL <= v <= 0x7FFFFFFFLL else 8


cdef inline void _store(char* p, size_t i, uint32_t width, int64_t v) noexcept nogil:
    p += INTSET_HEADER + i * width
    if width == 2:
        cf_store16(p, v & 0xFFFF)
    elif width == 4:
        cf_store32(p, v & <int64_t>0xFFFFFFFF)
    else:
        cf_store64(p, v)


cdef void intset_init(char* p) noexcept nogil:
    cf_store32(p, 2)
    cf_store32(p + 4, 0)


cdef bint intset_find(const char* p, int64_t v, uint32_t* at) noexcept nogil:
    """Without a branch that depends on what is compared: of 100 integers, half of seven would be mispredicted."""
    cdef uint32_t width = intset_width(p)
    cdef uint32_t n = intset_count(p)
    cdef uint32_t left = n
    cdef uint32_t low = 0
    cdef uint32_t half
    if n == 0 or v > intset_load(p, n - 1, width):  # ascending input is common
        at[0] = n
        return False
    while left > 1:
        half = left >> 1
        low += half & (0 - <uint32_t>(intset_load(p, low + half - 1, width) < v))
        left -= half
    low += intset_load(p, low, width) < v
    at[0] = low
    return intset_load(p, low, width) == v


cdef size_t intset_plan_add(const char* p, int64_t v, intset_edit_t* edit) noexcept nogil:
    if intset_find(p, v, &edit.at) or intset_count(p) >= INTSET_MAX:
        return 0
    edit.remove = False
    edit.value = v
    edit.width = max(intset_width(p), _width_of(v))
    edit.len = INTSET_HEADER + (<size_t>intset_count(p) + 1) * edit.width
    return edit.len


cdef size_t intset_plan_remove_at(const char* p, uint32_t at, intset_edit_t* edit) noexcept nogil:
    edit.remove = True
    edit.value = 0
    edit.at = at
    edit.width = intset_width(p)
    edit.len = intset_len(p) - edit.width
    return edit.len


cdef size_t intset_plan_remove(const char* p, int64_t v, intset_edit_t* edit) noexcept nogil:
    cdef uint32_t at
    if not intset_find(p, v, &at):
        return 0
    return intset_plan_remove_at(p, at, edit)


cdef void intset_commit(char* p, const intset_edit_t* edit) noexcept nogil:
    cdef uint32_t width = intset_width(p)
    cdef size_t count = intset_count(p)
    cdef char* place = p + INTSET_HEADER + <size_t>edit.at * width
    cdef size_t i = count
    if edit.remove:
        memmove(place, place + width, (count - edit.at - 1) * width)
        cf_store32(p + 4, <uint32_t>(count - 1))
        return
    if width == edit.width:
        memmove(place + width, place, (count - edit.at) * width)
    else:  # from the end on, since each goes farther than it was
        while i > 0:
            i -= 1
            _store(p, i + (i >= edit.at), edit.width, intset_load(p, <uint32_t>i, width))
        cf_store32(p, edit.width)
    _store(p, edit.at, edit.width, edit.value)
    cf_store32(p + 4, <uint32_t>(count + 1))


cdef void intset_read(const char* p, int64_t* out) noexcept nogil:
    cdef uint32_t width = intset_width(p)
    cdef uint32_t i
    for i in range(intset_count(p)):
        out[i] = intset_load(p, i, width)


cdef size_t integers_merge(
    const int64_t* a, size_t n, const int64_t* b, size_t m, int64_t* out
) noexcept nogil:
    """Without a branch that depends on what is compared, as intset_find."""
    cdef const int64_t* a_end = a + n
    cdef const int64_t* b_end = b + m
    cdef int64_t* to = out
    cdef int64_t x, y
    while a < a_end and b < b_end:
        x = a[0]
        y = b[0]
        to[0] = x if x < y else y
        to += 1
        a += x <= y
        b += y <= x
    memcpy(to, a, (a_end - a) * sizeof(int64_t))
    to += a_end - a
    memcpy(to, b, (b_end - b) * sizeof(int64_t))
    to += b_end - b
    return to - out


cdef size_t intset_write(char* p, const int64_t* v, size_t n) noexcept nogil:
    cf_assert(n > 0)
    cdef uint32_t width = max(_width_of(v[0]), _width_of(v[n - 1]))
    cdef size_t i
    cf_store32(p, width)
    cf_store32(p + 4, <uint32_t>n)
    for i in range(n):
        _store(p, i, width, v[i])
    return intset_len(p)


cdef bint intset_validate(const char* p, size_t n, size_t* fault) noexcept nogil:
    cdef uint32_t width, i, count
    fault[0] = 0
    if n < INTSET_HEADER:
        return False
    width = intset_width(p)
    count = intset_count(p)
    if width != 2 and width != 4 and width != 8:
        return False
    fault[0] = 4
    if count == 0 or (n - INTSET_HEADER) / width != count or (n - INTSET_HEADER) % width:
        return False
    for i in range(1, count):
        if intset_load(p, i - 1, width) >= intset_load(p, i, width):
            fault[0] = INTSET_HEADER + <size_t>i * width
            return False
    return True


cdef int intset_check(const char* p, size_t n) noexcept nogil:
    cdef size_t fault
    if n < INTSET_HEADER:
        return 1
    if n == INTSET_HEADER:
        return 0 if intset_count(p) == 0 else 3
    if intset_validate(p, n, &fault):
        return 0
    return 2 if fault == 0 else 3 if fault == 4 else 4
