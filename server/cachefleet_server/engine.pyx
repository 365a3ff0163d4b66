"""The facade: engines, clients and command rows for plain Python; see engine.pyi for the contract.

An Engine owns its engine_t and everything below it. Python objects enter the engine in two places only: the rows of
the command table (a spec and perhaps a callable each, owned by the row) and a borrowed pointer back to the Engine,
which is valid as long as the engine_t is, since close() frees the latter first.

The hooks at the end of the file are called by the engine on its own thread, inside a tick that has released the GIL;
they take it back. None of them may raise: what a Python row raises becomes an error reply, told to `on_row_failed`.
"""

import asyncio
import os
from inspect import isawaitable

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server cimport facts
from cachefleet_server.client cimport Client, shown_argv
from cachefleet_server.commands.connection cimport register_connection
from cachefleet_server.commands.dump cimport register_dump
from cachefleet_server.commands.expire_cmds cimport register_expire
from cachefleet_server.commands.generic cimport register_generic
from cachefleet_server.commands.multi cimport register_multi
from cachefleet_server.commands.scan cimport register_scan
from cachefleet_server.commands.t_string cimport register_string
from cachefleet_server.commands.wait cimport register_wait
from cachefleet_server.core.client cimport engine_wake
from cachefleet_server.core.command cimport command_python_row, commands_free
from cachefleet_server.core.engine cimport (
    BLOCKED_PAUSE, BLOCKED_PYTHON, CLIENT_BLOCKED, CLIENT_CLOSE_ASAP, CLIENT_FAILED, CLIENT_MONITOR, CLIENT_MULTI,
    CLIENT_PYTHON_WAIT, CLIENT_UNIX_SOCKET, arg_t, stats_t)
from cachefleet_server.core.pyreply cimport decode_reply, encode_reply
from cachefleet_server.core.reply cimport reply_begin, reply_error_bytes
from cachefleet_server.core.role cimport ROLE_IN_PROCESS, ROLE_SERVER, ROLES, role_row
from cachefleet_server.ds.buf cimport buf_free, buf_init
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_used
from cachefleet_server.fields cimport param_at, set_defaults, set_persist, stat_at
from cachefleet_server.keyspace.blocked cimport block_client, blocked_free, unblock_client
from cachefleet_server.keyspace.db cimport db_flush, dbs_free, dbs_new
from cachefleet_server.keyspace.lazyfree cimport lazyfree_stop
from cachefleet_server.reactor.accept cimport accept_clients
from cachefleet_server.reactor.connection cimport actor_new, client_free, client_new, clients_account
from cachefleet_server.reactor.dispatch cimport call, execute_as
from cachefleet_server.reactor.reactor cimport (
    end_of_batch, reactor_close, reactor_cron, reactor_open, reactor_tick, run_slice)
from cachefleet_server.resp.input cimport request_t
from cachefleet_server.resp.writer cimport out_clear

from cachefleet_server.ds.glob import glob_matches  # no-cython-lint: for those above
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import NO_REPLY, Error


cdef Client _client(client_t* c):
    cdef Client view = Client.__new__(Client)
    view.c = c
    return view


cdef list _argv(client_t* c):
    cdef int i
    return [PyBytes_FromStringAndSize(c.argv[i].ptr, c.argv[i].len) for i in range(c.argc)]


cdef class Engine:
    """One engine; see engine.pyi."""

    def __cinit__(self, *, int databases=16, hash_seed=None):
        cdef engine_t* e = <engine_t*>calloc(1, sizeof(engine_t))
        cdef bytes seed = hash_seed if hash_seed is not None else os.urandom(16)
        if e == NULL:
            raise MemoryError
        if len(seed) != 16:
            raise ValueError("hash_seed must be 16 bytes")
        self.ptr = e
        self.tasks = set()
        e.epoll_fd = e.wake_fd = -1
        e.heap = heap_new()
        memcpy(&e.seed, <const char*>seed, 16)
        e.rng = int.from_bytes(os.urandom(8), "little")
        e.facade = <void*>self
        e.call_fn = call
        e.python_fn = _run_python_row
        e.commandlog_fn = _commandlog
        e.monitor_fn = _monitor
        e.latency_fn = _latency
        e.slow_ns = <uint64_t>-1
        e.journal.db = -1
        buf_init(&e.journal.buf, e.heap)
        error = reactor_open(e)
        if error:
            raise OSError(error, os.strerror(error))
        self.epoll_fd = e.epoll_fd
        dbs_new(e, databases)
        set_defaults(e)
        register_string(e)
        register_generic(e)
        register_expire(e)
        register_scan(e)
        register_wait(e)
        register_dump(e)
        register_multi(e)
        register_connection(e)
        e.stats.used_memory_startup = heap_used(e.heap)

    def __dealloc__(self):
        self.close()

    def close(self):
        """Frees everything. The engine must not be inside a tick."""
        cdef engine_t* e = self.ptr
        cdef int i
        if e == NULL:
            return
        if e.closing_fn != NULL:
            e.closing_fn(e)
        e.client_closed_fn = NULL
        for i in range(ROLES):
            if self.actors[i] != NULL:
                client_free(self.actors[i])
                self.actors[i] = NULL
        reactor_close(e)
        blocked_free(e)
        lazyfree_stop(e)
        dbs_free(e)
        buf_free(&e.journal.buf)
        commands_free(e)
        self.ptr = NULL
        heap_free(e.heap)
        free(e)

    # -- parameters and counters

    def set_param(self, str name, int64_t value):
        param_at(self.ptr, name)[0] = value
        if name in ("slowlog_log_slower_than", "latency_monitor_threshold"):
            self._set_slow_ns()
        elif name == "maxmemory_clients":
            clients_account(self.ptr)

    def get_param(self, str name):
        return param_at(self.ptr, name)[0]

    def _set_slow_ns(self):
        slow_us = self.ptr.params.slowlog_log_slower_than
        latency_ms = self.ptr.params.latency_monitor_threshold
        limits = [slow_us * 1000] if slow_us >= 0 else []
        if latency_ms > 0:
            limits.append(latency_ms * 1_000_000)
        never = <uint64_t>-1
        self.ptr.slow_ns = min(min(limits, default=never), never)

    def set_persist(self, str name, int64_t value):
        set_persist(self.ptr, name, value)

    def count(self, str name, uint64_t n=1):
        """Adds to a counter: for events that Python sees."""
        stat_at(self.ptr, name)[0] += n

    def reset_stats(self):
        cdef int i
        cdef uint64_t startup = self.ptr.stats.used_memory_startup
        memset(&self.ptr.stats, 0, sizeof(stats_t))
        self.ptr.stats.used_memory_startup = startup
        memset(self.ptr.tick_histogram, 0, sizeof(self.ptr.tick_histogram))
        self.ptr.error_kinds = 0
        self.ptr.errors_overflow = 0
        for i in range(self.ptr.commands.count):
            memset(&self.ptr.commands.rows[i].stats, 0, sizeof(self.ptr.commands.rows[i].stats))

    # -- what can be read off it

    def counters(self): return facts.counters(self.ptr)

    def stats(self): return facts.stats(self.ptr)

    def clients_memory(self): return facts.clients_memory(self.ptr)

    def command_stats(self): return facts.command_stats(self.ptr)

    def tick_histogram(self): return facts.tick_histogram(self.ptr)

    def error_stats(self): return facts.error_stats(self.ptr)

    def keyspace(self): return facts.keyspace(self.ptr)

    def allocator_stats(self): return facts.allocator_stats(self.ptr)

    def memory_usage(self, int db, bytes key, size_t samples): return facts.memory_usage(self.ptr, db, key, samples)

    def table_memory(self): return facts.table_memory(self.ptr)

    # -- data

    def drop_all(self):
        """Empties all databases without a trace in the journal; what comes next loads them again."""
        db_flush(self.ptr, -1, False)

    # -- commands

    def register(self, spec, row=None):
        command_python_row(self.ptr, row, spec)

    def specs(self):
        cdef int i
        return iter([<object><PyObject*>self.ptr.commands.rows[i].spec for i in range(self.ptr.commands.count)])

    def spec(self, str name):
        for spec in self.specs():
            if spec.name == name:
                return spec
        return None

    def execute(self, *args, int db=0, int resp=2):
        """Runs one command in-process and returns its reply as a Python value."""
        return self._execute(ROLE_IN_PROCESS, args, db, resp)

    def execute_own(self, *args, int db=0):
        """The same for the server's own work: no gate applies, and nothing is counted."""
        return self._execute(ROLE_SERVER, args, db, 2)

    def _execute(self, int role, tuple args, int db, int resp):
        cdef engine_t* e = self.ptr
        cdef client_t* actor = self.actors[role]
        cdef arg_t* argv
        cdef bint outermost = e.current == NULL
        if not args or not 0 <= db < e.keyspace.count:
            raise ValueError("no command, or no such database")
        argv = _arguments(args)
        self.actors[role] = NULL
        if actor == NULL:  # not made yet, or it is running the command that asks
            actor = self.new_actor(role)
        if not actor.flags & CLIENT_MULTI:
            actor.db = &e.keyspace.dbs[db]
        actor.resp = <uint8_t>resp
        _run_as(actor, len(args), argv)
        if outermost:  # else it belongs to a tick
            end_of_batch(e)
            run_slice(e)
        raw = _take_output(actor)
        if self.actors[role] == NULL:
            self.actors[role] = actor
        else:
            client_free(actor)
        return decode_reply(<const char*>raw, len(raw)) if raw else NO_REPLY

    cdef client_t* new_actor(self, int role) noexcept:
        return actor_new(self.ptr, role_row(role))

    cdef void free_actor(self, client_t* actor) noexcept:
        client_free(actor)

    cdef void run(self, client_t* actor, request_t* request) noexcept nogil:
        execute_as(actor, request)

    cdef bytes failure(self, client_t* actor):
        actor.flags &= ~<uint64_t>CLIENT_FAILED
        return _take_output(actor)

    # -- connections

    @property
    def client_count(self):
        return self.ptr.clients.count

    def add_client(self, int fd, *, bint unix=False):
        cdef client_t* c = client_new(self.ptr, fd, CLIENT_UNIX_SOCKET if unix else 0)
        if c == NULL:
            raise OSError("the kernel refuses to watch the socket")
        return c.id

    def accept(self, int listener, int limit, *, bint unix=False, bytes denied=None):
        """Accepts from a listening socket; see engine.pyi."""
        cdef const char* text = NULL
        cdef int error
        if denied is not None:
            text = denied
        with nogil:
            error = accept_clients(self.ptr, listener, limit, unix, text)
        return error

    def clients(self):
        cdef client_t* c = self.ptr.clients.head
        found = []
        while c != NULL:
            if not c.flags & CLIENT_CLOSE_ASAP:
                found.append(_client(c))
            c = c.next
        found.reverse()  # oldest first
        return found

    def client(self, uint64_t id):
        cdef client_t* c = _find(self.ptr, id)
        return _client(c) if c != NULL else None

    def pause_for(self, int64_t ms, bint all):
        """CLIENT PAUSE; 0 ends it. A pause under way is never shortened or weakened, except by ending it."""
        cdef engine_t* e = self.ptr
        if ms == 0:
            e.pause.all = False
            e.pause.until_ms = min(e.pause.until_ms, e.now_ms)
        else:
            e.pause.all = all or (e.pause.all and e.pause.until_ms > e.now_ms)
            e.pause.until_ms = max(e.pause.until_ms, e.now_ms + ms)
        engine_wake(e)  # a tick lets the clients go, or sees to it that one does in time

    def unblock(self, uint64_t id, bint error):
        """CLIENT UNBLOCK: only clients that wait in a blocking command."""
        cdef client_t* c = _find(self.ptr, id)
        if c == NULL or not c.flags & CLIENT_BLOCKED or c.blocked in (BLOCKED_PAUSE, BLOCKED_PYTHON):
            return False
        if error:
            text = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
            reply_error_bytes(c, text, len(text))
            c.unblock_fn = NULL
        unblock_client(c, True)
        return True

    def feed_monitors(self, value):
        cdef client_t* c = self.ptr.clients.head
        cdef size_t left = self.ptr.clients.monitors
        while c != NULL and left:
            if c.flags & CLIENT_MONITOR:
                left -= 1
                if not c.flags & CLIENT_CLOSE_ASAP and reply_begin(c):
                    encode_reply(&c.out, c.resp, value)
            c = c.next
        engine_wake(self.ptr)

    def set_monitor(self, uint64_t id):
        """MONITOR: the client gets a line for each command that any client runs from now on."""
        cdef client_t* c = _find(self.ptr, id)
        if c != NULL and not c.flags & CLIENT_MONITOR:
            c.flags |= CLIENT_MONITOR
            self.ptr.clients.monitors += 1

    # -- running

    def tick(self):
        with nogil:
            reactor_tick(self.ptr)

    def cron(self):
        with nogil:
            reactor_cron(self.ptr)

    def wake(self):
        """Makes a tick happen soon; for the thread of the event loop."""
        engine_wake(self.ptr)


cdef client_t* _find(engine_t* e, uint64_t id) noexcept:
    cdef client_t* c = e.clients.head
    while c != NULL and c.id != id:
        c = c.next
    return c


cdef arg_t* _arguments(tuple args) except NULL:
    """Points into `args`, which must outlive it. The caller frees it."""
    cdef arg_t* argv = <arg_t*>malloc(len(args) * sizeof(arg_t))
    cdef bytes word
    cdef Py_ssize_t i
    if argv == NULL:
        raise MemoryError
    try:
        for i in range(len(args)):
            word = args[i]
            argv[i].ptr = word
            argv[i].len = len(word)
            argv[i].hash = 0
    except TypeError:
        free(argv)
        raise
    return argv


cdef void _run_as(client_t* actor, int argc, arg_t* argv) noexcept:
    """Frees argv."""
    cdef request_t request
    cdef int i
    request.argc = argc
    request.argv = argv
    request.raw = NULL
    request.raw_len = 0
    request.bytes = 0
    for i in range(argc):
        request.bytes += argv[i].len
    execute_as(actor, &request)
    free(argv)


cdef bytes _take_output(client_t* c):
    chunks = []
    chunk = c.out.head
    while chunk != NULL:
        chunks.append(PyBytes_FromStringAndSize(chunk.data, chunk.len))
        chunk = chunk.next
    out_clear(&c.out)
    return b"".join(chunks)

# ---- hooks ----------------------------------------------------------------------------------------------

cdef void _run_python_row(client_t* c) noexcept with gil:
    cdef Engine engine = <Engine><PyObject*>c.engine.facade
    view = _client(c)
    argv = _argv(c)
    try:
        value = (<object><PyObject*>c.cmd.callback)(view, argv)
    except Exception as error:
        value = _error_value(engine, view, argv, error)
    if isawaitable(value):
        _await(engine, c, argv, value)
    else:
        _send(engine, c, value)


cdef object _error_value(Engine engine, object view, list argv, object error):
    if isinstance(error, CommandError):
        return Error(str(error))
    if engine.on_row_failed is not None:
        engine.on_row_failed(view, argv, error)
    return Error("ERR internal error: " + type(error).__name__)


cdef void _send(Engine engine, client_t* c, object value) noexcept:
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
        if engine.on_row_failed is not None:
            engine.on_row_failed(_client(c), [], error)


cdef void _python_wait_over(client_t* c, bint timed_out) noexcept nogil:
    pass  # the row's own task has replied


cdef void _await(Engine engine, client_t* c, list argv, object awaitable) noexcept:
    """The client waits; the loop runs the row's coroutine; its result is the reply."""
    client_id = c.id

    async def finish():
        try:
            value = await awaitable
        except Exception as error:
            value = _error_value(engine, None, argv, error)
        _finish_wait(engine, client_id, value)

    if c.fd < 0:
        awaitable.close()
        _send(engine, c, Error("ERR this command cannot be used in-process"))
        return
    block_client(c, BLOCKED_PYTHON, 0, _python_wait_over)
    c.flags |= CLIENT_PYTHON_WAIT
    task = asyncio.get_running_loop().create_task(finish())
    engine.tasks.add(task)
    task.add_done_callback(engine.tasks.discard)


cdef void _tell(Engine engine, object observer, tuple what) noexcept:
    if observer is not None:
        try:
            observer(*what)
        except Exception as error:
            _error_value(engine, None, [], error)


cdef void _commandlog(client_t* c, int kind, uint64_t value) noexcept with gil:
    cdef Engine engine = <Engine><PyObject*>c.engine.facade
    _tell(engine, engine.on_commandlog, (kind, _client(c), shown_argv(c), value))


cdef void _monitor(client_t* c) noexcept with gil:
    cdef Engine engine = <Engine><PyObject*>c.engine.facade
    _tell(engine, engine.on_monitor, (_client(c), _argv(c)))


cdef void _latency(engine_t* e, const char* event, int64_t ms) noexcept with gil:
    cdef Engine engine = <Engine><PyObject*>e.facade
    _tell(engine, engine.on_latency, (event.decode(), ms))


def _finish_wait(Engine engine not None, uint64_t client_id, value):
    cdef client_t* c
    if engine.ptr == NULL:
        return
    c = _find(engine.ptr, client_id)
    if c == NULL:
        return
    c.flags &= ~<uint64_t>CLIENT_PYTHON_WAIT
    _send(engine, c, value)
    unblock_client(c, False)
    engine_wake(engine.ptr)


globals()["Client"] = Client  # cimported names are not in the module by themselves; engine.pyi offers it
