"""RDB primitives; the contracts are in rdb.pxd.

Length code, by the first byte's top bits: 00 six bits; 01 fourteen bits, big-endian; 0x80 and four bytes big-endian;
0x81 and eight bytes big-endian; 11 a special string: 0, 1, 2 = an int8, int16, int32 (little-endian) in place of its
decimal text, 3 = LZF (compressed length, plain length, bytes).

Everything read is untrusted. A length is compared with what is left before anything is allocated, and a compressed
string may not claim to be longer than LZF can make it, so a payload of n bytes costs O(n) time and memory.
"""

from libc.string cimport memcpy, memmove

from cachefleet_server.core.engine cimport rdb_mark_t, type_ops_t
from cachefleet_server.core.params cimport POLICY_LFU, POLICY_LRU
from cachefleet_server.core.entry cimport (
    ENTRY_EMBED_MAX, E_EXPIRE, LRU_BITS_MASK, OBJ_STREAM, OBJ_TYPES, entry_blob, entry_expire, entry_key, entry_lru,
    entry_new_blob, entry_new_int, entry_new_string)
from cachefleet_server.core.lfu cimport entry_lfu_count
from cachefleet_server.core.types cimport entry_ops, save_whole
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_putc, buf_reserve
from cachefleet_server.ds.intrin cimport cf_atomic_get
from cachefleet_server.ds.lzf cimport lzf_compress, lzf_decompress
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars
from cachefleet_server.ds.owners cimport owner_add
from cachefleet_server.ds.zmalloc cimport zfree, ztry_malloc

cdef enum:
    INT_TEXT_MAX = 11  # bytes of the longest text that an int32 replaces
    LZF_RATIO_MAX = 88  # a reference of 3 bytes stands for at most 264
    # Special string forms, with the two top bits set.
    STRING_INT8 = 0xC0
    STRING_INT16 = 0xC1
    STRING_INT32 = 0xC2
    STRING_LZF = 0xC3

# Value types by their byte, as messages name them; which of them can be read is in engine_t.rdb_readers.
# Bytes 22 and 23 mean different things to Valkey 9 and to the release candidates of Redis 7.4; the loader says which.
cdef extern from *:
    """
    static const char *const RDB_TYPES[] = {
        "string", "list", "set", "zset", "hash", "zset", "module", "module", NULL, "hash", "list", "set", "zset",
        "hash", "list", "stream", "hash", "zset", "list", "stream", "set", "stream", "hash with field expiry",
        "hash with field expiry", "hash with field expiry", "hash with field expiry", "stream", "stream", "array",
        "hash template", "hash template", "hash template", "hash template",
    };
    #define RDB_TYPE_COUNT ((int)(sizeof(RDB_TYPES) / sizeof(RDB_TYPES[0])))
    """
    const char** RDB_TYPES
    const int RDB_TYPE_COUNT


# ---- writing -------------------------------------------------------------------------------------

cdef void rdb_out_init(rdb_out_t* out, heap_t* heap, int dialect) noexcept nogil:
    buf_init(&out.buf, heap)
    buf_init(&out.marks, heap)
    out.lent = 0
    out.lend_min = 0
    out.mark_strings = False
    out.compress = False
    out.dialect = dialect
    out.delay_us = 0


cdef void rdb_out_free(rdb_out_t* out) noexcept nogil:
    buf_free(&out.buf)
    buf_free(&out.marks)


cdef int rdb_dialect_version(int dialect) noexcept nogil:
    if dialect == RDB_DIALECT_OWN:
        return RDB_VERSION_OWN
    if dialect == RDB_DIALECT_VALKEY:
        return RDB_VERSION_VALKEY
    return 10 if dialect == RDB_DIALECT_REDIS70 else 11


cdef size_t rdb_length_size(uint64_t n) noexcept nogil:
    if n < 1 << 6:
        return 1
    if n < 1 << 14:
        return 2
    return 5 if n >> 32 == 0 else 9


cdef size_t _encode_length(uint8_t* p, uint64_t n) noexcept nogil:
    """Writes the length code of n at p (9 bytes of room); its size."""
    cdef size_t size = rdb_length_size(n), i
    if size == 1:
        p[0] = <uint8_t>n
    elif size == 2:
        p[0] = <uint8_t>(0x40 | (n >> 8))
        p[1] = <uint8_t>n
    else:
        p[0] = 0x80 if size == 5 else 0x81
        for i in range(1, size):
            p[i] = <uint8_t>(n >> (8 * (size - 1 - i)))
    return size


cdef void rdb_put_length(rdb_out_t* out, uint64_t n) noexcept nogil:
    cdef uint8_t* p = <uint8_t*>buf_reserve(&out.buf, 9)
    out.buf.len += _encode_length(p, n)


cdef void rdb_put_int64(rdb_out_t* out, int64_t v) noexcept nogil:
    _put_little_endian(out, <uint64_t>v, 8)


cdef void _put_little_endian(rdb_out_t* out, uint64_t v, int size) noexcept nogil:
    cdef uint8_t* p = <uint8_t*>buf_reserve(&out.buf, 8)
    cdef int i
    for i in range(size):
        p[i] = <uint8_t>(v >> (8 * i))
    out.buf.len += size


cdef void rdb_put_string(rdb_out_t* out, const char* p, size_t n) noexcept nogil:
    cdef int64_t number
    cdef char* dst
    cdef size_t packed
    if n <= INT_TEXT_MAX and chars_to_int64(p, n, &number) and -0x80000000LL <= number <= 0x7FFFFFFF:
        rdb_put_int_string(out, number)
        return
    if n >= RDB_COMPRESS_MIN and out.mark_strings:
        _mark(out, out.buf.len, rdb_length_size(n), n, NULL, True)
    elif n >= RDB_COMPRESS_MIN and out.compress:
        dst = buf_reserve(&out.buf, n + RDB_COMPRESS_ROOM)
        packed = rdb_compress_string(dst, p, n)
        if packed:
            out.buf.len += packed
            return
    rdb_put_length(out, n)
    buf_put(&out.buf, p, n)


cdef void _mark(rdb_out_t* out, size_t at, size_t head, size_t n, blob_t* blob, bint compress) noexcept nogil:
    cdef rdb_mark_t mark
    mark.at = at
    mark.head = head
    mark.n = n
    mark.blob = blob
    mark.compress = compress
    buf_put(&out.marks, &mark, sizeof(mark))


cdef blob_t* rdb_lendable(const rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef blob_t* blob = entry_blob(entry)
    return blob if blob != NULL and out.lend_min and blob.len >= out.lend_min else NULL


cdef void rdb_put_lent(rdb_out_t* out, blob_t* blob, size_t head, bint compress) noexcept nogil:
    owner_add(blob)
    _mark(out, out.buf.len - head, head, blob.len, blob, compress and blob.len <= RDB_COMPRESS_MAX)
    out.lent += blob.len


cdef void rdb_put_int_string(rdb_out_t* out, int64_t v) noexcept nogil:
    """A decimal number as a string: in binary when it fits an int32, else as text."""
    cdef char text[INT64_CHARS_MAX]
    cdef int n
    if -0x80 <= v <= 0x7F:
        buf_putc(&out.buf, STRING_INT8)
        _put_little_endian(out, <uint64_t>v, 1)
    elif -0x8000 <= v <= 0x7FFF:
        buf_putc(&out.buf, STRING_INT16)
        _put_little_endian(out, <uint64_t>v, 2)
    elif -0x80000000LL <= v <= 0x7FFFFFFF:
        buf_putc(&out.buf, STRING_INT32)
        _put_little_endian(out, <uint64_t>v, 4)
    else:
        n = int64_to_chars(text, v)
        rdb_put_length(out, n)
        buf_put(&out.buf, text, n)


cdef size_t rdb_compress_string(char* dst, const char* p, size_t n) noexcept nogil:
    cdef uint8_t head[RDB_COMPRESS_ROOM]
    cdef size_t used = 1
    cdef size_t packed
    if n < RDB_COMPRESS_MIN:
        return 0
    packed = lzf_compress(p, n, dst + RDB_COMPRESS_ROOM, n - 4)
    if packed == 0:
        return 0
    head[0] = STRING_LZF
    used += _encode_length(head + used, packed)
    used += _encode_length(head + used, n)
    if used + packed >= n + rdb_length_size(n):
        return 0
    memcpy(dst, head, used)
    memmove(dst + used, dst + RDB_COMPRESS_ROOM, packed)
    return used + packed


cdef void rdb_put_head(rdb_out_t* out, engine_t* e, const entry_t* entry, int type_byte) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    if entry.flags & E_EXPIRE:
        buf_putc(&out.buf, RDB_OPCODE_EXPIRE_MS)
        rdb_put_int64(out, entry_expire(entry))
    if e.params.maxmemory_policy & POLICY_LRU:
        buf_putc(&out.buf, RDB_OPCODE_IDLE)
        rdb_put_length(out, (e.lru_clock - entry_lru(entry)) & LRU_BITS_MASK)
    elif e.params.maxmemory_policy & POLICY_LFU:
        buf_putc(&out.buf, RDB_OPCODE_FREQ)
        buf_putc(&out.buf, <uint8_t>entry_lfu_count(e, entry))
    buf_putc(&out.buf, <unsigned char>type_byte)
    rdb_put_string(out, key, nk)


cdef void rdb_put_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil:
    out.delay_us += e.params.rdb_key_save_delay
    rdb_put_head(out, e, entry, entry_ops(e, entry).rdb_type_fn(entry, out.dialect))
    save_whole(e, entry, out, False)


cdef void rdb_put_value(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil:
    buf_putc(&out.buf, <unsigned char>entry_ops(e, entry).rdb_type_fn(entry, out.dialect))
    save_whole(e, entry, out, False)


cdef int rdb_dialect_of(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef type_ops_t* ops = entry_ops(e, entry)
    return RDB_DIALECT_REDIS70 if ops.dialect_fn == NULL else ops.dialect_fn(entry)


cdef int rdb_dialect_of_all(engine_t* e) noexcept nogil:
    cdef int dialect = RDB_DIALECT_REDIS70
    cdef int type, i
    for i in range(e.keyspace.opened):
        if e.keyspace.dbs[i].timed_own:
            return RDB_DIALECT_OWN
        if e.keyspace.dbs[i].timed_count:
            dialect = RDB_DIALECT_VALKEY
    for type in range(OBJ_TYPES):
        if cf_atomic_get(&e.types[type].newer):
            # Streams count those that have something of producers.
            dialect = RDB_DIALECT_OWN if type == OBJ_STREAM else max(dialect, <int>RDB_DIALECT_VALKEY)
    return dialect


# ---- reading -------------------------------------------------------------------------------------

cdef void rdb_in_init(rdb_in_t* in_, heap_t* heap, const void* p, size_t n) noexcept nogil:
    """Reads n bytes at p, which the caller keeps alive, as the newest version of the Redis dialect."""
    in_.p = <const uint8_t*>p
    in_.end = in_.p + n
    in_.error = NULL
    in_.error_at = NULL
    in_.heap = heap
    in_.string_max = <size_t>-1 >> 1
    in_.version = RDB_VERSION_REDIS_MAX
    in_.valkey = False
    in_.unsupported = -1


cdef void rdb_refuse(rdb_in_t* in_, const char* text) noexcept nogil:
    """Remembers the first error and makes the input look empty, so that every later read fails as well."""
    if in_.error == NULL:
        in_.error = text
        in_.error_at = in_.p
    in_.p = in_.end


cdef inline bint _need(rdb_in_t* in_, uint64_t n) noexcept nogil:
    if <uint64_t>(in_.end - in_.p) >= n:
        return True
    rdb_refuse(in_, RDB_ERROR_SHORT)
    return False


cdef uint64_t _get_integer(rdb_in_t* in_, int size, bint big_endian) noexcept nogil:
    cdef uint64_t v = 0
    cdef int i
    if not _need(in_, size):
        return 0
    for i in range(size):
        v |= <uint64_t>in_.p[i] << (8 * ((size - 1 - i) if big_endian else i))
    in_.p += size
    return v


cdef uint8_t rdb_get_byte(rdb_in_t* in_) noexcept nogil:
    return <uint8_t>_get_integer(in_, 1, False)


cdef int64_t rdb_get_int64(rdb_in_t* in_) noexcept nogil:
    return <int64_t>_get_integer(in_, 8, False)


cdef uint64_t rdb_get_length(rdb_in_t* in_, bint* special) noexcept nogil:
    """A length, or with *special the number of a special string form. With `special` NULL such a form is an error."""
    cdef uint8_t first = rdb_get_byte(in_)
    if special != NULL:
        special[0] = False
    if first < 0x40:
        return first
    if first < 0x80:
        return (<uint64_t>(first & 0x3F) << 8) | rdb_get_byte(in_)
    if first == 0x80:
        return _get_integer(in_, 4, True)
    if first == 0x81:
        return _get_integer(in_, 8, True)
    if first >= 0xC0 and special != NULL:
        special[0] = True
        return first & 0x3F
    in_.p -= 1
    rdb_refuse(in_, RDB_ERROR_LENGTH)
    return 0


cdef enum:
    FORM_ERROR = 0
    FORM_PLAIN = 1
    FORM_INT = 2
    FORM_LZF = 3

cdef struct form_t:  # a string as it lies in the input
    const char* p  # its stored bytes
    size_t n  # length of those
    size_t plain  # length of the string; FORM_PLAIN, FORM_LZF
    int64_t number  # FORM_INT


cdef int _get_form(rdb_in_t* in_, form_t* f) noexcept nogil:
    """Steps over one string and says how it is stored. All lengths are checked. Returns FORM_*."""
    cdef bint special
    cdef int kind = FORM_PLAIN
    cdef uint64_t n = rdb_get_length(in_, &special), plain = n
    if special and n == 0:
        f.number = <signed char>_get_integer(in_, 1, False)
        return FORM_ERROR if in_.error else FORM_INT
    if special and n == 1:
        f.number = <short>_get_integer(in_, 2, False)
        return FORM_ERROR if in_.error else FORM_INT
    if special and n == 2:
        f.number = <int>_get_integer(in_, 4, False)
        return FORM_ERROR if in_.error else FORM_INT
    if special and n == 3:
        kind = FORM_LZF
        n = rdb_get_length(in_, NULL)
        plain = rdb_get_length(in_, NULL)
    elif special:
        rdb_refuse(in_, RDB_ERROR_STRING)
    if in_.error != NULL or not _need(in_, n):
        return FORM_ERROR
    if plain > in_.string_max:
        rdb_refuse(in_, RDB_ERROR_TOO_LONG)
        return FORM_ERROR
    if kind == FORM_LZF and (plain == 0 or plain // LZF_RATIO_MAX > n):
        rdb_refuse(in_, RDB_ERROR_LZF)
        return FORM_ERROR
    f.p = <const char*>in_.p
    f.n = n
    f.plain = plain
    in_.p += n
    return kind


cdef bint _unpack(rdb_in_t* in_, const form_t* f, char* dst) noexcept nogil:
    """Decompresses a FORM_LZF string to dst, which holds f.plain bytes."""
    if lzf_decompress(f.p, f.n, dst, f.plain) == f.plain:
        return True
    in_.p = <const uint8_t*>f.p
    rdb_refuse(in_, RDB_ERROR_LZF)
    return False


cdef char* _allocate(rdb_in_t* in_, size_t n) noexcept nogil:
    cdef char* p = <char*>ztry_malloc(in_.heap, n if n else 1)
    if p == NULL:
        rdb_refuse(in_, RDB_ERROR_MEMORY)
    return p


cdef const char* rdb_view_string(rdb_in_t* in_, size_t* n, char** owned) noexcept nogil:
    cdef form_t f
    cdef int kind = _get_form(in_, &f)
    owned[0] = NULL
    n[0] = 0
    if kind == FORM_PLAIN:
        n[0] = f.n
        return f.p
    if kind == FORM_ERROR:
        return NULL
    owned[0] = _allocate(in_, INT64_CHARS_MAX if kind == FORM_INT else f.plain)
    if owned[0] == NULL:
        return NULL
    if kind == FORM_INT:
        n[0] = int64_to_chars(owned[0], f.number)
    elif _unpack(in_, &f, owned[0]):
        n[0] = f.plain
    else:
        zfree(in_.heap, owned[0])
        owned[0] = NULL
    return owned[0]


cdef char* rdb_get_string(rdb_in_t* in_, size_t* n) noexcept nogil:
    cdef char* owned
    cdef const char* p = rdb_view_string(in_, n, &owned)
    if p == NULL or owned != NULL:
        return owned
    owned = _allocate(in_, n[0])
    if owned != NULL:
        memcpy(owned, p, n[0])
    return owned


cdef void rdb_skip_string(rdb_in_t* in_) noexcept nogil:
    cdef form_t f
    _get_form(in_, &f)


cdef inline bint _is_known(int type_byte) noexcept nogil:
    return 0 <= type_byte < RDB_TYPE_COUNT and RDB_TYPES[type_byte] != NULL


cdef inline type_ops_t* _reader(engine_t* e, int type_byte) noexcept nogil:
    return e.rdb_readers[type_byte] if 0 <= type_byte < 64 else NULL


cdef bint rdb_is_type(engine_t* e, int type_byte) noexcept nogil:
    return _is_known(type_byte) or _reader(e, type_byte) != NULL


cdef const char* rdb_type_name(int type_byte, bint valkey) noexcept nogil:
    if not _is_known(type_byte) or (valkey and type_byte > 22):
        return NULL
    return RDB_TYPES[type_byte]


cdef entry_t* rdb_get_entry(
    rdb_in_t* in_, engine_t* e, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef type_ops_t* ops = _reader(e, type_byte)
    cdef entry_t* entry
    if ops == NULL:
        in_.unsupported = type_byte
        rdb_refuse(in_, RDB_ERROR_TYPE)
        return NULL
    entry = ops.load_fn(e, in_, type_byte, key, nk, expire_ms)
    if entry == NULL:
        rdb_refuse(in_, RDB_ERROR_SHORT)
    return entry


cdef entry_t* rdb_get_string_entry(rdb_in_t* in_, const char* key, size_t nk, int64_t expire_ms) noexcept nogil:
    """A string value. A long compressed one is unpacked straight into the blob that the entry keeps."""
    cdef char small[ENTRY_EMBED_MAX]
    cdef blob_t* blob
    cdef form_t f
    cdef int kind = _get_form(in_, &f)
    if kind == FORM_PLAIN:
        return entry_new_string(in_.heap, key, nk, f.p, f.n, expire_ms)
    if kind == FORM_INT:
        return entry_new_int(in_.heap, key, nk, f.number, expire_ms)
    if kind == FORM_ERROR:
        return NULL
    if f.plain <= sizeof(small):
        if not _unpack(in_, &f, small):
            return NULL
        return entry_new_string(in_.heap, key, nk, small, f.plain, expire_ms)
    blob = <blob_t*>_allocate(in_, sizeof(blob_t) + f.plain)
    if blob == NULL:
        return NULL
    blob.refs = 1
    blob.len = f.plain
    if not _unpack(in_, &f, &blob.data[0]):
        zfree(in_.heap, blob)
        return NULL
    return entry_new_blob(in_.heap, key, nk, blob, expire_ms)
