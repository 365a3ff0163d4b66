"""HGETEX, HSETEX, HGETDEL.

Who follows is told what happened, without conditions and relative times: HGETEX as HPEXPIREAT, HPERSIST or HDEL; HSETEX
as itself with PXAT, or as HDEL where the time has passed. HGETDEL is told as it is.
"""

from libc.stdint cimport int64_t

from cachefleet_server.commands.expire_cmds cimport time_or_reply
from cachefleet_server.commands.t_hash cimport (
    HASH_FOREVER, HASH_KEEP, NOTIFY_HASH, OBJ_HASH, arg_t, client_t, delete_if_empty, entry_t, hash_changed,
    hash_emptied, hash_field_t, hash_find, hash_len, hash_new, hash_renewed, hash_stored, hash_write_t, lookup_write,
    members_clock, notify, reply_member, type_or_reply)
from cachefleet_server.commands.t_member_expire cimport (
    clause_at, names_or_reply, tell_add, tell_free, tell_init, tell_members, tell_removed, tell_t, timed_type)
from cachefleet_server.commands.t_string_options cimport (
    TTL_EX, TTL_EXAT, TTL_KEEP, TTL_NONE, TTL_PERSIST, TTL_PX, ttl_of)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.errors cimport ERR_SYNTAX
from cachefleet_server.core.hash_value cimport (
    hash_expire, hash_remove, hash_write, hash_write_begin, hash_write_end)
from cachefleet_server.core.options cimport (
    OPT_FNX, OPT_FXX, OPT_NX, OPT_XX, option_walk_t, options_begin, options_end, options_next)
from cachefleet_server.core.reply cimport arg_is, reply_array, reply_error, reply_int, reply_null
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport NOTIFY_GENERIC, signal_modified
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef struct several_t:  # what stands in front of FIELDS
    int key_condition  # OPT_NX, OPT_XX; 0: none
    int field_condition  # OPT_FNX, OPT_FXX
    int ttl  # TTL_*
    const arg_t* ttl_arg
    const arg_t* keep  # the word KEEPTTL
    int64_t expire_ms  # unix time, HASH_FOREVER, or HASH_KEEP
    bint past


cdef bint _take(int* kept, int option) noexcept nogil:
    """False: it contradicts what was said before."""
    cdef bint fine = kept[0] == 0 or kept[0] == option
    kept[0] = option
    return fine


cdef bint _take_option(several_t* o, const option_walk_t* w) noexcept nogil:
    cdef int ttl = ttl_of(w.option)
    if w.option == OPT_NX or w.option == OPT_XX:
        return _take(&o.key_condition, w.option)
    if w.option == OPT_FNX or w.option == OPT_FXX:
        return _take(&o.field_condition, w.option)
    if ttl == TTL_KEEP:
        o.keep = w.word
    elif ttl != TTL_PERSIST:
        o.ttl_arg = w.value
    return _take(&o.ttl, ttl)


cdef bint _options_or_reply(client_t* c, int at, int words, several_t* o) noexcept nogil:
    """All from argv[2] to the number of fields, but what the time is. False after replying an error."""
    cdef option_walk_t w
    o.key_condition = 0
    o.field_condition = 0
    o.ttl = TTL_NONE
    o.ttl_arg = NULL
    o.keep = NULL
    o.expire_ms = HASH_FOREVER
    o.past = False
    options_begin(&w, c, 2)
    while w.at < at and options_next(&w):
        w.failed = w.at > at or not _take_option(o, &w)
    if o.ttl == TTL_KEEP:
        o.expire_ms = HASH_KEEP
    return options_end(&w) and names_or_reply(c, at, words, timed_type(OBJ_HASH).wrong_number)


cdef bint _time_or_reply(client_t* c, several_t* o) noexcept nogil:
    cdef int64_t base_ms
    if o.ttl_arg == NULL:
        return True
    base_ms = c.engine.now_ms if o.ttl == TTL_EX or o.ttl == TTL_PX else 0
    if not time_or_reply(c, o.ttl_arg, 0, base_ms, 1000 if o.ttl == TTL_EX or o.ttl == TTL_EXAT else 1, &o.expire_ms):
        return False
    o.past = deadline_is_past(c, o.expire_ms)
    return True

# ---- HGETEX ------------------------------------------------------------------------------------------

cdef entry_t* _get_field(
    client_t* c, entry_t* entry, const arg_t* name, const several_t* o, tell_t* told
) noexcept nogil:
    cdef hash_field_t field
    cdef bint removed
    if entry == NULL or not hash_find(entry, name.ptr, name.len, members_clock(c), &field):
        reply_null(c)
        return entry
    reply_member(c, &field.value)
    if o.ttl == TTL_NONE or (o.ttl == TTL_PERSIST and field.expire_ms < 0):
        return entry
    tell_add(told, name)
    if o.past:
        return hash_remove(c.engine, entry, name.ptr, name.len, -1, &removed)
    return hash_expire(c.engine, entry, name.ptr, name.len, o.expire_ms)


cdef void _got(client_t* c, entry_t* old, entry_t* entry, const several_t* o, tell_t* told) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    hash_stored(c, key, old, entry)
    if o.past:
        c.engine.stats.expired_fields += told.count
        tell_removed(told)
        hash_emptied(c, b"hexpired", key, entry, entry, told.count)
    elif o.ttl == TTL_PERSIST:
        tell_members(told, b"HPERSIST", False, 0)
        hash_changed(c, b"hpersist", key, told.count)
    else:
        tell_members(told, b"HPEXPIREAT", True, o.expire_ms)
        hash_changed(c, b"hexpire", key, told.count)


cdef void hgetex_command(client_t* c) noexcept nogil:
    cdef int at = clause_at(c, timed_type(OBJ_HASH), 2)
    cdef several_t o
    cdef tell_t told
    cdef entry_t* old
    cdef entry_t* entry
    cdef int i
    if not _options_or_reply(c, at, 1, &o):
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_HASH) or not _time_or_reply(c, &o):
        return
    tell_init(&told, c, timed_type(OBJ_HASH))
    entry = old
    reply_array(c, c.argc - at - 2)
    for i in range(at + 2, c.argc):
        entry = _get_field(c, entry, &c.argv[i], &o, &told)
    if told.count:
        _got(c, old, entry, &o, &told)
    tell_free(&told)

# ---- HSETEX ------------------------------------------------------------------------------------------

cdef bint _may_set(client_t* c, const entry_t* entry, const several_t* o, int first) noexcept nogil:
    cdef hash_field_t field
    cdef bint there
    cdef int i
    if o.field_condition == 0:
        return True
    for i in range(first, c.argc, 2):
        there = entry != NULL and hash_find(entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &field)
        if there != (o.field_condition == OPT_FXX):
            return False
    return True


cdef void _set_past(client_t* c, entry_t* old, int first) noexcept nogil:
    """Fields whose time is over as they are set: they are gone."""
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = old
    cdef tell_t told
    cdef bint removed
    cdef int i
    tell_init(&told, c, timed_type(OBJ_HASH))
    if old != NULL:
        for i in range(first, c.argc, 2):
            entry = hash_remove(c.engine, entry, c.argv[i].ptr, c.argv[i].len, -1, &removed)
            if removed:
                tell_add(&told, &c.argv[i])
        hash_stored(c, key, old, entry)
    if told.count:
        tell_removed(&told)
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    notify(c.engine, NOTIFY_HASH, b"hset", key.ptr, key.len, c.db.id)
    notify(c.engine, NOTIFY_HASH, b"hexpire", key.ptr, key.len, c.db.id)
    notify(c.engine, NOTIFY_HASH, b"hexpired", key.ptr, key.len, c.db.id)
    c.engine.persist.dirty += told.count
    if old == NULL:
        notify(c.engine, NOTIFY_GENERIC, b"del", key.ptr, key.len, c.db.id)
    else:
        delete_if_empty(c, key, hash_len(entry))
    tell_free(&told)


cdef void _journal_set(client_t* c, const several_t* o, int at) noexcept nogil:
    """The command without its conditions, with an absolute time."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, (c.argc + 4) * sizeof(arg_t))
    cdef int n = 2
    cdef int i
    argv[0] = c.argv[0]
    argv[1] = c.argv[1]
    if o.keep != NULL:
        argv[2] = o.keep[0]
        n = 3
    elif o.ttl_arg != NULL:
        argv[2] = journal_arg(b"PXAT", 4)
        argv[3] = journal_arg(digits, int64_to_chars(digits, o.expire_ms))
        n = 4
    for i in range(at, c.argc):
        argv[n] = c.argv[i]
        n += 1
    journal_rewrite(c, n, argv)
    zfree(c.engine.heap, argv)


cdef void _set_fields(client_t* c, entry_t* old, const several_t* o, int at) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef int pairs = (c.argc - at - 2) // 2
    cdef arg_t* words = &c.argv[at + 2]
    cdef hash_write_t w
    cdef int i
    # Of no fields, so that their number does not count before they are there: a field that comes twice is one, as in
    # Valkey, which looks ahead for HSET alone.
    hash_write_begin(
        &w, c.engine, old if old != NULL else hash_new(c.engine, key.ptr, key.len), words, 0, members_clock(c),
        o.expire_ms)
    for i in range(pairs):
        hash_write(&w, words[2 * i].ptr, words[2 * i].len, words[2 * i + 1].ptr, words[2 * i + 1].len)
    hash_stored(c, key, old, hash_write_end(&w))
    hash_renewed(c, key, w.renewed)
    _journal_set(c, o, at)
    hash_changed(c, b"hset", key, pairs)
    if o.expire_ms >= 0:
        notify(c.engine, NOTIFY_HASH, b"hexpire", key.ptr, key.len, c.db.id)


cdef void hsetex_command(client_t* c) noexcept nogil:
    cdef int at = clause_at(c, timed_type(OBJ_HASH), 2)
    cdef several_t o
    cdef entry_t* old
    if not _options_or_reply(c, at, 2, &o):
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if o.key_condition and (old != NULL) != (o.key_condition == OPT_XX):
        reply_int(c, 0)
        return
    if not _time_or_reply(c, &o):
        return
    if not _may_set(c, old, &o, at + 2):
        reply_int(c, 0)
        return
    if o.past:
        _set_past(c, old, at + 2)
    else:
        _set_fields(c, old, &o, at)
    reply_int(c, 1)

# ---- HGETDEL -----------------------------------------------------------------------------------------

cdef void hgetdel_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef hash_field_t field
    cdef entry_t* old
    cdef entry_t* entry
    cdef size_t removed = 0
    cdef bint found
    cdef int i
    if not arg_is(&c.argv[2], b"fields"):
        reply_error(c, ERR_SYNTAX)
        return
    if not names_or_reply(c, 2, 1, timed_type(OBJ_HASH).wrong_number):
        return
    old = lookup_write(c, key)
    if not type_or_reply(c, old, OBJ_HASH):
        return
    entry = old
    reply_array(c, c.argc - 4)
    for i in range(4, c.argc):
        if entry == NULL or not hash_find(entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &field):
            reply_null(c)
            continue
        reply_member(c, &field.value)
        entry = hash_remove(c.engine, entry, c.argv[i].ptr, c.argv[i].len, -1, &found)
        removed += 1
    if removed:
        hash_emptied(c, b"hdel", key, old, entry, removed)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_hash_several(engine_t* e) except -1:
    cdef str about = "hash {} O(N) where N is the number of {}."
    cdef str times = ("EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time"
                      " | PXAT unix-time-milliseconds:unix-time")
    command_row(e, hgetex_command, "hgetex", -5, "write fast", "hash", "1 RW access update",
                about.format("9.0.0", "specified fields"),
                "Returns the values of fields of a hash and changes when they expire.",
                "key:key [expiration(" + times + " | PERSIST)] FIELDS fields{numfields:integer# field:string...}")
    command_row(e, hsetex_command, "hsetex", -6, "write denyoom fast", "hash", "1 RW insert",
                about.format("9.0.0", "specified fields"),
                "Sets fields of a hash and when they expire.",
                "key:key [key-condition(NX | XX)] [fields-condition(FNX | FXX)] [expiration(" + times + " | KEEPTTL)]"
                " FIELDS fields{numfields:integer# data{field:string value:string}...}")
    command_row(e, hgetdel_command, "hgetdel", -5, "write fast", "hash", "1 RW access delete",
                about.format("9.1.0", "fields to be retrieved and deleted"),
                "Returns the values of fields of a hash and removes them.",
                "key:key FIELDS fields{numfields:integer# field:string...}")
    return 0
