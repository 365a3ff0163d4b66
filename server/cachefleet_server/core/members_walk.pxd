"""Members one by one, of hashes, sets and sorted sets in every form: what SCAN's kind, replies of the whole, and random
members see.

    intset, pack (core/bytes_value.pxd)    in order
    table (core/members.pxd)               in the order of its cursor

A walk has the table's guarantee (ds/hashtable.pxd): what is there from the first call to the last is delivered,
whatever comes and goes in between; a member may come twice. A small collection comes as a whole, with any cursor, and
so does one that was converted while somebody walked.

Members whose time is up are passed over: `now_ms`, or -1 for all.

What is seen is borrowed until the collection changes. Nobody may change it during a walk.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport (
    ENC_INTSET, ENC_LISTPACK, OBJ_HASH, OBJ_ZSET, entry_encoding, entry_t, entry_type)
from cachefleet_server.core.members cimport MEMBER_EXPIRES, word_form, word_member
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.member cimport (
    MEMBER_HASH, MEMBER_SET, MEMBER_ZSET, member_expiry, member_key, member_score, member_value)

cdef struct seen_t:
    lp_item_t key  # a member, or a hash's field: text, or an integer
    lp_item_t value  # of a hash
    double score  # of a sorted set

ctypedef void (*seen_fn)(void* ctx, const seen_t* seen) noexcept nogil

cdef inline bint is_small(const entry_t* entry) noexcept nogil:
    """A run of bytes, not a table."""
    return entry_encoding(entry) == ENC_LISTPACK or entry_encoding(entry) == ENC_INTSET

cdef inline int members_form(const entry_t* entry) noexcept nogil:
    """MEMBER_*; PACK_* have the same numbers."""
    cdef int type = entry_type(entry)
    return MEMBER_HASH if type == OBJ_HASH else MEMBER_ZSET if type == OBJ_ZSET else MEMBER_SET

cdef inline void see_word(const void* word, int form, seen_t* out) noexcept nogil:
    cdef const void* member = word_member(word)
    cdef int full = word_form(word, form)
    out.key.str = member_key(member, full, &out.key.len)
    if form == MEMBER_HASH:
        out.value.str = member_value(member, full, &out.value.len)
    elif form == MEMBER_ZSET:
        out.score = member_score(member, full)

cdef inline bint word_is_due(const void* word, int64_t now_ms) noexcept nogil:
    """Is this member's time up?"""
    return <size_t>word & MEMBER_EXPIRES and member_expiry(word_member(word)) < now_ms

cdef size_t members_count(const entry_t* entry) noexcept nogil  # with those whose time is up
cdef size_t members_shown(const entry_t* entry, int64_t now_ms) noexcept nogil  # those that a walk delivers
cdef uint64_t members_walk(
    const entry_t* entry, uint64_t cursor, int64_t now_ms, seen_fn fn, void* ctx) noexcept nogil
    # The members of one step; the next cursor, 0 at the end.
cdef void members_walk_all(const entry_t* entry, int64_t now_ms, seen_fn fn, void* ctx) noexcept nogil  # each once

# Random ones. All are equally likely.
cdef bint members_random(const entry_t* entry, uint64_t* rng, int64_t now_ms, seen_t* out) noexcept nogil
    # False: there is none whose time is not up.
cdef void members_pick(
    engine_t* e, const entry_t* entry, size_t n, int64_t now_ms, seen_fn fn, void* ctx) noexcept nogil
    # n different ones, or all there are. O(n), if n is below a third of a table, else O(members).
