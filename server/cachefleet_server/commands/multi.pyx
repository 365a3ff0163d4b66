"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH, and queueing.

Between MULTI and EXEC the dispatcher hands every command to `multi_queue`, which copies it: one allocation
holds the struct, the argument vector and the bytes. EXEC runs the copies through engine.call_fn, so each is
counted, timed and journalled as if it had come alone; the journal wraps what they wrote in MULTI/EXEC.

    queued_t | arg_t[argc] | bytes of the arguments

When the command came as canonical RESP, its raw bytes are copied in one piece and the arguments point into them.

An error while queueing (CLIENT_DIRTY_EXEC) makes EXEC abort; a watched key that changed (CLIENT_DIRTY_CAS)
makes it reply null. While EXEC runs, CLIENT_EXECUTING is set, and CLIENT_DENY_BLOCKING, at which blocking commands
look.
"""

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, strncmp

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport (
    CLIENT_DENY_BLOCKING, CLIENT_DIRTY_CAS, CLIENT_DIRTY_EXEC, CLIENT_EXECUTING, CLIENT_MULTI, CLIENT_PREVENT_PROPAGATE,
    arg_t, client_t, command_t, engine_t)
from cachefleet_server.core.errors cimport ERR_EXECABORT
from cachefleet_server.core.reply cimport (
    reply_array, reply_error, reply_error_bytes, reply_null_array, reply_ok, reply_simple)
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zmalloc, zrealloc
from cachefleet_server.keyspace.journal cimport journal_transaction_begin, journal_transaction_end
from cachefleet_server.keyspace.watch cimport unwatch_all, watch_key, watched_key_expired

cdef struct queued_t:
    command_t* cmd
    int argc
    arg_t* argv
    const char* raw  # NULL: not in one piece
    size_t raw_len
    size_t bytes  # of this allocation

cdef struct multi_t:
    queued_t** commands
    int count
    int cap
    uint64_t flags  # of all queued commands, ORed
    size_t bytes


cdef queued_t* _copy_command(client_t* c) noexcept nogil:
    cdef size_t bytes = sizeof(queued_t) + c.argc * sizeof(arg_t)
    cdef size_t content = 0
    cdef queued_t* q
    cdef char* at
    cdef int i
    if c.raw != NULL:
        content = c.raw_len
    else:
        for i in range(c.argc):
            content += c.argv[i].len
    q = <queued_t*>zmalloc(c.engine.heap, bytes + content)
    q.cmd = c.cmd
    q.argc = c.argc
    q.argv = <arg_t*>(<char*>q + sizeof(queued_t))
    q.raw = NULL
    q.raw_len = 0
    q.bytes = bytes + content
    at = <char*>q + bytes
    if c.raw != NULL:
        memcpy(at, c.raw, c.raw_len)
        q.raw = at
        q.raw_len = c.raw_len
    for i in range(c.argc):
        q.argv[i] = c.argv[i]
        if c.raw != NULL:
            q.argv[i].ptr = q.raw + (c.argv[i].ptr - c.raw)
        else:
            memcpy(at, c.argv[i].ptr, c.argv[i].len)
            q.argv[i].ptr = at
            at += c.argv[i].len
    return q


cdef void multi_queue(client_t* c) noexcept nogil:
    cdef heap_t* heap = c.engine.heap
    cdef multi_t* m = <multi_t*>c.multi
    if m.count == m.cap:
        m.cap = 2 * m.cap if m.cap else 4
        m.commands = <queued_t**>zrealloc(heap, m.commands, m.cap * sizeof(queued_t*))
    m.commands[m.count] = _copy_command(c)
    m.bytes += m.commands[m.count].bytes
    m.count += 1
    m.flags |= c.cmd.flags
    reply_simple(c, b"QUEUED")


cdef void _free(heap_t* heap, multi_t* m) noexcept nogil:
    cdef int i
    if m == NULL:
        return
    for i in range(m.count):
        zfree(heap, m.commands[i])
    zfree(heap, m.commands)
    zfree(heap, m)


cdef void multi_discard(client_t* c) noexcept nogil:
    _free(c.engine.heap, <multi_t*>c.multi)
    c.multi = NULL
    c.flags &= ~<uint64_t>(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC)


cdef uint64_t multi_cmd_flags(const client_t* c) noexcept nogil:
    return (<multi_t*>c.multi).flags if c.multi != NULL else 0


cdef int multi_count(const client_t* c) noexcept nogil:
    return (<multi_t*>c.multi).count if c.multi != NULL else -1


cdef size_t multi_memory(const client_t* c) noexcept nogil:
    cdef multi_t* m = <multi_t*>c.multi
    return sizeof(multi_t) + m.cap * sizeof(queued_t*) + m.bytes if m != NULL else 0


cdef void multi_flag_error(client_t* c) noexcept nogil:
    if c.flags & CLIENT_MULTI:
        c.flags |= CLIENT_DIRTY_EXEC


cdef void exec_abort(client_t* c, const char* why) noexcept nogil:
    cdef char text[512]
    cdef int n
    unwatch_all(c)
    multi_discard(c)
    if strncmp(why, b"ERR ", 4) == 0:
        why += 4
    n = snprintf(text, sizeof(text), b"EXECABORT Transaction discarded because of: %s", why)
    reply_error_bytes(c, text, n if n < <int>sizeof(text) else <int>sizeof(text) - 1)


# ---- commands ---------------------------------------------------------------------------------------------

cdef void multi_command(client_t* c) noexcept nogil:
    cdef multi_t* m
    if c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR MULTI calls can not be nested")
        return
    m = <multi_t*>zmalloc(c.engine.heap, sizeof(multi_t))
    m.commands = NULL
    m.count = 0
    m.cap = 0
    m.flags = 0
    m.bytes = 0
    c.multi = m
    c.flags |= CLIENT_MULTI
    reply_ok(c)


cdef void discard_command(client_t* c) noexcept nogil:
    if not c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR DISCARD without MULTI")
        return
    unwatch_all(c)
    multi_discard(c)
    reply_ok(c)


cdef void _run(client_t* c, multi_t* m) noexcept nogil:
    """The queued commands in turn. The client's own command is EXEC again afterwards."""
    cdef engine_t* e = c.engine
    cdef command_t* cmd = c.cmd
    cdef int argc = c.argc
    cdef arg_t* argv = c.argv
    cdef const char* raw = c.raw
    cdef size_t raw_len = c.raw_len
    cdef queued_t* q
    cdef int i
    journal_transaction_begin(e)
    for i in range(m.count):
        q = m.commands[i]
        c.cmd = q.cmd
        c.argc = q.argc
        c.argv = q.argv
        c.raw = q.raw
        c.raw_len = q.raw_len
        e.call_fn(c)
    journal_transaction_end(e)
    c.cmd = cmd
    c.argc = argc
    c.argv = argv
    c.raw = raw
    c.raw_len = raw_len


cdef void exec_command(client_t* c) noexcept nogil:
    cdef multi_t* m = <multi_t*>c.multi
    if not c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR EXEC without MULTI")
        return
    if c.flags & CLIENT_DIRTY_EXEC:
        reply_error(c, ERR_EXECABORT)
    elif c.flags & CLIENT_DIRTY_CAS or watched_key_expired(c):
        reply_null_array(c)
    else:
        unwatch_all(c)  # no more looking: what EXEC itself changes is no conflict
        reply_array(c, m.count)
        c.flags |= CLIENT_EXECUTING | CLIENT_DENY_BLOCKING
        _run(c, m)
        c.flags = (c.flags & ~<uint64_t>CLIENT_EXECUTING) | CLIENT_PREVENT_PROPAGATE
        if c.role.may_block:
            c.flags &= ~<uint64_t>CLIENT_DENY_BLOCKING
    unwatch_all(c)
    multi_discard(c)


cdef void watch_command(client_t* c) noexcept nogil:
    cdef int i
    if c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR WATCH inside MULTI is not allowed")
        return
    if not c.flags & CLIENT_DIRTY_CAS:  # else EXEC fails anyway
        for i in range(1, c.argc):
            watch_key(c, &c.argv[i])
    reply_ok(c)


cdef void unwatch_command(client_t* c) noexcept nogil:
    unwatch_all(c)
    c.flags &= ~<uint64_t>CLIENT_DIRTY_CAS
    reply_ok(c)


cdef int register_multi(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, multi_command, "multi", 1, "noscript loading stale fast no_multi allow_busy", "transaction", "",
                "transactions 1.2.0 O(1)", "Begins a transaction: what follows is queued until EXEC.", "")
    command_row(e, exec_command, "exec", 1, "noscript loading stale skip_commandlog", "transaction", "",
                "transactions 1.2.0 Depends on commands in the transaction", "Runs the commands of a transaction.", "")
    command_row(e, discard_command, "discard", 1, "noscript loading stale fast allow_busy", "transaction", "",
                "transactions 2.0.0 O(N), when N is the number of queued commands", "Gives a transaction up.", "")
    command_row(e, watch_command, "watch", -2, "noscript loading stale fast no_multi allow_busy", "transaction",
                "1:-1 RO", "transactions 2.2.0 O(1) for every key.",
                "Lets the next transaction run only if these keys stay unchanged.", "key:key...")
    command_row(e, unwatch_command, "unwatch", 1, "noscript loading stale fast allow_busy", "transaction", "",
                "transactions 2.2.0 O(1)", "Forgets all watched keys.", "")
    return 0
