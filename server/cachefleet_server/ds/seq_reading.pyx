"""See seq_reading.pxd."""

from libc.stdint cimport uint8_t

from cachefleet_server.ds.listblock cimport LB_LZF, LB_PLAIN, lb_at, lb_begin, lb_uncompressed, lblock_t
from cachefleet_server.ds.listpack cimport (
    LP_HEAD_MAX, lp_entry_next, lp_entry_prev, lp_equal, lp_get, lp_item_t, lp_put_int, lp_put_str_head)
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.seq_tree cimport path_block, path_edge, path_find, path_step, seq_t
from cachefleet_server.ds.zmalloc cimport heap_t


cdef void _enter(seq_iter_t* it, const lblock_t* b) noexcept nogil:
    """Before the block's first element in the iterator's direction."""
    owner_drop(it.heap, it.own)
    it.own = lb_uncompressed(it.heap, b) if b.form & LB_LZF else NULL
    it.block = b if it.own == NULL else it.own
    it.left = b.count
    it.at = lb_begin(it.block) + (it.block.bytes if it.back else 0)


cdef bint _advance(seq_iter_t* it) noexcept nogil:
    """To the next block; false at the end."""
    cdef const seq_t* s = it.s
    if it.where == SEQ_AT_TREE:
        if path_step(&it.path, it.back):
            _enter(it, path_block(&it.path))
            return True
    elif s.top != NULL and it.where == (SEQ_AT_TAIL if it.back else SEQ_AT_HEAD):
        it.where = SEQ_AT_TREE
        path_edge(s, it.back, &it.path)
        _enter(it, path_block(&it.path))
        return True
    if it.back and (it.where == SEQ_AT_TREE or it.where == SEQ_AT_TAIL):
        it.where = SEQ_AT_HEAD
        _enter(it, s.head)
        return True
    if not it.back and it.where <= SEQ_AT_TREE and s.tail != NULL:
        it.where = SEQ_AT_TAIL
        _enter(it, s.tail)
        return True
    it.where = SEQ_AT_END
    it.block = NULL
    it.left = 0
    return False


cdef void seq_seek(seq_iter_t* it, heap_t* h, const seq_t* s, size_t i, bint back) noexcept nogil:
    cdef const lblock_t* b
    it.s = s
    it.heap = h
    it.own = NULL
    it.back = back
    it.block = NULL
    it.left = 0
    it.where = SEQ_AT_END
    if i >= s.len:
        return
    if i < s.head.count:
        it.where = SEQ_AT_HEAD
        b = s.head
    elif s.tail != NULL and i >= s.len - s.tail.count:
        it.where = SEQ_AT_TAIL
        i -= s.len - s.tail.count
        b = s.tail
    else:
        it.where = SEQ_AT_TREE
        i = path_find(s, i - s.head.count, &it.path)
        b = path_block(&it.path)
    _enter(it, b)
    it.left = i + 1 if back else b.count - i
    if not b.form & LB_PLAIN and it.left != b.count:
        it.at = lb_at(it.block, i + 1 if back else i)


cdef bint seq_next(seq_iter_t* it, lp_item_t* e) noexcept nogil:
    if it.left == 0 and not _advance(it):
        return False
    it.left -= 1
    if it.block.form & LB_PLAIN:
        e.str = lb_begin(it.block)
        e.len = it.block.bytes
    elif it.back:
        it.at = lp_entry_prev(it.at)
        lp_get(it.at, e)
    else:
        lp_get(it.at, e)
        it.at = lp_entry_next(it.at)
    return True


cdef uint8_t _first_byte(const lp_item_t* e) noexcept nogil:
    """Of its entry. It has the kind, and of what is short also the length or the value."""
    cdef char code[LP_HEAD_MAX]
    if e.str != NULL:
        lp_put_str_head(&code[0], e.len)
    else:
        lp_put_int(&code[0], e.num)
    return <uint8_t>code[0]


cdef bint _find_here(
    seq_iter_t* it, const lp_item_t* wanted, uint8_t first, size_t most, size_t* passed
) noexcept nogil:
    """Among the next `most` of this packed block."""
    cdef const char* at = it.at
    cdef const char* here
    cdef bint found = False
    cdef lp_item_t e
    cdef size_t i = 0
    while i < most and not found:
        i += 1
        if it.back:
            at = lp_entry_prev(at)
            here = at
        else:
            here = at
            at = lp_entry_next(at)
        if <uint8_t>here[0] == first:
            lp_get(here, &e)
            found = lp_equal(&e, wanted)
    it.at = at
    it.left -= i
    passed[0] += i - found
    return found


cdef bint seq_find(seq_iter_t* it, const lp_item_t* wanted, size_t most, size_t* passed) noexcept nogil:
    cdef uint8_t first = _first_byte(wanted)
    cdef lp_item_t e
    cdef size_t n
    passed[0] = 0
    while most and (it.left or _advance(it)):
        if it.block.form & LB_PLAIN:
            seq_next(it, &e)
            if lp_equal(&e, wanted):
                return True
            n = 1
            passed[0] += 1
        else:
            n = min(it.left, most)
            if _find_here(it, wanted, first, n, passed):
                return True
        most -= n
    return False


cdef void seq_done(seq_iter_t* it) noexcept nogil:
    owner_drop(it.heap, it.own)
    it.own = NULL


cdef const lblock_t* seq_block(seq_iter_t* it) noexcept nogil:
    return it.block


cdef void seq_block_next(seq_iter_t* it) noexcept nogil:
    _advance(it)
