"""SET and GET in all their forms: one key or many, with conditions and expiry.

A write whose expiry lies in the past deletes the key at once and is propagated as that deletion.
"""

from libc.string cimport strlen

from cachefleet_server.commands.t_string_compare cimport (
    COND_FAILS, COND_NONE, COND_REPLIED, COND_XX, condition_check, register_string_compare)
from cachefleet_server.commands.t_string_edit cimport register_string_edit
from cachefleet_server.commands.t_string_increx cimport register_string_increx
from cachefleet_server.commands.t_string_lcs cimport register_string_lcs
from cachefleet_server.commands.t_string_options cimport (
    TTL_EX, TTL_KEEP, TTL_PERSIST, TTL_PX, TTL_PXAT, options_t, take_expiry,
    take_options)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport E_EXPIRE, OBJ_STRING, entry_type
from cachefleet_server.core.reply cimport (
    reply_array, reply_error, reply_int, reply_null, reply_ok, reply_syntax_error, reply_wrong_arity)
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, SET_KEEP_TTL, arg_hash, db_prefetch, db_set_blob, db_set_expire, db_set_string, key_changed,
    key_deleted, lookup_read, lookup_write, notify, string_or_reply)
from cachefleet_server.keyspace.expire cimport expire_now
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_rewrite, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.resp.input cimport INPUT_BIG, input_take_blob

cdef enum:
    PREFETCH_GROUP = 16  # keys of a many-key command whose cache misses overlap

# ---- storing and propagating ---------------------------------------------------------------------

cdef inline void _store(
    client_t* c, arg_t* key, entry_t* old, const arg_t* value, int64_t expire_ms, bint keep_ttl
) noexcept nogil:
    """Puts the argument under the key. Memory that the parser gave to a large argument becomes the value itself."""
    cdef blob_t* blob
    cdef int flags = SET_KEEP_TTL if keep_ttl else 0
    if cf_unlikely(value.len >= INPUT_BIG):
        blob = input_take_blob(&c.input, value)
        if blob != NULL:
            db_set_blob(c.db, key, old, blob, expire_ms, flags)
            return
    db_set_string(c.db, key, old, value.ptr, value.len, expire_ms, flags)


cdef inline void _stored(client_t* c, const arg_t* key, int64_t expire_ms) noexcept nogil:
    string_changed(c, b"set", key)
    if expire_ms != -1:
        notify(c.engine, NOTIFY_GENERIC, b"expire", key.ptr, key.len, c.db.id)


cdef void _expire_at_once(client_t* c, arg_t* key, entry_t* entry) noexcept nogil:
    """Instead of giving the entry a time that has passed. The deletion propagates itself."""
    expire_now(c.db, entry, key.hash)
    c.engine.persist.dirty += 1
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef int _set_argv(
    arg_t* argv, char* digits24, const arg_t* key, const arg_t* value, int64_t expire_ms, bint keep_ttl
) noexcept nogil:
    """SET key value [PXAT t | KEEPTTL] as arguments; returns their number, at most 5."""
    argv[0] = journal_arg(b"SET", 3)
    argv[1] = key[0]
    argv[2] = value[0]
    if expire_ms != -1:
        argv[3] = journal_arg(b"PXAT", 4)
        argv[4] = journal_arg(digits24, int64_to_chars(digits24, expire_ms))
        return 5
    if keep_ttl:
        argv[3] = journal_arg(b"KEEPTTL", 7)
        return 4
    return 3


cdef void propagate_set(
    client_t* c, const arg_t* key, const arg_t* value, int64_t expire_ms, bint keep_ttl
) noexcept nogil:
    cdef arg_t argv[5]
    cdef char digits24[24]
    if c.engine.journal.enabled:
        journal_rewrite(c, _set_argv(argv, digits24, key, value, expire_ms, keep_ttl), argv)


cdef void propagate_key(client_t* c, const char* name, const arg_t* key) noexcept nogil:
    cdef arg_t argv[2]
    if c.engine.journal.enabled:
        argv[0] = journal_arg(name, strlen(name))
        argv[1] = key[0]
        journal_rewrite(c, 2, argv)


cdef void _propagate_pexpireat(client_t* c, const arg_t* key, int64_t expire_ms) noexcept nogil:
    cdef arg_t argv[3]
    cdef char digits24[24]
    if c.engine.journal.enabled:
        argv[0] = journal_arg(b"PEXPIREAT", 9)
        argv[1] = key[0]
        argv[2] = journal_arg(digits24, int64_to_chars(digits24, expire_ms))
        journal_rewrite(c, 3, argv)

# ---- SET -------------------------------------------------------------------------------------------

cdef bint _reply_old(client_t* c, arg_t* key) noexcept nogil:
    """GETSET's and GETDEL's reply; false when the key holds no string, which has been replied."""
    cdef entry_t* entry = lookup_read(c, key)
    if entry == NULL:
        reply_null(c)
        return True
    if not string_or_reply(c, entry):
        return False
    reply_string(c, entry)
    return True


cdef void _set_with_options(client_t* c, arg_t* key, const arg_t* value, options_t* o) noexcept nogil:
    cdef entry_t* old
    cdef int outcome
    if o.get and not string_or_reply(c, lookup_read(c, key)):  # counts as a read
        return
    old = lookup_write(c, key)
    outcome = condition_check(c, old, o.condition, o.operand)
    if outcome == COND_REPLIED:
        return
    if o.get and old != NULL:
        reply_string(c, old)
    elif o.get or outcome == COND_FAILS:
        reply_null(c)
    if outcome == COND_FAILS:
        return
    if cf_unlikely(expiry_is_past(c, o.expire_ms)):
        if old != NULL:
            _expire_at_once(c, key, old)
    else:
        _store(c, key, old, value, o.expire_ms, o.ttl == TTL_KEEP)
        _stored(c, key, o.expire_ms)
        if o.get or o.condition > COND_XX or (o.ttl_arg != NULL and o.ttl != TTL_PXAT):
            propagate_set(c, key, value, o.expire_ms, o.ttl == TTL_KEEP)
    if not o.get:
        reply_ok(c)


cdef void set_command(client_t* c) noexcept nogil:
    cdef options_t o
    cdef arg_t* key = &c.argv[1]
    # Fast path. If there are no options. Then nothing about the old value matters.
    if c.argc == 3:
        _store(c, key, lookup_write(c, key), &c.argv[2], -1, False)
        string_changed(c, b"set", key)
        reply_ok(c)
    elif take_options(c, 3, &o):
        _set_with_options(c, key, &c.argv[2], &o)


cdef void setnx_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    if lookup_write(c, key) != NULL:
        reply_int(c, 0)
        return
    _store(c, key, NULL, &c.argv[2], -1, False)
    string_changed(c, b"set", key)
    reply_int(c, 1)


cdef void _set_expiring(client_t* c, int unit) noexcept nogil:
    """SETEX and PSETEX: key time value."""
    cdef arg_t* key = &c.argv[1]
    cdef int64_t expire_ms
    if not take_expiry(c, &c.argv[2], unit, &expire_ms):
        return
    _store(c, key, lookup_write(c, key), &c.argv[3], expire_ms, False)
    _stored(c, key, expire_ms)
    propagate_set(c, key, &c.argv[3], expire_ms, False)
    reply_ok(c)


cdef void setex_command(client_t* c) noexcept nogil:
    _set_expiring(c, TTL_EX)


cdef void psetex_command(client_t* c) noexcept nogil:
    _set_expiring(c, TTL_PX)


cdef void getset_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    if not _reply_old(c, key):
        return
    _store(c, key, lookup_write(c, key), &c.argv[2], -1, False)
    string_changed(c, b"set", key)
    propagate_set(c, key, &c.argv[2], -1, False)

# ---- GET -------------------------------------------------------------------------------------------

cdef void get_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if entry == NULL:
        reply_null(c)
    elif string_or_reply(c, entry):
        reply_string(c, entry)


cdef void getdel_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    if not _reply_old(c, key):
        return
    if key_deleted(c, key, c.engine.params.lazyfree_lazy_user_del):
        propagate_key(c, b"DEL", key)


cdef void _getex_change(client_t* c, arg_t* key, entry_t* entry, int64_t expire_ms) noexcept nogil:
    """Gives the key an expiry, or takes it away (-1)."""
    db_set_expire(c.db, entry, key.hash, expire_ms)
    key_changed(c, c.db, NOTIFY_GENERIC, b"persist" if expire_ms == -1 else b"expire", key)
    if expire_ms == -1:
        propagate_key(c, b"PERSIST", key)
    else:
        _propagate_pexpireat(c, key, expire_ms)


cdef void getex_command(client_t* c) noexcept nogil:
    cdef options_t o
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry
    if not take_options(c, 2, &o):
        return
    entry = lookup_read(c, key)
    if entry == NULL:
        reply_null(c)
        return
    if not string_or_reply(c, entry):
        return
    reply_string(c, entry)
    if o.expire_ms != -1:
        if expiry_is_past(c, o.expire_ms):
            _expire_at_once(c, key, entry)
        else:
            _getex_change(c, key, entry, o.expire_ms)
    elif o.ttl == TTL_PERSIST and entry.flags & E_EXPIRE:
        _getex_change(c, key, entry, -1)

# ---- many keys ---------------------------------------------------------------------------------------

cdef void _prefetch_group(client_t* c, int first, int step, int end) noexcept nogil:
    """Lets the cache misses of the next keys overlap: all buckets, then all entries, then those of overflow buckets.

    The keys from argv[first] on by `step`, before argv[end], at most PREFETCH_GROUP of them.
    """
    cdef int i = first
    if end > first + step * PREFETCH_GROUP:
        end = first + step * PREFETCH_GROUP
    while i < end:
        db_prefetch(c.db, arg_hash(c.engine, &c.argv[i]), 0)
        i += step
    i = first
    while i < end:
        db_prefetch(c.db, c.argv[i].hash, 1)
        i += step
    i = first
    while i < end:
        db_prefetch(c.db, c.argv[i].hash, 2)
        i += step


cdef void mget_command(client_t* c) noexcept nogil:
    cdef entry_t* entry
    cdef int i
    reply_array(c, c.argc - 1)
    for i in range(1, c.argc):
        if (i - 1) % PREFETCH_GROUP == 0:
            _prefetch_group(c, i, 1, c.argc)
        entry = lookup_read(c, &c.argv[i])
        if entry == NULL or entry_type(entry) != OBJ_STRING:
            reply_null(c)
        else:
            reply_string(c, entry)


cdef void _set_pairs(client_t* c, int first, int end, int64_t expire_ms, bint keep_ttl) noexcept nogil:
    """key value key value ... in argv[first:end].

    The values are copied: an argument's memory must not be given away, because the same key may come again and free
    it before the command is propagated.
    """
    cdef int i
    cdef arg_t* key
    cdef int flags = SET_KEEP_TTL if keep_ttl else 0
    for i in range(first, end, 2):
        if (i - first) % (2 * PREFETCH_GROUP) == 0:
            _prefetch_group(c, i, 2, end)
        key = &c.argv[i]
        db_set_string(c.db, key, lookup_write(c, key), key[1].ptr, key[1].len, expire_ms, flags)
        _stored(c, key, expire_ms)


cdef bint _all_exist(client_t* c, int first, int end, bint wanted) noexcept nogil:
    """Whether all keys of argv[first:end:2] exist, or (not wanted) none does."""
    cdef int i
    for i in range(first, end, 2):
        if (i - first) % (2 * PREFETCH_GROUP) == 0:
            _prefetch_group(c, i, 2, end)
        if (lookup_write(c, &c.argv[i]) != NULL) != wanted:
            return False
    return True


cdef void mset_command(client_t* c) noexcept nogil:
    if c.argc % 2 == 0:
        reply_wrong_arity(c)
        return
    _set_pairs(c, 1, c.argc, -1, False)
    reply_ok(c)


cdef void msetnx_command(client_t* c) noexcept nogil:
    if c.argc % 2 == 0:
        reply_wrong_arity(c)
    elif _all_exist(c, 1, c.argc, False):
        _set_pairs(c, 1, c.argc, -1, False)
        reply_int(c, 1)
    else:
        reply_int(c, 0)


cdef void _propagate_msetex(client_t* c, int end, int64_t expire_ms, bint keep_ttl) noexcept nogil:
    """As commands that every Redis and Valkey knows, so that older ones can load the journal or follow us.

    Without expiry it is an MSET; the key count's place in argv takes the name for a moment.
    """
    cdef engine_t* e = c.engine
    cdef arg_t argv[5]
    cdef char digits24[24]
    cdef arg_t count = c.argv[1]
    cdef int i, argc
    if not e.journal.enabled:
        return
    if expire_ms == -1 and not keep_ttl:
        c.argv[1] = journal_arg(b"MSET", 4)
        journal_rewrite(c, end - 1, c.argv + 1)
        c.argv[1] = count
        return
    journal_transaction_begin(e)
    for i in range(2, end, 2):
        argc = _set_argv(argv, digits24, &c.argv[i], &c.argv[i + 1], expire_ms, keep_ttl)
        journal_command(e, c.db.id, argc, argv)
    journal_transaction_end(e)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef void msetex_command(client_t* c) noexcept nogil:
    """MSETEX numkeys key value ... [NX | XX] [expiry]."""
    cdef options_t o
    cdef int64_t count
    cdef int end
    if not chars_to_int64(c.argv[1].ptr, c.argv[1].len, &count) or count < 1 or count > 0x7FFFFFFF:
        reply_error(c, b"ERR invalid numkeys value or out of range")
        return
    if count > (c.argc - 2) // 2:
        reply_syntax_error(c)
        return
    end = <int>(2 + 2 * count)
    if not take_options(c, end, &o):
        return
    if o.condition != COND_NONE and not _all_exist(c, 2, end, o.condition == COND_XX):
        reply_int(c, 0)
        return
    _set_pairs(c, 2, end, o.expire_ms, o.ttl == TTL_KEEP)
    _propagate_msetex(c, end, o.expire_ms, o.ttl == TTL_KEEP)
    reply_int(c, 1)

# ---- table -----------------------------------------------------------------------------------------

cdef int register_string(engine_t* e) except -1:
    expiry = (
        "EX seconds:integer{0} | PX milliseconds:integer{0} | EXAT unix-time-seconds:unix-time{1} |"
        " PXAT unix-time-milliseconds:unix-time{1}")
    plain = expiry.format("", "")
    command_row(
        e, get_command, "get", 2, "readonly fast", "string", "1 RO access",
        "string 1.0.0 O(1)", "Returns the string that a key holds.", "key:key")
    command_row(
        e, set_command, "set", -3, "write denyoom", "string", "1 RW access update variable_flags",
        "string 1.0.0 O(1); history 2.6.12 Added the `EX`, `PX`, `NX` and `XX` options."
        "; history 6.0.0 Added the `KEEPTTL` option.; history 6.2.0 Added the `GET`, `EXAT` and `PXAT` option."
        "; history 7.0.0 Allowed the `NX` and `GET` options to be used together."
        "; history 8.1.0 Added the `IFEQ` option.; history 8.4.0 Added the `IFNE`, `IFDEQ` and `IFDNE` options.",
        "Stores a string under a key, whatever the key held before.",
        "key:key value:string"
        " [condition(NX@2.6.12 | XX@2.6.12 | IFEQ comparison-value:string@8.1.0 | IFNE ifne-value:string@8.4.0 |"
        " IFDEQ ifdeq-digest:string@8.4.0 | IFDNE ifdne-digest:string@8.4.0)] [GET@6.2.0]"
        " [expiration(" + expiry.format("@2.6.12", "@6.2.0") + " | KEEPTTL@6.0.0)]")
    command_row(
        e, setnx_command, "setnx", 3, "write denyoom fast", "string", "1 OW insert",
        "string 1.0.0 O(1)",
        "Stores a string under a key that does not exist yet.", "key:key value:string")
    command_row(
        e, setex_command, "setex", 4, "write denyoom", "string", "1 OW update",
        "string 2.0.0 O(1)",
        "Stores a string that expires after some seconds.", "key:key seconds:integer value:string")
    command_row(
        e, psetex_command, "psetex", 4, "write denyoom", "string", "1 OW update",
        "string 2.6.0 O(1)",
        "Stores a string that expires after some milliseconds.", "key:key milliseconds:integer value:string")
    command_row(
        e, getset_command, "getset", 3, "write denyoom fast", "string", "1 RW access update",
        "string 1.0.0 O(1)",
        "Stores a string under a key and returns the one it replaced.", "key:key value:string")
    command_row(
        e, getdel_command, "getdel", 2, "write fast", "string", "1 RW access delete",
        "string 6.2.0 O(1)", "Returns the string value of a key and deletes the key.", "key:key")
    command_row(
        e, getex_command, "getex", -2, "write fast", "string", "1 RW access update",
        "string 6.2.0 O(1)", "Returns the string value of a key and changes when the key expires.",
        "key:key [expiration(" + plain + " | PERSIST)]")
    command_row(
        e, mget_command, "mget", -2, "readonly fast", "string", "1:-1 RO access",
        "string 1.0.0 O(N) where N is the number of keys; tips request_policy:multi_shard",
        "Returns the string values of several keys at once.", "key:key...")
    command_row(
        e, mset_command, "mset", -3, "write denyoom", "string", "1:-1:2 OW update",
        "string 1.0.1 O(N) where N is the number of keys"
        "; tips request_policy:multi_shard response_policy:all_succeeded",
        "Stores strings under several keys at once.", "data{key:key value:string}...")
    command_row(
        e, msetnx_command, "msetnx", -3, "write denyoom", "string", "1:-1:2 OW insert",
        "string 1.0.1 O(N) where N is the number of keys",
        "Stores strings under several keys at once, unless one of them exists.", "data{key:key value:string}...")
    command_row(
        e, msetex_command, "msetex", -4, "write denyoom movablekeys", "string", "exact-numkeys:1:1:2 OW update",
        "string 9.1.0 O(N) where N is the number of keys"
        "; tips request_policy:multi_shard response_policy:all_succeeded",
        "Stores strings under several keys at once, under a condition and with a common expiry if wanted.",
        "numkeys:integer data{key:key value:string}... [condition(NX | XX)] [expiration(" + plain + " | KEEPTTL)]")
    register_string_edit(e)
    register_string_compare(e)
    register_string_increx(e)
    register_string_lcs(e)
    return 0
