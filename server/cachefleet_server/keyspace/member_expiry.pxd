"""Expiry of members, in a database: which payload has the first one, and the removal of those whose time is over.

A database keeps its payloads with members that expire in a binary heap by the time of their first one (db_t.timed).
Each knows its place there, and the hash of its key, by which its entry is found, so entries may move and change their
names. What enters or leaves a database tells it (keyspace/db.pyx), and a command that changed members calls
`members_settle` once; where a member is only removed, a heap that is not told is early, never late, and sets itself
right.

Members whose time is over are hidden from whoever names or lists them, and are still counted (HLEN, as in Valkey) until
a slice removes them: in batches of one payload, journalled as one command that removes them. The last one takes its key
with it. Who hides what is the role's decision, as for keys (commands/t_members.pxd).

What writes a set or a sorted set, or stores what it reads of one, removes such members first (`members_purge`): what is
told of the command then means the same wherever it is executed again. Hash commands name their fields and hide instead.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport db_t
from cachefleet_server.core.entry cimport (
    ENC_HASHTABLE, ENC_SKIPLIST, OBJ_HASH, OBJ_SET, entry_encoding, entry_t, entry_type)
from cachefleet_server.core.members cimport members_of
from cachefleet_server.ds.intrin cimport cf_unlikely

cdef enum:
    MEMBER_BATCH = 64  # members that are removed and journalled together

cdef inline bint members_may_expire(const entry_t* entry) noexcept nogil:
    cdef int encoding = entry_encoding(entry)
    return ((encoding == ENC_HASHTABLE or encoding == ENC_SKIPLIST) and OBJ_SET <= entry_type(entry) <= OBJ_HASH
            and members_of(entry).expiring != NULL)

cdef void members_put_right(db_t* db, const entry_t* entry, uint64_t hash) noexcept nogil
cdef void members_leave(db_t* db, const entry_t* entry) noexcept nogil

cdef inline void members_settle(db_t* db, const entry_t* entry, uint64_t hash) noexcept nogil:
    """The entry is in the database, and members of it may have got or lost an expiry."""
    if cf_unlikely(members_may_expire(entry)):
        members_put_right(db, entry, hash)

cdef inline void members_gone(db_t* db, const entry_t* entry) noexcept nogil:
    """The entry leaves the database, or its value does."""
    if cf_unlikely(members_may_expire(entry)):
        members_leave(db, entry)

cdef bint members_expire(db_t* db, int64_t deadline_us) noexcept nogil
    # Removes members whose time is over. False when the time (monotonic) ran out before all were.
cdef entry_t* members_purge(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil
    # The same of one entry for which members_may_expire, all of them. NULL: none was left, and the key is gone.
cdef int members_heap_check(db_t* db) noexcept nogil
    # 0; 1 order; 2 a place; 3 a payload without its entry; 4 too late; 5 timed_own
