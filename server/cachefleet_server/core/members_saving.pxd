"""Saving a table of members: what a row's save_*_fn are for large hashes, sets and sorted sets (contract in types.pxd).

    held       the table is frozen: each chain is written once, by a step or right before the command that changes it
    not held   a scan; nobody changes the table meanwhile

Members come in no order. What a member looks like is its type's, a table of functions. As commands, members go in
groups of at most MEMBERS_GROUP.

The state of the save_t is the type's table; `place` is the scan's cursor, or the freeze's position.
"""

from cachefleet_server.core.engine cimport rdb_out_t, save_t
from cachefleet_server.core.members cimport members_t
from cachefleet_server.ds.buf cimport buf_t

cdef enum:
    MEMBERS_GROUP = 64

cdef struct members_put_t:
    const char* command  # that adds members: SADD, HSET, ZADD
    int words  # of it for a member
    void (*put_head_fn)(rdb_out_t* out) noexcept nogil  # what an RDB record has before its count. NULL: nothing
    void (*put_fn)(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil  # in an RDB record
    void (*put_words_fn)(buf_t* buf, const members_t* m, const void* word) noexcept nogil  # in the command
    # Commands that follow the group's, for what the command cannot say. NULL: none.
    void (*put_more_fn)(save_t* s, rdb_out_t* out, const members_t* m, void** words, int n) noexcept nogil

cdef void put_times(
    save_t* s, rdb_out_t* out, const char* command, const char* clause, int form, void** words, int n) noexcept nogil
    # For put_more_fn: COMMAND key time CLAUSE 1 member, for each member that expires.
cdef void members_save_begin(save_t* s, const members_put_t* put) noexcept nogil
cdef bint members_save_step(save_t* s) noexcept nogil  # an RDB record begins with the count
cdef void members_save_end(save_t* s) noexcept nogil
