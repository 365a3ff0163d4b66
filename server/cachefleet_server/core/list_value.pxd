"""A list's value, in either of its forms, and what OBJECT ENCODING calls it.

    E_EMBED     a listpack (ds/listpack.pxd) in the entry, up to ENTRY_EMBED_MAX bytes of key and value
    payload     a sequence (ds/sequence.pxd)

Form and name are two things. The *name* is Valkey's: listpack until `list-max-listpack-size` would be exceeded, by the
listpack's bytes and the raw bytes of what is to be added, or by the number of elements; then quicklist, which becomes
a listpack again when one node of at most half of the limit is left. An embedded list is always called listpack, a
sequence may be either. It comes back into the entry at half of ENTRY_EMBED_MAX, so what goes back and forth does not
change its form. A sequence has the parameters of when it became a quicklist, as in Valkey.

Entries move: each function that changes a list returns the entry's address, and the caller stores it (db_replace).
Before elements are added comes `list_prepare`, after some were removed or replaced `list_settle`, once a command.
Bytes that are added must not be the list's own. A sequence is owned (seq_own) before each change, so whoever has a
share of it, a snapshot or a copy, keeps what was.

Nothing here looks at the keyspace; an empty list is deleted by the command.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport E_EMBED, entry_bytes, entry_payload, entry_t
from cachefleet_server.ds.intrin cimport cf_load16
from cachefleet_server.ds.listblock cimport lblock_t
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.seq_reading cimport seq_iter_t
from cachefleet_server.ds.sequence cimport seq_len, seq_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef inline seq_t* list_sequence(const entry_t* entry) noexcept nogil:
    """Of a list that is not embedded."""
    return <seq_t*>entry_payload(entry)[0]

cdef inline const char* list_listpack(const entry_t* entry) noexcept nogil:
    """Of an embedded one."""
    cdef size_t n
    return entry_bytes(entry, &n)

cdef inline size_t list_len(const entry_t* entry) noexcept nogil:
    if entry.flags & E_EMBED:
        return cf_load16(list_listpack(entry) + 4)  # as short as it is, its count is always there
    return seq_len(list_sequence(entry))

cdef entry_t* list_new(engine_t* e, const char* key, size_t nk) noexcept nogil  # empty
cdef entry_t* list_of_sequence(
    engine_t* e, const char* key, size_t nk, seq_t* s, size_t listpack, int64_t expire_ms) noexcept nogil
    # `listpack`: bytes of the one that Valkey would have as its only node; 0: it has several, or a plain one. Takes the
    # sequence over.
cdef size_t list_listpack_bytes(const seq_t* s) noexcept nogil  # that number, if its elements were pushed one by one
cdef entry_t* list_prepare(engine_t* e, entry_t* entry, size_t bytes, size_t count) noexcept nogil
cdef entry_t* list_settle(engine_t* e, entry_t* entry) noexcept nogil

cdef entry_t* list_push(engine_t* e, entry_t* entry, bint front, const char* p, size_t n) noexcept nogil
cdef entry_t* list_insert(
    engine_t* e, entry_t* entry, size_t pivot, bint after, const char* p, size_t n) noexcept nogil
    # Beside element `pivot`.
cdef entry_t* list_set(engine_t* e, entry_t* entry, size_t i, const char* p, size_t n) noexcept nogil
cdef entry_t* list_remove(engine_t* e, entry_t* entry, size_t a, size_t b) noexcept nogil  # elements [a, b)

# Reading. Items are borrowed until the next call, or until the list changes.
cdef struct list_iter_t:
    const char* listpack  # NULL: a sequence
    size_t at
    bint back
    seq_iter_t seq

cdef void list_seek(list_iter_t* it, heap_t* h, const entry_t* entry, size_t i, bint back) noexcept nogil
    # Element i is the first to come; there is none if it does not exist. Ends with list_done.
cdef bint list_next(list_iter_t* it, lp_item_t* out) noexcept nogil  # false at the end
cdef bint list_find(list_iter_t* it, const lp_item_t* wanted, size_t most, size_t* passed) noexcept nogil
    # As seq_find.
cdef void list_done(list_iter_t* it) noexcept nogil

cdef inline lblock_t* list_block(const list_iter_t* it) noexcept nogil:
    """Where the bytes of the item lie that list_next gave; NULL: in the entry."""
    return NULL if it.listpack != NULL else <lblock_t*>it.seq.block

cdef int list_check(engine_t* e, const entry_t* entry) noexcept nogil
    # 0; 1 name; 2 empty; 3 the listpack; 4 an entry of it that is not as it would be written; 10 + n: seq_check
