"""Ranks of members whose time is over; see zset_hidden.pxd."""

from libc.stdlib cimport qsort

from cachefleet_server.core.members cimport members_t
from cachefleet_server.core.members_expiry cimport expiring_count_due, expiring_due
from cachefleet_server.ds.bt_iter cimport bt_iter_rank, bt_iter_t, bt_seek
from cachefleet_server.ds.btree cimport btree_t
from cachefleet_server.ds.zmalloc cimport zmalloc


cdef int _ascending(const void* a, const void* b) noexcept nogil:
    cdef size_t x = (<const size_t*>a)[0]
    cdef size_t y = (<const size_t*>b)[0]
    return (x > y) - (x < y)


cdef void hidden_gather(zset_hidden_t* h, engine_t* e, const entry_t* entry, int64_t now_ms) noexcept nogil:
    """Members come in the places of their ranks, which are as long."""
    cdef members_t* m = members_of(entry)
    cdef bt_iter_t it
    cdef size_t i
    h.count = expiring_count_due(m, now_ms)
    if h.count == 0:
        return
    h.heap = e.heap
    h.ranks = h.at_hand
    if h.count > HIDDEN_AT_HAND:
        h.ranks = <size_t*>zmalloc(e.heap, h.count * sizeof(size_t))
    expiring_due(m, now_ms, <void**>h.ranks, h.count)
    for i in range(h.count):
        bt_seek(<btree_t*>m.order, <char*>(<void**>h.ranks)[i] + 8, &it)  # behind its time
        h.ranks[i] = bt_iter_rank(&it)
    qsort(h.ranks, h.count, sizeof(size_t), _ascending)
