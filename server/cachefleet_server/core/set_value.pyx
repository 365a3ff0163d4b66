"""Sets in their forms; see set_value.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

from cachefleet_server.core.bytes_value cimport (
    bytes_close, bytes_data, bytes_from_pointer, bytes_new, bytes_open, bytes_to_pointer, bytes_view)
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_HASHTABLE, ENC_INTSET, ENC_LISTPACK, OBJ_SET, entry_encoding, entry_new_pointer,
    entry_set_encoding)
from cachefleet_server.core.members cimport (
    members_check, members_drop, members_find, members_find_slot, members_free, members_hash, members_insert,
    members_new, members_of, members_set_expiry, members_t, members_take)
from cachefleet_server.core.members_expiry cimport members_find_live, members_timed, word_expiry
from cachefleet_server.core.members_walk cimport members_walk_all, seen_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_reserve, buf_t
from cachefleet_server.ds.intrin cimport cf_ref_drop
from cachefleet_server.ds.intset cimport (
    INTSET_HEADER, intset_at, intset_check, intset_commit, intset_count, intset_edit_t, intset_find, intset_init,
    intset_plan_add, intset_plan_remove, intset_write)
from cachefleet_server.ds.listpack cimport lp_text
from cachefleet_server.ds.member cimport MEMBER_SET, member_new
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars
from cachefleet_server.ds.pack cimport (
    PACK_HEADER, PACK_SET, pack_at_t, pack_commit, pack_edit_t, pack_find, pack_init, pack_item, pack_item_int,
    pack_item_t, pack_kind, pack_len, pack_plan_put, pack_plan_remove)
from cachefleet_server.ds.pack_building cimport (
    PACK_OK, pack_build_add, pack_build_begin, pack_build_end, pack_builder_t)
from cachefleet_server.ds.pack_checking cimport pack_check
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zmalloc

cdef inline bint _as_int(const lp_item_t* member, int64_t* v) noexcept nogil:
    if member.str != NULL:
        return chars_to_int64(member.str, member.len, v)
    v[0] = member.num
    return True


cdef inline void _as_item(const lp_item_t* member, pack_item_t* out) noexcept nogil:
    if member.str != NULL:
        pack_item(out, member.str, member.len)
    else:
        pack_item_int(out, member.num)


cdef inline size_t _text_len(const lp_item_t* member) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    return member.len if member.str != NULL else int64_to_chars(&digits[0], member.num)


cdef inline bint _may_pack(const engine_t* e, size_t count, size_t longest) noexcept nogil:
    """May a listpack of so many members get one more, when the longest has so many bytes?"""
    return (count < <size_t>e.params.set_max_listpack_entries
            and longest <= <size_t>e.params.set_max_listpack_value)

# ---- from one form to another ------------------------------------------------------------------------

cdef void _put_into_table(members_t* m, heap_t* h, const lp_item_t* member, bint* added) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(member, &digits[0], &n)
    cdef uint64_t hash = members_hash(m, p, n)
    if members_find(m, p, n, hash) != NULL:
        return
    added[0] = True
    members_insert(m, member_new(h, MEMBER_SET, p, n, NULL, 0), MEMBER_SET, hash)


cdef struct filling_t:
    members_t* members
    heap_t* heap


cdef void _fill(void* ctx, const seen_t* seen) noexcept nogil:
    cdef filling_t* f = <filling_t*>ctx
    cdef bint added
    _put_into_table(f.members, f.heap, &seen.key, &added)


cdef entry_t* set_to_table(engine_t* e, entry_t* entry, size_t room) noexcept nogil:
    cdef filling_t f
    f.members = members_new(e, MEMBER_SET, max(room, set_len(entry)))
    f.heap = e.heap
    members_walk_all(entry, -1, _fill, &f)
    return bytes_to_pointer(e, entry, ENC_HASHTABLE, f.members)


cdef entry_t* _to_bytes(engine_t* e, entry_t* entry, int encoding, const buf_t* b) noexcept nogil:
    """The value becomes these bytes, whatever it is."""
    cdef members_t* m
    if entry_encoding(entry) == ENC_HASHTABLE:
        m = members_of(entry)
        entry = bytes_from_pointer(e, entry, encoding, b.data, b.len)
        if cf_ref_drop(&m.refs):
            members_free(e.heap, m)
        return entry
    entry = bytes_open(e, entry, b.len)
    memcpy(bytes_data(entry), b.data, b.len)
    entry_set_encoding(entry, encoding)
    return bytes_close(e, entry, b.len)


cdef void _build(void* ctx, const seen_t* seen) noexcept nogil:
    pack_build_add(<pack_builder_t*>ctx, &seen.key, NULL)


cdef entry_t* _to_pack(engine_t* e, entry_t* entry) noexcept nogil:
    """Of members that a pack can hold."""
    cdef pack_builder_t builder
    cdef buf_t b
    buf_init(&b, e.heap)
    pack_build_begin(&builder, &b, PACK_SET)
    members_walk_all(entry, -1, _build, &builder)
    if pack_build_end(&builder) == PACK_OK:
        entry = _to_bytes(e, entry, ENC_LISTPACK, &b)
    else:
        entry = set_to_table(e, entry, 0)
    buf_free(&b)
    return entry


cdef struct reading_t:
    int64_t* out
    size_t count
    size_t longest  # bytes as text


cdef void _read_int(void* ctx, const seen_t* seen) noexcept nogil:
    cdef reading_t* r = <reading_t*>ctx
    _as_int(&seen.key, &r.out[r.count])
    r.count += 1


cdef int _ascending(const void* a, const void* b) noexcept nogil:
    cdef int64_t x = (<const int64_t*>a)[0]
    cdef int64_t y = (<const int64_t*>b)[0]
    return (x > y) - (x < y)


cdef void _write_integers(buf_t* b, heap_t* h, const int64_t* v, size_t n) noexcept nogil:
    buf_init(b, h)
    b.len = intset_write(buf_reserve(b, INTSET_HEADER + n * sizeof(int64_t)), v, n)


cdef entry_t* set_to_intset(engine_t* e, entry_t* entry) noexcept nogil:
    cdef size_t n = set_len(entry)
    cdef reading_t r
    cdef buf_t b
    if entry_encoding(entry) == ENC_INTSET or n > set_intset_max(e):
        return entry
    r.out = <int64_t*>zmalloc(e.heap, (n + 1) * sizeof(int64_t))
    r.count = 0
    members_walk_all(entry, -1, _read_int, &r)
    qsort(r.out, n, sizeof(int64_t), _ascending)
    _write_integers(&b, e.heap, r.out, n)
    entry = _to_bytes(e, entry, ENC_INTSET, &b)
    buf_free(&b)
    zfree(e.heap, r.out)
    return entry


cdef void _measure(void* ctx, const seen_t* seen) noexcept nogil:
    cdef reading_t* r = <reading_t*>ctx
    r.longest = max(r.longest, _text_len(&seen.key))


cdef entry_t* set_to_listpack(engine_t* e, entry_t* entry) noexcept nogil:
    cdef reading_t r
    if entry_encoding(entry) == ENC_LISTPACK or set_len(entry) > <size_t>e.params.set_max_listpack_entries:
        return entry
    if entry_encoding(entry) == ENC_HASHTABLE and members_timed(members_of(entry)):
        return entry
    r.longest = 0
    members_walk_all(entry, -1, _measure, &r)
    return _to_pack(e, entry) if r.longest <= <size_t>e.params.set_max_listpack_value else entry

# ---- new ones ----------------------------------------------------------------------------------------

cdef entry_t* set_new_intset(engine_t* e, const char* key, size_t nk, int64_t expire_ms) noexcept nogil:
    cdef char empty[INTSET_HEADER]
    intset_init(&empty[0])
    return bytes_new(e, key, nk, OBJ_SET, ENC_INTSET, &empty[0], INTSET_HEADER, expire_ms)


cdef entry_t* set_new_integers(
    engine_t* e, const char* key, size_t nk, const int64_t* v, size_t n
) noexcept nogil:
    cdef lp_item_t member
    cdef entry_t* entry
    cdef bint added
    cdef buf_t b
    cdef size_t i
    if n <= set_intset_max(e):
        _write_integers(&b, e.heap, v, n)
        entry = bytes_new(e, key, nk, OBJ_SET, ENC_INTSET, b.data, b.len, -1)
        buf_free(&b)
        return entry
    entry = set_new_table(e, key, nk, n, -1)
    member.str = NULL
    for i in range(n):
        member.num = v[i]
        _put_into_table(members_of(entry), e.heap, &member, &added)
    return entry


cdef entry_t* set_new_table(engine_t* e, const char* key, size_t nk, size_t room, int64_t expire_ms) noexcept nogil:
    return entry_new_pointer(
        e.heap, key, nk, OBJ_SET, ENC_HASHTABLE, members_new(e, MEMBER_SET, room), expire_ms)


cdef entry_t* set_new(
    engine_t* e, const char* key, size_t nk, const lp_item_t* first, size_t count
) noexcept nogil:
    cdef char empty[PACK_HEADER]
    cdef int64_t v
    if count <= set_intset_max(e) and _as_int(first, &v):
        return set_new_intset(e, key, nk, -1)
    if count > <size_t>e.params.set_max_listpack_entries:
        return set_new_table(e, key, nk, count, -1)
    pack_init(&empty[0], PACK_SET)
    return bytes_new(e, key, nk, OBJ_SET, ENC_LISTPACK, &empty[0], PACK_HEADER, -1)


cdef entry_t* set_prepare(engine_t* e, entry_t* entry, size_t count) noexcept nogil:
    cdef int encoding = entry_encoding(entry)
    if encoding == ENC_HASHTABLE:
        return entry
    if count > (set_intset_max(e) if encoding == ENC_INTSET else <size_t>e.params.set_max_listpack_entries):
        return set_to_table(e, entry, count)
    return entry

# ---- changes -----------------------------------------------------------------------------------------

cdef entry_t* _add_to_table(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil:
    _put_into_table(members_of(entry), e.heap, member, added)
    return entry


cdef entry_t* _commit_pack(engine_t* e, entry_t* entry, const pack_edit_t* edit) noexcept nogil:
    entry = bytes_open(e, entry, edit.len)
    pack_commit(bytes_data(entry), edit)
    return bytes_close(e, entry, edit.len)


cdef entry_t* _commit_intset(engine_t* e, entry_t* entry, const intset_edit_t* edit) noexcept nogil:
    entry = bytes_open(e, entry, edit.len)
    intset_commit(bytes_data(entry), edit)
    return bytes_close(e, entry, edit.len)


cdef entry_t* _add_to_pack(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef pack_item_t item
    cdef pack_edit_t edit
    cdef pack_at_t at
    _as_item(member, &item)
    if pack_find(data, n, &item, &at):
        return entry
    added[0] = True
    if _may_pack(e, pack_len(data), _text_len(member)) and pack_plan_put(data, n, &item, NULL, NULL, &edit):
        return _commit_pack(e, entry, &edit)
    return _add_to_table(e, set_to_table(e, entry, pack_len(data) + 1), member, added)


cdef entry_t* _leave_intset(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil:
    """A member that is no integer comes. The longest integers are at the ends."""
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef uint32_t count = intset_count(data)
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t longest = member.len
    if count:
        longest = max(longest, <size_t>int64_to_chars(&digits[0], intset_at(data, 0)))
        longest = max(longest, <size_t>int64_to_chars(&digits[0], intset_at(data, count - 1)))
    if _may_pack(e, count, longest):
        entry = _to_pack(e, entry)
    else:
        entry = set_to_table(e, entry, count + 1)
    return set_add(e, entry, member, added)


cdef entry_t* _add_to_intset(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef intset_edit_t edit
    cdef int64_t v
    if not _as_int(member, &v):
        return _leave_intset(e, entry, member, added)
    if not intset_plan_add(data, v, &edit):
        return entry
    added[0] = True
    n = intset_count(data) + 1
    entry = _commit_intset(e, entry, &edit)
    return set_to_table(e, entry, 0) if n > set_intset_max(e) else entry


cdef entry_t* set_add(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil:
    cdef int encoding = entry_encoding(entry)
    added[0] = False
    if encoding == ENC_HASHTABLE:
        return _add_to_table(e, entry, member, added)
    if encoding == ENC_INTSET:
        return _add_to_intset(e, entry, member, added)
    return _add_to_pack(e, entry, member, added)


cdef void _remove_from_table(engine_t* e, members_t* m, const lp_item_t* member, bint* removed) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(member, &digits[0], &n)
    cdef void* word = members_take(m, p, n, members_hash(m, p, n))
    if word != NULL:
        removed[0] = True
        members_drop(e.heap, m, word)


cdef entry_t* set_remove(engine_t* e, entry_t* entry, const lp_item_t* member, bint* removed) noexcept nogil:
    cdef size_t n
    cdef const char* data
    cdef intset_edit_t ints
    cdef pack_edit_t edit
    cdef pack_item_t item
    cdef pack_at_t at
    cdef int64_t v
    removed[0] = False
    if entry_encoding(entry) == ENC_HASHTABLE:
        _remove_from_table(e, members_of(entry), member, removed)
        return entry
    data = bytes_view(entry, &n)
    if entry_encoding(entry) == ENC_INTSET:
        if not _as_int(member, &v) or not intset_plan_remove(data, v, &ints):
            return entry
        removed[0] = True
        return _commit_intset(e, entry, &ints)
    _as_item(member, &item)
    if not pack_find(data, n, &item, &at):
        return entry
    removed[0] = True
    pack_plan_remove(data, n, &at, &edit)
    return _commit_pack(e, entry, &edit)

cdef entry_t* set_expire(engine_t* e, entry_t* entry, const lp_item_t* member, int64_t at_ms) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p
    cdef members_t* m
    cdef uint64_t hash
    if entry_encoding(entry) != ENC_HASHTABLE:
        if at_ms < 0:
            return entry
        entry = set_to_table(e, entry, 0)
    m = members_of(entry)
    p = lp_text(member, &digits[0], &n)
    hash = members_hash(m, p, n)
    members_set_expiry(m, members_find_slot(m, p, n, hash), hash, at_ms)
    return entry


cdef entry_t* set_add_timed(
    engine_t* e, entry_t* entry, const lp_item_t* member, int64_t at_ms, bint* added
) noexcept nogil:
    entry = set_add(e, entry, member, added)
    return set_expire(e, entry, member, at_ms) if added[0] and at_ms >= 0 else entry

# ---- reading -----------------------------------------------------------------------------------------

cdef bint set_find(const entry_t* entry, const lp_item_t* member, int64_t now_ms, int64_t* at_ms) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p
    cdef void* word
    cdef pack_item_t item
    cdef pack_at_t at
    cdef uint32_t place
    cdef int64_t v
    at_ms[0] = -1
    if entry_encoding(entry) == ENC_HASHTABLE:
        p = lp_text(member, &digits[0], &n)
        word = members_find_live(members_of(entry), p, n, now_ms)
        if word == NULL:
            return False
        at_ms[0] = word_expiry(word)
        return True
    p = bytes_view(entry, &n)
    if entry_encoding(entry) == ENC_INTSET:
        return _as_int(member, &v) and intset_find(p, v, &place)
    _as_item(member, &item)
    return pack_find(p, n, &item, &at)

# ---- check -------------------------------------------------------------------------------------------

cdef int set_check(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef int encoding = entry_encoding(entry)
    cdef const char* data
    cdef size_t n
    cdef int wrong
    if encoding == ENC_HASHTABLE:
        if entry.flags & E_EMBED:
            return 1
        wrong = members_check(members_of(entry))
        return 100 + wrong if wrong else 0
    if encoding != ENC_INTSET and encoding != ENC_LISTPACK:
        return 1
    data = bytes_view(entry, &n)
    if encoding == ENC_INTSET:
        wrong = intset_check(data, n)
        return 300 + wrong if wrong else 2 if intset_count(data) == 0 else 0
    wrong = pack_check(data, n)
    if wrong:
        return 200 + wrong
    return 4 if pack_kind(data) != PACK_SET else 2 if pack_len(data) == 0 else 0
