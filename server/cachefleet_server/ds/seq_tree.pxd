"""Counted tree over the blocks of a sequence, shared by copy-on-write. For ds/sequence alone; the theory of the whole
is there.

    seq_t -- top --> node: refs | n, cap, level | (count, child) x n        level 0: children are blocks
                       count = elements below the child

A node has at most SEQ_FANOUT children and room for 4, 8, ... 64. All leaves are on one level. It keeps no minimum:
when a child has become *small* (a quarter of what it may have, at most) and fits together with a neighbour below the
same node into half of that, the two are joined. So of two neighbours below one node not both are small
together, and a level has at most an eighth of the children's number of nodes. Where nodes are joined, the two children
that have become neighbours by that are looked at, too.

Each node and block counts its owners (nodes above it). Whoever changes one that has several changes a copy instead,
which owns what is below as well. There are no links between leaves, and none upwards: a `seq_path_t` holds the way.
A path is good until the tree changes in its shape.
"""

from libc.stdint cimport uint16_t, uint32_t

from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.listblock cimport lblock_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    SEQ_FANOUT = 64
    SEQ_HEIGHT_MAX = 20  # levels: 8^20 blocks

cdef struct seq_slot_t:
    size_t count
    void* child

cdef struct snode_t:
    size_t refs  # owners
    uint32_t n
    uint16_t cap
    uint16_t level
    seq_slot_t slots[0]

cdef struct seq_t:
    size_t refs  # owners
    size_t len  # elements
    size_t bytes  # of all entries and plain elements, uncompressed
    size_t saved  # bytes that compression saves
    size_t blocks  # in the tree
    lblock_t* head
    snode_t* top
    lblock_t* tail
    uint32_t bytes_max  # of a packed block's entries
    uint32_t count_max  # of its elements
    int fill  # list-max-listpack-size
    uint32_t depth  # list-compress-depth: blocks at either end that stay raw; 0: all

cdef struct seq_path_t:
    int height
    int at[SEQ_HEIGHT_MAX]  # from the top down
    snode_t* node[SEQ_HEIGHT_MAX]

cdef void node_release(heap_t* h, snode_t* node) noexcept nogil  # one owner less. NULL is fine
cdef bint node_drain(heap_t* h, snode_t** place, size_t* budget) noexcept nogil
    # Gives the owner's share of it up from the end on, `budget` blocks and nodes at most; true when nothing is left.

# Reading. The tree is not empty.
cdef size_t path_find(const seq_t* s, size_t i, seq_path_t* path) noexcept nogil
    # To the block of the tree's element i, whose number in its block is returned.
cdef void path_edge(const seq_t* s, bint back, seq_path_t* path) noexcept nogil  # to the first or last block
cdef bint path_step(seq_path_t* path, bint back) noexcept nogil  # to a neighbour; false: there is none

cdef inline seq_slot_t* path_slot(seq_path_t* path) noexcept nogil:
    return &path.node[path.height - 1].slots[path.at[path.height - 1]]

cdef inline lblock_t* path_block(seq_path_t* path) noexcept nogil:
    return <lblock_t*>path_slot(path).child

# Changes. Element numbers count within the tree.
cdef void path_own(heap_t* h, seq_t* s, seq_path_t* path) noexcept nogil  # nothing on it has another owner any more
cdef void path_count(seq_path_t* path, size_t more) noexcept nogil  # so many elements more in its block (modulo 2^64)
cdef lblock_t** block_use(heap_t* h, seq_t* s, lblock_t** place) noexcept nogil
    # The block at an owned place becomes an only owner's and uncompressed.
cdef void block_compress(heap_t* h, seq_t* s, lblock_t** place) noexcept nogil  # at an owned place, if it can be
cdef void tree_add(heap_t* h, seq_t* s, seq_path_t* path, int at, lblock_t* b) noexcept nogil
    # The block, which is taken over, at this place of the path's last node: 0 ... n. The path is owned, and used up.
    # Of an empty tree the path is not looked at.
cdef void tree_cut(heap_t* h, seq_t* s, size_t a, size_t b) noexcept nogil
    # Removes the elements [a, b); len is the caller's. If a == b, only looks for what can be joined around a.
cdef bint block_is_small(const seq_t* s, const lblock_t* b) noexcept nogil

cdef inline bint block_has_room(const seq_t* s, const lblock_t* b, size_t bytes, size_t count) noexcept nogil:
    """For so much more in a packed block."""
    return b.bytes + bytes <= s.bytes_max and b.count + count <= s.count_max
