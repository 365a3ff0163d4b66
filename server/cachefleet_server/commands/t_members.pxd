"""What commands of hashes, sets and sorted sets share: HSCAN, SSCAN and ZSCAN; HRANDFIELD, SRANDMEMBER and ZRANDMEMBER.

A family says how a member of its own is replied. `whole`: with the value or score, which is then a second element,
unless `pairs` (RESP3's random members) asks for an array of both.
"""

from libc.stdint cimport INT64_MAX, int64_t

from cachefleet_server.core.engine cimport client_t
from cachefleet_server.core.members_walk cimport seen_t
from cachefleet_server.core.reply cimport reply_bulk
from cachefleet_server.core.role cimport EXPIRY_PRESENT
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.expire cimport expiry_rule

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

cdef void scan_members(client_t* c, int type, seen_reply_fn value_fn) noexcept nogil
    # key cursor [MATCH pattern] [COUNT count] [NOVALUES | NOSCORES]. value_fn replies a member's value or score; NULL:
    # this type has none.
cdef void random_members(client_t* c, int type, const char* with_word, seen_reply_fn value_fn) noexcept nogil
    # key [count [WITHVALUES | WITHSCORES]]. with_word NULL: there is no such word.
