"""Entries of streams: XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM; XSETID."""

from cachefleet_server.commands.t_stream_group cimport register_stream_group
from cachefleet_server.commands.t_stream_ids cimport add_words, add_words_t, arg_id, arg_range, journal_added
from cachefleet_server.commands.t_stream_idmp cimport (
    idmp_digest, idmp_is_duplicate, idmp_remember, register_stream_idmp)
from cachefleet_server.commands.t_stream_refs cimport (
    REFS_KEEP, REFS_NONE, register_stream_refs, removing_begin, removing_end, removing_t, removing_trim)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.core.entry cimport ENC_STREAM, entry_new_pointer
from cachefleet_server.core.options cimport OPT_ENTRIESADDED, option_walk_t, options_begin, options_end, options_next
from cachefleet_server.core.reply cimport (
    arg_int64, reply_error, reply_insert, reply_int, reply_mark, reply_null, reply_null_array, reply_ok,
    reply_shared, reply_wrong_arity)
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.idtree cimport sid_less
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.stream cimport (
    STREAM_BYTES_MAX, TRIM_NONE, stream_append, stream_delete, stream_edge, stream_field, stream_limits_t, stream_new,
    stream_next, stream_seek, stream_set_last, stream_trim)
from cachefleet_server.ds.stream_block cimport sblock_t
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.resp.writer cimport OUT_SHARE_MIN, mark_t

# ---- reading -------------------------------------------------------------------------------------------

cdef inline void _reply_word(client_t* c, const lp_item_t* item, sblock_t* block) noexcept nogil:
    """A long one is sent from its block, which has owners as a blob has, by its first word, and is freed as one."""
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    if cf_unlikely(item.str != NULL and item.len >= OUT_SHARE_MIN):
        reply_shared(c, <blob_t*>block, item.str, item.len)
        return
    p = lp_text(item, &digits[0], &n)
    reply_bulk(c, p, n)


cdef void reply_entry_parts(client_t* c, stream_iter_t* it) noexcept nogil:
    cdef lp_item_t name, value
    cdef size_t _
    reply_id(c, &it.entry.id)
    reply_array(c, 2 * it.entry.fields)
    for _ in range(it.entry.fields):
        stream_field(it, &name, &value)
        _reply_word(c, &name, it.block)
        _reply_word(c, &value, it.block)


cdef void reply_stream_entries(client_t* c, stream_iter_t* it, int64_t count) noexcept nogil:
    cdef mark_t header = reply_mark(c)
    cdef int64_t n = 0
    while True:
        reply_stream_entry(c, it)
        n += 1
        if n == count or not stream_next(it):
            break
    reply_insert(c, header, c"*", n)


cdef void reply_range(
    client_t* c, const stream_t* s, const sid_t* start, const sid_t* end, int64_t count, bint back
) noexcept nogil:
    cdef stream_iter_t it
    if stream_seek(&it, s, start, end, back) and stream_next(&it):
        reply_stream_entries(c, &it, count)
    else:
        reply_array(c, 0)


cdef void xlen_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_STREAM):
        reply_int(c, <int64_t>entry_stream(entry).length if entry != NULL else 0)


cdef void _range(client_t* c, bint back) noexcept nogil:
    cdef option_walk_t w
    cdef sid_t start, end
    cdef entry_t* entry
    cdef int64_t count = -1
    if not arg_range(c, &c.argv[3 if back else 2], &c.argv[2 if back else 3], &start, &end):
        return
    options_begin(&w, c, 4)
    while options_next(&w):
        if not arg_int64(c, w.value, &count):
            return
        count = max(count, <int64_t>0)
    if not options_end(&w):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_STREAM):
        return
    if entry == NULL:
        reply_array(c, 0)
    elif count == 0:
        reply_null_array(c)
    else:
        reply_range(c, entry_stream(entry), &start, &end, max(count, <int64_t>0), back)


cdef void xrange_command(client_t* c) noexcept nogil:
    _range(c, False)


cdef void xrevrange_command(client_t* c) noexcept nogil:
    _range(c, True)

# ---- adding --------------------------------------------------------------------------------------------

cdef entry_t* stream_create(client_t* c, arg_t* key) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef entry_t* entry = entry_new_pointer(e.heap, key.ptr, key.len, OBJ_STREAM, ENC_STREAM, stream_new(e.heap), -1)
    db_insert(c.db, entry, arg_hash(e, key))
    return entry


cdef bint _new_id(client_t* c, const add_words_t* words, const sid_t* last, sid_t* id) noexcept nogil:
    """False: there is none above the last."""
    if words.has_id:
        id[0] = words.id
        if words.auto_seq and last.ms == id.ms:
            if last.seq == <uint64_t>-1:
                return False
            id.seq = last.seq + 1
        return sid_less(last, id)
    id.ms = <uint64_t>c.engine.now_ms
    id.seq = 0
    if id.ms <= last.ms:
        id[0] = last[0]
        return sid_next(id)
    return True


cdef bint _is_too_large(client_t* c, int first) noexcept nogil:
    cdef size_t total = 0
    cdef int i
    for i in range(first, c.argc):
        total += c.argv[i].len
    return total > STREAM_BYTES_MAX


cdef bint _id_or_reply(client_t* c, const add_words_t* words, const entry_t* entry, sid_t* id) noexcept nogil:
    """The new entry's id, if all is well with it."""
    cdef sid_t last
    last.ms = 0
    last.seq = 0
    if entry != NULL:
        last = entry_stream(entry).last
    if last.ms == <uint64_t>-1 and last.seq == <uint64_t>-1:
        reply_error(c, b"ERR The stream has exhausted the last possible ID, unable to add more items")
    elif not _new_id(c, words, &last, id):
        reply_error(c, b"ERR The ID specified in XADD is equal or smaller than the target stream top item")
    elif _is_too_large(c, words.id_at + 1):
        reply_error(c, b"ERR Elements are too large to be stored")
    else:
        return True
    return False


cdef int64_t _trim_by_policy(client_t* c, const arg_t* key, stream_t* s, const add_words_t* words) noexcept nogil:
    """In the caller's transaction of the journal."""
    cdef removing_t r
    cdef int64_t removed
    removing_begin(&r, c, key, s, max(words.policy, <int>REFS_KEEP))
    removed = removing_trim(&r, &words.trim)
    if removed:
        notify(c.engine, NOTIFY_STREAM, b"xtrim", key.ptr, key.len, c.db.id)
    removing_end(&r)
    return removed


cdef void _journal_plainly(client_t* c, const add_words_t* words, const sid_t* id) noexcept nogil:
    """XADD without the words in front of the id, which are at least one."""
    cdef arg_t* argv = &c.argv[words.id_at - 2]  # which may be the key's place
    cdef arg_t[3] kept
    cdef arg_t name = c.argv[0]
    cdef arg_t key = c.argv[1]
    cdef char text[STREAM_ID_CHARS]
    cdef int i
    for i in range(3):
        kept[i] = argv[i]
    argv[0] = name
    argv[1] = key
    argv[2] = journal_arg(&text[0], sid_to_chars(id, c"-", &text[0]))
    journal_command(c.engine, c.db.id, c.argc - words.id_at + 2, argv)
    for i in range(3):
        argv[i] = kept[i]


cdef void _trim_and_journal(
    client_t* c, arg_t* key, stream_t* s, const add_words_t* words, const sid_t* id
) noexcept nogil:
    """After an entry was added."""
    if words.policy == REFS_NONE and words.idmp.producer == NULL:
        if words.trim.kind != TRIM_NONE and stream_trim(c.engine.heap, s, &words.trim):
            notify(c.engine, NOTIFY_STREAM, b"xtrim", key.ptr, key.len, c.db.id)
        journal_added(c, words, s, id)
        return
    journal_transaction_begin(c.engine)
    _journal_plainly(c, words, id)
    if words.idmp.producer != NULL:
        idmp_remember(c, key, s, &words.idmp, id)
    if words.trim.kind != TRIM_NONE:
        _trim_by_policy(c, key, s, words)
    journal_transaction_end(c.engine)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef void xadd_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef add_words_t words
    cdef stream_limits_t limits
    cdef entry_t* entry
    cdef stream_t* s
    cdef sid_t id
    cdef int fields
    if not add_words(c, True, &words):
        return
    fields = c.argc - words.id_at - 1
    if fields < 2 or fields % 2:
        reply_wrong_arity(c)
        return
    if words.has_id and not words.auto_seq and words.id.ms == 0 and words.id.seq == 0:
        reply_error(c, b"ERR The ID specified in XADD must be greater than 0-0")
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_STREAM):
        return
    if entry == NULL and words.no_create:
        reply_null(c)
        return
    if words.idmp.producer != NULL:
        idmp_digest(c, words.id_at + 1, &words.idmp)
        if entry != NULL and idmp_is_duplicate(c, stream_to_write(c, entry), &words.idmp, &id):
            reply_id(c, &id)
            return
    if not _id_or_reply(c, &words, entry, &id):
        return
    if entry == NULL:
        entry = stream_create(c, key)
    s = stream_to_write(c, entry)
    limits.bytes = <size_t>e.params.stream_node_max_bytes
    limits.entries = e.params.stream_node_max_entries
    stream_append(
        e.heap, s, &id, <const char*>&c.argv[words.id_at + 1], sizeof(arg_t), <size_t>fields // 2, &limits)
    reply_id(c, &id)
    key_changed(c, c.db, NOTIFY_STREAM, b"xadd", key)
    _trim_and_journal(c, key, s, &words, &id)

# ---- removing ------------------------------------------------------------------------------------------

cdef void xdel_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef stream_t* s
    cdef sid_t id
    cdef int64_t removed = 0
    cdef int i
    if not type_or_reply(c, entry, OBJ_STREAM):
        return
    if entry == NULL:
        reply_int(c, 0)
        return
    for i in range(2, c.argc):
        if not arg_id(c, &c.argv[i], 0, True, &id):
            return
    s = stream_to_write(c, entry)
    for i in range(2, c.argc):
        arg_id(c, &c.argv[i], 0, True, &id)
        removed += stream_delete(c.engine.heap, s, &id)
    if removed:
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
        notify(c.engine, NOTIFY_STREAM, b"xdel", key.ptr, key.len, c.db.id)
        c.engine.persist.dirty += removed
    reply_int(c, removed)


cdef void xtrim_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef add_words_t words
    cdef entry_t* entry
    cdef stream_t* s
    cdef int64_t removed
    if not add_words(c, False, &words):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_STREAM):
        return
    if entry == NULL:
        reply_int(c, 0)
        return
    s = stream_to_write(c, entry)
    if words.policy != REFS_NONE:
        journal_transaction_begin(c.engine)
        removed = _trim_by_policy(c, key, s, &words)
        journal_transaction_end(c.engine)
        c.flags |= CLIENT_PREVENT_PROPAGATE
    else:
        removed = stream_trim(c.engine.heap, s, &words.trim)
        if removed:
            notify(c.engine, NOTIFY_STREAM, b"xtrim", key.ptr, key.len, c.db.id)
            journal_added(c, &words, s, NULL)
    if removed:
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
        c.engine.persist.dirty += removed
    reply_int(c, removed)

# ---- numbers -------------------------------------------------------------------------------------------

cdef struct _numbers_t:  # of XSETID
    sid_t last
    sid_t max_deleted  # 0-0: not given
    int64_t added  # -1: not given


cdef bint _number_words(client_t* c, _numbers_t* out) noexcept nogil:
    cdef option_walk_t w
    out.added = -1
    out.max_deleted.ms = 0
    out.max_deleted.seq = 0
    if not arg_id(c, &c.argv[2], 0, True, &out.last):
        return False
    options_begin(&w, c, 3)
    while options_next(&w):
        if w.option == OPT_ENTRIESADDED:
            if not arg_int64(c, w.value, &out.added):
                return False
            if out.added < 0:
                reply_error(c, b"ERR entries_added must be positive")
                return False
        else:
            if not arg_id(c, w.value, 0, True, &out.max_deleted):
                return False
            if sid_less(&out.last, &out.max_deleted) and not c.role.errors_fatal:
                reply_error(c, b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
                return False
    return options_end(&w)


cdef const char* _numbers_refused(const client_t* c, const stream_t* s, const _numbers_t* new) noexcept nogil:
    """Why the stream cannot have them; NULL: it can. In an AOF the last id may be below that of an entry that was
    deleted: Redis 7.0 does not look."""
    cdef sid_t top
    stream_edge(s, True, &top)
    if sid_less(&new.last, &s.max_deleted) and not c.role.errors_fatal:
        return b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
    if sid_less(&new.last, &top):
        return b"ERR The ID specified in XSETID is smaller than the target stream top item"
    if s.length and new.added != -1 and s.length > <uint64_t>new.added:
        return b"ERR The entries_added specified in XSETID is smaller than the target stream length"
    return NULL


cdef void xsetid_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef _numbers_t new
    cdef entry_t* entry
    cdef stream_t* s
    cdef const char* refused
    if not _number_words(c, &new):
        return
    entry = stream_or_no_key(c, lookup_write(c, key))
    if entry == NULL:
        return
    refused = _numbers_refused(c, entry_stream(entry), &new)
    if refused != NULL:
        reply_error(c, refused)
        return
    s = stream_to_write(c, entry)
    stream_set_last(c.engine.heap, s, &new.last)
    if new.added != -1:
        s.added = <uint64_t>new.added
    if new.max_deleted.ms or new.max_deleted.seq:
        s.max_deleted = new.max_deleted
    reply_ok(c)
    notify(c.engine, NOTIFY_STREAM, b"xsetid", key.ptr, key.len, c.db.id)  # who watches the key is not told
    c.engine.persist.dirty += 1

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_stream(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str trim = ("trim{strategy(MAXLEN | MINID@6.2.0) [operator(equal== | approximately=~)] threshold:string"
                     " [LIMIT count:integer@6.2.0]}")
    cdef str policy = " [condition(KEEPREF | DELREF | ACKED)@8.2.0]"
    cdef str idmp = " [idmp(auto{IDMPAUTO pid:string} | given{IDMP pid:string iid:string})@8.6.0]"
    cdef str some = (" If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it"
                     " O(1).; history 6.2.0 Added exclusive ranges.")
    command_row(e, xadd_command, "xadd", -5, "write denyoom fast", "stream", "1 RW update",
                "stream 5.0.0 O(1) when adding a new entry, O(N) when trimming where N being the number of entries"
                " evicted.; tips nondeterministic_output; history 6.2.0 Added the `NOMKSTREAM` option, `MINID`"
                " trimming strategy and the `LIMIT` option.; history 7.0.0 Added support for the `<ms>-*` explicit ID"
                " form.",
                "Adds an entry to a stream, which is created if need be.",
                f"key:key [NOMKSTREAM@6.2.0]{policy}{idmp} [{trim}] id-selector(auto-id=* | id:string)"
                " data{field:string value:string}...")
    command_row(e, xlen_command, "xlen", 2, "readonly fast", "stream", "1 RO", "stream 5.0.0 O(1)",
                "Returns how many entries a stream has.", "key:key")
    command_row(e, xrange_command, "xrange", -4, "readonly", "stream", "1 RO access",
                "stream 5.0.0 O(N) with N being the number of elements being returned." + some,
                "Returns entries of a stream between two ids.",
                "key:key start:string end:string [COUNT count:integer]")
    command_row(e, xrevrange_command, "xrevrange", -4, "readonly", "stream", "1 RO access",
                "stream 5.0.0 O(N) with N being the number of elements returned." + some,
                "Returns entries of a stream between two ids, the last one first.",
                "key:key end:string start:string [COUNT count:integer]")
    command_row(e, xdel_command, "xdel", -3, "write fast", "stream", "1 RW delete",
                "stream 5.0.0 O(1) for each single item to delete in the stream, regardless of the stream size.",
                "Removes entries of a stream by their ids.", "key:key id:string...")
    command_row(e, xtrim_command, "xtrim", -4, "write", "stream", "1 RW delete",
                "stream 5.0.0 O(N), with N being the number of evicted entries. Constant times are very small however,"
                " since entries are organized in macro nodes containing multiple entries that can be released with a"
                " single deallocation.; tips nondeterministic_output; history 6.2.0 Added the `MINID` trimming"
                " strategy and the `LIMIT` option.",
                "Removes the oldest entries of a stream.", "key:key " + trim + policy)
    command_row(e, xsetid_command, "xsetid", -3, "write denyoom fast", "stream", "1 RW update",
                "stream 5.0.0 O(1); history 7.0.0 Added the `entries_added` and `max_deleted_entry_id` arguments.",
                "Sets a stream's last id, and what else is counted of it; for replication.",
                "key:key last-id:string [ENTRIESADDED entries-added:integer@7.0.0]"
                " [MAXDELETEDID max-deleted-id:string@7.0.0]")
    register_stream_refs(e)
    register_stream_idmp(e)
    return register_stream_group(e)
