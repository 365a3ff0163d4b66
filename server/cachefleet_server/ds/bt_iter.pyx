"""Ways into the ordered index: see bt_iter.pxd."""

from cachefleet_server.ds.bt_node cimport (
    bt_find, bt_key, bt_key_of, bt_leaf_t, bt_node_t, bt_prefetch, bt_search)
from cachefleet_server.ds.intrin cimport cf_unlikely


cdef void bt_descend(btree_t* t, const bt_key_t* k, bint or_equal, bt_iter_t* path) noexcept nogil:
    """To the gap before this key, or behind it."""
    cdef bt_node_t* node = t.root
    cdef int i
    path.tree = t
    while node.level:
        i = bt_search(t, node, k, True)
        i -= i > 0
        path.nodes[node.level] = node
        path.at[node.level] = i
        i = node.level - 1
        node = bt_inner(node).children[path.at[i + 1]]
        bt_prefetch(node, i)
    path.nodes[0] = node
    path.at[0] = bt_search(t, node, k, or_equal)


cdef bint bt_descend_to(btree_t* t, const void* element, const bt_key_t* k, bt_iter_t* path) noexcept nogil:
    """To this element; false when it is not there. Elements that tie with it in its leaf are not read."""
    cdef bt_node_t* node = t.root
    cdef int i
    path.tree = t
    while node.level:
        i = bt_search(t, node, k, True)
        if cf_unlikely(i == 0):
            return False
        path.nodes[node.level] = node
        path.at[node.level] = i - 1
        i = node.level - 1
        node = bt_inner(node).children[path.at[i + 1]]
        bt_prefetch(node, i)
    path.nodes[0] = node
    path.at[0] = bt_find(t, node, element, k)
    return path.at[0] >= 0


cdef bint bt_is_last(const bt_iter_t* path, int level) noexcept nogil:
    """Whether the path's node of this level is the last one there."""
    cdef int i
    for i in range(level + 1, path.tree.root.level + 1):
        if path.at[i] + 1 != path.nodes[i].n:
            return False
    return True


cdef bint bt_is_first(const bt_iter_t* path, int level) noexcept nogil:
    cdef int i
    for i in range(level + 1, path.tree.root.level + 1):
        if path.at[i]:
            return False
    return True


cdef bint bt_seek(btree_t* t, const void* element, bt_iter_t* it) noexcept nogil:
    cdef bt_key_t k
    bt_key_of(t, element, &k)
    return bt_descend_to(t, element, &k, it)


cdef void _prefetch_around(bt_iter_t* it) noexcept nogil:
    """A seek is done: these elements are wanted soon."""
    cdef bt_node_t* leaf = it.nodes[0]
    cdef int i
    for i in range(max(it.at[0] - 2, 0), min(it.at[0] + BT_AHEAD, <int>leaf.n)):
        cf_prefetch(bt_element(leaf, i))


cdef void bt_seek_rank(btree_t* t, size_t rank, bt_iter_t* it) noexcept nogil:
    cdef bt_node_t* node = t.root
    cdef int i
    it.tree = t
    rank = min(rank, t.count)
    while node.level:
        i = bt_child_of(node, &rank)
        it.nodes[node.level] = node
        it.at[node.level] = i
        node = bt_inner(node).children[i]
        cf_prefetch(&(<bt_leaf_t*>node).elements[0])
        cf_prefetch(node)
    it.nodes[0] = node
    it.at[0] = rank
    _prefetch_around(it)


cdef void bt_seek_word(btree_t* t, uint64_t word, bint behind, bt_iter_t* it) noexcept nogil:
    cdef bt_key_t k
    bt_key(t, word, NULL, 0, &k)
    if behind:
        k.word += 1
        if k.word == 0:  # the largest int64
            bt_seek_rank(t, t.count, it)
            return
    bt_descend(t, &k, False, it)
    _prefetch_around(it)


cdef void bt_seek_key(
    btree_t* t, uint64_t word, const char* member, size_t n, bint behind, bt_iter_t* it
) noexcept nogil:
    cdef bt_key_t k
    bt_key(t, word, member, n, &k)
    bt_descend(t, &k, behind, it)
    _prefetch_around(it)


cdef bint bt_iter_on(bt_iter_t* it) noexcept nogil:
    cdef int level = 1
    cdef bt_node_t* node
    while level <= it.tree.root.level and it.at[level] + 1 == it.nodes[level].n:
        level += 1
    if level > it.tree.root.level:
        return False
    it.at[level] += 1
    node = bt_inner(it.nodes[level]).children[it.at[level]]
    if level == 1 and it.at[1] + 1 < it.nodes[1].n:
        bt_prefetch(bt_inner(it.nodes[1]).children[it.at[1] + 1], 1)
    while node.level:
        it.nodes[node.level] = node
        it.at[node.level] = 0
        node = bt_inner(node).children[0]
    it.nodes[0] = node
    it.at[0] = 0
    _prefetch_around(it)
    return True


cdef bint bt_iter_back(bt_iter_t* it) noexcept nogil:
    cdef int level = 1
    cdef int i
    cdef bt_node_t* node
    while level <= it.tree.root.level and it.at[level] == 0:
        level += 1
    if level > it.tree.root.level:
        return False
    it.at[level] -= 1
    node = bt_inner(it.nodes[level]).children[it.at[level]]
    if level == 1 and it.at[1]:
        bt_prefetch(bt_inner(it.nodes[1]).children[it.at[1] - 1], 1)
    while node.level:
        it.nodes[node.level] = node
        it.at[node.level] = node.n - 1
        node = bt_inner(node).children[node.n - 1]
    it.nodes[0] = node
    it.at[0] = node.n
    for i in range(max(<int>node.n - BT_AHEAD, 0), node.n):
        cf_prefetch(bt_element(node, i))
    return True
