"""PING, ECHO, SELECT, QUIT, RESET. HELLO, AUTH and CLIENT are Python rows of admin/."""

from libc.stdint cimport INT32_MAX, INT32_MIN, int64_t, uint64_t

from cachefleet_server.core.client_class cimport client_set_class, client_set_monitor
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport (
    CLASS_NORMAL, CLIENT_AUTHENTICATED, CLIENT_CLOSE_AFTER_REPLY, CLIENT_DIRTY_CAS, CLIENT_DIRTY_EXEC, CLIENT_MULTI,
    CLIENT_NO_EVICT, CLIENT_NO_TOUCH, CLIENT_REPLY_OFF, CLIENT_REPLY_SKIP_NEXT, client_t, engine_t)
from cachefleet_server.core.errors cimport ERR_DB_INDEX
from cachefleet_server.core.reply cimport (
    arg_int64, reply_array, reply_bulk, reply_error, reply_ok, reply_simple, reply_text, reply_wrong_arity)
from cachefleet_server.ds.zmalloc cimport zfree
from cachefleet_server.keyspace.channels cimport channels_leave_all
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.keyspace.tracking cimport tracking_off
from cachefleet_server.keyspace.transaction cimport transaction_discard
from cachefleet_server.keyspace.watch cimport unwatch_all


cdef void ping_command(client_t* c) noexcept nogil:
    if c.argc > 2:
        reply_wrong_arity(c)
    elif c.resp == 2 and c.subscriptions != NULL:  # in the form of a message
        reply_array(c, 2)
        reply_text(c, b"pong")
        reply_bulk(c, c.argv[1].ptr if c.argc == 2 else NULL, c.argv[1].len if c.argc == 2 else 0)
    elif c.argc == 1:
        reply_simple(c, b"PONG")
    else:
        reply_bulk(c, c.argv[1].ptr, c.argv[1].len)


cdef void echo_command(client_t* c) noexcept nogil:
    reply_bulk(c, c.argv[1].ptr, c.argv[1].len)


cdef void select_command(client_t* c) noexcept nogil:
    cdef int64_t index
    if not arg_int64(c, &c.argv[1], &index):
        return
    if index < INT32_MIN or index > INT32_MAX:
        reply_error(c, b"ERR value is out of range, value must between -2147483648 and 2147483647")
    elif index < 0 or index >= c.engine.keyspace.count:
        reply_error(c, ERR_DB_INDEX)
    else:
        c.db = keyspace_db(c.engine.keyspace, <int>index)
        reply_ok(c)


cdef void quit_command(client_t* c) noexcept nogil:
    reply_ok(c)
    c.flags |= CLIENT_CLOSE_AFTER_REPLY


cdef void reset_command(client_t* c) noexcept nogil:
    """Everything that a client can change about its connection becomes what it was when it connected."""
    if c.replica != NULL:
        reply_error(c, b"ERR can only reset normal connections")
        return
    if c.flags & CLIENT_MULTI:
        transaction_discard(c)
    unwatch_all(c)
    client_set_monitor(c, False)
    channels_leave_all(c)
    tracking_off(c)
    client_set_class(c, CLASS_NORMAL)
    c.flags &= ~<uint64_t>(
        CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC | CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP_NEXT
        | CLIENT_NO_EVICT | CLIENT_NO_TOUCH)
    c.db = c.engine.keyspace.dbs[0]
    c.resp = 2
    c.user = NULL
    if c.engine.params.auth_required:
        c.flags &= ~<uint64_t>CLIENT_AUTHENTICATED
    else:
        c.flags |= CLIENT_AUTHENTICATED
    if c.info != NULL:
        zfree(c.engine.heap, c.info.name)
        c.info.name = NULL
    reply_simple(c, b"RESET")


cdef int register_connection(engine_t* e) except -1:
    command_row(
        e, ping_command, "ping", -1, "fast", "connection", "",
        "connection 1.0.0 O(1); tips request_policy:all_shards response_policy:all_succeeded",
        "Answers, so that a client sees the server live.", "[message:string]")
    command_row(
        e, echo_command, "echo", 2, "loading stale fast", "connection", "",
        "connection 1.0.0 O(1)", "Returns its argument.", "message:string")
    command_row(
        e, select_command, "select", 2, "loading stale fast allow_busy", "connection", "",
        "connection 1.0.0 O(1)", "Chooses the database that the following commands use.", "index:integer")
    command_row(
        e, quit_command, "quit", -1, "noscript loading stale fast no_auth allow_busy", "connection", "",
        "connection 1.0.0 O(1)", "Ends the connection after its reply.", "")
    command_row(
        e, reset_command, "reset", 1, "noscript loading stale fast no_auth allow_busy", "connection", "",
        "connection 6.2.0 O(1)", "Puts the connection into the state of a new one.", "")
    return 0
