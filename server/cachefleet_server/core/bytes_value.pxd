"""Small collections whose value is one run of bytes: a pack (ds/pack.pxd) or an intset (ds/intset.pxd).

    E_EMBED     the bytes lie in the entry, up to ENTRY_EMBED_MAX of key and value
    payload     a blob (ds/blob.pxd)

Where they lie is no matter of the encoding, which is the type's own. A change is planned by the structure, which says
how long the bytes will be, and then:

    entry = bytes_open(e, entry, n)       # the caller's to write: all that was there, and room for n
    commit(bytes_data(entry), &edit)
    entry = bytes_close(e, entry, n)      # it has n bytes now

Entries move: the caller stores the address (db_replace), once for all changes of a command. A blob that has another
owner, a snapshot or a reply, is left to it and changes are made to a copy. Bytes go back into the entry at half of
ENTRY_EMBED_MAX, so what goes back and forth does not change its place. O(bytes).
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport E_EMBED, entry_bytes, entry_payload, entry_t, entry_tail
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef inline const char* bytes_view(const entry_t* entry, size_t* n) noexcept nogil:
    return entry_bytes(entry, n)

cdef inline char* bytes_data(entry_t* entry) noexcept nogil:
    """Of an entry that is open."""
    return entry_tail(entry) if entry.flags & E_EMBED else &(<blob_t*>entry_payload(entry)[0]).data[0]

cdef entry_t* bytes_new(
    engine_t* e, const char* key, size_t nk, int type, int encoding, const char* v, size_t n,
    int64_t expire_ms) noexcept nogil
    # A copy of the bytes. v NULL: they are not set.
cdef entry_t* bytes_open(engine_t* e, entry_t* entry, size_t n) noexcept nogil
cdef entry_t* bytes_close(engine_t* e, entry_t* entry, size_t n) noexcept nogil
cdef entry_t* bytes_to_pointer(engine_t* e, entry_t* entry, int encoding, void* payload) noexcept nogil
    # The value becomes another structure of another encoding; the bytes are gone.
cdef entry_t* bytes_from_pointer(
    engine_t* e, entry_t* entry, int encoding, const char* v, size_t n) noexcept nogil
    # The other way round: a copy of the bytes is the value, and the payload that was there is the caller's.
cdef void bytes_free(heap_t* h, entry_t* entry) noexcept nogil
    # For free_fn: of a payload, which has no other owner. On any thread with that thread's heap.
cdef entry_t* bytes_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil  # for dup_fn
cdef size_t bytes_memory(const entry_t* entry) noexcept nogil  # for memory_fn: beyond the entry
