"""A sorted set's value, in either of its forms.

    listpack   a pack (ds/pack_zset.pxd) in the entry or in a blob (core/bytes_value.pxd)
    skiplist   a table of members (core/members.pxd) and their order, a tree of the same members (ds/btree.pxd)

Form and name are one here. A pack becomes a table when it would have more members than `zset-max-listpack-entries`,
when one longer than `zset-max-listpack-value` comes, or when a pack cannot hold it (PACK_KEYS_MAX, where Valkey's
listpack may go on); it never goes back. A value that is made as a whole (zset_build_*) gets the form that fits it.

Order: by score, then by the member's bytes. -0 is 0 in a pack and stays what it is in a table. No score is NaN.

Entries move: each function that changes a sorted set returns the entry's address, and the caller stores it
(db_replace). Members that are added must not be the set's own bytes. A table announces by itself what changes.

Members that expire are members of a table (core/members_expiry.pxd): a pack becomes one for them. By name, those whose
time is before `now_ms` are hidden (-1 hides none); who goes by ranks asks core/zset_hidden.pxd. What changes a sorted
set knows nothing of that: commands remove such members first (keyspace/member_expiry.pxd).

In a table, an element of the order is the member from its score on, so it is the same with an expiry in front of it
and without. What is taken out of the order is found in the table by its bytes.

Ranges are numbers of members in front: zset_bound says how many are in front of a place, and so where a range begins,
where it ends, and how many it has; zset_seek goes there.

    zset_add, zset_remove         O(log n); in a pack O(bytes)
    zset_score                    O(1)
    zset_rank, zset_bound, seek   O(log n)
    zset_remove_range             O(log n + removed)

Nothing here looks at the keyspace; an empty sorted set is deleted by the command.
"""

from libc.stdint cimport int64_t, uint64_t, uintptr_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport ENC_LISTPACK, entry_encoding, entry_t
from cachefleet_server.core.bytes_value cimport bytes_view
from cachefleet_server.core.members cimport MEMBER_EXPIRES, members_len, members_of, members_t, word_member
from cachefleet_server.core.zset_hidden cimport zset_hidden_t
from cachefleet_server.ds.bt_iter cimport bt_iter_t
from cachefleet_server.ds.btree cimport btree_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.member cimport MEMBER_ZSET, member_score
from cachefleet_server.ds.pack cimport pack_back_t, pack_len
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:  # how zset_add adds: flags
    ZADD_NX = 1  # only what is not there
    ZADD_XX = 2  # only what is there
    ZADD_GT = 4  # what is there only gets a greater score
    ZADD_LT = 8
    ZADD_INCR = 16  # what is there gets the sum

cdef enum:  # what zset_add has done
    ZADD_SKIPPED  # a condition did not hold
    ZADD_NAN  # the sum is none; nothing has changed
    ZADD_SAME  # it has that score already
    ZADD_UPDATED
    ZADD_ADDED

cdef enum:  # what a bound is
    BOUND_START  # in front of all
    BOUND_END
    BOUND_SCORE
    BOUND_MEMBER  # by its bytes alone: means something if all scores are equal

cdef struct zset_bound_t:  # a place between two members
    int by
    bint after  # behind what equals the bound, instead of in front of it
    double score
    const char* member  # borrowed
    size_t n

cdef struct zset_iter_t:  # valid until the set changes
    size_t left
    bint back
    const char* pack  # NULL: a table
    size_t len
    size_t at  # of the next member in the pack
    pack_back_t places  # the same, backward
    bt_iter_t tree
    const zset_hidden_t* hidden  # members that are passed over; NULL: none
    size_t rank  # if there are some: of the place

cdef struct zset_build_t:  # a sorted set that is made as a whole
    engine_t* engine
    members_t* members
    buf_t elements  # of the order, as they came: void*
    size_t longest  # bytes of a member

cdef inline bint zset_is_pack(const entry_t* entry) noexcept nogil:
    return entry_encoding(entry) == ENC_LISTPACK

cdef inline size_t zset_len(const entry_t* entry) noexcept nogil:
    cdef size_t n
    if zset_is_pack(entry):
        return pack_len(bytes_view(entry, &n))
    return members_len(members_of(entry))

cdef inline btree_t* zset_order(const members_t* m) noexcept nogil:
    return <btree_t*>m.order

cdef inline void* word_scored(const void* word) noexcept nogil:
    """The element of the order that a word of the table is in."""
    return <char*>word_member(word) + (8 if <uintptr_t>word & MEMBER_EXPIRES else 0)

cdef inline double word_score(const void* word) noexcept nogil:
    return member_score(word_scored(word), MEMBER_ZSET)

# Making.
cdef entry_t* zset_new(engine_t* e, const char* key, size_t nk, size_t members, size_t longest) noexcept nogil
    # An empty one for so many members, the longest of so many bytes.
cdef entry_t* zset_prepare(engine_t* e, entry_t* entry, size_t members, size_t longest) noexcept nogil
    # The same for one that is there: before a command adds so many, whether they are there already or not.
cdef entry_t* zset_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil
cdef void zset_free(heap_t* h, entry_t* entry) noexcept nogil
    # For free_fn: of a payload without another owner. On any thread, with that thread's heap.

# Changing.
cdef entry_t* zset_add(
    engine_t* e, entry_t* entry, const char* member, size_t n, double* score, int flags, int* done) noexcept nogil
    # `score` becomes what the member has now, unless it was skipped or is NaN. done: ZADD_SKIPPED ...
cdef entry_t* zset_remove(engine_t* e, entry_t* entry, const char* member, size_t n, bint* removed) noexcept nogil
cdef entry_t* zset_remove_range(engine_t* e, entry_t* entry, size_t first, size_t n) noexcept nogil
    # n members from a rank on, which are there.

cdef entry_t* zset_expire(
    engine_t* e, entry_t* entry, const char* member, size_t n, int64_t at_ms) noexcept nogil
    # Gives another time, or -1, to a member that is there.

# Reading.
cdef bint zset_find(
    const entry_t* entry, const char* member, size_t n, int64_t now_ms, double* score, int64_t* at_ms) noexcept nogil
    # Is it there? Its score, and when it expires; -1: never.
cdef bint zset_rank(
    const entry_t* entry, const char* member, size_t n, int64_t now_ms, size_t* rank, double* score) noexcept nogil
    # The rank counts hidden members, too.

cdef inline bint zset_score(
    const entry_t* entry, const char* member, size_t n, int64_t now_ms, double* score
) noexcept nogil:
    cdef int64_t at_ms
    return zset_find(entry, member, n, now_ms, score, &at_ms)

cdef size_t zset_bound(const entry_t* entry, const zset_bound_t* bound) noexcept nogil  # members in front
cdef void zset_range(
    const entry_t* entry, const zset_bound_t* low, const zset_bound_t* high, size_t* first, size_t* n) noexcept nogil
    # The rank of the first member between two bounds, and how many there are.
cdef void zset_range_shown(
    const entry_t* entry, const zset_hidden_t* h, const zset_bound_t* low, const zset_bound_t* high, size_t* first,
    size_t* n) noexcept nogil
    # The same as if hidden members were not there, as zset_seek_shown wants it.
cdef void zset_seek_shown(
    zset_iter_t* it, const entry_t* entry, const zset_hidden_t* h, size_t first, size_t n, bint back) noexcept nogil
cdef void zset_seek(zset_iter_t* it, const entry_t* entry, size_t first, size_t n, bint back) noexcept nogil
    # The n members from a rank on, which are there; `back`: the last of them comes first.
cdef bint zset_next(zset_iter_t* it, lp_item_t* member, double* score) noexcept nogil
    # False at the end. The member is borrowed until the set changes.

# Building. zset_build_begin ends with zset_build_end or zset_build_drop.
cdef void zset_build_begin(zset_build_t* b, engine_t* e, size_t members) noexcept nogil  # room for so many
cdef void* zset_build_find(zset_build_t* b, const char* member, size_t n, uint64_t hash) noexcept nogil
    # What was added, with a score to set (member_set_score, MEMBER_ZSET), or NULL.
cdef void zset_build_add(zset_build_t* b, const char* member, size_t n, uint64_t hash, double score) noexcept nogil
    # A member that was not added yet. In any order; members in their order save the sorting.
cdef void zset_build_add_timed(
    zset_build_t* b, const char* member, size_t n, uint64_t hash, double score, int64_t at_ms) noexcept nogil
    # The same; with a time, or -1. It is not to be found, or scored anew, by zset_build_find.
cdef void** zset_build_sort(zset_build_t* b, size_t* n) noexcept nogil
    # What was added, in order: elements of the order (member_key and member_score, MEMBER_ZSET), borrowed.
cdef entry_t* zset_build_end(zset_build_t* b, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # In the form that fits; not of nothing.
cdef void zset_build_drop(zset_build_t* b) noexcept nogil

cdef int zset_check(engine_t* e, const entry_t* entry) noexcept nogil
    # 0; 1 form and name; 2 empty; 3 the pack is of another kind; 10 + n: pack_check; 20 + n: bt_check; 4 order and
    # table differ; 40 + n: members_check
