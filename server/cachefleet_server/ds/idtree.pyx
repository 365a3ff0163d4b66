"""See idtree.pxd."""

from libc.string cimport memcpy, memmove

from cachefleet_server.ds.intrin cimport cf_ref_drop, cf_ref_get
from cachefleet_server.ds.owners cimport owner_add, owner_drop
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc

cdef enum:
    CAP_MIN = 4
    SMALL = IDT_FANOUT // 4  # records of a node that is joined with a neighbour
    JOINED_MAX = IDT_FANOUT // 2
    INNER_SIZE = 24  # an id and a pointer

# ---- nodes -------------------------------------------------------------------------------------------

cdef inline size_t _node_bytes(size_t cap, size_t size) noexcept nogil:
    return sizeof(idt_node_t) + cap * size


cdef idt_node_t* _node_new(heap_t* h, const idt_node_t* like, size_t n) noexcept nogil:
    """Without records, with room for n."""
    cdef size_t cap = CAP_MIN
    cdef idt_node_t* node
    while cap < n:
        cap *= 2
    node = <idt_node_t*>zmalloc(h, _node_bytes(cap, like.size))
    node.refs = 1
    node.n = 0
    node.cap = cap
    node.level = like.level
    node.size = like.size
    node.owns = like.owns
    return node


cdef inline void _link_release(heap_t* h, const idt_node_t* node, size_t i) noexcept nogil:
    if node.level:
        _release(h, <idt_node_t*>idt_link(node, i)[0])
    elif node.owns:
        owner_drop(h, idt_link(node, i)[0])


cdef void _release(heap_t* h, idt_node_t* node) noexcept nogil:
    cdef size_t i
    if node == NULL or not cf_ref_drop(&node.refs):
        return
    if node.owns:
        for i in range(node.n):
            _link_release(h, node, i)
    zfree(h, node)


cdef void idt_release(heap_t* h, idtree_t* t) noexcept nogil:
    _release(h, t.top)
    t.top = NULL
    t.count = 0


cdef void _copy_records(idt_node_t* to, const idt_node_t* from_, size_t at, size_t n) noexcept nogil:
    """Behind the target's own; they have one owner more."""
    cdef size_t i
    memcpy(idt_record(to, to.n), idt_record(from_, at), n * to.size)
    if from_.owns:
        for i in range(at, at + n):
            owner_add(idt_link(from_, i)[0])
    to.n += n


cdef idt_node_t* _own(heap_t* h, idt_node_t** place) noexcept nogil:
    cdef idt_node_t* node = place[0]
    cdef idt_node_t* new
    if cf_ref_get(&node.refs) == 1:
        return node
    new = _node_new(h, node, node.n)
    _copy_records(new, node, 0, node.n)
    place[0] = new
    _release(h, node)  # the other owner may have let go meanwhile
    return new


cdef sid_t* _gap(heap_t* h, idt_node_t** place, size_t at, const sid_t* id) noexcept nogil:
    """A record more in an owned node that is not full."""
    cdef idt_node_t* node = place[0]
    cdef sid_t* record
    if node.n == node.cap:
        node = <idt_node_t*>zrealloc(h, node, _node_bytes(2 * node.cap, node.size))
        node.cap *= 2
        place[0] = node
    record = idt_record(node, at)
    memmove(<char*>record + node.size, record, (node.n - at) * node.size)
    record[0] = id[0]
    node.n += 1
    return record


cdef void _close(idt_node_t* node, size_t at) noexcept nogil:
    """A record less."""
    cdef char* record = <char*>idt_record(node, at)
    node.n -= 1
    memmove(record, record + node.size, (node.n - at) * node.size)


cdef inline size_t _count_below(const idt_node_t* node, const sid_t* id, bint with_equal) noexcept nogil:
    """Records below id, or not above it. Of an inner node the first one is below any."""
    cdef size_t low = node.level > 0
    cdef size_t high = node.n
    cdef size_t middle
    while low < high:
        middle = (low + high) / 2
        if sid_compare(idt_record(node, middle), id) < <int>with_equal:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline size_t _route(const idt_node_t* node, const sid_t* id) noexcept nogil:
    """The child below which the id is, or would be."""
    return _count_below(node, id, True) - 1

# ---- changes -----------------------------------------------------------------------------------------

cdef void* idt_find(const idtree_t* t, const sid_t* id) noexcept nogil:
    cdef idt_node_t* node = t.top
    cdef size_t i
    if node == NULL:
        return NULL
    while node.level:
        node = <idt_node_t*>idt_link(node, _route(node, id))[0]
    i = _count_below(node, id, False)
    if i < node.n and sid_compare(idt_record(node, i), id) == 0:
        return idt_record(node, i)
    return NULL


cdef sid_t* _add(
    heap_t* h, idt_node_t** place, size_t at, const sid_t* id, bint last, idt_node_t** right
) noexcept nogil:
    """A record more in an owned node; `right` is what became of its later half if it was full. `last`: the node is the
    last one of its level."""
    cdef idt_node_t* node = place[0]
    cdef size_t cut
    if node.n < IDT_FANOUT:
        return _gap(h, place, at, id)
    cut = node.n if last and at == node.n else node.n / 2
    right[0] = _node_new(h, node, node.n - cut)
    memcpy(&right[0].data[0], idt_record(node, cut), (node.n - cut) * node.size)
    right[0].n = node.n - cut
    node.n = cut
    if at <= cut and right[0].n:
        return _gap(h, place, at, id)
    return _gap(h, right, at - cut, id)


cdef void* _put(
    heap_t* h, idt_node_t** place, const sid_t* id, bint last, bint* is_new, idt_node_t** right
) noexcept nogil:
    cdef idt_node_t* node = _own(h, place)
    cdef idt_node_t* child = NULL
    cdef sid_t* up
    cdef void* record
    cdef size_t i
    if node.level == 0:
        i = _count_below(node, id, False)
        if i < node.n and sid_compare(idt_record(node, i), id) == 0:
            return idt_record(node, i)
        is_new[0] = True
        return _add(h, place, i, id, last, right)
    i = _route(node, id)
    record = _put(h, <idt_node_t**>idt_link(node, i), id, last and i + 1 == node.n, is_new, &child)
    if child != NULL:
        up = _add(h, place, i + 1, idt_record(child, 0), last, right)
        (<void**>(up + 1))[0] = child
    return record


cdef void* idt_put(heap_t* h, idtree_t* t, const sid_t* id, bint* is_new) noexcept nogil:
    cdef idt_node_t like
    cdef idt_node_t* right = NULL
    cdef idt_node_t* top
    cdef void* record
    if t.top == NULL:
        like.level = 0
        like.size = t.size
        like.owns = t.owns
        t.top = _node_new(h, &like, CAP_MIN)
    is_new[0] = False
    record = _put(h, &t.top, id, True, is_new, &right)
    t.count += is_new[0]
    if right != NULL:
        like.level = t.top.level + 1
        like.size = INNER_SIZE
        like.owns = True
        top = _node_new(h, &like, CAP_MIN)
        (<void**>(_gap(h, &top, 0, idt_record(t.top, 0)) + 1))[0] = t.top
        (<void**>(_gap(h, &top, 1, idt_record(right, 0)) + 1))[0] = right
        t.top = top
    return record


cdef void* idt_last_own(heap_t* h, idtree_t* t) noexcept nogil:
    cdef idt_node_t* node
    if t.top == NULL:
        return NULL
    node = _own(h, &t.top)
    while node.level:
        node = _own(h, <idt_node_t**>idt_link(node, node.n - 1))
    return idt_record(node, node.n - 1)


cdef void _join(heap_t* h, idt_node_t* node, size_t i) noexcept nogil:
    """The children i and i + 1, if they fit."""
    cdef idt_node_t** place = <idt_node_t**>idt_link(node, i)
    cdef idt_node_t* a = place[0]
    cdef idt_node_t* b = <idt_node_t*>idt_link(node, i + 1)[0]
    cdef size_t n = a.n
    if n + b.n > JOINED_MAX:
        return
    a = _own(h, place)
    if a.cap < n + b.n:
        a.cap = JOINED_MAX
        a = <idt_node_t*>zrealloc(h, a, _node_bytes(a.cap, a.size))
        place[0] = a
    _copy_records(a, b, 0, b.n)
    if a.level:  # b's first bound did not count
        idt_record(a, n)[0] = idt_record(node, i + 1)[0]
    _release(h, b)
    _close(node, i + 1)


cdef void _take(heap_t* h, idt_node_t** place, const sid_t* id) noexcept nogil:
    """Removes a record that is there."""
    cdef idt_node_t* node = _own(h, place)
    cdef idt_node_t* child
    cdef size_t i
    if node.level == 0:
        i = _count_below(node, id, False)
        _link_release(h, node, i)
        _close(node, i)
        return
    i = _route(node, id)
    _take(h, <idt_node_t**>idt_link(node, i), id)
    child = <idt_node_t*>idt_link(node, i)[0]
    if child.n == 0:
        _release(h, child)
        _close(node, i)
    elif child.n <= SMALL:
        if i + 1 < node.n:
            _join(h, node, i)
        if i:
            _join(h, node, i - 1)


cdef bint idt_remove(heap_t* h, idtree_t* t, const sid_t* id) noexcept nogil:
    cdef idt_node_t* top
    if idt_find(t, id) == NULL:
        return False
    _take(h, &t.top, id)
    t.count -= 1
    top = t.top
    if top.n == 0:
        idt_release(h, t)
    while t.top != NULL and t.top.level and t.top.n == 1:
        top = t.top
        t.top = <idt_node_t*>idt_link(top, 0)[0]
        owner_add(t.top)
        _release(h, top)
    return True

# ---- walking -----------------------------------------------------------------------------------------

cdef void _edge_from(idt_path_t* path, int level, idt_node_t* node, bint back) noexcept nogil:
    while True:
        path.node[level] = node
        path.at[level] = node.n - 1 if back else 0
        if node.level == 0:
            return
        node = <idt_node_t*>idt_link(node, path.at[level])[0]
        level += 1


cdef bint idt_edge(const idtree_t* t, bint back, idt_path_t* path) noexcept nogil:
    if t.top == NULL:
        return False
    path.height = t.top.level + 1
    _edge_from(path, 0, t.top, back)
    return True


cdef bint idt_step(idt_path_t* path, bint back) noexcept nogil:
    cdef int level = path.height
    cdef int at
    while level:
        level -= 1
        at = path.at[level] + (-1 if back else 1)
        if 0 <= at < <int>path.node[level].n:
            path.at[level] = at
            if level + 1 < path.height:
                _edge_from(path, level + 1, <idt_node_t*>idt_link(path.node[level], at)[0], back)
            return True
    return False


cdef idt_node_t* _descend(const idtree_t* t, const sid_t* id, idt_path_t* path) noexcept nogil:
    """To the leaf of the id."""
    cdef idt_node_t* node = t.top
    cdef int level = 0
    path.height = node.level + 1
    while True:
        path.node[level] = node
        if node.level == 0:
            return node
        path.at[level] = <int>_route(node, id)
        node = <idt_node_t*>idt_link(node, path.at[level])[0]
        level += 1


cdef bint idt_seek(const idtree_t* t, const sid_t* id, idt_path_t* path) noexcept nogil:
    cdef idt_node_t* leaf
    cdef int at
    if t.top == NULL:
        return False
    leaf = _descend(t, id, path)
    at = <int>_count_below(leaf, id, False)
    path.at[path.height - 1] = at
    if at < <int>leaf.n:
        return True
    path.at[path.height - 1] = at - 1
    return idt_step(path, False)


cdef bint idt_seek_back(const idtree_t* t, const sid_t* id, idt_path_t* path) noexcept nogil:
    cdef idt_node_t* leaf
    cdef int at
    if t.top == NULL:
        return False
    leaf = _descend(t, id, path)
    at = <int>_count_below(leaf, id, True)
    path.at[path.height - 1] = at - 1
    if at:
        return True
    path.at[path.height - 1] = 0
    return idt_step(path, True)

# ---- check -------------------------------------------------------------------------------------------

cdef int _check(
    const idt_node_t* node, const idtree_t* t, const sid_t* low, const sid_t* high, size_t* n
) noexcept nogil:
    """`low` and `high` bound what is below: low <= id < high; NULL: they do not."""
    cdef size_t i
    cdef const idt_node_t* child
    cdef const sid_t* from_
    cdef const sid_t* to
    cdef int wrong
    cdef size_t size = INNER_SIZE if node.level else t.size
    if cf_ref_get(&node.refs) == 0 or node.cap > IDT_FANOUT or node.n > node.cap or node.size != size or (
            node.owns != (1 if node.level else t.owns)):
        return 1
    if node.n == 0:
        return 3
    for i in range(node.n):
        if i > (node.level > 0) and not sid_less(idt_record(node, i - 1), idt_record(node, i)):
            return 4
        if (i or not node.level) and low != NULL and sid_less(idt_record(node, i), low):
            return 5
        if high != NULL and not sid_less(idt_record(node, i), high):
            return 5
        if node.level == 0:
            continue
        child = <idt_node_t*>idt_link(node, i)[0]
        if child.level + 1 != node.level:
            return 2
        from_ = low
        to = high
        if i:
            from_ = idt_record(node, i)
        if i + 1 < node.n:
            to = idt_record(node, i + 1)
        wrong = _check(child, t, from_, to, n)
        if wrong:
            return wrong
    if node.level == 0:
        n[0] += node.n
    return 0


cdef int idt_check(const idtree_t* t) noexcept nogil:
    cdef size_t n = 0
    cdef int wrong
    if t.top != NULL:
        if t.top.level and t.top.n == 1:
            return 7
        wrong = _check(t.top, t, NULL, NULL, &n)
        if wrong:
            return wrong
    return 0 if n == t.count else 6
