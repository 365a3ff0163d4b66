"""The invariants of a sequence, numbered as in seq_checking.pxd."""

from libc.string cimport memset

from cachefleet_server.ds.intrin cimport cf_ref_get
from cachefleet_server.ds.listblock cimport LB_LZF, LB_PLAIN, LB_TRIED, lb_check, lb_compressed, lb_saving, lblock_t
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.seq_tree cimport SEQ_FANOUT, block_is_small, seq_t, snode_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    BLOCK_ERRORS = 10

cdef struct seen_t:
    heap_t* heap
    const seq_t* s
    size_t len
    size_t bytes
    size_t saved
    size_t blocks


cdef int _check_block(seen_t* seen, const lblock_t* b) noexcept nogil:
    cdef const seq_t* s = seen.s
    cdef int error = lb_check(seen.heap, b)
    if error:
        return BLOCK_ERRORS + error
    if not b.form & LB_PLAIN and (b.bytes > s.bytes_max or b.count > s.count_max):
        return 6
    seen.len += b.count
    seen.bytes += b.bytes
    seen.saved += lb_saving(b)
    return 0


cdef bint _depth_holds(seen_t* seen, const lblock_t* b) noexcept nogil:
    """Of the tree's block number seen.blocks."""
    cdef size_t window
    cdef lblock_t* compressed
    if seen.s.depth == 0:
        return not b.form & LB_LZF
    window = seen.s.depth - 1
    if seen.blocks < window or seen.s.blocks - 1 - seen.blocks < window:
        return not b.form & LB_LZF
    if b.form & (LB_LZF | LB_TRIED):
        return True
    # A block that others own too is tried in vain without a mark.
    compressed = lb_compressed(seen.heap, b)
    owner_drop(seen.heap, compressed)
    return compressed == NULL


cdef bint _small_together(const seq_t* s, const snode_t* node, size_t i) noexcept nogil:
    """Children i and i + 1."""
    cdef lblock_t both
    cdef const lblock_t* a
    cdef const lblock_t* b
    if node.level:
        return (<snode_t*>node.slots[i].child).n + (<snode_t*>node.slots[i + 1].child).n <= SEQ_FANOUT / 4
    a = <lblock_t*>node.slots[i].child
    b = <lblock_t*>node.slots[i + 1].child
    memset(&both, 0, sizeof(both))
    both.form = (a.form | b.form) & LB_PLAIN
    both.bytes = a.bytes + b.bytes
    both.count = a.count + b.count
    return block_is_small(s, &both)


cdef int _check_node(seen_t* seen, const snode_t* node, int level, size_t count) noexcept nogil:
    cdef size_t i
    cdef size_t total = 0
    cdef size_t before
    cdef int error
    if cf_ref_get(&node.refs) == 0:
        return 1
    if <int>node.level != level or node.n == 0 or node.n > node.cap or node.cap > SEQ_FANOUT:
        return 4
    for i in range(node.n):
        before = seen.len
        if level:
            error = _check_node(seen, <snode_t*>node.slots[i].child, level - 1, node.slots[i].count)
        else:
            error = _check_block(seen, <lblock_t*>node.slots[i].child)
            if not error and not _depth_holds(seen, <lblock_t*>node.slots[i].child):
                error = 8
            seen.blocks += 1
        if error:
            return error
        if seen.len - before != node.slots[i].count:
            return 3
        if i and _small_together(seen.s, node, i - 1):
            return 5
        total += node.slots[i].count
    return 0 if total == count else 3


cdef int seq_check(heap_t* h, const seq_t* s) noexcept nogil:
    cdef seen_t seen
    cdef int error
    cdef int at
    cdef const lblock_t* ends[2]
    memset(&seen, 0, sizeof(seen))
    seen.heap = h
    seen.s = s
    ends[0] = s.head
    ends[1] = s.tail
    if cf_ref_get(&s.refs) == 0:
        return 1
    if (s.head == NULL) != (s.len == 0) or s.tail == NULL and s.top != NULL or s.head == NULL and s.tail != NULL:
        return 2
    for at in range(2):
        if ends[at] != NULL:
            error = _check_block(&seen, ends[at])
            if error:
                return error
            if ends[at].form & LB_LZF:
                return 2
    if s.top != NULL:
        if s.top.level and s.top.n < 2:
            return 4
        error = _check_node(&seen, s.top, s.top.level, s.len - seen.len)
        if error:
            return error
    if seen.len != s.len or seen.bytes != s.bytes or seen.blocks != s.blocks or seen.saved != s.saved:
        return 7
    return 0
