"""Members of a sorted set whose time is over, for whoever goes by ranks: they are in its order until they are removed.

A reader takes their ranks once, if there are any, and counts the others past them:

    members    a  b  c  d  e        hidden ranks  1 3
    ranks      0  1  2  3  4        shown         a c e, of which c is the member 1

So ranges, counts and ranks are exact to the millisecond, at O(log n) for each hidden member; active expiry sees to it
that these are few. Without any it is one comparison. Who writes has them removed instead (keyspace/member_expiry.pxd).

Valid until the sorted set changes, and not to be copied.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport ENC_SKIPLIST, entry_encoding, entry_t
from cachefleet_server.core.members cimport members_of
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.zmalloc cimport heap_t, zfree

cdef enum:
    HIDDEN_AT_HAND = 16  # ranks that need no allocation

cdef struct zset_hidden_t:
    heap_t* heap
    size_t count
    size_t* ranks  # ascending
    size_t at_hand[HIDDEN_AT_HAND]

cdef void hidden_gather(zset_hidden_t* h, engine_t* e, const entry_t* entry, int64_t now_ms) noexcept nogil

cdef inline void hidden_begin(zset_hidden_t* h, engine_t* e, const entry_t* entry, int64_t now_ms) noexcept nogil:
    """Of a sorted set, or NULL. -1: none are hidden. Ends with hidden_end."""
    h.count = 0
    if (entry != NULL and entry_encoding(entry) == ENC_SKIPLIST
            and cf_unlikely(members_of(entry).expiring != NULL)):
        hidden_gather(h, e, entry, now_ms)

cdef inline void hidden_end(zset_hidden_t* h) noexcept nogil:
    if cf_unlikely(h.count > HIDDEN_AT_HAND):
        zfree(h.heap, h.ranks)

cdef inline size_t hidden_before(const zset_hidden_t* h, size_t rank) noexcept nogil:
    """How many have a lower rank."""
    cdef size_t low = 0
    cdef size_t high = h.count
    cdef size_t middle
    while low < high:
        middle = (low + high) // 2
        if h.ranks[middle] < rank:
            low = middle + 1
        else:
            high = middle
    return low

cdef inline bint hidden_has(const zset_hidden_t* h, size_t rank) noexcept nogil:
    cdef size_t i = hidden_before(h, rank)
    return i < h.count and h.ranks[i] == rank

cdef inline size_t hidden_rank(const zset_hidden_t* h, size_t shown) noexcept nogil:
    """The rank of a member that so many shown ones are in front of."""
    cdef size_t low = 0
    cdef size_t high = h.count
    cdef size_t middle
    while low < high:  # how many hidden ones are in front of it: those with at most that many shown in front
        middle = (low + high) // 2
        if h.ranks[middle] - middle <= shown:
            low = middle + 1
        else:
            high = middle
    return shown + low
