"""The index of members that expire; see members_expiry.pxd."""

from libc.string cimport memset

from cachefleet_server.core.members cimport members_find, members_hash, word_of
from cachefleet_server.ds.bt_checking cimport bt_check
from cachefleet_server.ds.bt_iter cimport bt_iter_t, bt_next, bt_seek_rank
from cachefleet_server.ds.btree cimport bt_build, bt_first, bt_free, bt_init, bt_insert, bt_memory, bt_remove, bt_sort
from cachefleet_server.ds.intrin cimport cf_assert, cf_usable_size
from cachefleet_server.ds.member cimport MEMBER_TTL, MEMBER_ZSET, member_key
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc

cdef enum:
    FIRST_CAP = 4


cdef expiring_t* _new(members_t* m) noexcept nogil:
    cdef expiring_t* x = <expiring_t*>zmalloc(m.table.heap, sizeof(expiring_t))
    memset(x, 0, sizeof(expiring_t))
    m.expiring = x
    return x


cdef void _to_tree(members_t* m, expiring_t* x) noexcept nogil:
    bt_init(&x.tree, m.table.heap, False, 16 if m.form == MEMBER_ZSET else 8)
    bt_sort(&x.tree, x.few, x.count)
    bt_build(&x.tree, x.few, x.count)
    zfree(m.table.heap, x.few)
    x.few = NULL


cdef void expiring_add(members_t* m, void* member) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    cdef int64_t at_ms = member_expiry(member)
    if x == NULL:
        x = _new(m)
    if x.count == 0 or at_ms <= x.first_ms:
        x.first_ms = at_ms
        x.stale = False
    if x.count == EXPIRING_FEW and x.few != NULL:
        _to_tree(m, x)
    if x.few == NULL and x.count:
        bt_insert(&x.tree, member)
    else:
        if x.count == x.cap:
            x.cap = 2 * x.cap if x.cap else FIRST_CAP
            x.few = <void**>zrealloc(m.table.heap, x.few, x.cap * sizeof(void*))
        x.few[x.count] = member
    x.count += 1


cdef void _empty(members_t* m, expiring_t* x) noexcept nogil:
    """None is left: an array may begin again. A payload in no heap needs no index."""
    if x.few == NULL:
        bt_free(&x.tree, m.table.heap, NULL, NULL)
    zfree(m.table.heap, x.few)
    x.few = NULL
    x.cap = 0
    if x.place == 0:
        zfree(m.table.heap, x)
        m.expiring = NULL


cdef void expiring_remove(members_t* m, void* member) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    cdef size_t i = 0
    cdef bint found
    if x.few == NULL:
        found = bt_remove(&x.tree, member)
        cf_assert(found)
    else:
        while x.few[i] != member:
            i += 1
            cf_assert(i < x.count)
        x.few[i] = x.few[x.count - 1]
    x.count -= 1
    x.stale |= member_expiry(member) <= x.first_ms
    if x.count == 0:
        _empty(m, x)


cdef int64_t expiring_first_ms(expiring_t* x) noexcept nogil:
    cdef size_t i
    if x.stale:
        x.stale = False
        if x.few == NULL:
            x.first_ms = member_expiry(bt_first(&x.tree))
        else:
            x.first_ms = member_expiry(x.few[0])
            for i in range(1, x.count):
                x.first_ms = min(x.first_ms, member_expiry(x.few[i]))
    return x.first_ms

# ---- those whose time is over ------------------------------------------------------------------------

cdef size_t _due_of_tree(expiring_t* x, int64_t now_ms, void** out, size_t n) noexcept nogil:
    cdef bt_iter_t it
    cdef void* member
    cdef size_t found = 0
    bt_seek_rank(&x.tree, 0, &it)
    while found < n:
        member = bt_next(&it)
        if member == NULL or member_expiry(member) >= now_ms:
            break
        if out != NULL:
            out[found] = member
        found += 1
    return found


cdef size_t expiring_due(members_t* m, int64_t now_ms, void** out, size_t n) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    cdef size_t found = 0
    cdef size_t i
    if x == NULL or x.count == 0 or x.first_ms >= now_ms:
        return 0
    if x.few == NULL:
        return _due_of_tree(x, now_ms, out, n)
    for i in range(x.count):
        if found < n and member_expiry(x.few[i]) < now_ms:
            if out != NULL:
                out[found] = x.few[i]
            found += 1
    return found


cdef size_t expiring_count_due(members_t* m, int64_t now_ms) noexcept nogil:
    return expiring_due(m, now_ms, NULL, <size_t>-1)

# ---- the end, size, check ----------------------------------------------------------------------------

cdef void expiring_free(heap_t* h, members_t* m) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    if x == NULL:
        return
    if x.few == NULL and x.count:
        bt_free(&x.tree, h, NULL, NULL)
    zfree(h, x.few)
    zfree(h, x)
    m.expiring = NULL


cdef size_t expiring_memory(const members_t* m) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    cdef size_t n
    if x == NULL:
        return 0
    n = cf_usable_size(x)
    if x.few != NULL:
        return n + cf_usable_size(x.few)
    return n + bt_memory(&x.tree) if x.count else n


cdef bint _is_there(members_t* m, void* member) noexcept nogil:
    cdef int form = m.form | MEMBER_TTL
    cdef size_t n
    cdef const char* key = member_key(member, form, &n)
    return members_find(m, key, n, members_hash(m, key, n)) == word_of(member, form)


cdef int expiring_check(members_t* m, size_t expected) noexcept nogil:
    cdef expiring_t* x = members_expiring(m)
    cdef bt_iter_t it
    cdef void* member
    cdef size_t i
    cdef int wrong
    if members_timed(m) != expected:
        return 1
    if expected == 0:
        return 0
    if x.few == NULL:
        wrong = bt_check(&x.tree)
        if wrong:
            return 10 + wrong
        if x.tree.count != x.count:
            return 1
        bt_seek_rank(&x.tree, 0, &it)
    for i in range(x.count):
        member = x.few[i] if x.few != NULL else bt_next(&it)
        if member_expiry(member) < x.first_ms:
            return 2
        if not _is_there(m, member):
            return 3
    return 0
