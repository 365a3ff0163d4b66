"""Tables of members; see members.pxd."""

from libc.string cimport memset

from cachefleet_server.core.bytes_value cimport bytes_view
from cachefleet_server.core.engine cimport arg_t
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_HASHTABLE, ENC_SKIPLIST, entry_encoding, entry_payload, entry_size)
from cachefleet_server.core.members_expiry cimport (
    expiring_add, expiring_check, expiring_free, expiring_memory, expiring_remove)
from cachefleet_server.core.types cimport prefetch_last
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport (
    ht_clear, ht_init, ht_insert, ht_memory, ht_prefetch_bucket, ht_prefetch_element, ht_prefetch_overflow, ht_remove,
    ht_reserve, ht_scan)
from cachefleet_server.ds.ht_checking cimport ht_check
from cachefleet_server.ds.bucket cimport slot_get, slot_set
from cachefleet_server.ds.intrin cimport cf_fetch, cf_prefetch, cf_usable_size
from cachefleet_server.ds.member cimport (
    MEMBER_SET, MEMBER_ZSET, member_dup, member_free, member_key, member_memory, member_set_expiry, member_set_form)
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc


cdef const char* _key(const void* word, size_t* n) noexcept nogil:
    """Of a set or a hash."""
    return member_key(word_member(word), word_form(word, MEMBER_SET), n)


cdef const char* _scored_key(const void* word, size_t* n) noexcept nogil:
    return member_key(word_member(word), word_form(word, MEMBER_ZSET), n)


cdef members_t* members_new(engine_t* e, int form, size_t n) noexcept nogil:
    cdef members_t* m = <members_t*>zmalloc(e.heap, sizeof(members_t))
    memset(m, 0, sizeof(members_t))
    m.refs = 1
    m.form = form
    ht_init(&m.table, e.heap, _scored_key if form == MEMBER_ZSET else _key, &e.seed)
    ht_reserve(&m.table, n)
    return m

# ---- freeing ---------------------------------------------------------------------------------------

cdef struct freeing_t:
    heap_t* heap
    int form


cdef void _free_one(void* ctx, void* word) noexcept nogil:
    cdef freeing_t* freeing = <freeing_t*>ctx
    member_free(freeing.heap, word_member(word), word_form(word, freeing.form))


cdef void members_free(heap_t* h, members_t* m) noexcept nogil:
    cdef freeing_t freeing
    freeing.heap = h
    freeing.form = m.form
    expiring_free(h, m)
    m.table.heap = h
    ht_clear(&m.table, _free_one, &freeing)
    zfree(h, m)


cdef void members_drop(heap_t* h, const members_t* m, void* word) noexcept nogil:
    member_free(h, word_member(word), word_form(word, m.form))

# ---- changes ---------------------------------------------------------------------------------------

cdef inline size_t _memory(const members_t* m, const void* word) noexcept nogil:
    return member_memory(word_member(word), word_form(word, m.form))


cdef void members_untime(members_t* m, void* word) noexcept nogil:
    if <uintptr_t>word & MEMBER_EXPIRES:
        expiring_remove(m, word_member(word))


cdef void members_insert(members_t* m, void* member, int form, uint64_t hash) noexcept nogil:
    m.bytes += member_memory(member, form)
    ht_insert(&m.table, word_of(member, form), hash)
    if form & MEMBER_TTL:
        expiring_add(m, member)


cdef void members_store(members_t* m, ht_slot_t slot, size_t old_bytes, void* member, int form) noexcept nogil:
    m.bytes += member_memory(member, form) - old_bytes
    slot_set(slot, word_of(member, form))
    if form & MEMBER_TTL:
        expiring_add(m, member)


cdef void members_store_timed(
    members_t* m, ht_slot_t slot, size_t old_bytes, void* member, int form, int64_t expire_ms
) noexcept nogil:
    cdef int timed = m.form | MEMBER_TTL if expire_ms >= 0 else m.form
    if timed != form:
        member = member_set_form(m.table.heap, member, form, timed)
    if expire_ms >= 0:
        member_set_expiry(member, expire_ms)
    members_store(m, slot, old_bytes, member, timed)


cdef void members_set_expiry(members_t* m, ht_slot_t slot, uint64_t hash, int64_t expire_ms) noexcept nogil:
    cdef void* word = slot_get(slot)
    members_announce(m, hash)
    members_untime(m, word)
    members_store_timed(m, slot, _memory(m, word), word_member(word), word_form(word, m.form), expire_ms)


cdef void* members_take(members_t* m, const char* key, size_t n, uint64_t hash) noexcept nogil:
    cdef void* word = ht_remove(&m.table, key, n, hash)
    if word != NULL:
        m.bytes -= _memory(m, word)
        members_untime(m, word)
    return word


cdef struct copying_t:
    members_t* from_
    members_t* to
    heap_t* heap


cdef void _copy(void* ctx, void* word) noexcept nogil:
    cdef copying_t* copying = <copying_t*>ctx
    cdef int form = word_form(word, copying.from_.form)
    cdef void* member = member_dup(copying.heap, word_member(word), form)
    cdef size_t n
    cdef const char* key = member_key(member, form, &n)
    members_insert(copying.to, member, form, members_hash(copying.to, key, n))


cdef members_t* members_dup(engine_t* e, members_t* m) noexcept nogil:
    cdef copying_t copying
    copying.from_ = m
    copying.to = members_new(e, m.form, members_len(m))
    copying.heap = e.heap
    members_each(m, _copy, &copying)
    return copying.to

# ---- reading ---------------------------------------------------------------------------------------

cdef void members_each(members_t* m, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef uint64_t cursor = ht_scan(&m.table, 0, fn, ctx)
    while cursor:
        cursor = ht_scan(&m.table, cursor, fn, ctx)


cdef size_t members_memory(const members_t* m) noexcept nogil:
    return cf_usable_size(<void*>m) + ht_memory(&m.table) - sizeof(hashtable_t) + m.bytes + expiring_memory(m)

# ---- prefetching -----------------------------------------------------------------------------------

cdef enum:
    PREFETCH_ELEMENTS = 16  # of one request


cdef bint _prefetch_bytes(const entry_t* entry, int step) noexcept nogil:
    """What lies at the end is looked at first: a pack's tags."""
    cdef size_t n
    cdef const char* p
    if entry.flags & E_EMBED:
        cf_prefetch(<const char*>entry + entry_size(entry) - 1)
        return False
    if step == 0:
        cf_fetch(entry_payload(entry)[0])
        return True
    p = bytes_view(entry, &n)
    cf_prefetch(p + n - 1)
    cf_prefetch(p + n - 64)
    cf_prefetch(p + n - 128)
    return False


cdef bint _prefetch_members(members_t* m, const batched_t* p, int stage) noexcept nogil:
    """The passes of a table; true if the next one may be needed."""
    cdef arg_t* a = prefetch_last(p)
    cdef int at = <int>(a - p.request.argv)
    cdef int left = PREFETCH_ELEMENTS
    cdef bint more = stage == 0
    while at >= p.cmd.elements.first and left:
        a = &p.request.argv[at]
        if stage == 0:
            if a.hash == 0:
                a.hash = hash_bytes(a.ptr, a.len, m.table.seed)
            ht_prefetch_bucket(&m.table, a.hash)
        elif stage == 1:
            more |= ht_prefetch_element(&m.table, a.hash)
        else:
            ht_prefetch_overflow(&m.table, a.hash)
        at -= p.cmd.elements.step
        left -= 1
    return more


cdef bint members_prefetch(engine_t* e, const entry_t* entry, const batched_t* p, int step) noexcept nogil:
    cdef char* payload
    if entry_encoding(entry) != ENC_HASHTABLE and entry_encoding(entry) != ENC_SKIPLIST:
        return _prefetch_bytes(entry, step)
    if step == 0:
        payload = <char*>entry_payload(entry)[0]
        cf_fetch(payload)
        cf_prefetch(payload + 64)
        return prefetch_last(p) != NULL
    return _prefetch_members(members_of(entry), p, step - 1)

# ---- check -----------------------------------------------------------------------------------------

cdef struct checking_t:
    members_t* members
    size_t bytes
    size_t expiring


cdef void _check_one(void* ctx, void* word) noexcept nogil:
    cdef checking_t* checking = <checking_t*>ctx
    checking.bytes += _memory(checking.members, word)
    checking.expiring += (<uintptr_t>word & MEMBER_EXPIRES) != 0


cdef int members_check(members_t* m) noexcept nogil:
    cdef checking_t checking
    cdef int wrong = ht_check(&m.table)
    if wrong:
        return 10 + wrong
    checking.members = m
    checking.bytes = 0
    checking.expiring = 0
    members_each(m, _check_one, &checking)
    if checking.bytes != m.bytes:
        return 1
    wrong = expiring_check(m, checking.expiring)
    if wrong:
        return 30 + wrong
    return 2 if members_len(m) == 0 else 0
