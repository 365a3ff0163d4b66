"""Python rows and hooks: the engine calls them on its own thread, inside a tick that has released the GIL.

A row gets a view of its client and its arguments, and returns a reply. None of what is called here may raise: what a
row raises becomes an error reply, told to `on_row_failed`. A view is good for as long as its client is there
(client_view.pyx), so a row may keep it while it waits.

A row that may wait, which is one that may return an awaitable, says so when it is registered (CMD_MAY_WAIT) and is one
that cannot be queued in a transaction or used by scripts: the table refuses that. Where nobody can wait it is not run
at all. An awaitable from any other row is an error of ours.
"""

import asyncio
from inspect import isawaitable

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.client_view cimport Client, client_view, forget_view, shown_argv
from cachefleet_server.core.engine cimport (
    BLOCKED_PYTHON, CLIENT_CLOSE_AFTER_COMMAND, CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, CLIENT_DENY_BLOCKING,
    CLIENT_PYTHON_WAIT, CMD_MAY_WAIT)
from cachefleet_server.core.pyreply cimport encode_reply
from cachefleet_server.core.reply cimport reply_begin, reply_error_bytes
from cachefleet_server.core.wake cimport engine_wake
from cachefleet_server.keyspace.blocked cimport block_client, unblock_client

from cachefleet_server.errors import CommandError
from cachefleet_server.replies import NO_REPLY, Error

_CANNOT_WAIT = Error("ERR this command waits, which is not possible here")


cdef class Rows:
    """What an Engine is to its Python rows; see rows.pxd."""

    def __cinit__(self, *args, **kwargs):
        self.tasks = set()

    cdef void install(self) noexcept:
        self.ptr.facade = <void*>self
        self.ptr.python_fn = _run
        self.ptr.commandlog_fn = _commandlog
        self.ptr.monitor_fn = _monitor
        self.ptr.latency_fn = _latency
        self.ptr.view_fn = _forget_view


cdef list _argv(client_t* c):
    cdef int i
    return [PyBytes_FromStringAndSize(c.argv[i].ptr, c.argv[i].len) for i in range(c.argc)]

# ---- rows -----------------------------------------------------------------------------------------------

cdef void _run(client_t* c) noexcept with gil:
    cdef Rows rows = <Rows><PyObject*>c.engine.facade
    cdef bint may_wait = c.cmd.flags & CMD_MAY_WAIT
    if may_wait and c.flags & CLIENT_DENY_BLOCKING:
        _send(rows, c, _CANNOT_WAIT)
        return
    view = client_view(c)
    argv = _argv(c)
    try:
        value = (<object><PyObject*>c.cmd.callback)(view, argv)
        if isawaitable(value):
            if may_wait:
                _await(rows, view, argv, value)
                return
            if hasattr(value, "close"):
                value.close()
            raise RuntimeError("an awaitable, from a row that is not registered as one that may wait")
    except Exception as error:
        value = _error_value(rows, view, argv, error)
    _send(rows, c, value)
    if c.flags & CLIENT_CLOSE_AFTER_COMMAND:
        c.flags |= CLIENT_CLOSE_AFTER_REPLY


cdef object _error_value(Rows rows, object view, list argv, object error):
    if isinstance(error, CommandError):
        return Error(str(error))
    if rows.on_row_failed is not None:
        rows.on_row_failed(view, argv, error)
    return Error("ERR internal error: " + type(error).__name__)


cdef void _send(Rows rows, client_t* c, object value) noexcept:
    if value is NO_REPLY or c.flags & CLIENT_CLOSE_ASAP:
        return
    if isinstance(value, Error):
        text = value.strip("\r\n").encode("utf-8", "surrogateescape")  # it may quote any bytes
        reply_error_bytes(c, text, len(text))
        return
    if not reply_begin(c):
        return
    try:
        encode_reply(&c.out, c.resp, value)
    except Exception as error:
        text = b"ERR internal error: reply cannot be encoded"
        reply_error_bytes(c, text, len(text))
        if rows.on_row_failed is not None:
            rows.on_row_failed(client_view(c), [], error)

# ---- waiting --------------------------------------------------------------------------------------------

cdef void _wait_over(client_t* c, bint timed_out) noexcept nogil:
    pass  # the row's own task has replied


cdef _await(Rows rows, Client view, list argv, object awaitable):
    """The client waits; the loop runs the row's coroutine; its result is the reply."""

    async def finish():
        try:
            value = await awaitable
        except Exception as error:
            value = _error_value(rows, None, argv, error)
        _finish(rows, view, value)

    task = asyncio.get_running_loop().create_task(finish())
    rows.tasks.add(task)
    task.add_done_callback(rows.tasks.discard)
    block_client(view.c, BLOCKED_PYTHON, 0, _wait_over)
    view.c.flags |= CLIENT_PYTHON_WAIT


def _finish(Rows rows not None, Client view not None, value):
    cdef client_t* c = view.c
    if c == NULL:
        return
    c.flags &= ~<uint64_t>CLIENT_PYTHON_WAIT
    _send(rows, c, value)
    unblock_client(c, False)
    engine_wake(rows.ptr)


# ---- hooks ----------------------------------------------------------------------------------------------

cdef void _tell(Rows rows, object observer, tuple what) noexcept:
    if observer is not None:
        try:
            observer(*what)
        except Exception as error:
            _error_value(rows, None, [], error)


cdef void _commandlog(client_t* c, int kind, uint64_t value) noexcept with gil:
    cdef Rows rows = <Rows><PyObject*>c.engine.facade
    _tell(rows, rows.on_commandlog, (kind, client_view(c), shown_argv(c), value))


cdef void _monitor(client_t* c) noexcept with gil:
    cdef Rows rows = <Rows><PyObject*>c.engine.facade
    _tell(rows, rows.on_monitor, (client_view(c), _argv(c)))


cdef void _latency(engine_t* e, const char* event, int64_t ms) noexcept with gil:
    cdef Rows rows = <Rows><PyObject*>e.facade
    _tell(rows, rows.on_latency, (event.decode(), ms))


cdef void _forget_view(client_t* c) noexcept with gil:
    forget_view(c)
