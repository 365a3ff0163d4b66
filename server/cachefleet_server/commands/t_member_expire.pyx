"""HEXPIRE and its family, of three types; EXPIREMEMBER. See t_member_expire.pxd.

As with keys: what sets a time ends in one absolute unix time in milliseconds, and is told as HPEXPIREAT (SPEXPIREAT,
ZPEXPIREAT) with it; a time that has passed removes the member at once, told as HDEL (SREM, ZREM). What happened to each
member is one integer of the reply.
"""

from libc.stdint cimport INT64_MIN
from libc.string cimport strlen

from cachefleet_server.commands.expire_cmds cimport conditions_hold, conditions_or_reply, time_or_reply, ttl_reply
from cachefleet_server.commands.t_members cimport members_clock, members_purged
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport OBJ_HASH, OBJ_SET, OBJ_ZSET, entry_type
from cachefleet_server.core.errors cimport ERR_SYNTAX, ERR_WRONGTYPE
from cachefleet_server.core.hash_value cimport hash_expire, hash_field_t, hash_find, hash_remove
from cachefleet_server.core.members_walk cimport members_count
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_array, reply_error, reply_int, reply_syntax_error, reply_wrong_arity)
from cachefleet_server.core.set_value cimport set_expire, set_find, set_member, set_remove
from cachefleet_server.core.zset_value cimport zset_expire, zset_find, zset_remove
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport (
    LOOKUP_NOTOUCH, NOTIFY_HASH, NOTIFY_SET, NOTIFY_ZSET, db_replace, delete_if_empty, lookup_flags, lookup_read,
    lookup_write, notify, signal_modified, type_or_reply)
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite
from cachefleet_server.keyspace.member_expiry cimport members_settle

cdef enum:  # replies, a member
    MEMBER_ABSENT = -2
    MEMBER_REFUSED = 0  # by a condition
    MEMBER_DONE = 1
    MEMBER_REMOVED = 2
    MEMBER_FOREVER = -1

# ---- the types ---------------------------------------------------------------------------------------

cdef bint _hash_find(const entry_t* entry, const arg_t* name, int64_t now_ms, int64_t* at_ms) noexcept nogil:
    cdef hash_field_t field
    if not hash_find(entry, name.ptr, name.len, now_ms, &field):
        return False
    at_ms[0] = field.expire_ms
    return True


cdef entry_t* _hash_expire(engine_t* e, entry_t* entry, const arg_t* name, int64_t at_ms) noexcept nogil:
    return hash_expire(e, entry, name.ptr, name.len, at_ms)


cdef entry_t* _hash_remove(engine_t* e, entry_t* entry, const arg_t* name) noexcept nogil:
    cdef bint removed
    return hash_remove(e, entry, name.ptr, name.len, -1, &removed)


cdef bint _set_find(const entry_t* entry, const arg_t* name, int64_t now_ms, int64_t* at_ms) noexcept nogil:
    cdef lp_item_t member
    set_member(&member, name.ptr, name.len)
    return set_find(entry, &member, now_ms, at_ms)


cdef entry_t* _set_expire(engine_t* e, entry_t* entry, const arg_t* name, int64_t at_ms) noexcept nogil:
    cdef lp_item_t member
    set_member(&member, name.ptr, name.len)
    return set_expire(e, entry, &member, at_ms)


cdef entry_t* _set_remove(engine_t* e, entry_t* entry, const arg_t* name) noexcept nogil:
    cdef lp_item_t member
    cdef bint removed
    set_member(&member, name.ptr, name.len)
    return set_remove(e, entry, &member, &removed)


cdef bint _zset_find(const entry_t* entry, const arg_t* name, int64_t now_ms, int64_t* at_ms) noexcept nogil:
    cdef double score
    return zset_find(entry, name.ptr, name.len, now_ms, &score, at_ms)


cdef entry_t* _zset_expire(engine_t* e, entry_t* entry, const arg_t* name, int64_t at_ms) noexcept nogil:
    return zset_expire(e, entry, name.ptr, name.len, at_ms)


cdef entry_t* _zset_remove(engine_t* e, entry_t* entry, const arg_t* name) noexcept nogil:
    cdef bint removed
    return zset_remove(e, entry, name.ptr, name.len, &removed)


cdef timed_type_t HASH, SET, ZSET  # constant after import

HASH.type = OBJ_HASH
HASH.event_class = NOTIFY_HASH
HASH.clause = b"FIELDS"
HASH.wrong_number = b"ERR numfields should be greater than 0 and match the provided number of fields"
HASH.remove = b"HDEL"
HASH.expire_at = b"HPEXPIREAT"
HASH.persist = b"HPERSIST"
HASH.expired_event = b"hexpired"
HASH.expire_event = b"hexpire"
HASH.persist_event = b"hpersist"
HASH.find_fn = _hash_find
HASH.expire_fn = _hash_expire
HASH.remove_fn = _hash_remove

SET.type = OBJ_SET
SET.event_class = NOTIFY_SET
SET.clause = b"MEMBERS"
SET.wrong_number = b"ERR nummembers should be greater than 0 and match the provided number of members"
SET.remove = b"SREM"
SET.expire_at = b"SPEXPIREAT"
SET.persist = b"SPERSIST"
SET.expired_event = b"sexpired"
SET.expire_event = b"sexpire"
SET.persist_event = b"spersist"
SET.find_fn = _set_find
SET.expire_fn = _set_expire
SET.remove_fn = _set_remove

ZSET = SET
ZSET.type = OBJ_ZSET
ZSET.event_class = NOTIFY_ZSET
ZSET.remove = b"ZREM"
ZSET.expire_at = b"ZPEXPIREAT"
ZSET.persist = b"ZPERSIST"
ZSET.expired_event = b"zexpired"
ZSET.expire_event = b"zexpire"
ZSET.persist_event = b"zpersist"
ZSET.find_fn = _zset_find
ZSET.expire_fn = _zset_expire
ZSET.remove_fn = _zset_remove


cdef const timed_type_t* timed_type(int type) noexcept nogil:
    return &HASH if type == OBJ_HASH else &SET if type == OBJ_SET else &ZSET if type == OBJ_ZSET else NULL


cdef inline const timed_type_t* _type_of(const client_t* c) noexcept nogil:
    """The type that the running command of the family is about: its name's first letter says it."""
    cdef char letter = c.cmd.name[0]
    return &HASH if letter == c"h" else &SET if letter == c"s" else &ZSET

# ---- arguments ---------------------------------------------------------------------------------------

cdef int clause_at(const client_t* c, const timed_type_t* type, int first) noexcept nogil:
    cdef int i
    for i in range(first, c.argc - 1):
        if arg_is(&c.argv[i], type.clause):
            return i
    return 0


cdef bint names_or_reply(client_t* c, int at, int words, const char* text) noexcept nogil:
    cdef int64_t n = 0
    if at and not arg_int64(c, &c.argv[at + 1], &n):
        return False
    if at and 0 < n <= c.argc and n * words == c.argc - at - 2:
        return True
    reply_error(c, text)
    return False


cdef bint _names_second_or_reply(client_t* c, const char* text) noexcept nogil:
    """Of the commands that take nothing in front of the clause."""
    if arg_is(&c.argv[2], _type_of(c).clause):
        return names_or_reply(c, 2, 1, text)
    reply_error(c, ERR_SYNTAX)
    return False

# ---- the journal, and who is interested ----------------------------------------------------------------

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
    head[0] = journal_arg(t.type.remove, strlen(t.type.remove))
    head[1] = t.client.argv[1]
    _tell(t, head, 2)


cdef void tell_members(tell_t* t, const char* command, bint timed, int64_t when) noexcept nogil:
    cdef char time_digits[INT64_CHARS_MAX]
    cdef char count_digits[INT64_CHARS_MAX]
    cdef arg_t head[TELL_HEAD_MAX]
    cdef int n = 2
    head[0] = journal_arg(command, strlen(command))
    head[1] = t.client.argv[1]
    if timed:
        head[2] = journal_arg(time_digits, int64_to_chars(time_digits, when))
        n = 3
    head[n] = journal_arg(t.type.clause, strlen(t.type.clause))
    head[n + 1] = journal_arg(count_digits, int64_to_chars(count_digits, t.count))
    _tell(t, head, n + 2)


cdef void _journal_absolute(client_t* c, const timed_type_t* type, int64_t when) noexcept nogil:
    """The command as HPEXPIREAT key when [condition ...] FIELDS n name ..."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, c.argc * sizeof(arg_t))
    cdef int i
    for i in range(c.argc):
        argv[i] = c.argv[i]
    argv[0] = journal_arg(type.expire_at, strlen(type.expire_at))
    argv[2] = journal_arg(digits, int64_to_chars(digits, when))
    journal_rewrite(c, c.argc, argv)
    zfree(c.engine.heap, argv)


cdef void _stored(client_t* c, const arg_t* key, entry_t* old, entry_t* entry) noexcept nogil:
    db_replace(c.db, old, entry, key.hash)
    members_settle(c.db, entry, key.hash)


cdef void _changed(
    client_t* c, const timed_type_t* type, const char* event, const arg_t* key, size_t changes
) noexcept nogil:
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    notify(c.engine, type.event_class, event, key.ptr, key.len, c.db.id)
    c.engine.persist.dirty += changes


cdef void _removed(client_t* c, arg_t* key, const entry_t* entry, tell_t* told) noexcept nogil:
    """Members were given a time that has passed."""
    c.engine.stats.expired_fields += told.count
    tell_removed(told)
    _changed(c, told.type, told.type.expired_event, key, told.count)
    delete_if_empty(c, key, members_count(entry))

# ---- setting -----------------------------------------------------------------------------------------

cdef struct setting_t:  # HEXPIRE at work
    const timed_type_t* type
    entry_t* entry
    int conditions
    int64_t when
    bint past


cdef int _expire_member(client_t* c, setting_t* x, const arg_t* name) noexcept nogil:
    cdef int64_t at_ms
    if not x.type.find_fn(x.entry, name, members_clock(c), &at_ms):
        return MEMBER_ABSENT
    if not conditions_hold(at_ms, x.conditions, x.when):
        return MEMBER_REFUSED
    if x.past:
        x.entry = x.type.remove_fn(c.engine, x.entry, name)
        return MEMBER_REMOVED
    x.entry = x.type.expire_fn(c.engine, x.entry, name, x.when)
    return MEMBER_DONE


cdef void _expire_members(client_t* c, entry_t* old, setting_t* x, int first, bint absolute) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef tell_t told
    cdef int i, done
    tell_init(&told, c, x.type)
    reply_array(c, c.argc - first)
    for i in range(first, c.argc):
        done = _expire_member(c, x, &c.argv[i])
        if done == MEMBER_DONE or done == MEMBER_REMOVED:
            tell_add(&told, &c.argv[i])
        reply_int(c, done)
    _stored(c, key, old, x.entry)
    if told.count and x.past:
        _removed(c, key, x.entry, &told)
    elif told.count:
        if not absolute:
            _journal_absolute(c, x.type, x.when)
        _changed(c, x.type, x.type.expire_event, key, told.count)
    tell_free(&told)


cdef void _expire(client_t* c, int64_t base_ms, int64_t unit_ms) noexcept nogil:
    cdef setting_t x
    cdef entry_t* old
    cdef int at, _i
    x.type = _type_of(c)
    x.conditions = 0
    at = clause_at(c, x.type, 3)
    if at and not conditions_or_reply(c, 3, at, &x.conditions):
        return
    if (not names_or_reply(c, at, 1, x.type.wrong_number)
            or not time_or_reply(c, &c.argv[2], 0, base_ms, unit_ms, &x.when)):
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, x.type.type):
        return
    old = members_purged(c, &c.argv[1], old)
    if old == NULL:
        reply_array(c, c.argc - at - 2)
        for _i in range(at + 2, c.argc):
            reply_int(c, MEMBER_ABSENT)
        return
    x.entry = old
    x.past = deadline_is_past(c, x.when)
    _expire_members(c, old, &x, at + 2, base_ms == 0 and unit_ms == 1)


cdef void expire_members_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1000)


cdef void pexpire_members_command(client_t* c) noexcept nogil:
    _expire(c, c.engine.now_ms, 1)


cdef void expireat_members_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1000)


cdef void pexpireat_members_command(client_t* c) noexcept nogil:
    _expire(c, 0, 1)

# ---- asking and removing -----------------------------------------------------------------------------

cdef void _ttl(client_t* c, bint absolute, bint seconds) noexcept nogil:
    cdef const timed_type_t* type = _type_of(c)
    cdef int64_t at_ms
    cdef entry_t* entry
    cdef int i
    if not _names_second_or_reply(c, ERR_SYNTAX):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, type.type):
        return
    reply_array(c, c.argc - 4)
    for i in range(4, c.argc):
        if entry == NULL or not type.find_fn(entry, &c.argv[i], members_clock(c), &at_ms):
            reply_int(c, MEMBER_ABSENT)
        elif at_ms < 0:
            reply_int(c, MEMBER_FOREVER)
        else:
            reply_int(c, ttl_reply(c, at_ms, absolute, seconds))


cdef void ttl_members_command(client_t* c) noexcept nogil:
    _ttl(c, False, True)


cdef void pttl_members_command(client_t* c) noexcept nogil:
    _ttl(c, False, False)


cdef void expiretime_members_command(client_t* c) noexcept nogil:
    _ttl(c, True, True)


cdef void pexpiretime_members_command(client_t* c) noexcept nogil:
    _ttl(c, True, False)


cdef int _persist_member(client_t* c, const timed_type_t* type, entry_t* entry, const arg_t* name) noexcept nogil:
    """What is said of it. A table stays where it is."""
    cdef int64_t at_ms
    if entry == NULL or not type.find_fn(entry, name, members_clock(c), &at_ms):
        return MEMBER_ABSENT
    if at_ms < 0:
        return MEMBER_FOREVER
    type.expire_fn(c.engine, entry, name, -1)
    return MEMBER_DONE


cdef void persist_members_command(client_t* c) noexcept nogil:
    cdef const timed_type_t* type = _type_of(c)
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry
    cdef size_t changes = 0
    cdef int i, done
    if not _names_second_or_reply(c, type.wrong_number):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, type.type):
        return
    entry = members_purged(c, key, entry)
    reply_array(c, c.argc - 4)
    for i in range(4, c.argc):
        done = _persist_member(c, type, entry, &c.argv[i])
        changes += done == MEMBER_DONE
        reply_int(c, done)
    if changes:
        _stored(c, key, entry, entry)
        _changed(c, type, type.persist_event, key, changes)

# ---- one member, of any of the types -------------------------------------------------------------------

cdef const timed_type_t* _type_or_reply(client_t* c, const entry_t* entry) noexcept nogil:
    cdef const timed_type_t* type = timed_type(entry_type(entry))
    if type == NULL:
        reply_error(c, ERR_WRONGTYPE)
    return type


cdef void _expire_one(client_t* c, int64_t base_ms, int64_t unit_ms) noexcept nogil:
    """key member time. A negative time has passed, as with EXPIRE."""
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old
    cdef setting_t x
    cdef tell_t told
    cdef int done
    if not time_or_reply(c, &c.argv[3], INT64_MIN, base_ms, unit_ms, &x.when):
        return
    old = lookup_write(c, key)
    if old != NULL:
        x.type = _type_or_reply(c, old)
        if x.type == NULL:
            return
        old = members_purged(c, key, old)
    if old == NULL:
        reply_int(c, 0)
        return
    x.entry = old
    x.conditions = 0
    x.past = deadline_is_past(c, x.when)
    x.when = max(x.when, <int64_t>0)
    done = _expire_member(c, &x, &c.argv[2])
    reply_int(c, done == MEMBER_DONE or done == MEMBER_REMOVED)
    if done == MEMBER_ABSENT:
        return
    tell_init(&told, c, x.type)
    tell_add(&told, &c.argv[2])
    _stored(c, key, old, x.entry)
    if x.past:
        _removed(c, key, x.entry, &told)
    else:
        tell_members(&told, x.type.expire_at, True, x.when)
        _changed(c, x.type, x.type.expire_event, key, 1)
    tell_free(&told)


cdef void expiremember_command(client_t* c) noexcept nogil:
    cdef bint in_ms = c.argc == 5 and arg_is(&c.argv[4], b"ms")
    if c.argc > 5:
        reply_wrong_arity(c)
    elif c.argc == 5 and not in_ms and not arg_is(&c.argv[4], b"s"):
        reply_syntax_error(c)
    else:
        _expire_one(c, c.engine.now_ms, 1 if in_ms else 1000)


cdef void expirememberat_command(client_t* c) noexcept nogil:
    _expire_one(c, 0, 1000)


cdef void pexpirememberat_command(client_t* c) noexcept nogil:
    _expire_one(c, 0, 1)


cdef void member_ttl(client_t* c, bint seconds) noexcept nogil:
    cdef entry_t* entry = lookup_flags(c, c.db, &c.argv[1], LOOKUP_NOTOUCH)
    cdef const timed_type_t* type
    cdef int64_t at_ms
    if entry == NULL:
        reply_int(c, MEMBER_ABSENT)
        return
    type = _type_or_reply(c, entry)
    if type == NULL:
        return
    if not type.find_fn(entry, &c.argv[2], members_clock(c), &at_ms):
        reply_int(c, MEMBER_ABSENT)
    elif at_ms < 0:
        reply_int(c, MEMBER_FOREVER)
    else:
        reply_int(c, ttl_reply(c, at_ms, False, seconds))


cdef void member_persist(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef const timed_type_t* type
    cdef tell_t told
    if entry == NULL:
        reply_int(c, 0)
        return
    type = _type_or_reply(c, entry)
    if type == NULL:
        return
    entry = members_purged(c, key, entry)
    if _persist_member(c, type, entry, &c.argv[2]) != MEMBER_DONE:
        reply_int(c, 0)
        return
    reply_int(c, 1)
    _stored(c, key, entry, entry)
    tell_init(&told, c, type)
    tell_add(&told, &c.argv[2])
    tell_members(&told, type.persist, False, 0)
    tell_free(&told)
    _changed(c, type, type.persist_event, key, 1)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_family(
    engine_t* e, str letter, str acl, str about, str whose, str condition, str names
) except -1:
    """condition, names: the syntax texts. As in Valkey, those of HEXPIRE itself are a little different."""
    cdef str seconds = "key:key seconds:integer [condition(NX | XX | GT | LT)]" + names.replace("#", "")
    command_row(e, expire_members_command, letter + "expire", -6, "write fast", acl, "1 RW update", about,
                f"Gives {whose} a time to live in seconds.", seconds)
    command_row(e, pexpire_members_command, letter + "pexpire", -6, "write fast", acl, "1 RW update", about,
                f"Gives {whose} a time to live in milliseconds.", "key:key milliseconds:integer" + condition + names)
    command_row(e, expireat_members_command, letter + "expireat", -6, "write fast", acl, "1 RW update", about,
                f"Lets {whose} expire at a Unix time in seconds.",
                "key:key unix-time-seconds:integer" + condition + names)
    command_row(e, pexpireat_members_command, letter + "pexpireat", -6, "write fast", acl, "1 RW update", about,
                f"Lets {whose} expire at a Unix time in milliseconds.",
                "key:key unix-time-milliseconds:integer" + condition + names)
    command_row(e, ttl_members_command, letter + "ttl", -5, "readonly fast", acl, "1 RO access", about,
                f"Returns how many seconds {whose} have left to live.", "key:key" + names)
    command_row(e, pttl_members_command, letter + "pttl", -5, "readonly fast", acl, "1 RO access", about,
                f"Returns how many milliseconds {whose} have left to live.", "key:key" + names)
    command_row(e, expiretime_members_command, letter + "expiretime", -5, "readonly fast", acl, "1 RO access", about,
                f"Returns the Unix times in seconds at which {whose} expire.", "key:key" + names)
    command_row(e, pexpiretime_members_command, letter + "pexpiretime", -5, "readonly fast", acl, "1 RO access", about,
                f"Returns the Unix times in milliseconds at which {whose} expire.", "key:key" + names)
    command_row(e, persist_members_command, letter + "persist", -5, "write fast", acl, "1 RW update", about,
                f"Removes the times to live of {whose}.", "key:key" + names)
    return 0


cdef int register_member_expire(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str one_of = " [condition(NX | XX | GT | LT)]"
    cdef str fields = " FIELDS fields{numfields:integer# field:string...}"
    cdef str members = " MEMBERS members{nummembers:integer# member:string...}"
    cdef str cost = " O(N) where N is the number of specified members."
    cdef str keydb = "generic 9.1.0 O(1), of a sorted set O(log(N))"
    _register_family(
        e, "h", "hash", "hash 9.0.0 O(N) where N is the number of specified fields.", "fields of a hash",
        " [condition(NX | XX | GT | LT)@9.0.0]", fields)
    _register_family(e, "s", "set", "set 9.1.0" + cost, "members of a set", one_of, members)
    _register_family(e, "z", "sortedset", "sorted-set 9.1.0" + cost, "members of a sorted set", one_of, members)
    command_row(e, expiremember_command, "expiremember", -4, "write fast", "keyspace", "1 RW update", keydb,
                "Gives a member of a hash, set or sorted set a time to live, in seconds unless the unit is ms.",
                "key:key member:string delay:integer [unit:string]")
    command_row(e, expirememberat_command, "expirememberat", 4, "write fast", "keyspace", "1 RW update", keydb,
                "Lets a member of a hash, set or sorted set expire at a Unix time in seconds.",
                "key:key member:string unix-time-seconds:unix-time")
    command_row(e, pexpirememberat_command, "pexpirememberat", 4, "write fast", "keyspace", "1 RW update", keydb,
                "Lets a member of a hash, set or sorted set expire at a Unix time in milliseconds.",
                "key:key member:string unix-time-milliseconds:unix-time")
    return 0
