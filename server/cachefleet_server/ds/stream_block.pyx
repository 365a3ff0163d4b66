"""See stream_block.pxd."""

from libc.string cimport memcpy, memmove

from cachefleet_server.ds.intrin cimport cf_equal, cf_load16, cf_store16, cf_store32
from cachefleet_server.ds.listpack cimport (
    LP_COUNT_UNKNOWN, LP_EMPTY, LP_END, LP_HEAD_MAX, LP_HEADER, lp_back_put, lp_back_size, lp_entry_prev, lp_entry_put,
    lp_item, lp_put_int, lp_text, lp_validate)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.owners cimport is_shared, owner_drop
from cachefleet_server.ds.zmalloc cimport zmalloc, zrealloc

cdef enum:
    INT_MAX_BYTES = LP_HEAD_MAX + 1  # of an integer and its back-length
    ITEM_MORE = 10  # of a string: what it takes besides its bytes, at most
    ENTRY_INTS = 5  # flags, ms, seq, fields, size

# ---- making ------------------------------------------------------------------------------------------

cdef inline const span_t* _span(const char* args, size_t stride, size_t i) noexcept nogil:
    return <const span_t*>(args + i * stride)


cdef inline char* _put_int(char* p, int64_t v) noexcept nogil:
    cdef size_t n = lp_put_int(p, v)
    return p + n + lp_back_put(p + n, n)


cdef inline char* _put_span(char* p, const span_t* text) noexcept nogil:
    cdef lp_item_t item
    cdef size_t n
    lp_item(text.ptr, text.len, &item)
    if item.str == NULL:
        return _put_int(p, item.num)
    lp_entry_put(p, &item)
    n = lp_skip(p)
    return p + n + lp_back_size(n)


cdef void _close(sblock_t* b, char* end, size_t elements) noexcept nogil:
    """The listpack ends here now, with so many elements more."""
    cdef size_t count = cf_load16(&b.data[4])
    end[0] = <char>LP_END
    cf_store32(&b.data[0], <uint64_t>(end + 1 - &b.data[0]) & <uint64_t>0xFFFFFFFF)
    if count != LP_COUNT_UNKNOWN:
        cf_store16(&b.data[4], min(count + elements, <size_t>LP_COUNT_UNKNOWN))


cdef sblock_t* _new(heap_t* h, size_t room) noexcept nogil:
    cdef sblock_t* b = <sblock_t*>zmalloc(h, SB_HEADER + room)
    b.refs = 1
    b.room = room
    return b


cdef sblock_t* sb_new(heap_t* h, const char* args, size_t stride, size_t fields, size_t room) noexcept nogil:
    cdef size_t need = LP_EMPTY + 4 * INT_MAX_BYTES
    cdef sblock_t* b
    cdef char* p
    cdef size_t i
    for i in range(fields):
        need += _span(args, stride, 2 * i).len + ITEM_MORE
    b = _new(h, max(need, room))
    cf_store16(&b.data[4], 0)
    p = &b.data[LP_HEADER]
    p = _put_int(p, 0)
    p = _put_int(p, 0)
    p = _put_int(p, fields)
    for i in range(fields):
        p = _put_span(p, _span(args, stride, 2 * i))
    p = _put_int(p, 0)
    _close(b, p, 4 + fields)
    return b


cdef sblock_t* sb_of(heap_t* h, const char* p, size_t n) noexcept nogil:
    cdef sblock_t* b = _new(h, n)
    memcpy(&b.data[0], p, n)
    return b


cdef sblock_t* sb_own(heap_t* h, sblock_t** place) noexcept nogil:
    cdef sblock_t* b = place[0]
    cdef sblock_t* new
    if not is_shared(b):
        return b
    new = _new(h, b.room)
    memcpy(&new.data[0], &b.data[0], sb_bytes(b))
    place[0] = new
    owner_drop(h, b)
    return new


cdef void sb_trim(heap_t* h, sblock_t** place) noexcept nogil:
    cdef sblock_t* b = place[0]
    cdef size_t n = sb_bytes(b)
    if b.room > n and not is_shared(b):
        b = <sblock_t*>zrealloc(h, b, SB_HEADER + n)
        b.room = n
        place[0] = b


cdef void _grow(heap_t* h, sblock_t** place, size_t more, size_t limit) noexcept nogil:
    """Room for so many bytes more."""
    cdef sblock_t* b = place[0]
    cdef size_t need = sb_bytes(b) + more
    if need <= b.room:
        return
    need = max(need, min(2 * b.room, limit))
    b = <sblock_t*>zrealloc(h, b, SB_HEADER + need)
    b.room = need
    place[0] = b

# ---- adding ------------------------------------------------------------------------------------------

cdef void sb_head(const sblock_t* b, shead_t* out) noexcept nogil:
    cdef const char* p = &b.data[LP_HEADER]
    cdef lp_item_t item
    cdef size_t _
    p = sb_item(p, &item)
    out.count = item.num
    p = sb_item(p, &item)
    out.deleted = item.num
    p = sb_item(p, &item)
    out.fields = item.num
    out.names = p
    for _ in range(out.fields):
        p = sb_next(p)
    out.entries = sb_next(p)


cdef bint sb_same_fields(const shead_t* head, const char* args, size_t stride, size_t fields) noexcept nogil:
    cdef const char* p = head.names
    cdef const span_t* field
    cdef char digits[INT64_CHARS_MAX]
    cdef lp_item_t item
    cdef const char* text
    cdef size_t i, n
    if fields != head.fields:
        return False
    for i in range(fields):
        field = _span(args, stride, 2 * i)
        p = sb_item(p, &item)
        text = lp_text(&item, &digits[0], &n)
        if n != field.len or not cf_equal(text, field.ptr, n):
            return False
    return True


cdef size_t sb_room_for(const char* args, size_t stride, size_t fields) noexcept nogil:
    cdef size_t n = ENTRY_INTS * INT_MAX_BYTES + 2 * fields * ITEM_MORE
    cdef size_t i
    for i in range(2 * fields):
        n += _span(args, stride, i).len
    return n


cdef void sb_append(
    heap_t* h, sblock_t** place, const sid_t* difference, const char* args, size_t stride, size_t fields, bint same,
    size_t limit
) noexcept nogil:
    cdef size_t elements = fields + 3 if same else 2 * fields + 4
    cdef char* p
    cdef size_t i
    _grow(h, place, sb_room_for(args, stride, fields), limit)
    p = <char*>sb_end(place[0])
    p = _put_int(p, SB_SAME if same else 0)
    p = _put_int(p, <int64_t>difference.ms)
    p = _put_int(p, <int64_t>difference.seq)
    if same:
        for i in range(fields):
            p = _put_span(p, _span(args, stride, 2 * i + 1))
    else:
        p = _put_int(p, fields)
        for i in range(2 * fields):
            p = _put_span(p, _span(args, stride, i))
    p = _put_int(p, elements)
    _close(place[0], p, elements + 1)


cdef void _set_int(heap_t* h, sblock_t** place, size_t at, int64_t v) noexcept nogil:
    """The element at this offset becomes another integer."""
    cdef char code[INT_MAX_BYTES + 1]
    cdef size_t size = _put_int(&code[0], v) - &code[0]
    cdef size_t total = sb_bytes(place[0])
    cdef size_t old = sb_next(&place[0].data[at]) - &place[0].data[at]
    cdef char* p
    if size > old:
        _grow(h, place, size - old, 0)
    p = &place[0].data[at]
    if size != old:
        memmove(p + size, p + old, total - at - old)
        cf_store32(&place[0].data[0], <uint64_t>(total + size - old) & <uint64_t>0xFFFFFFFF)
    memcpy(p, &code[0], size)


cdef void sb_counts(heap_t* h, sblock_t** place, int64_t count, int64_t deleted) noexcept nogil:
    cdef size_t at = sb_next(&place[0].data[LP_HEADER]) - &place[0].data[0]
    cdef lp_item_t item
    sb_item(&place[0].data[at], &item)
    if item.num != deleted:
        _set_int(h, place, at, deleted)
    _set_int(h, place, LP_HEADER, count)

cdef void sb_cut(sblock_t* b, size_t at, size_t elements) noexcept nogil:
    cdef size_t count = cf_load16(&b.data[4])
    b.data[at] = <char>LP_END
    cf_store32(&b.data[0], <uint64_t>(at + 1) & <uint64_t>0xFFFFFFFF)
    if count != LP_COUNT_UNKNOWN:
        cf_store16(&b.data[4], count - elements)

# ---- reading -----------------------------------------------------------------------------------------

cdef bint sb_entry(
    const sblock_t* b, const shead_t* head, const sid_t* master, const char* p, sentry_t* out
) noexcept nogil:
    cdef lp_item_t item
    if <unsigned char>p[0] == LP_END:
        return False
    out.at = p
    out.flags = p[0]
    p = sb_item(p + 2, &item)
    out.id.ms = master.ms + <uint64_t>item.num
    p = sb_item(p, &item)
    out.id.seq = master.seq + <uint64_t>item.num
    out.fields = head.fields
    if not out.flags & SB_SAME:
        p = sb_item(p, &item)
        out.fields = item.num
    out.body = p
    return True


cdef const char* sb_entry_end(const sentry_t* e) noexcept nogil:
    cdef const char* p = e.body
    cdef size_t _
    for _ in range(e.fields + 1 if e.flags & SB_SAME else 2 * e.fields + 1):
        p = sb_next(p)
    return p


cdef const char* sb_entry_before(const shead_t* head, const char* p) noexcept nogil:
    cdef lp_item_t item
    cdef int64_t _
    if p == head.entries:
        return NULL
    p = lp_entry_prev(p)
    sb_item(p, &item)
    for _ in range(item.num):
        p = lp_entry_prev(p)
    return p

# ---- untrusted bytes ---------------------------------------------------------------------------------

cdef struct _reader_t:
    const char* p
    const char* end
    bint failed


cdef int64_t _read_int(_reader_t* r) noexcept nogil:
    cdef lp_item_t item
    item.num = 0
    if r.failed or r.p >= r.end:
        r.failed = True
        return 0
    r.p = sb_item(r.p, &item)
    if item.str != NULL:
        r.failed = True
    return item.num


cdef void _skip(_reader_t* r, int64_t n) noexcept nogil:
    if n < 0 or n > r.end - r.p:
        r.failed = True
    while n and not r.failed:
        if r.p >= r.end:
            r.failed = True
            return
        r.p = sb_next(r.p)
        n -= 1


cdef int _read_entry(_reader_t* r, int64_t fields, const sid_t* master, sid_t* id) noexcept nogil:
    """Its flags; -1: it is none. Ids must rise."""
    cdef int flags = r.p[0]
    cdef sid_t before = id[0]
    cdef int64_t elements
    if not 0 <= flags <= (SB_DELETED | SB_SAME):
        return -1
    _read_int(r)
    id.ms = master.ms + <uint64_t>_read_int(r)
    id.seq = master.seq + <uint64_t>_read_int(r)
    elements = fields + 3
    if not flags & SB_SAME:
        fields = _read_int(r)
        if not 0 <= fields <= r.end - r.p:
            return -1
        fields *= 2
        elements = fields + 4
    _skip(r, fields)
    if _read_int(r) != elements or r.failed:
        return -1
    if id.ms < before.ms or (id.ms == before.ms and id.seq < before.seq):
        return -1
    return flags


cdef bint sb_validate(const char* p, size_t n, const sid_t* master, int64_t* count, sid_t* last) noexcept nogil:
    cdef _reader_t r
    cdef size_t elements
    cdef int64_t deleted, fields
    cdef int64_t seen[2]
    cdef bint is_first = True
    cdef sid_t before
    cdef int flags
    if not lp_validate(p, n, &elements):
        return False
    r.p = p + LP_HEADER
    r.end = p + n - 1
    r.failed = False
    count[0] = _read_int(&r)
    deleted = _read_int(&r)
    fields = _read_int(&r)
    _skip(&r, fields)
    if _read_int(&r) != 0 or r.failed:
        return False
    last[0] = master[0]
    seen[0] = 0
    seen[1] = 0
    while r.p < r.end:
        before = last[0]
        flags = _read_entry(&r, fields, master, last)
        if flags < 0 or (not is_first and before.ms == last.ms and before.seq == last.seq):
            return False
        is_first = False
        seen[flags & SB_DELETED] += 1
    return seen[0] == count[0] and seen[1] == deleted
