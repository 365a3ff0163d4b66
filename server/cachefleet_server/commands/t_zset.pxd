"""Sorted set commands: what the files of the family share.

    t_zset.pyx        members by name: ZADD, ZINCRBY, ZREM, ZSCORE, ZRANK ...
    t_zset_range.pyx  members between two places: ZRANGE in all its forms, ZCOUNT, ZREMRANGEBY..., ZRANGESTORE
    t_zset_pop.pyx    the first and last members, and all that wait
    t_zset_algebra.pyx  unions, intersections and differences, of sets, too

A write goes: look up, change the value (core/zset_value.pxd), then `zset_removed`, or db_replace and `zset_changed`,
and the reply where it may come last.
"""

from libc.stdint cimport int64_t

from cachefleet_server.commands.t_members cimport members_clock, members_purged, reply_member
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport OBJ_ZSET, entry_t
from cachefleet_server.core.reply cimport reply_bulk
from cachefleet_server.core.zset_value cimport zset_len
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, NOTIFY_ZSET, arg_hash, db_insert, db_replace, delete_if_empty, key_stored, lookup_read,
    lookup_write, notify, signal_modified, type_or_reply)

cdef struct add_t:  # the words of ZADD and its kin
    int flags  # ZADD_*
    bint changed  # CH: what was updated counts, too
    int first  # argument where the pairs of score and member begin
    int step  # arguments of a pair, of which the last is the member
    int pairs

cdef int register_zset(engine_t* e) except -1
cdef void zset_add_scored(client_t* c, const add_t* o, double* scores) noexcept nogil
    # Adds to argv[1], and replies, when all scores have been read.

cdef inline void zset_changed(client_t* c, const char* event, const arg_t* key, size_t changes) noexcept nogil:
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    notify(c.engine, NOTIFY_ZSET, event, key.ptr, key.len, c.db.id)
    c.engine.persist.dirty += changes

cdef void zset_removed(
    client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t changes) noexcept nogil
    # After so many members went from the sorted set that was at `old`: its end if none is left, the events.
