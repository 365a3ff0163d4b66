"""The journal's buffer: commands as RESP, SELECT and MULTI put where a reader needs them.

A transaction's MULTI is written before its first command and that command's SELECT. If it stays the only one, the
end of the transaction takes MULTI out again, which moves that one command down by 15 bytes.
"""

from libc.string cimport memcpy, memmove, memset

from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.core.journal cimport journal_span_t, journal_t
from cachefleet_server.ds.buf cimport buf_free, buf_put, buf_reserve
from cachefleet_server.ds.intrin cimport cf_assert, cf_unlikely
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.resp.command cimport HEADER_MAX, header_write

cdef enum:
    _BUFFER_KEEP = 1048576  # bytes of an empty buffer that are kept
    _ID_BYTES = 20

cdef extern from "<unistd.h>" nogil:
    int getentropy(void* buffer, size_t n)

cdef extern from * nogil:
    """
    #define CF_MULTI "*1\\r\\n$5\\r\\nMULTI\\r\\n"
    #define CF_EXEC "*1\\r\\n$4\\r\\nEXEC\\r\\n"
    #define CF_MULTI_LEN (sizeof(CF_MULTI) - 1)
    #define CF_EXEC_LEN (sizeof(CF_EXEC) - 1)
    """
    const char* CF_MULTI
    const char* CF_EXEC
    const size_t CF_MULTI_LEN
    const size_t CF_EXEC_LEN


cdef void journal_put(buf_t* to, int argc, const arg_t* argv) noexcept nogil:
    cdef size_t room = HEADER_MAX
    cdef char* start
    cdef char* at
    cdef int i
    for i in range(argc):
        room += HEADER_MAX + argv[i].len + 2
    start = buf_reserve(to, room)
    at = header_write(start, c"*", argc)
    for i in range(argc):
        at = header_write(at, c"$", argv[i].len)
        memcpy(at, argv[i].ptr, argv[i].len)
        at += argv[i].len
        at[0] = c"\r"
        at[1] = c"\n"
        at += 2
    to.len += at - start


cdef void _select(engine_t* e, int dbid) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t argv[2]
    argv[0] = journal_arg(b"SELECT", 6)
    argv[1] = journal_arg(digits, int64_to_chars(digits, dbid))
    journal_put(&e.journal.buf, 2, argv)
    e.journal.db = dbid


cdef inline void _before_command(engine_t* e, int dbid) noexcept nogil:
    if e.journal.depth > 0:
        if not e.journal.multi_open:
            e.journal.multi_open = True
            e.journal.multi_at = e.journal.buf.len
            e.journal.multi_commands = 0
            buf_put(&e.journal.buf, CF_MULTI, CF_MULTI_LEN)
        e.journal.multi_commands += 1
    if cf_unlikely(e.journal.db != dbid):  # inside MULTI, where Valkey writes it too
        _select(e, dbid)


cdef void journal_command(engine_t* e, int dbid, int argc, const arg_t* argv) noexcept nogil:
    if e.journal.enabled:
        _before_command(e, dbid)
        journal_put(&e.journal.buf, argc, argv)


cdef void journal_raw(engine_t* e, int dbid, const char* raw, size_t n) noexcept nogil:
    if e.journal.enabled:
        _before_command(e, dbid)
        buf_put(&e.journal.buf, raw, n)


cdef void journal_verbatim(engine_t* e, int dbid, const char* data, size_t n) noexcept nogil:
    if e.journal.consumers != NULL:
        buf_put(&e.journal.buf, data, n)
        e.journal.db = dbid


cdef void journal_delete(engine_t* e, int dbid, const char* key, size_t nk) noexcept nogil:
    cdef arg_t argv[2]
    argv[0] = journal_arg(b"UNLINK", 6)
    argv[1] = journal_arg(key, nk)
    journal_command(e, dbid, 2, argv)


cdef void journal_rewrite(client_t* c, int argc, const arg_t* argv) noexcept nogil:
    journal_command(c.engine, c.db.id, argc, argv)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef void journal_message(client_t* c) noexcept nogil:
    cdef journal_t* j = &c.engine.journal
    cdef journal_span_t span
    cdef journal_span_t* last = NULL
    if not j.enabled or j.spreading == 0 or not c.role.journals:
        return
    if j.depth > 0:
        journal_command(c.engine, c.db.id, c.argc, c.argv)
        return
    span.begin = journal_end(c.engine)
    journal_put(&j.buf, c.argc, c.argv)  # channels are of no database
    span.end = journal_end(c.engine)
    if j.messages.len:
        last = <journal_span_t*>(j.messages.data + j.messages.len) - 1
    if last != NULL and last.end == span.begin:
        last.end = span.end
    else:
        buf_put(&j.messages, <const char*>&span, sizeof(journal_span_t))


cdef void journal_transaction_begin(engine_t* e) noexcept nogil:
    e.journal.depth += 1


cdef void journal_transaction_end(engine_t* e) noexcept nogil:
    cdef char* multi
    e.journal.depth -= 1
    if e.journal.depth > 0 or not e.journal.multi_open:
        return
    e.journal.multi_open = False
    if e.journal.buf.len < e.journal.multi_at + CF_MULTI_LEN:
        return  # the journal was switched off and emptied by a command of this transaction
    if e.journal.multi_commands > 1:
        buf_put(&e.journal.buf, CF_EXEC, CF_EXEC_LEN)
        return
    multi = e.journal.buf.data + e.journal.multi_at
    e.journal.buf.len -= CF_MULTI_LEN
    memmove(multi, multi + CF_MULTI_LEN, e.journal.buf.len - e.journal.multi_at)


# ---- consumers ---------------------------------------------------------------------------------------------

cdef void _drop_buffer(engine_t* e) noexcept nogil:
    e.journal.offset += e.journal.buf.len
    e.journal.buf.len = e.journal.messages.len = 0
    if e.journal.buf.cap > _BUFFER_KEEP:
        buf_free(&e.journal.buf)


cdef void journal_hand_over(engine_t* e) noexcept nogil:
    cdef journal_consumer_t* consumer = e.journal.consumers
    cdef journal_consumer_t* following
    cdef size_t n = e.journal.multi_at if e.journal.multi_open else e.journal.buf.len
    cdef size_t skip
    if n == 0:
        return
    while consumer != NULL:
        following = consumer.next
        skip = consumer.since - e.journal.offset if consumer.since > e.journal.offset else 0
        if skip < n:
            consumer.take_fn(consumer, e.journal.buf.data + skip, n - skip, e.journal.offset + skip)
        consumer = following
    e.journal.messages.len = 0
    if not e.journal.multi_open:
        _drop_buffer(e)
        return
    e.journal.offset += n
    e.journal.buf.len -= n
    e.journal.multi_at = 0
    memmove(e.journal.buf.data, e.journal.buf.data + n, e.journal.buf.len)


cdef void _begin_history(engine_t* e) noexcept nogil:
    """A new id: 40 hexadecimal digits."""
    cdef unsigned char random[20]  # _ID_BYTES
    cdef const char* digits = b"0123456789abcdef"
    cdef int i
    if getentropy(random, _ID_BYTES) != 0:  # an old kernel early in its life
        for i in range(_ID_BYTES):
            e.rng = e.rng * <uint64_t>6364136223846793005 + <uint64_t>1442695040888963407
            random[i] = e.rng >> 56
    for i in range(_ID_BYTES):
        e.journal.id[2 * i] = digits[random[i] >> 4]
        e.journal.id[2 * i + 1] = digits[random[i] & 15]
    e.journal.id[2 * _ID_BYTES] = 0


cdef void journal_attach(engine_t* e, journal_consumer_t* consumer) noexcept nogil:
    cdef journal_consumer_t** at = &e.journal.consumers
    if not e.journal.id[0]:
        _begin_history(e)
    while at[0] != NULL:
        at = &at[0].next
    at[0] = consumer
    consumer.next = NULL
    consumer.since = journal_end(e)
    e.journal.spreading += consumer.spreads
    e.journal.enabled = e.journal.muted == 0


cdef void journal_detach(engine_t* e, journal_consumer_t* consumer) noexcept nogil:
    cdef journal_consumer_t** at = &e.journal.consumers
    while at[0] != NULL and at[0] != consumer:
        at = &at[0].next
    if at[0] == NULL:
        return
    at[0] = consumer.next
    e.journal.spreading -= consumer.spreads
    if e.journal.consumers == NULL:
        _drop_buffer(e)
        e.journal.enabled = False
        e.journal.id[0] = e.journal.earlier_id[0] = 0


cdef void journal_mute(engine_t* e, bint on) noexcept nogil:
    e.journal.muted += 1 if on else -1
    e.journal.enabled = e.journal.consumers != NULL and e.journal.muted == 0


cdef void journal_continue(
        engine_t* e, const char* id40, uint64_t tenure, uint64_t offset, int dbid) noexcept nogil:
    cdef char* id = &e.journal.earlier_id[0] if e.following == NULL else &e.journal.id[0]
    memset(id, 0, sizeof(e.journal.id))
    memcpy(id, id40, 2 * _ID_BYTES)
    e.journal.earlier_end = e.journal.offset = offset
    e.journal.tenure = tenure
    e.journal.db = dbid


cdef void journal_become(engine_t* e, const char* id40, uint64_t offset, int dbid) noexcept nogil:
    cdef journal_consumer_t* consumer = e.journal.consumers
    cf_assert(e.journal.buf.len == 0 and not e.journal.multi_open)
    memcpy(e.journal.id, id40, 2 * _ID_BYTES)
    e.journal.earlier_id[0] = 0
    e.journal.offset = offset
    e.journal.db = dbid
    while consumer != NULL:
        consumer.since = offset
        consumer = consumer.next


cdef void journal_turn(engine_t* e, const char* id40) noexcept nogil:
    if e.journal.consumers == NULL:
        return
    journal_hand_over(e)  # what is told of offsets before tells them under the old id
    memcpy(e.journal.earlier_id, e.journal.id, sizeof(e.journal.id))
    e.journal.earlier_end = journal_end(e)
    if id40 != NULL:
        memcpy(e.journal.id, id40, 2 * _ID_BYTES)
    else:
        _begin_history(e)
