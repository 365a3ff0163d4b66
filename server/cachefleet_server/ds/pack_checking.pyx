"""Checks a pack; see pack_checking.pxd."""

from libc.stdint cimport uint8_t, uint32_t

from cachefleet_server.ds.listpack cimport lp_code_size, lp_get, lp_item_t, lp_skip, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.pack cimport (
    PACK_DOUBLE, PACK_GROUP, PACK_HEADER, PACK_INDEX_MIN, PACK_KIND, PACK_NARROW_MAX, PACK_WIDE, PACK_ZSET,
    pack_end, pack_equals, pack_find, pack_index_bytes, pack_index_offset, pack_item, pack_item_score, pack_item_t,
    pack_at_t, pack_kind, pack_len, pack_score, pack_tag)


cdef size_t _code(const char* p, const char* end, bint score) noexcept nogil:
    """Size of a code that is the shortest; 0: it is not."""
    cdef lp_item_t item
    cdef pack_item_t again
    cdef char text[INT64_CHARS_MAX]
    cdef const char* q
    cdef size_t n
    if score:
        if p < end and <unsigned char>p[0] == PACK_DOUBLE:
            if end - p < 9 or pack_score(p) != pack_score(p):
                return 0
        elif lp_code_size(p, end) == 0 or lp_get(p, &item) == 0 or item.str != NULL:
            return 0
        pack_item_score(&again, pack_score(p))
    else:
        if lp_code_size(p, end) == 0:
            return 0
        lp_get(p, &item)
        q = lp_text(&item, text, &n)
        pack_item(&again, q, n)
    if not pack_equals(p, &again):
        return 0
    return again.head_len + again.item.len


cdef int _check_index(const char* data, size_t len, size_t end) noexcept nogil:
    """Keys are known to be in order."""
    cdef uint32_t count = pack_len(data)
    cdef const char* tags = data + len - count
    cdef size_t at = PACK_HEADER
    cdef lp_item_t item
    cdef uint32_t i
    for i in range(count):
        if i and i % PACK_GROUP == 0 and pack_index_offset(data, end, i / PACK_GROUP) != at:
            return 6
        lp_get(data + at, &item)
        if <uint8_t>tags[i] != pack_tag(&item):
            return 7
        at += lp_skip(data + at)
        if data[2] & PACK_KIND:
            at += lp_skip(data + at)
    return 0


cdef int _check_order(const char* data) noexcept nogil:
    cdef char texts[2][INT64_CHARS_MAX]
    cdef size_t lens[2]
    cdef const char* p[2]
    cdef double scores[2]
    cdef size_t at = PACK_HEADER
    cdef lp_item_t item
    cdef uint32_t i
    for i in range(pack_len(data)):
        at += lp_get(data + at, &item)
        p[i & 1] = lp_text(&item, texts[i & 1], &lens[i & 1])
        scores[i & 1] = pack_score(data + at)
        at += lp_skip(data + at)
        if i == 0 or scores[i & 1] > scores[~i & 1]:
            continue
        if scores[i & 1] < scores[~i & 1] or bytes_order(
                p[i & 1], lens[i & 1], p[~i & 1], lens[~i & 1]) <= 0:
            return 9
    return 0


cdef int pack_check(const char* data, size_t len) noexcept nogil:
    cdef const char* p = data + PACK_HEADER
    cdef const char* end
    cdef const char* q
    cdef char text[INT64_CHARS_MAX]
    cdef pack_item_t key
    cdef lp_item_t item
    cdef pack_at_t at
    cdef uint32_t count, i, _i
    cdef size_t n
    cdef int wrong
    cdef bint wide
    if len < PACK_HEADER or data[2] & ~(PACK_KIND | PACK_WIDE) or pack_kind(data) > PACK_ZSET:
        return 1
    count = pack_len(data)
    if pack_index_bytes(count, data[2]) > len - PACK_HEADER:
        return 2
    end = data + pack_end(data, len)
    for _i in range(count):
        n = _code(p, end, False)
        if n and data[2] & PACK_KIND:
            p += n
            n = _code(p, end, pack_kind(data) == PACK_ZSET)
        if n == 0:
            return 3
        p += n
    if p != end:
        return 4
    wide = count >= PACK_INDEX_MIN and end - data > PACK_NARROW_MAX
    if wide != (data[2] & PACK_WIDE != 0):
        return 5
    if count >= PACK_INDEX_MIN:
        wrong = _check_index(data, len, end - data)
        if wrong:
            return wrong
    p = data + PACK_HEADER
    for i in range(count):  # each is found where it is, and nowhere before
        lp_get(p, &item)
        q = lp_text(&item, text, &n)
        pack_item(&key, q, n)
        if not pack_find(data, len, &key, &at) or at.index != i:
            return 8
        p = data + at.next
    return _check_order(data) if pack_kind(data) == PACK_ZSET else 0
