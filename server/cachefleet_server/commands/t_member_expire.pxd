"""Members that expire, of hashes, sets and sorted sets: one family of commands in three names, and KeyDB's.

    HEXPIRE SEXPIRE ZEXPIRE          key seconds [NX | XX | GT | LT] FIELDS n field ...      MEMBERS n member ...
    HPEXPIRE, HEXPIREAT, HPEXPIREAT  the same in ms, at a unix time, at one in ms            S..., Z... alike
    HTTL HPTTL HEXPIRETIME HPEXPIRETIME HPERSIST  key FIELDS n field ...                     S..., Z... alike
    EXPIREMEMBER key member time [s | ms], EXPIREMEMBERAT, PEXPIREMEMBERAT key member time   of all three types
    TTL, PTTL, PERSIST key member

What differs between the types is a row, `timed_type_t`. HGETEX and the like (t_hash_several.pyx) use it, too.

Hash commands hide fields whose time is over, and tell who follows what they did; those of sets and sorted sets remove
such members first (members_purged).
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t

cdef enum:
    TELL_HEAD_MAX = 5  # words in front of the names

cdef struct timed_type_t:
    int type  # OBJ_*
    int event_class  # NOTIFY_*
    const char* clause  # the word in front of their number
    const char* wrong_number
    # Commands, for the journal.
    const char* remove
    const char* expire_at
    const char* persist
    # Events.
    const char* expired_event
    const char* expire_event
    const char* persist_event
    # Functions of the type. now_ms and at_ms: core/members_expiry.pxd.
    bint (*find_fn)(const entry_t* entry, const arg_t* name, int64_t now_ms, int64_t* at_ms) noexcept nogil
    entry_t* (*expire_fn)(engine_t* e, entry_t* entry, const arg_t* name, int64_t at_ms) noexcept nogil
    entry_t* (*remove_fn)(engine_t* e, entry_t* entry, const arg_t* name) noexcept nogil  # of one that is there

cdef struct tell_t:  # names of members that something happened to, for the journal
    client_t* client
    const timed_type_t* type
    int count
    buf_t names  # arg_t

cdef inline void tell_init(tell_t* t, client_t* c, const timed_type_t* type) noexcept nogil:
    t.client = c
    t.type = type
    t.count = 0
    buf_init(&t.names, c.engine.heap)

cdef inline void tell_add(tell_t* t, const arg_t* name) noexcept nogil:
    buf_put(&t.names, name, sizeof(arg_t))
    t.count += 1

cdef inline void tell_free(tell_t* t) noexcept nogil:
    buf_free(&t.names)

cdef void tell_removed(tell_t* t) noexcept nogil  # HDEL key name ... instead of the running command
cdef void tell_members(tell_t* t, const char* command, bint timed, int64_t when) noexcept nogil
    # COMMAND key [when] FIELDS n name ... instead of the running command

cdef const timed_type_t* timed_type(int type) noexcept nogil  # of OBJ_HASH, OBJ_SET, OBJ_ZSET; else NULL
cdef int clause_at(const client_t* c, const timed_type_t* type, int first) noexcept nogil
    # Where FIELDS or MEMBERS stands from argv[first] on, with an argument behind it; 0: nowhere.
cdef bint names_or_reply(client_t* c, int at, int words, const char* text) noexcept nogil
    # Is the number behind that, which is at argv[at], the one of the names, of so many words each? False after replying
    # that it is not.
cdef void member_ttl(client_t* c, bint seconds) noexcept nogil  # TTL, PTTL key member
cdef void member_persist(client_t* c) noexcept nogil  # PERSIST key member
cdef int register_member_expire(engine_t* e) except -1
