"""What groups have pending: looked at, and taken over by another consumer.

An entry that the stream no longer has is taken out of what is pending by whoever wants to claim it.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_group cimport (
    consumer_or_new, group_or_reply, group_t, group_to_write, journal_claim, journal_group, pending_since)
from cachefleet_server.commands.t_stream_ids cimport arg_id, arg_range, arg_start, chars_to_id
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.core.options cimport (
    OPT_FORCE, OPT_JUSTID, OPT_LASTID, OPT_RETRYCOUNT, OPT_TIME, option_walk_t, options_begin,
    options_end, options_next)
from cachefleet_server.core.reply cimport (
    arg_int64, arg_int64_from, arg_is, reply_error, reply_error_quote, reply_insert, reply_int, reply_mark, reply_null,
    reply_null_array, reply_syntax_error)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.idtree cimport idt_at, idt_edge, idt_find, idt_path_t, idt_seek, idt_step, idtree_t, sid_less
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars
from cachefleet_server.ds.stream cimport stream_has, stream_next, stream_seek
from cachefleet_server.ds.stream_group cimport (
    group_acknowledge, group_at, group_consumer, group_find, group_oldest, group_pend, pending_set, pending_times,
    pending_when, sconsumer_t, sgroup_t, spending_t)
from cachefleet_server.keyspace.journal cimport journal_transaction_begin, journal_transaction_end
from cachefleet_server.resp.writer cimport mark_t

cdef enum:
    CLAIM_COUNT = 100  # of XAUTOCLAIM
    CLAIM_LOOKS = 10  # entries to look at, for each to claim
    CLAIM_COUNT_MAX = 0x7FFFFFFFFFFFFFF  # of an int64, a sixteenth

# ---- XPENDING ------------------------------------------------------------------------------------------

cdef struct _filter_t:
    sid_t start
    sid_t end
    int64_t count
    int64_t idle
    const arg_t* consumer  # NULL: all


cdef bint _filter_words(client_t* c, _filter_t* f) noexcept nogil:
    cdef int at = 3
    f.idle = 0
    f.consumer = NULL
    if arg_is(&c.argv[3], b"IDLE"):
        if not arg_int64(c, &c.argv[4], &f.idle):
            return False
        if c.argc < 8:
            reply_syntax_error(c)
            return False
        at = 5
    if not arg_int64(c, &c.argv[at + 2], &f.count):
        return False
    if not arg_range(c, &c.argv[at], &c.argv[at + 1], &f.start, &f.end):
        return False
    if at + 3 < c.argc:
        f.consumer = &c.argv[at + 3]
    return True


cdef void _reply_summary(client_t* c, const sgroup_t* g) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const sconsumer_t* consumer
    cdef idt_path_t path
    cdef mark_t header
    cdef int64_t n = 0
    cdef uint32_t i
    reply_array(c, 4)
    reply_int(c, g.pending.count)
    if not idt_edge(&g.pending, False, &path):
        reply_null(c)
        reply_null(c)
        reply_null_array(c)
        return
    reply_id(c, idt_at(&path))
    idt_edge(&g.pending, True, &path)
    reply_id(c, idt_at(&path))
    header = reply_mark(c)
    for i in range(g.len):
        consumer = group_at(g, i)
        if consumer.pending.count:
            reply_array(c, 2)
            reply_bulk(c, &consumer.name[0], consumer.name_len)
            reply_bulk(c, &digits[0], int64_to_chars(&digits[0], consumer.pending.count))
            n += 1
    reply_insert(c, header, c"*", n)


cdef void _reply_pending(client_t* c, const sgroup_t* g, const _filter_t* f) noexcept nogil:
    cdef const idtree_t* tree = &g.pending
    cdef const spending_t* entry
    cdef const sconsumer_t* consumer
    cdef idt_path_t path
    cdef mark_t header
    cdef uint32_t place
    cdef int64_t idle, number
    cdef int64_t n = 0
    cdef bint more
    if f.consumer != NULL:
        number = group_find(g, f.consumer.ptr, f.consumer.len, &place)
        if number < 0:
            reply_array(c, 0)
            return
        tree = &g.consumers[number].pending
    header = reply_mark(c)
    more = idt_seek(tree, &f.start, &path)
    while more and n < f.count and not sid_less(&f.end, idt_at(&path)):
        entry = <const spending_t*>idt_at(&path)
        if f.consumer != NULL:
            entry = <const spending_t*>idt_find(&g.pending, idt_at(&path))
        more = idt_step(&path, False)
        idle = c.engine.now_ms - pending_when(entry)
        if f.idle and idle < f.idle:
            continue
        consumer = g.consumers[entry.consumer]
        reply_array(c, 4)
        reply_id(c, &entry.id)
        reply_bulk(c, &consumer.name[0], consumer.name_len)
        reply_int(c, max(idle, <int64_t>0))
        reply_int(c, pending_times(entry))
        n += 1
    reply_insert(c, header, c"*", n)


cdef void xpending_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef _filter_t f
    if c.argc != 3 and not 6 <= c.argc <= 9:
        reply_syntax_error(c)
        return
    if c.argc >= 6 and not _filter_words(c, &f):
        return
    if not group_or_reply(c, &c.argv[1], &c.argv[2], b"'", &g):
        return
    if c.argc == 3:
        _reply_summary(c, g.group)
    else:
        _reply_pending(c, g.group, &f)

# ---- XCLAIM --------------------------------------------------------------------------------------------

cdef struct _claim_t:
    int64_t idle  # milliseconds, at least
    int ids_end  # of the ids among the arguments
    int64_t when  # of the delivery
    int64_t times  # -1: one more
    bint force
    bint just_id
    sid_t last


cdef bint _claim_option(client_t* c, option_walk_t* w, _claim_t* out) noexcept nogil:
    if w.option == OPT_FORCE:
        out.force = True
    elif w.option == OPT_JUSTID:
        out.just_id = True
    elif w.option == OPT_LASTID:
        return arg_id(c, w.value, 0, True, &out.last)
    elif w.option == OPT_RETRYCOUNT:
        return _number(c, w.value, &out.times, b"ERR Invalid RETRYCOUNT option argument for XCLAIM")
    elif w.option == OPT_TIME:
        return _number(c, w.value, &out.when, b"ERR Invalid TIME option argument for XCLAIM")
    else:
        if not _number(c, w.value, &out.when, b"ERR Invalid IDLE option argument for XCLAIM"):
            return False
        out.when = <int64_t>(<uint64_t>c.engine.now_ms - <uint64_t>out.when)
    return True


cdef bint _number(client_t* c, const arg_t* a, int64_t* out, const char* text) noexcept nogil:
    if chars_to_int64(a.ptr, a.len, out):
        return True
    reply_error(c, text)
    return False


cdef bint _claim_words(client_t* c, _claim_t* out) noexcept nogil:
    cdef int64_t now = c.engine.now_ms
    cdef option_walk_t w
    cdef sid_t id
    if not _number(c, &c.argv[4], &out.idle, b"ERR Invalid min-idle-time argument for XCLAIM"):
        return False
    out.ids_end = 5
    while out.ids_end < c.argc and chars_to_id(
            c.argv[out.ids_end].ptr, c.argv[out.ids_end].len, 0, True, &id, NULL):
        out.ids_end += 1
    out.when = -1
    out.times = -1
    options_begin(&w, c, out.ids_end)
    while options_next(&w):
        if not _claim_option(c, &w, out):
            return False
    if w.failed:
        reply_error_quote(c, b"ERR Unrecognized XCLAIM option '%s'", w.word.ptr, w.word.len)
        return False
    if out.when < 0 or out.when > now:  # not given, or of a clock that goes before
        out.when = now
    return True


cdef void _forget(group_t* g, const spending_t* entry) noexcept nogil:
    """It is pending, and no longer in the stream."""
    cdef sid_t id = entry.id
    journal_claim(g, entry)
    group_acknowledge(g.client.engine.heap, g.group, &id)
    g.client.engine.persist.dirty += 1


cdef void _reply_claimed(client_t* c, const stream_t* s, const sid_t* id, bint just_id) noexcept nogil:
    cdef stream_iter_t it
    if just_id:
        reply_id(c, id)
    elif stream_seek(&it, s, id, id, False) and stream_next(&it):
        reply_stream_entry(c, &it)


cdef void _take_over(
    group_t* g, const sid_t* id, uint32_t consumer, int64_t when, int64_t times
) noexcept nogil:
    cdef engine_t* e = g.client.engine
    cdef bint is_new
    cdef spending_t* entry = group_pend(e.heap, g.group, id, consumer, &is_new)
    pending_set(g.group, entry, when, times)
    group_consumer(e.heap, g.group, consumer).active_ms = e.now_ms
    journal_claim(g, entry)
    e.persist.dirty += 1


cdef bint _claim(group_t* g, const _claim_t* claim, const sid_t* id, uint32_t consumer) noexcept nogil:
    """Is it this consumer's now?"""
    cdef const spending_t* entry = <const spending_t*>idt_find(&g.group.pending, id)
    cdef int64_t times
    if not stream_has(g.stream, id):
        if entry != NULL:
            _forget(g, entry)
        return False
    if entry == NULL:
        if not claim.force:
            return False
        times = 1
    else:
        if claim.idle > 0 and g.client.engine.now_ms - pending_when(entry) < claim.idle:
            return False
        times = pending_times(entry)
    if claim.times >= 0:
        times = claim.times
    elif not claim.just_id:
        times += 1
    _take_over(g, id, consumer, claim.when, times)
    return True


cdef void _claim_all(client_t* c, group_t* g, const _claim_t* claim, bint advanced) noexcept nogil:
    cdef mark_t header
    cdef uint32_t consumer
    cdef int64_t n = 0
    cdef sid_t id
    cdef bint is_new
    cdef int i
    consumer = consumer_or_new(g, &c.argv[3], &is_new)
    header = reply_mark(c)
    for i in range(5, claim.ids_end):
        chars_to_id(c.argv[i].ptr, c.argv[i].len, 0, True, &id, NULL)
        if _claim(g, claim, &id, consumer):
            _reply_claimed(c, g.stream, &id, claim.just_id)
            n += 1
    if advanced and n == 0:
        journal_group(g)
        c.engine.persist.dirty += 1
    reply_insert(c, header, c"*", n)


cdef void xclaim_command(client_t* c) noexcept nogil:
    cdef group_t g
    cdef _claim_t claim
    cdef bint advanced
    cdef int64_t oldest
    memset(&claim, 0, sizeof(_claim_t))
    if not group_or_reply(c, &c.argv[1], &c.argv[2], b"'", &g) or not _claim_words(c, &claim):
        return
    group_to_write(&g)
    oldest = group_oldest(g.group)
    advanced = sid_less(&g.group.last, &claim.last)
    if advanced:
        g.group.last = claim.last
    journal_transaction_begin(c.engine)
    _claim_all(c, &g, &claim, advanced)
    journal_transaction_end(c.engine)
    pending_since(&g, oldest)
    c.flags |= CLIENT_PREVENT_PROPAGATE

# ---- XAUTOCLAIM ----------------------------------------------------------------------------------------

cdef struct _auto_t:
    int64_t idle
    sid_t start
    int64_t count
    bint just_id
    buf_t claimed  # ids
    buf_t gone


cdef bint _auto_words(client_t* c, _auto_t* a) noexcept nogil:
    cdef option_walk_t w
    if not _number(c, &c.argv[4], &a.idle, b"ERR Invalid min-idle-time argument for XAUTOCLAIM"):
        return False
    if not arg_start(c, &c.argv[5], &a.start):
        return False
    a.count = CLAIM_COUNT
    a.just_id = False
    options_begin(&w, c, 6)
    while options_next(&w):
        if w.option == OPT_JUSTID:
            a.just_id = True
        elif not arg_int64_from(c, w.value, 1, &a.count, b"ERR COUNT must be > 0"):
            return False
        elif a.count > <int64_t>CLAIM_COUNT_MAX:
            reply_error(c, b"ERR COUNT must be > 0")
            return False
    return options_end(&w)


cdef sid_t _auto_claim(group_t* g, _auto_t* a, uint32_t consumer) noexcept nogil:
    """Where to go on; 0-0: that was all."""
    cdef int64_t now = g.client.engine.now_ms
    cdef int64_t looks = a.count * CLAIM_LOOKS
    cdef int64_t left = a.count
    cdef const spending_t* entry
    cdef idt_path_t path
    cdef sid_t id = a.start
    cdef bint more = idt_seek(&g.group.pending, &id, &path)
    while more and looks and left:
        looks -= 1
        entry = <const spending_t*>idt_at(&path)
        id = entry.id
        if not stream_has(g.stream, &id):
            _forget(g, entry)
            buf_put(&a.gone, &id, sizeof(sid_t))
            left -= 1
        elif a.idle <= 0 or now - pending_when(entry) >= a.idle:
            _take_over(g, &id, consumer, now, pending_times(entry) + (not a.just_id))
            buf_put(&a.claimed, &id, sizeof(sid_t))
            left -= 1
        more = sid_next(&id) and idt_seek(&g.group.pending, &id, &path)
    if more:
        return idt_at(&path)[0]
    memset(&id, 0, sizeof(sid_t))
    return id


cdef void _reply_auto(client_t* c, const stream_t* s, const _auto_t* a, const sid_t* next) noexcept nogil:
    cdef const sid_t* ids = <const sid_t*>a.claimed.data
    cdef size_t n = a.claimed.len // sizeof(sid_t)
    cdef size_t i
    reply_array(c, 3)
    reply_id(c, next)
    reply_array(c, n)
    for i in range(n):
        _reply_claimed(c, s, &ids[i], a.just_id)
    ids = <const sid_t*>a.gone.data
    n = a.gone.len // sizeof(sid_t)
    reply_array(c, n)
    for i in range(n):
        reply_id(c, &ids[i])


cdef void xautoclaim_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef group_t g
    cdef _auto_t a
    cdef uint32_t consumer
    cdef sid_t next
    cdef bint is_new
    if not _auto_words(c, &a):
        lookup_read(c, &c.argv[1])  # as in Valkey, which looks for the key before it reads the words: a miss is one
        return
    if not group_or_reply(c, &c.argv[1], &c.argv[2], b"'", &g):
        return
    group_to_write(&g)
    buf_init(&a.claimed, e.heap)
    buf_init(&a.gone, e.heap)
    journal_transaction_begin(e)
    consumer = consumer_or_new(&g, &c.argv[3], &is_new)
    next = _auto_claim(&g, &a, consumer)
    journal_transaction_end(e)
    c.flags |= CLIENT_PREVENT_PROPAGATE
    _reply_auto(c, g.stream, &a, &next)
    buf_free(&a.claimed)
    buf_free(&a.gone)


cdef int register_stream_pending(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str tip = "; tips nondeterministic_output"
    command_row(e, xpending_command, "xpending", -3, "readonly", "stream", "1 RO access",
                "stream 5.0.0 O(N) with N being the number of elements returned, so asking for a small fixed number of"
                " entries per call is O(1). O(M), where M is the total number of entries scanned when used with the"
                " IDLE filter. When the command returns just the summary and the list of consumers is small, it runs"
                " in O(1) time; otherwise, an additional O(N) time for iterating every consumer." + tip +
                "; history 6.2.0 Added the `IDLE` option and exclusive range intervals.",
                "Returns what a group has pending.",
                "key:key group:string [filters{[IDLE min-idle-time:integer@6.2.0] start:string end:string"
                " count:integer [consumer:string]}]")
    command_row(e, xclaim_command, "xclaim", -6, "write fast", "stream", "1 RW update",
                "stream 5.0.0 O(log N) with N being the number of messages in the PEL of the consumer group." + tip,
                "Makes pending entries those of another consumer, as if they were delivered to it.",
                "key:key group:string consumer:string min-idle-time:string id:string... [IDLE ms:integer]"
                " [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID]"
                " [LASTID lastid:string]")
    command_row(e, xautoclaim_command, "xautoclaim", -6, "write fast", "stream", "1 RW delete",
                "stream 6.2.0 O(1) if COUNT is small." + tip + "; history 7.0.0 Added an element to the reply array,"
                " containing deleted entries the command cleared from the PEL",
                "Makes entries that are pending for long those of another consumer.",
                "key:key group:string consumer:string min-idle-time:string start:string [COUNT count:integer]"
                " [JUSTID]")
    return 0
