"""Small collections in the entry or in a blob; see bytes_value.pxd."""

from libc.string cimport memcpy

from cachefleet_server.core.entry cimport (
    ENTRY_EMBED_MAX, entry_dup_embedded, entry_encoding, entry_has_room, entry_key, entry_new_embedded,
    entry_new_pointer, entry_pointer_to_tail, entry_resize_tail, entry_set_encoding, entry_tail_to_pointer, entry_type)
from cachefleet_server.ds.blob cimport blob_new
from cachefleet_server.ds.intrin cimport cf_usable_size
from cachefleet_server.ds.owners cimport is_shared, owner_drop
from cachefleet_server.ds.zmalloc cimport zfree, zrealloc

cdef enum:
    SPARE_SHARE = 8  # a blob that grows gets an eighth more, and keeps up to twice that


cdef inline blob_t* _blob(const entry_t* entry) noexcept nogil:
    return <blob_t*>entry_payload(entry)[0]


cdef blob_t* _blob_of(heap_t* h, const char* v, size_t n, size_t room) noexcept nogil:
    cdef blob_t* blob = blob_new(h, room)
    blob.len = n
    memcpy(&blob.data[0], v, n)
    return blob


cdef entry_t* bytes_new(
    engine_t* e, const char* key, size_t nk, int type, int encoding, const char* v, size_t n, int64_t expire_ms
) noexcept nogil:
    cdef blob_t* blob
    if nk + n <= ENTRY_EMBED_MAX:
        return entry_new_embedded(e.heap, key, nk, type, encoding, v, n, expire_ms)
    blob = blob_new(e.heap, n)
    blob.len = n
    if v != NULL:
        memcpy(&blob.data[0], v, n)
    return entry_new_pointer(e.heap, key, nk, type, encoding, blob, expire_ms)


cdef entry_t* _open_embedded(engine_t* e, entry_t* entry, size_t n) noexcept nogil:
    cdef size_t now = entry.vlen
    if n <= now:
        return entry
    if entry_has_room(entry, n):
        return entry_resize_tail(e.heap, entry, n)
    return entry_tail_to_pointer(
        e.heap, entry, _blob_of(e.heap, entry_tail(entry), now, n + n // SPARE_SHARE))


cdef entry_t* bytes_open(engine_t* e, entry_t* entry, size_t n) noexcept nogil:
    cdef blob_t* blob
    if entry.flags & E_EMBED:
        return _open_embedded(e, entry, n)
    blob = _blob(entry)
    if is_shared(blob):
        entry_payload(entry)[0] = _blob_of(e.heap, &blob.data[0], blob.len, max(n, blob.len))
        owner_drop(e.heap, blob)
    elif sizeof(blob_t) + n > cf_usable_size(blob):
        entry_payload(entry)[0] = zrealloc(e.heap, blob, sizeof(blob_t) + n + n // SPARE_SHARE)
    return entry


cdef entry_t* bytes_close(engine_t* e, entry_t* entry, size_t n) noexcept nogil:
    cdef blob_t* blob
    cdef size_t nk
    if entry.flags & E_EMBED:
        return entry_resize_tail(e.heap, entry, n)
    blob = _blob(entry)
    blob.len = n
    entry_key(entry, &nk)
    if nk + n <= ENTRY_EMBED_MAX // 2:
        entry = entry_pointer_to_tail(e.heap, entry, &blob.data[0], n)
        owner_drop(e.heap, blob)
    elif cf_usable_size(blob) > sizeof(blob_t) + n + 2 * n // SPARE_SHARE:
        entry_payload(entry)[0] = zrealloc(e.heap, blob, sizeof(blob_t) + n)
    return entry


cdef entry_t* bytes_to_pointer(engine_t* e, entry_t* entry, int encoding, void* payload) noexcept nogil:
    cdef blob_t* blob = NULL
    if entry.flags & E_EMBED:
        entry = entry_tail_to_pointer(e.heap, entry, payload)
    else:
        blob = _blob(entry)
        entry_payload(entry)[0] = payload
        owner_drop(e.heap, blob)
    entry_set_encoding(entry, encoding)
    return entry


cdef entry_t* bytes_from_pointer(
    engine_t* e, entry_t* entry, int encoding, const char* v, size_t n
) noexcept nogil:
    if entry_has_room(entry, n):
        entry = entry_pointer_to_tail(e.heap, entry, v, n)
    else:
        entry_payload(entry)[0] = _blob_of(e.heap, v, n, n)
    entry_set_encoding(entry, encoding)
    return entry


cdef void bytes_free(heap_t* h, entry_t* entry) noexcept nogil:
    zfree(h, _blob(entry))


cdef entry_t* bytes_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    cdef const char* v
    cdef size_t n
    if entry.flags & E_EMBED:
        return entry_dup_embedded(e.heap, entry, key, nk, -1)
    v = entry_bytes(entry, &n)
    return bytes_new(e, key, nk, entry_type(entry), entry_encoding(entry), v, n, -1)


cdef size_t bytes_memory(const entry_t* entry) noexcept nogil:
    return 0 if entry.flags & E_EMBED else cf_usable_size(_blob(entry))
