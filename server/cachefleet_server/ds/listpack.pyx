"""Listpacks; see listpack.pxd. Functions that are called once a listpack or once an entry of a whole walk."""

from cachefleet_server.ds.buf cimport buf_put, buf_putc, buf_reserve


cdef size_t lp_entry_check(const char* p, const char* end) noexcept nogil:
    cdef size_t size = lp_code_size(p, end)
    cdef size_t back = lp_back_size(size)
    cdef char wanted[6]
    if size == 0 or back > <size_t>(end - p) - size:
        return 0
    lp_back_put(&wanted[1], size)
    if cf_equal(p + size, &wanted[1], back):
        return size + back
    if back == 1 or size != (<size_t>1 << (7 * back)) - 1 or back == <size_t>(end - p) - size:
        return 0
    wanted[0] = 0  # Redis 7.0's zero in front
    wanted[1] |= <char>0x80
    return size + back + 1 if cf_equal(p + size, &wanted[0], back + 1) else 0


cdef bint lp_entry_is_odd(const char* p, size_t n) noexcept nogil:
    cdef lp_item_t item, shortest
    lp_get(p, &item)
    shortest = item
    if item.str != NULL:
        lp_item(item.str, item.len, &shortest)
    return lp_entry_size(&shortest) != n or (shortest.str == NULL) != (item.str == NULL)


cdef bint _fault(size_t* out, size_t offset) noexcept nogil:
    out[0] = offset
    return False


cdef bint lp_validate(const char* p, size_t n, size_t* out) noexcept nogil:
    cdef size_t at = LP_HEADER
    cdef size_t count = 0
    cdef size_t end = n - 1  # offset of the terminator
    cdef size_t size
    if n < LP_EMPTY or cf_load32(p) != n:
        return _fault(out, 0)
    while at < end:
        size = lp_entry_check(p + at, p + end)
        if size == 0:
            return _fault(out, at)
        at += size
        count += 1
    if <unsigned char>p[end] != LP_END:
        return _fault(out, end)
    if cf_load16(p + 4) != LP_COUNT_UNKNOWN and cf_load16(p + 4) != count:
        return _fault(out, 4)
    out[0] = count
    return True


# ---- writer ----------------------------------------------------------------------------------------

cdef void lp_begin(lp_writer_t* w, buf_t* out) noexcept nogil:
    w.out = out
    w.start = out.len
    w.count = 0
    buf_reserve(out, LP_HEADER)
    out.len += LP_HEADER


cdef void _back(lp_writer_t* w, size_t n) noexcept nogil:
    w.out.len += lp_back_put(buf_reserve(w.out, 5), n)
    w.count += 1


cdef void lp_add_code(lp_writer_t* w, const char* code, size_t n) noexcept nogil:
    buf_put(w.out, code, n)
    _back(w, n)


cdef void lp_add_int(lp_writer_t* w, int64_t v) noexcept nogil:
    cdef size_t n = lp_put_int(buf_reserve(w.out, LP_HEAD_MAX), v)
    w.out.len += n
    _back(w, n)


cdef void lp_add_str(lp_writer_t* w, const char* p, size_t n) noexcept nogil:
    cdef size_t head = lp_put_str_head(buf_reserve(w.out, LP_HEAD_MAX), n)
    w.out.len += head
    buf_put(w.out, p, n)
    _back(w, head + n)


cdef void lp_add(lp_writer_t* w, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t item
    lp_item(p, n, &item)
    if item.str == NULL:
        lp_add_int(w, item.num)
    else:
        lp_add_str(w, p, n)


cdef bint lp_finish(lp_writer_t* w) noexcept nogil:
    cdef size_t n
    buf_putc(w.out, LP_END)
    n = w.out.len - w.start
    cf_store32(w.out.data + w.start, <uint32_t>n)
    cf_store16(w.out.data + w.start + 4, <uint32_t>min(w.count, <size_t>LP_COUNT_UNKNOWN))
    return n <= <size_t>0xFFFFFFFF


# ---- reader ----------------------------------------------------------------------------------------

cdef size_t lp_len(const char* p) noexcept nogil:
    cdef size_t n = cf_load16(p + 4)
    cdef size_t at = LP_HEADER
    cdef lp_item_t item
    if n == LP_COUNT_UNKNOWN:
        n = 0
        while lp_next(p, &at, &item):
            n += 1
    return n


cdef size_t lp_seek(const char* p, int64_t index) noexcept nogil:
    cdef size_t at = LP_HEADER if index >= 0 else lp_end(p)
    cdef lp_item_t item
    while index > 0 and lp_next(p, &at, &item):
        index -= 1
    while index < 0 and lp_prev(p, &at, &item):
        index += 1
    return at if index == 0 and <unsigned char>p[at] != LP_END else 0
