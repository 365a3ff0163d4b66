"""Invariants, by the number that bt_check returns for their violation:
     1 a child is one level below its node                2 a root that is no leaf has two children at least
     3 no node has too many entries; none is empty, but the leaf of an empty tree
     4 few entries has only the first or the last node of a level
     5 keys ascend                                        6 counts are those of the elements beneath
     7 a first element is the first beneath               8 all keys of a node share its prefix, and head has it
     9 hints are what follows the prefix                 10 leaves and the bytes of inner nodes are counted
"""

from libc.stdint cimport uint32_t, uint64_t

from cachefleet_server.ds.bt_node cimport (
    BT_INNER, BT_LEAF, BT_LOW, bt_compare, bt_eight, bt_element, bt_hint, bt_inner, bt_key_of, bt_key_t, bt_node_t,
    bt_versus)
from cachefleet_server.ds.intrin cimport cf_usable_size

cdef struct walk_t:
    btree_t* tree
    void* before  # the element that was met last
    size_t leaves
    size_t inner_bytes


cdef int _check_hints(btree_t* t, bt_node_t* node) noexcept nogil:
    cdef uint64_t mask = ~<uint64_t>0 << (0 if node.level else 48)
    cdef uint32_t common
    cdef bt_key_t k
    cdef int i
    for i in range(node.n):
        bt_key_of(t, bt_element(node, i), &k)
        if bt_versus(t, node, &k, &common) or node.prefix > 8 + k.n:
            return 8
        if bt_hint(node, i) != bt_eight(&k, node.prefix) & mask:
            return 9
    return 0


cdef int _check_leaf(bt_node_t* leaf, walk_t* walk) noexcept nogil:
    cdef bt_key_t before, k
    cdef int i
    for i in range(leaf.n):
        if walk.before != NULL:
            bt_key_of(walk.tree, walk.before, &before)
            bt_key_of(walk.tree, bt_element(leaf, i), &k)
            if bt_compare(&before, &k) >= 0:
                return 5
        walk.before = bt_element(leaf, i)
    walk.leaves += 1
    return 0


cdef int _check_node(bt_node_t* node, bint on_edge, size_t* count, walk_t* walk) noexcept nogil:
    cdef size_t n = node.n
    cdef size_t sum = 0
    cdef int i, wrong
    if node.n > (BT_INNER if node.level else BT_LEAF) or node.n == 0:
        return 3
    if node.n < BT_LOW and not on_edge:
        return 4
    if node.level == 0:
        wrong = _check_leaf(node, walk)
    else:
        wrong = 0
        walk.inner_bytes += cf_usable_size(node)
        for i in range(node.n):
            if bt_inner(node).children[i].level + 1 != node.level:
                return 1
            wrong = _check_node(
                bt_inner(node).children[i], on_edge and (i == 0 or i + 1 == node.n), &n, walk)
            if wrong:
                return wrong
            if n != bt_inner(node).counts[i]:
                return 6
            if bt_element(bt_inner(node).children[i], 0) != bt_element(node, i):
                return 7
            sum += n
        n = sum
    count[0] = n
    return wrong or _check_hints(walk.tree, node)


cdef int bt_check(btree_t* t) noexcept nogil:
    cdef walk_t walk
    cdef size_t n = 0
    cdef int wrong
    walk.tree = t
    walk.before = NULL
    walk.leaves = 0
    walk.inner_bytes = 0
    if t.root.level and t.root.n < 2:
        return 2
    if t.count == 0:
        if t.root.n or t.root.level:
            return 3
        walk.leaves = 1
    else:
        wrong = _check_node(t.root, True, &n, &walk)
        if wrong:
            return wrong
    if n != t.count:
        return 6
    return 0 if walk.leaves == t.leaves and walk.inner_bytes == t.inner_bytes else 10
