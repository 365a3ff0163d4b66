"""The facade: engines, clients and command rows for plain Python; see engine.pyi for the contract.

An Engine owns its engine_t and everything below it. Python objects enter the engine in two places only: the rows of
the command table (a spec and perhaps a callable each, owned by the row) and a borrowed pointer back to the Engine,
which is valid as long as the engine_t is, since close() frees the latter first.
How rows and hooks in Python are called is in rows.pyx.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server cimport facts
from cachefleet_server.client_view cimport Client, client_view
from cachefleet_server.commands.connection cimport register_connection
from cachefleet_server.commands.dump cimport register_dump
from cachefleet_server.commands.expire_cmds cimport register_expire
from cachefleet_server.commands.generic cimport register_generic
from cachefleet_server.commands.multi cimport register_multi
from cachefleet_server.commands.pubsub cimport register_pubsub
from cachefleet_server.commands.scan cimport register_scan
from cachefleet_server.commands.t_bitmap cimport register_bitmap
from cachefleet_server.commands.t_geo cimport register_geo
from cachefleet_server.commands.t_hash cimport register_hash
from cachefleet_server.commands.t_hyperloglog cimport register_hyperloglog
from cachefleet_server.commands.t_list cimport register_list
from cachefleet_server.commands.t_member_expire cimport register_member_expire
from cachefleet_server.commands.t_set cimport register_set
from cachefleet_server.commands.t_sort cimport register_sort
from cachefleet_server.commands.t_stream cimport register_stream
from cachefleet_server.commands.t_string cimport register_string
from cachefleet_server.commands.t_zset cimport register_zset
from cachefleet_server.commands.wait cimport register_wait
from cachefleet_server.core.client_class cimport client_set_monitor
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.command cimport command_find, command_find_sub, command_python_row, commands_free
from cachefleet_server.core.engine cimport (
    BLOCKED_PAUSE, BLOCKED_PYTHON, CLIENT_BLOCKED, CLIENT_CLOSE_ASAP, CLIENT_DEFERRED_REPLY_ERROR, CLIENT_FAILED,
    CLIENT_MONITOR, CLIENT_MULTI, CLIENT_UNIX_SOCKET, CMD_CONTAINER, SHARED_INPUT, arg_t, command_t, engine_t)
from cachefleet_server.core.keys cimport command_keys, has_keys, key_flag_words, key_ref_t
from cachefleet_server.core.stats cimport stats_t
from cachefleet_server.core.pause cimport PAUSE_ALL, PAUSE_WRITES, pause_begin, pause_end
from cachefleet_server.core.pyreply cimport decode_reply, encode_reply
from cachefleet_server.core.reply cimport reply_begin, reply_error_bytes
from cachefleet_server.core.role cimport ROLE_IN_PROCESS, ROLE_SERVER, ROLES, role_here, role_row
from cachefleet_server.core.types cimport types_init
from cachefleet_server.core.wake cimport client_resume, engine_wake
from cachefleet_server.ds.buf cimport buf_free, buf_init
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_used
from cachefleet_server.fields cimport param_at, set_defaults, set_persist, stat_at
from cachefleet_server.keyspace.blocked cimport blocked_free, unblock_client
from cachefleet_server.keyspace.channels cimport channels_close, channels_open
from cachefleet_server.keyspace.events cimport event_publish
from cachefleet_server.keyspace.keyspace cimport keyspace_db, keyspace_free, keyspace_new, keyspace_swap
from cachefleet_server.keyspace.lazyfree cimport lazyfree_stop
from cachefleet_server.keyspace.tracking cimport tracking_close
from cachefleet_server.reactor.accept cimport accept_clients
from cachefleet_server.reactor.connection cimport (
    actor_new, client_free, client_new, clients_account, link_new)
from cachefleet_server.reactor.dispatch cimport call, execute_as
from cachefleet_server.reactor.reactor cimport (
    end_of_batch, reactor_close, reactor_cron, reactor_open, reactor_tick, run_slice)
from cachefleet_server.reactor.transport cimport plain_transport
from cachefleet_server.resp.input cimport input_arrived, input_keep_rest, input_read_space, request_t
from cachefleet_server.resp.writer cimport out_clear, out_text
from cachefleet_server.rows cimport Rows

from cachefleet_server.client_view import ClientFlag, Track  # no-cython-lint: for those above, as the next ones
from cachefleet_server.ds.glob import glob_matches  # no-cython-lint
from cachefleet_server.errors import CommandError
from cachefleet_server.fields import POLICIES  # no-cython-lint
from cachefleet_server.replies import NO_REPLY

_PURPOSES = ("client", "shutdown", "failover")  # of pauses, in the order of core/pause.pxd


cdef class Keyspace:
    """A data set beside an engine's own; see engine.pyi."""

    def drop(self):
        if self.ptr != NULL and self.engine.ptr != NULL:
            keyspace_free(self.engine.ptr, self.ptr, True)
        self.ptr = NULL

    def __dealloc__(self):
        self.drop()


cdef class Engine(Rows):
    """One engine; see engine.pyi."""

    def __cinit__(self, *, int databases=16, hash_seed=None):
        cdef engine_t* e = <engine_t*>calloc(1, sizeof(engine_t))
        cdef bytes seed = hash_seed if hash_seed is not None else os.urandom(16)
        if e == NULL:
            raise MemoryError
        if len(seed) != 16:
            raise ValueError("hash_seed must be 16 bytes")
        self.ptr = e
        e.epoll_fd = e.wake_fd = -1
        e.heap = heap_new()
        memcpy(&e.seed, <const char*>seed, 16)
        e.rng = int.from_bytes(os.urandom(8), "little")
        e.call_fn = call
        self.install()
        e.slow_ns = <uint64_t>-1
        e.journal.db = -1
        buf_init(&e.journal.buf, e.heap)
        buf_init(&e.journal.messages, e.heap)
        buf_init(&e.held.due, e.heap)
        error = reactor_open(e)
        if error:
            raise OSError(error, os.strerror(error))
        self.epoll_fd = e.epoll_fd
        e.keyspace = keyspace_new(e, databases)
        channels_open(e)
        e.notify_fn = event_publish
        set_defaults(e)
        e.tracking_max_keys = 1000000
        types_init(e)
        register_string(e)
        register_bitmap(e)
        register_hyperloglog(e)
        register_geo(e)
        register_list(e)
        register_hash(e)
        register_set(e)
        register_zset(e)
        register_sort(e)
        register_member_expire(e)
        register_stream(e)
        register_generic(e)
        register_expire(e)
        register_scan(e)
        register_wait(e)
        register_dump(e)
        register_multi(e)
        register_connection(e)
        register_pubsub(e)
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
        for i in range(ROLES):
            if self.actors[i] != NULL:
                client_free(self.actors[i])
                self.actors[i] = NULL
        reactor_close(e)
        channels_close(e)
        tracking_close(e)
        blocked_free(e)
        lazyfree_stop(e)
        keyspace_free(e, e.keyspace, False)
        buf_free(&e.journal.buf)
        buf_free(&e.journal.messages)
        buf_free(&e.held.due)
        commands_free(e)
        self.ptr = NULL
        heap_free(e.heap)
        free(e)

    # -- parameters and counters

    def set_param(self, str name, int64_t value):
        if name == "notify_flags":
            self.ptr.notify_flags = <int>value
            return
        if name == "tracking_max_keys":
            self.ptr.tracking_max_keys = value
            engine_wake(self.ptr)
            return
        param_at(self.ptr, name)[0] = value
        if name in ("slowlog_log_slower_than", "latency_monitor_threshold"):
            self._set_slow_ns()
        elif name == "maxmemory_clients":
            clients_account(self.ptr)

    def get_param(self, str name):
        if name == "tracking_max_keys":
            return self.ptr.tracking_max_keys
        return self.ptr.notify_flags if name == "notify_flags" else param_at(self.ptr, name)[0]

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

    def check(self): return facts.check(self.ptr)

    def counters(self): return facts.counters(self.ptr)

    def stats(self): return facts.stats(self.ptr)

    def clients_memory(self): return facts.clients_memory(self.ptr)

    def command_stats(self): return facts.command_stats(self.ptr)

    def tick_histogram(self): return facts.tick_histogram(self.ptr)

    def error_stats(self): return facts.error_stats(self.ptr)

    def keyspace(self): return facts.keyspace(self.ptr)

    def allocator_stats(self): return facts.allocator_stats(self.ptr)

    def memory_usage(self, int db, bytes key, size_t samples): return facts.memory_usage(self.ptr, db, key, samples)

    def value_facts(self, int db, bytes key): return facts.value_facts(self.ptr, db, key)
    def stream_facts(self, int db, bytes key): return facts.stream_facts(self.ptr, db, key)

    def table_memory(self): return facts.table_memory(self.ptr)

    def table_stats(self, int db, bint chains): return facts.table_stats(self.ptr, db, chains)

    def member_table_stats(self, int db, bytes key, bint chains):
        return facts.member_table_stats(self.ptr, db, key, chains)

    def digest(self): return facts.digest(self.ptr)

    def value_digest(self, int db, bytes key): return facts.value_digest(self.ptr, db, key)

    # -- data

    def new_keyspace(self):
        cdef Keyspace k = Keyspace.__new__(Keyspace)
        k.engine = self
        k.ptr = keyspace_new(self.ptr, self.ptr.keyspace.count)
        return k

    def take_keyspace(self, Keyspace other not None):
        keyspace_swap(self.ptr, other.ptr)
        other.drop()
        engine_wake(self.ptr)  # whom it has what they wait for is served in the next tick

    # -- commands

    def register(self, spec, row=None, *, bint may_wait=False):
        command_python_row(self.ptr, row, spec, may_wait)

    def specs(self):
        cdef int i
        return iter([<object><PyObject*>self.ptr.commands.rows[i].spec for i in range(self.ptr.commands.count)])

    def spec(self, str name):
        for spec in self.specs():
            if spec.name == name:
                return spec
        return None

    def command_keys(self, list argv not None):
        cdef tuple args = tuple(argv)
        cdef int argc = <int>len(args)
        cdef arg_t* arguments = _arguments(args)
        cdef key_ref_t* found = <key_ref_t*>calloc(argc, sizeof(key_ref_t))
        cdef command_t* cmd = command_find(self.ptr, arguments[0].ptr, arguments[0].len)
        cdef int i, n
        try:
            if cmd != NULL and cmd.flags & CMD_CONTAINER and argc > 1:
                cmd = command_find_sub(cmd, arguments[1].ptr, arguments[1].len)
            if cmd == NULL:
                raise CommandError("ERR Invalid command specified")
            if not has_keys(cmd):
                raise CommandError("ERR The command has no key arguments")
            if (cmd.arity > 0 and argc != cmd.arity) or argc < -cmd.arity:
                raise CommandError("ERR Invalid number of arguments specified for command")
            n = command_keys(cmd, argc, arguments, found, argc)
            if n <= 0:
                raise CommandError("ERR Invalid arguments specified for command")
            return [(found[i].at, key_flag_words(found[i].flags)) for i in range(min(n, argc))]
        finally:
            free(arguments)
            free(found)

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
            actor.db = keyspace_db(e.keyspace, db)
        actor.role = role_here(role, e.following != NULL)
        actor.resp = <uint8_t>resp
        _run_as(actor, len(args), argv)
        if outermost:  # else it belongs to a tick
            end_of_batch(e)
            run_slice(e)
        raw = _take_output(actor)
        if self.actors[role] != NULL:  # of a request inside this one
            client_free(self.actors[role])
        self.actors[role] = actor
        return decode_reply(<const char*>raw, len(raw)) if raw else NO_REPLY

    cdef client_t* new_actor(self, int role) noexcept:
        return actor_new(self.ptr, role_row(role))

    cdef client_t* new_link(self, int fd, bytes early):
        cdef engine_t* e = self.ptr
        cdef client_t* c = link_new(e, plain_transport(), fd)
        cdef size_t room = 0
        cdef char* where
        if c != NULL and early:  # between ticks: the shared buffer is free
            where = input_read_space(&c.input, e.input.shared, SHARED_INPUT, &room)
            assert <size_t>len(early) <= room
            memcpy(where, <const char*>early, len(early))
            input_arrived(&c.input, where, len(early))
            input_keep_rest(&c.input)
            c.net_in = len(early)
            client_resume(c)
        return c

    cdef void free_actor(self, client_t* actor) noexcept:
        client_free(actor)

    cdef void run(self, client_t* actor, request_t* request) noexcept nogil:
        execute_as(actor, request)

    cdef bytes failure(self, client_t* actor):
        actor.flags &= ~<uint64_t>CLIENT_FAILED
        return _take_output(actor)

    # -- connections

    @property
    def following(self):
        return self.ptr.following != NULL

    @property
    def client_count(self):
        return self.ptr.clients.count

    def add_client(self, int fd, *, bint unix=False):
        cdef client_t* c = client_new(self.ptr, plain_transport(), fd, CLIENT_UNIX_SOCKET if unix else 0)
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
            error = accept_clients(self.ptr, plain_transport(), listener, limit, unix, text)
        return error

    def clients(self):
        cdef client_t* c = client_first(self.ptr)
        found = []
        while c != NULL:
            if not c.flags & CLIENT_CLOSE_ASAP:
                found.append(client_view(c))
            c = client_next(c)
        found.reverse()  # oldest first
        return found

    def client(self, uint64_t id):
        cdef client_t* c = _find(self.ptr, id)
        return client_view(c) if c != NULL else None

    def pause(self, str purpose, int64_t ms, *, bint everything):
        pause_begin(self.ptr, _PURPOSES.index(purpose), self.ptr.now_ms + ms, PAUSE_ALL if everything else PAUSE_WRITES)

    def unpause(self, str purpose):
        pause_end(self.ptr, _PURPOSES.index(purpose))

    def unblock(self, uint64_t id, bint error):
        """CLIENT UNBLOCK: only clients that wait in a blocking command."""
        cdef client_t* c = _find(self.ptr, id)
        if c == NULL or not c.flags & CLIENT_BLOCKED or c.blocked in (BLOCKED_PAUSE, BLOCKED_PYTHON):
            return False
        if error:
            text = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
            reply_error_bytes(c, text, len(text))
            c.cmd.stats.rejected += 1  # as Valkey has it, and not as failed
            c.flags &= ~<uint64_t>CLIENT_DEFERRED_REPLY_ERROR
            c.unblock_fn = NULL
        unblock_client(c, True)
        return True

    def feed_monitors(self, value):
        cdef client_t* c = client_first(self.ptr)
        cdef size_t left = self.ptr.clients.monitors
        while c != NULL and left:
            if c.flags & CLIENT_MONITOR:
                left -= 1
                if not c.flags & CLIENT_CLOSE_ASAP and reply_begin(c):
                    encode_reply(&c.out, c.resp, value)
            c = client_next(c)
        engine_wake(self.ptr)

    def set_monitor(self, uint64_t id):
        """MONITOR: the client gets a line for each command that any client runs from now on."""
        cdef client_t* c = _find(self.ptr, id)
        if c != NULL:
            client_set_monitor(c, True)

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
    cdef client_t* c = client_first(e)
    while c != NULL and c.id != id:
        c = client_next(c)
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
    cdef bytes raw = PyBytes_FromStringAndSize(NULL, c.out.bytes)
    out_text(&c.out, PyBytes_AS_STRING(raw))
    out_clear(&c.out)
    return raw


globals()["Client"] = Client  # cimported names are not in the module by themselves; engine.pyi offers it
