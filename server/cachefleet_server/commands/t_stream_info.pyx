"""What is to be known of streams, groups and consumers.

"radix-tree-keys" are blocks, as in Valkey; "radix-tree-nodes" says the same, since the index is no radix tree.
"""

from libc.string cimport memset

from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_group cimport no_such_words, reply_no_group
from cachefleet_server.commands.t_stream_idmp cimport IDMP_FIELDS, reply_idmp
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_insert, reply_int, reply_map, reply_mark, reply_null,
    reply_simple, reply_text)
from cachefleet_server.ds.idtree cimport idt_at, idt_edge, idt_find, idt_path_t, idt_step
from cachefleet_server.ds.stream cimport stream_group_find, stream_lag, stream_next, stream_seek
from cachefleet_server.ds.stream_group cimport (
    GROUP_READ_UNKNOWN, group_at, pending_times, pending_when, sconsumer_t, sgroup_t, spending_t)
from cachefleet_server.resp.writer cimport mark_t

cdef enum:
    FULL_COUNT = 10  # entries that FULL shows of each kind, if COUNT does not say

# ---- parts ---------------------------------------------------------------------------------------------

cdef void _named_id(client_t* c, const char* name, const sid_t* id) noexcept nogil:
    reply_text(c, name)
    reply_id(c, id)


cdef void _named_bytes(client_t* c, const char* name, const char* p, size_t n) noexcept nogil:
    reply_text(c, name)
    reply_bulk(c, p, n)


cdef void _named_known(client_t* c, const char* name, bint known, int64_t n) noexcept nogil:
    """A count that may be unknown."""
    reply_text(c, name)
    if known:
        reply_int(c, n)
    else:
        reply_null(c)


cdef void _read_and_lag(client_t* c, const stream_t* s, const sgroup_t* g) noexcept nogil:
    """How many entries the group has read, and how many are behind these. Where an entry behind was deleted, the
    first does not tell the second, but the group's last id may."""
    cdef int64_t lag
    cdef bint known = stream_lag(s, g, &lag)
    _named_known(c, b"entries-read", g.entries_read != GROUP_READ_UNKNOWN, g.entries_read)
    _named_known(c, b"lag", known, lag)


cdef inline entry_t* _stream_or_reply(client_t* c) noexcept nogil:
    return stream_or_no_key(c, lookup_read(c, &c.argv[2]))

# ---- a stream ------------------------------------------------------------------------------------------

cdef void _edge_entry(client_t* c, const char* name, const stream_t* s, bint back) noexcept nogil:
    cdef stream_iter_t it
    cdef sid_t start, end
    memset(&start, 0, sizeof(sid_t))
    memset(&end, 0xFF, sizeof(sid_t))
    reply_text(c, name)
    if stream_seek(&it, s, &start, &end, back) and stream_next(&it):
        reply_stream_entry(c, &it)
    else:
        reply_null(c)


cdef void _full_pending(client_t* c, const sgroup_t* g, int64_t count) noexcept nogil:
    cdef mark_t header = reply_mark(c)
    cdef const spending_t* entry
    cdef const sconsumer_t* consumer
    cdef idt_path_t path
    cdef int64_t n = 0
    cdef bint more = idt_edge(&g.pending, False, &path)
    while more and (count == 0 or n < count):
        entry = <const spending_t*>idt_at(&path)
        consumer = g.consumers[entry.consumer]
        reply_array(c, 4)
        reply_id(c, &entry.id)
        reply_bulk(c, &consumer.name[0], consumer.name_len)
        reply_int(c, pending_when(entry))
        reply_int(c, pending_times(entry))
        n += 1
        more = idt_step(&path, False)
    reply_insert(c, header, c"*", n)


cdef void _full_consumer(client_t* c, const sgroup_t* g, const sconsumer_t* consumer, int64_t count) noexcept nogil:
    cdef const spending_t* entry
    cdef idt_path_t path
    cdef mark_t header
    cdef int64_t n = 0
    cdef bint more = idt_edge(&consumer.pending, False, &path)
    reply_map(c, 5)
    _named_bytes(c, b"name", &consumer.name[0], consumer.name_len)
    reply_named_int(c, b"seen-time", consumer.seen_ms)
    reply_named_int(c, b"active-time", consumer.active_ms)
    reply_named_int(c, b"pel-count", consumer.pending.count)
    reply_text(c, b"pending")
    header = reply_mark(c)
    while more and (count == 0 or n < count):
        entry = <const spending_t*>idt_find(&g.pending, idt_at(&path))
        reply_array(c, 3)
        reply_id(c, &entry.id)
        reply_int(c, pending_when(entry))
        reply_int(c, pending_times(entry))
        n += 1
        more = idt_step(&path, False)
    reply_insert(c, header, c"*", n)


cdef void _full_group(client_t* c, const stream_t* s, const sgroup_t* g, int64_t count) noexcept nogil:
    cdef uint32_t i
    reply_map(c, 7)
    _named_bytes(c, b"name", &g.name[0], g.name_len)
    _named_id(c, b"last-delivered-id", &g.last)
    _read_and_lag(c, s, g)
    reply_named_int(c, b"pel-count", g.pending.count)
    reply_text(c, b"pending")
    _full_pending(c, g, count)
    reply_text(c, b"consumers")
    reply_array(c, g.len)
    for i in range(g.len):
        _full_consumer(c, g, group_at(g, i), count)


cdef void _full(client_t* c, const stream_t* s, int64_t count) noexcept nogil:
    cdef sid_t start, end
    cdef uint32_t i
    memset(&start, 0, sizeof(sid_t))
    memset(&end, 0xFF, sizeof(sid_t))
    reply_text(c, b"entries")
    reply_range(c, s, &start, &end, count, False)
    reply_text(c, b"groups")
    reply_array(c, s.group_count)
    for i in range(s.group_count):
        _full_group(c, s, s.groups[i], count)


cdef bint _full_words(client_t* c, bint* full, int64_t* count) noexcept nogil:
    full[0] = c.argc > 3
    count[0] = FULL_COUNT
    if c.argc == 3:
        return True
    if (c.argc != 4 and c.argc != 6) or not arg_is(&c.argv[3], b"FULL") or (
            c.argc == 6 and not arg_is(&c.argv[4], b"COUNT")):
        return no_such_words(c, b"ERR unknown subcommand or wrong number of arguments for '%s'. Try XINFO HELP.")
    if c.argc == 6 and not arg_int64(c, &c.argv[5], count):
        return False
    if count[0] < 0:
        count[0] = FULL_COUNT
    return True


cdef void xinfo_stream_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _stream_or_reply(c)
    cdef const stream_t* s
    cdef int64_t count
    cdef bint full
    if entry == NULL or not _full_words(c, &full, &count):
        return
    s = entry_stream(entry)
    reply_map(c, (9 if full else 10) + (IDMP_FIELDS if s.idmp != NULL else 0))
    reply_named_int(c, b"length", s.length)
    reply_named_int(c, b"radix-tree-keys", s.blocks.count)
    reply_named_int(c, b"radix-tree-nodes", s.blocks.count)
    _named_id(c, b"last-generated-id", &s.last)
    _named_id(c, b"max-deleted-entry-id", &s.max_deleted)
    reply_named_int(c, b"entries-added", s.added)
    _named_id(c, b"recorded-first-entry-id", &s.first)
    if s.idmp != NULL:
        reply_idmp(c, s)
    if full:
        _full(c, s, count)
        return
    reply_named_int(c, b"groups", s.group_count)
    _edge_entry(c, b"first-entry", s, False)
    _edge_entry(c, b"last-entry", s, True)

# ---- groups and consumers ------------------------------------------------------------------------------

cdef void xinfo_groups_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _stream_or_reply(c)
    cdef const stream_t* s
    cdef const sgroup_t* g
    cdef uint32_t i
    if entry == NULL:
        return
    s = entry_stream(entry)
    reply_array(c, s.group_count)
    for i in range(s.group_count):
        g = s.groups[i]
        reply_map(c, 6)
        _named_bytes(c, b"name", &g.name[0], g.name_len)
        reply_named_int(c, b"consumers", g.len)
        reply_named_int(c, b"pending", g.pending.count)
        _named_id(c, b"last-delivered-id", &g.last)
        _read_and_lag(c, s, g)


cdef void _consumers(client_t* c, const sgroup_t* g) noexcept nogil:
    cdef int64_t now = c.engine.now_ms
    cdef const sconsumer_t* consumer
    cdef uint32_t i
    reply_array(c, g.len)
    for i in range(g.len):
        consumer = group_at(g, i)
        reply_map(c, 4)
        _named_bytes(c, b"name", &consumer.name[0], consumer.name_len)
        reply_named_int(c, b"pending", consumer.pending.count)
        reply_named_int(c, b"idle", max(now - consumer.seen_ms, <int64_t>0))
        reply_named_int(c, b"inactive", now - consumer.active_ms if consumer.active_ms != -1 else -1)


cdef void xinfo_consumers_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = _stream_or_reply(c)
    cdef arg_t* name = &c.argv[3]
    cdef const stream_t* s
    cdef uint32_t place
    if entry == NULL:
        return
    s = entry_stream(entry)
    if stream_group_find(s, name.ptr, name.len, &place) < 0:
        reply_no_group(c, b"NOGROUP No such consumer group '", name, b"' for key name '", &c.argv[2], b"'")
        return
    _consumers(c, s.groups[place])


cdef enum:
    HELP_LINES = 9

cdef const char** HELP = [
    b"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CONSUMERS <key> <groupname>",
    b"    The consumers of a group.",
    b"GROUPS <key>",
    b"    The groups of a stream.",
    b"STREAM <key> [FULL [COUNT <count>]",
    b"    What is known of a stream.",
    b"HELP",
    b"    Print this help.",
]


cdef void xinfo_help_command(client_t* c) noexcept nogil:
    cdef int i
    reply_array(c, HELP_LINES)
    for i in range(HELP_LINES):
        reply_simple(c, HELP[i])

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_stream_info(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, NULL, "xinfo", -2, "container", "", "", "stream 5.0.0 Depends on subcommand.",
                "Commands that say what is to be known of a stream.", "")
    command_row(e, xinfo_consumers_command, "xinfo|consumers", 4, "readonly", "stream", "2 RO access",
                "stream 5.0.0 O(1); tips nondeterministic_output; history 7.2.0 Added the `inactive` field, and changed"
                " the meaning of `idle`.",
                "Returns the consumers of a group.", "key:key group:string")
    command_row(e, xinfo_groups_command, "xinfo|groups", 3, "readonly", "stream", "2 RO access",
                "stream 5.0.0 O(1); history 7.0.0 Added the `entries-read` and `lag` fields",
                "Returns the groups of a stream.", "key:key")
    command_row(e, xinfo_help_command, "xinfo|help", 2, "loading stale", "stream", "", "stream 5.0.0 O(1)",
                "Explains the subcommands.", "")
    command_row(e, xinfo_stream_command, "xinfo|stream", -3, "readonly", "stream", "2 RO access",
                "stream 5.0.0 O(1); history 6.0.0 Added the `FULL` modifier.; history 7.0.0 Added the"
                " `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields"
                "; history 7.2.0 Added the `active-time` field, and changed the meaning of `seen-time`.",
                "Returns what is known of a stream.", "key:key [full-block{full=FULL [COUNT count:integer]}]")
    return 0
