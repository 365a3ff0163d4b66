"""Members of sets: added, removed, moved, asked for, and drawn."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cachefleet_server.commands.t_members cimport (
    members_clock, members_purged, random_members, reply_member, scan_members)
from cachefleet_server.commands.t_set_algebra cimport register_set_algebra
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE, arg_t
from cachefleet_server.core.entry cimport ENC_HASHTABLE, OBJ_SET, entry_encoding
from cachefleet_server.core.members_walk cimport members_pick, members_random, members_shown, members_walk_all, seen_t
from cachefleet_server.core.reply cimport (
    arg_int64_from, reply_array, reply_bulk, reply_int, reply_null, reply_set, reply_syntax_error)
from cachefleet_server.core.set_value cimport (
    set_add, set_has, set_len, set_member, set_new, set_prepare, set_remove, set_to_listpack)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, NOTIFY_SET, db_delete, db_insert, db_replace, delete_if_empty, lookup_read, lookup_write,
    notify, signal_modified, type_or_reply)
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_rewrite, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.keyspace.member_expiry cimport members_settle

cdef extern from *:
    """
    #define ERR_MUST_BE_POSITIVE "ERR value is out of range, must be positive"
    """
    const char* ERR_MUST_BE_POSITIVE

cdef enum:
    JOURNAL_GROUP = 1024  # members of an SREM that stands for an SPOP
    SHRINK_SHARE = 5  # SPOP: what is left becomes a listpack if so many times as much goes


cdef inline void _member(const client_t* c, int i, lp_item_t* out) noexcept nogil:
    set_member(out, c.argv[i].ptr, c.argv[i].len)

# ---- adding and removing -----------------------------------------------------------------------------

cdef void sadd_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry
    cdef lp_item_t member
    cdef size_t count = 0
    cdef bint added
    cdef int i
    if not type_or_reply(c, old, OBJ_SET):
        return
    old = members_purged(c, key, old)
    if old == NULL:
        _member(c, 2, &member)
        entry = set_new(e, key.ptr, key.len, &member, c.argc - 2)
    else:
        entry = set_prepare(e, old, c.argc - 2)
    for i in range(2, c.argc):
        _member(c, i, &member)
        entry = set_add(e, entry, &member, &added)
        count += added
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
    if count:
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
        notify(e, NOTIFY_SET, b"sadd", key.ptr, key.len, c.db.id)
        e.persist.dirty += count
    reply_int(c, count)


cdef void _removed(client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t n) noexcept nogil:
    """After n > 0 members went."""
    db_replace(c.db, old, entry, key.hash)
    members_settle(c.db, entry, key.hash)
    notify(c.engine, NOTIFY_SET, event, key.ptr, key.len, c.db.id)
    delete_if_empty(c, key, set_len(entry))
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    c.engine.persist.dirty += n


cdef void srem_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry
    cdef lp_item_t member
    cdef size_t count = 0
    cdef bint removed
    cdef int i
    if not type_or_reply(c, old, OBJ_SET):
        return
    old = entry = members_purged(c, key, old)
    if old == NULL:
        reply_int(c, 0)
        return
    for i in range(2, c.argc):
        _member(c, i, &member)
        entry = set_remove(c.engine, entry, &member, &removed)
        count += removed
        if set_len(entry) == 0:
            break
    if count:
        _removed(c, b"srem", key, old, entry, count)
    reply_int(c, count)


cdef void _add_moved(client_t* c, arg_t* key, entry_t* old, const lp_item_t* member) noexcept nogil:
    """SMOVE's second half."""
    cdef engine_t* e = c.engine
    cdef entry_t* entry = old
    cdef bint added
    if old == NULL:
        entry = set_new(e, key.ptr, key.len, member, 1)
    entry = set_add(e, entry, member, &added)
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
    if added:
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
        notify(e, NOTIFY_SET, b"sadd", key.ptr, key.len, c.db.id)
        e.persist.dirty += 1


cdef void smove_command(client_t* c) noexcept nogil:
    cdef entry_t* source = lookup_write(c, &c.argv[1])
    cdef entry_t* target = lookup_write(c, &c.argv[2])
    cdef entry_t* entry
    cdef lp_item_t member
    cdef bint removed
    if source == NULL:
        reply_int(c, 0)
        return
    if not type_or_reply(c, source, OBJ_SET) or not type_or_reply(c, target, OBJ_SET):
        return
    _member(c, 3, &member)
    if source == target:
        reply_int(c, set_has(source, &member, members_clock(c)))
        return
    target = members_purged(c, &c.argv[2], target)
    source = members_purged(c, &c.argv[1], source)
    if source == NULL:
        reply_int(c, 0)
        return
    entry = set_remove(c.engine, source, &member, &removed)
    if removed:
        _removed(c, b"srem", &c.argv[1], source, entry, 1)
        _add_moved(c, &c.argv[2], target, &member)
    reply_int(c, removed)

# ---- reading -----------------------------------------------------------------------------------------

cdef void scard_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_SET):
        reply_int(c, set_len(entry) if entry != NULL else 0)


cdef void sismember_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef lp_item_t member
    if type_or_reply(c, entry, OBJ_SET):
        _member(c, 2, &member)
        reply_int(c, entry != NULL and set_has(entry, &member, members_clock(c)))


cdef void smismember_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef lp_item_t member
    cdef int i
    if not type_or_reply(c, entry, OBJ_SET):
        return
    reply_array(c, c.argc - 2)
    for i in range(2, c.argc):
        _member(c, i, &member)
        reply_int(c, entry != NULL and set_has(entry, &member, members_clock(c)))


cdef void _reply_one(void* ctx, const seen_t* seen) noexcept nogil:
    reply_member(<client_t*>ctx, &seen.key)


cdef void reply_whole_set(client_t* c, const entry_t* entry) noexcept nogil:
    reply_set(c, members_shown(entry, members_clock(c)) if entry != NULL else 0)
    if entry != NULL:
        members_walk_all(entry, members_clock(c), _reply_one, c)


cdef void smembers_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_SET):
        reply_whole_set(c, entry)


cdef void sscan_command(client_t* c) noexcept nogil:
    scan_members(c, OBJ_SET, NULL)


cdef void srandmember_command(client_t* c) noexcept nogil:
    random_members(c, OBJ_SET, NULL, NULL)

# ---- SPOP --------------------------------------------------------------------------------------------

cdef void _pop_one(client_t* c, arg_t* key, entry_t* old) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t argv[3]
    cdef entry_t* entry
    cdef seen_t seen
    cdef size_t n
    cdef const char* p
    cdef bint removed
    if not members_random(old, &c.engine.rng, -1, &seen):
        return
    p = lp_text(&seen.key, &digits[0], &n)
    reply_bulk(c, p, n)
    if c.engine.journal.enabled:
        argv[0] = journal_arg(b"SREM", 4)
        argv[1] = key[0]
        argv[2] = journal_arg(p, n)
        journal_rewrite(c, 3, argv)
    entry = set_remove(c.engine, old, &seen.key, &removed)
    _removed(c, b"spop", key, old, entry, 1)


cdef void _pop_all(client_t* c, arg_t* key, entry_t* entry) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef bint lazy = e.params.lazyfree_lazy_server_del
    cdef size_t count = set_len(entry)
    cdef arg_t argv[2]
    reply_whole_set(c, entry)
    notify(e, NOTIFY_SET, b"spop", key.ptr, key.len, c.db.id)
    db_delete(c.db, key.ptr, key.len, key.hash, lazy)
    notify(e, NOTIFY_GENERIC, b"del", key.ptr, key.len, c.db.id)
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    e.persist.dirty += count
    if e.journal.enabled:
        argv[0] = journal_arg(b"UNLINK", 6) if lazy else journal_arg(b"DEL", 3)
        argv[1] = key[0]
        journal_rewrite(c, 2, argv)


cdef struct popping_t:
    client_t* client
    buf_t texts  # of the members that go: a length and the bytes of each


cdef void _pop_this(void* ctx, const seen_t* seen) noexcept nogil:
    cdef popping_t* p = <popping_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* text = lp_text(&seen.key, &digits[0], &n)
    reply_bulk(p.client, text, n)
    buf_put(&p.texts, &n, sizeof(size_t))
    buf_put(&p.texts, text, n)


cdef entry_t* _remove_popped(client_t* c, arg_t* key, entry_t* entry, const buf_t* texts) noexcept nogil:
    """Takes them out of the set, and says so in the journal."""
    cdef arg_t argv[JOURNAL_GROUP + 2]
    cdef const char* p = texts.data
    cdef lp_item_t member
    cdef bint removed
    cdef size_t n
    cdef int argc = 2
    argv[0] = journal_arg(b"SREM", 4)
    argv[1] = key[0]
    while p < texts.data + texts.len:
        memcpy(&n, p, sizeof(size_t))
        p += sizeof(size_t)
        set_member(&member, p, n)
        entry = set_remove(c.engine, entry, &member, &removed)
        argv[argc] = journal_arg(p, n)
        argc += 1
        p += n
        if argc == JOURNAL_GROUP + 2 or p == texts.data + texts.len:
            journal_command(c.engine, c.db.id, argc, argv)
            argc = 2
    return entry


cdef void _pop_several(client_t* c, arg_t* key, entry_t* old, size_t count) noexcept nogil:
    """Fewer than all."""
    cdef engine_t* e = c.engine
    cdef popping_t p
    cdef entry_t* entry
    p.client = c
    buf_init(&p.texts, e.heap)
    reply_set(c, count)
    members_pick(e, old, count, -1, _pop_this, &p)
    journal_transaction_begin(e)
    entry = _remove_popped(c, key, old, &p.texts)
    journal_transaction_end(e)
    c.flags |= CLIENT_PREVENT_PROPAGATE
    buf_free(&p.texts)
    if entry_encoding(entry) == ENC_HASHTABLE and set_len(entry) * SHRINK_SHARE <= count:
        members_settle(c.db, entry, key.hash)  # the index of times goes with the table
        entry = set_to_listpack(e, entry)
    _removed(c, b"spop", key, old, entry, count)


cdef void spop_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef int64_t count = 1
    cdef entry_t* entry
    if c.argc > 3:
        reply_syntax_error(c)
        return
    if c.argc == 3 and not arg_int64_from(c, &c.argv[2], 0, &count, ERR_MUST_BE_POSITIVE):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_SET):
        return
    entry = members_purged(c, key, entry)
    if c.argc == 2:
        if entry != NULL:
            _pop_one(c, key, entry)
        else:
            reply_null(c)
    elif entry == NULL or count == 0:
        reply_set(c, 0)
    elif <size_t>count >= set_len(entry):
        _pop_all(c, key, entry)
    else:
        _pop_several(c, key, entry, count)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_reads(engine_t* e) except -1:
    command_row(e, scard_command, "scard", 2, "readonly fast", "set", "1 RO", "set 1.0.0 O(1)",
                "Returns how many members a set has.", "key:key")
    command_row(e, sismember_command, "sismember", 3, "readonly fast", "set", "1 RO", "set 1.0.0 O(1)",
                "Tells whether something is a member of a set.", "key:key member:string")
    command_row(e, smismember_command, "smismember", -3, "readonly fast", "set", "1 RO access",
                "set 6.2.0 O(N) where N is the number of elements being checked for membership",
                "Tells of each of several things whether it is a member of a set.", "key:key member:string...")
    command_row(e, smembers_command, "smembers", 2, "readonly", "set", "1 RO access",
                "set 1.0.0 O(N) where N is the set cardinality.; tips nondeterministic_output_order",
                "Returns all members of a set.", "key:key")
    command_row(e, srandmember_command, "srandmember", -2, "readonly", "set", "1 RO access",
                "set 1.0.0 Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed"
                " count.; tips nondeterministic_output; history 2.6.0 Added the optional `count` argument.",
                "Returns random members of a set.", "key:key [count:integer@2.6.0]")
    command_row(e, sscan_command, "sscan", -3, "readonly", "set", "1 RO access",
                "set 2.8.0 O(1) for every call. O(N) for a complete iteration, including enough command calls for the"
                " cursor to return back to 0. N is the number of elements inside the collection."
                "; tips nondeterministic_output",
                "Walks over the members of a set, a page a call.",
                "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]")
    return 0


cdef int register_set(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str members = "key:key member:string..."
    cdef str history = "; history 2.4.0 Accepts multiple `member` arguments."
    command_row(e, sadd_command, "sadd", -3, "write denyoom fast", "set", "1 RW insert",
                "set 1.0.0 O(1) for each element added, so O(N) to add N elements when the command is called with"
                " multiple arguments." + history,
                "Adds members to a set, which is created if need be.", members)
    command_row(e, srem_command, "srem", -3, "write fast", "set", "1 RW delete",
                "set 1.0.0 O(N) where N is the number of members to be removed." + history,
                "Removes members of a set.", members)
    command_row(e, smove_command, "smove", 4, "write fast", "set", "1 RW access delete;2 RW insert", "set 1.0.0 O(1)",
                "Moves a member from a set to another.", "source:key destination:key member:string")
    command_row(e, spop_command, "spop", -2, "write fast", "set", "1 RW access delete",
                "set 1.0.0 Without the count argument O(1), otherwise O(N) where N is the value of the passed count."
                "; tips nondeterministic_output; history 3.2.0 Added the `count` argument.",
                "Takes random members out of a set.", "key:key [count:integer@3.2.0]")
    _register_reads(e)
    return register_set_algebra(e)
