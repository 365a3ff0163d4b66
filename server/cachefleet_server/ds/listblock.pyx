"""See listblock.pxd."""

from libc.stdint cimport uint8_t
from libc.string cimport memmove

from cachefleet_server.ds.intrin cimport cf_assert, cf_ref_get, cf_store16, cf_store32
from cachefleet_server.ds.listpack cimport (
    LP_COUNT_UNKNOWN, LP_END, LP_HEADER, LP_STR12, LP_STR32, lp_entry_check, lp_entry_is_odd, lp_entry_next,
    lp_entry_prev, lp_entry_put, lp_entry_size, lp_validate)
from cachefleet_server.ds.lzf cimport lzf_compress, lzf_decompress
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc, ztry_malloc

cdef enum:
    SPARE_PART = 16  # of its entries' bytes is the room that a growing block gets
    SPARE_MIN = 48  # bytes of it
    SHRINK_MIN = 128  # bytes of room that are kept


cdef lblock_t* lb_new(heap_t* h, size_t capacity, size_t first) noexcept nogil:
    cdef lblock_t* b = <lblock_t*>zmalloc(h, sizeof(lblock_t) + capacity)
    b.refs = 1
    b.bytes = 0
    b.capacity = capacity
    b.first = first
    b.count = 0
    b.form = 0
    return b


cdef lblock_t* lb_plain(heap_t* h, const char* p, size_t n) noexcept nogil:
    cdef lblock_t* b = lb_new(h, n, 0)
    memcpy(&b.data[0], p, n)
    b.bytes = n
    b.count = 1
    b.form = LB_PLAIN
    return b


cdef lblock_t* _remade(heap_t* h, const lblock_t* b, size_t capacity, size_t first) noexcept nogil:
    """A copy of an uncompressed block with the entries at `first`."""
    cdef lblock_t* new = lb_new(h, capacity, first)
    new.bytes = b.bytes
    new.count = b.count
    new.form = b.form
    memcpy(&new.data[0] + first, lb_begin(b), b.bytes)
    return new


cdef lblock_t* lb_copy(heap_t* h, const lblock_t* b) noexcept nogil:
    cdef lblock_t* new
    if not b.form & LB_LZF:
        return _remade(h, b, b.capacity, b.first)
    new = lb_new(h, b.capacity, 0)
    new.bytes = b.bytes
    new.count = b.count
    new.form = b.form
    memcpy(&new.data[0], &b.data[0], b.capacity)
    return new


cdef lblock_t* lb_compressed(heap_t* h, const lblock_t* b) noexcept nogil:
    cdef lblock_t* new
    cdef size_t n
    if b.bytes < LB_COMPRESS_MIN:
        return NULL
    new = <lblock_t*>ztry_malloc(h, sizeof(lblock_t) + b.bytes - LB_SAVING)
    if new == NULL:
        return NULL
    n = lzf_compress(lb_begin(b), b.bytes, &new.data[0], b.bytes - LB_SAVING)
    if n == 0:
        zfree(h, new)
        return NULL
    new = <lblock_t*>zrealloc(h, new, sizeof(lblock_t) + n)
    new.refs = 1
    new.bytes = b.bytes
    new.capacity = n
    new.first = 0
    new.count = b.count
    new.form = (b.form & LB_PLAIN) | LB_LZF
    return new


cdef lblock_t* lb_uncompressed(heap_t* h, const lblock_t* b) noexcept nogil:
    cdef lblock_t* new = lb_new(h, b.bytes, 0)
    if lzf_decompress(&b.data[0], b.capacity, &new.data[0], b.bytes) != b.bytes:
        zfree(h, new)
        return NULL
    new.bytes = b.bytes
    new.count = b.count
    new.form = b.form & LB_PLAIN
    return new


# Entry by entry a walk waits for each length in turn. Where entries of one size follow each other, as the ids, times
# and numbers of most lists do, those that would be there are asked four at once.

cdef const char* _forward(const char* p, size_t n, const char* end) noexcept nogil:
    """The entry n behind the one at p, of those up to `end`."""
    cdef const char* next
    cdef size_t size
    cdef char c
    while n:
        next = lp_entry_next(p)
        size = next - p
        c = p[0]
        p = next
        n -= 1
        if LP_STR12 <= <unsigned char>c <= LP_STR32:
            continue  # its first byte does not tell its size
        while n >= 4 and <size_t>(end - p) > 3 * size and (
            (p[0] == c) & (p[size] == c) & (p[2 * size] == c) & (p[3 * size] == c)
        ):
            p += 4 * size
            n -= 4
    return p


cdef const char* _backward(const char* p, size_t n, const char* begin) noexcept nogil:
    """The entry n in front of `p`, of those from `begin` on."""
    cdef const char* last = p - 1  # byte of the entry in front of p: of its back-length
    cdef size_t size
    cdef char back
    while n:
        back = last[0]
        last = lp_entry_prev(last + 1) - 1
        n -= 1
        if <unsigned char>back & 0x80:
            continue  # the back-length has more bytes
        size = 1 + <size_t>back
        while n >= 4 and <size_t>(last - begin) >= 3 * size and (
            (last[0] == back) & ((last - size)[0] == back)
            & ((last - 2 * size)[0] == back) & ((last - 3 * size)[0] == back)
        ):
            last -= 4 * size
            n -= 4
    return last + 1


cdef const char* lb_at(const lblock_t* b, size_t i) noexcept nogil:
    cdef const char* p = lb_begin(b)
    if i <= b.count / 2:
        return _forward(p, i, p + b.bytes)
    return _backward(p + b.bytes, b.count - i, p)


# ---- changes -------------------------------------------------------------------------------------

cdef void _move(heap_t* h, lblock_t** place, size_t capacity, size_t first) noexcept nogil:
    """The entries at another place in data of another size."""
    cdef lblock_t* b = place[0]
    if capacity == b.capacity:
        memmove(&b.data[0] + first, lb_begin(b), b.bytes)
        b.first = first
    elif first == b.first:
        place[0] = <lblock_t*>zrealloc(h, b, sizeof(lblock_t) + capacity)
        place[0].capacity = capacity
    else:
        place[0] = _remade(h, b, capacity, first)
        zfree(h, b)


cdef void _make_room(heap_t* h, lblock_t** place, size_t need, bint front, size_t limit) noexcept nogil:
    """`need` bytes of room on that side, and some for later."""
    cdef lblock_t* b = place[0]
    cdef size_t behind = b.capacity - b.first - b.bytes
    cdef size_t room = b.first + behind
    cdef size_t spare = max((b.bytes + need) / SPARE_PART, <size_t>SPARE_MIN)
    cdef size_t capacity
    if (b.first if front else behind) >= need:
        return
    if room >= need + spare / 2:
        # Half to each side, or a deque would move at every change of direction.
        room -= need
        _move(h, place, b.capacity, need + room / 2 if front else room / 2)
        return
    capacity = max(b.bytes + need, min(b.bytes + need + spare, limit))
    if front:
        _move(h, place, capacity, capacity - b.bytes)
        return
    if b.first:
        _move(h, place, b.capacity, 0)
    _move(h, place, capacity, 0)


cdef char* _open(heap_t* h, lblock_t** place, size_t offset, size_t need, size_t limit) noexcept nogil:
    """A gap of `need` bytes at this offset from the first entry; it counts as entries from now on."""
    cdef lblock_t* b = place[0]
    cdef bint front = offset < b.bytes / 2 or (offset == 0 and b.bytes == 0 and b.first > 0)
    cdef char* begin
    cf_assert(b.refs == 1 and not b.form & (LB_PLAIN | LB_LZF))
    # In the middle the side that has room already is the better one, although it may be the longer.
    if 0 < offset < b.bytes:
        if front and b.first < need <= b.capacity - b.first - b.bytes:
            front = False
        elif not front and b.capacity - b.first - b.bytes < need <= b.first:
            front = True
    _make_room(h, place, need, front, limit)
    b = place[0]
    if front:
        b.first -= need
        begin = &b.data[0] + b.first
        memmove(begin, begin + need, offset)
    else:
        begin = &b.data[0] + b.first
        memmove(begin + offset + need, begin + offset, b.bytes - offset)
    b.bytes += need
    b.form &= ~<uint32_t>LB_TRIED
    return begin + offset


cdef void lb_insert(heap_t* h, lblock_t** place, size_t offset, const lp_item_t* e, size_t limit) noexcept nogil:
    lp_entry_put(_open(h, place, offset, lp_entry_size(e), limit), e)
    place[0].count += 1


cdef void lb_append_entries(
    heap_t* h, lblock_t** place, const char* entries, size_t bytes, size_t count, size_t limit
) noexcept nogil:
    memcpy(_open(h, place, place[0].bytes, bytes, limit), entries, bytes)
    place[0].count += count


cdef void lb_cut(heap_t* h, lblock_t** place, size_t i, size_t j) noexcept nogil:
    cdef lblock_t* b = place[0]
    cdef char* begin = &b.data[0] + b.first
    cdef char* end = begin + b.bytes
    cdef char* to = <char*>lb_at(b, i)
    cdef char* from_ = end
    cf_assert(b.refs == 1 and not b.form & (LB_PLAIN | LB_LZF))
    if j - i == 1:
        from_ = <char*>lp_entry_next(to)
    elif j < b.count:
        from_ = <char*>lb_at(b, j)
    if to - begin < end - from_:
        memmove(begin + (from_ - to), begin, to - begin)
        b.first += from_ - to
    else:
        memmove(to, from_, end - from_)
    b.bytes -= from_ - to
    b.count -= j - i
    b.form &= ~<uint32_t>LB_TRIED
    # Growing leaves a sixteenth empty, so what goes back and forth does neither.
    if b.capacity - b.bytes > b.capacity / 4 + SHRINK_MIN:
        _move(h, place, b.bytes + b.bytes / SPARE_PART, b.bytes / SPARE_PART / 2)


cdef lblock_t* lb_split(heap_t* h, lblock_t** place, size_t i) noexcept nogil:
    cdef lblock_t* b = place[0]
    cdef const char* at = lb_at(b, i)
    cdef size_t n = lb_begin(b) + b.bytes - at
    cdef lblock_t* rest = lb_new(h, n, 0)
    memcpy(&rest.data[0], at, n)
    rest.bytes = n
    rest.count = b.count - i
    b.bytes -= n
    b.count = i
    b.form &= ~<uint32_t>LB_TRIED
    return rest


cdef void lb_trim(heap_t* h, lblock_t** place, size_t spare) noexcept nogil:
    cdef lblock_t* b = place[0]
    if b.capacity - b.bytes > spare:
        if b.first:
            _move(h, place, b.capacity, 0)
        _move(h, place, b.bytes, 0)


# ---- files ---------------------------------------------------------------------------------------

cdef void lb_save(const lblock_t* b, char* out) noexcept nogil:
    cf_store32(out, b.bytes + LP_EMPTY)
    cf_store16(out + 4, min(b.count, <uint32_t>LP_COUNT_UNKNOWN))
    memcpy(out + LP_HEADER, lb_begin(b), b.bytes)
    (<uint8_t*>out)[LP_HEADER + b.bytes] = LP_END


cdef size_t lb_listpack_check(const char* p, size_t n, bint* odd) noexcept nogil:
    cdef size_t count, size
    cdef size_t at = LP_HEADER
    if not lp_validate(p, n, &count):
        return 0
    for _ in range(count):
        size = lp_entry_check(p + at, p + n)
        odd[0] |= lp_entry_is_odd(p + at, size)
        at += size
    return count + 1


cdef int _check_entries(const lblock_t* b) noexcept nogil:
    cdef const char* p = lb_begin(b)
    cdef size_t at = 0
    cdef size_t count = 0
    cdef size_t size
    while at < b.bytes:
        size = lp_entry_check(p + at, p + b.bytes)
        if size == 0 or lp_entry_is_odd(p + at, size):
            return 5
        at += size
        count += 1
    return 0 if count == b.count else 6


cdef int lb_check(heap_t* h, const lblock_t* b) noexcept nogil:
    cdef lblock_t* raw
    cdef int error
    if cf_ref_get(&b.refs) == 0:
        return 1
    if b.count == 0:
        return 2
    if b.capacity + LB_SAVING > b.bytes if b.form & LB_LZF else b.first + b.bytes > b.capacity:
        return 3
    if b.form & LB_PLAIN and b.count != 1:
        return 4
    if not b.form & LB_LZF:
        return 0 if b.form & LB_PLAIN else _check_entries(b)
    raw = lb_uncompressed(h, b)
    if raw == NULL:
        return 7
    error = lb_check(h, raw)
    owner_drop(h, raw)
    return error
