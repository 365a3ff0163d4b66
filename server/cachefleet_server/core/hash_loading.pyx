"""Hashes from RDB bytes; see hash_loading.pxd.

A packed form is one string of the record, which is validated whole and then walked; pairs are strings each. Either way
pairs come one by one to a *build*: a pack while it is short enough and none of them expires, a table from then on.
"""

from libc.stdint cimport INT64_MAX, uint64_t

from cachefleet_server.core.hash_value cimport hash_of_members, hash_of_pack, hash_put_pack
from cachefleet_server.core.members cimport (
    members_find, members_free, members_hash, members_insert, members_new, members_t)
from cachefleet_server.core.rdb cimport (
    RDB_ERROR_EMPTY, RDB_ERROR_TYPE, rdb_get_int64, rdb_get_length, rdb_refuse, rdb_view_string)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.listpack cimport LP_HEADER, lp_item_t, lp_next, lp_text, lp_validate
from cachefleet_server.ds.member cimport MEMBER_HASH, MEMBER_TTL, member_new, member_set_expiry
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.pack cimport PACK_HASH, PACK_KEYS_MAX
from cachefleet_server.ds.pack_building cimport (
    PACK_OK, pack_build_add, pack_build_begin, pack_build_end, pack_builder_t)
from cachefleet_server.ds.ziplist cimport (
    ZIPLIST_HEADER, ZIPMAP_HEADER, ziplist_next, ziplist_validate, zipmap_next, zipmap_validate)
from cachefleet_server.ds.zmalloc cimport zfree

cdef extern from *:
    """
    #define ERROR_TWICE "a field comes twice in a hash"
    #define ERROR_LISTPACK "corrupt listpack of a hash"
    #define ERROR_ZIPLIST "corrupt ziplist of a hash"
    #define ERROR_ZIPMAP "corrupt zipmap of a hash"
    #define ERROR_TIME "a field's time that is none"
    """
    const char* ERROR_TWICE
    const char* ERROR_LISTPACK
    const char* ERROR_ZIPLIST
    const char* ERROR_ZIPMAP
    const char* ERROR_TIME

cdef struct build_t:
    engine_t* engine
    rdb_in_t* in_
    size_t count_max  # fields of a pack
    size_t text_max  # bytes of a name or value in a pack
    pack_builder_t pack
    buf_t buf
    members_t* members  # NULL: still a pack


cdef void _begin(build_t* b, engine_t* e, rdb_in_t* in_, size_t text_max) noexcept nogil:
    b.engine = e
    b.in_ = in_
    b.count_max = min(<size_t>max(e.params.hash_max_listpack_entries, <int64_t>0), <size_t>PACK_KEYS_MAX)
    b.text_max = text_max
    b.members = NULL
    buf_init(&b.buf, e.heap)
    pack_build_begin(&b.pack, &b.buf, PACK_HASH)


cdef void _to_table(build_t* b, size_t expected) noexcept nogil:
    b.members = members_new(b.engine, MEMBER_HASH, expected)
    if pack_build_end(&b.pack) == PACK_OK:
        hash_put_pack(b.engine, b.members, b.buf.data, b.buf.len)
    else:
        rdb_refuse(b.in_, ERROR_TWICE)


cdef void _add_member(build_t* b, const lp_item_t* name, const lp_item_t* value, int64_t expire_ms) noexcept nogil:
    cdef int form = MEMBER_HASH | MEMBER_TTL if expire_ms >= 0 else MEMBER_HASH
    cdef void* member
    cdef char name_digits[INT64_CHARS_MAX]
    cdef char value_digits[INT64_CHARS_MAX]
    cdef size_t n, vn
    cdef const char* p = lp_text(name, &name_digits[0], &n)
    cdef const char* v = lp_text(value, &value_digits[0], &vn)
    cdef uint64_t hash = members_hash(b.members, p, n)
    if members_find(b.members, p, n, hash) != NULL:
        rdb_refuse(b.in_, ERROR_TWICE)
        return
    member = member_new(b.engine.heap, form, p, n, v, vn)
    if expire_ms >= 0:
        member_set_expiry(member, expire_ms)
    members_insert(b.members, member, form, hash)


cdef void _add_timed(build_t* b, const lp_item_t* name, const lp_item_t* value, int64_t expire_ms) noexcept nogil:
    if b.members == NULL:
        if (expire_ms < 0 and b.pack.count < b.count_max and name.len <= b.text_max
                and value.len <= b.text_max):
            pack_build_add(&b.pack, name, value)
            return
        _to_table(b, b.pack.count + 1)
    if b.in_.error == NULL:
        _add_member(b, name, value, expire_ms)


cdef inline void _add(build_t* b, const lp_item_t* name, const lp_item_t* value) noexcept nogil:
    _add_timed(b, name, value, -1)


cdef entry_t* _end(build_t* b, const char* key, size_t nk, int64_t expire_ms) noexcept nogil:
    """The entry, or NULL after an error."""
    cdef entry_t* entry = NULL
    if b.in_.error == NULL and b.members == NULL:
        if b.pack.count == 0:
            rdb_refuse(b.in_, RDB_ERROR_EMPTY)
        elif pack_build_end(&b.pack) != PACK_OK:  # not too large: _add counted, and a file's string is below its limit
            rdb_refuse(b.in_, ERROR_TWICE)
        else:
            entry = hash_of_pack(b.engine, key, nk, b.buf.data, b.buf.len, expire_ms)
    elif b.in_.error == NULL:
        entry = hash_of_members(b.engine, key, nk, b.members, expire_ms)
        b.members = NULL
    if b.members != NULL:
        members_free(b.engine.heap, b.members)
    buf_free(&b.buf)
    return entry

# ---- the forms -------------------------------------------------------------------------------------

cdef int64_t _metadata_time(rdb_in_t* in_, int64_t base_ms) noexcept nogil:
    cdef uint64_t after = rdb_get_length(in_, NULL)
    if after == 0:
        return -1
    if base_ms < 0 or after > <uint64_t>(INT64_MAX - base_ms):
        rdb_refuse(in_, ERROR_TIME)
        return -1
    return base_ms + <int64_t>after - 1


cdef void _read_pairs(build_t* b, int type_byte) noexcept nogil:
    cdef rdb_in_t* in_ = b.in_
    cdef int64_t base_ms = rdb_get_int64(in_) if type_byte == RDB_HASH_METADATA else 0
    cdef int64_t expire_ms = -1
    cdef uint64_t left = rdb_get_length(in_, NULL)
    cdef char* name_owned = NULL
    cdef char* value_owned = NULL
    cdef lp_item_t name, value
    name.num = value.num = 0
    if left > b.count_max:  # each pair has two bytes at least
        _to_table(b, min(left, <uint64_t>(in_.end - in_.p) / 2))
    while left and in_.error == NULL:
        if type_byte == RDB_HASH_METADATA:
            expire_ms = _metadata_time(in_, base_ms)
        name.str = rdb_view_string(in_, &name.len, &name_owned)
        value.str = rdb_view_string(in_, &value.len, &value_owned)
        if type_byte == RDB_HASH_2:
            expire_ms = rdb_get_int64(in_)
        if expire_ms < -1:
            rdb_refuse(in_, ERROR_TIME)
        if in_.error == NULL:
            _add_timed(b, &name, &value, expire_ms)
        zfree(in_.heap, name_owned)
        zfree(in_.heap, value_owned)
        name_owned = value_owned = NULL
        left -= 1


cdef void _read_listpack(build_t* b, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t name, value
    cdef size_t at = LP_HEADER
    cdef size_t count
    if not lp_validate(p, n, &count) or count & 1:
        rdb_refuse(b.in_, ERROR_LISTPACK)
        return
    while b.in_.error == NULL and lp_next(p, &at, &name):
        lp_next(p, &at, &value)
        _add(b, &name, &value)


cdef void _read_triples(build_t* b, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t name, value, time
    cdef size_t at = LP_HEADER
    cdef size_t count
    time.str = NULL
    time.num = 0
    if not lp_validate(p, n, &count) or count % 3:
        rdb_refuse(b.in_, ERROR_LISTPACK)
        return
    while b.in_.error == NULL and lp_next(p, &at, &name):
        lp_next(p, &at, &value)
        lp_next(p, &at, &time)
        if time.str != NULL or time.num < 0:
            rdb_refuse(b.in_, ERROR_TIME)
        else:
            _add_timed(b, &name, &value, time.num if time.num else -1)


cdef void _read_ziplist(build_t* b, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t name, value
    cdef size_t at = ZIPLIST_HEADER
    cdef size_t count
    if not ziplist_validate(p, n, &count) or count & 1:
        rdb_refuse(b.in_, ERROR_ZIPLIST)
        return
    while b.in_.error == NULL and ziplist_next(p, &at, &name):
        ziplist_next(p, &at, &value)
        _add(b, &name, &value)


cdef void _read_zipmap(build_t* b, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t name, value
    cdef size_t at = ZIPMAP_HEADER
    cdef size_t count
    if not zipmap_validate(p, n, &count):
        rdb_refuse(b.in_, ERROR_ZIPMAP)
        return
    while b.in_.error == NULL and zipmap_next(p, &at, &name, &value):
        _add(b, &name, &value)


cdef void _read_packed(build_t* b, int type_byte) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef const char* p
    if type_byte == RDB_HASH_LISTPACK_EX:
        rdb_get_int64(b.in_)  # the first time
    p = rdb_view_string(b.in_, &n, &owned)
    if b.in_.error == NULL:
        if type_byte == RDB_HASH_LISTPACK:
            _read_listpack(b, p, n)
        elif type_byte == RDB_HASH_LISTPACK_EX:
            _read_triples(b, p, n)
        elif type_byte == RDB_HASH_ZIPLIST:
            _read_ziplist(b, p, n)
        else:
            _read_zipmap(b, p, n)
    zfree(b.in_.heap, owned)


cdef entry_t* hash_load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    """As Valkey, a listpack or ziplist is converted for its count alone, whatever the lengths in it."""
    cdef build_t build
    cdef size_t text_max = e.params.hash_max_listpack_value
    if type_byte > RDB_HASH_LISTPACK and (type_byte == RDB_HASH_2) != in_.valkey:
        in_.unsupported = type_byte  # Redis 7.4's release candidates had another 22
        rdb_refuse(in_, RDB_ERROR_TYPE)
        return NULL
    if type_byte == RDB_HASH_LISTPACK or type_byte == RDB_HASH_LISTPACK_EX or type_byte == RDB_HASH_ZIPLIST:
        text_max = <size_t>-1
    _begin(&build, e, in_, text_max)
    if type_byte == RDB_HASH or type_byte == RDB_HASH_2 or type_byte == RDB_HASH_METADATA:
        _read_pairs(&build, type_byte)
    else:
        _read_packed(&build, type_byte)
    return _end(&build, key, nk, expire_ms)
