"""What commands of hashes, sets and sorted sets share: HSCAN, SSCAN and ZSCAN; HRANDFIELD, SRANDMEMBER and ZRANDMEMBER.

A family says how a member of its own is replied. `whole`: with the value or score, which is then a second element,
unless `pairs` (RESP3's random members) asks for an array of both.
"""

from libc.stdint cimport INT64_MAX, int64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport OBJ_HASH, entry_t, entry_type
from cachefleet_server.core.members_walk cimport seen_t
from cachefleet_server.core.reply cimport reply_bulk
from cachefleet_server.core.role cimport EXPIRY_PRESENT
from cachefleet_server.ds.intrin cimport cf_likely
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.expire cimport expiry_rule
from cachefleet_server.keyspace.member_expiry cimport members_may_expire, members_purge

ctypedef void (*seen_reply_fn)(client_t* c, const seen_t* seen) noexcept nogil

cdef inline void reply_member(client_t* c, const lp_item_t* member) noexcept nogil:
    """A member, field or value."""
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(member, &digits[0], &n)
    reply_bulk(c, p, n)

cdef inline int64_t members_clock(const client_t* c) noexcept nogil:
    """For core/members_walk: when members' time is up before, it is up for this client."""
    return -1 if expiry_rule(c) == EXPIRY_PRESENT else c.engine.now_ms

cdef inline entry_t* members_purged(client_t* c, arg_t* key, entry_t* entry) noexcept nogil:
    """Before a command writes this key's set or sorted set, or stores what it reads of it: members whose time is up for
    this client are removed. NULL: `entry` was NULL, or nothing is left. The key has been looked up."""
    if (entry == NULL or cf_likely(not members_may_expire(entry)) or entry_type(entry) == OBJ_HASH
            or members_clock(c) < 0):
        return entry
    return members_purge(c.db, entry, key.hash)

cdef void scan_members(client_t* c, int type, seen_reply_fn value_fn) noexcept nogil
    # key cursor [MATCH pattern] [COUNT count] [NOVALUES | NOSCORES]. value_fn replies a member's value or score; NULL:
    # this type has none.
cdef void random_members(client_t* c, int type, const char* with_word, seen_reply_fn value_fn) noexcept nogil
    # key [count [WITHVALUES | WITHSCORES]]. with_word NULL: there is no such word.
