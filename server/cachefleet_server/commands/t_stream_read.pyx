"""Reading of streams behind an id, alone or in a group, and waiting for more.

First all is looked at: types, groups, ids. Then each stream is served that has something behind its id, and only if
none has, the client waits. Who waits runs the whole command again when a key is ready (keyspace/waiting.pxd), so "$"
becomes the id that it stood for; a group that is gone by then, a key that is gone or another value are found by the
first look.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cachefleet_server.commands.popping cimport nothing_came
from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_group cimport (
    consumer_or_new, group_lookup, group_or_reply, group_t, group_to_write, journal_claim, journal_consumer,
    journal_group, pending_since)
from cachefleet_server.commands.t_stream_ids cimport arg_id
from cachefleet_server.commands.wait cimport timeout_ms_or_reply
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.core.entry cimport entry_type
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_error, reply_insert, reply_int, reply_mark, reply_null_array,
    reply_syntax_error)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_reserve, buf_t
from cachefleet_server.ds.idtree cimport idt_at, idt_find, idt_path_t, idt_seek, idt_step, sid_less
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.stream cimport stream_has, stream_has_gap, stream_next, stream_read_count, stream_seek
from cachefleet_server.ds.stream_group cimport (
    GROUP_READ_UNKNOWN, PENDING_48, group_acknowledge, group_consumer, group_idle, group_oldest, group_pend,
    pending_set, pending_times, sgroup_t, sidle_t, spending_t)
from cachefleet_server.keyspace.db cimport db_find
from cachefleet_server.keyspace.expire cimport is_expired
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.keyspace.waiting cimport (
    WAIT_ON_NOKEY, WAIT_ON_TIME, wait_for_keys, waiting_look_at, waiting_sees_new)
from cachefleet_server.resp.writer cimport mark_t

cdef struct words_t:
    bint grouped  # XREADGROUP
    arg_t* group
    arg_t* consumer
    arg_t* keys
    arg_t* ids
    int streams
    int64_t count  # 0: all
    bint waits
    int64_t until_ms
    bint no_ack
    bint claims  # what was delivered `idle_ms` ago, too
    int64_t idle_ms

cdef extern from *:
    """
    #define MEANINGLESS(sign) "ERR The " sign " ID is meaningless in the context of XREADGROUP: you want to read the " \
        "history of this consumer by specifying a proper ID, or use the > ID to get new messages. The " sign \
        " ID would just return an empty result set."
    #define ERR_DOLLAR MEANINGLESS("$")
    #define ERR_PLUS MEANINGLESS("+")
    """
    const char* ERR_DOLLAR
    const char* ERR_PLUS

# ---- words ---------------------------------------------------------------------------------------------

cdef bint _only_grouped(client_t* c, const words_t* r, const char* text) noexcept nogil:
    if not r.grouped:
        reply_error(c, text)
    return r.grouped


cdef bint _streams(client_t* c, int first, words_t* out) noexcept nogil:
    cdef int n = c.argc - first
    if n % 2:
        if out.grouped:
            reply_error(c, b"ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be"
                           b" specified.")
        else:
            reply_error(c, b"ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be"
                           b" specified.")
        return False
    out.streams = n // 2
    out.keys = &c.argv[first]
    out.ids = &c.argv[first + out.streams]
    return True


cdef bint _idle_ms(client_t* c, const arg_t* a, int64_t* out) noexcept nogil:
    if not chars_to_int64(a.ptr, a.len, out):
        reply_error(c, b"ERR min-idle-time is not an integer")
        return False
    if out[0] < 0:
        reply_error(c, b"ERR min-idle-time must be a positive integer")
        return False
    return True


cdef bint _words(client_t* c, bint grouped, words_t* out) noexcept nogil:
    cdef int i = 1
    cdef int more
    cdef const arg_t* a
    memset(out, 0, sizeof(words_t))
    out.grouped = grouped
    while i < c.argc and out.keys == NULL:
        a = &c.argv[i]
        more = c.argc - 1 - i
        if more and arg_is(a, b"BLOCK"):
            out.waits = True
            i += 1
            if not timeout_ms_or_reply(c, &c.argv[i], &out.until_ms):
                return False
        elif more and arg_is(a, b"COUNT"):
            i += 1
            if not arg_int64(c, &c.argv[i], &out.count):
                return False
            out.count = max(out.count, <int64_t>0)
        elif more and arg_is(a, b"STREAMS"):
            if not _streams(c, i + 1, out):
                return False
        elif more >= 2 and arg_is(a, b"GROUP"):
            if not _only_grouped(
                    c, out, b"ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."):
                return False
            out.group = &c.argv[i + 1]
            out.consumer = &c.argv[i + 2]
            i += 2
        elif more and grouped and arg_is(a, b"CLAIM"):
            out.claims = True
            i += 1
            if not _idle_ms(c, &c.argv[i], &out.idle_ms):
                return False
        elif arg_is(a, b"NOACK"):
            if not _only_grouped(
                    c, out, b"ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."):
                return False
            out.no_ack = True
        else:
            break
        i += 1
    if out.keys == NULL:
        reply_syntax_error(c)
        return False
    if grouped and out.group == NULL:
        reply_error(c, b"ERR Missing GROUP option for XREADGROUP")
        return False
    return True


cdef inline bint _is(const arg_t* a, char sign) noexcept nogil:
    return a.len == 1 and a.ptr[0] == sign


cdef bint _behind(client_t* c, const words_t* r, const arg_t* a, const stream_t* s, sid_t* id) noexcept nogil:
    """The id behind which entries are wanted; the greatest one for ">". False after replying that it is none."""
    if _is(a, c">"):
        memset(id, 0xFF, sizeof(sid_t))
        return _only_grouped(c, r, b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group>"
                                   b" <consumer> option.")
    if not _is(a, c"$") and not _is(a, c"+"):
        return arg_id(c, a, 0, True, id)
    if r.grouped:
        reply_error(c, ERR_DOLLAR if _is(a, c"$") else ERR_PLUS)
        return False
    memset(id, 0, sizeof(sid_t))
    if s != NULL:
        id[0] = s.last
        if _is(a, c"+"):
            sid_previous(id)  # 0-0 stays: nothing is behind it
    return True


cdef bint _all_well(client_t* c, const words_t* r) noexcept nogil:
    """The first look."""
    cdef entry_t* entry
    cdef group_t g
    cdef sid_t id
    cdef int i
    for i in range(r.streams):
        if r.grouped:
            if not group_or_reply(c, &r.keys[i], r.group, b"' in XREADGROUP with GROUP option", &g):
                return False
            entry = g.entry
        else:
            entry = lookup_read(c, &r.keys[i])
            if not type_or_reply(c, entry, OBJ_STREAM):
                return False
        if not _behind(c, r, &r.ids[i], entry_stream(entry) if entry != NULL else NULL, &id):
            return False
    return True

# ---- serving -------------------------------------------------------------------------------------------

cdef bint _first_behind(stream_iter_t* it, const stream_t* s, const sid_t* id) noexcept nogil:
    """The iterator is at the first entry behind the id; false: there is none."""
    cdef sid_t start = id[0]
    cdef sid_t end
    if s.length == 0 or not sid_less(id, &s.last):
        return False
    sid_next(&start)
    memset(&end, 0xFF, sizeof(sid_t))
    return stream_seek(it, s, &start, &end, False) and stream_next(it)


cdef void _head(client_t* c, const arg_t* key, mark_t* all, int64_t* served) noexcept nogil:
    """In front of a stream's entries; `all`: in front of the first one's."""
    if served[0] == 0:
        all[0] = reply_mark(c)
    served[0] += 1
    if c.resp == 2:
        reply_array(c, 2)
    reply_bulk(c, key.ptr, key.len)


cdef void _advance(const stream_t* s, sgroup_t* g, const sid_t* id) noexcept nogil:
    """The group has read to this entry."""
    if g.entries_read != GROUP_READ_UNKNOWN and not sid_less(&g.last, &s.first) and not stream_has_gap(s, &g.last):
        g.entries_read += 1
    elif s.added:
        g.entries_read = stream_read_count(s, id)
    g.last = id[0]


cdef void _reply_entry(client_t* c, const words_t* r, stream_iter_t* it, int64_t idle_ms, int64_t times) noexcept nogil:
    """With CLAIM each entry has two parts more: how long ago it was delivered before, and how often."""
    if not r.claims:
        reply_stream_entry(c, it)
        return
    reply_array(c, 4)
    reply_entry_parts(c, it)
    reply_int(c, idle_ms)
    reply_int(c, times)


cdef void _pend(group_t* g, const sid_t* id, uint32_t consumer, int64_t times) noexcept nogil:
    """Delivered to this consumer now."""
    cdef engine_t* e = g.client.engine
    cdef bint is_new
    cdef spending_t* entry = group_pend(e.heap, g.group, id, consumer, &is_new)
    pending_set(g.group, entry, e.now_ms, times)
    journal_claim(g, entry)


cdef int64_t _deliver(
    client_t* c, const words_t* r, group_t* g, uint32_t consumer, stream_iter_t* it, int64_t most
) noexcept nogil:
    """What the group has not had yet, from the iterator's entry on; how many (0: all) at most, and are."""
    cdef int64_t n = 0
    while True:
        _advance(g.stream, g.group, &it.entry.id)
        if not r.no_ack:
            _pend(g, &it.entry.id, consumer, 1)
        _reply_entry(c, r, it, 0, 0)
        n += 1
        if n == most or not stream_next(it):
            break
    journal_group(g)
    return n


cdef size_t _find_idle(const words_t* r, group_t* g, buf_t* idle) noexcept nogil:
    """How many there are to claim, the oldest first. What the stream has no more is forgotten, as by XAUTOCLAIM."""
    cdef engine_t* e = g.client.engine
    cdef size_t n = 0
    cdef size_t kept = 0
    cdef size_t i
    cdef sidle_t* found
    while kept == 0:
        n = group_idle(e.heap, g.group, e.now_ms - r.idle_ms, <size_t>r.count, idle)
        if n == 0:
            break
        found = <sidle_t*>idle.data
        for i in range(n):
            if stream_has(g.stream, &found[i].id):
                found[kept] = found[i]
                kept += 1
            else:
                journal_claim(g, <const spending_t*>idt_find(&g.group.pending, &found[i].id))
                group_acknowledge(e.heap, g.group, &found[i].id)
                e.persist.dirty += 1
    return kept


cdef void _claim(
    client_t* c, const words_t* r, group_t* g, uint32_t consumer, const sidle_t* found, size_t n
) noexcept nogil:
    cdef stream_iter_t it
    cdef int64_t times
    cdef size_t i
    for i in range(n):
        times = pending_times(<const spending_t*>idt_find(&g.group.pending, &found[i].id))
        if stream_seek(&it, g.stream, &found[i].id, &found[i].id, False) and stream_next(&it):
            _reply_entry(c, r, &it, c.engine.now_ms - found[i].when, times)
        _pend(g, &found[i].id, consumer, times + 1)


cdef bint _serve_new(
    client_t* c, const words_t* r, int i, group_t* g, uint32_t consumer, mark_t* all, int64_t* served
) noexcept nogil:
    """What is wanted by ">"; false: there is nothing."""
    cdef engine_t* e = c.engine
    cdef stream_iter_t it
    cdef mark_t header
    cdef buf_t idle
    cdef int64_t n = 0
    cdef int64_t oldest = group_oldest(g.group)
    cdef bint has_new = _first_behind(&it, g.stream, &g.group.last)
    buf_init(&idle, e.heap)
    if r.claims:
        n = <int64_t>_find_idle(r, g, &idle)
    if n or has_new:
        _head(c, &r.keys[i], all, served)
        header = reply_mark(c)
        if n or not r.no_ack:
            group_consumer(e.heap, g.group, consumer).active_ms = e.now_ms
        _claim(c, r, g, consumer, <const sidle_t*>idle.data, <size_t>n)
        if has_new and (r.count == 0 or n < r.count):
            n += _deliver(c, r, g, consumer, &it, r.count - n if r.count else 0)
        reply_insert(c, header, c"*", n)
        pending_since(g, oldest)
    buf_free(&idle)
    return n != 0


cdef void _history(client_t* c, const words_t* r, group_t* g, uint32_t number, const sid_t* behind) noexcept nogil:
    """What the consumer has pending."""
    cdef engine_t* e = c.engine
    cdef mark_t header = reply_mark(c)
    cdef stream_iter_t it
    cdef idt_path_t path
    cdef spending_t* entry
    cdef sid_t start = behind[0]
    cdef int64_t n = 0
    cdef bint is_new, more
    sid_next(&start)
    more = idt_seek(&g.group.consumers[number].pending, &start, &path)
    while more and (r.count == 0 or n < r.count):
        if stream_seek(&it, g.stream, idt_at(&path), idt_at(&path), False) and stream_next(&it):
            entry = group_pend(e.heap, g.group, idt_at(&path), number, &is_new)
            pending_set(g.group, entry, e.now_ms, pending_times(entry) + 1)
            reply_stream_entry(c, &it)
        else:
            reply_array(c, 2)
            reply_id(c, idt_at(&path))
            reply_null_array(c)
        n += 1
        more = idt_step(&path, False)
    reply_insert(c, header, c"*", n)


cdef void _serve_grouped(
    client_t* c, const words_t* r, int i, mark_t* all, int64_t* served
) noexcept nogil:
    cdef group_t g
    cdef uint32_t consumer
    cdef sid_t id
    cdef bint is_new
    cdef bint is_history = not _is(&r.ids[i], c">")
    if not group_lookup(c, &r.keys[i], r.group, &g):
        return
    group_to_write(&g)
    consumer = consumer_or_new(&g, r.consumer, &is_new)
    if is_new and r.no_ack:
        journal_consumer(&g, r.consumer)
    if is_history:
        _behind(c, r, &r.ids[i], g.stream, &id)
        if id.ms == <uint64_t>-1 and id.seq == <uint64_t>-1:
            is_history = False  # the greatest id is what ">" is to Valkey
    if is_history:
        _head(c, &r.keys[i], all, served)
        _history(c, r, &g, consumer, &id)
    elif not _serve_new(c, r, i, &g, consumer, all, served):
        return
    c.engine.persist.dirty += 1


cdef void _serve(client_t* c, const words_t* r, int i, mark_t* all, int64_t* served) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &r.keys[i])
    cdef stream_iter_t it
    cdef sid_t id
    if entry == NULL:
        return
    _behind(c, r, &r.ids[i], entry_stream(entry), &id)
    if not _first_behind(&it, entry_stream(entry), &id):
        return
    _head(c, &r.keys[i], all, served)
    reply_stream_entries(c, &it, r.count)


cdef void _look_again(client_t* c, const words_t* r) noexcept nogil:
    """When the first pending entry may have become old enough."""
    cdef int64_t oldest = PENDING_48
    cdef group_t g
    cdef int i
    for i in range(r.streams):
        if group_lookup(c, &r.keys[i], r.group, &g) and g.group != NULL and _is(&r.ids[i], c">"):
            oldest = min(oldest, group_oldest(g.group))
    if oldest != PENDING_48:
        waiting_look_at(c, max(min(oldest, PENDING_48 - r.idle_ms) + r.idle_ms, c.engine.now_ms + 1))


cdef void _wait(client_t* c, const words_t* r) noexcept nogil:
    """With ids in the place of "$"."""
    cdef entry_t* entry
    cdef buf_t texts
    cdef sid_t id
    cdef const char* raw = c.raw
    cdef char* text
    cdef int flags = (WAIT_ON_NOKEY if r.grouped else 0) | (WAIT_ON_TIME if r.claims else 0)
    cdef int i
    buf_init(&texts, c.engine.heap)
    text = buf_reserve(&texts, <size_t>r.streams * STREAM_ID_CHARS)
    for i in range(r.streams):
        if _is(&r.ids[i], c"$"):
            entry = lookup_read(c, &r.keys[i])
            _behind(c, r, &r.ids[i], entry_stream(entry) if entry != NULL else NULL, &id)
            r.ids[i] = journal_arg(text, sid_to_chars(&id, c"-", text))
            text += STREAM_ID_CHARS
            c.raw = NULL  # the request is no longer what came
    if not wait_for_keys(c, r.keys, r.streams, OBJ_STREAM, flags, r.until_ms, nothing_came):
        reply_null_array(c)
    elif r.claims:
        _look_again(c, r)
    c.raw = raw
    buf_free(&texts)


cdef bint _anything_came(client_t* c, const words_t* r) noexcept nogil:
    """For who waited. A stream that changed in another way, such as its time, is none of its affairs: Valkey does not
    even look then, so neither is a value of another type at one of its other keys, nor a miss."""
    cdef entry_t* entry
    cdef stream_iter_t it
    cdef sid_t id
    cdef int i
    for i in range(r.streams):
        entry = db_find(c.db, r.keys[i].ptr, r.keys[i].len, arg_hash(c.engine, &r.keys[i]))
        if entry == NULL or entry_type(entry) != OBJ_STREAM or is_expired(c, entry):
            continue
        if _behind(c, r, &r.ids[i], entry_stream(entry), &id) and _first_behind(&it, entry_stream(entry), &id):
            return True
    return False


cdef void _read(client_t* c, bint grouped) noexcept nogil:
    cdef words_t r
    cdef mark_t all
    cdef int64_t served = 0
    cdef int i
    if not _words(c, grouped, &r):
        return
    if not grouped and not waiting_sees_new(c) and not _anything_came(c, &r):
        _wait(c, &r)
        return
    if not _all_well(c, &r):
        return
    if grouped:
        journal_transaction_begin(c.engine)
    for i in range(r.streams):
        if grouped:
            _serve_grouped(c, &r, i, &all, &served)
        else:
            _serve(c, &r, i, &all, &served)
    if grouped:
        journal_transaction_end(c.engine)
        c.flags |= CLIENT_PREVENT_PROPAGATE
    if served:
        reply_insert(c, all, c"*" if c.resp == 2 else c"%", served)
    elif r.waits:
        _wait(c, &r)
    else:
        reply_null_array(c)


cdef void xread_command(client_t* c) noexcept nogil:
    _read(c, False)


cdef void xreadgroup_command(client_t* c) noexcept nogil:
    _read(c, True)


cdef int register_stream_read(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str streams = "STREAMS streams{key:key... id:string...}"
    command_row(e, xread_command, "xread", -4, "readonly blocking movablekeys", "stream",
                "keyword:STREAMS:1:-1:1:2 RO access", "stream 5.0.0 O(N) with N being the number of entries returned.",
                "Returns entries of streams behind ids, and waits for some.",
                "[COUNT count:integer] [BLOCK milliseconds:integer] " + streams)
    command_row(e, xreadgroup_command, "xreadgroup", -7, "write blocking movablekeys", "stream",
                "keyword:STREAMS:4:-1:1:2 RO access",
                "stream 5.0.0 For each stream mentioned: O(M) with M being the number of elements returned. If M is"
                " constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the"
                " other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients"
                " blocked on the stream getting new data.",
                "Returns entries of streams that a group has not had, or a consumer has pending; waits for some.",
                "GROUP group-block{group:string consumer:string} [COUNT count:integer] [BLOCK milliseconds:integer]"
                " [CLAIM min-idle-time:integer@8.4.0] [noack=NOACK] " + streams)
    return 0
