"""Members that expire: which one does first, for one payload (core/members.pxd).

A member that expires has its time in front, and its word says so. A payload with at least one has an *index* of them,
in members_t.expiring; the others have none and pay nothing:

    up to EXPIRING_FEW    an array in no order, which grows by doubling
    beyond                a tree by time (ds/btree.pxd), until there is none left

The index follows the table by itself: members_insert, members_take, members_store and members_dup (members.pxd) add
and remove. What changes a member in place takes it out first (members_untime), since it may move.

`first_ms` is the earliest time, or earlier: removing the first member leaves it as it was (`stale`), and
expiring_first_ms finds it anew. keyspace/member_expiry, which keeps payloads in order of it, has its own notes here.
What others hide, core/members_walk.pxd says.

Cost: O(1) to add, O(EXPIRING_FEW) to remove among few; O(log n) beyond.
"""

from libc.stdint cimport int64_t, uint64_t, uintptr_t

from cachefleet_server.core.members cimport MEMBER_EXPIRES, members_find, members_hash, members_t, word_member
from cachefleet_server.ds.bt_node cimport btree_t
from cachefleet_server.ds.member cimport member_expiry
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    EXPIRING_FEW = 128

cdef struct expiring_t:
    size_t count  # members with an expiry
    size_t cap  # of few
    void** few  # NULL: there is a tree
    btree_t tree
    int64_t first_ms
    bint stale
    # keyspace/member_expiry's
    size_t place  # in the database's heap, from 1; 0: it is in none
    uint64_t key_hash  # of its entry's key, while it is in one

cdef inline int64_t word_expiry(const void* word) noexcept nogil:
    """-1: the member does not expire."""
    return member_expiry(word_member(word)) if <uintptr_t>word & MEMBER_EXPIRES else -1

cdef inline void* members_find_live(members_t* m, const char* key, size_t n, int64_t now_ms) noexcept nogil:
    """The word of a member whose time is not over at that moment (-1: whatever its time), or NULL."""
    cdef void* word = members_find(m, key, n, members_hash(m, key, n))
    if word != NULL and <uintptr_t>word & MEMBER_EXPIRES and member_expiry(word_member(word)) < now_ms:
        return NULL
    return word

cdef inline expiring_t* members_expiring(const members_t* m) noexcept nogil:
    return <expiring_t*>m.expiring

cdef inline size_t members_timed(const members_t* m) noexcept nogil:
    """Members with an expiry."""
    return members_expiring(m).count if m.expiring != NULL else 0

cdef void expiring_add(members_t* m, void* member) noexcept nogil
cdef void expiring_remove(members_t* m, void* member) noexcept nogil  # as it is: neither moved nor given another time
cdef int64_t expiring_first_ms(expiring_t* x) noexcept nogil  # of at least one member
cdef size_t expiring_due(members_t* m, int64_t now_ms, void** out, size_t n) noexcept nogil
    # Up to n members whose time is over.
cdef size_t expiring_count_due(members_t* m, int64_t now_ms) noexcept nogil  # O(those)
cdef void expiring_free(heap_t* h, members_t* m) noexcept nogil  # the index; with any thread's heap
cdef size_t expiring_memory(const members_t* m) noexcept nogil
cdef int expiring_check(members_t* m, size_t expected) noexcept nogil
    # 0; 1 count; 2 first_ms; 3 one is not in the table; 10 + n: bt_check
