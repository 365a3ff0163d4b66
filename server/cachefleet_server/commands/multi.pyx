"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

EXEC runs what the dispatcher has queued (keyspace/transaction.pxd) through engine.call_fn, so each command is counted,
timed and journalled as if it had come alone; the journal wraps what they wrote in MULTI/EXEC. While it runs,
CLIENT_EXECUTING is set, and CLIENT_DENY_BLOCKING, at which commands look that would wait.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport (
    CLIENT_DENY_BLOCKING, CLIENT_DIRTY_CAS, CLIENT_DIRTY_EXEC, CLIENT_EXECUTING, CLIENT_MULTI, CLIENT_PREVENT_PROPAGATE,
    arg_t, client_t, command_t, engine_t)
from cachefleet_server.core.errors cimport ERR_EXECABORT
from cachefleet_server.core.reply cimport reply_array, reply_error, reply_null_array, reply_ok
from cachefleet_server.core.request cimport kept_request_t
from cachefleet_server.keyspace.journal cimport journal_transaction_begin, journal_transaction_end
from cachefleet_server.keyspace.transaction cimport transaction_begin, transaction_discard, transaction_t
from cachefleet_server.keyspace.watch cimport unwatch_all, watch_key, watched_key_expired


cdef void multi_command(client_t* c) noexcept nogil:
    if c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR MULTI calls can not be nested")
        return
    transaction_begin(c)
    reply_ok(c)


cdef void discard_command(client_t* c) noexcept nogil:
    if not c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR DISCARD without MULTI")
        return
    unwatch_all(c)
    transaction_discard(c)
    reply_ok(c)


cdef void _run(client_t* c, const transaction_t* t) noexcept nogil:
    """The queued commands in turn. The client's own command is EXEC again afterwards."""
    cdef engine_t* e = c.engine
    cdef command_t* cmd = c.cmd
    cdef int argc = c.argc
    cdef arg_t* argv = c.argv
    cdef const char* raw = c.raw
    cdef size_t raw_len = c.raw_len
    cdef kept_request_t* kept
    cdef int i
    journal_transaction_begin(e)
    for i in range(t.count):
        kept = t.requests[i]
        c.cmd = kept.cmd
        c.argc = kept.request.argc
        c.argv = kept.request.argv
        c.raw = kept.request.raw
        c.raw_len = kept.request.raw_len
        e.call_fn(c)
    journal_transaction_end(e)
    c.cmd = cmd
    c.argc = argc
    c.argv = argv
    c.raw = raw
    c.raw_len = raw_len


cdef void exec_command(client_t* c) noexcept nogil:
    cdef transaction_t* t = <transaction_t*>c.transaction
    if not c.flags & CLIENT_MULTI:
        reply_error(c, b"ERR EXEC without MULTI")
        return
    if c.flags & CLIENT_DIRTY_EXEC:
        reply_error(c, ERR_EXECABORT)
    elif c.flags & CLIENT_DIRTY_CAS or watched_key_expired(c):
        reply_null_array(c)
    else:
        unwatch_all(c)  # no more looking: what EXEC itself changes is no conflict
        reply_array(c, t.count)
        c.flags |= CLIENT_EXECUTING | CLIENT_DENY_BLOCKING
        _run(c, t)
        c.flags = (c.flags & ~<uint64_t>CLIENT_EXECUTING) | CLIENT_PREVENT_PROPAGATE
        if c.role.may_block:
            c.flags &= ~<uint64_t>CLIENT_DENY_BLOCKING
    unwatch_all(c)
    transaction_discard(c)


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
