"""The ordered index of large sorted sets and of members that expire: a counted B+ tree of element pointers.

    bt_iter  seeking, ranks, iteration        bt_node  what nodes are        bt_checking  its invariants

    inner: first elements, counts ------> inner ... ------> leaf: up to 61 pointers, in order
                                                            leaf

Elements are the caller's (member.pxd): an 8-byte word, `key_at` bytes behind its address the member's length and bytes.
The tree neither makes nor frees them. Order: by word, then by the member's bytes (memcmp, then length); no two elements
are equal in both. The word is a double (sorted sets: infinities are fine, NaN never comes, -0 equals 0 and stays as it
is) or an int64 (expiry). The word of an element that is in a tree changes only through bt_rescore, its member never.

Nodes (bt_node.pxd) hold no words but hints of keys, so a search reads about one element; each child's count of
elements gives ranks. Nodes do not know their parents or neighbours: an iterator keeps its path. A full node shares
with a neighbour before it is split; one that is full and gets a new last (or first) entry is left full, so that
ascending elements make full nodes. A node with less than a third is merged or shares, but for the first and the last
of each level, which fill and drain without that.

Elements: at most 2^32 - 1, since counts have 4 bytes; at 40 bytes an element and its share of the nodes these would
take 170 GB. bt_insert and bt_build treat more as out of memory.

An only element needs a leaf of 512 bytes; small collections have no tree.

Cost: O(log n) each, with n elements: insert, remove, rescore, rank, seek. Iterating O(1) an element. A range of m
elements is removed in O(log n) plus m callbacks; bt_build O(m), bt_sort O(m log m). Memory: O(1) to ask.

Measured (1e6 members of 20 bytes; tests/perf/bench_btree.py), ns of CPU; a skip list with spans has 37 B, 2800, 4000,
7900 and 22000:

    scores        bytes beyond the element    insert    rank    re-score anywhere    range of 100
    random                            10.8       440     580                1000            2200
    one for all                       10.8       680     550
    ascending                          8.9        66     600
    built                              8.9       170 (with sorting; 550 where members decide)
"""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.bt_node cimport bt_element, bt_inner, bt_leaf_t, bt_node_t, btree_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    BT_COUNT_MAX = 0xFFFFFFFF

ctypedef void (*bt_each_fn)(void* ctx, void* element) noexcept nogil

cdef void bt_init(btree_t* t, heap_t* heap, bint is_double, int key_at) noexcept nogil
cdef void bt_free(btree_t* t, heap_t* heap, bt_each_fn fn, void* ctx) noexcept nogil
    # The nodes, not t itself. On any thread, with that thread's heap. fn, which may be NULL, gets each element and may
    # free it.

cdef void bt_insert(btree_t* t, void* element) noexcept nogil
cdef bint bt_remove(btree_t* t, void* element) noexcept nogil  # false: it is not in the tree
cdef void bt_rescore(btree_t* t, void* element, uint64_t word) noexcept nogil
    # Gives an element of the tree another word (bits) and its place. Nothing moves while it stays between the same two.
cdef void bt_replace(btree_t* t, void* element, void* other) noexcept nogil
    # `other` has the same word and member; takes the element's place, which must still be readable.
cdef void bt_remove_range(btree_t* t, size_t first, size_t n, bt_each_fn fn, void* ctx) noexcept nogil
    # n elements from a rank on. fn gets each, in order, when the tree is whole again: it may free it.

cdef void bt_sort(btree_t* t, void** elements, size_t n) noexcept nogil  # in the tree's order
cdef void bt_build(btree_t* t, void** elements, size_t n) noexcept nogil
    # Adds elements in order, all of them beyond what the tree has: full nodes.

cdef inline uint64_t bt_double(double word) noexcept nogil:
    return (<uint64_t*>&word)[0]

cdef inline void* bt_first(btree_t* t) noexcept nogil:
    """NULL: the tree is empty."""
    cdef bt_node_t* node = t.root
    if t.count == 0:
        return NULL
    return bt_element(node, 0)

cdef inline void* bt_last(btree_t* t) noexcept nogil:
    cdef bt_node_t* node = t.root
    if t.count == 0:
        return NULL
    while node.level:
        node = bt_inner(node).children[node.n - 1]
    return bt_element(node, node.n - 1)

cdef inline size_t bt_memory(const btree_t* t) noexcept nogil:
    """Bytes of the nodes."""
    return t.leaves * sizeof(bt_leaf_t) + t.inner_bytes
