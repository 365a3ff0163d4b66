"""EXPIRE and its family: setting, asking for and removing a key's time to live.

All four setters end in one absolute unix time in milliseconds. What is propagated is PEXPIREAT with that time (the
options stay, they are deterministic), or UNLINK/DEL when the time has passed already. While the journal is being
loaded nothing is deleted for its age: the commands that follow decide.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.stdio cimport snprintf

from cachefleet_server.commands.t_member_expire cimport member_persist, member_ttl
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport E_EXPIRE, entry_expire, entry_t
from cachefleet_server.core.options cimport (
    OPT_GT, OPT_NX, OPT_XX, option_walk_t, options_begin, options_next)
from cachefleet_server.core.reply cimport (
    arg_int64, reply_error, reply_error_bytes, reply_error_quote, reply_int, reply_wrong_arity)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport (
    LOOKUP_NOTOUCH, NOTIFY_EXPIRED, NOTIFY_GENERIC, arg_hash, db_delete, db_set_expire, key_changed, lookup_flags,
    lookup_write)
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef enum:
    IF_NX = 1  # only without a time to live
    IF_XX = 2  # only with one
    IF_GT = 4  # only when the new one is later (no time to live counts as never)
    IF_LT = 8

    ARGS_INLINE = 8  # arguments rewritten on the stack; more only with repeated options


cdef bint conditions_or_reply(client_t* c, int first, int end, int* out) noexcept nogil:
    cdef option_walk_t w
    cdef int found = 0
    options_begin(&w, c, first)
    while w.at < end and options_next(&w):
        if w.option == OPT_NX:
            found |= IF_NX
        elif w.option == OPT_XX:
            found |= IF_XX
        else:
            found |= IF_GT if w.option == OPT_GT else IF_LT
    if w.failed:
        reply_error_quote(c, b"ERR Unsupported option %s", w.word.ptr, w.word.len)
        return False
    if found & IF_NX and found & (IF_XX | IF_GT | IF_LT):
        reply_error(c, b"ERR NX and XX, GT or LT options at the same time are not compatible")
        return False
    if found & IF_GT and found & IF_LT:
        reply_error(c, b"ERR GT and LT options at the same time are not compatible")
        return False
    out[0] = found
    return True


cdef bint time_or_reply(
    client_t* c, const arg_t* a, int64_t least, int64_t base_ms, int64_t unit_ms, int64_t* when
) noexcept nogil:
    """Of a key negative times are fine (it goes at once); only what does not fit 64 bits is an error."""
    cdef int64_t v
    cdef char text[96]
    cdef int n
    if not arg_int64(c, a, &v):
        return False
    if (v >= least and (unit_ms == 1 or INT64_MIN // 1000 <= v <= INT64_MAX // 1000)
            and v * unit_ms <= INT64_MAX - base_ms):
        when[0] = v * unit_ms + base_ms
        return True
    n = snprintf(text, sizeof(text), b"ERR invalid expire time in '%s' command", c.cmd.name)
    reply_error_bytes(c, text, n)
    return False


cdef bint conditions_hold(int64_t expire_ms, int conditions, int64_t when) noexcept nogil:
    cdef bint has = expire_ms >= 0
    if conditions & IF_NX and has:
        return False
    if conditions & IF_XX and not has:
        return False
    if conditions & IF_GT and (not has or when <= expire_ms):
        return False
    if conditions & IF_LT and has and when >= expire_ms:
        return False
    return True


cdef void _delete_at_once(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef uint64_t hash = arg_hash(e, key)
    cdef bint lazy = e.params.lazyfree_lazy_expire
    cdef arg_t argv[2]
    argv[0] = journal_arg(b"UNLINK", 6) if lazy else journal_arg(b"DEL", 3)
    argv[1] = key[0]
    db_delete(c.db, key.ptr, key.len, hash, lazy)
    e.stats.expired_keys += 1
    key_changed(c, c.db, NOTIFY_EXPIRED, b"expired", key)
    journal_rewrite(c, 2, argv)


cdef void _journal_absolute(client_t* c, int64_t when) noexcept nogil:
    """The command as PEXPIREAT key when [condition ...]."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t few[ARGS_INLINE]
    cdef arg_t* argv = few
    cdef int i
    if c.argc > ARGS_INLINE:
        argv = <arg_t*>zmalloc(c.engine.heap, c.argc * sizeof(arg_t))
    for i in range(c.argc):
        argv[i] = c.argv[i]
    argv[0] = journal_arg(b"PEXPIREAT", 9)
    argv[2] = journal_arg(digits, int64_to_chars(digits, when))
    journal_rewrite(c, c.argc, argv)
    if argv != few:
        zfree(c.engine.heap, argv)


cdef void _expire(client_t* c, int64_t base_ms, int64_t unit_ms) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef int conditions = 0
    cdef int64_t when = 0
    cdef entry_t* entry
    cdef uint64_t hash
    if not conditions_or_reply(c, 3, c.argc, &conditions) or not time_or_reply(
            c, &c.argv[2], INT64_MIN, base_ms, unit_ms, &when):
        return
    entry = lookup_write(c, key)
    if entry == NULL or not conditions_hold(entry_expire(entry), conditions, when):
        reply_int(c, 0)
        return
    if deadline_is_past(c, when):
        _delete_at_once(c)
    else:
        hash = arg_hash(e, key)
        db_set_expire(c.db, entry, hash, when if when >= 0 else 0)
        key_changed(c, c.db, NOTIFY_GENERIC, b"expire", key)
        if base_ms or unit_ms != 1:
            _journal_absolute(c, when)
    reply_int(c, 1)


cdef void expire_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1000)


cdef void pexpire_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1)


cdef void expireat_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1000)


cdef void pexpireat_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1)


cdef int64_t ttl_reply(const client_t* c, int64_t expire_ms, bint absolute, bint seconds) noexcept nogil:
    if not absolute:
        expire_ms = max(expire_ms - c.engine.now_ms, <int64_t>0)
    # Unsigned, for the latest possible time is accepted and would overflow.
    return <int64_t>((<uint64_t>expire_ms + 500) // 1000) if seconds else expire_ms


cdef void _ttl(client_t* c, bint absolute, bint seconds) noexcept nogil:
    """-2 without the key, -1 without a time to live."""
    cdef entry_t* entry = lookup_flags(c, c.db, &c.argv[1], LOOKUP_NOTOUCH)
    if entry == NULL:
        reply_int(c, -2)
        return
    if not entry.flags & E_EXPIRE:
        reply_int(c, -1)
        return
    reply_int(c, ttl_reply(c, entry_expire(entry), absolute, seconds))


cdef void _ttl_or_member(client_t* c, bint seconds) noexcept nogil:
    """A word more is a member of a collection, as in KeyDB."""
    if c.argc > 3:
        reply_wrong_arity(c)
    elif c.argc == 3:
        member_ttl(c, seconds)
    else:
        _ttl(c, False, seconds)


cdef void ttl_command(client_t* c) noexcept nogil:
    _ttl_or_member(c, True)


cdef void pttl_command(client_t* c) noexcept nogil:
    _ttl_or_member(c, False)


cdef void expiretime_command(client_t* c) noexcept nogil:
    _ttl(c, True, True)


cdef void pexpiretime_command(client_t* c) noexcept nogil:
    _ttl(c, True, False)


cdef void persist_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry
    cdef uint64_t hash
    if c.argc > 3:
        reply_wrong_arity(c)
        return
    if c.argc == 3:
        member_persist(c)
        return
    entry = lookup_write(c, key)
    if entry == NULL or not entry.flags & E_EXPIRE:
        reply_int(c, 0)
        return
    hash = arg_hash(e, key)
    db_set_expire(c.db, entry, hash, -1)
    key_changed(c, c.db, NOTIFY_GENERIC, b"persist", key)
    reply_int(c, 1)


cdef int register_expire(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str condition = " [condition(NX | XX | GT | LT)@7.0.0]"
    cdef str added = "; history 7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
    cdef str ttl = "; tips nondeterministic_output; history 2.8.0 Added the -2 reply."
    command_row(e, expire_command, "expire", -3, "write fast", "keyspace", "1 RW update", "generic 1.0.0 O(1)" + added,
                "Gives a key a time to live in seconds.", "key:key seconds:integer" + condition)
    command_row(e, pexpire_command, "pexpire", -3, "write fast", "keyspace", "1 RW update",
                "generic 2.6.0 O(1)" + added, "Gives a key a time to live in milliseconds.",
                "key:key milliseconds:integer" + condition)
    command_row(e, expireat_command, "expireat", -3, "write fast", "keyspace", "1 RW update",
                "generic 1.2.0 O(1)" + added, "Lets a key expire at a Unix time in seconds.",
                "key:key unix-time-seconds:unix-time" + condition)
    command_row(e, pexpireat_command, "pexpireat", -3, "write fast", "keyspace", "1 RW update",
                "generic 2.6.0 O(1)" + added, "Lets a key expire at a Unix time in milliseconds.",
                "key:key unix-time-milliseconds:unix-time" + condition)
    command_row(e, ttl_command, "ttl", -2, "readonly fast", "keyspace", "1 RO access", "generic 1.0.0 O(1)" + ttl,
                "Returns how many seconds a key, or a member of it, has left to live.", "key:key [member:string]")
    command_row(e, pttl_command, "pttl", -2, "readonly fast", "keyspace", "1 RO access", "generic 2.6.0 O(1)" + ttl,
                "Returns how many milliseconds a key, or a member of it, has left to live.", "key:key [member:string]")
    command_row(e, expiretime_command, "expiretime", 2, "readonly fast", "keyspace", "1 RO access",
                "generic 7.0.0 O(1)", "Returns the Unix time in seconds at which a key expires.", "key:key")
    command_row(e, pexpiretime_command, "pexpiretime", 2, "readonly fast", "keyspace", "1 RO access",
                "generic 7.0.0 O(1)", "Returns the Unix time in milliseconds at which a key expires.", "key:key")
    command_row(e, persist_command, "persist", -2, "write fast", "keyspace", "1 RW update", "generic 2.2.0 O(1)",
                "Removes the time to live of a key, or of a member of it.", "key:key [member:string]")
    return 0
