"""See t_stream_refs.pxd."""

from libc.stdint cimport uint32_t
from libc.string cimport memset, strlen

from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_group cimport group_lookup, group_t
from cachefleet_server.commands.t_stream_ids cimport arg_id
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.core.reply cimport arg_is, reply_error, reply_int, reply_syntax_error
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put
from cachefleet_server.ds.idtree cimport sid_less
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.stream cimport (
    TRIM_MAXLEN, stream_acknowledge, stream_delete, stream_has, stream_is_needed, stream_next, stream_seek)
from cachefleet_server.keyspace.db cimport db_will_change
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_transaction_begin, journal_transaction_end)

cdef enum:
    JOURNAL_IDS = 64  # of a command in the journal

cdef struct _forgotten_t:
    sid_t id
    uint32_t place  # of the group


cdef int arg_policy(const arg_t* a) noexcept nogil:
    if arg_is(a, b"KEEPREF"):
        return REFS_KEEP
    if arg_is(a, b"DELREF"):
        return REFS_DELETE
    return REFS_ACKED if arg_is(a, b"ACKED") else REFS_NONE

# ---- removing ------------------------------------------------------------------------------------------

cdef void removing_begin(removing_t* r, client_t* c, const arg_t* key, stream_t* s, int policy) noexcept nogil:
    r.client = c
    r.key = key
    r.stream = s
    r.policy = policy
    buf_init(&r.gone, c.engine.heap)
    buf_init(&r.forgotten, c.engine.heap)


cdef bint _forget(removing_t* r, uint32_t place, const sid_t* id) noexcept nogil:
    """In one group; false: it is not pending there."""
    cdef _forgotten_t one
    if not stream_acknowledge(r.client.engine.heap, r.stream, place, id):
        return False
    memset(&one, 0, sizeof(_forgotten_t))
    one.id = id[0]
    one.place = place
    buf_put(&r.forgotten, &one, sizeof(_forgotten_t))
    return True


cdef int removing_entry(removing_t* r, const sid_t* id) noexcept nogil:
    cdef uint32_t i
    if r.policy == REFS_DELETE:
        for i in range(r.stream.group_count):
            _forget(r, i, id)
    elif r.policy == REFS_ACKED and stream_is_needed(r.stream, id):
        return REMOVED_NOT if stream_has(r.stream, id) else REMOVED_NONE
    if not stream_delete(r.client.engine.heap, r.stream, id):
        return REMOVED_NONE
    buf_put(&r.gone, id, sizeof(sid_t))
    return REMOVED


cdef int64_t removing_trim(removing_t* r, const stream_trim_t* rule) noexcept nogil:
    cdef stream_t* s = r.stream
    cdef sid_t start, end
    cdef int64_t removed = 0
    cdef int64_t looked = 0
    cdef stream_iter_t it
    memset(&start, 0, sizeof(sid_t))
    memset(&end, 0xFF, sizeof(sid_t))
    while rule.limit == 0 or looked < rule.limit:
        if rule.kind == TRIM_MAXLEN and <int64_t>s.length <= rule.length:
            break
        if not stream_seek(&it, s, &start, &end, False) or not stream_next(&it):
            break
        if rule.kind != TRIM_MAXLEN and not sid_less(&it.entry.id, &rule.id):
            break
        start = it.entry.id
        removed += removing_entry(r, &start) == REMOVED
        looked += 1
        if not sid_next(&start):
            break
    return removed

# ---- in the journal ------------------------------------------------------------------------------------

cdef void _journal_ids(
    removing_t* r, const char* name, uint32_t place, const char* ids, size_t stride, size_t n
) noexcept nogil:
    """A command with n ids, `stride` bytes apart; of a group, XACK."""
    cdef arg_t argv[JOURNAL_IDS + 3]
    cdef char texts[JOURNAL_IDS][STREAM_ID_CHARS]
    cdef int argc = 2
    cdef size_t i
    argv[0] = journal_arg(name, strlen(name))
    argv[1] = r.key[0]
    if name[1] == c"A":
        argv[2] = journal_arg(&r.stream.groups[place].name[0], r.stream.groups[place].name_len)
        argc = 3
    for i in range(n):
        argv[argc] = journal_arg(&texts[i][0], sid_to_chars(<const sid_t*>(ids + i * stride), c"-", &texts[i][0]))
        argc += 1
    journal_command(r.client.engine, r.client.db.id, argc, argv)


cdef void _journal_forgotten(removing_t* r) noexcept nogil:
    """Those of a group that follow each other are one command."""
    cdef const _forgotten_t* one = <const _forgotten_t*>r.forgotten.data
    cdef size_t n = r.forgotten.len // sizeof(_forgotten_t)
    cdef size_t i = 0
    cdef size_t j
    while i < n:
        j = i + 1
        while j < n and j - i < JOURNAL_IDS and one[j].place == one[i].place:
            j += 1
        _journal_ids(r, b"XACK", one[i].place, <const char*>&one[i], sizeof(_forgotten_t), j - i)
        i = j


cdef void removing_end(removing_t* r) noexcept nogil:
    cdef size_t n = r.gone.len // sizeof(sid_t)
    cdef size_t i = 0
    cdef size_t some
    if r.client.engine.journal.enabled:
        _journal_forgotten(r)
        while i < n:
            some = min(n - i, <size_t>JOURNAL_IDS)
            _journal_ids(r, b"XDEL", 0, r.gone.data + i * sizeof(sid_t), sizeof(sid_t), some)
            i += some
    buf_free(&r.gone)
    buf_free(&r.forgotten)

# ---- commands ------------------------------------------------------------------------------------------

cdef struct _words_t:
    int policy
    arg_t* ids
    int count


cdef bint _ids(client_t* c, int* at, _words_t* out) noexcept nogil:
    """Behind IDS."""
    cdef int64_t n
    cdef sid_t id
    cdef int i
    if not chars_to_int64(c.argv[at[0]].ptr, c.argv[at[0]].len, &n) or n <= 0:
        reply_error(c, b"ERR Number of IDs must be a positive integer")
        return False
    if n > c.argc - at[0] - 1:
        reply_error(c, b"ERR The `numids` parameter must match the number of arguments")
        return False
    out.ids = &c.argv[at[0] + 1]
    out.count = <int>n
    for i in range(out.count):
        if not arg_id(c, &out.ids[i], 0, True, &id):
            return False
    at[0] += 1 + out.count
    return True


cdef bint _words(client_t* c, int at, _words_t* out) noexcept nogil:
    cdef int policy
    out.policy = REFS_NONE
    out.ids = NULL
    while at < c.argc:
        policy = arg_policy(&c.argv[at])
        if policy != REFS_NONE and out.policy == REFS_NONE:
            out.policy = policy
            at += 1
        elif out.ids == NULL and arg_is(&c.argv[at], b"IDS") and at + 1 < c.argc:
            at += 1
            if not _ids(c, &at, out):
                return False
        else:
            reply_syntax_error(c)
            return False
    if out.ids == NULL:
        reply_syntax_error(c)
        return False
    out.policy = max(out.policy, <int>REFS_KEEP)
    return True


cdef void _reply_none(client_t* c, int count) noexcept nogil:
    reply_array(c, count)
    for _ in range(count):
        reply_int(c, REMOVED_NONE)


cdef void _ended(removing_t* r, size_t acknowledged) noexcept nogil:
    """Events and counts of what was done."""
    cdef client_t* c = r.client
    cdef size_t gone = r.gone.len // sizeof(sid_t)
    removing_end(r)
    if gone:
        signal_modified(c, c.db, r.key.ptr, r.key.len, r.key.hash)
        notify(c.engine, NOTIFY_STREAM, b"xdel", r.key.ptr, r.key.len, c.db.id)
    c.engine.persist.dirty += gone + acknowledged


cdef void xdelex_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef _words_t w
    cdef entry_t* entry
    cdef removing_t r
    cdef sid_t id
    cdef int i
    if not _words(c, 2, &w):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_STREAM):
        return
    if entry == NULL:
        _reply_none(c, w.count)
        return
    journal_transaction_begin(c.engine)
    removing_begin(&r, c, key, stream_to_write(c, entry), w.policy)
    reply_array(c, w.count)
    for i in range(w.count):
        arg_id(c, &w.ids[i], 0, True, &id)
        reply_int(c, removing_entry(&r, &id))
    _ended(&r, r.forgotten.len // sizeof(_forgotten_t))
    journal_transaction_end(c.engine)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef int _acknowledge(removing_t* r, uint32_t place, const sid_t* id) noexcept nogil:
    """And remove it, if it was pending there."""
    if not _forget(r, place, id):
        return REMOVED_NONE
    # What had been deleted before is acknowledged and gone, too.
    return REMOVED_NOT if removing_entry(r, id) == REMOVED_NOT else REMOVED


cdef void xackdel_command(client_t* c) noexcept nogil:
    cdef _words_t w
    cdef removing_t r
    cdef group_t g
    cdef sid_t id
    cdef int i
    if not _words(c, 3, &w) or not group_lookup(c, &c.argv[1], &c.argv[2], &g):
        return
    if g.group == NULL:
        _reply_none(c, w.count)
        return
    db_will_change(c.db, g.key.hash)
    journal_transaction_begin(c.engine)
    removing_begin(&r, c, g.key, stream_to_write(c, g.entry), w.policy)
    reply_array(c, w.count)
    for i in range(w.count):
        arg_id(c, &w.ids[i], 0, True, &id)
        reply_int(c, _acknowledge(&r, g.place, &id))
    _ended(&r, r.forgotten.len // sizeof(_forgotten_t))
    journal_transaction_end(c.engine)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef int register_stream_refs(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str words = " [condition(KEEPREF | DELREF | ACKED)] IDS ids{numids:integer id:string...}"
    command_row(e, xdelex_command, "xdelex", -5, "write fast", "stream", "1 RW delete",
                "stream 8.2.0 O(1) for each single item to delete in the stream, regardless of the stream size.",
                "Removes entries of a stream, as what groups have pending allows.", "key:key" + words)
    command_row(e, xackdel_command, "xackdel", -6, "write fast", "stream", "1 RW update delete",
                "stream 8.2.0 O(1) for each entry ID processed.",
                "Says that a group's entries were dealt with, and removes them, as other groups allow.",
                "key:key group:string" + words)
    return 0
