"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, TOUCH, OBJECT, RANDOMKEY; and on whole
databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB. Also TIME.

A key that moves (RENAME, MOVE) leaves its table, gets its new name, and enters the other table: the value itself is not
copied. COPY duplicates it through its type's dup_fn.
"""

from libc.stdint cimport INT32_MAX, INT32_MIN, int64_t, uint64_t
from libc.string cimport memcmp

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.core.params cimport POLICY_LFU
from cachefleet_server.core.entry cimport (
    entry_expire, entry_key, entry_rename, entry_t, entry_type)
from cachefleet_server.core.errors cimport ERR_DB_INDEX, ERR_NO_KEY, ERR_SAME_OBJECT
from cachefleet_server.core.lfu cimport entry_lfu_count
from cachefleet_server.core.options cimport OPT_REPLACE, option_walk_t, options_begin, options_end, options_next
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_array, reply_bulk, reply_error, reply_int, reply_null, reply_ok, reply_simple,
    reply_syntax_error, reply_text)
from cachefleet_server.core.types cimport entry_encoding_name
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.intrin cimport cf_assert, cf_realtime_us
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars
from cachefleet_server.keyspace.db cimport (
    LOOKUP_DELETE, LOOKUP_NONOTIFY, LOOKUP_NOSTATS, LOOKUP_NOTOUCH, LOOKUP_TOUCH, LOOKUP_WRITE, NOTIFY_GENERIC,
    arg_hash, db_delete, db_insert, db_len, db_random, db_set_expire, db_unlink, entry_copy, key_changed,
    key_deleted, key_moved, lookup_flags, lookup_read, lookup_write)
from cachefleet_server.keyspace.evict cimport entry_idle_ms
from cachefleet_server.keyspace.expire cimport expire_now, is_expired, may_delete_expired
from cachefleet_server.keyspace.journal cimport journal_rewrite
from cachefleet_server.keyspace.keyspace cimport keyspace_db, keyspace_flush, keyspace_swap_dbs

cdef extern from *:
    """
    #define ERR_INT_RANGE "ERR value is out of range, value must between -2147483648 and 2147483647"
    #define ERR_LFU_OFF \
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching " \
        "between policies at runtime LRU and LFU data will take some time to adjust."
    #define ERR_LFU_ON \
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between " \
        "policies at runtime LRU and LFU data will take some time to adjust."
    static const char *const OBJECT_HELP[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value of <key> is stored.",
        "FREQ <key>",
        "    How often <key> was used lately, on a logarithmic scale from 0 to 255. Needs an",
        "    LFU maxmemory-policy.",
        "IDLETIME <key>",
        "    Seconds since <key> was used last. Not with an LFU maxmemory-policy.",
        "REFCOUNT <key>",
        "    How many references the value of <key> has.",
        "HELP",
        "    This text.",
    };
    #define OBJECT_HELP_LINES ((int)(sizeof(OBJECT_HELP) / sizeof(OBJECT_HELP[0])))
    """
    const char* ERR_INT_RANGE
    const char* ERR_LFU_OFF
    const char* ERR_LFU_ON
    const char** OBJECT_HELP
    const int OBJECT_HELP_LINES

cdef enum:
    RANDOM_TRIES = 100  # while nothing may be deleted, a random key may be expired; then it is taken as it is


# ---- deleting and asking ------------------------------------------------------------------------------

cdef void _delete(client_t* c, bint lazy) noexcept nogil:
    cdef int i
    cdef int64_t deleted = 0
    cdef arg_t* key
    for i in range(1, c.argc):
        key = &c.argv[i]
        if lookup_flags(c, c.db, key, LOOKUP_NOTOUCH | LOOKUP_NOSTATS | LOOKUP_WRITE | LOOKUP_DELETE) != NULL:
            deleted += key_deleted(c, key, lazy)
    reply_int(c, deleted)


cdef void del_command(client_t* c) noexcept nogil:
    _delete(c, c.engine.params.lazyfree_lazy_user_del)


cdef void unlink_command(client_t* c) noexcept nogil:
    _delete(c, True)


cdef void _count_existing(client_t* c, int flags) noexcept nogil:
    cdef int i
    cdef int64_t n = 0
    for i in range(1, c.argc):
        if lookup_flags(c, c.db, &c.argv[i], flags) != NULL:
            n += 1
    reply_int(c, n)


cdef void exists_command(client_t* c) noexcept nogil:
    _count_existing(c, LOOKUP_NOTOUCH)


cdef void touch_command(client_t* c) noexcept nogil:
    _count_existing(c, LOOKUP_TOUCH)  # whatever CLIENT NO-TOUCH says


cdef void type_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_flags(c, c.db, &c.argv[1], LOOKUP_NOTOUCH)
    if entry == NULL:
        reply_simple(c, b"none")
    else:
        reply_simple(c, c.engine.types[entry_type(entry)].name)


cdef void randomkey_command(client_t* c) noexcept nogil:
    """Expired keys met on the way are deleted, so this ends; unless they may not be."""
    cdef engine_t* e = c.engine
    cdef entry_t* entry
    cdef const char* key
    cdef size_t nk
    cdef int tries = 0
    while True:
        entry = db_random(c.db)
        if entry == NULL:
            reply_null(c)
            return
        key = entry_key(entry, &nk)
        if not is_expired(c, entry) or tries == RANDOM_TRIES:
            reply_bulk(c, key, nk)
            return
        if may_delete_expired(c):
            expire_now(c.db, entry, hash_bytes(key, nk, &e.seed))
        else:
            tries += 1


# ---- moving and copying ---------------------------------------------------------------------------------

cdef void _rename(client_t* c, bint only_if_new) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* src = &c.argv[1]
    cdef arg_t* dst = &c.argv[2]
    cdef entry_t* entry
    cdef uint64_t src_hash = arg_hash(e, src)
    cdef uint64_t dst_hash = arg_hash(e, dst)
    if lookup_write(c, src) == NULL:
        reply_error(c, ERR_NO_KEY)
        return
    if src_hash == dst_hash and src.len == dst.len and _same_bytes(src, dst):
        if only_if_new:
            reply_int(c, 0)
        else:
            reply_ok(c)
        return
    if lookup_write(c, dst) != NULL:
        if only_if_new:
            reply_int(c, 0)
            return
        db_delete(c.db, dst.ptr, dst.len, dst_hash, e.params.lazyfree_lazy_server_del)
    entry = db_unlink(c.db, src.ptr, src.len, src_hash)
    cf_assert(entry != NULL)
    db_insert(c.db, entry_rename(e.heap, entry, dst.ptr, dst.len), dst_hash)
    key_moved(c, c.db, b"rename_from", src, c.db, b"rename_to", dst)
    if only_if_new:
        reply_int(c, 1)
    else:
        reply_ok(c)


cdef inline bint _same_bytes(const arg_t* a, const arg_t* b) noexcept nogil:
    return a.len == b.len and memcmp(a.ptr, b.ptr, a.len) == 0


cdef void rename_command(client_t* c) noexcept nogil:
    _rename(c, False)


cdef void renamenx_command(client_t* c) noexcept nogil:
    _rename(c, True)


cdef db_t* _db_or_reply(client_t* c, const arg_t* a) noexcept nogil:
    """The database named by an argument, or NULL after replying what is wrong with it."""
    cdef int64_t v
    if not arg_int64(c, a, &v):
        return NULL
    if v < INT32_MIN or v > INT32_MAX:
        reply_error(c, ERR_INT_RANGE)
        return NULL
    if v < 0 or v >= c.engine.keyspace.count:
        reply_error(c, ERR_DB_INDEX)
        return NULL
    return keyspace_db(c.engine.keyspace, <int>v)


cdef bint _parse_copy(client_t* c, db_t** db, bint* replace) noexcept nogil:
    cdef option_walk_t w
    db[0] = c.db
    replace[0] = False
    options_begin(&w, c, 3)
    while options_next(&w):
        if w.option == OPT_REPLACE:
            replace[0] = True
        else:
            db[0] = _db_or_reply(c, w.value)
            if db[0] == NULL:
                return False
    return options_end(&w)


cdef void copy_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* src = &c.argv[1]
    cdef arg_t* dst = &c.argv[2]
    cdef db_t* db = NULL
    cdef bint replace = False
    cdef entry_t* entry
    cdef entry_t* copy
    cdef int64_t expire_ms
    if not _parse_copy(c, &db, &replace):
        return
    if db == c.db and _same_bytes(src, dst):
        reply_error(c, ERR_SAME_OBJECT)
        return
    entry = lookup_read(c, src)
    if entry == NULL:
        reply_int(c, 0)
        return
    if lookup_flags(c, db, dst, LOOKUP_WRITE) != NULL:
        if not replace:
            reply_int(c, 0)
            return
        db_delete(db, dst.ptr, dst.len, arg_hash(e, dst), e.params.lazyfree_lazy_server_del)
    expire_ms = entry_expire(entry)
    copy = entry_copy(e, entry, dst.ptr, dst.len)
    db_insert(db, copy, arg_hash(e, dst))
    if expire_ms != -1:
        db_set_expire(db, copy, dst.hash, expire_ms)
    key_changed(c, db, NOTIFY_GENERIC, b"copy_to", dst)
    reply_int(c, 1)


cdef void move_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef uint64_t hash = arg_hash(e, key)
    cdef db_t* db = _db_or_reply(c, &c.argv[2])
    if db == NULL:
        return
    if db == c.db:
        reply_error(c, ERR_SAME_OBJECT)
        return
    if lookup_write(c, key) == NULL or lookup_flags(c, db, key, LOOKUP_WRITE) != NULL:
        reply_int(c, 0)
        return
    db_insert(db, db_unlink(c.db, key.ptr, key.len, hash), hash)
    key_moved(c, c.db, b"move_from", key, db, b"move_to", key)
    reply_int(c, 1)


# ---- OBJECT ----------------------------------------------------------------------------------------------

cdef entry_t* _object_or_reply(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_flags(c, c.db, &c.argv[2], LOOKUP_NOTOUCH | LOOKUP_NONOTIFY)
    if entry == NULL:
        reply_null(c)
    return entry


cdef void object_encoding_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _object_or_reply(c)
    if entry != NULL:
        reply_text(c, entry_encoding_name(c.engine, entry))


cdef void object_freq_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _object_or_reply(c)
    if entry == NULL:
        return
    if c.engine.params.maxmemory_policy & POLICY_LFU:
        reply_int(c, entry_lfu_count(c.engine, entry))
    else:
        reply_error(c, ERR_LFU_OFF)


cdef void object_idletime_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _object_or_reply(c)
    if entry == NULL:
        return
    if c.engine.params.maxmemory_policy & POLICY_LFU:
        reply_error(c, ERR_LFU_ON)
    else:
        reply_int(c, entry_idle_ms(c.engine, entry) // 1000)


cdef void object_refcount_command(client_t* c) noexcept nogil:
    """Values are never shared here."""
    if _object_or_reply(c) != NULL:
        reply_int(c, 1)


cdef void object_help_command(client_t* c) noexcept nogil:
    cdef int i
    reply_array(c, OBJECT_HELP_LINES)
    for i in range(OBJECT_HELP_LINES):
        reply_simple(c, OBJECT_HELP[i])


# ---- whole databases ---------------------------------------------------------------------------------------

cdef void dbsize_command(client_t* c) noexcept nogil:
    reply_int(c, db_len(c.db))


cdef bint _flush(client_t* c, int dbid) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef bint lazy = e.params.lazyfree_lazy_user_flush
    cdef int i
    if c.argc == 2 and arg_is(&c.argv[1], b"async"):
        lazy = True
    elif c.argc == 2 and arg_is(&c.argv[1], b"sync"):
        lazy = False
    elif c.argc > 1:
        reply_syntax_error(c)
        return False
    for i in range(e.keyspace.opened):
        if dbid < 0 or dbid == e.keyspace.dbs[i].id:
            e.persist.dirty += db_len(e.keyspace.dbs[i])
    keyspace_flush(e, dbid, lazy)
    journal_rewrite(c, c.argc, c.argv)  # even when nothing was there: a replica may have something
    reply_ok(c)
    return True


cdef void flushdb_command(client_t* c) noexcept nogil:
    _flush(c, c.db.id)


cdef void flushall_command(client_t* c) noexcept nogil:
    if _flush(c, -1):
        c.engine.persist.flush_save = True


cdef bint _swap_index(client_t* c, const arg_t* a, const char* error, int* out) noexcept nogil:
    cdef int64_t v
    if not chars_to_int64(a.ptr, a.len, &v) or v < INT32_MIN or v > INT32_MAX:
        reply_error(c, error)
        return False
    out[0] = <int>v
    return True


cdef void swapdb_command(client_t* c) noexcept nogil:
    cdef int a = 0
    cdef int b = 0
    cdef int n = c.engine.keyspace.count
    if not _swap_index(c, &c.argv[1], b"ERR invalid first DB index", &a) \
            or not _swap_index(c, &c.argv[2], b"ERR invalid second DB index", &b):
        return
    if not (0 <= a < n and 0 <= b < n):
        reply_error(c, ERR_DB_INDEX)
        return
    if a != b:
        keyspace_swap_dbs(c.engine, a, b)
    c.engine.persist.dirty += 1
    reply_ok(c)


cdef void _reply_digits(client_t* c, int64_t v) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    reply_bulk(c, digits, int64_to_chars(digits, v))


cdef void time_command(client_t* c) noexcept nogil:
    cdef int64_t now_us = cf_realtime_us()
    reply_array(c, 2)
    _reply_digits(c, now_us // 1000000)
    _reply_digits(c, now_us % 1000000)


# ---- rows --------------------------------------------------------------------------------------------------

cdef int _register_keys(engine_t* e) except -1:
    cdef str agg = "; tips request_policy:multi_shard response_policy:agg_sum"
    command_row(e, del_command, "del", -2, "write", "keyspace", "1:-1 RM delete",
                "generic 1.0.0 O(N) where N is the number of keys that will be removed. When a key to remove holds a"
                " value other than a string, the individual complexity for this key is O(M) where M is the number of"
                " elements in the list, set, sorted set or hash. Removing a single key that holds a string value is"
                " O(1)." + agg, "Deletes keys.", "key:key...")
    command_row(e, unlink_command, "unlink", -2, "write fast", "keyspace", "1:-1 RM delete",
                "generic 4.0.0 O(1) for each key removed regardless of its size. Then the command does O(N) work in a"
                " different thread in order to reclaim memory, where N is the number of allocations the deleted"
                " objects where composed of." + agg, "Deletes keys; another thread frees their values.", "key:key...")
    command_row(e, exists_command, "exists", -2, "readonly fast", "keyspace", "1:-1 RO",
                "generic 1.0.0 O(N) where N is the number of keys to check." + agg
                + "; history 3.0.3 Accepts multiple `key` arguments.", "Counts how many of the keys exist.",
                "key:key...")
    command_row(e, touch_command, "touch", -2, "readonly fast", "keyspace", "1:-1 RO",
                "generic 3.2.1 O(N) where N is the number of keys that will be touched." + agg,
                "Counts how many of the keys exist, and marks them as used now.", "key:key...")
    command_row(e, type_command, "type", 2, "readonly fast", "keyspace", "1 RO", "generic 1.0.0 O(1)",
                "Returns the type of a key's value.", "key:key")
    command_row(e, randomkey_command, "randomkey", 1, "readonly", "keyspace", "",
                "generic 1.0.0 O(1); tips request_policy:all_shards response_policy:special nondeterministic_output",
                "Returns the name of a random key.", "")
    command_row(e, rename_command, "rename", 3, "write", "keyspace", "1 RW access delete;2 OW update",
                "generic 1.0.0 O(1)", "Gives a key another name; what had that name is overwritten.",
                "key:key newkey:key")
    command_row(e, renamenx_command, "renamenx", 3, "write fast", "keyspace", "1 RW access delete;2 OW insert",
                "generic 1.0.0 O(1); history 3.2.0 The command no longer returns an error when source and destination"
                " names are the same.", "Gives a key another name unless that name is taken.", "key:key newkey:key")
    command_row(e, copy_command, "copy", -3, "write denyoom", "keyspace", "1 RO access;2 OW update",
                "generic 6.2.0 O(N) worst case for collections, where N is the number of nested items. O(1) for string"
                " values.", "Copies a key's value to another key.",
                "source:key destination:key [DB destination-db:integer] [REPLACE]")
    command_row(e, move_command, "move", 3, "write fast", "keyspace", "1 RW access update", "generic 1.0.0 O(1)",
                "Takes a key out of this database and puts it into another.", "key:key db:integer")
    return 0


cdef int _register_object(engine_t* e) except -1:
    cdef str tip = "; tips nondeterministic_output"
    command_row(e, NULL, "object", -2, "container", "", "", "generic 2.2.3 Depends on subcommand.",
                "Looks into how a value is stored.", "")
    command_row(e, object_encoding_command, "object|encoding", 3, "readonly", "keyspace", "2 RO",
                "generic 2.2.3 O(1)" + tip, "Returns how a value is stored.", "key:key")
    command_row(e, object_freq_command, "object|freq", 3, "readonly", "keyspace", "2 RO",
                "generic 4.0.0 O(1)" + tip, "Returns how often a key was used, on a logarithmic scale.", "key:key")
    command_row(e, object_idletime_command, "object|idletime", 3, "readonly", "keyspace", "2 RO",
                "generic 2.2.3 O(1)" + tip, "Returns the seconds since a key was used last.", "key:key")
    command_row(e, object_refcount_command, "object|refcount", 3, "readonly", "keyspace", "2 RO",
                "generic 2.2.3 O(1)" + tip, "Returns how many references a value has.", "key:key")
    command_row(e, object_help_command, "object|help", 2, "loading stale", "keyspace", "", "generic 6.2.0 O(1)",
                "Explains the subcommands.", "")
    return 0


cdef int _register_databases(engine_t* e) except -1:
    cdef str how = "[flush-type(ASYNC@4.0.0 | SYNC@6.2.0)]"
    cdef str tips = ("; tips request_policy:all_shards response_policy:all_succeeded"
                     "; history 4.0.0 Added the `ASYNC` flushing mode modifier."
                     "; history 6.2.0 Added the `SYNC` flushing mode modifier.")
    command_row(e, dbsize_command, "dbsize", 1, "readonly fast", "keyspace", "",
                "server 1.0.0 O(1); tips request_policy:all_shards response_policy:agg_sum",
                "Returns how many keys the database holds.", "")
    command_row(e, flushdb_command, "flushdb", -1, "write", "keyspace dangerous", "",
                "server 1.0.0 O(N) where N is the number of keys in the selected database" + tips,
                "Deletes all keys of the database.", how)
    command_row(e, flushall_command, "flushall", -1, "write", "keyspace dangerous", "",
                "server 1.0.0 O(N) where N is the total number of keys in all databases" + tips,
                "Deletes all keys of all databases.", how)
    command_row(e, swapdb_command, "swapdb", 3, "write fast", "keyspace dangerous", "",
                "server 4.0.0 O(N) where N is the count of clients watching or blocking on keys from both databases.",
                "Exchanges two databases.", "index1:integer index2:integer")
    command_row(e, time_command, "time", 1, "loading stale fast", "", "",
                "server 2.6.0 O(1); tips nondeterministic_output", "Returns the server's clock.", "")
    return 0


cdef int register_generic(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    _register_keys(e)
    _register_object(e)
    return _register_databases(e)
