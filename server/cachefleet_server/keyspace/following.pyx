"""Following a primary; see following.pxd."""

from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport (
    BLOCKED_KEYS, BLOCKED_WAIT, CLASS_PRIMARY, CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP,
    CLIENT_FAILED, CLIENT_MULTI, CLIENT_PENDING_WRITE)
from cachefleet_server.core.errors cimport ERR_UNBLOCKED
from cachefleet_server.core.reply cimport reply_client_ready, reply_error
from cachefleet_server.core.role cimport ROLE_CONNECTION, role_here
from cachefleet_server.core.wake cimport client_close_asap, engine_wake
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.blocked cimport unblock_client
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_end, journal_mute, journal_put, journal_verbatim)
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.resp.input cimport INPUT_ERROR, INPUT_OK, arg_t, input_limits_t, input_next
from cachefleet_server.resp.writer cimport out_raw, out_text

cdef enum:
    KEPT_MAX = 1048576  # bytes of an empty buffer that are kept

# ---- the link's protocol ---------------------------------------------------------------------------------

cdef int _next(client_t* c, request_t* out) noexcept nogil:
    cdef input_limits_t limits
    cdef int status
    limits.bulk_max = <size_t>1 << 40  # the primary's limit counts, and memory grows with what comes
    limits.authenticated = True
    if not c.input.busy and c.input.pos < c.input.len and c.input.buf[c.input.pos] != c"*":
        c.input.error = b"a request that is no array"
        return INPUT_ERROR
    status = input_next(&c.input, &limits, &c.engine.input.arena, out)
    if status == INPUT_OK and out.argc == 0:
        c.input.error = b"an empty request"
        return INPUT_ERROR
    return status


cdef void _error(client_t* c) noexcept nogil:
    cdef following_t* f = following(c.engine)
    if f != NULL:
        snprintf(f.failure, FAILURE_MAX, b"its stream is damaged: %s", c.input.error)
    client_close_asap(c)


cdef protocol_t LINK  # constant after import
LINK.name = b"link"
LINK.next_fn = _next
LINK.error_fn = _error


cdef const protocol_t* link_protocol() noexcept nogil:
    return &LINK

# ---- becoming a replica, and ceasing to be one -------------------------------------------------------------

cdef void _change_roles(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    while c != NULL:
        if c.cls != CLASS_PRIMARY:
            c.role = role_here(ROLE_CONNECTION, e.following != NULL)
        c = client_next(c)


cdef void _send_away_who_waits(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    while c != NULL:
        if c.blocked == BLOCKED_KEYS or c.blocked == BLOCKED_WAIT:
            c.unblock_fn = NULL
            reply_error(c, ERR_UNBLOCKED)
            unblock_client(c, False)
            c.flags |= CLIENT_CLOSE_AFTER_REPLY
        c = client_next(c)


cdef void following_begin(engine_t* e, following_t* f) noexcept nogil:
    f.engine = e
    f.link = NULL
    f.failure[0] = 0
    buf_init(&f.kept, e.heap)
    e.following = f
    journal_mute(e, True)
    _change_roles(e)
    _send_away_who_waits(e)
    engine_wake(e)


cdef void following_end(engine_t* e) noexcept nogil:
    buf_free(&following(e).kept)
    e.following = NULL
    journal_mute(e, False)
    _change_roles(e)
    engine_wake(e)


cdef void following_goes_on(engine_t* e, client_t* link) noexcept nogil:
    cdef following_t* f = following(e)
    f.link = link
    f.begun = f.confirmed = journal_end(e)
    f.failure[0] = 0
    f.kept.len = 0
    link.db = keyspace_db(e.keyspace, max(e.journal.db, 0))


cdef void following_lost(client_t* c) noexcept nogil:
    cdef following_t* f = following(c.engine)
    if f.link == c:
        f.link = NULL
        buf_free(&f.kept)
        f.lost_fn(c.engine)

# ---- executing ---------------------------------------------------------------------------------------------

cdef void following_before(client_t* link, const request_t* r) noexcept nogil:
    """A request that is not in one piece has arguments in memory of its own, which the command may take."""
    cdef following_t* f = following(link.engine)
    f.pending = link.out.bytes
    if r.raw == NULL:
        journal_put(&f.kept, r.argc, r.argv)


cdef void _note_failure(following_t* f) noexcept nogil:
    """Name and text of the error lie in the output (core/reply.pyx), which nobody is going to send."""
    cdef size_t n = f.link.out.bytes
    cdef char* text = <char*>zmalloc(f.engine.heap, n + 1)
    out_text(&f.link.out, text)
    n = min(n - f.pending, <size_t>(FAILURE_MAX - 64))
    memset(f.failure, 0, FAILURE_MAX)
    memcpy(f.failure, b"its command failed here: ", 25)
    memcpy(&f.failure[25], text + f.pending, n)
    zfree(f.engine.heap, text)


cdef void following_after(client_t* link, const request_t* r) noexcept nogil:
    cdef following_t* f = following(link.engine)
    if f == NULL or link.flags & CLIENT_FAILED:
        if f != NULL:
            _note_failure(f)
        client_close_asap(link)
        return
    if r.raw != NULL and f.kept.len == 0 and not link.flags & CLIENT_MULTI:
        journal_verbatim(link.engine, link.db.id, r.raw, r.raw_len)
        _look_for_beat(f, r)
        return
    if r.raw != NULL:
        buf_put(&f.kept, r.raw, r.raw_len)
    if not link.flags & CLIENT_MULTI:
        journal_verbatim(link.engine, link.db.id, f.kept.data, f.kept.len)
        f.kept.len = 0
        if f.kept.cap > KEPT_MAX:
            buf_free(&f.kept)
        _look_for_beat(f, r)


cdef inline void _look_for_beat(following_t* f, const request_t* r) noexcept nogil:
    if cf_unlikely(f.link.cmd == f.engine.commands.ping) and r.argc == 2 and f.beat_fn != NULL:
        f.beat_fn(f.engine, r.argv[1].ptr, r.argv[1].len)


cdef void following_acknowledge(engine_t* e) noexcept nogil:
    if following(e) != NULL and not following(e).managed:
        following_confirm(e, journal_end(e))


cdef void following_confirm(engine_t* e, uint64_t offset) noexcept nogil:
    """REPLCONF ACK offset, and with an AOF FACK and the offset up to which that is on disk."""
    cdef following_t* f = following(e)
    cdef char digits[2 * INT64_CHARS_MAX]
    cdef buf_t words
    cdef arg_t argv[5]
    cdef int argc = 3
    if f == NULL or f.link == NULL or f.link.flags & CLIENT_CLOSE_ASAP:
        return
    argv[0] = journal_arg(b"REPLCONF", 8)
    argv[1] = journal_arg(b"ACK", 3)
    argv[2] = journal_arg(digits, int64_to_chars(digits, offset))
    if e.persist.aof_enabled:
        argv[3] = journal_arg(b"FACK", 4)
        argv[4] = journal_arg(
            digits + INT64_CHARS_MAX, int64_to_chars(digits + INT64_CHARS_MAX, e.persist.aof_fsynced_offset))
        argc = 5
    f.confirmed = offset
    f.confirmed_ms = e.monotonic_ms
    buf_init(&words, e.heap)
    journal_put(&words, argc, argv)
    out_raw(&f.link.out, words.data, words.len)
    buf_free(&words)
    if not f.link.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(f.link)
    engine_wake(e)


cdef void following_confirm_tick(engine_t* e) noexcept nogil:
    cdef following_t* f = following(e)
    cdef uint64_t end = e.journal.offset
    if f.from_file:
        end = min(end, e.persist.aof_written_offset)
    if f.link != NULL and end > f.confirmed:
        following_confirm(e, end)


cdef uint64_t following_read(const engine_t* e) noexcept nogil:
    cdef const following_t* f = following(e)
    return f.begun + f.link.net_in if f.link != NULL else journal_end(e)
