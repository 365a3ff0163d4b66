"""Large hashes, sets and sorted sets: a table of members, a payload.

    members_t: owners | table (ds/hashtable.pxd) | form | bytes | the order of a sorted set | those that expire

An element of the table is a *word*: the address of a member (ds/member.pxd), plus MEMBER_EXPIRES where the member has
an expiry in front. So a member without one costs nothing for those that have one, and a lookup compares keys without
knowing more than the word.

Members are in the table alone here; a sorted set has them in its order, too (core/zset_value.pxd), and takes them out
of it before they are freed. Before a member changes in place, `members_announce`: a snapshot may have frozen the table
(core/members_saving.pxd). Additions and removals say so themselves.

Members that expire have an index of their own (core/members_expiry.pxd), which the functions below keep.

A payload has one owner who may change it, its entry; a snapshot that adopted it when the entry went only reads it.
Freeing is O(members), on the helper thread for large ones.
"""

from libc.stdint cimport int64_t, uint64_t, uint8_t, uintptr_t

from cachefleet_server.core.engine cimport batched_t, engine_t
from cachefleet_server.core.entry cimport entry_payload, entry_t
from cachefleet_server.ds.bucket cimport ht_each_fn, ht_slot_t
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_announce, ht_find, ht_find_slot, ht_hash, ht_len
from cachefleet_server.ds.member cimport MEMBER_TTL
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    MEMBER_EXPIRES = 2  # of a word

cdef struct members_t:
    size_t refs  # owners; the first word, as in every payload
    hashtable_t table
    size_t bytes  # of the members, as the allocator rounds them
    void* order  # of a sorted set: its btree_t, whose nodes are its type's to free; else NULL
    void* expiring  # expiring_t, of core/members_expiry; NULL: no member expires
    uint8_t form  # MEMBER_SET, MEMBER_HASH, MEMBER_ZSET

cdef inline members_t* members_of(const entry_t* entry) noexcept nogil:
    return <members_t*>entry_payload(entry)[0]

cdef inline void* word_member(const void* word) noexcept nogil:
    return <void*>(<uintptr_t>word & ~<uintptr_t>3)

cdef inline int word_form(const void* word, int form) noexcept nogil:
    """The form of the word's member, in a table of this form."""
    return form | MEMBER_TTL if <uintptr_t>word & MEMBER_EXPIRES else form

cdef inline void* word_of(const void* member, int form) noexcept nogil:
    """The word of a member of this form."""
    return <void*>(<uintptr_t>member | (MEMBER_EXPIRES if form & MEMBER_TTL else 0))

cdef inline size_t members_len(const members_t* m) noexcept nogil:
    return ht_len(&m.table)

cdef inline uint64_t members_hash(const members_t* m, const char* key, size_t n) noexcept nogil:
    return ht_hash(&m.table, key, n)

cdef inline void* members_find(members_t* m, const char* key, size_t n, uint64_t hash) noexcept nogil:
    """The word, or NULL."""
    return ht_find(&m.table, key, n, hash)

cdef inline ht_slot_t members_find_slot(members_t* m, const char* key, size_t n, uint64_t hash) noexcept nogil:
    """For members_store; 0: there is none."""
    return ht_find_slot(&m.table, key, n, hash)

cdef inline void members_announce(members_t* m, uint64_t hash) noexcept nogil:
    """Before the member with this hash changes in place. Slots stay valid."""
    ht_announce(&m.table, hash)

cdef members_t* members_new(engine_t* e, int form, size_t n) noexcept nogil  # one owner; room for n members
cdef void members_free(heap_t* h, members_t* m) noexcept nogil
    # With all members, but not its order's nodes. On any thread with that thread's heap.
cdef void members_untime(members_t* m, void* word) noexcept nogil
    # Before a member that may expire is changed (announced); then members_store.
cdef void members_insert(members_t* m, void* member, int form, uint64_t hash) noexcept nogil
    # Takes a member of this form (with MEMBER_TTL or not) whose key is absent.
cdef void members_store(members_t* m, ht_slot_t slot, size_t old_bytes, void* member, int form) noexcept nogil
    # Puts the member there that came of the one that was (announced; member_set_value, member_set_form), which had
    # old_bytes (member_memory).
cdef void members_store_timed(
    members_t* m, ht_slot_t slot, size_t old_bytes, void* member, int form, int64_t expire_ms) noexcept nogil
    # The same, with another time; -1: with none. The member moves if it gets its first one, or loses it.
cdef void members_set_expiry(members_t* m, ht_slot_t slot, uint64_t hash, int64_t expire_ms) noexcept nogil
    # Of a member of a set or hash. Announces it.
cdef void* members_take(members_t* m, const char* key, size_t n, uint64_t hash) noexcept nogil
    # Removes; the word, or NULL. The member is the caller's then: members_drop.
cdef void members_drop(heap_t* h, const members_t* m, void* word) noexcept nogil  # frees a member that was taken
cdef members_t* members_dup(engine_t* e, members_t* m) noexcept nogil  # members alone, without an order
cdef void members_each(members_t* m, ht_each_fn fn, void* ctx) noexcept nogil
    # fn gets each word, once; it may not change the table.
cdef size_t members_memory(const members_t* m) noexcept nogil  # without the order's nodes
cdef bint members_prefetch(engine_t* e, const entry_t* entry, const batched_t* p, int step) noexcept nogil
    # prefetch_fn of the three types, whatever form the value has: bytes (core/bytes_value.pxd), or a table, of which
    # the places of the elements that the request names are fetched.
cdef int members_check(members_t* m) noexcept nogil  # 0; 1 bytes; 2 empty; 10 + n: ht_check; 30 + n: expiring_check
