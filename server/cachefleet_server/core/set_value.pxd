"""A set's value in its three forms, which OBJECT ENCODING names.

    intset      integers alone, ascending (ds/intset.pxd)                 bytes in the entry or a blob
    listpack    members in the order in which they came (ds/pack.pxd)     (core/bytes_value.pxd)
    hashtable   a table of members (core/members.pxd)

Forms change as Valkey's do. A set begins as the form that suits its first member and the number of those that the
command brings (`set_new`), and so many more may make it a hashtable at once (`set_prepare`). An intset of more than
set-max-intset-entries becomes a hashtable; a member that is no integer makes it a listpack, if that may hold them all,
else a hashtable. A listpack becomes a hashtable at set-max-listpack-entries members, or by one longer than
set-max-listpack-value. Nothing goes back by itself; `set_to_listpack` and `set_to_intset` are for results.

Members that expire are members of a hashtable (core/members_expiry.pxd): a set becomes one for them, and stays one
while it has some. Those whose time is before `now_ms` are hidden from who asks; -1 hides none. What changes a set
knows nothing of that: commands remove such members first (keyspace/member_expiry.pxd).

A member is given as lp_item_t: text, which may be an integer's, or an integer. It must not lie in the set that
changes, but for what `set_remove` removes.

Entries move: what changes a set returns the entry's address, and the caller stores it (db_replace). Nothing here looks
at the keyspace; an empty set is deleted by the command.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.core.members_walk cimport members_count
from cachefleet_server.ds.intset cimport INTSET_MAX
from cachefleet_server.ds.listpack cimport lp_item_t

cdef inline size_t set_len(const entry_t* entry) noexcept nogil:
    return members_count(entry)

cdef inline void set_member(lp_item_t* out, const char* p, size_t n) noexcept nogil:
    """Text; p is not NULL."""
    out.str = p
    out.len = n
    out.num = 0

cdef inline size_t set_intset_max(const engine_t* e) noexcept nogil:
    """Integers up to which a set stays an intset; with one more, which must fit in, it becomes a hashtable."""
    return min(<size_t>e.params.set_max_intset_entries, <size_t>INTSET_MAX - 1)

cdef entry_t* set_new(
    engine_t* e, const char* key, size_t nk, const lp_item_t* first, size_t count) noexcept nogil
    # Empty, for that member and `count` in all.
cdef entry_t* set_new_intset(engine_t* e, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
cdef entry_t* set_new_integers(
    engine_t* e, const char* key, size_t nk, const int64_t* v, size_t n) noexcept nogil
    # Of n > 0 different ones, ascending: what it would be if they had come one by one.
cdef entry_t* set_new_table(engine_t* e, const char* key, size_t nk, size_t room, int64_t expire_ms) noexcept nogil
cdef entry_t* set_prepare(engine_t* e, entry_t* entry, size_t count) noexcept nogil
    # Before a command brings so many members, at most.
cdef entry_t* set_add(engine_t* e, entry_t* entry, const lp_item_t* member, bint* added) noexcept nogil
cdef entry_t* set_remove(engine_t* e, entry_t* entry, const lp_item_t* member, bint* removed) noexcept nogil
cdef bint set_find(
    const entry_t* entry, const lp_item_t* member, int64_t now_ms, int64_t* at_ms) noexcept nogil
    # Is it there? And when it expires; -1: never.
cdef entry_t* set_expire(engine_t* e, entry_t* entry, const lp_item_t* member, int64_t at_ms) noexcept nogil
    # Gives another time, or -1, to a member that is there.
cdef entry_t* set_add_timed(
    engine_t* e, entry_t* entry, const lp_item_t* member, int64_t at_ms, bint* added) noexcept nogil
    # For loading: with the time of a new member, or -1.

cdef inline bint set_has(const entry_t* entry, const lp_item_t* member, int64_t now_ms) noexcept nogil:
    cdef int64_t at_ms
    return set_find(entry, member, now_ms, &at_ms)

cdef entry_t* set_to_table(engine_t* e, entry_t* entry, size_t room) noexcept nogil
cdef entry_t* set_to_intset(engine_t* e, entry_t* entry) noexcept nogil
    # Of integers alone, and one at least: an intset, if set-max-intset-entries allows it.
cdef entry_t* set_to_listpack(engine_t* e, entry_t* entry) noexcept nogil
    # If its parameters allow it, and no member expires.
cdef int set_check(engine_t* e, const entry_t* entry) noexcept nogil
    # 0; 1 name; 2 empty; 100 + n: members_check, 200 + n: pack_check, 300 + n: intset_check; 4 not a set's pack
