"""Nodes of the ordered index (btree.pxd) and how keys are compared in them.

A key is its element's word, so mapped that unsigned order is the word's (for a double -0 is 0), then its member. As
bytes it is the word big-endian and the member behind it; what is said of a key's bytes means these.

A node knows a prefix that all its keys share (not always the longest: it is sought anew when entries come from or go
to a neighbour) and of each key a hint: 2 (leaf) or 8 bytes (inner node) behind that prefix, zeros where the key ends. A
search compares hints; only where they tie does it follow the pointer. `head` has the first 16 bytes of the prefix, so
that what does not share it is found out without an element. When a key comes that shares less, the prefix is cut, and
the new hints follow from the old ones and what was cut off: no element is read.

    leaf   512 B   header 24 | 61 hints 2 B | 61 elements 6 B (addresses below 2^48, as Linux gives them unasked)
    inner 1816 B   header 24 | 64 hints 8 B | 64 first elements | 64 children | 64 counts 4 B (elements beneath)

Entry i of an inner node stands for the keys from its first element's up to the next entry's.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from cachefleet_server.ds.intrin cimport cf_bswap64, cf_clz64, cf_load64, cf_prefetch
from cachefleet_server.ds.member cimport length_read
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    BT_LEAF = 61  # entries
    BT_INNER = 64
    BT_LOW = 20  # fewer are too few, but for the first and the last node of each level
    BT_PREFIX_MAX = 0x7FFFFFFF

cdef struct btree_t:
    heap_t* heap
    bt_node_t* root  # an empty tree has an empty leaf
    size_t count
    size_t leaves
    size_t inner_bytes  # of inner nodes, as the allocator rounds them
    uint8_t key_at  # where the member's length lies in an element
    bint is_double  # the word

cdef struct bt_node_t:
    uint16_t n  # entries
    uint8_t level  # 0: a leaf
    uint32_t prefix  # bytes
    uint64_t head[2]  # big-endian; what lies beyond the prefix means nothing

cdef struct bt_leaf_t:
    bt_node_t node
    uint16_t hints[BT_LEAF]
    uint8_t elements[BT_LEAF * 6]

cdef struct bt_inner_t:
    bt_node_t node
    uint64_t hints[BT_INNER]
    void* firsts[BT_INNER]
    bt_node_t* children[BT_INNER]
    uint32_t counts[BT_INNER]

cdef struct bt_key_t:
    uint64_t word  # in order
    uint64_t more  # the first 8 bytes of the member, big-endian, zeros behind its end
    const char* bytes
    size_t n

# ---- keys

cdef inline uint64_t bt_ordered(const btree_t* t, uint64_t word) noexcept nogil:
    cdef uint64_t sign = <uint64_t>1 << 63
    if t.is_double:
        if word == sign:  # -0
            return sign
        if word & sign:
            return ~word
    return word ^ sign

cdef inline uint64_t bt_bytes_at(const char* p, size_t n, size_t at) noexcept nogil:
    """Eight bytes from p + at, zeros behind n."""
    cdef uint64_t v = 0
    cdef size_t i
    if at + 8 <= n:
        return cf_bswap64(cf_load64(p + at))
    if n >= 8 and at < n:
        return cf_bswap64(cf_load64(p + n - 8)) << 8 * (at + 8 - n)
    for i in range(at, n):
        v |= <uint64_t><uint8_t>p[i] << 8 * (7 - (i - at))
    return v

cdef inline void bt_key(const btree_t* t, uint64_t word, const char* bytes, size_t n, bt_key_t* k) noexcept nogil:
    """`word` as it lies in elements."""
    k.word = bt_ordered(t, word)
    k.bytes = bytes
    k.n = n
    k.more = bt_bytes_at(bytes, n, 0)

cdef inline void bt_key_of(const btree_t* t, const void* element, bt_key_t* k) noexcept nogil:
    cdef size_t n
    cdef const char* bytes = length_read(<const char*>element + t.key_at, &n)
    bt_key(t, cf_load64(element), bytes, n, k)

cdef inline uint64_t bt_eight(const bt_key_t* k, size_t at) noexcept nogil:
    """Eight bytes of the key."""
    if at == 0:
        return k.word
    if at < 8:
        return k.word << 8 * at | k.more >> 8 * (8 - at)
    if at == 8:
        return k.more
    return bt_bytes_at(k.bytes, k.n, at - 8)

cdef int bt_compare_rest(const bt_key_t* a, const bt_key_t* b) noexcept nogil  # members whose first 8 bytes agree

cdef inline int bt_compare(const bt_key_t* a, const bt_key_t* b) noexcept nogil:
    """< 0, 0, > 0."""
    if a.word != b.word:
        return -1 if a.word < b.word else 1
    if a.more != b.more:
        return -1 if a.more < b.more else 1
    return bt_compare_rest(a, b)

# ---- entries

cdef inline void* bt_element(const bt_node_t* node, int i) noexcept nogil:
    """The element of entry i: a leaf's, or the first beneath."""
    if node.level == 0:
        return <void*>(cf_load64(&(<bt_leaf_t*>node).elements[0] + 6 * i - 2) >> 16)  # two bytes of what is before
    return (<bt_inner_t*>node).firsts[i]

cdef inline uint64_t bt_hint(const bt_node_t* node, int i) noexcept nogil:
    """In the upper bytes."""
    if node.level == 0:
        return <uint64_t>(<bt_leaf_t*>node).hints[i] << 48
    return (<bt_inner_t*>node).hints[i]

cdef inline bt_inner_t* bt_inner(bt_node_t* node) noexcept nogil:
    return <bt_inner_t*>node

cdef inline int bt_room(const bt_node_t* node) noexcept nogil:
    return (BT_LEAF if node.level == 0 else BT_INNER) - node.n

cdef inline size_t bt_weight(const bt_node_t* node) noexcept nogil:
    """Elements beneath."""
    cdef size_t sum = 0
    cdef int i
    if node.level == 0:
        return node.n
    for i in range(node.n):
        sum += (<bt_inner_t*>node).counts[i]
    return sum

cdef inline void bt_prefetch(const bt_node_t* node, int level) noexcept nogil:
    """The lines that a search may want; `level` is known before the node is."""
    cdef const char* p = <const char*>node
    cf_prefetch(p)
    cf_prefetch(p + 64)
    cf_prefetch(p + 128)
    if level:
        cf_prefetch(p + 192)
        cf_prefetch(p + 256)
        cf_prefetch(p + 320)

cdef bt_node_t* bt_node_new(btree_t* t, int level) noexcept nogil
cdef void bt_node_free(btree_t* t, bt_node_t* node) noexcept nogil

cdef int bt_versus(const btree_t* t, const bt_node_t* node, const bt_key_t* k, uint32_t* common) noexcept nogil
    # 0: the key shares the node's prefix; < 0: it is below all keys there; > 0: above. How many bytes it shares.
cdef int bt_search(const btree_t* t, const bt_node_t* node, const bt_key_t* k, bint or_equal) noexcept nogil
    # How many entries have a smaller (or equal) key.
cdef int bt_find(const btree_t* t, const bt_node_t* leaf, const void* element, const bt_key_t* k) noexcept nogil
    # The index of this very element, or -1.

cdef void bt_set_first(btree_t* t, bt_node_t* inner, int i, void* first) noexcept nogil
cdef void bt_set_hint(btree_t* t, bt_node_t* node, int i, const bt_key_t* k) noexcept nogil
cdef void bt_put(
    btree_t* t, bt_node_t* node, int i, void* element, const bt_key_t* k, bt_node_t* child, uint32_t count
) noexcept nogil
    # A new entry before entry i; the node has room. child and count matter for inner nodes.
cdef void bt_take(bt_node_t* node, int i, int n) noexcept nogil  # entries out
cdef void bt_shift(bt_node_t* leaf, int i, int to) noexcept nogil  # entry i becomes entry `to`
cdef void bt_set_element(bt_node_t* node, int i, void* element) noexcept nogil  # nothing but the pointer
cdef void bt_hint_all(btree_t* t, bt_node_t* node) noexcept nogil  # the longest prefix, and hints by the elements
cdef void bt_balance(btree_t* t, bt_node_t* parent, int i, int want) noexcept nogil
    # Moves entries between child i and child i + 1, until child i has `want`.
