"""The row of sets; see set_type.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cachefleet_server.core.bytes_value cimport bytes_dup, bytes_free, bytes_memory, bytes_new, bytes_view
from cachefleet_server.core.digest cimport digest_add
from cachefleet_server.core.engine cimport rdb_in_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_HASHTABLE, ENC_INTSET, ENC_LISTPACK, OBJ_SET, entry_encoding, entry_free_shell, entry_key,
    entry_new_pointer, entry_payload, entry_t)
from cachefleet_server.core.members cimport (
    members_dup, members_free, members_len, members_memory, members_of, members_prefetch, members_t, word_form,
    word_member)
from cachefleet_server.core.members_expiry cimport members_timed, word_expiry
from cachefleet_server.core.members_saving cimport (
    MEMBERS_GROUP, members_put_t, members_save_begin, members_save_end, members_save_step, put_times)
from cachefleet_server.core.members_walk cimport is_small, members_walk_all, seen_t
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_DIALECT_REDIS70, RDB_ERROR_EMPTY, RDB_ERROR_TYPE, RDB_VERSION_OWN, rdb_get_int64,
    rdb_get_length, rdb_length_size, rdb_put_int64, rdb_put_lent, rdb_put_length, rdb_put_string, rdb_refuse,
    rdb_view_string)
from cachefleet_server.core.set_value cimport (
    set_add, set_add_timed, set_check, set_intset_max, set_len, set_member, set_new_intset, set_new_table, set_to_table)
from cachefleet_server.core.types cimport save_out, type_register, type_row
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.intset cimport intset_count, intset_validate
from cachefleet_server.ds.listpack cimport LP_HEADER, lp_item_t, lp_next, lp_text
from cachefleet_server.ds.member cimport MEMBER_SET, member_key
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.pack cimport PACK_SET, pack_len
from cachefleet_server.ds.pack_building cimport (
    PACK_OK, PACK_TOO_LARGE, pack_from_listpack, pack_to_listpack)
from cachefleet_server.ds.zmalloc cimport heap_t, zfree
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    RDB_SET = 2
    RDB_SET_INTSET = 11
    RDB_SET_LISTPACK = 20
    RDB_SET_TIMED = 62  # of our own dialect

# ---- the row -----------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    if is_small(entry):
        bytes_free(h, entry)
    else:
        members_free(h, members_of(entry))


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return 1 if is_small(entry) else members_len(members_of(entry))


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    if is_small(entry):
        return bytes_dup(e, entry, key, nk)
    return entry_new_pointer(e.heap, key, nk, OBJ_SET, ENC_HASHTABLE, members_dup(e, members_of(entry)), -1)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return bytes_memory(entry) if is_small(entry) else members_memory(members_of(entry))


cdef void _mix(void* ctx, const seen_t* seen) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, &digits[0], &n)
    digest_add(<uint8_t*>ctx, p, n)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    members_walk_all(entry, -1, _mix, digest)

# ---- loading -----------------------------------------------------------------------------------------

cdef entry_t* _drop(engine_t* e, entry_t* entry) noexcept nogil:
    """Of an entry that nobody has seen."""
    if not entry.flags & E_EMBED:
        _free(NULL, e.heap, entry)
    entry_free_shell(e.heap, entry)
    return NULL


cdef entry_t* _load_members(
    engine_t* e, rdb_in_t* in_, bint timed, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    """One by one, of which no two may be equal."""
    cdef uint64_t left = rdb_get_length(in_, NULL)
    cdef entry_t* entry
    cdef lp_item_t member
    cdef char* owned
    cdef const char* p
    cdef size_t n
    cdef int64_t at_ms = -1
    cdef bint added
    if left > set_intset_max(e):
        entry = set_new_table(e, key, nk, min(left, <size_t>(in_.end - in_.p)), expire_ms)  # each takes a byte
    else:
        entry = set_new_intset(e, key, nk, expire_ms)
    if left == 0:
        rdb_refuse(in_, RDB_ERROR_EMPTY)
    while left and in_.error == NULL:
        owned = NULL
        p = rdb_view_string(in_, &n, &owned)
        if timed:
            at_ms = rdb_get_int64(in_)
        if at_ms < -1:
            rdb_refuse(in_, b"a member's time that is none")
        if in_.error == NULL:
            set_member(&member, p, n)
            entry = set_add_timed(e, entry, &member, at_ms, &added)
            if not added:
                rdb_refuse(in_, b"a set's member comes twice")
        zfree(in_.heap, owned)
        left -= 1
    return entry if in_.error == NULL else _drop(e, entry)


cdef entry_t* _of_intset(
    engine_t* e, rdb_in_t* in_, const char* p, size_t n, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef size_t fault
    cdef entry_t* entry
    if not intset_validate(p, n, &fault):
        rdb_refuse(in_, b"corrupt intset of a set")
        return NULL
    entry = bytes_new(e, key, nk, OBJ_SET, ENC_INTSET, p, n, expire_ms)
    if intset_count(p) > set_intset_max(e):
        entry = set_to_table(e, entry, 0)
    return entry


cdef entry_t* _of_long_listpack(
    engine_t* e, rdb_in_t* in_, const char* p, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    """Of one with more members than a pack holds; it was found to be a listpack."""
    cdef entry_t* entry = set_new_table(e, key, nk, 0, expire_ms)
    cdef size_t at = LP_HEADER
    cdef lp_item_t member
    cdef bint added = True
    while added and lp_next(p, &at, &member):
        entry = set_add(e, entry, &member, &added)
    if added:
        return entry
    rdb_refuse(in_, b"a set's member comes twice")
    return _drop(e, entry)


cdef entry_t* _of_listpack(
    engine_t* e, rdb_in_t* in_, const char* p, size_t n, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef entry_t* entry = NULL
    cdef buf_t pack
    cdef int result
    buf_init(&pack, e.heap)
    result = pack_from_listpack(p, n, PACK_SET, &pack)
    if result == PACK_TOO_LARGE:
        entry = _of_long_listpack(e, in_, p, key, nk, expire_ms)
    elif result != PACK_OK:
        rdb_refuse(in_, b"corrupt listpack of a set")
    elif pack_len(pack.data) == 0:
        rdb_refuse(in_, RDB_ERROR_EMPTY)
    else:
        entry = bytes_new(e, key, nk, OBJ_SET, ENC_LISTPACK, pack.data, pack.len, expire_ms)
        if pack_len(pack.data) > <uint64_t>e.params.set_max_listpack_entries:
            entry = set_to_table(e, entry, 0)
    buf_free(&pack)
    return entry


cdef entry_t* _load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef entry_t* entry = NULL
    cdef char* owned = NULL
    cdef const char* p
    cdef size_t n
    if type_byte == RDB_SET_TIMED and in_.version != RDB_VERSION_OWN:
        in_.unsupported = type_byte
        rdb_refuse(in_, RDB_ERROR_TYPE)
        return NULL
    if type_byte == RDB_SET or type_byte == RDB_SET_TIMED:
        return _load_members(e, in_, type_byte == RDB_SET_TIMED, key, nk, expire_ms)
    p = rdb_view_string(in_, &n, &owned)
    if in_.error == NULL and type_byte == RDB_SET_INTSET:
        entry = _of_intset(e, in_, p, n, key, nk, expire_ms)
    elif in_.error == NULL:
        entry = _of_listpack(e, in_, p, n, key, nk, expire_ms)
    zfree(in_.heap, owned)
    return entry


cdef inline bint _is_timed(const entry_t* entry) noexcept nogil:
    return entry_encoding(entry) == ENC_HASHTABLE and members_timed(members_of(entry)) != 0


cdef int _dialect(const entry_t* entry) noexcept nogil:
    return RDB_DIALECT_OWN if _is_timed(entry) else RDB_DIALECT_REDIS70


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    if dialect == RDB_DIALECT_OWN and _is_timed(entry):
        return RDB_SET_TIMED
    if entry_encoding(entry) == ENC_INTSET:
        return RDB_SET_INTSET
    if entry_encoding(entry) == ENC_LISTPACK and dialect != RDB_DIALECT_REDIS70:
        return RDB_SET_LISTPACK
    return RDB_SET

# ---- saving ------------------------------------------------------------------------------------------

cdef enum:  # PUT
    PLAIN = 0
    TIMED = 1

cdef members_put_t PUT[2]  # constant after import: how a member of a set is written


cdef void _put_word(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    cdef size_t n
    cdef const char* p = member_key(word_member(word), word_form(word, MEMBER_SET), &n)
    rdb_put_string(out, p, n)


cdef void _put_words(buf_t* buf, const members_t* m, const void* word) noexcept nogil:
    cdef size_t n
    cdef const char* p = member_key(word_member(word), word_form(word, MEMBER_SET), &n)
    command_word(buf, p, n)


cdef void _put_timed(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    _put_word(out, m, word)
    rdb_put_int64(out, word_expiry(word))


cdef void _put_times(save_t* s, rdb_out_t* out, const members_t* m, void** words, int n) noexcept nogil:
    put_times(s, out, b"SPEXPIREAT", b"MEMBERS", MEMBER_SET, words, n)


for _i in range(2):
    PUT[_i].command = b"SADD"
    PUT[_i].words = 1
    PUT[_i].put_head_fn = NULL
    PUT[_i].put_fn = _put_word
    PUT[_i].put_words_fn = _put_words
    PUT[_i].put_more_fn = _put_times
PUT[TIMED].put_fn = _put_timed

cdef struct writing_t:
    rdb_out_t* out
    const entry_t* entry
    size_t left  # members that are still to come, of a set that is saved as commands


cdef void _put_member(void* ctx, const seen_t* seen) noexcept nogil:
    cdef writing_t* w = <writing_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, &digits[0], &n)
    rdb_put_string(w.out, p, n)


cdef void _put_command(void* ctx, const seen_t* seen) noexcept nogil:
    cdef writing_t* w = <writing_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p
    if (set_len(w.entry) - w.left) % MEMBERS_GROUP == 0:
        command_header(&w.out.buf, c"*", 2 + min(w.left, <size_t>MEMBERS_GROUP))
        command_word(&w.out.buf, b"SADD", 4)
        p = entry_key(w.entry, &n)
        command_word(&w.out.buf, p, n)
    w.left -= 1
    p = lp_text(&seen.key, &digits[0], &n)
    command_word(&w.out.buf, p, n)


cdef void _put_intset(rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    if entry.flags & E_EMBED or not out.lend_min or n < out.lend_min:
        rdb_put_string(out, data, n)
        return
    rdb_put_length(out, n)
    rdb_put_lent(out, <blob_t*>entry_payload(entry)[0], rdb_length_size(n), out.mark_strings)


cdef void _put_listpack(engine_t* e, rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef buf_t listpack
    buf_init(&listpack, e.heap)
    pack_to_listpack(data, n, &listpack)
    rdb_put_string(out, listpack.data, listpack.len)
    buf_free(&listpack)


cdef void _save_small(save_t* s) noexcept nogil:
    """At once."""
    cdef writing_t w
    w.out = save_out(s)
    w.entry = s.entry
    w.left = set_len(s.entry)
    if w.out == NULL:
        return
    if s.commands:
        members_walk_all(s.entry, -1, _put_command, &w)
    elif _rdb_type(s.entry, w.out.dialect) == RDB_SET_INTSET:
        _put_intset(w.out, s.entry)
    elif _rdb_type(s.entry, w.out.dialect) == RDB_SET_LISTPACK:
        _put_listpack(s.engine, w.out, s.entry)
    else:
        rdb_put_length(w.out, w.left)
        members_walk_all(s.entry, -1, _put_member, &w)


cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    cdef size_t n
    if is_small(entry):
        bytes_view(entry, &n)
        return n
    return members_of(entry).bytes


cdef void _save_begin(save_t* s) noexcept nogil:
    if not is_small(s.entry):
        members_save_begin(s, &PUT[TIMED if s.rdb_type == RDB_SET_TIMED else PLAIN])


cdef bint _save_step(save_t* s) noexcept nogil:
    if is_small(s.entry):
        _save_small(s)
        return False
    return members_save_step(s)


cdef void _save_end(save_t* s) noexcept nogil:
    if not is_small(s.entry):
        members_save_end(s)


cdef void register_set_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_SET)
    row.encodings[ENC_INTSET] = b"intset"
    row.encodings[ENC_LISTPACK] = b"listpack"
    row.encodings[ENC_HASHTABLE] = b"hashtable"
    row.rdb_bytes = 1 << RDB_SET | 1 << RDB_SET_INTSET | 1 << RDB_SET_LISTPACK | <uint64_t>1 << RDB_SET_TIMED
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = set_check
    row.load_fn = _load
    row.dialect_fn = _dialect
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = members_prefetch
    type_register(e, OBJ_SET)
