"""Packs of sorted sets; see pack_zset.pxd."""

from libc.stdint cimport uint32_t
from cachefleet_server.ds.listpack cimport lp_get, lp_item_t, lp_skip, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.pack cimport (
    PACK_GROUP, pack_item_score, pack_len, pack_offset, pack_plan_insert, pack_plan_move, pack_plan_value,
    pack_score)


cdef bint _in_front(const char* data, size_t at, const pack_bound_t* bound) noexcept nogil:
    cdef lp_item_t item
    cdef char text[INT64_CHARS_MAX]
    cdef double score
    cdef const char* p
    cdef size_t n
    cdef int c
    if bound.by_score:
        score = pack_score(data + at + lp_skip(data + at))
        if score != bound.score:
            return score < bound.score
        if not bound.by_member:
            return bound.after
    lp_get(data + at, &item)
    p = lp_text(&item, text, &n)
    c = bytes_order(p, n, bound.member, bound.len)
    return c < 0 or (c == 0 and bound.after)


cdef void pack_bound(const char* data, size_t len, const pack_bound_t* bound, pack_at_t* at) noexcept nogil:
    cdef uint32_t count = pack_len(data)
    cdef uint32_t low = 0  # the last group whose first member is in front, or the first group
    cdef uint32_t high = (count + PACK_GROUP - 1) / PACK_GROUP
    cdef uint32_t mid
    while high > low + 1:
        mid = (low + high) / 2
        if _in_front(data, pack_offset(data, len, mid * PACK_GROUP), bound):
            low = mid
        else:
            high = mid
    at.index = low * PACK_GROUP
    at.at = pack_offset(data, len, at.index)
    while at.index < count and _in_front(data, at.at, bound):
        at.at += lp_skip(data + at.at)
        at.at += lp_skip(data + at.at)
        at.index += 1


cdef size_t pack_plan_score(
        const char* data, size_t len, const pack_item_t* member, const pack_at_t* found, double score,
        pack_edit_t* edit) noexcept nogil:
    cdef char text[INT64_CHARS_MAX]
    cdef pack_bound_t bound
    cdef pack_item_t value
    cdef pack_at_t at
    pack_item_score(&value, score)
    bound.score = score
    bound.member = lp_text(&member.item, text, &bound.len)
    bound.by_score = True
    bound.by_member = True
    bound.after = False
    pack_bound(data, len, &bound, &at)
    if found == NULL:
        return pack_plan_insert(data, len, at.index, at.at, member, &value, edit)
    if at.index == found.index or at.index == found.index + 1:
        return pack_plan_value(data, len, found, &value, edit)
    return pack_plan_move(data, len, found, at.index, at.at, member, &value, edit)
