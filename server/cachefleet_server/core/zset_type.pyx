"""The row of sorted sets; see zset_type.pxd."""

from libc.math cimport INFINITY, isnan
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.bytes_value cimport bytes_memory, bytes_view
from cachefleet_server.core.digest cimport DIGEST_BYTES, digest_add, digest_mix
from cachefleet_server.core.engine cimport rdb_in_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport ENC_LISTPACK, ENC_SKIPLIST, OBJ_ZSET, entry_key, entry_t
from cachefleet_server.core.members cimport (
    members_hash, members_len, members_memory, members_of, members_prefetch, members_t)
from cachefleet_server.core.members_expiry cimport members_timed, word_expiry
from cachefleet_server.core.members_saving cimport (
    MEMBERS_GROUP, members_put_t, members_save_begin, members_save_end, members_save_step, put_times)
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_DIALECT_REDIS70, RDB_ERROR_EMPTY, RDB_ERROR_TYPE, RDB_VERSION_OWN, rdb_get_byte,
    rdb_get_int64, rdb_get_length, rdb_put_int64, rdb_put_string, rdb_refuse, rdb_view_string)
from cachefleet_server.core.types cimport save_out, type_register, type_row
from cachefleet_server.core.zset_value cimport (
    word_score, word_scored, zset_build_add_timed, zset_build_begin, zset_build_drop, zset_build_end, zset_build_find,
    zset_build_t, zset_check, zset_dup, zset_free, zset_is_pack, zset_iter_t, zset_len, zset_next, zset_order,
    zset_seek)
from cachefleet_server.ds.btree cimport bt_memory, btree_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.listpack cimport LP_HEADER, lp_item_t, lp_next, lp_text, lp_validate
from cachefleet_server.ds.member cimport MEMBER_ZSET, member_key
from cachefleet_server.ds.number cimport (
    DOUBLE_CHARS_MAX, INT64_CHARS_MAX, chars_to_double, double_to_chars, double_to_shortest)
from cachefleet_server.ds.pack_building cimport pack_read_score, pack_to_listpack
from cachefleet_server.ds.ziplist cimport ZIPLIST_HEADER, ziplist_next, ziplist_validate
from cachefleet_server.ds.zmalloc cimport heap_t, zfree
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    RDB_ZSET = 3
    RDB_ZSET_2 = 5
    RDB_ZSET_ZIPLIST = 12
    RDB_ZSET_LISTPACK = 17
    RDB_ZSET_TIMED = 63  # of our own dialect
    SCORE_NAN = 253  # the length of a score's text in RDB_ZSET
    SCORE_INF = 254
    SCORE_MINUS_INF = 255
    ROOM_MAX = 1 << 20  # members that a record's count makes room for before they have come
    MEMBER_MIN = 2  # bytes of one with its score


# ---- the row ---------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    zset_free(h, entry)


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return 1 if zset_is_pack(entry) else members_len(members_of(entry))


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    cdef members_t* m
    if zset_is_pack(entry):
        return bytes_memory(entry)
    m = members_of(entry)
    return members_memory(m) + sizeof(btree_t) + bt_memory(zset_order(m))


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    cdef uint8_t pair[DIGEST_BYTES]
    cdef char text[DOUBLE_CHARS_MAX]
    cdef char digits[INT64_CHARS_MAX]
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    cdef const char* p
    cdef size_t n
    zset_seek(&it, entry, 0, zset_len(entry), False)
    while zset_next(&it, &item, &score):
        memset(pair, 0, DIGEST_BYTES)
        p = lp_text(&item, digits, &n)
        digest_mix(pair, p, n)
        digest_mix(pair, text, double_to_shortest(text, score))
        digest_add(digest, pair, DIGEST_BYTES)


# ---- loading ---------------------------------------------------------------------------------------

cdef void _add(
    zset_build_t* b, rdb_in_t* in_, const char* p, size_t n, double score, int64_t at_ms
) noexcept nogil:
    cdef uint64_t hash = members_hash(b.members, p, n)
    if isnan(score):
        rdb_refuse(in_, b"a sorted set's score is not a number")
    elif zset_build_find(b, p, n, hash) != NULL:
        rdb_refuse(in_, b"a sorted set has a member twice")
    elif at_ms < -1:
        rdb_refuse(in_, b"a member's time that is none")
    else:
        zset_build_add_timed(b, p, n, hash, score, at_ms)


cdef double _get_text_score(rdb_in_t* in_) noexcept nogil:
    """A length, or one of three codes, and digits."""
    cdef uint8_t n = rdb_get_byte(in_)
    cdef char text[SCORE_NAN]
    cdef double score = 0
    cdef int i
    if n == SCORE_INF:
        return INFINITY
    if n == SCORE_MINUS_INF:
        return -INFINITY
    if n == SCORE_NAN:
        rdb_refuse(in_, b"a sorted set's score is not a number")
        return 0
    for i in range(n):
        text[i] = <char>rdb_get_byte(in_)
    if in_.error == NULL and not chars_to_double(text, n, &score):
        rdb_refuse(in_, b"a sorted set's score is not a number")
    return score


cdef double _get_score(rdb_in_t* in_) noexcept nogil:
    cdef int64_t bits = rdb_get_int64(in_)
    return (<double*>&bits)[0]


cdef void _load_members(zset_build_t* b, rdb_in_t* in_, int type_byte, uint64_t left) noexcept nogil:
    cdef char* owned
    cdef const char* p
    cdef double score
    cdef int64_t at_ms = -1
    cdef size_t n
    while left and in_.error == NULL:
        owned = NULL
        p = rdb_view_string(in_, &n, &owned)
        if in_.error == NULL:
            score = _get_text_score(in_) if type_byte == RDB_ZSET else _get_score(in_)
            if type_byte == RDB_ZSET_TIMED:
                at_ms = rdb_get_int64(in_)
            if in_.error == NULL:
                _add(b, in_, p, n, score, at_ms)
            zfree(in_.heap, owned)
        left -= 1


ctypedef bint (*next_fn)(const char* p, size_t* offset, lp_item_t* out) noexcept nogil


cdef void _load_packed(
    zset_build_t* b, rdb_in_t* in_, const char* p, next_fn next, size_t at
) noexcept nogil:
    """Of a ziplist or listpack that was validated: members, each with its score."""
    cdef lp_item_t member, score
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* text
    cdef double number
    cdef size_t n
    while in_.error == NULL and next(p, &at, &member):
        if not next(p, &at, &score) or not pack_read_score(&score, &number):
            rdb_refuse(in_, b"a sorted set's member has no score")
            return
        text = lp_text(&member, digits, &n)
        _add(b, in_, text, n, number, -1)


cdef void _load_string(zset_build_t* b, rdb_in_t* in_, bint is_ziplist) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef size_t count
    cdef const char* p = rdb_view_string(in_, &n, &owned)
    if in_.error != NULL:
        return
    if is_ziplist:
        if ziplist_validate(p, n, &count):
            _load_packed(b, in_, p, ziplist_next, ZIPLIST_HEADER)
        else:
            rdb_refuse(in_, b"corrupt ziplist of a sorted set")
    elif lp_validate(p, n, &count):
        _load_packed(b, in_, p, lp_next, LP_HEADER)
    else:
        rdb_refuse(in_, b"corrupt listpack of a sorted set")
    zfree(in_.heap, owned)


cdef entry_t* _load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef bint one_by_one = type_byte == RDB_ZSET or type_byte == RDB_ZSET_2 or type_byte == RDB_ZSET_TIMED
    cdef uint64_t count = 0
    cdef zset_build_t b
    if type_byte == RDB_ZSET_TIMED and in_.version != RDB_VERSION_OWN:
        in_.unsupported = type_byte
        rdb_refuse(in_, RDB_ERROR_TYPE)
        return NULL
    if one_by_one:
        count = rdb_get_length(in_, NULL)
    zset_build_begin(&b, e, min(count, <uint64_t>ROOM_MAX, <uint64_t>(in_.end - in_.p) // MEMBER_MIN))
    if one_by_one:
        _load_members(&b, in_, type_byte, count)
    else:
        _load_string(&b, in_, type_byte == RDB_ZSET_ZIPLIST)
        b.longest = 0  # as in Valkey, what was packed stays so whatever its members' lengths
    if in_.error == NULL and members_len(b.members) == 0:
        rdb_refuse(in_, RDB_ERROR_EMPTY)
    if in_.error == NULL:
        return zset_build_end(&b, key, nk, expire_ms)
    zset_build_drop(&b)
    return NULL


cdef inline bint _is_timed(const entry_t* entry) noexcept nogil:
    return not zset_is_pack(entry) and members_timed(members_of(entry)) != 0


cdef int _dialect(const entry_t* entry) noexcept nogil:
    return RDB_DIALECT_OWN if _is_timed(entry) else RDB_DIALECT_REDIS70


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    if dialect == RDB_DIALECT_OWN and _is_timed(entry):
        return RDB_ZSET_TIMED
    return RDB_ZSET_LISTPACK if zset_is_pack(entry) else RDB_ZSET_2


# ---- saving ----------------------------------------------------------------------------------------

cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    cdef size_t n
    if zset_is_pack(entry):
        bytes_view(entry, &n)
        return n
    return members_of(entry).bytes


cdef void _put(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    cdef double score = word_score(word)
    cdef size_t n
    cdef const char* p = member_key(word_scored(word), MEMBER_ZSET, &n)
    rdb_put_string(out, p, n)
    rdb_put_int64(out, (<int64_t*>&score)[0])


cdef void _put_words(buf_t* buf, const members_t* m, const void* word) noexcept nogil:
    cdef size_t n
    cdef const char* p = member_key(word_scored(word), MEMBER_ZSET, &n)
    _put_score(buf, word_score(word))
    command_word(buf, p, n)


cdef void _put_score(buf_t* buf, double score) noexcept nogil:
    cdef char text[DOUBLE_CHARS_MAX]
    command_word(buf, text, double_to_chars(text, score))


cdef void _put_timed(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    _put(out, m, word)
    rdb_put_int64(out, word_expiry(word))


cdef void _put_times(save_t* s, rdb_out_t* out, const members_t* m, void** words, int n) noexcept nogil:
    put_times(s, out, b"ZPEXPIREAT", b"MEMBERS", MEMBER_ZSET, words, n)


cdef enum:  # PUT
    PLAIN = 0
    TIMED = 1

cdef members_put_t PUT[2]  # constant after import
for _i in range(2):
    PUT[_i].command = b"ZADD"
    PUT[_i].words = 2
    PUT[_i].put_head_fn = NULL
    PUT[_i].put_fn = _put
    PUT[_i].put_words_fn = _put_words
    PUT[_i].put_more_fn = _put_times
PUT[TIMED].put_fn = _put_timed


cdef void _save_begin(save_t* s) noexcept nogil:
    if not zset_is_pack(s.entry):
        members_save_begin(s, &PUT[TIMED if s.rdb_type == RDB_ZSET_TIMED else PLAIN])


cdef void _save_end(save_t* s) noexcept nogil:
    if not zset_is_pack(s.entry):
        members_save_end(s)


cdef void _save_pack_commands(save_t* s, rdb_out_t* out) noexcept nogil:
    cdef size_t left = zset_len(s.entry)
    cdef char digits[INT64_CHARS_MAX]
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    cdef size_t nk, n, count
    cdef const char* key = entry_key(s.entry, &nk)
    cdef const char* p
    zset_seek(&it, s.entry, 0, left, False)
    while left:
        count = min(left, <size_t>MEMBERS_GROUP)
        left -= count
        command_header(&out.buf, c"*", 2 + 2 * count)
        command_word(&out.buf, b"ZADD", 4)
        command_word(&out.buf, key, nk)
        while count and zset_next(&it, &item, &score):
            p = lp_text(&item, digits, &n)
            _put_score(&out.buf, score)
            command_word(&out.buf, p, n)
            count -= 1


cdef bint _save_step(save_t* s) noexcept nogil:
    cdef rdb_out_t* out
    cdef const char* data
    cdef size_t n
    cdef buf_t listpack
    if not zset_is_pack(s.entry):
        return members_save_step(s)
    out = save_out(s)
    if out == NULL:
        return False
    if s.commands:
        _save_pack_commands(s, out)
        return False
    data = bytes_view(s.entry, &n)
    buf_init(&listpack, s.engine.heap)
    pack_to_listpack(data, n, &listpack)
    rdb_put_string(out, listpack.data, listpack.len)
    buf_free(&listpack)
    return False


cdef void register_zset_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_ZSET)
    row.encodings[ENC_LISTPACK] = b"listpack"
    row.encodings[ENC_SKIPLIST] = b"skiplist"
    row.rdb_bytes = (
        1 << RDB_ZSET | 1 << RDB_ZSET_2 | 1 << RDB_ZSET_ZIPLIST | 1 << RDB_ZSET_LISTPACK
        | <uint64_t>1 << RDB_ZSET_TIMED)
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = zset_dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = zset_check
    row.load_fn = _load
    row.dialect_fn = _dialect
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = members_prefetch
    type_register(e, OBJ_ZSET)
