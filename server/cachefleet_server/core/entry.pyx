"""Entries: creation, changes in place, and moves. Layout and ownership: entry.pxd.

A string changes in place whenever its allocation has the room (`_room`), would not be left mostly empty, and no reply
that waits to be sent shares it (ds/blob.pxd); an expiry that is added or dropped shifts the bytes behind it inside the
allocation. Everything else is a fresh allocation with what stays copied over. Cost: O(key + value) at most.
"""

from libc.string cimport memcpy, memmove, memset

from cachefleet_server.ds.blob cimport blob_new
from cachefleet_server.ds.intrin cimport cf_usable_size
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars
from cachefleet_server.ds.owners cimport is_shared, owner_drop
from cachefleet_server.ds.slab cimport SLAB_MAX, slab_size
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc, zsmall_alloc, zsmall_free

cdef enum:
    _GREEDY_MAX = 1 << 20  # bytes; strings grow by doubling up to here and by a quarter beyond
    _INT_CHARS = 20  # longest text of an int64
    _BLOB_HEADER = sizeof(blob_t)


cdef inline bint _worth_keeping(size_t usable, size_t need) noexcept nogil:
    """May an allocation of `usable` bytes hold `need`, without wasting more than a third or so?"""
    return need <= usable and usable - need <= 32 + need // 4


cdef inline size_t _room(const entry_t* e) noexcept nogil:
    """Bytes of the entry's allocation."""
    return slab_size(e) if e.flags & E_SLAB else cf_usable_size(<void*>e)


cdef inline entry_t* _shell(heap_t* h, size_t n, uint8_t flags) noexcept nogil:
    """n bytes with flags that say where they lie. The caller sets everything else."""
    cdef entry_t* e
    if n <= SLAB_MAX:
        e = <entry_t*>zsmall_alloc(h, n)
        e.flags = flags | E_SLAB
    else:
        e = <entry_t*>zmalloc(h, n)
        e.flags = flags & ~E_SLAB
    return e


cdef void entry_free_shell(heap_t* h, entry_t* e) noexcept nogil:
    if e.flags & E_SLAB:
        zsmall_free(h, e)
    else:
        zfree(h, e)


cdef entry_t* _alloc(
    heap_t* h, const char* key, size_t nk, size_t room, uint8_t flags, uint32_t word, int64_t expire_ms
) noexcept nogil:
    """Header, expiry and key of a new entry, with `room` bytes behind the key. The caller sets payload, vlen, value."""
    if expire_ms != -1:
        flags |= E_EXPIRE
    if nk > 255:
        flags |= E_BIGKEY
    cdef size_t at = 8 + ((flags & E_EXPIRE) << 3) + ((flags & E_BIGKEY) << 2) + (0 if flags & E_EMBED else 8)
    cdef entry_t* e = _shell(h, at + nk + room, flags)
    e.word = word
    e.klen = 0 if flags & E_BIGKEY else nk
    e.vlen = 0
    if flags & E_EXPIRE:
        entry_expire_slot(e)[0] = expire_ms
    if flags & E_BIGKEY:
        (<uint64_t*>(<char*>e + entry_payload_offset(e) - 8))[0] = nk
    memcpy(<char*>e + at, key, nk)
    return e


cdef inline uint32_t _word(uint32_t type, uint32_t encoding) noexcept nogil:
    return (encoding << 28) | (type << 24)


cdef inline uint32_t _relabel(uint32_t word, uint32_t encoding) noexcept nogil:
    return (word & 0x0FFFFFFF) | (encoding << 28)


cdef blob_t* _blob_new(heap_t* h, const char* v, size_t n, size_t capacity) noexcept nogil:
    """A blob of n bytes, zeroed when v is NULL."""
    cdef blob_t* blob = blob_new(h, capacity)
    blob.len = n
    if v != NULL:
        memcpy(&blob.data[0], v, n)
    else:
        memset(&blob.data[0], 0, n)
    return blob


cdef entry_t* _new_bytes(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, uint32_t word, int64_t expire_ms
) noexcept nogil:
    """A string of bytes: embedded if small, else with a blob. v NULL = zeros."""
    cdef entry_t* e
    if nk + nv > ENTRY_EMBED_MAX:
        e = _alloc(h, key, nk, 0, 0, word, expire_ms)
        entry_payload(e)[0] = _blob_new(h, v, nv, nv)
        return e
    e = _alloc(h, key, nk, nv, E_EMBED, word, expire_ms)
    e.vlen = nv
    if v != NULL:
        memcpy(entry_tail(e), v, nv)
    else:
        memset(entry_tail(e), 0, nv)
    return e


# ---- constructors ----------------------------------------------------------------------------------

cdef entry_t* entry_new_string(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, int64_t expire_ms
) noexcept nogil:
    cdef int64_t number
    if nv <= _INT_CHARS and chars_to_int64(v, nv, &number):
        return entry_new_int(h, key, nk, number, expire_ms)
    cdef int encoding = entry_string_label(nk, nv, False, expire_ms != -1)
    return _new_bytes(h, key, nk, v, nv, _word(OBJ_STRING, encoding), expire_ms)


cdef entry_t* entry_new_raw(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, int64_t expire_ms
) noexcept nogil:
    return _new_bytes(h, key, nk, v, nv, _word(OBJ_STRING, ENC_RAW), expire_ms)


cdef entry_t* entry_new_int(heap_t* h, const char* key, size_t nk, int64_t v, int64_t expire_ms) noexcept nogil:
    cdef entry_t* e = _alloc(h, key, nk, 0, 0, _word(OBJ_STRING, ENC_INT), expire_ms)
    (<int64_t*>entry_payload(e))[0] = v
    return e


cdef entry_t* entry_new_blob(heap_t* h, const char* key, size_t nk, blob_t* blob, int64_t expire_ms) noexcept nogil:
    return entry_new_pointer(h, key, nk, OBJ_STRING, ENC_RAW, blob, expire_ms)


cdef entry_t* entry_new_pointer(
    heap_t* h, const char* key, size_t nk, int type, int encoding, void* p, int64_t expire_ms
) noexcept nogil:
    cdef entry_t* e = _alloc(h, key, nk, 0, 0, _word(type, encoding), expire_ms)
    entry_payload(e)[0] = p
    return e


cdef entry_t* _new_tail(
    heap_t* h, const char* key, size_t nk, const char* v, size_t nv, uint32_t word, int64_t expire_ms
) noexcept nogil:
    """An embedded value, whatever the length of the key. v NULL: its bytes are not set."""
    cdef entry_t* e = _alloc(h, key, nk, nv, E_EMBED, word, expire_ms)
    e.vlen = nv
    if v != NULL:
        memcpy(entry_tail(e), v, nv)
    return e


cdef entry_t* entry_new_embedded(
    heap_t* h, const char* key, size_t nk, int type, int encoding, const char* v, size_t nv, int64_t expire_ms
) noexcept nogil:
    return _new_tail(h, key, nk, v, nv, _word(type, encoding), expire_ms)


# ---- freeing ---------------------------------------------------------------------------------------

cdef void entry_free_string(heap_t* h, entry_t* e) noexcept nogil:
    owner_drop(h, entry_blob(e))
    entry_free_shell(h, e)


# ---- changes -----------------------------------------------------------------------------------------

cdef entry_t* _to_pointer_word(heap_t* h, entry_t* e, size_t room_free) noexcept nogil:
    """Makes room for a payload word in an embedded string, whose value is dropped. Returns the address, maybe new."""
    cdef size_t nk
    cdef const char* key = entry_key(e, &nk)
    cdef size_t at = entry_payload_offset(e)
    cdef entry_t* moved
    if _worth_keeping(room_free, at + 8 + nk):
        memmove(<char*>e + at + 8, key, nk)
        e.flags &= ~E_EMBED
        e.vlen = 0
        return e
    moved = _alloc(h, key, nk, 0, 0, e.word, entry_expire(e))
    entry_free_shell(h, e)
    return moved


cdef entry_t* _set_embedded(heap_t* h, entry_t* e, const char* v, size_t nv, int encoding) noexcept nogil:
    """A value that belongs into the entry itself."""
    cdef size_t nk
    cdef const char* key = entry_key(e, &nk)
    cdef entry_t* moved
    # Fast path. If the value lies in the entry and the new one has the same length, or the allocation suits it
    # too. Then: overwrite it.
    if e.flags & E_EMBED and (
        nv == e.vlen or _worth_keeping(_room(e), entry_payload_offset(e) + nk + nv)
    ):
        memcpy(<char*>key + nk, v, nv)
        e.vlen = nv
        entry_set_encoding(e, encoding)
        return e
    moved = _new_bytes(h, key, nk, v, nv, _relabel(e.word, encoding), entry_expire(e))
    entry_free_string(h, e)
    return moved


cdef entry_t* entry_set_bytes(heap_t* h, entry_t* e, const char* v, size_t nv, int encoding) noexcept nogil:
    cdef int64_t number
    cdef size_t nk
    cdef blob_t* blob
    entry_key(e, &nk)
    if encoding == ENC_EMBSTR:
        if nv <= _INT_CHARS and chars_to_int64(v, nv, &number):
            return entry_set_int(h, e, number)
        encoding = entry_string_label(nk, nv, e.flags & E_EXPIRE, False)
    if nk + nv <= ENTRY_EMBED_MAX:
        return _set_embedded(h, e, v, nv, encoding)
    blob = entry_blob(e)
    if blob != NULL and not is_shared(blob) and _worth_keeping(cf_usable_size(blob), _BLOB_HEADER + nv):
        blob.len = nv
        memcpy(&blob.data[0], v, nv)
        entry_set_encoding(e, encoding)
        return e
    e = entry_set_blob(h, e, _blob_new(h, v, nv, nv))
    entry_set_encoding(e, encoding)
    return e


cdef entry_t* entry_set_int(heap_t* h, entry_t* e, int64_t v) noexcept nogil:
    if e.flags & E_EMBED:
        e = _to_pointer_word(h, e, _room(e))
    else:
        owner_drop(h, entry_blob(e))
    (<int64_t*>entry_payload(e))[0] = v
    entry_set_encoding(e, ENC_INT)
    return e


cdef entry_t* entry_set_blob(heap_t* h, entry_t* e, blob_t* blob) noexcept nogil:
    if e.flags & E_EMBED:
        e = _to_pointer_word(h, e, _room(e))
    else:
        owner_drop(h, entry_blob(e))
    entry_payload(e)[0] = blob
    entry_set_encoding(e, ENC_RAW)
    return e


cdef inline size_t _greedy(size_t n) noexcept nogil:
    return n * 2 if n < _GREEDY_MAX else n + n // 4


cdef entry_t* _grow_embedded(heap_t* h, entry_t* e, size_t n, char** data) noexcept nogil:
    """entry_grow_raw of an embedded string: in place, to a larger entry, or to a blob."""
    cdef size_t nk, room
    cdef size_t old = e.vlen
    cdef const char* key = entry_key(e, &nk)
    cdef entry_t* moved
    cdef blob_t* blob
    if nk + n > ENTRY_EMBED_MAX:
        blob = _blob_new(h, key + nk, old, _greedy(n)) if old else _blob_new(h, NULL, 0, n)
        memset(&blob.data[0] + old, 0, n - old)
        blob.len = n
        data[0] = &blob.data[0]
        return entry_set_blob(h, e, blob)
    if entry_payload_offset(e) + nk + n > _room(e):
        room = _greedy(n) if old else n
        moved = _alloc(h, key, nk, room, E_EMBED, e.word, entry_expire(e))
        memcpy(entry_tail(moved), key + nk, old)
        entry_free_shell(h, e)
        e = moved
    data[0] = entry_tail(e)
    memset(data[0] + old, 0, n - old)
    e.vlen = n
    entry_set_encoding(e, ENC_RAW)
    return e


cdef entry_t* entry_grow_raw(heap_t* h, entry_t* e, size_t n, char** data) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef blob_t* blob
    cdef size_t old
    if entry_encoding(e) == ENC_INT:
        e = entry_set_bytes(h, e, digits, int64_to_chars(digits, entry_int(e)), ENC_RAW)
    if e.flags & E_EMBED:
        return _grow_embedded(h, e, n, data)
    blob = entry_blob(e)
    old = blob.len
    if is_shared(blob):
        entry_payload(e)[0] = _blob_new(h, &blob.data[0], old, n if n == old else _greedy(n))
        owner_drop(h, blob)
    elif _BLOB_HEADER + n > cf_usable_size(blob):
        entry_payload(e)[0] = zrealloc(h, blob, _BLOB_HEADER + _greedy(n))
    blob = entry_blob(e)
    memset(&blob.data[0] + old, 0, n - old)
    blob.len = n
    data[0] = &blob.data[0]
    entry_set_encoding(e, ENC_RAW)
    return e


cdef entry_t* entry_resize_tail(heap_t* h, entry_t* e, size_t nv) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(e, &nk)
    cdef entry_t* moved
    if nv == e.vlen or _worth_keeping(_room(e), entry_payload_offset(e) + nk + nv):
        e.vlen = nv
        return e
    moved = _new_tail(h, key, nk, NULL, nv, e.word, entry_expire(e))
    memcpy(entry_tail(moved), key + nk, min(nv, <size_t>e.vlen))
    entry_free_shell(h, e)
    return moved


cdef entry_t* entry_tail_to_pointer(heap_t* h, entry_t* e, void* p) noexcept nogil:
    e = _to_pointer_word(h, e, _room(e))
    entry_payload(e)[0] = p
    return e


cdef entry_t* entry_pointer_to_tail(heap_t* h, entry_t* e, const char* v, size_t nv) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(e, &nk)
    cdef entry_t* moved = _new_tail(h, key, nk, v, nv, e.word, entry_expire(e))
    entry_free_shell(h, e)
    return moved


cdef entry_t* entry_set_expire(heap_t* h, entry_t* e, int64_t expire_ms) noexcept nogil:
    cdef size_t n = entry_size(e)
    cdef size_t nk
    cdef entry_t* moved
    if expire_ms == -1:
        if e.flags & E_EXPIRE:
            memmove(<char*>e + 8, <char*>e + 16, n - 16)
            e.flags &= ~E_EXPIRE
        return e
    if not e.flags & E_EXPIRE:
        entry_key(e, &nk)
        if entry_encoding(e) == ENC_EMBSTR and _embstr_header(nk, True) > EMBSTR_MAX:
            entry_set_encoding(e, ENC_RAW)
        if _room(e) >= n + 8:
            memmove(<char*>e + 16, <char*>e + 8, n - 8)
        else:
            moved = _shell(h, n + 8, e.flags)
            moved.word = e.word
            moved.klen = e.klen
            moved.vlen = e.vlen
            memcpy(<char*>moved + 16, <char*>e + 8, n - 8)
            entry_free_shell(h, e)
            e = moved
        e.flags |= E_EXPIRE
    entry_expire_slot(e)[0] = expire_ms
    return e


cdef inline uint32_t _moved_word(const entry_t* e, size_t nk, bint expires) noexcept nogil:
    """The word of e under a key of nk bytes: an embstr may not be one any more, nothing becomes one."""
    if entry_encoding(e) != ENC_EMBSTR:
        return e.word
    return _relabel(e.word, entry_string_label(nk, entry_string_len(e), False, expires))


cdef entry_t* entry_rename(heap_t* h, entry_t* e, const char* key, size_t nk) noexcept nogil:
    cdef size_t nv
    cdef const char* v
    cdef entry_t* moved
    cdef uint32_t word = _moved_word(e, nk, e.flags & E_EXPIRE)
    if e.flags & E_EMBED:
        v = entry_bytes(e, &nv)
        if entry_type(e) == OBJ_STRING:
            moved = _new_bytes(h, key, nk, v, nv, word, entry_expire(e))
        else:
            moved = _new_tail(h, key, nk, v, nv, word, entry_expire(e))
    else:
        moved = _alloc(h, key, nk, 0, 0, word, entry_expire(e))
        entry_payload(moved)[0] = entry_payload(e)[0]
    entry_free_shell(h, e)
    return moved


cdef entry_t* entry_dup_string(
    heap_t* h, const entry_t* e, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef size_t nv
    cdef const char* v
    if entry_encoding(e) == ENC_INT:
        return entry_new_int(h, key, nk, entry_int(e), expire_ms)
    v = entry_bytes(e, &nv)
    return _new_bytes(h, key, nk, v, nv, _moved_word(e, nk, expire_ms != -1), expire_ms)


cdef entry_t* entry_dup_embedded(
    heap_t* h, const entry_t* e, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef size_t nv
    cdef const char* v = entry_bytes(e, &nv)
    return _new_tail(h, key, nk, v, nv, e.word & ~<uint32_t>LRU_BITS_MASK, expire_ms)


# ---- reading -----------------------------------------------------------------------------------------

cdef size_t entry_string_len(const entry_t* e) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    if e.flags & E_EMBED:
        return e.vlen
    if entry_encoding(e) == ENC_INT:
        return int64_to_chars(digits, entry_int(e))
    return (<blob_t*>entry_payload(e)[0]).len


cdef size_t entry_string_copy(const entry_t* e, char* tmp24, const char** p) noexcept nogil:
    cdef size_t n
    if entry_encoding(e) == ENC_INT:
        p[0] = tmp24
        return int64_to_chars(tmp24, entry_int(e))
    p[0] = entry_bytes(e, &n)
    return n


cdef const char* entry_key_of(const void* element, size_t* n) noexcept nogil:
    return entry_key(<const entry_t*>element, n)


cdef size_t entry_memory(const entry_t* e) noexcept nogil:
    return _room(e)


cdef int entry_check(const entry_t* e) noexcept nogil:
    """1: flags; 2: key length form; 3: larger than its allocation; 4: embedding; 5: encoding; 6: blob."""
    cdef size_t nk
    cdef blob_t* blob
    if e.flags & ~(E_EXPIRE | E_BIGKEY | E_EMBED | E_SLAB):
        return 1
    entry_key(e, &nk)
    if (nk > 255) != ((e.flags & E_BIGKEY) != 0) or (e.flags & E_BIGKEY and e.klen != 0):
        return 2
    if entry_size(e) > _room(e):
        return 3
    if e.flags & E_EMBED:
        if entry_encoding(e) == ENC_INT or e.vlen + (nk if entry_type(e) == OBJ_STRING else 0) > ENTRY_EMBED_MAX:
            return 4
    elif e.vlen != 0:
        return 4
    if entry_type(e) != OBJ_STRING:
        return 0 if e.flags & E_EMBED or entry_payload(e)[0] != NULL else 6
    if entry_encoding(e) not in (ENC_RAW, ENC_INT, ENC_EMBSTR):
        return 5
    if entry_encoding(e) == ENC_EMBSTR and (
        entry_string_label(nk, entry_string_len(e), False, e.flags & E_EXPIRE) != ENC_EMBSTR
    ):
        return 5
    if not e.flags & E_EMBED and entry_encoding(e) != ENC_INT:
        blob = entry_blob(e)
        if blob == NULL or blob.refs == 0 or _BLOB_HEADER + blob.len > cf_usable_size(blob):
            return 6
    return 0
