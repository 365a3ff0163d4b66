"""The journal's buffer: commands as RESP, SELECT and MULTI put where a reader needs them.

A transaction's MULTI is written before its first command and that command's SELECT. If it stays the only one, the
end of the transaction takes MULTI out again, which moves that one command down by 15 bytes.
"""

from libc.string cimport memcpy, memmove

from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE
from cachefleet_server.ds.buf cimport buf_put, buf_reserve
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.resp.command cimport HEADER_MAX, header_write

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


cdef void _append(engine_t* e, int argc, const arg_t* argv) noexcept nogil:
    cdef size_t room = HEADER_MAX
    cdef char* start
    cdef char* at
    cdef int i
    for i in range(argc):
        room += HEADER_MAX + argv[i].len + 2
    start = buf_reserve(&e.journal.buf, room)
    at = header_write(start, c"*", argc)
    for i in range(argc):
        at = header_write(at, c"$", argv[i].len)
        memcpy(at, argv[i].ptr, argv[i].len)
        at += argv[i].len
        at[0] = c"\r"
        at[1] = c"\n"
        at += 2
    e.journal.buf.len += at - start


cdef void _select(engine_t* e, int dbid) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t argv[2]
    argv[0] = journal_arg(b"SELECT", 6)
    argv[1] = journal_arg(digits, int64_to_chars(digits, dbid))
    _append(e, 2, argv)
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
        _append(e, argc, argv)


cdef void journal_raw(engine_t* e, int dbid, const char* raw, size_t n) noexcept nogil:
    if e.journal.enabled:
        _before_command(e, dbid)
        buf_put(&e.journal.buf, raw, n)


cdef void journal_delete(engine_t* e, int dbid, const char* key, size_t nk) noexcept nogil:
    cdef arg_t argv[2]
    argv[0] = journal_arg(b"UNLINK", 6)
    argv[1] = journal_arg(key, nk)
    journal_command(e, dbid, 2, argv)


cdef void journal_rewrite(client_t* c, int argc, const arg_t* argv) noexcept nogil:
    journal_command(c.engine, c.db.id, argc, argv)
    c.flags |= CLIENT_PREVENT_PROPAGATE


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
