"""Seeking in the ordered index (btree.pxd), ranks and iteration.

An iterator is a gap between two elements, or before the first, or behind the last: what bt_next returns lies behind
it, what bt_prev returns before it, and its rank is the number of elements before it. It is the path from the root, and
valid until the tree changes. How many elements lie between two bounds: seek both and subtract their ranks.

Elements are prefetched BT_AHEAD before they are returned, and the next leaf while one is passed.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.bt_node cimport bt_element, bt_inner, bt_inner_t, bt_key_t, bt_node_t, btree_t
from cachefleet_server.ds.intrin cimport cf_prefetch

cdef enum:
    BT_DEPTH = 9  # levels: 2^32 elements in nodes as low as may be
    BT_AHEAD = 8

cdef struct bt_iter_t:
    btree_t* tree
    bt_node_t* nodes[BT_DEPTH]  # [0] the leaf
    int at[BT_DEPTH]  # of the leaf: the entry behind the gap; above: the child that it lies in

# Words are given by their bits (bt_double in btree.pxd).
cdef bint bt_seek(btree_t* t, const void* element, bt_iter_t* it) noexcept nogil  # before it; false: not in the tree
cdef void bt_seek_rank(btree_t* t, size_t rank, bt_iter_t* it) noexcept nogil  # before it; beyond the end: the end
cdef void bt_seek_word(btree_t* t, uint64_t word, bint behind, bt_iter_t* it) noexcept nogil
    # Before all elements with that word, or behind them.
cdef void bt_seek_key(
    btree_t* t, uint64_t word, const char* member, size_t n, bint behind, bt_iter_t* it
) noexcept nogil
    # Before the place of (word, member), which need not be there, or behind it.
cdef bint bt_iter_on(bt_iter_t* it) noexcept nogil  # into the next leaf, at the end of one; false: there is none
cdef bint bt_iter_back(bt_iter_t* it) noexcept nogil

cdef inline size_t bt_iter_rank(const bt_iter_t* it) noexcept nogil:
    """How many elements lie before the gap."""
    cdef size_t rank = it.at[0]
    cdef int level, i
    for level in range(1, it.tree.root.level + 1):
        for i in range(it.at[level]):
            rank += bt_inner(it.nodes[level]).counts[i]
    return rank

cdef inline void* bt_next(bt_iter_t* it) noexcept nogil:
    """The element behind the gap, which moves behind it; NULL at the end."""
    cdef bt_node_t* leaf = it.nodes[0]
    cdef int i = it.at[0]
    if i == leaf.n:
        if not bt_iter_on(it):
            return NULL
        leaf = it.nodes[0]
        i = 0
    if i + BT_AHEAD < leaf.n:
        cf_prefetch(bt_element(leaf, i + BT_AHEAD))
    it.at[0] = i + 1
    return bt_element(leaf, i)

cdef inline void* bt_prev(bt_iter_t* it) noexcept nogil:
    """The element before the gap, which moves before it; NULL at the beginning."""
    cdef bt_node_t* leaf = it.nodes[0]
    cdef int i = it.at[0]
    if i == 0:
        if not bt_iter_back(it):
            return NULL
        leaf = it.nodes[0]
        i = leaf.n
    if i > BT_AHEAD:
        cf_prefetch(bt_element(leaf, i - 1 - BT_AHEAD))
    it.at[0] = i - 1
    return bt_element(leaf, i - 1)

# For btree.pyx.
cdef void bt_descend(btree_t* t, const bt_key_t* k, bint or_equal, bt_iter_t* path) noexcept nogil
cdef bint bt_descend_to(btree_t* t, const void* element, const bt_key_t* k, bt_iter_t* path) noexcept nogil
cdef bint bt_is_last(const bt_iter_t* path, int level) noexcept nogil
cdef bint bt_is_first(const bt_iter_t* path, int level) noexcept nogil

cdef inline int bt_child_of(const bt_node_t* inner, size_t* rank) noexcept nogil:
    """The child that has the element of this rank below the node; the rank within that child."""
    cdef const bt_inner_t* node = <const bt_inner_t*>inner
    cdef int i = 0
    while i < inner.n - 1 and rank[0] >= node.counts[i]:
        rank[0] -= node.counts[i]
        i += 1
    return i
