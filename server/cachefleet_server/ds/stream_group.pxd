"""Consumer groups of a stream: what was delivered to whom, and is not acknowledged.

    group: pending (tree of spending_t by id) | consumers by number | numbers by name
    consumer: pending (tree of the ids alone)

A pending entry is 32 bytes in the group's tree and 16 in its consumer's, who is a number there: the place in the
group's array, which stays while the consumer lives, and is given again after that. Names are in order, as XINFO lists
them.

Groups and consumers count their owners, as blocks do: streams that share a group change copies of it. So who changes a
group has it from stream_group_own (ds/stream.pxd), and a consumer from `group_consumer`; a copy of a group costs O(its
consumers), one of a consumer O(1).

The oldest. Nothing is in order by time, which would cost memory for each entry and time for each delivery. A group
knows some of the oldest, from when all were last looked at, and when the oldest of the others and of those since then
were delivered: who asks for old ones looks at all of them once for each OLDEST_MAX that are taken, or when the oldest
since then may be old enough. A copy of a group knows the time alone.

Cost: O(log n) for each pending entry; a consumer is found in O(log consumers), added and removed in O(consumers).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.idtree cimport idtree_t, sid_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    PENDING_48 = 0xFFFFFFFFFFFF  # the latest time and the highest count that are kept
    GROUP_READ_UNKNOWN = -1
    OLDEST_MAX = 512

cdef struct spending_t:
    sid_t id
    uint64_t when  # delivered, unix ms: 48 bits; and the high 16 of how often
    uint32_t times
    uint32_t consumer  # its number

cdef struct sconsumer_t:
    size_t refs  # owners
    int64_t seen_ms
    int64_t active_ms  # -1: never
    idtree_t pending
    uint32_t number
    uint32_t name_len
    char name[0]

cdef struct sidle_t:
    int64_t when
    sid_t id

cdef struct sgroup_t:
    size_t refs  # owners
    sid_t last
    int64_t entries_read  # or GROUP_READ_UNKNOWN
    idtree_t pending
    sidle_t* oldest  # OLDEST_MAX of pending, or NULL; some may be so no more
    uint32_t oldest_len
    uint32_t oldest_at  # of the first that has not been taken
    int64_t rest_ms  # when the oldest others were delivered, when all were looked at
    int64_t new_ms  # and those since
    sconsumer_t** consumers  # by number; NULL: a number to give
    uint32_t* order  # numbers, by name
    uint32_t numbers  # of the array
    uint32_t len  # consumers
    uint32_t name_len
    char name[0]

cdef inline int64_t pending_when(const spending_t* p) noexcept nogil:
    return p.when & PENDING_48

cdef inline int64_t pending_times(const spending_t* p) noexcept nogil:
    return ((p.when >> 48) << 32) | p.times

cdef inline void pending_set(sgroup_t* g, spending_t* p, int64_t when, int64_t times) noexcept nogil:
    """Of an entry of this group, to write. Both saturate."""
    when = min(max(when, 0), <int64_t>PENDING_48)
    times = min(max(times, 0), <int64_t>PENDING_48)
    p.when = <uint64_t>when | <uint64_t>(times >> 32) << 48
    p.times = times & <int64_t>0xFFFFFFFF
    g.new_ms = min(g.new_ms, when)

cdef sgroup_t* group_new(heap_t* h, const char* name, size_t n, const sid_t* last, int64_t entries_read) noexcept nogil
cdef sgroup_t* group_copy(heap_t* h, const sgroup_t* g) noexcept nogil  # its consumers have an owner more
cdef void group_release(heap_t* h, sgroup_t* g) noexcept nogil

cdef int64_t group_find(const sgroup_t* g, const char* name, size_t n, uint32_t* place) noexcept nogil
    # The consumer's number, or -1, and where it is, or would be, in the order.
cdef sconsumer_t* group_add(heap_t* h, sgroup_t* g, const char* name, size_t n, int64_t now_ms) noexcept nogil
    # A consumer that is not there yet; seen now, never active.
cdef sconsumer_t* group_consumer(heap_t* h, sgroup_t* g, uint32_t number) noexcept nogil  # to write
cdef void group_remove(heap_t* h, sgroup_t* g, uint32_t place) noexcept nogil
    # The consumer at this place of the order, with all it has pending.

cdef inline const sconsumer_t* group_at(const sgroup_t* g, uint32_t place) noexcept nogil:
    """By the order of names; to read."""
    return g.consumers[g.order[place]]

cdef spending_t* group_pend(heap_t* h, sgroup_t* g, const sid_t* id, uint32_t consumer, bint* is_new) noexcept nogil
    # The id is pending for this consumer, whoever had it before; time and count are the caller's to set.
cdef bint group_acknowledge(heap_t* h, sgroup_t* g, const sid_t* id) noexcept nogil  # false: it is not pending

cdef inline int64_t group_oldest(const sgroup_t* g) noexcept nogil:
    """No pending entry was delivered before that, in unix ms; it may be that all were later."""
    cdef int64_t others = min(g.rest_ms, g.new_ms)
    return min(others, g.oldest[g.oldest_at].when) if g.oldest_at < g.oldest_len else others

cdef size_t group_idle(heap_t* h, sgroup_t* g, int64_t until_ms, size_t most, buf_t* out) noexcept nogil
    # How many pending entries there are in `out`, a sidle_t each, that were delivered until then: the oldest, at most
    # so many (0: all), the oldest first. The caller delivers or acknowledges all of them. O(1) if group_oldest says
    # that there are none, else often O(most), and O(pending) once for some hundreds of them.

cdef size_t group_effort(const sgroup_t* g) noexcept nogil  # about how many allocations it has
cdef size_t group_memory(const sgroup_t* g) noexcept nogil  # about how many bytes, O(consumers)
cdef int group_check(const sgroup_t* g) noexcept nogil
    # 0, or the first that is not so. 1: owners; 2: order and numbers; 3: a consumer's number; 4: a tree of the group's;
    # 5: of a consumer's; 6: each pending entry is its consumer's; 7: and no more are; 8: group_oldest; 9: an entry
    # that is neither among the oldest nor as late as the others.
