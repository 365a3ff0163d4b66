"""Members of sorted sets by their names."""

from cachefleet_server.commands.t_members cimport random_members, scan_members
from cachefleet_server.commands.t_zset_algebra cimport register_zset_algebra
from cachefleet_server.commands.t_zset_pop cimport register_zset_pop
from cachefleet_server.commands.t_zset_range cimport register_zset_range
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport ENC_SKIPLIST, entry_encoding
from cachefleet_server.core.errors cimport ERR_NOT_FLOAT
from cachefleet_server.core.members_walk cimport seen_t
from cachefleet_server.core.options cimport (
    OPT_CH, OPT_GT, OPT_INCR, OPT_LT, OPT_NX, OPT_XX, option_walk_t, options_begin, options_next)
from cachefleet_server.core.reply cimport (
    arg_is, reply_array, reply_double, reply_error, reply_int, reply_null, reply_null_array, reply_syntax_error,
    reply_wrong_arity)
from cachefleet_server.core.zset_hidden cimport hidden_before, hidden_begin, hidden_end, zset_hidden_t
from cachefleet_server.core.zset_value cimport (
    ZADD_ADDED, ZADD_GT, ZADD_INCR, ZADD_LT, ZADD_NAN, ZADD_NX, ZADD_SAME, ZADD_UPDATED, ZADD_XX, zset_add, zset_new,
    zset_prepare, zset_rank, zset_remove, zset_score)
from cachefleet_server.ds.number cimport DOUBLE_CHARS_MAX, chars_to_double, double_to_17_digits, double_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport db_find
from cachefleet_server.keyspace.member_expiry cimport members_settle

cdef enum:
    SCORES_AT_HAND = 64  # pairs whose scores are kept on the stack


cdef void zset_removed(
    client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t changes
) noexcept nogil:
    cdef size_t left = zset_len(entry)
    db_replace(c.db, old, entry, key.hash)
    members_settle(c.db, entry, key.hash)
    notify(c.engine, NOTIFY_ZSET, event, key.ptr, key.len, c.db.id)
    delete_if_empty(c, key, left)
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    c.engine.persist.dirty += changes

# ---- adding ------------------------------------------------------------------------------------------

cdef bint _score_or_reply(client_t* c, const arg_t* a, double* score) noexcept nogil:
    if chars_to_double(a.ptr, a.len, score):
        return True
    reply_error(c, ERR_NOT_FLOAT)
    return False


cdef bint _options_or_reply(client_t* c, add_t* o) noexcept nogil:
    """Options end where the first word is none."""
    cdef option_walk_t w
    cdef int pairs
    o.flags = 0
    o.changed = False
    o.step = 2
    options_begin(&w, c, 2)
    while options_next(&w):
        if w.option == OPT_NX:
            o.flags |= ZADD_NX
        elif w.option == OPT_XX:
            o.flags |= ZADD_XX
        elif w.option == OPT_GT:
            o.flags |= ZADD_GT
        elif w.option == OPT_LT:
            o.flags |= ZADD_LT
        elif w.option == OPT_CH:
            o.changed = True
        elif w.option == OPT_INCR:
            o.flags |= ZADD_INCR
    o.first = w.at
    pairs = c.argc - o.first
    o.pairs = pairs // 2
    if pairs % 2 or pairs == 0:
        reply_syntax_error(c)
    elif o.flags & ZADD_NX and o.flags & ZADD_XX:
        reply_error(c, b"ERR XX and NX options at the same time are not compatible")
    elif (o.flags & ZADD_NX != 0) + (o.flags & ZADD_GT != 0) + (o.flags & ZADD_LT != 0) > 1:
        reply_error(c, b"ERR GT, LT, and/or NX options at the same time are not compatible")
    elif o.flags & ZADD_INCR and o.pairs > 1:
        reply_error(c, b"ERR INCR option supports a single increment-element pair")
    else:
        return True
    return False


cdef entry_t* _target(client_t* c, const add_t* o, entry_t* old) noexcept nogil:
    """The sorted set to add to, in the form that Valkey chooses before it adds."""
    cdef size_t longest = 0
    cdef int i
    for i in range(o.pairs):
        longest = max(longest, c.argv[o.first + o.step * (i + 1) - 1].len)
    if old == NULL:
        return zset_new(c.engine, c.argv[1].ptr, c.argv[1].len, o.pairs, longest)
    return zset_prepare(c.engine, old, o.pairs, longest)


cdef void _add_all(client_t* c, const add_t* o, double* scores, entry_t* old) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = _target(c, o, old)
    cdef const arg_t* member
    cdef size_t added = 0
    cdef size_t updated = 0
    cdef int done = ZADD_SAME
    cdef int i
    for i in range(o.pairs):
        member = &c.argv[o.first + o.step * (i + 1) - 1]
        entry = zset_add(c.engine, entry, member.ptr, member.len, &scores[i], o.flags, &done)
        added += done == ZADD_ADDED
        updated += done == ZADD_UPDATED
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
    if done == ZADD_NAN:
        reply_error(c, b"ERR resulting score is not a number (NaN)")
    elif not o.flags & ZADD_INCR:
        reply_int(c, added + updated if o.changed else added)
    elif done >= ZADD_SAME:
        reply_double(c, scores[0])
    else:
        reply_null(c)
    if added + updated:
        zset_changed(c, b"zincr" if o.flags & ZADD_INCR else b"zadd", key, added + updated)


cdef void zset_add_scored(client_t* c, const add_t* o, double* scores) noexcept nogil:
    cdef entry_t* old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_ZSET):
        return
    old = members_purged(c, &c.argv[1], old)
    if old != NULL or not o.flags & ZADD_XX:
        _add_all(c, o, scores, old)
    elif o.flags & ZADD_INCR:
        reply_null(c)
    else:
        reply_int(c, 0)


cdef void _add(client_t* c, const add_t* o) noexcept nogil:
    cdef double at_hand[SCORES_AT_HAND]
    cdef double* scores = at_hand
    cdef int i
    cdef bint fine = True
    if o.pairs > SCORES_AT_HAND:
        scores = <double*>zmalloc(c.engine.heap, o.pairs * sizeof(double))
    for i in range(o.pairs):
        fine = _score_or_reply(c, &c.argv[o.first + o.step * i], &scores[i])
        if not fine:
            break
    if fine:
        zset_add_scored(c, o, scores)
    if scores != at_hand:
        zfree(c.engine.heap, scores)


cdef void zadd_command(client_t* c) noexcept nogil:
    cdef add_t o
    if _options_or_reply(c, &o):
        _add(c, &o)


cdef bint _is_option(const arg_t* a) noexcept nogil:
    """One of ZADD's."""
    return (arg_is(a, b"nx") or arg_is(a, b"xx") or arg_is(a, b"gt") or arg_is(a, b"lt") or arg_is(a, b"ch")
            or arg_is(a, b"incr"))


cdef void zincrby_command(client_t* c) noexcept nogil:
    """To Valkey it is a ZADD, whose options may stand in the increment's place: nothing is left for a pair then."""
    cdef add_t o
    if c.argv[2].len <= 4 and _is_option(&c.argv[2]):
        reply_syntax_error(c)
        return
    o.flags = ZADD_INCR
    o.changed = False
    o.first = 2
    o.step = 2
    o.pairs = 1
    _add(c, &o)

# ---- removing ----------------------------------------------------------------------------------------

cdef void zrem_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry
    cdef size_t count = 0
    cdef bint removed = False
    cdef int i
    if not type_or_reply(c, old, OBJ_ZSET):
        return
    old = entry = members_purged(c, key, old)
    if old != NULL:
        for i in range(2, c.argc):
            entry = zset_remove(c.engine, entry, c.argv[i].ptr, c.argv[i].len, &removed)
            count += removed
            if removed and zset_len(entry) == 0:
                break
        if count:
            zset_removed(c, b"zrem", key, old, entry, count)
    reply_int(c, count)

# ---- reading -----------------------------------------------------------------------------------------

cdef void zcard_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_ZSET):
        reply_int(c, zset_len(entry) if entry != NULL else 0)


cdef void _reply_score(client_t* c, const entry_t* entry, const arg_t* member) noexcept nogil:
    cdef double score
    if entry != NULL and zset_score(entry, member.ptr, member.len, members_clock(c), &score):
        reply_double(c, score)
    else:
        reply_null(c)


cdef void zscore_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_ZSET):
        _reply_score(c, entry, &c.argv[2])


cdef void zmscore_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef int i
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    reply_array(c, c.argc - 2)
    for i in range(2, c.argc):
        _reply_score(c, entry, &c.argv[i])


cdef void _rank(client_t* c, bint back) noexcept nogil:
    cdef const arg_t* member = &c.argv[2]
    cdef bint with_score = c.argc == 4
    cdef entry_t* entry
    cdef zset_hidden_t hidden
    cdef size_t rank
    cdef double score
    if c.argc > 4:
        reply_wrong_arity(c)
        return
    if with_score and not arg_is(&c.argv[3], b"withscore"):
        reply_syntax_error(c)
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    if entry != NULL and zset_rank(entry, member.ptr, member.len, members_clock(c), &rank, &score):
        hidden_begin(&hidden, c.engine, entry, members_clock(c))
        rank -= hidden_before(&hidden, rank)
        if back:
            rank = zset_len(entry) - hidden.count - 1 - rank
        hidden_end(&hidden)
        if with_score:
            reply_array(c, 2)
        reply_int(c, rank)
        if with_score:
            reply_double(c, score)
    elif with_score:
        reply_null_array(c)
    else:
        reply_null(c)


cdef void zrank_command(client_t* c) noexcept nogil:
    _rank(c, False)


cdef void zrevrank_command(client_t* c) noexcept nogil:
    _rank(c, True)

# ---- some of them ------------------------------------------------------------------------------------

cdef void _reply_seen_score(client_t* c, const seen_t* seen) noexcept nogil:
    reply_double(c, seen.score)


cdef void zrandmember_command(client_t* c) noexcept nogil:
    random_members(c, OBJ_ZSET, b"withscores", _reply_seen_score)


cdef void _reply_seen_text(client_t* c, const seen_t* seen) noexcept nogil:
    cdef char text[DOUBLE_CHARS_MAX]
    reply_bulk(c, text, double_to_chars(text, seen.score))


cdef void _reply_seen_digits(client_t* c, const seen_t* seen) noexcept nogil:
    cdef char text[DOUBLE_CHARS_MAX]
    reply_bulk(c, text, double_to_17_digits(text, seen.score))


cdef void zscan_command(client_t* c) noexcept nogil:
    """Scores are strings here, and those of a large sorted set are printed in another way, as in Valkey."""
    cdef arg_t* key = &c.argv[1]
    cdef const entry_t* entry = db_find(c.db, key.ptr, key.len, arg_hash(c.engine, key))
    cdef bint large = entry != NULL and entry_encoding(entry) == ENC_SKIPLIST
    scan_members(c, OBJ_ZSET, _reply_seen_digits if large else _reply_seen_text)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_reads(engine_t* e) except -1:
    cdef str rank = "sorted-set 2.0.0 O(log(N)); history 7.2.0 Added the optional `WITHSCORE` argument."
    command_row(e, zcard_command, "zcard", 2, "readonly fast", "sortedset", "1 RO", "sorted-set 1.2.0 O(1)",
                "Returns how many members a sorted set has.", "key:key")
    command_row(e, zscore_command, "zscore", 3, "readonly fast", "sortedset", "1 RO access", "sorted-set 1.2.0 O(1)",
                "Returns a member's score.", "key:key member:string")
    command_row(e, zmscore_command, "zmscore", -3, "readonly fast", "sortedset", "1 RO access",
                "sorted-set 6.2.0 O(N) where N is the number of members being requested.",
                "Returns the scores of several members.", "key:key member:string...")
    command_row(e, zrank_command, "zrank", -3, "readonly fast", "sortedset", "1 RO access", rank,
                "Returns how many members are in front of a member, and its score.",
                "key:key member:string [WITHSCORE]")
    command_row(e, zrevrank_command, "zrevrank", -3, "readonly fast", "sortedset", "1 RO access", rank,
                "Returns how many members are behind a member, and its score.",
                "key:key member:string [WITHSCORE]")
    command_row(e, zrandmember_command, "zrandmember", -2, "readonly", "sortedset", "1 RO access",
                "sorted-set 6.2.0 O(N) where N is the number of members returned; tips nondeterministic_output",
                "Returns random members.", "key:key [options{count:integer [WITHSCORES]}]")
    command_row(e, zscan_command, "zscan", -3, "readonly", "sortedset", "1 RO access",
                "sorted-set 2.8.0 O(1) for every call. O(N) for a complete iteration, including enough command calls"
                " for the cursor to return back to 0. N is the number of elements inside the collection."
                "; tips nondeterministic_output; history 8.0.0 Added noscores option.",
                "Walks over the members of a sorted set, a page a call.",
                "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOSCORES]")
    return 0


cdef int register_zset(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, zadd_command, "zadd", -4, "write denyoom fast", "sortedset", "1 RW update",
                "sorted-set 1.2.0 O(log(N)) for each item added, where N is the number of elements in the sorted set."
                "; history 2.4.0 Accepts multiple elements."
                "; history 3.0.2 Added the `XX`, `NX`, `CH` and `INCR` options."
                "; history 6.2.0 Added the `GT` and `LT` options.",
                "Adds members with their scores to a sorted set, or changes their scores.",
                "key:key [condition(NX | XX)@3.0.2] [comparison(GT | LT)@6.2.0] [change=CH@3.0.2]"
                " [increment=INCR@3.0.2] data{score:double member:string}...")
    command_row(e, zincrby_command, "zincrby", 4, "write denyoom fast", "sortedset", "1 RW access update",
                "sorted-set 1.2.0 O(log(N)) where N is the number of elements in the sorted set.",
                "Adds to a member's score.", "key:key increment:integer member:string")
    command_row(e, zrem_command, "zrem", -3, "write fast", "sortedset", "1 RW delete",
                "sorted-set 1.2.0 O(M*log(N)) with N being the number of elements in the sorted set and M the number"
                " of elements to be removed.; history 2.4.0 Accepts multiple elements.",
                "Takes members out of a sorted set.", "key:key member:string...")
    _register_reads(e)
    register_zset_range(e)
    register_zset_algebra(e)
    return register_zset_pop(e)
