"""HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT; HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME; HPERSIST.

As with keys: what sets a time ends in one absolute unix time in milliseconds, and is told as HPEXPIREAT with it; a time
that has passed removes the field at once, told as HDEL. What happened to each field is one integer of the reply.
"""

from libc.string cimport strlen

from cachefleet_server.commands.expire_cmds cimport conditions_hold, conditions_or_reply, time_or_reply, ttl_reply
from cachefleet_server.commands.t_hash cimport (
    HASH_FOREVER, OBJ_HASH, delete_if_empty, entry_t, hash_changed, hash_field_t, hash_find, hash_len,
    hash_stored, lookup_read, lookup_write, members_clock, type_or_reply)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.errors cimport ERR_SYNTAX
from cachefleet_server.core.hash_value cimport hash_expire, hash_remove
from cachefleet_server.core.reply cimport arg_int64, arg_is, reply_array, reply_error, reply_int
from cachefleet_server.ds.number cimport int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef enum:  # replies, a field
    FIELD_ABSENT = -2
    FIELD_REFUSED = 0  # by a condition
    FIELD_DONE = 1
    FIELD_REMOVED = 2
    FIELD_FOREVER = -1

# ---- arguments ---------------------------------------------------------------------------------------

cdef int fields_clause(const client_t* c, int first) noexcept nogil:
    cdef int i
    for i in range(first, c.argc - 1):
        if arg_is(&c.argv[i], b"fields"):
            return i
    return 0


cdef bint fields_or_reply(client_t* c, int at, int words, const char* text) noexcept nogil:
    cdef int64_t n = 0
    if at and not arg_int64(c, &c.argv[at + 1], &n):
        return False
    if at and 0 < n <= c.argc and n * words == c.argc - at - 2:
        return True
    reply_error(c, text)
    return False

# ---- the journal -------------------------------------------------------------------------------------

cdef void _tell(tell_t* t, arg_t* head, int n) noexcept nogil:
    """n words, and the names."""
    cdef client_t* c = t.client
    cdef arg_t* names = <arg_t*>t.names.data
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, (n + t.count) * sizeof(arg_t))
    cdef int i
    for i in range(n):
        argv[i] = head[i]
    for i in range(t.count):
        argv[n + i] = names[i]
    journal_rewrite(c, n + t.count, argv)
    zfree(c.engine.heap, argv)


cdef void tell_removed(tell_t* t) noexcept nogil:
    cdef arg_t head[2]
    head[0] = journal_arg(b"HDEL", 4)
    head[1] = t.client.argv[1]
    _tell(t, head, 2)


cdef void tell_fields(tell_t* t, const char* command, bint timed, int64_t when) noexcept nogil:
    cdef char time_digits[INT64_CHARS_MAX]
    cdef char count_digits[INT64_CHARS_MAX]
    cdef arg_t head[TELL_HEAD_MAX]
    cdef int n = 2
    head[0] = journal_arg(command, strlen(command))
    head[1] = t.client.argv[1]
    if timed:
        head[2] = journal_arg(time_digits, int64_to_chars(time_digits, when))
        n = 3
    head[n] = journal_arg(b"FIELDS", 6)
    head[n + 1] = journal_arg(count_digits, int64_to_chars(count_digits, t.count))
    _tell(t, head, n + 2)


cdef void _journal_absolute(client_t* c, int64_t when) noexcept nogil:
    """The command as HPEXPIREAT key when [condition ...] FIELDS n name ..."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, c.argc * sizeof(arg_t))
    cdef int i
    for i in range(c.argc):
        argv[i] = c.argv[i]
    argv[0] = journal_arg(b"HPEXPIREAT", 10)
    argv[2] = journal_arg(digits, int64_to_chars(digits, when))
    journal_rewrite(c, c.argc, argv)
    zfree(c.engine.heap, argv)

# ---- setting -----------------------------------------------------------------------------------------

cdef struct expiring_t:  # HEXPIRE at work
    entry_t* entry
    int conditions
    int64_t when
    bint past


cdef int _expire_field(client_t* c, expiring_t* x, const arg_t* name) noexcept nogil:
    cdef hash_field_t field
    cdef bint removed
    if not hash_find(x.entry, name.ptr, name.len, members_clock(c), &field):
        return FIELD_ABSENT
    if not conditions_hold(field.expire_ms, x.conditions, x.when):
        return FIELD_REFUSED
    if x.past:
        x.entry = hash_remove(c.engine, x.entry, name.ptr, name.len, -1, &removed)
        return FIELD_REMOVED
    x.entry = hash_expire(c.engine, x.entry, name.ptr, name.len, x.when)
    return FIELD_DONE


cdef void _expire_fields(client_t* c, entry_t* old, expiring_t* x, int first, bint absolute) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef tell_t told
    cdef int i, done
    tell_init(&told, c)
    reply_array(c, c.argc - first)
    for i in range(first, c.argc):
        done = _expire_field(c, x, &c.argv[i])
        if done == FIELD_DONE or done == FIELD_REMOVED:
            tell_add(&told, &c.argv[i])
        reply_int(c, done)
    hash_stored(c, key, old, x.entry)
    if told.count and x.past:
        c.engine.stats.expired_fields += told.count
        tell_removed(&told)
        hash_changed(c, b"hexpired", key, told.count)
        delete_if_empty(c, key, hash_len(x.entry))
    elif told.count:
        if not absolute:
            _journal_absolute(c, x.when)
        hash_changed(c, b"hexpire", key, told.count)
    tell_free(&told)


cdef void _expire(client_t* c, int64_t base_ms, int64_t unit_ms) noexcept nogil:
    cdef int at = fields_clause(c, 3)
    cdef expiring_t x
    cdef entry_t* old
    cdef int _i
    x.conditions = 0
    if at and not conditions_or_reply(c, 3, at, &x.conditions):
        return
    if not fields_or_reply(c, at, 1, ERR_NUMFIELDS) or not time_or_reply(c, &c.argv[2], 0, base_ms, unit_ms, &x.when):
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if old == NULL:
        reply_array(c, c.argc - at - 2)
        for _i in range(at + 2, c.argc):
            reply_int(c, FIELD_ABSENT)
        return
    x.entry = old
    x.past = deadline_is_past(c, x.when)
    _expire_fields(c, old, &x, at + 2, base_ms == 0 and unit_ms == 1)


cdef void hexpire_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1000)


cdef void hpexpire_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1)


cdef void hexpireat_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1000)


cdef void hpexpireat_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1)

# ---- asking and removing -----------------------------------------------------------------------------

cdef void _ttl(client_t* c, bint absolute, bint seconds) noexcept nogil:
    cdef hash_field_t field
    cdef entry_t* entry
    cdef int i
    if not arg_is(&c.argv[2], b"fields"):
        reply_error(c, ERR_SYNTAX)
        return
    if not fields_or_reply(c, 2, 1, ERR_SYNTAX):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_HASH):
        return
    reply_array(c, c.argc - 4)
    for i in range(4, c.argc):
        if entry == NULL or not hash_find(entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &field):
            reply_int(c, FIELD_ABSENT)
        elif field.expire_ms < 0:
            reply_int(c, FIELD_FOREVER)
        else:
            reply_int(c, ttl_reply(c, field.expire_ms, absolute, seconds))


cdef void httl_command(client_t* c) noexcept nogil:
    _ttl(c, False, True)


cdef void hpttl_command(client_t* c) noexcept nogil:
    _ttl(c, False, False)


cdef void hexpiretime_command(client_t* c) noexcept nogil:
    _ttl(c, True, True)


cdef void hpexpiretime_command(client_t* c) noexcept nogil:
    _ttl(c, True, False)


cdef void hpersist_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef hash_field_t field
    cdef entry_t* entry
    cdef size_t changes = 0
    cdef int i
    if not arg_is(&c.argv[2], b"fields"):
        reply_error(c, ERR_SYNTAX)
        return
    if not fields_or_reply(c, 2, 1, ERR_NUMFIELDS):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_HASH):
        return
    reply_array(c, c.argc - 4)
    for i in range(4, c.argc):
        if entry == NULL or not hash_find(entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &field):
            reply_int(c, FIELD_ABSENT)
        elif field.expire_ms < 0:
            reply_int(c, FIELD_FOREVER)
        else:
            hash_expire(c.engine, entry, c.argv[i].ptr, c.argv[i].len, HASH_FOREVER)  # a table stays where it is
            changes += 1
            reply_int(c, FIELD_DONE)
    if changes:
        hash_stored(c, key, entry, entry)
        hash_changed(c, b"hpersist", key, changes)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_hash_expire(engine_t* e) except -1:
    cdef str about = "hash 9.0.0 O(N) where N is the number of specified fields."
    cdef str condition = " [condition(NX | XX | GT | LT)@9.0.0]"
    cdef str fields = " FIELDS fields{numfields:integer# field:string...}"
    command_row(e, hexpire_command, "hexpire", -6, "write fast", "hash", "1 RW update", about,
                "Gives fields of a hash a time to live in seconds.",
                "key:key seconds:integer [condition(NX | XX | GT | LT)]"
                " FIELDS fields{numfields:integer field:string...}")
    command_row(e, hpexpire_command, "hpexpire", -6, "write fast", "hash", "1 RW update", about,
                "Gives fields of a hash a time to live in milliseconds.",
                "key:key milliseconds:integer" + condition + fields)
    command_row(e, hexpireat_command, "hexpireat", -6, "write fast", "hash", "1 RW update", about,
                "Lets fields of a hash expire at a Unix time in seconds.",
                "key:key unix-time-seconds:integer" + condition + fields)
    command_row(e, hpexpireat_command, "hpexpireat", -6, "write fast", "hash", "1 RW update", about,
                "Lets fields of a hash expire at a Unix time in milliseconds.",
                "key:key unix-time-milliseconds:integer" + condition + fields)
    command_row(e, httl_command, "httl", -5, "readonly fast", "hash", "1 RO access", about,
                "Returns how many seconds fields of a hash have left to live.", "key:key" + fields)
    command_row(e, hpttl_command, "hpttl", -5, "readonly fast", "hash", "1 RO access", about,
                "Returns how many milliseconds fields of a hash have left to live.", "key:key" + fields)
    command_row(e, hexpiretime_command, "hexpiretime", -5, "readonly fast", "hash", "1 RO access", about,
                "Returns the Unix times in seconds at which fields of a hash expire.", "key:key" + fields)
    command_row(e, hpexpiretime_command, "hpexpiretime", -5, "readonly fast", "hash", "1 RO access", about,
                "Returns the Unix times in milliseconds at which fields of a hash expire.", "key:key" + fields)
    command_row(e, hpersist_command, "hpersist", -5, "write fast", "hash", "1 RW update", about,
                "Removes the times to live of fields of a hash.", "key:key" + fields)
    return 0
