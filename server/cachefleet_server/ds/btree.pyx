"""Changes of the ordered index: see btree.pxd."""

from libc.stdint cimport uint32_t, uint64_t

from cachefleet_server.ds.bt_iter cimport (
    bt_child_of, bt_descend, bt_descend_to, bt_is_first, bt_is_last, bt_iter_rank, bt_iter_t, bt_seek_rank)
from cachefleet_server.ds.bt_node cimport (
    BT_LEAF, BT_LOW, bt_balance, bt_compare, bt_element, bt_hint_all, bt_inner, bt_inner_t, bt_key_of, bt_key_t,
    bt_node_free, bt_node_new, bt_node_t, bt_ordered, bt_put, bt_room, bt_search, bt_set_element, bt_set_first,
    bt_set_hint, bt_shift, bt_take)
from cachefleet_server.ds.intrin cimport cf_assert, cf_load64, cf_prefetch, cf_store64, cf_unlikely
from cachefleet_server.ds.zmalloc cimport oom_abort, zfree, zmalloc

cdef extern from "stdlib.h" nogil:
    void qsort_r(void* base, size_t n, size_t size, int (*compare)(const void*, const void*, void*) noexcept nogil,
                 void* ctx)

cdef enum:  # how a gap is made in a full node
    MIDDLE = 0
    APPEND = 1  # behind all: the node stays full
    PREPEND = 2  # before all (in an inner node: behind the first, whose child was cut)

    SHARE_MIN = 8  # a neighbour with fewer free entries is as good as full
    MERGE_MAX = 50  # entries that two nodes may have to become one; more make two that are not low
    FREE_AHEAD = 16  # elements prefetched before they are handed on

cdef struct cut_t:  # what bt_remove_range took out, in order
    void* before[BT_LEAF]  # of a leaf that keeps its first elements
    int before_n
    bt_node_t* trees  # whole ones, linked by head[0]
    bt_node_t* last_tree
    void* behind[BT_LEAF]  # of a leaf that keeps only later ones
    int behind_n

cdef struct record_t:  # sorting
    uint64_t word  # in order
    void* element


# ---- the whole tree ------------------------------------------------------------------------------------------

cdef void bt_init(btree_t* t, heap_t* heap, bint is_double, int key_at) noexcept nogil:
    t.heap = heap
    t.count = 0
    t.leaves = 0
    t.inner_bytes = 0
    t.key_at = key_at
    t.is_double = is_double
    t.root = bt_node_new(t, 0)


cdef void _each(const bt_node_t* leaf, bt_each_fn fn, void* ctx) noexcept nogil:
    cdef int i
    for i in range(min(<int>leaf.n, FREE_AHEAD)):
        cf_prefetch(bt_element(leaf, i))
    for i in range(leaf.n):
        if i + FREE_AHEAD < leaf.n:
            cf_prefetch(bt_element(leaf, i + FREE_AHEAD))
        fn(ctx, bt_element(leaf, i))


cdef void _free_tree(btree_t* t, bt_node_t* node, bt_each_fn fn, void* ctx) noexcept nogil:
    """Nodes and elements, depth first, on the tree's heap."""
    cdef int i
    if node.level:
        for i in range(node.n):
            _free_tree(t, bt_inner(node).children[i], fn, ctx)
    elif fn != NULL:
        _each(node, fn, ctx)
    bt_node_free(t, node)


cdef void bt_free(btree_t* t, heap_t* heap, bt_each_fn fn, void* ctx) noexcept nogil:
    t.heap = heap
    _free_tree(t, t.root, fn, ctx)
    t.root = NULL
    t.count = 0


# ---- insert --------------------------------------------------------------------------------------------------

cdef void _grow(btree_t* t, bt_iter_t* path) noexcept nogil:
    """A root above the root."""
    cdef bt_node_t* old = t.root
    cdef bt_node_t* root = bt_node_new(t, old.level + 1)
    cdef bt_key_t k
    bt_key_of(t, bt_element(old, 0), &k)
    bt_put(t, root, 0, bt_element(old, 0), &k, old, t.count)
    t.root = root
    path.nodes[root.level] = root
    path.at[root.level] = 0


cdef bint _share(btree_t* t, bt_iter_t* path, int level) noexcept nogil:
    """Room in a full node by giving to a neighbour; false when they are full, too."""
    cdef bt_node_t* parent = path.nodes[level + 1]
    cdef int i = path.at[level + 1]
    cdef int gap = path.at[level]
    cdef int before = bt_room(bt_inner(parent).children[i - 1]) if i else 0
    cdef int behind = bt_room(bt_inner(parent).children[i + 1]) if i + 1 < parent.n else 0
    cdef int want
    if max(before, behind) < SHARE_MIN:
        return False
    if before >= behind:
        i -= 1
        gap += bt_inner(parent).children[i].n
    want = (bt_inner(parent).children[i].n + bt_inner(parent).children[i + 1].n) >> 1
    bt_balance(t, parent, i, want)
    if gap > want:  # never the first place of a node: a new first element would have to be told above
        gap -= want
        i += 1
    path.nodes[level] = bt_inner(parent).children[i]
    path.at[level] = gap
    path.at[level + 1] = i
    return True


cdef void _make_room(btree_t* t, bt_iter_t* path, int level, int how, void* element, const bt_key_t* k) noexcept nogil:
    """The path's node of that level is full. Afterwards the path leads to the same gap, in a node that is not.

    `at` of this level is the gap. `element` is what a node begins with that has nothing else yet (APPEND).
    """
    cdef bt_node_t* node = path.nodes[level]
    cdef bt_node_t* fresh
    cdef bt_node_t* parent
    cdef void* first
    cdef bt_key_t first_key
    cdef int cut, i
    if node == t.root:
        _grow(t, path)
    elif how == MIDDLE and _share(t, path, level):
        return
    path.at[level + 1] += 1  # where the new node's entry goes
    if bt_room(path.nodes[level + 1]) == 0:
        _make_room(t, path, level + 1, how, element, k)
    parent = path.nodes[level + 1]
    i = path.at[level + 1]
    fresh = bt_node_new(t, level)
    if how == APPEND:
        bt_put(t, parent, i, element, k, fresh, 0)
        path.nodes[level] = fresh
        path.at[level] = 0
        return
    cut = path.at[level] if how == PREPEND else node.n >> 1
    first = bt_element(node, cut)
    bt_key_of(t, first, &first_key)
    bt_put(t, parent, i, first, &first_key, fresh, 0)
    bt_balance(t, parent, i - 1, cut)
    if path.at[level] > cut:
        path.nodes[level] = fresh
        path.at[level] -= cut
    else:
        path.at[level + 1] = i - 1


cdef void _tell_first(btree_t* t, bt_iter_t* path, void* element) noexcept nogil:
    """The path's leaf begins with another element."""
    cdef int level
    for level in range(1, t.root.level + 1):
        bt_set_first(t, path.nodes[level], path.at[level], element)
        if path.at[level]:
            return


cdef inline void _count(bt_iter_t* path, uint32_t n) noexcept nogil:
    """n more (modulo 2^32: or fewer) elements in the path's leaf."""
    cdef int level
    for level in range(1, path.tree.root.level + 1):
        bt_inner(path.nodes[level]).counts[path.at[level]] += n


cdef inline void _check_count(btree_t* t, size_t n) noexcept nogil:
    if cf_unlikely(n > <size_t>BT_COUNT_MAX - t.count):
        oom_abort(n)


cdef void _insert(btree_t* t, void* element, const bt_key_t* k) noexcept nogil:
    cdef bt_iter_t path
    cdef int how = MIDDLE
    _check_count(t, 1)
    bt_descend(t, k, False, &path)
    if path.nodes[0].n == BT_LEAF:
        if path.at[0] == BT_LEAF and bt_is_last(&path, 0):
            how = APPEND
        elif path.at[0] == 0:  # so it is the first leaf
            how = PREPEND
        _make_room(t, &path, 0, how, element, k)
    bt_put(t, path.nodes[0], path.at[0], element, k, NULL, 0)
    _count(&path, 1)
    t.count += 1
    if path.at[0] == 0:
        _tell_first(t, &path, element)


cdef void bt_insert(btree_t* t, void* element) noexcept nogil:
    cdef bt_key_t k
    bt_key_of(t, element, &k)
    _insert(t, element, &k)


# ---- remove --------------------------------------------------------------------------------------------------

cdef void _lower_root(btree_t* t) noexcept nogil:
    cdef bt_node_t* root = t.root
    while root.level and root.n == 1:
        t.root = bt_inner(root).children[0]
        bt_node_free(t, root)
        root = t.root


cdef void _repair(btree_t* t, size_t rank) noexcept nogil:
    """Merges low nodes on the way to this rank, from the top: so each has a neighbour when its turn comes."""
    cdef bt_node_t* node
    cdef bt_node_t* right
    cdef size_t below = rank
    cdef int i, left, sum
    _lower_root(t)
    node = t.root
    while node.level:
        i = bt_child_of(node, &below)
        if bt_inner(node).children[i].n >= BT_LOW:
            node = bt_inner(node).children[i]
            continue
        left = i - (i > 0)
        right = bt_inner(node).children[left + 1]
        sum = bt_inner(node).children[left].n + right.n
        bt_balance(t, node, left, sum if sum <= MERGE_MAX else sum >> 1)
        if sum <= MERGE_MAX:
            bt_node_free(t, right)
            bt_take(node, left + 1, 1)
            _lower_root(t)
        node = t.root  # once more from the top: nothing above is low
        below = rank


cdef void _unlink(cut_t* cut, bt_node_t* tree) noexcept nogil:
    tree.head[0] = 0
    if cut.last_tree == NULL:
        cut.trees = tree
    else:
        cut.last_tree.head[0] = <uint64_t>tree
    cut.last_tree = tree


cdef void _cut_leaf(bt_node_t* leaf, int start, int end, cut_t* cut) noexcept nogil:
    cdef int i
    for i in range(start, end):
        if start:
            cut.before[cut.before_n] = bt_element(leaf, i)
            cut.before_n += 1
        else:
            cut.behind[cut.behind_n] = bt_element(leaf, i)
            cut.behind_n += 1
    bt_take(leaf, start, end - start)


cdef void _cut_range(btree_t* t, bt_node_t* node, size_t start, size_t end, cut_t* cut) noexcept nogil:
    """Takes the elements of ranks start..end below this node, not all of them, out of it. Low nodes may stay."""
    cdef bt_inner_t* inner = bt_inner(node)
    cdef size_t base = 0  # rank of child i's first element
    cdef size_t n, a, b
    cdef int gone_at = 0
    cdef int gone = 0
    cdef int i
    if node.level == 0:
        _cut_leaf(node, start, end, cut)
        return
    for i in range(node.n):
        n = inner.counts[i]
        a = max(start, base) - base
        b = min(end, base + n)
        b = b - base if b > base else 0
        base += n
        if a >= b:
            continue
        if b - a == n:
            _unlink(cut, inner.children[i])
            gone_at = i if gone == 0 else gone_at
            gone += 1
            continue
        _cut_range(t, inner.children[i], a, b, cut)
        inner.counts[i] -= b - a
        if a == 0:
            bt_set_first(t, node, i, bt_element(inner.children[i], 0))
    if gone:
        bt_take(node, gone_at, gone)


cdef void bt_remove_range(btree_t* t, size_t first, size_t n, bt_each_fn fn, void* ctx) noexcept nogil:
    cdef cut_t cut
    cdef bt_node_t* tree
    cdef bt_node_t* next
    cdef int i
    if first >= t.count or n == 0:
        return
    n = min(n, t.count - first)
    cut.before_n = 0
    cut.behind_n = 0
    cut.trees = NULL
    cut.last_tree = NULL
    if n == t.count:
        _unlink(&cut, t.root)
        t.root = bt_node_new(t, 0)
        t.count = 0
    else:
        _cut_range(t, t.root, first, first + n, &cut)
        t.count -= n
        _repair(t, min(first, t.count - 1))
        if first:
            _repair(t, first - 1)
    if fn != NULL:
        for i in range(cut.before_n):
            fn(ctx, cut.before[i])
    tree = cut.trees
    while tree != NULL:
        next = <bt_node_t*>tree.head[0]
        _free_tree(t, tree, fn, ctx)
        tree = next
    if fn != NULL:
        for i in range(cut.behind_n):
            fn(ctx, cut.behind[i])


cdef void _remove_at(btree_t* t, bt_iter_t* path) noexcept nogil:
    cdef bt_node_t* leaf = path.nodes[0]
    cdef int i = path.at[0]
    if leaf.n <= BT_LOW and leaf != t.root and (leaf.n == 1 or not (bt_is_last(path, 0) or bt_is_first(path, 0))):
        bt_remove_range(t, bt_iter_rank(path), 1, NULL, NULL)
        return
    bt_take(leaf, i, 1)
    _count(path, <uint32_t>0 - 1)
    t.count -= 1
    if i == 0 and leaf.n:
        _tell_first(t, path, bt_element(leaf, 0))


cdef bint bt_remove(btree_t* t, void* element) noexcept nogil:
    cdef bt_iter_t path
    cdef bt_key_t k
    bt_key_of(t, element, &k)
    if not bt_descend_to(t, element, &k, &path):
        return False
    _remove_at(t, &path)
    return True


# ---- changes of an element -----------------------------------------------------------------------------------

cdef bint _below_next_leaf(btree_t* t, bt_iter_t* path, const bt_key_t* k) noexcept nogil:
    cdef bt_key_t bound
    cdef int level
    for level in range(1, t.root.level + 1):
        if path.at[level] + 1 < path.nodes[level].n:
            bt_key_of(t, bt_inner(path.nodes[level]).firsts[path.at[level] + 1], &bound)
            return bt_compare(k, &bound) < 0
    return True


cdef void bt_rescore(btree_t* t, void* element, uint64_t word) noexcept nogil:
    cdef bt_iter_t path
    cdef bt_key_t k, changed
    cdef bt_node_t* leaf
    cdef int i, to
    cdef bint stays
    bt_key_of(t, element, &k)
    changed = k
    changed.word = bt_ordered(t, word)
    if changed.word == k.word:
        cf_store64(element, word)  # 0 and -0
        return
    if not bt_descend_to(t, element, &k, &path):
        cf_assert(False)
        return
    leaf = path.nodes[0]
    i = path.at[0]
    to = bt_search(t, leaf, &changed, False)
    if changed.word > k.word:
        stays = to < leaf.n or _below_next_leaf(t, &path, &changed)
        to -= 1
    else:
        stays = to > 0 or bt_is_first(&path, 0)
    if stays:
        bt_set_hint(t, leaf, i, &changed)
        bt_shift(leaf, i, to)
        cf_store64(element, word)
        if i == 0 or to == 0:
            _tell_first(t, &path, bt_element(leaf, 0))
        return
    _remove_at(t, &path)
    cf_store64(element, word)
    _insert(t, element, &changed)


cdef void bt_replace(btree_t* t, void* element, void* other) noexcept nogil:
    cdef bt_iter_t path
    cdef bt_key_t k
    cdef int level
    bt_key_of(t, element, &k)
    if not bt_descend_to(t, element, &k, &path):
        cf_assert(False)
        return
    bt_set_element(path.nodes[0], path.at[0], other)
    if path.at[0]:
        return
    for level in range(1, t.root.level + 1):
        bt_set_element(path.nodes[level], path.at[level], other)
        if path.at[level]:
            return


# ---- many at once --------------------------------------------------------------------------------------------

cdef int _compare_records(const void* a, const void* b, void* tree) noexcept nogil:
    cdef const record_t* x = <const record_t*>a
    cdef const record_t* y = <const record_t*>b
    cdef bt_key_t k, other
    if x.word != y.word:
        return -1 if x.word < y.word else 1
    bt_key_of(<const btree_t*>tree, x.element, &k)
    bt_key_of(<const btree_t*>tree, y.element, &other)
    return bt_compare(&k, &other)


cdef bint _in_order(const btree_t* t, void** elements, size_t n) noexcept nogil:
    cdef bt_key_t k, before
    cdef size_t i
    bt_key_of(t, elements[0], &before)
    for i in range(1, n):
        bt_key_of(t, elements[i], &k)
        if bt_compare(&before, &k) > 0:
            return False
        before = k
    return True


cdef void bt_sort(btree_t* t, void** elements, size_t n) noexcept nogil:
    cdef record_t* records
    cdef size_t i
    if n == 0 or _in_order(t, elements, n):
        return
    records = <record_t*>zmalloc(t.heap, n * sizeof(record_t))
    for i in range(n):
        if i + FREE_AHEAD < n:
            cf_prefetch(elements[i + FREE_AHEAD])
        records[i].word = bt_ordered(t, cf_load64(elements[i]))
        records[i].element = elements[i]
    qsort_r(records, n, sizeof(record_t), _compare_records, t)
    for i in range(n):
        elements[i] = records[i].element
    zfree(t.heap, records)


cdef void bt_build(btree_t* t, void** elements, size_t n) noexcept nogil:
    cdef bt_iter_t path
    cdef bt_node_t* leaf
    cdef bt_key_t k
    cdef int room, i
    _check_count(t, n)
    bt_seek_rank(t, t.count, &path)
    while n:
        leaf = path.nodes[0]
        if leaf.n == BT_LEAF:
            bt_key_of(t, elements[0], &k)
            _make_room(t, &path, 0, APPEND, elements[0], &k)
            leaf = path.nodes[0]
        room = min(<size_t>(BT_LEAF - leaf.n), n)
        for i in range(room):
            bt_set_element(leaf, leaf.n + i, elements[i])
        leaf.n += room
        bt_hint_all(t, leaf)
        path.at[0] = leaf.n
        _count(&path, room)
        t.count += room
        elements += room
        n -= room
