"""Nodes of the ordered index: see bt_node.pxd."""

from libc.string cimport memcmp, memcpy, memmove

from cachefleet_server.ds.intrin cimport cf_store16, cf_store32, cf_unlikely, cf_usable_size
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zsmall_alloc, zsmall_free


cdef int bt_compare_rest(const bt_key_t* a, const bt_key_t* b) noexcept nogil:
    cdef size_t n = min(a.n, b.n)
    cdef int order
    if n > 8:
        order = memcmp(a.bytes + 8, b.bytes + 8, n - 8)
        if order:
            return order
    return (a.n > b.n) - (a.n < b.n)


cdef uint32_t _common(const bt_key_t* a, const bt_key_t* b) noexcept nogil:
    """How many bytes two keys share, up to BT_PREFIX_MAX."""
    cdef size_t n = min(a.n, b.n)
    cdef size_t at = 8
    cdef uint64_t x = a.word ^ b.word
    if x:
        return cf_clz64(x) >> 3
    x = a.more ^ b.more
    if x:
        return 8 + min(<size_t>(cf_clz64(x) >> 3), n)
    if n <= 8:
        return 8 + n
    n = min(n, <size_t>BT_PREFIX_MAX - 8)
    while at + 8 <= n:
        x = cf_bswap64(cf_load64(a.bytes + at)) ^ cf_bswap64(cf_load64(b.bytes + at))
        if x:
            return 8 + at + (cf_clz64(x) >> 3)
        at += 8
    while at < n and a.bytes[at] == b.bytes[at]:
        at += 1
    return 8 + at


# ---- one node --------------------------------------------------------------------------------------------

cdef bt_node_t* bt_node_new(btree_t* t, int level) noexcept nogil:
    cdef bt_node_t* node
    if level == 0:
        node = <bt_node_t*>zsmall_alloc(t.heap, sizeof(bt_leaf_t))
        t.leaves += 1
    else:
        node = <bt_node_t*>zmalloc(t.heap, sizeof(bt_inner_t))
        t.inner_bytes += cf_usable_size(node)
    node.n = 0
    node.level = level
    node.prefix = 0
    return node


cdef void bt_node_free(btree_t* t, bt_node_t* node) noexcept nogil:
    if node.level == 0:
        t.leaves -= 1
        zsmall_free(t.heap, node)
    else:
        t.inner_bytes -= cf_usable_size(node)
        zfree(t.heap, node)


cdef void bt_set_element(bt_node_t* node, int i, void* element) noexcept nogil:
    cdef uint8_t* p
    if node.level:
        bt_inner(node).firsts[i] = element
        return
    p = &(<bt_leaf_t*>node).elements[0] + 6 * i
    cf_store32(p, <uint64_t>element)
    cf_store16(p + 4, <uint64_t>element >> 32)


cdef inline void _store_hint(bt_node_t* node, int i, uint64_t hint) noexcept nogil:
    if node.level:
        bt_inner(node).hints[i] = hint
    else:
        (<bt_leaf_t*>node).hints[i] = hint >> 48


cdef void _copy(bt_node_t* to, int at, const bt_node_t* source, int i, int n) noexcept nogil:
    """n entries, from i, over those from `at`; the nodes may be one."""
    cdef bt_leaf_t* a = <bt_leaf_t*>to
    cdef bt_leaf_t* b = <bt_leaf_t*>source
    cdef bt_inner_t* c = <bt_inner_t*>to
    cdef bt_inner_t* d = <bt_inner_t*>source
    if to.level == 0:
        memmove(&a.hints[at], &b.hints[i], n * sizeof(uint16_t))
        memmove(&a.elements[at * 6], &b.elements[i * 6], n * 6)
        return
    memmove(&c.hints[at], &d.hints[i], n * sizeof(uint64_t))
    memmove(&c.firsts[at], &d.firsts[i], n * sizeof(void*))
    memmove(&c.children[at], &d.children[i], n * sizeof(void*))
    memmove(&c.counts[at], &d.counts[i], n * sizeof(uint32_t))


cdef void bt_take(bt_node_t* node, int i, int n) noexcept nogil:
    _copy(node, i, node, i + n, node.n - i - n)
    node.n -= n


cdef void bt_shift(bt_node_t* leaf, int i, int to) noexcept nogil:
    cdef uint16_t hint = (<bt_leaf_t*>leaf).hints[i]
    cdef void* element = bt_element(leaf, i)
    if i < to:
        _copy(leaf, i, leaf, i + 1, to - i)
    elif to < i:
        _copy(leaf, to + 1, leaf, to, i - to)
    (<bt_leaf_t*>leaf).hints[to] = hint
    bt_set_element(leaf, to, element)


# ---- prefix and hints ------------------------------------------------------------------------------------

cdef int bt_versus(const btree_t* t, const bt_node_t* node, const bt_key_t* k, uint32_t* common) noexcept nogil:
    cdef uint64_t x = k.word ^ node.head[0]
    cdef uint32_t c = cf_clz64(x) >> 3 if x else 8
    cdef bt_key_t first
    cdef int below
    common[0] = node.prefix
    if c >= node.prefix:
        return 0
    below = k.word < node.head[0]
    if c == 8:
        x = k.more ^ node.head[1]
        c = 8 + min(<size_t>(cf_clz64(x) >> 3 if x else 8), k.n)
        if c >= node.prefix:
            return 0
        below = c == 8 + k.n or k.more < node.head[1]
        if c == 16:
            if node.n == 0:  # a root whose only element has gone, perhaps also from memory
                return 0
            bt_key_of(t, bt_element(node, 0), &first)
            c = _common(k, &first)
            if c >= node.prefix:
                return 0
            below = bt_compare(k, &first) < 0
    common[0] = c
    return -1 if below else 1


cdef void _cut_prefix(btree_t* t, bt_node_t* node, uint32_t prefix) noexcept nogil:
    """The node's prefix becomes that short: what is cut off comes before the old hints."""
    cdef uint64_t before, mask, hint
    cdef uint32_t cut = node.prefix - prefix
    cdef bt_key_t first
    cdef int i
    if prefix + 8 <= 16 or node.prefix <= 16:  # also when the first element is just getting another word
        before = node.head[0]
        if prefix >= 8:
            before = node.head[1] << 8 * (prefix - 8)
        elif prefix:
            before = before << 8 * prefix | node.head[1] >> 8 * (8 - prefix)
    else:
        bt_key_of(t, bt_element(node, 0), &first)
        before = bt_eight(&first, prefix)
    mask = ~<uint64_t>0 if cut >= 8 else ~(~<uint64_t>0 >> 8 * cut)
    before &= mask
    for i in range(node.n):
        hint = bt_hint(node, i)
        _store_hint(node, i, before | (0 if cut >= 8 else hint >> 8 * cut))
    node.prefix = prefix


cdef inline void _set_prefix(bt_node_t* node, uint32_t prefix, const bt_key_t* k) noexcept nogil:
    node.prefix = prefix
    node.head[0] = k.word
    node.head[1] = k.more


cdef void bt_hint_all(btree_t* t, bt_node_t* node) noexcept nogil:
    cdef bt_key_t first, k
    cdef int i
    for i in range(node.n):
        cf_prefetch(bt_element(node, i))
    bt_key_of(t, bt_element(node, 0), &first)
    bt_key_of(t, bt_element(node, node.n - 1), &k)
    _set_prefix(node, _common(&first, &k), &first)
    for i in range(node.n):
        bt_key_of(t, bt_element(node, i), &k)
        _store_hint(node, i, bt_eight(&k, node.prefix))


cdef void _lengthen_prefix(btree_t* t, bt_node_t* node) noexcept nogil:
    """Where all keys share more than the prefix says."""
    cdef bt_key_t first, last
    if node.n == 0:
        return
    bt_key_of(t, bt_element(node, 0), &first)
    bt_key_of(t, bt_element(node, node.n - 1), &last)
    if _common(&first, &last) > node.prefix:
        bt_hint_all(t, node)


cdef void bt_set_hint(btree_t* t, bt_node_t* node, int i, const bt_key_t* k) noexcept nogil:
    cdef uint32_t common
    if cf_unlikely(bt_versus(t, node, k, &common) != 0):
        _cut_prefix(t, node, common)
    _store_hint(node, i, bt_eight(k, node.prefix))


cdef void bt_set_first(btree_t* t, bt_node_t* inner, int i, void* first) noexcept nogil:
    cdef bt_key_t k
    bt_key_of(t, first, &k)
    bt_set_hint(t, inner, i, &k)
    bt_inner(inner).firsts[i] = first


cdef void bt_put(
    btree_t* t, bt_node_t* node, int i, void* element, const bt_key_t* k, bt_node_t* child, uint32_t count
) noexcept nogil:
    cdef uint32_t common
    if node.n == 0:
        _set_prefix(node, 8 + min(k.n, <size_t>BT_PREFIX_MAX - 8), k)
    elif cf_unlikely(bt_versus(t, node, k, &common) != 0):
        _cut_prefix(t, node, common)
    _copy(node, i + 1, node, i, node.n - i)
    _store_hint(node, i, bt_eight(k, node.prefix))
    bt_set_element(node, i, element)
    if node.level:
        bt_inner(node).children[i] = child
        bt_inner(node).counts[i] = count
    node.n += 1


# ---- search ----------------------------------------------------------------------------------------------

cdef int _tied(
    const btree_t* t, const bt_node_t* node, const bt_key_t* k, bint or_equal, int low, int high
) noexcept nogil:
    """The same among entries low..high, whose hints are the key's."""
    cdef bt_key_t other
    cdef int middle, order
    while low < high:
        middle = (low + high) >> 1
        bt_key_of(t, bt_element(node, middle), &other)
        order = bt_compare(&other, k)
        if order < 0 or (or_equal and order == 0):
            low = middle + 1
        else:
            high = middle
    return low


cdef int bt_search(const btree_t* t, const bt_node_t* node, const bt_key_t* k, bint or_equal) noexcept nogil:
    cdef const bt_leaf_t* leaf = <const bt_leaf_t*>node
    cdef const bt_inner_t* inner = <const bt_inner_t*>node
    cdef uint32_t common
    cdef int side = bt_versus(t, node, k, &common)
    cdef uint64_t hint
    cdef uint16_t short_hint
    cdef int low = 0
    cdef int n = node.n
    cdef int high, half
    if side:
        return 0 if side < 0 else n
    hint = bt_eight(k, node.prefix)
    if node.level == 0:
        short_hint = hint >> 48
        while n > 0:
            half = (n + 1) >> 1
            low = low + half if leaf.hints[low + half - 1] < short_hint else low
            n -= half
        high = low
        while high < node.n and leaf.hints[high] == short_hint:
            high += 1
    else:
        while n > 0:
            half = (n + 1) >> 1
            low = low + half if inner.hints[low + half - 1] < hint else low
            n -= half
        high = low
        while high < node.n and inner.hints[high] == hint:
            high += 1
    return low if low == high else _tied(t, node, k, or_equal, low, high)


cdef int bt_find(const btree_t* t, const bt_node_t* leaf, const void* element, const bt_key_t* k) noexcept nogil:
    cdef const uint16_t* hints = &(<const bt_leaf_t*>leaf).hints[0]
    cdef uint16_t hint
    cdef uint32_t common
    cdef int low = 0
    cdef int n = leaf.n
    cdef int half
    if bt_versus(t, leaf, k, &common):
        return -1
    hint = bt_eight(k, leaf.prefix) >> 48
    while n > 0:
        half = (n + 1) >> 1
        low = low + half if hints[low + half - 1] < hint else low
        n -= half
    while low < leaf.n and hints[low] == hint:
        if bt_element(leaf, low) == element:
            return low
        low += 1
    return -1


# ---- two nodes -------------------------------------------------------------------------------------------

cdef void _same_prefix(btree_t* t, bt_node_t* left, bt_node_t* right) noexcept nogil:
    """So that entries may move from one to the other as they are."""
    cdef bt_key_t first, last
    cdef uint32_t prefix
    if left.n == 0 or right.n == 0:
        if left.n == 0:
            left, right = right, left
        right.prefix = left.prefix
        memcpy(&right.head[0], &left.head[0], sizeof(left.head))
        return
    bt_key_of(t, bt_element(left, 0), &first)
    bt_key_of(t, bt_element(right, right.n - 1), &last)
    prefix = min(_common(&first, &last), min(left.prefix, right.prefix))
    if prefix < left.prefix:
        _cut_prefix(t, left, prefix)
    if prefix < right.prefix:
        _cut_prefix(t, right, prefix)


cdef void bt_balance(btree_t* t, bt_node_t* parent, int i, int want) noexcept nogil:
    cdef bt_node_t* left = bt_inner(parent).children[i]
    cdef bt_node_t* right = bt_inner(parent).children[i + 1]
    cdef int n = want - left.n
    if n == 0:
        return
    _same_prefix(t, left, right)
    if n > 0:
        _copy(left, left.n, right, 0, n)
        left.n += n
        bt_take(right, 0, n)
    else:
        n = -n
        _copy(right, n, right, 0, right.n)
        _copy(right, 0, left, left.n - n, n)
        left.n -= n
        right.n += n
    _lengthen_prefix(t, left)
    _lengthen_prefix(t, right)
    bt_inner(parent).counts[i] = bt_weight(left)
    bt_inner(parent).counts[i + 1] = bt_weight(right)
    if right.n:
        bt_set_first(t, parent, i + 1, bt_element(right, 0))
