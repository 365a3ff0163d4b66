"""See t_stream_group.pxd."""

from libc.string cimport strlen

from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_ids cimport arg_id
from cachefleet_server.commands.t_stream_info cimport register_stream_info
from cachefleet_server.commands.t_stream_pending cimport register_stream_pending
from cachefleet_server.commands.t_stream_read cimport register_stream_read
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.options cimport OPT_MKSTREAM, option_walk_t, options_begin, options_next
from cachefleet_server.core.reply cimport (
    arg_int64, reply_error, reply_error_bytes, reply_error_format, reply_int, reply_ok, reply_simple)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.stream cimport (
    stream_group_add, stream_group_find, stream_group_own, stream_group_remove)
from cachefleet_server.ds.stream_group cimport (
    GROUP_READ_UNKNOWN, group_acknowledge, group_add, group_at, group_consumer, group_find, group_new,
    group_oldest, group_remove, pending_times, pending_when)
from cachefleet_server.keyspace.db cimport db_will_change
from cachefleet_server.keyspace.interest cimport interest_of, interest_release, interest_t
from cachefleet_server.keyspace.journal cimport journal_arg, journal_command
from cachefleet_server.keyspace.waiting cimport waiting_changed, waiting_times_changed

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* p, size_t n)

cdef enum:
    CLAIM_WORDS = 14
    NAME_MAX = 0xFFFFFFFF

# ---- groups --------------------------------------------------------------------------------------------

cdef bint group_lookup(client_t* c, arg_t* key, arg_t* name, group_t* out) noexcept nogil:
    out.client = c
    out.key = key
    out.name = name
    out.group = NULL
    out.entry = lookup_read(c, key)
    if not type_or_reply(c, out.entry, OBJ_STREAM):
        return False
    if out.entry != NULL:
        out.stream = entry_stream(out.entry)
        if stream_group_find(out.stream, name.ptr, name.len, &out.place) >= 0:
            out.group = out.stream.groups[out.place]
    return True


cdef void _put_quoted(buf_t* text, const arg_t* a) noexcept nogil:
    buf_put(text, a.ptr, strnlen(a.ptr, a.len))


cdef void reply_no_group(
    client_t* c, const char* before, const arg_t* a, const char* between, const arg_t* b, const char* behind
) noexcept nogil:
    cdef buf_t text
    buf_init(&text, c.engine.heap)
    buf_put(&text, before, strlen(before))
    _put_quoted(&text, a)
    buf_put(&text, between, strlen(between))
    _put_quoted(&text, b)
    buf_put(&text, behind, strlen(behind))
    reply_error_bytes(c, text.data, text.len)
    buf_free(&text)


cdef bint group_or_reply(client_t* c, arg_t* key, arg_t* name, const char* behind, group_t* out) noexcept nogil:
    if not group_lookup(c, key, name, out):
        return False
    if out.group == NULL:
        reply_no_group(c, b"NOGROUP No such key '", key, b"' or consumer group '", name, behind)
        return False
    return True


cdef void group_to_write(group_t* g) noexcept nogil:
    db_will_change(g.client.db, g.key.hash)
    g.stream = stream_to_write(g.client, g.entry)
    g.group = stream_group_own(g.client.engine.heap, g.stream, g.place)


cdef uint32_t _new_consumer(group_t* g, const arg_t* name) noexcept nogil:
    cdef engine_t* e = g.client.engine
    cdef uint32_t number = group_add(e.heap, g.group, name.ptr, name.len, e.now_ms).number
    e.persist.dirty += 1
    notify(e, NOTIFY_STREAM, b"xgroup-createconsumer", g.key.ptr, g.key.len, g.client.db.id)
    return number


cdef uint32_t consumer_or_new(group_t* g, const arg_t* name, bint* is_new) noexcept nogil:
    cdef engine_t* e = g.client.engine
    cdef uint32_t place
    cdef int64_t number = group_find(g.group, name.ptr, name.len, &place)
    is_new[0] = number < 0
    if is_new[0]:
        return _new_consumer(g, name)
    group_consumer(e.heap, g.group, <uint32_t>number).seen_ms = e.now_ms
    return <uint32_t>number

# ---- in the journal ------------------------------------------------------------------------------------

cdef inline arg_t _word(const char* text) noexcept nogil:
    return journal_arg(text, strlen(text))


cdef inline arg_t _id_word(const sid_t* id, char* text) noexcept nogil:
    return journal_arg(text, sid_to_chars(id, c"-", text))


cdef inline arg_t _number_word(int64_t v, char* text) noexcept nogil:
    return journal_arg(text, int64_to_chars(text, v))


cdef void journal_claim(const group_t* g, const spending_t* entry) noexcept nogil:
    cdef engine_t* e = g.client.engine
    cdef const sconsumer_t* consumer
    cdef arg_t argv[CLAIM_WORDS]
    cdef char ids[2][STREAM_ID_CHARS]
    cdef char digits[2][INT64_CHARS_MAX]
    if not e.journal.enabled:
        return
    consumer = g.group.consumers[entry.consumer]
    argv[0] = _word(b"XCLAIM")
    argv[1] = g.key[0]
    argv[2] = g.name[0]
    argv[3] = journal_arg(&consumer.name[0], consumer.name_len)
    argv[4] = _word(b"0")
    argv[5] = _id_word(&entry.id, &ids[0][0])
    argv[6] = _word(b"TIME")
    argv[7] = _number_word(pending_when(entry), &digits[0][0])
    argv[8] = _word(b"RETRYCOUNT")
    argv[9] = _number_word(pending_times(entry), &digits[1][0])
    argv[10] = _word(b"FORCE")
    argv[11] = _word(b"JUSTID")
    argv[12] = _word(b"LASTID")
    argv[13] = _id_word(&g.group.last, &ids[1][0])
    journal_command(e, g.client.db.id, CLAIM_WORDS, argv)


cdef void journal_group(const group_t* g) noexcept nogil:
    cdef arg_t argv[7]
    cdef char id[STREAM_ID_CHARS]
    cdef char digits[INT64_CHARS_MAX]
    if not g.client.engine.journal.enabled:
        return
    argv[0] = _word(b"XGROUP")
    argv[1] = _word(b"SETID")
    argv[2] = g.key[0]
    argv[3] = g.name[0]
    argv[4] = _id_word(&g.group.last, &id[0])
    argv[5] = _word(b"ENTRIESREAD")
    argv[6] = _number_word(g.group.entries_read, &digits[0])
    journal_command(g.client.engine, g.client.db.id, 7, argv)


cdef void journal_consumer(const group_t* g, const arg_t* name) noexcept nogil:
    cdef arg_t argv[5]
    argv[0] = _word(b"XGROUP")
    argv[1] = _word(b"CREATECONSUMER")
    argv[2] = g.key[0]
    argv[3] = g.name[0]
    argv[4] = name[0]
    journal_command(g.client.engine, g.client.db.id, 5, argv)

# ---- XGROUP --------------------------------------------------------------------------------------------

cdef bint no_such_words(client_t* c, const char* format) noexcept nogil:
    reply_error_format(c, format, c.argv[1].ptr, strnlen(c.argv[1].ptr, c.argv[1].len))
    return False


cdef bint _no_such_options(client_t* c) noexcept nogil:
    return no_such_words(c, b"ERR unknown subcommand or wrong number of arguments for '%s'. Try XGROUP HELP.")


cdef bint _group_options(client_t* c, bint* make, int64_t* entries_read) noexcept nogil:
    cdef option_walk_t w
    make[0] = False
    entries_read[0] = GROUP_READ_UNKNOWN
    options_begin(&w, c, 5)
    while options_next(&w):
        if w.option == OPT_MKSTREAM:
            make[0] = True
            continue
        if not arg_int64(c, w.value, entries_read):
            return False
        if entries_read[0] < 0 and entries_read[0] != GROUP_READ_UNKNOWN:
            reply_error(c, b"ERR value for ENTRIESREAD must be positive or -1")
            return False
    return not w.failed or _no_such_options(c)


cdef bint _stream_or_reply(client_t* c, group_t* g, bint may_miss) noexcept nogil:
    """The subcommands' key and group."""
    g.client = c
    g.key = &c.argv[2]
    g.name = &c.argv[3]
    g.group = NULL
    g.entry = lookup_write(c, g.key)
    if not type_or_reply(c, g.entry, OBJ_STREAM):
        return False
    if g.entry == NULL:
        if may_miss:
            return True
        reply_error(c, b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use"
                       b" the MKSTREAM option to create an empty stream automatically.")
        return False
    g.stream = entry_stream(g.entry)
    if stream_group_find(g.stream, g.name.ptr, g.name.len, &g.place) >= 0:
        g.group = g.stream.groups[g.place]
    return True


cdef bint _group_or_reply(client_t* c, group_t* g) noexcept nogil:
    """To write."""
    if not _stream_or_reply(c, g, False):
        return False
    if g.group == NULL:
        reply_no_group(c, b"NOGROUP No such consumer group '", g.name, b"' for key name '", g.key, b"'")
        return False
    group_to_write(g)
    return True


cdef void _changed(const group_t* g, const char* event) noexcept nogil:
    """An event and a change, but not one of the key for those who watch it."""
    notify(g.client.engine, NOTIFY_STREAM, event, g.key.ptr, g.key.len, g.client.db.id)
    g.client.engine.persist.dirty += 1


cdef bint _group_id(client_t* c, const group_t* g, bint strict, sid_t* id) noexcept nogil:
    cdef const arg_t* a = &c.argv[4]
    if a.len != 1 or a.ptr[0] != c"$":
        return arg_id(c, a, 0, strict, id)
    id.ms = 0
    id.seq = 0
    if g.entry != NULL:
        id[0] = g.stream.last
    return True


cdef void xgroup_create_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef group_t g
    cdef int64_t entries_read
    cdef sid_t id
    cdef bint make
    if not _group_options(c, &make, &entries_read) or not _stream_or_reply(c, &g, make):
        return
    if c.argc > 8:
        _no_such_options(c)
        return
    if not _group_id(c, &g, True, &id):
        return
    if g.group != NULL:
        reply_error(c, b"BUSYGROUP Consumer Group name already exists")
        return
    if g.entry == NULL:
        g.entry = stream_create(c, g.key)
        signal_modified(c, c.db, g.key.ptr, g.key.len, g.key.hash)
        g.place = 0
    stream_group_add(
        e.heap, stream_to_write(c, g.entry), g.place, group_new(e.heap, g.name.ptr, g.name.len, &id, entries_read))
    reply_ok(c)
    _changed(&g, b"xgroup-create")


cdef void xgroup_setid_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef int64_t entries_read
    cdef sid_t id
    cdef bint make
    if not _group_options(c, &make, &entries_read) or not _group_or_reply(c, &g):
        return
    if c.argc > 7:
        _no_such_options(c)
        return
    if not _group_id(c, &g, False, &id):
        return
    g.group.last = id
    g.group.entries_read = entries_read
    reply_ok(c)
    _changed(&g, b"xgroup-setid")


cdef void _wake(client_t* c, const arg_t* key, bint all_of_them) noexcept nogil:
    """Who waits for entries hears of it, all or those for whom a time may have changed; to those who watch the key
    nothing has changed."""
    cdef interest_t* interest
    if c.engine.keyspace.interests:
        interest = interest_of(c.db, key.ptr, key.len, key.hash)
        if all_of_them:
            waiting_changed(interest)
        else:
            waiting_times_changed(interest)
        interest_release(interest)


cdef void pending_since(const group_t* g, int64_t oldest) noexcept nogil:
    if group_oldest(g.group) < oldest:
        _wake(g.client, g.key, False)


cdef void xgroup_destroy_command(client_t* c) noexcept nogil:
    cdef group_t g
    if not _stream_or_reply(c, &g, False):
        return
    if g.group == NULL:
        reply_int(c, 0)
        return
    stream_group_remove(c.engine.heap, stream_to_write(c, g.entry), g.place)
    reply_int(c, 1)
    _changed(&g, b"xgroup-destroy")
    _wake(c, g.key, True)


cdef void xgroup_createconsumer_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef uint32_t place
    if not _group_or_reply(c, &g):
        return
    if group_find(g.group, c.argv[4].ptr, c.argv[4].len, &place) >= 0:
        reply_int(c, 0)
        return
    _new_consumer(&g, &c.argv[4])
    reply_int(c, 1)


cdef void xgroup_delconsumer_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef uint32_t place
    cdef size_t pending
    if not _group_or_reply(c, &g):
        return
    if group_find(g.group, c.argv[4].ptr, c.argv[4].len, &place) < 0:
        reply_int(c, 0)
        return
    pending = group_at(g.group, place).pending.count
    group_remove(c.engine.heap, g.group, place)
    reply_int(c, pending)
    _changed(&g, b"xgroup-delconsumer")


cdef enum:
    HELP_LINES = 17

cdef const char** HELP = [
    b"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CREATE <key> <groupname> <id|$> [option]",
    b"    Make a consumer group. Options:",
    b"    * MKSTREAM",
    b"      Make an empty stream if there is none.",
    b"    * ENTRIESREAD entries_read",
    b"      How many entries the group has read (for the server itself).",
    b"CREATECONSUMER <key> <groupname> <consumer>",
    b"    Make a consumer in a group.",
    b"DELCONSUMER <key> <groupname> <consumer>",
    b"    Remove a consumer, and what it has pending.",
    b"DESTROY <key> <groupname>",
    b"    Remove a group.",
    b"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    b"    Set where a group has read to.",
    b"HELP",
    b"    Print this help.",
]


cdef void xgroup_help_command(client_t* c) noexcept nogil:
    cdef int i
    reply_array(c, HELP_LINES)
    for i in range(HELP_LINES):
        reply_simple(c, HELP[i])

# ---- XACK ----------------------------------------------------------------------------------------------

cdef void xack_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef sid_t id
    cdef int64_t acknowledged = 0
    cdef int i
    if not group_lookup(c, &c.argv[1], &c.argv[2], &g):
        return
    if g.group == NULL:
        reply_int(c, 0)
        return
    for i in range(3, c.argc):
        if not arg_id(c, &c.argv[i], 0, True, &id):
            return
    group_to_write(&g)
    for i in range(3, c.argc):
        arg_id(c, &c.argv[i], 0, True, &id)
        acknowledged += group_acknowledge(c.engine.heap, g.group, &id)
    c.engine.persist.dirty += acknowledged
    reply_int(c, acknowledged)

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_stream_group(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str id = "key:key group:string id-selector(id:string | new-id=$)"
    cdef str read = " [ENTRIESREAD entriesread<entries-read>:integer]"
    cdef str consumer = "key:key group:string consumer:string"
    command_row(e, NULL, "xgroup", -2, "container", "", "", "stream 5.0.0 Depends on subcommand.",
                "Commands about the consumer groups of a stream.", "")
    command_row(e, xgroup_create_command, "xgroup|create", -5, "write denyoom", "stream", "2 RW insert",
                "stream 5.0.0 O(1); history 7.0.0 Added the `entries_read` named argument.",
                "Makes a consumer group.", id + " [MKSTREAM]" + read)
    command_row(e, xgroup_createconsumer_command, "xgroup|createconsumer", 5, "write denyoom", "stream",
                "2 RW insert", "stream 6.2.0 O(1)", "Makes a consumer in a group.", consumer)
    command_row(e, xgroup_delconsumer_command, "xgroup|delconsumer", 5, "write", "stream", "2 RW delete",
                "stream 5.0.0 O(1)", "Removes a consumer from a group, with what it has pending.", consumer)
    command_row(e, xgroup_destroy_command, "xgroup|destroy", 4, "write", "stream", "2 RW delete",
                "stream 5.0.0 O(N) where N is the number of entries in the group's pending entries list (PEL).",
                "Removes a consumer group.", "key:key group:string")
    command_row(e, xgroup_help_command, "xgroup|help", 2, "loading stale", "stream", "", "stream 5.0.0 O(1)",
                "Explains the subcommands.", "")
    command_row(e, xgroup_setid_command, "xgroup|setid", -5, "write", "stream", "2 RW update",
                "stream 5.0.0 O(1); history 7.0.0 Added the optional `entries_read` argument.",
                "Sets where a consumer group has read to.", id + read)
    command_row(e, xack_command, "xack", -4, "write fast", "stream", "1 RW update",
                "stream 5.0.0 O(1) for each message ID processed.",
                "Says that a group's entries were dealt with.", "key:key group:string id:string...")
    register_stream_read(e)
    register_stream_pending(e)
    return register_stream_info(e)
