"""See seq_tree.pxd."""

from libc.string cimport memcpy, memmove

from cachefleet_server.ds.intrin cimport cf_ref_drop, cf_ref_get
from cachefleet_server.ds.listblock cimport (
    LB_COMPRESS_MIN, LB_LZF, LB_PLAIN, LB_TRIED, lb_append_entries, lb_begin, lb_compressed, lb_copy, lb_cut,
    lb_saving, lb_uncompressed)
from cachefleet_server.ds.owners cimport is_shared, owner_add, owner_drop
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc

cdef enum:
    CAP_MIN = 4  # children


# ---- nodes ---------------------------------------------------------------------------------------

cdef inline size_t _node_bytes(size_t cap) noexcept nogil:
    return sizeof(snode_t) + cap * sizeof(seq_slot_t)


cdef inline size_t _cap_for(size_t n) noexcept nogil:
    cdef size_t cap = CAP_MIN
    while cap < n:
        cap *= 2
    return cap


cdef snode_t* _node_new(heap_t* h, int level, size_t n) noexcept nogil:
    """Without children, with room for n."""
    cdef size_t cap = _cap_for(n)
    cdef snode_t* node = <snode_t*>zmalloc(h, _node_bytes(cap))
    node.refs = 1
    node.n = 0
    node.cap = cap
    node.level = level
    return node


cdef inline void _child_release(heap_t* h, const snode_t* node, void* child) noexcept nogil:
    if node.level:
        node_release(h, <snode_t*>child)
    else:
        owner_drop(h, child)


cdef void node_release(heap_t* h, snode_t* node) noexcept nogil:
    cdef size_t i
    if node == NULL or not cf_ref_drop(&node.refs):
        return
    for i in range(node.n):
        _child_release(h, node, node.slots[i].child)
    zfree(h, node)


cdef bint node_drain(heap_t* h, snode_t** place, size_t* budget) noexcept nogil:
    cdef snode_t* node = place[0]
    if node == NULL:
        return True
    while node.n and budget[0] and cf_ref_get(&node.refs) == 1:
        if node.level == 0:
            owner_drop(h, node.slots[node.n - 1].child)
            budget[0] -= 1
        elif not node_drain(h, <snode_t**>&node.slots[node.n - 1].child, budget):
            return False
        node.n -= 1
    if budget[0] == 0:
        return False
    budget[0] -= 1
    node_release(h, node)
    place[0] = NULL
    return True


cdef void _node_own(heap_t* h, snode_t** place) noexcept nogil:
    cdef snode_t* node = place[0]
    cdef snode_t* new
    cdef size_t i
    if cf_ref_get(&node.refs) == 1:
        return
    new = _node_new(h, node.level, node.n)
    new.n = node.n
    memcpy(&new.slots[0], &node.slots[0], node.n * sizeof(seq_slot_t))
    for i in range(node.n):
        owner_add(node.slots[i].child)
    place[0] = new
    node_release(h, node)  # the other owner may have let go meanwhile


cdef void _slots_put(heap_t* h, snode_t** place, int at, void* child, size_t count) noexcept nogil:
    """A child more in an owned node that has not SEQ_FANOUT yet."""
    cdef snode_t* node = place[0]
    if node.n == node.cap:
        node = <snode_t*>zrealloc(h, node, _node_bytes(2 * node.cap))
        node.cap *= 2
        place[0] = node
    memmove(&node.slots[at + 1], &node.slots[at], (node.n - at) * sizeof(seq_slot_t))
    node.slots[at].child = child
    node.slots[at].count = count
    node.n += 1


cdef void _slots_take(snode_t* node, size_t at, size_t n) noexcept nogil:
    """n children less, whose owner is the caller now."""
    memmove(&node.slots[at], &node.slots[at + n], (node.n - at - n) * sizeof(seq_slot_t))
    node.n -= n


cdef size_t _total(const snode_t* node) noexcept nogil:
    cdef size_t total = 0
    cdef size_t i
    for i in range(node.n):
        total += node.slots[i].count
    return total


# ---- paths ---------------------------------------------------------------------------------------

cdef size_t path_find(const seq_t* s, size_t i, seq_path_t* path) noexcept nogil:
    cdef snode_t* node = s.top
    cdef int level = 0
    cdef int at
    while True:
        at = 0
        while i >= node.slots[at].count:
            i -= node.slots[at].count
            at += 1
        path.node[level] = node
        path.at[level] = at
        level += 1
        if node.level == 0:
            path.height = level
            return i
        node = <snode_t*>node.slots[at].child


cdef void _edge_from(seq_path_t* path, int level, snode_t* node, bint back) noexcept nogil:
    while True:
        path.node[level] = node
        path.at[level] = node.n - 1 if back else 0
        if node.level == 0:
            return
        node = <snode_t*>node.slots[path.at[level]].child
        level += 1


cdef void path_edge(const seq_t* s, bint back, seq_path_t* path) noexcept nogil:
    path.height = s.top.level + 1
    _edge_from(path, 0, s.top, back)


cdef bint path_step(seq_path_t* path, bint back) noexcept nogil:
    cdef int level = path.height
    cdef int at
    while level:
        level -= 1
        at = path.at[level] + (-1 if back else 1)
        if 0 <= at < <int>path.node[level].n:
            path.at[level] = at
            if level + 1 < path.height:
                _edge_from(path, level + 1, <snode_t*>path.node[level].slots[at].child, back)
            return True
    return False


cdef inline snode_t** _place(seq_t* s, seq_path_t* path, int level) noexcept nogil:
    """Where the pointer to the path's node lies."""
    if level == 0:
        return &s.top
    return <snode_t**>&path.node[level - 1].slots[path.at[level - 1]].child


cdef void path_own(heap_t* h, seq_t* s, seq_path_t* path) noexcept nogil:
    cdef int level
    cdef snode_t** place
    for level in range(path.height):
        place = _place(s, path, level)
        _node_own(h, place)
        path.node[level] = place[0]


cdef void path_count(seq_path_t* path, size_t more) noexcept nogil:
    cdef int level
    for level in range(path.height):
        path.node[level].slots[path.at[level]].count += more


# ---- blocks --------------------------------------------------------------------------------------

cdef inline void _block_put(heap_t* h, seq_t* s, lblock_t** place, lblock_t* b) noexcept nogil:
    """Another form of the same block."""
    s.saved += lb_saving(b) - lb_saving(place[0])
    owner_drop(h, place[0])
    place[0] = b


cdef lblock_t** block_use(heap_t* h, seq_t* s, lblock_t** place) noexcept nogil:
    if place[0].form & LB_LZF:
        _block_put(h, s, place, lb_uncompressed(h, place[0]))
    elif is_shared(place[0]):
        _block_put(h, s, place, lb_copy(h, place[0]))
    return place


cdef void block_compress(heap_t* h, seq_t* s, lblock_t** place) noexcept nogil:
    cdef lblock_t* new
    if place[0].form & (LB_LZF | LB_TRIED) or place[0].bytes < LB_COMPRESS_MIN:
        return
    new = lb_compressed(h, place[0])
    if new != NULL:
        _block_put(h, s, place, new)
    elif not is_shared(place[0]):
        place[0].form |= LB_TRIED


cdef inline size_t _quarter(size_t n) noexcept nogil:
    return (n + 3) / 4


cdef inline size_t _half(size_t n) noexcept nogil:
    return (n + 1) / 2


cdef bint block_is_small(const seq_t* s, const lblock_t* b) noexcept nogil:
    return not b.form & LB_PLAIN and b.bytes <= _quarter(s.bytes_max) and b.count <= _quarter(s.count_max)


cdef inline bint _child_is_small(const seq_t* s, const snode_t* node, size_t i) noexcept nogil:
    if node.level:
        return (<snode_t*>node.slots[i].child).n <= _quarter(SEQ_FANOUT)
    return block_is_small(s, <lblock_t*>node.slots[i].child)


cdef bint _blocks_fit(const seq_t* s, const lblock_t* a, const lblock_t* b) noexcept nogil:
    return (
        not (a.form | b.form) & LB_PLAIN and a.bytes + b.bytes <= _half(s.bytes_max)
        and a.count + b.count <= _half(s.count_max)
    )


cdef void _join_blocks(heap_t* h, seq_t* s, lblock_t** place, lblock_t** from_) noexcept nogil:
    """Moves the second one's entries to the end of the first, and gives it up."""
    block_use(h, s, place)
    if from_[0].form & LB_LZF:
        block_use(h, s, from_)
    lb_append_entries(h, place, lb_begin(from_[0]), from_[0].bytes, from_[0].count, s.bytes_max)
    owner_drop(h, from_[0])
    s.blocks -= 1
    if s.depth:
        block_compress(h, s, place)


cdef void _join(heap_t* h, seq_t* s, snode_t* node, size_t i) noexcept nogil:
    """Joins the children i and i + 1 of an owned node if they fit. The node itself may be left with one child."""
    cdef snode_t* a
    cdef snode_t* b
    cdef size_t n, j
    if node.level == 0:
        if not _blocks_fit(s, <lblock_t*>node.slots[i].child, <lblock_t*>node.slots[i + 1].child):
            return
        _join_blocks(h, s, <lblock_t**>&node.slots[i].child, <lblock_t**>&node.slots[i + 1].child)
    else:
        a = <snode_t*>node.slots[i].child
        b = <snode_t*>node.slots[i + 1].child
        n = a.n
        if n + b.n > _half(SEQ_FANOUT):
            return
        _node_own(h, <snode_t**>&node.slots[i].child)
        for j in range(b.n):
            owner_add(b.slots[j].child)
            _slots_put(h, <snode_t**>&node.slots[i].child, n + j, b.slots[j].child, b.slots[j].count)
        node_release(h, b)
        _join(h, s, <snode_t*>node.slots[i].child, n - 1)
    node.slots[i].count += node.slots[i + 1].count
    _slots_take(node, i + 1, 1)


cdef void _join_around(heap_t* h, seq_t* s, snode_t* node, size_t i) noexcept nogil:
    """The child i may have become small."""
    if i >= node.n or not _child_is_small(s, node, i):
        return
    if i + 1 < node.n:
        _join(h, s, node, i)
    if i > 0:
        _join(h, s, node, i - 1)


# ---- adding --------------------------------------------------------------------------------------

cdef snode_t* _split(heap_t* h, seq_t* s, seq_path_t* path, int level, int at) noexcept nogil:
    """Takes the later children of a full node into a new one, and says where `at` is then: in the new one if the old
    one's path says n.

    Half of them; but at the edge of the tree, where one is added at the very end, none: a list that grows at its end
    leaves full nodes behind. (Elsewhere a neighbour could fit together with a node of one child.)
    """
    cdef snode_t* node = path.node[level]
    cdef snode_t* up = path.node[level - 1] if level else NULL
    cdef size_t cut = node.n / 2
    cdef snode_t* right
    if at == 0 and (up == NULL or path.at[level - 1] == 0):
        cut = 0
    elif at == <int>node.n and (up == NULL or path.at[level - 1] == <int>up.n - 1):
        cut = node.n
    right = _node_new(h, node.level, node.n - cut)
    memcpy(&right.slots[0], &node.slots[cut], (node.n - cut) * sizeof(seq_slot_t))
    right.n = node.n - cut
    node.n = cut
    return right


cdef void _add(heap_t* h, seq_t* s, seq_path_t* path, int level, int at, void* child, size_t count) noexcept nogil:
    """The nodes above have the count already."""
    cdef snode_t** place = _place(s, path, level)
    cdef snode_t* up
    cdef snode_t* right
    cdef size_t n = place[0].n
    if n < SEQ_FANOUT:
        _slots_put(h, place, at, child, count)
        return
    right = _split(h, s, path, level, at)
    n = place[0].n
    if at < <int>n or n == 0:
        _slots_put(h, place, at, child, count)
    else:
        _slots_put(h, &right, at - n, child, count)
    if level == 0:
        up = _node_new(h, place[0].level + 1, 2)
        _slots_put(h, &up, 0, place[0], _total(place[0]))
        _slots_put(h, &up, 1, right, _total(right))
        s.top = up
        return
    path.node[level - 1].slots[path.at[level - 1]].count = _total(place[0])
    _add(h, s, path, level - 1, path.at[level - 1] + 1, right, _total(right))


cdef void tree_add(heap_t* h, seq_t* s, seq_path_t* path, int at, lblock_t* b) noexcept nogil:
    cdef int level
    s.blocks += 1
    s.saved += lb_saving(b)
    if s.top == NULL:
        s.top = _node_new(h, 0, 1)
        _slots_put(h, &s.top, 0, b, b.count)
        return
    for level in range(path.height - 1):
        path.node[level].slots[path.at[level]].count += b.count
    _add(h, s, path, path.height - 1, at, b, b.count)


# ---- removing ------------------------------------------------------------------------------------

cdef void _forget_block(heap_t* h, seq_t* s, lblock_t* b) noexcept nogil:
    s.bytes -= b.bytes
    s.saved -= lb_saving(b)
    s.blocks -= 1
    owner_drop(h, b)


cdef void _forget(heap_t* h, seq_t* s, snode_t* node) noexcept nogil:
    """Gives a whole subtree up. Its blocks are visited even if others own them, for their bytes."""
    cdef bint last = cf_ref_get(&node.refs) == 1
    cdef size_t i
    for i in range(node.n):
        if not last:
            owner_add(node.slots[i].child)
        if node.level:
            _forget(h, s, <snode_t*>node.slots[i].child)
        else:
            _forget_block(h, s, <lblock_t*>node.slots[i].child)
    if last:
        node.n = 0
    node_release(h, node)


cdef void _cut_block(heap_t* h, seq_t* s, lblock_t** place, size_t a, size_t b) noexcept nogil:
    cdef size_t before
    block_use(h, s, place)
    before = place[0].bytes
    lb_cut(h, place, a, b)
    s.bytes -= before - place[0].bytes


cdef void _fit(heap_t* h, snode_t** place) noexcept nogil:
    """Gives back what an owned node has too much room."""
    cdef size_t cap = _cap_for(place[0].n)
    if 4 * cap <= place[0].cap:
        place[0] = <snode_t*>zrealloc(h, place[0], _node_bytes(2 * cap))
        place[0].cap = 2 * cap


cdef void _cut(heap_t* h, seq_t* s, snode_t** place, size_t a, size_t b) noexcept nogil:
    """Elements [a, b) of a node, but not all of them; if a == b see tree_cut."""
    cdef snode_t* node
    cdef size_t i = 0
    cdef size_t low = 0  # elements before child i
    cdef size_t first, n, from_, to
    _node_own(h, place)
    node = place[0]
    while a >= low + node.slots[i].count:
        low += node.slots[i].count
        i += 1
    first = i
    n = 0
    while i < node.n and (low < b or a == b and i == first):
        from_ = max(a, low) - low
        to = min(b - low, node.slots[i].count)
        low += node.slots[i].count
        if to - from_ == node.slots[i].count:
            if node.level:
                _forget(h, s, <snode_t*>node.slots[i].child)
            else:
                _forget_block(h, s, <lblock_t*>node.slots[i].child)
            if n == 0:
                first = i
            n += 1
        else:
            if node.level:
                _cut(h, s, <snode_t**>&node.slots[i].child, from_, to)
            elif from_ < to:
                _cut_block(h, s, <lblock_t**>&node.slots[i].child, from_, to)
            node.slots[i].count -= to - from_
        i += 1
    if n:
        _slots_take(node, first, n)
    # What has changed now are the children first - 1 ... first + 1, and a join changes the numbers behind it alone.
    _join_around(h, s, node, first + 1)
    _join_around(h, s, node, first)
    if first:
        _join_around(h, s, node, first - 1)
    _fit(h, place)


cdef void tree_cut(heap_t* h, seq_t* s, size_t a, size_t b) noexcept nogil:
    cdef snode_t* node = s.top
    if a == 0 and b == _total(node):
        _forget(h, s, node)
        s.top = NULL
        return
    _cut(h, s, &s.top, a, b)
    while s.top.level and s.top.n == 1:
        node = s.top  # not always owned, if it was below another one until now
        s.top = <snode_t*>node.slots[0].child
        owner_add(s.top)
        node_release(h, node)
