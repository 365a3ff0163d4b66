"""Hashes in both forms; see hash_value.pxd."""

from libc.stdint cimport uint64_t

from cachefleet_server.core.bytes_value cimport (
    bytes_close, bytes_data, bytes_new, bytes_open, bytes_to_pointer, bytes_view)
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_LISTPACK, ENTRY_EMBED_MAX, OBJ_HASH, entry_key, entry_new_pointer)
from cachefleet_server.core.members cimport (
    members_announce, members_check, members_drop, members_find, members_find_slot, members_hash,
    members_insert, members_new, members_set_expiry, members_store_timed, members_take, members_untime, word_form,
    word_member)
from cachefleet_server.core.members_expiry cimport word_expiry
from cachefleet_server.core.members_walk cimport word_is_due
from cachefleet_server.ds.bucket cimport ht_slot_t, slot_get
from cachefleet_server.ds.listpack cimport lp_get, lp_text
from cachefleet_server.ds.member cimport (
    MEMBER_HASH, MEMBER_TTL, member_memory, member_new, member_set_expiry, member_set_value, member_value)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.pack cimport (
    PACK_HASH, PACK_HEADER, pack_at_t, pack_commit, pack_edit_t, pack_find, pack_first, pack_index_bytes, pack_init,
    pack_item, pack_item_t, pack_kind, pack_next, pack_plan_put, pack_plan_remove)
from cachefleet_server.ds.pack_checking cimport pack_check

# ---- reading ---------------------------------------------------------------------------------------

cdef inline bint _pack_find(const char* data, size_t len, const char* name, size_t n, pack_at_t* at) noexcept nogil:
    cdef pack_item_t item
    pack_item(&item, name, n)
    return pack_find(data, len, &item, at)


cdef bint hash_find(
    const entry_t* entry, const char* name, size_t n, int64_t now_ms, hash_field_t* field
) noexcept nogil:
    cdef members_t* m
    cdef void* word
    cdef const char* data
    cdef size_t len
    cdef pack_at_t at
    if hash_is_table(entry):
        m = members_of(entry)
        word = members_find(m, name, n, members_hash(m, name, n))
        if word == NULL or word_is_due(word, now_ms):
            return False
        field.value.str = member_value(word_member(word), word_form(word, MEMBER_HASH), &field.value.len)
        field.value.num = 0
        field.expire_ms = word_expiry(word)
        return True
    data = bytes_view(entry, &len)
    if not _pack_find(data, len, name, n, &at):
        return False
    lp_get(data + at.value, &field.value)
    field.expire_ms = -1
    return True

# ---- from a pack to a table ------------------------------------------------------------------------

cdef void hash_put_pack(engine_t* e, members_t* m, const char* data, size_t len) noexcept nogil:
    cdef char name_digits[INT64_CHARS_MAX]
    cdef char value_digits[INT64_CHARS_MAX]
    cdef const char* name
    cdef const char* value
    cdef size_t n, vn
    cdef lp_item_t item
    cdef pack_at_t at
    cdef bint more = pack_first(data, &at)
    while more:
        lp_get(data + at.at, &item)
        name = lp_text(&item, &name_digits[0], &n)
        lp_get(data + at.value, &item)
        value = lp_text(&item, &value_digits[0], &vn)
        members_insert(m, member_new(e.heap, MEMBER_HASH, name, n, value, vn), MEMBER_HASH, members_hash(m, name, n))
        more = pack_next(data, &at)


cdef void _to_table(hash_write_t* w, size_t more) noexcept nogil:
    cdef engine_t* e = w.engine
    cdef size_t n
    cdef const char* data = bytes_view(w.entry, &n)
    w.members = members_new(e, MEMBER_HASH, pack_len(data) + more)
    hash_put_pack(e, w.members, data, w.len)
    w.entry = bytes_to_pointer(e, w.entry, ENC_HASHTABLE, w.members)

# ---- writing ---------------------------------------------------------------------------------------

cdef entry_t* hash_new(engine_t* e, const char* key, size_t nk) noexcept nogil:
    cdef char empty[PACK_HEADER]
    pack_init(&empty[0], PACK_HASH)
    return bytes_new(e, key, nk, OBJ_HASH, ENC_LISTPACK, &empty[0], PACK_HEADER, -1)


cdef inline bint _is_long(const engine_t* e, size_t n) noexcept nogil:
    return <int64_t>n > e.params.hash_max_listpack_value


cdef void hash_write_begin(
    hash_write_t* w, engine_t* e, entry_t* entry, const arg_t* words, int pairs, int64_t now_ms, int64_t expire_ms
) noexcept nogil:
    cdef const char* data
    cdef size_t nk
    cdef bint long_ = pairs > e.params.hash_max_listpack_entries or expire_ms >= 0
    cdef int i
    w.engine = e
    w.entry = entry
    w.now_ms = now_ms
    w.expire_ms = expire_ms
    w.renewed = 0
    w.members = NULL
    if hash_is_table(entry):
        w.members = members_of(entry)
        return
    data = bytes_view(entry, &w.len)
    w.room = 0
    for i in range(2 * pairs):
        long_ |= _is_long(e, words[i].len)
        w.room += words[i].len
    if long_:
        _to_table(w, pairs)
    elif pairs <= 1:
        w.room = w.len
    else:  # about what it will be, at once; short words have heads of one byte
        w.room += w.len + 2 * pairs + pack_index_bytes(pack_len(data) + pairs, data[2])
        if entry.flags & E_EMBED:
            entry_key(entry, &nk)
            w.room = min(w.room, max(w.len, ENTRY_EMBED_MAX - min(nk, <size_t>ENTRY_EMBED_MAX)))
        w.entry = bytes_open(e, entry, w.room)


cdef void _write_new(
    hash_write_t* w, const char* name, size_t n, const char* value, size_t vn, uint64_t hash
) noexcept nogil:
    cdef int form = MEMBER_HASH | MEMBER_TTL if w.expire_ms >= 0 else MEMBER_HASH
    cdef void* member = member_new(w.engine.heap, form, name, n, value, vn)
    if w.expire_ms >= 0:
        member_set_expiry(member, w.expire_ms)
    members_insert(w.members, member, form, hash)


cdef bint _write_member(hash_write_t* w, const char* name, size_t n, const char* value, size_t vn) noexcept nogil:
    cdef members_t* m = w.members
    cdef uint64_t hash = members_hash(m, name, n)
    cdef ht_slot_t slot = members_find_slot(m, name, n, hash)
    cdef int64_t expire_ms = w.expire_ms
    cdef void* word
    cdef void* member
    cdef size_t before
    cdef bint hidden
    cdef int form
    if slot == 0:
        _write_new(w, name, n, value, vn, hash)
        return True
    members_announce(m, hash)
    word = slot_get(slot)
    hidden = word_is_due(word, w.now_ms)
    w.renewed += hidden
    if expire_ms == HASH_KEEP:
        expire_ms = HASH_FOREVER if hidden else word_expiry(word)
    form = word_form(word, MEMBER_HASH)
    member = word_member(word)
    before = member_memory(member, form)
    members_untime(m, word)
    member = member_set_value(w.engine.heap, member, form, value, vn)
    members_store_timed(m, slot, before, member, form, expire_ms)
    return hidden


cdef bint hash_write(hash_write_t* w, const char* name, size_t n, const char* value, size_t vn) noexcept nogil:
    cdef pack_item_t name_item, value_item
    cdef pack_at_t at
    cdef pack_edit_t edit
    cdef const char* data
    cdef size_t size
    cdef bint found
    if w.members == NULL and (_is_long(w.engine, n) or _is_long(w.engine, vn)):
        _to_table(w, 1)
    if w.members != NULL:
        return _write_member(w, name, n, value, vn)
    data = bytes_view(w.entry, &size)
    pack_item(&name_item, name, n)
    pack_item(&value_item, value, vn)
    found = pack_find(data, w.len, &name_item, &at)
    size = pack_plan_put(data, w.len, &name_item, &at if found else NULL, &value_item, &edit)
    if size == 0:  # more than a pack can hold
        _to_table(w, 1)
        return _write_member(w, name, n, value, vn)
    w.room = max(w.room, size)
    w.entry = bytes_open(w.engine, w.entry, w.room)
    pack_commit(bytes_data(w.entry), &edit)
    w.len = size
    return not found


cdef entry_t* hash_write_end(hash_write_t* w) noexcept nogil:
    if w.members != NULL:
        return w.entry
    w.entry = bytes_close(w.engine, w.entry, w.len)
    if <int64_t>hash_len(w.entry) > w.engine.params.hash_max_listpack_entries:
        _to_table(w, 0)
    return w.entry


cdef bint _remove_member(engine_t* e, members_t* m, const char* name, size_t n, int64_t now_ms) noexcept nogil:
    cdef uint64_t hash = members_hash(m, name, n)
    cdef void* word
    if m.expiring != NULL and now_ms >= 0:
        word = members_find(m, name, n, hash)
        if word == NULL or word_is_due(word, now_ms):
            return False
    word = members_take(m, name, n, hash)
    if word == NULL:
        return False
    members_drop(e.heap, m, word)
    return True


cdef entry_t* hash_remove(
    engine_t* e, entry_t* entry, const char* name, size_t n, int64_t now_ms, bint* removed
) noexcept nogil:
    cdef const char* data
    cdef size_t len
    cdef pack_at_t at
    cdef pack_edit_t edit
    if hash_is_table(entry):
        removed[0] = _remove_member(e, members_of(entry), name, n, now_ms)
        return entry
    data = bytes_view(entry, &len)
    removed[0] = _pack_find(data, len, name, n, &at)
    if not removed[0]:
        return entry
    entry = bytes_open(e, entry, len)
    data = bytes_data(entry)
    n = pack_plan_remove(data, len, &at, &edit)
    pack_commit(bytes_data(entry), &edit)
    return bytes_close(e, entry, n)


cdef entry_t* hash_expire(engine_t* e, entry_t* entry, const char* name, size_t n, int64_t expire_ms) noexcept nogil:
    cdef hash_write_t w
    cdef uint64_t hash
    if not hash_is_table(entry):
        if expire_ms == HASH_FOREVER:
            return entry
        w.engine = e
        w.entry = entry
        bytes_view(entry, &w.len)
        _to_table(&w, 0)
        entry = w.entry
    hash = members_hash(members_of(entry), name, n)
    members_set_expiry(members_of(entry), members_find_slot(members_of(entry), name, n, hash), hash, expire_ms)
    return entry

# ---- loading ---------------------------------------------------------------------------------------

cdef entry_t* hash_of_members(
    engine_t* e, const char* key, size_t nk, members_t* m, int64_t expire_ms
) noexcept nogil:
    return entry_new_pointer(e.heap, key, nk, OBJ_HASH, ENC_HASHTABLE, m, expire_ms)


cdef entry_t* hash_of_pack(
    engine_t* e, const char* key, size_t nk, const char* data, size_t len, int64_t expire_ms
) noexcept nogil:
    cdef members_t* m
    if pack_len(data) <= e.params.hash_max_listpack_entries:
        return bytes_new(e, key, nk, OBJ_HASH, ENC_LISTPACK, data, len, expire_ms)
    m = members_new(e, MEMBER_HASH, pack_len(data))
    hash_put_pack(e, m, data, len)
    return hash_of_members(e, key, nk, m, expire_ms)

# ---- check -----------------------------------------------------------------------------------------

cdef int hash_check(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef const char* data
    cdef size_t len
    cdef int wrong
    if hash_is_table(entry):
        if entry.flags & E_EMBED:
            return 1
        wrong = members_check(members_of(entry))
        return 30 + wrong if wrong else 0
    if entry_encoding(entry) != ENC_LISTPACK:
        return 1
    data = bytes_view(entry, &len)
    wrong = pack_check(data, len)
    if wrong:
        return 10 + wrong
    if pack_kind(data) != PACK_HASH:
        return 20
    return 2 if pack_len(data) == 0 else 0
