"""Writing; see sequence.pxd. Reading: seq_reading.pyx; invariants: seq_checking.pyx."""

from libc.stdint cimport uint32_t

from cachefleet_server.ds.intrin cimport cf_ref_drop, cf_ref_get
from cachefleet_server.ds.listblock cimport (
    LB_LZF, LB_PLAIN, LB_TRIED, lb_append_entries, lb_at, lb_begin, lb_cut, lb_get, lb_insert, lb_listpack_check,
    lb_new, lb_plain, lb_split, lb_trim)
from cachefleet_server.ds.listpack cimport (
    LP_EMPTY, LP_HEADER, lp_entry_next, lp_entry_put, lp_entry_size, lp_item, lp_item_t, lp_next, lp_text)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.owners cimport is_shared, owner_add, owner_drop
from cachefleet_server.ds.seq_tree cimport *
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc

cdef enum:
    FILL_MIN = -5
    FILL_BYTES = 4096  # of -1; twice that of -2 ...
    FILL_BYTES_COUNTED = 8192  # of fill >= 0
    FIRST_ROOM = 48  # bytes of a new block
    LEFT_ROOM = 16  # bytes that may be unused in a block that is no end any more
    PUSH_MORE = 8  # bytes over its text that a pushed element is thought to need, at least what its entry does; as
    # Valkey does, whose nodes then end at the same elements
    WINDOW_MORE = 2  # blocks that one change can push away from an end: half of one, and what comes between


cdef seq_t* seq_new(heap_t* h, int fill, int depth) noexcept nogil:
    cdef seq_t* s = <seq_t*>zcalloc(h, sizeof(seq_t))
    s.refs = 1
    s.fill = max(fill, FILL_MIN)
    s.depth = max(depth, 0)
    s.bytes_max = (FILL_BYTES << (-s.fill - 1) if s.fill < 0 else FILL_BYTES_COUNTED) - LP_EMPTY
    s.count_max = 0x7FFFFFFF if s.fill < 0 else max(s.fill, 1)
    return s


cdef seq_t* seq_own(heap_t* h, seq_t* s) noexcept nogil:
    cdef seq_t* new
    if cf_ref_get(&s.refs) == 1:
        return s
    new = <seq_t*>zmalloc(h, sizeof(seq_t))
    new[0] = s[0]
    new.refs = 1
    if s.head != NULL:
        owner_add(s.head)
    if s.tail != NULL:
        owner_add(s.tail)
    if s.top != NULL:
        owner_add(s.top)
    seq_release(h, s)
    return new


cdef void seq_release(heap_t* h, seq_t* s) noexcept nogil:
    if not cf_ref_drop(&s.refs):
        return
    owner_drop(h, s.head)
    owner_drop(h, s.tail)
    node_release(h, s.top)
    zfree(h, s)


cdef bint seq_drain(heap_t* h, seq_t* s, size_t budget) noexcept nogil:
    if cf_ref_get(&s.refs) == 1 and not node_drain(h, &s.top, &budget):
        return False
    seq_release(h, s)
    return True


# ---- ends ----------------------------------------------------------------------------------------

cdef void _keep_depth(heap_t* h, seq_t* s) noexcept nogil:
    """Compression near the ends: blocks may have come nearer, or have been pushed away by one change."""
    cdef size_t window = s.depth - 1  # of the tree's blocks at either end
    cdef size_t k
    cdef int back
    cdef bint raw
    cdef seq_path_t path
    cdef lblock_t* b
    if s.depth == 0 or s.top == NULL:
        return
    for back in range(2):
        path_edge(s, back, &path)
        for k in range(min(s.blocks, window + WINDOW_MORE)):
            b = path_block(&path)
            raw = k < window or s.blocks - 1 - k < window
            if raw if b.form & LB_LZF else not raw and not b.form & LB_TRIED:
                path_own(h, s, &path)
                if raw:
                    block_use(h, s, <lblock_t**>&path_slot(&path).child)
                else:
                    block_compress(h, s, <lblock_t**>&path_slot(&path).child)
            path_step(&path, back)


cdef bint _near(seq_path_t* path, bint back, size_t window) noexcept nogil:
    """Are there fewer than `window` blocks on that side?"""
    cdef seq_path_t other = path[0]
    while window:
        if not path_step(&other, back):
            return True
        window -= 1
    return False


cdef void _keep_depth_at(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """The block of element i may have been uncompressed for a change."""
    cdef seq_path_t path
    cdef lblock_t* b
    if i < s.head.count or s.top == NULL or i >= s.len - s.tail.count:
        return
    path_find(s, i - s.head.count, &path)
    b = path_block(&path)
    if b.form & (LB_LZF | LB_TRIED) or _near(&path, False, s.depth - 1) or _near(&path, True, s.depth - 1):
        return
    path_own(h, s, &path)
    block_compress(h, s, <lblock_t**>&path_slot(&path).child)


cdef void _keep_depth_around(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """After a change at element i."""
    cdef size_t j
    if s.depth == 0 or s.top == NULL:
        return
    for j in range(max(i, <size_t>1) - 1, min(i + 2, s.len)):
        _keep_depth_at(h, s, j)
    _keep_depth(h, s)


cdef void _tidy(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """The block of element i may be small."""
    cdef seq_path_t path
    if i < s.head.count or s.tail == NULL or i >= s.len - s.tail.count:
        return
    path_find(s, i - s.head.count, &path)
    if block_is_small(s, path_block(&path)):
        i -= s.head.count
        tree_cut(h, s, i, i)


cdef void _tree_push(heap_t* h, seq_t* s, bint front, lblock_t* b) noexcept nogil:
    """Takes the block into the tree, at an end; what lies outside the tree is in order."""
    cdef seq_path_t path
    cdef bint small = block_is_small(s, b)
    cdef size_t i
    if not b.form & LB_PLAIN and not is_shared(b):
        lb_trim(h, &b, LEFT_ROOM)
    if s.top != NULL:
        path_edge(s, not front, &path)
        path_own(h, s, &path)
        tree_add(h, s, &path, 0 if front else path.at[path.height - 1] + 1, b)
        if small:
            i = 0 if front else s.len - s.head.count - s.tail.count - 1
            tree_cut(h, s, i, i)
    else:
        tree_add(h, s, NULL, 0, b)
    _keep_depth(h, s)


cdef lblock_t* _tree_pop(heap_t* h, seq_t* s, bint front) noexcept nogil:
    """The tree's first or last block, which is not in it any more."""
    cdef seq_path_t path
    cdef lblock_t* b
    cdef size_t total = 0
    cdef size_t i
    path_edge(s, not front, &path)
    if not front:
        for i in range(s.top.n):
            total += s.top.slots[i].count
    if path_block(&path).form & LB_LZF:
        path_own(h, s, &path)
        block_use(h, s, <lblock_t**>&path_slot(&path).child)
    b = path_block(&path)
    owner_add(b)
    s.bytes += b.bytes  # which tree_cut subtracts
    if front:
        tree_cut(h, s, 0, b.count)
    else:
        tree_cut(h, s, total - b.count, total)
    return b


cdef void _refill(heap_t* h, seq_t* s) noexcept nogil:
    """Takes blocks from the tree for ends that are empty."""
    if s.head == NULL:
        if s.top != NULL:
            s.head = _tree_pop(h, s, True)
        else:
            s.head = s.tail
            s.tail = NULL
    if s.tail == NULL and s.top != NULL:
        s.tail = _tree_pop(h, s, False)
    _keep_depth(h, s)


cdef void _end_block(heap_t* h, seq_t* s, bint front, lblock_t* b) noexcept nogil:
    """A new block at an end. Its elements are counted already."""
    cdef lblock_t* full
    if s.head == NULL:
        s.head = b
    elif s.tail == NULL:
        s.tail = s.head if front else b
        if front:
            s.head = b
    elif front:
        full = s.head
        s.head = b
        _tree_push(h, s, True, full)
    else:
        full = s.tail
        s.tail = b
        _tree_push(h, s, False, full)


cdef inline lblock_t** _end(seq_t* s, bint front) noexcept nogil:
    return &s.head if front or s.tail == NULL else &s.tail


cdef inline bint _takes(const seq_t* s, const lblock_t* b, size_t size, size_t count) noexcept nogil:
    return b != NULL and not b.form & LB_PLAIN and block_has_room(s, b, size, count)


cdef inline size_t _value_size(const seq_t* s, const char* p, size_t n, lp_item_t* e) noexcept nogil:
    """Prepares an element. Bytes of its entry; more than bytes_max: it will be plain."""
    lp_item(p, n, e)
    return n if n > s.bytes_max else lp_entry_size(e)


cdef void seq_push(heap_t* h, seq_t* s, bint front, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t e
    cdef size_t size = _value_size(s, p, n, &e)
    cdef lblock_t** place = _end(s, front)
    cdef lblock_t* b
    cdef size_t room
    s.len += 1
    if _takes(s, place[0], max(size, n + PUSH_MORE), 1):
        block_use(h, s, place)
        lb_insert(h, place, 0 if front else place[0].bytes, &e, s.bytes_max)
        s.bytes += size
        return
    if size > s.bytes_max:
        b = lb_plain(h, p, n)
    else:
        room = max(size, <size_t>FIRST_ROOM)
        b = lb_new(h, room, room if front else 0)
        lb_insert(h, &b, 0, &e, s.bytes_max)
    s.bytes += b.bytes
    _end_block(h, s, front, b)


cdef void _cut_end(heap_t* h, seq_t* s, lblock_t** place, size_t a, size_t b) noexcept nogil:
    """Removes elements [a, b) of the head or tail block; it may be empty then."""
    cdef size_t before = place[0].bytes
    if b - a == place[0].count:
        # An only owner's empty block would be no use: an end that is empty is replaced.
        owner_drop(h, place[0])
        place[0] = NULL
        s.bytes -= before
        return
    block_use(h, s, place)
    before = place[0].bytes
    lb_cut(h, place, a, b)
    s.bytes -= before - place[0].bytes


cdef void seq_pop(heap_t* h, seq_t* s, bint front) noexcept nogil:
    cdef lblock_t** place = _end(s, front)
    cdef size_t i = 0 if front else place[0].count - 1
    s.len -= 1
    _cut_end(h, s, place, i, i + 1)
    if place[0] == NULL:
        _refill(h, s)


cdef void seq_peek(const seq_t* s, bint front, lp_item_t* e) noexcept nogil:
    if front or s.tail == NULL:
        lb_get(s.head, 0 if front else s.head.count - 1, e)
    else:
        lb_get(s.tail, s.tail.count - 1, e)


# ---- anywhere ------------------------------------------------------------------------------------

cdef lblock_t** _use(heap_t* h, seq_t* s, size_t i, seq_path_t* path, size_t* index) noexcept nogil:
    """The block of element i, to be changed, and its number in it. The path has no height for an end's block."""
    cdef lblock_t** place
    path.height = 0
    if i < s.head.count:
        index[0] = i
        place = &s.head
    elif s.tail != NULL and i >= s.len - s.tail.count:
        index[0] = i - (s.len - s.tail.count)
        place = &s.tail
    else:
        index[0] = path_find(s, i - s.head.count, path)
        path_own(h, s, path)
        place = <lblock_t**>&path_slot(path).child
    return place


cdef bint _replace(
    heap_t* h, seq_t* s, lblock_t** place, size_t index, const lp_item_t* e, size_t size
) noexcept nogil:
    """An element of a packed block by another; false: the block has no room for that."""
    cdef size_t before
    cdef char* at
    block_use(h, s, place)
    before = place[0].bytes
    at = <char*>lb_at(place[0], index)
    if size == <size_t>(lp_entry_next(at) - at):
        lp_entry_put(at, e)
        place[0].form &= ~<uint32_t>LB_TRIED
        return True
    if before - (lp_entry_next(at) - at) + size > s.bytes_max:
        return False
    # The new one first: a block that the removal had made smaller would grow again.
    lb_insert(h, place, at - lb_begin(place[0]), e, s.bytes_max)
    lb_cut(h, place, index + 1, index + 2)
    s.bytes += place[0].bytes - before
    return True


cdef void seq_set(heap_t* h, seq_t* s, size_t i, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t e
    cdef seq_path_t path
    cdef size_t index
    cdef size_t size = _value_size(s, p, n, &e)
    cdef lblock_t** place = _use(h, s, i, &path, &index)
    if size <= s.bytes_max and not place[0].form & LB_PLAIN and _replace(h, s, place, index, &e, size):
        _tidy(h, s, i)
        _keep_depth_around(h, s, i)
        return
    seq_remove(h, s, i, i + 1)
    seq_insert(h, s, i, False, p, n)


cdef void _put_between(heap_t* h, seq_t* s, size_t i, lblock_t* b) noexcept nogil:
    """A new block before element i, which begins one. len does not have it yet."""
    cdef seq_path_t path
    cdef size_t in_tree = s.len - s.head.count - s.tail.count
    s.len += b.count
    s.bytes += b.bytes
    i -= s.head.count
    if i == 0:
        _tree_push(h, s, True, b)
    elif i == in_tree:
        _tree_push(h, s, False, b)
    else:
        path_find(s, i, &path)
        path_own(h, s, &path)
        tree_add(h, s, &path, path.at[path.height - 1], b)


cdef void _split_at(heap_t* h, seq_t* s, lblock_t** place, seq_path_t* path, size_t index) noexcept nogil:
    """Splits a packed block in two before its element `index`. Both may be small, and would fit together."""
    cdef lblock_t* rest
    cdef lblock_t* former
    block_use(h, s, place)
    rest = lb_split(h, place, index)
    if path.height:
        lb_trim(h, place, 0)
        path_count(path, 0 - <size_t>rest.count)
        tree_add(h, s, path, path.at[path.height - 1] + 1, rest)
    elif place == &s.tail:
        former = s.tail
        s.tail = rest
        _tree_push(h, s, False, former)
    elif s.tail == NULL:
        s.tail = rest
    else:
        _tree_push(h, s, True, rest)


cdef bint _insert_beside(
    heap_t* h, seq_t* s, size_t i, bint after, const lp_item_t* e, size_t size
) noexcept nogil:
    """Into the block of element i - 1 (after it) or that of i; false: it has no room."""
    cdef seq_path_t path
    cdef size_t index
    cdef lblock_t** place = _use(h, s, i - after, &path, &index)
    if not _takes(s, place[0], size, 1):
        return False
    block_use(h, s, place)
    lb_insert(h, place, lb_at(place[0], index + after) - lb_begin(place[0]), e, s.bytes_max)
    path_count(&path, 1)
    s.len += 1
    s.bytes += size
    return True


cdef bint _split_before(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """Has element i begin a block; false: it does already."""
    cdef seq_path_t path
    cdef size_t index
    cdef lblock_t** place = _use(h, s, i, &path, &index)
    if index == 0:
        return False
    _split_at(h, s, place, &path, index)
    return True


cdef size_t _begin_of(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """The first element of the block of element i."""
    cdef seq_path_t path
    cdef size_t index
    _use(h, s, i, &path, &index)
    return i - index


cdef void _merge(heap_t* h, seq_t* s, size_t i) noexcept nogil:
    """The block that element i begins goes into the one before it, if that has room for all.

    Not within the tree, which joins what is small by a rule of its own: where the nodes are counted that make a list a
    quicklist, nearly all are ends.
    """
    cdef seq_path_t path
    cdef size_t index
    cdef lblock_t** place
    cdef lblock_t* b
    if i == 0 or i >= s.len:
        return
    b = _use(h, s, i, &path, &index)[0]
    place = _use(h, s, i - 1, &path, &index)
    if path.height and b != s.tail or b.form & LB_PLAIN or not _takes(s, place[0], b.bytes, b.count):
        return
    b = block_use(h, s, _use(h, s, i, &path, &index))[0]
    owner_add(b)
    seq_remove(h, s, i, i + b.count)
    place = block_use(h, s, _use(h, s, i - 1, &path, &index))
    lb_append_entries(h, place, lb_begin(b), b.bytes, b.count, s.bytes_max)
    path_count(&path, b.count)
    s.len += b.count
    s.bytes += b.bytes
    owner_drop(h, b)


cdef void _merge_around(heap_t* h, seq_t* s, size_t pivot) noexcept nogil:
    """Where the pivot's block was split: in the order that Valkey has, with each side's neighbour first."""
    cdef size_t begin = _begin_of(h, s, pivot)
    cdef size_t next
    cdef seq_path_t path
    cdef size_t index
    if begin:
        _merge(h, s, _begin_of(h, s, begin - 1))
    next = begin + _use(h, s, begin, &path, &index)[0].count
    if next < s.len:
        _merge(h, s, next + _use(h, s, next, &path, &index)[0].count)
    _merge(h, s, begin)
    begin = _begin_of(h, s, pivot)
    _merge(h, s, begin + _use(h, s, begin, &path, &index)[0].count)


cdef void seq_insert(heap_t* h, seq_t* s, size_t i, bint after, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t e
    cdef bint split = False
    cdef lblock_t* b
    cdef size_t size = _value_size(s, p, n, &e)
    if i == 0 or i == s.len:
        seq_push(h, s, i == 0, p, n)
        return
    if not _insert_beside(h, s, i, after, &e, size):
        split = _split_before(h, s, i)
        # As in Valkey, it joins the part that its pivot is not in.
        if not _insert_beside(h, s, i, not after, &e, size) and not (
                split and _insert_beside(h, s, i, after, &e, size)):
            if size > s.bytes_max:
                b = lb_plain(h, p, n)
            else:
                b = lb_new(h, size, 0)
                lb_insert(h, &b, 0, &e, s.bytes_max)
            _put_between(h, s, i, b)
    if split:
        _merge_around(h, s, i - 1 if after else i + 1)
        _tidy(h, s, i + 1)
        _tidy(h, s, i - 1)
    _keep_depth_around(h, s, i)


cdef void seq_remove(heap_t* h, seq_t* s, size_t a, size_t b) noexcept nogil:
    cdef size_t in_head, in_tail, middle
    if a >= b:
        return
    in_head = s.head.count
    in_tail = s.tail.count if s.tail != NULL else 0
    middle = s.len - in_head - in_tail  # elements in the tree
    s.len -= b - a
    if b > in_head + middle:
        _cut_end(h, s, &s.tail, max(a, in_head + middle) - in_head - middle, b - in_head - middle)
    if a < in_head + middle and b > in_head and middle:
        tree_cut(h, s, max(a, in_head) - in_head, min(b, in_head + middle) - in_head)
    if a < in_head:
        _cut_end(h, s, &s.head, a, min(b, in_head))
    if s.head == NULL or s.tail == NULL and s.top != NULL:
        _refill(h, s)
    if s.len:
        _keep_depth_around(h, s, a)


# ---- files ---------------------------------------------------------------------------------------

cdef void _append_each(heap_t* h, seq_t* s, const char* p) noexcept nogil:
    """The elements of a valid listpack."""
    cdef lp_item_t item
    cdef char buf[INT64_CHARS_MAX]
    cdef const char* text
    cdef size_t at = LP_HEADER
    cdef size_t n
    while lp_next(p, &at, &item):
        text = lp_text(&item, &buf[0], &n)
        seq_push(h, s, False, text, n)


cdef bint seq_append_listpack(heap_t* h, seq_t* s, const char* p, size_t n) noexcept nogil:
    cdef bint odd = False
    cdef size_t count = lb_listpack_check(p, n, &odd)
    cdef lblock_t** place = _end(s, False)
    cdef lblock_t* b
    if count <= 1:
        return count == 1
    count -= 1
    n -= LP_EMPTY
    if odd or n > s.bytes_max or count > s.count_max:
        _append_each(h, s, p)
        return True
    p += LP_HEADER
    s.len += count
    s.bytes += n
    if _takes(s, place[0], n, count):
        block_use(h, s, place)
        lb_append_entries(h, place, p, n, count, s.bytes_max)
    else:
        b = lb_new(h, n, 0)
        lb_append_entries(h, &b, p, n, count, s.bytes_max)
        _end_block(h, s, False, b)
    return True


cdef size_t seq_memory(const seq_t* s) noexcept nogil:
    # Of nodes only the slots in use are counted: on the whole tree a fiftieth is more.
    return (
        sizeof(seq_t) + s.bytes - s.saved + seq_blocks(s) * (sizeof(lblock_t) + sizeof(size_t))
        + s.blocks * sizeof(seq_slot_t)
    )
