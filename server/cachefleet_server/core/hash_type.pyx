"""The row of hashes; see hash_type.pxd."""

from libc.stdint cimport uint8_t

from cachefleet_server.core.bytes_value cimport bytes_dup, bytes_free, bytes_memory, bytes_view
from cachefleet_server.core.digest cimport DIGEST_BYTES, digest_add, digest_mix
from cachefleet_server.core.engine cimport rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    ENC_HASHTABLE, ENC_LISTPACK, OBJ_HASH, entry_key, entry_t)
from cachefleet_server.core.hash_loading cimport (
    RDB_HASH, RDB_HASH_LISTPACK, RDB_HASH_ZIPLIST, RDB_HASH_ZIPMAP, hash_load)
from cachefleet_server.core.hash_value cimport (
    hash_check, hash_each, hash_field_t, hash_is_table, hash_len, hash_of_members)
from cachefleet_server.core.members cimport (
    members_dup, members_free, members_len, members_memory, members_of, members_prefetch, members_t, word_form,
    word_member)
from cachefleet_server.core.members_saving cimport (
    MEMBERS_GROUP, members_put_t, members_save_begin, members_save_end, members_save_step)
from cachefleet_server.core.rdb cimport rdb_put_string
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


cdef void _digest_field(void* ctx, const hash_field_t* field) noexcept nogil:
    cdef uint8_t own[DIGEST_BYTES]
    cdef int i
    for i in range(DIGEST_BYTES):
        own[i] = 0
    _mix(own, &field.name)
    _mix(own, &field.value)
    digest_add(<uint8_t*>ctx, own, DIGEST_BYTES)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    hash_each(entry, _digest_field, digest)

# ---- saving ----------------------------------------------------------------------------------------

cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    return RDB_HASH if hash_is_table(entry) else RDB_HASH_LISTPACK


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


cdef members_put_t PUT  # constant after import
PUT.command = b"HSET"
PUT.words = 2
PUT.put_fn = _put
PUT.put_words_fn = _put_words
PUT.put_more_fn = NULL

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


cdef void _put_field(void* ctx, const hash_field_t* field) noexcept nogil:
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
    _put_item(buf, &field.name)
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
        hash_each(s.entry, _put_field, &small)
        return
    data = bytes_view(s.entry, &n)
    buf_init(&listpack, s.engine.heap)
    pack_to_listpack(data, n, &listpack)
    rdb_put_string(out, listpack.data, listpack.len)
    buf_free(&listpack)


cdef void _save_begin(save_t* s) noexcept nogil:
    if hash_is_table(s.entry):
        members_save_begin(s, &PUT)


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
    row.rdb_bytes = 1 << RDB_HASH | 1 << RDB_HASH_ZIPMAP | 1 << RDB_HASH_ZIPLIST | 1 << RDB_HASH_LISTPACK
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = hash_check
    row.load_fn = hash_load
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = members_prefetch
    type_register(e, OBJ_HASH)
