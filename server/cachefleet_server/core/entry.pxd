"""A key with its value: one allocation, an 8-byte header, and no padding between the parts.

    +-----------------------+---------+----------+-------------+-----+-------------------+
    | header 8              | expire 8| key len 8| payload 8   | key | value             |
    | word, flags, klen,vlen| E_EXPIRE| E_BIGKEY | not E_EMBED |     | E_EMBED           |
    +-----------------------+---------+----------+-------------+-----+-------------------+

    word:  bits 0-23 LRU clock or LFU (16 bits minutes, 8 bits counter); 24-27 type; 28-31 encoding
    payload: int64 (ENC_INT), blob_t* (a long string) or the pointer of a collection

The encodings carry Redis' numbers. A string's *encoding* is what OBJECT ENCODING says (int, embstr,
raw); where its bytes lie (E_EMBED or blob) is a matter of size alone. Valkey says embstr when its own
header, key and value fit 128 bytes together, so the name depends on the key too: `entry_string_label`.
A small collection lies in the entry, too, as bytes of its type's own form (the *tail*); its type decides when it
becomes a payload and when it comes back.
The entry owns key, blob and collection; `entry_free` gives everything back. Entries move: a function
that may reallocate returns the new pointer, and the caller stores it in every table that holds it
(the db functions of keyspace/db.pxd do).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    OBJ_STRING = 0
    OBJ_LIST = 1
    OBJ_SET = 2
    OBJ_ZSET = 3
    OBJ_HASH = 4
    OBJ_MODULE = 5
    OBJ_STREAM = 6
    OBJ_TYPES = 16

    ENC_RAW = 0
    ENC_INT = 1
    ENC_HASHTABLE = 2
    ENC_INTSET = 6
    ENC_SKIPLIST = 7
    ENC_EMBSTR = 8
    ENC_QUICKLIST = 9
    ENC_STREAM = 10
    ENC_LISTPACK = 11

    E_EXPIRE = 1
    E_BIGKEY = 2
    E_EMBED = 4
    E_SLAB = 8  # the entry lies in a slab (ds/zmalloc.pxd), not in malloc's memory

    # Bytes of key + value up to which the value lies in the entry. A collection's may lie there with more once RENAME
    # or COPY gave it a longer key; its value alone never has more.
    ENTRY_EMBED_MAX = 1024
    EMBSTR_MAX = 128  # bytes of an embstr object in Valkey: two cache lines
    LRU_BITS_MASK = 0xFFFFFF

cdef struct entry_t:
    uint32_t word
    uint8_t flags
    uint8_t klen  # key length when not E_BIGKEY
    uint16_t vlen  # value length when E_EMBED

cdef inline int entry_type(const entry_t* e) noexcept nogil:
    return (e.word >> 24) & 15

cdef inline int entry_encoding(const entry_t* e) noexcept nogil:
    return e.word >> 28

cdef inline void entry_set_encoding(entry_t* e, uint32_t encoding) noexcept nogil:
    e.word = (e.word & 0x0FFFFFFF) | (encoding << 28)

cdef inline uint32_t entry_lru(const entry_t* e) noexcept nogil:
    return e.word & LRU_BITS_MASK

cdef inline void entry_set_lru(entry_t* e, uint32_t lru) noexcept nogil:
    e.word = (e.word & <uint32_t>0xFF000000) | lru

cdef inline int64_t* entry_expire_slot(const entry_t* e) noexcept nogil:
    return <int64_t*>(<char*>e + 8)

cdef inline int64_t entry_expire(const entry_t* e) noexcept nogil:
    """Unix time in ms, or -1 when the key does not expire."""
    return entry_expire_slot(e)[0] if e.flags & E_EXPIRE else -1

cdef inline size_t entry_payload_offset(const entry_t* e) noexcept nogil:
    return 8 + ((e.flags & E_EXPIRE) << 3) + ((e.flags & E_BIGKEY) << 2)

cdef inline void** entry_payload(const entry_t* e) noexcept nogil:
    """The payload word; only when not E_EMBED."""
    return <void**>(<char*>e + entry_payload_offset(e))

cdef inline int64_t entry_int(const entry_t* e) noexcept nogil:
    return (<int64_t*>entry_payload(e))[0]

cdef inline blob_t* entry_blob(const entry_t* e) noexcept nogil:
    """The blob of a long string; NULL for every other entry."""
    if e.flags & E_EMBED or entry_type(e) != OBJ_STRING or entry_encoding(e) == ENC_INT:
        return NULL
    return <blob_t*>entry_payload(e)[0]

cdef inline const char* entry_key(const entry_t* e, size_t* n) noexcept nogil:
    cdef size_t at = entry_payload_offset(e)
    n[0] = (<uint64_t*>(<char*>e + at - 8))[0] if e.flags & E_BIGKEY else e.klen
    return <const char*>e + at + (0 if e.flags & E_EMBED else 8)

cdef inline const char* entry_bytes(const entry_t* e, size_t* n) noexcept nogil:
    """The bytes of a string that is not ENC_INT. Borrowed until the entry changes."""
    cdef size_t klen
    cdef const char* key
    cdef blob_t* blob
    if e.flags & E_EMBED:
        key = entry_key(e, &klen)
        n[0] = e.vlen
        return key + klen
    blob = <blob_t*>entry_payload(e)[0]
    n[0] = blob.len
    return &blob.data[0]

cdef inline bint entry_has_room(const entry_t* e, size_t nv) noexcept nogil:
    """May a collection of nv bytes lie in the entry?"""
    cdef size_t nk
    entry_key(e, &nk)
    return nk + nv <= ENTRY_EMBED_MAX

cdef inline char* entry_tail(entry_t* e) noexcept nogil:
    """The embedded value, e.vlen bytes."""
    cdef size_t klen
    cdef const char* key = entry_key(e, &klen)
    return <char*>key + klen

cdef inline size_t entry_size(const entry_t* e) noexcept nogil:
    """Bytes of the entry that are in use; the allocation may be larger."""
    cdef size_t klen
    cdef const char* key = entry_key(e, &klen)
    return <size_t>(key - <const char*>e) + klen + (e.vlen if e.flags & E_EMBED else 0)

cdef inline size_t _embstr_header(size_t nk, bint expires) noexcept nogil:
    # Object header 8, expiry 8, length byte, and the key with an sds header (1 byte below 32 bytes) and terminator.
    return 8 + (8 if expires else 0) + 1 + (2 if nk < 32 else 4) + nk

cdef inline int entry_string_label(size_t nk, size_t nv, bint had_expiry, bint gets_expiry) noexcept nogil:
    """ENC_EMBSTR or ENC_RAW, as Valkey 9.1 names a fresh string that is not an integer.

    `had_expiry`: it overwrites a key that expires. `gets_expiry`: an expiry is set afterwards; that
    makes it raw only when the key and its header leave no room at all.
    """
    if _embstr_header(nk, had_expiry) + 4 + nv > EMBSTR_MAX or (gets_expiry and _embstr_header(nk, True) > EMBSTR_MAX):
        return ENC_RAW
    return ENC_EMBSTR

# Constructors. `expire_ms` -1 = none. The LRU field is 0 until the db sets it.
cdef entry_t* entry_new_string(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, int64_t expire_ms) noexcept nogil
    # Picks ENC_INT, ENC_EMBSTR or ENC_RAW as SET does.
cdef entry_t* entry_new_raw(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, int64_t expire_ms) noexcept nogil
    # ENC_RAW, as SETRANGE, SETBIT or BITOP create; v NULL = zero bytes.
cdef entry_t* entry_new_int(heap_t* h, const char* key, size_t nk, int64_t v, int64_t expire_ms) noexcept nogil
cdef entry_t* entry_new_blob(heap_t* h, const char* key, size_t nk, blob_t* blob, int64_t expire_ms) noexcept nogil
    # Takes ownership of the blob, too large for int or embstr (it came from input_take_blob). ENC_RAW.
cdef entry_t* entry_new_pointer(
    heap_t* h, const char* key, size_t nk, int type, int encoding, void* p, int64_t expire_ms) noexcept nogil

cdef entry_t* entry_new_embedded(
    heap_t* h, const char* key, size_t nk, int type, int encoding, const char* v, size_t nv,
    int64_t expire_ms) noexcept nogil
    # A collection of nv <= ENTRY_EMBED_MAX bytes; v NULL: the caller sets them (entry_bytes).

# Changes. Each returns the entry's address, which may be new; the old one is then gone.
cdef entry_t* entry_set_bytes(heap_t* h, entry_t* e, const char* v, size_t nv, int encoding) noexcept nogil
    # encoding ENC_EMBSTR lets SET's rules choose (int, embstr or raw); ENC_RAW stores raw as APPEND and SETRANGE do.
    # v must not point into e. Overwrites in place, without malloc, when the allocation is of a fitting size.
cdef entry_t* entry_set_int(heap_t* h, entry_t* e, int64_t v) noexcept nogil  # ENC_INT
cdef entry_t* entry_set_blob(heap_t* h, entry_t* e, blob_t* blob) noexcept nogil  # takes ownership
cdef entry_t* entry_grow_raw(heap_t* h, entry_t* e, size_t n, char** data) noexcept nogil
    # Makes the string ENC_RAW with length n (>= its old length, new bytes zero) and says where its bytes lie;
    # capacity doubles, so APPEND is amortised O(appended).
cdef entry_t* entry_resize_tail(heap_t* h, entry_t* e, size_t nv) noexcept nogil
    # An embedded value of another length: what fits of its bytes stays, more are the caller's to set.
cdef entry_t* entry_tail_to_pointer(heap_t* h, entry_t* e, void* p) noexcept nogil
    # A payload instead of the embedded value, whose bytes are gone then.
cdef entry_t* entry_pointer_to_tail(heap_t* h, entry_t* e, const char* v, size_t nv) noexcept nogil
    # The other way round; the payload is the caller's. v NULL: the caller sets the bytes.
cdef entry_t* entry_set_expire(heap_t* h, entry_t* e, int64_t expire_ms) noexcept nogil  # -1 removes
cdef entry_t* entry_rename(heap_t* h, entry_t* e, const char* key, size_t nk) noexcept nogil
    # A new entry with the same value, expiry and LRU under another key; consumes e.
cdef entry_t* entry_dup_string(
    heap_t* h, const entry_t* e, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # A copy of a string under another key, with COPY's encoding rules. Collections: entry_copy of keyspace/db.
cdef entry_t* entry_dup_embedded(
    heap_t* h, const entry_t* e, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # A copy of an embedded collection under another key.
cdef void entry_free_string(heap_t* h, entry_t* e) noexcept nogil  # the entry and its blob; any type: keyspace/lazyfree
cdef void entry_free_shell(heap_t* h, entry_t* e) noexcept nogil  # the entry alone; its value is the caller's
cdef const char* entry_key_of(const void* element, size_t* n) noexcept nogil  # for hash tables
cdef size_t entry_string_len(const entry_t* e) noexcept nogil  # any string encoding
cdef size_t entry_string_copy(const entry_t* e, char* tmp24, const char** p) noexcept nogil
    # Bytes of any string: *p points into the entry, or into tmp24 for ENC_INT. Returns the length.
cdef int entry_check(const entry_t* e) noexcept nogil  # 0, or the number of the first broken invariant (see .pyx)
cdef size_t entry_memory(const entry_t* e) noexcept nogil  # bytes of the entry itself, as the allocator rounds them
