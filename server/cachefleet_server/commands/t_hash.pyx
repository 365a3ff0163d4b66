"""Fields of hashes: set, read and removed, one or all."""

from cachefleet_server.commands.t_hash_number cimport register_hash_number
from cachefleet_server.commands.t_hash_several cimport register_hash_several
from cachefleet_server.commands.t_members cimport random_members, scan_members
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.hash_value cimport hash_remove, hash_write, hash_write_begin, hash_write_end
from cachefleet_server.core.members_walk cimport members_shown, members_walk_all, seen_fn, seen_t
from cachefleet_server.core.reply cimport (
    reply_array, reply_int, reply_map, reply_null, reply_ok, reply_wrong_arity)
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

# ---- setting -----------------------------------------------------------------------------------------

cdef int _set(client_t* c, arg_t* key, entry_t* old, const arg_t* words, int pairs, size_t* renewed) noexcept nogil:
    """How many fields are new, and how many of these were there, hidden."""
    cdef engine_t* e = c.engine
    cdef hash_write_t w
    cdef int created = 0
    cdef int i
    hash_write_begin(
        &w, e, old if old != NULL else hash_new(e, key.ptr, key.len), words, pairs, members_clock(c), HASH_FOREVER)
    for i in range(pairs):
        created += hash_write(&w, words[2 * i].ptr, words[2 * i].len, words[2 * i + 1].ptr, words[2 * i + 1].len)
    hash_stored(c, key, old, hash_write_end(&w))
    hash_renewed(c, key, w.renewed)
    hash_changed(c, b"hset", key, pairs)
    renewed[0] = w.renewed
    return created


cdef void _set_pairs(client_t* c, bint count) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old
    cdef size_t renewed
    cdef int created
    if c.argc & 1:
        reply_wrong_arity(c)
        return
    old = lookup_write(c, key)
    if not type_or_reply(c, old, OBJ_HASH):
        return
    created = _set(c, key, old, &c.argv[2], (c.argc - 2) // 2, &renewed)
    if count:
        reply_int(c, created)
    else:
        reply_ok(c)


cdef void hset_command(client_t* c) noexcept nogil:
    _set_pairs(c, True)


cdef void hmset_command(client_t* c) noexcept nogil:
    _set_pairs(c, False)


cdef void hsetnx_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef arg_t* name = &c.argv[2]
    cdef entry_t* old = lookup_write(c, key)
    cdef hash_field_t field
    cdef size_t renewed
    cdef arg_t argv[4]
    cdef int i
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if old != NULL and hash_find(old, name.ptr, name.len, members_clock(c), &field):
        reply_int(c, 0)
        return
    _set(c, key, old, name, 1, &renewed)
    if renewed:  # who follows hides nothing
        argv[0] = journal_arg(b"HSET", 4)
        for i in range(1, 4):
            argv[i] = c.argv[i]
        journal_rewrite(c, 4, argv)
    reply_int(c, 1)

# ---- reading -----------------------------------------------------------------------------------------

cdef void _reply_value(client_t* c, const entry_t* entry, const arg_t* name) noexcept nogil:
    cdef hash_field_t field
    if entry != NULL and hash_find(entry, name.ptr, name.len, members_clock(c), &field):
        reply_member(c, &field.value)
    else:
        reply_null(c)


cdef void hget_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_HASH):
        _reply_value(c, entry, &c.argv[2])


cdef void hmget_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef int i
    if not type_or_reply(c, entry, OBJ_HASH):
        return
    reply_array(c, c.argc - 2)
    for i in range(2, c.argc):
        _reply_value(c, entry, &c.argv[i])


cdef void hexists_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef hash_field_t field
    if type_or_reply(c, entry, OBJ_HASH):
        reply_int(c, entry != NULL and hash_find(entry, c.argv[2].ptr, c.argv[2].len, members_clock(c), &field))


cdef void hstrlen_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef char digits[INT64_CHARS_MAX]
    cdef hash_field_t field
    cdef size_t n = 0
    if not type_or_reply(c, entry, OBJ_HASH):
        return
    if entry != NULL and hash_find(entry, c.argv[2].ptr, c.argv[2].len, members_clock(c), &field):
        lp_text(&field.value, &digits[0], &n)
    reply_int(c, n)


cdef void hlen_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_HASH):
        reply_int(c, hash_len(entry) if entry != NULL else 0)


cdef void _reply_name(void* ctx, const seen_t* field) noexcept nogil:
    reply_member(<client_t*>ctx, &field.key)


cdef void _reply_value_of(void* ctx, const seen_t* field) noexcept nogil:
    reply_member(<client_t*>ctx, &field.value)


cdef void _reply_both(void* ctx, const seen_t* field) noexcept nogil:
    reply_member(<client_t*>ctx, &field.key)
    reply_member(<client_t*>ctx, &field.value)


cdef void _reply_whole(client_t* c, bint pairs, seen_fn fn) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef size_t n
    if not type_or_reply(c, entry, OBJ_HASH):
        return
    n = members_shown(entry, members_clock(c)) if entry != NULL else 0
    if pairs:
        reply_map(c, n)
    else:
        reply_array(c, n)
    if n:
        members_walk_all(entry, members_clock(c), fn, c)


cdef void hgetall_command(client_t* c) noexcept nogil:
    _reply_whole(c, True, _reply_both)


cdef void hkeys_command(client_t* c) noexcept nogil:
    _reply_whole(c, False, _reply_name)


cdef void hvals_command(client_t* c) noexcept nogil:
    _reply_whole(c, False, _reply_value_of)


cdef void _value_of(client_t* c, const seen_t* field) noexcept nogil:
    reply_member(c, &field.value)


cdef void hscan_command(client_t* c) noexcept nogil:
    scan_members(c, OBJ_HASH, _value_of)


cdef void hrandfield_command(client_t* c) noexcept nogil:
    random_members(c, OBJ_HASH, b"withvalues", _value_of)

# ---- removing ----------------------------------------------------------------------------------------

cdef void hdel_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry = old
    cdef size_t removed = 0
    cdef bint found
    cdef int i
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if old != NULL:
        for i in range(2, c.argc):
            entry = hash_remove(c.engine, entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &found)
            removed += found
            if hash_len(entry) == 0:
                break
        hash_emptied(c, b"hdel", key, old, entry, removed)
    reply_int(c, removed)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_writes(engine_t* e) except -1:
    command_row(e, hset_command, "hset", -4, "write denyoom fast", "hash", "1 RW update",
                "hash 2.0.0 O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command"
                " is called with multiple field/value pairs."
                "; history 4.0.0 Accepts multiple `field` and `value` arguments.",
                "Sets fields of a hash, which is created if need be.", "key:key data{field:string value:string}...")
    command_row(e, hmset_command, "hmset", -4, "write denyoom fast", "hash", "1 RW update",
                "hash 2.0.0 O(N) where N is the number of fields being set.",
                "Sets fields of a hash, which is created if need be.", "key:key data{field:string value:string}...")
    command_row(e, hsetnx_command, "hsetnx", 4, "write denyoom fast", "hash", "1 RW insert", "hash 2.0.0 O(1)",
                "Sets a field of a hash if the hash has no such field.", "key:key field:string value:string")
    command_row(e, hdel_command, "hdel", -3, "write fast", "hash", "1 RW delete",
                "hash 2.0.0 O(N) where N is the number of fields to be removed."
                "; history 2.4.0 Accepts multiple `field` arguments.",
                "Removes fields from a hash, and the hash with its last one.", "key:key field:string...")
    return 0


cdef int _register_whole(engine_t* e) except -1:
    cdef str about = "hash 2.0.0 O(N) where N is the size of the hash.; tips nondeterministic_output_order"
    command_row(e, hgetall_command, "hgetall", 2, "readonly", "hash", "1 RO access", about,
                "Returns all fields of a hash with their values.", "key:key")
    command_row(e, hkeys_command, "hkeys", 2, "readonly", "hash", "1 RO access", about,
                "Returns the names of all fields of a hash.", "key:key")
    command_row(e, hvals_command, "hvals", 2, "readonly", "hash", "1 RO access", about,
                "Returns the values of all fields of a hash.", "key:key")
    command_row(e, hscan_command, "hscan", -3, "readonly", "hash", "1 RO access",
                "hash 2.8.0 O(1) for every call. O(N) for a complete iteration, including enough command calls for the"
                " cursor to return back to 0. N is the number of elements inside the collection."
                "; tips nondeterministic_output",
                "Walks over the fields of a hash, a page a call.",
                "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]")
    command_row(e, hrandfield_command, "hrandfield", -2, "readonly", "hash", "1 RO access",
                "hash 6.2.0 O(N) where N is the number of fields returned; tips nondeterministic_output",
                "Returns random fields of a hash.", "key:key [options{count:integer [WITHVALUES]}]")
    return 0


cdef int register_hash(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    _register_writes(e)
    _register_whole(e)
    command_row(e, hget_command, "hget", 3, "readonly fast", "hash", "1 RO access", "hash 2.0.0 O(1)",
                "Returns the value of a field.", "key:key field:string")
    command_row(e, hmget_command, "hmget", -3, "readonly fast", "hash", "1 RO access",
                "hash 2.0.0 O(N) where N is the number of fields being requested.",
                "Returns the values of several fields.", "key:key field:string...")
    command_row(e, hexists_command, "hexists", 3, "readonly fast", "hash", "1 RO", "hash 2.0.0 O(1)",
                "Tells whether a hash has a field.", "key:key field:string")
    command_row(e, hlen_command, "hlen", 2, "readonly fast", "hash", "1 RO", "hash 2.0.0 O(1)",
                "Tells how many fields a hash has.", "key:key")
    command_row(e, hstrlen_command, "hstrlen", 3, "readonly fast", "hash", "1 RO", "hash 3.2.0 O(1)",
                "Tells how many bytes the value of a field has.", "key:key field:string")
    register_hash_number(e)
    return register_hash_several(e)
