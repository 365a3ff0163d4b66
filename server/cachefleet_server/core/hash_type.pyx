"""The row of hashes; see hash_type.pxd."""

from libc.stdint cimport int64_t, uint8_t

from cachefleet_server.core.bytes_value cimport bytes_dup, bytes_free, bytes_memory, bytes_view
from cachefleet_server.core.digest cimport DIGEST_BYTES, digest_add, digest_mix
from cachefleet_server.core.engine cimport rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    ENC_HASHTABLE, ENC_LISTPACK, OBJ_HASH, entry_key, entry_t)
from cachefleet_server.core.hash_loading cimport (
    METADATA_BASE, RDB_HASH, RDB_HASH_2, RDB_HASH_LISTPACK, RDB_HASH_LISTPACK_EX, RDB_HASH_METADATA, RDB_HASH_ZIPLIST,
    RDB_HASH_ZIPMAP, hash_load)
from cachefleet_server.core.hash_value cimport hash_check, hash_is_table, hash_len, hash_of_members
from cachefleet_server.core.members cimport (
    members_dup, members_free, members_len, members_memory, members_of, members_prefetch, members_t, word_form,
    word_member)
from cachefleet_server.core.members_expiry cimport members_timed, word_expiry
from cachefleet_server.core.members_saving cimport (
    MEMBERS_GROUP, members_put_t, members_save_begin, members_save_end, members_save_step, put_times)
from cachefleet_server.core.members_walk cimport members_walk_all, seen_t
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_REDIS70, RDB_DIALECT_VALKEY, rdb_dialect_is_valkey, rdb_put_int64, rdb_put_length, rdb_put_string)
from cachefleet_server.core.types cimport save_out, type_register, type_row
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.member cimport MEMBER_HASH, member_key, member_value
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.pack_building cimport pack_to_listpack
from cachefleet_server.ds.zmalloc cimport heap_t
from cachefleet_server.resp.command cimport command_header, command_word

# ---- the row ---------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    if hash_is_table(entry):
        members_free(h, members_of(entry))
    else:
        bytes_free(h, entry)


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return members_len(members_of(entry)) if hash_is_table(entry) else 1


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    if hash_is_table(entry):
        return hash_of_members(e, key, nk, members_dup(e, members_of(entry)), -1)
    return bytes_dup(e, entry, key, nk)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return members_memory(members_of(entry)) if hash_is_table(entry) else bytes_memory(entry)


cdef void _mix(uint8_t* digest, const lp_item_t* item) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(item, &digits[0], &n)
    digest_mix(digest, p, n)


cdef void _digest_field(void* ctx, const seen_t* field) noexcept nogil:
    cdef uint8_t own[DIGEST_BYTES]
    cdef int i
    for i in range(DIGEST_BYTES):
        own[i] = 0
    _mix(own, &field.key)
    _mix(own, &field.value)
    digest_add(<uint8_t*>ctx, own, DIGEST_BYTES)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    members_walk_all(entry, -1, _digest_field, digest)

# ---- saving ----------------------------------------------------------------------------------------

cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    if not hash_is_table(entry):
        return RDB_HASH_LISTPACK
    if members_timed(members_of(entry)) == 0:
        return RDB_HASH
    return RDB_HASH_2 if rdb_dialect_is_valkey(dialect) else RDB_HASH_METADATA


cdef int _dialect(const entry_t* entry) noexcept nogil:
    return RDB_DIALECT_VALKEY if hash_is_table(entry) and members_timed(members_of(entry)) else RDB_DIALECT_REDIS70


cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    cdef size_t n
    if hash_is_table(entry):
        return members_of(entry).bytes
    bytes_view(entry, &n)
    return n


cdef void _put(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    cdef int form = word_form(word, MEMBER_HASH)
    cdef size_t n
    cdef const char* p = member_key(word_member(word), form, &n)
    rdb_put_string(out, p, n)
    p = member_value(word_member(word), form, &n)
    rdb_put_string(out, p, n)


cdef void _put_words(buf_t* buf, const members_t* m, const void* word) noexcept nogil:
    cdef int form = word_form(word, MEMBER_HASH)
    cdef size_t n
    cdef const char* p = member_key(word_member(word), form, &n)
    command_word(buf, p, n)
    p = member_value(word_member(word), form, &n)
    command_word(buf, p, n)


cdef void _put_expiry(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    """Of HASH_2."""
    _put(out, m, word)
    rdb_put_int64(out, word_expiry(word))


cdef void _put_base(rdb_out_t* out) noexcept nogil:
    """Times of HASH_METADATA count from this one, which is 1 as they are written."""
    rdb_put_int64(out, METADATA_BASE)


cdef void _put_metadata(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    cdef int64_t expire_ms = word_expiry(word)
    rdb_put_length(out, max(expire_ms - METADATA_BASE + 1, <int64_t>1) if expire_ms >= 0 else 0)
    _put(out, m, word)


cdef void _put_times(save_t* s, rdb_out_t* out, const members_t* m, void** words, int n) noexcept nogil:
    put_times(s, out, b"HPEXPIREAT", b"FIELDS", MEMBER_HASH, words, n)


cdef enum:  # PUT
    PLAIN = 0
    TIMED = 1
    METADATA = 2

cdef members_put_t PUT[3]  # constant after import
for _i in range(3):
    PUT[_i].command = b"HSET"
    PUT[_i].words = 2
    PUT[_i].put_head_fn = NULL
    PUT[_i].put_fn = _put
    PUT[_i].put_words_fn = _put_words
    PUT[_i].put_more_fn = _put_times
PUT[TIMED].put_fn = _put_expiry
PUT[METADATA].put_head_fn = _put_base
PUT[METADATA].put_fn = _put_metadata


cdef inline const members_put_t* _how(const save_t* s) noexcept nogil:
    if s.rdb_type == RDB_HASH_2:
        return &PUT[TIMED]
    return &PUT[METADATA] if s.rdb_type == RDB_HASH_METADATA else &PUT[PLAIN]

cdef struct small_t:  # a pack that becomes commands
    save_t* save
    rdb_out_t* out
    size_t left
    int in_command  # fields that the command at the end still lacks


cdef void _put_item(buf_t* buf, const lp_item_t* item) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(item, &digits[0], &n)
    command_word(buf, p, n)


cdef void _put_field(void* ctx, const seen_t* field) noexcept nogil:
    cdef small_t* small = <small_t*>ctx
    cdef buf_t* buf = &small.out.buf
    cdef const char* key
    cdef size_t nk
    if small.in_command == 0:
        small.in_command = <int>min(small.left, <size_t>MEMBERS_GROUP)
        small.left -= small.in_command
        key = entry_key(small.save.entry, &nk)
        command_header(buf, c"*", 2 + 2 * small.in_command)
        command_word(buf, b"HSET", 4)
        command_word(buf, key, nk)
    small.in_command -= 1
    _put_item(buf, &field.key)
    _put_item(buf, &field.value)


cdef void _save_small(save_t* s) noexcept nogil:
    cdef rdb_out_t* out = save_out(s)
    cdef small_t small
    cdef const char* data
    cdef buf_t listpack
    cdef size_t n
    if out == NULL:
        return
    if s.commands:
        small.save = s
        small.out = out
        small.left = hash_len(s.entry)
        small.in_command = 0
        members_walk_all(s.entry, -1, _put_field, &small)
        return
    data = bytes_view(s.entry, &n)
    buf_init(&listpack, s.engine.heap)
    pack_to_listpack(data, n, &listpack)
    rdb_put_string(out, listpack.data, listpack.len)
    buf_free(&listpack)


cdef void _save_begin(save_t* s) noexcept nogil:
    if hash_is_table(s.entry):
        members_save_begin(s, _how(s))


cdef bint _save_step(save_t* s) noexcept nogil:
    if hash_is_table(s.entry):
        return members_save_step(s)
    _save_small(s)
    return False


cdef void _save_end(save_t* s) noexcept nogil:
    if hash_is_table(s.entry):
        members_save_end(s)


cdef void register_hash_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_HASH)
    row.encodings[ENC_LISTPACK] = b"listpack"
    row.encodings[ENC_HASHTABLE] = b"hashtable"
    row.rdb_bytes = (
        1 << RDB_HASH | 1 << RDB_HASH_ZIPMAP | 1 << RDB_HASH_ZIPLIST | 1 << RDB_HASH_LISTPACK | 1 << RDB_HASH_2
        | 1 << RDB_HASH_METADATA | 1 << RDB_HASH_LISTPACK_EX)
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = hash_check
    row.load_fn = hash_load
    row.dialect_fn = _dialect
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = members_prefetch
    type_register(e, OBJ_HASH)
