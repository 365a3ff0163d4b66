"""Hash commands: what the files of the family share.

    t_hash.pyx         fields set, read and removed, one or all: HSET, HGET, HDEL, HGETALL ...
    t_hash_number.pyx  values as numbers: HINCRBY, HINCRBYFLOAT
    t_member_expire.pyx  fields that expire: HEXPIRE, HTTL, HPERSIST ...; those of sets and sorted sets, too
    t_hash_several.pyx some fields with their expiry: HGETEX, HSETEX, HGETDEL

A write goes: look up, change the value (core/hash_value.pxd), store the entry's new address, `hash_changed` or
`hash_emptied`, reply. Fields whose time is over are hidden from all of them (keyspace/member_expiry.pxd).
"""

from libc.stdint cimport int64_t

from cachefleet_server.commands.t_members cimport members_clock, reply_member
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport OBJ_HASH, entry_t
from cachefleet_server.core.hash_value cimport (
    HASH_FOREVER, HASH_KEEP, hash_field_t, hash_find, hash_len, hash_new, hash_write_t)
from cachefleet_server.core.reply cimport reply_error
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.db cimport (
    NOTIFY_HASH, arg_hash, db_insert, db_replace, delete_if_empty, lookup_read, lookup_write, notify, signal_modified,
    type_or_reply)
from cachefleet_server.keyspace.member_expiry cimport members_settle

cdef int register_hash(engine_t* e) except -1

cdef inline void hash_stored(client_t* c, const arg_t* key, entry_t* old, entry_t* entry) noexcept nogil:
    """`old`: as lookup_write gave it; NULL: the hash is new."""
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
        members_settle(c.db, entry, key.hash)

cdef inline void hash_changed(client_t* c, const char* event, const arg_t* key, size_t changes) noexcept nogil:
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    notify(c.engine, NOTIFY_HASH, event, key.ptr, key.len, c.db.id)
    c.engine.persist.dirty += changes

cdef inline void hash_renewed(client_t* c, const arg_t* key, size_t fields) noexcept nogil:
    """Hidden fields were written: as in Valkey, their end is an event before what was done."""
    if fields:
        notify(c.engine, NOTIFY_HASH, b"hexpired", key.ptr, key.len, c.db.id)
        c.engine.stats.expired_fields += fields

cdef inline void hash_emptied(
    client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t changes
) noexcept nogil:
    """After so many fields were removed from the hash that was at `old`."""
    hash_stored(c, key, old, entry)
    if changes:
        hash_changed(c, event, key, changes)
        delete_if_empty(c, key, hash_len(entry))
