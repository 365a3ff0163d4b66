"""From a parsed request to an executed command.

    dispatch = admit + (queue into the transaction, or call) + what waits for the end of a command in its own right

`admit` holds all gates: each refusal below is one `_refuse` with its text, in the order in which Valkey checks, because
clients see the first that applies. Which gates there are for a request, its role says (core/role.pxd); a gate that is
open costs a look at the engine and none at the role. `call` runs what passed, counts it and appends it to the journal.

`execute_as` is for requests that nobody sent over a connection. It may be called while a command runs; whose command
runs (`engine.current`) is as before when it returns. Nothing that belongs to the end of a tick happens inside.

A command in its own right is one that no other command runs: EXEC as a whole, a request of execute_as outside any.
After it, clients whose keys are ready are served (keyspace/waiting), each by its own request and through all gates.

A refused command marks an open transaction as failed; a refused EXEC ends it.

A pause parks a request: it is kept (core/request.pxd), the client is blocked, and when the pause ends the request is
dispatched again before any further input is parsed. While a pause is on, batches hold one request, so nothing
behind a parked request has been parsed.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport strerror

from cachefleet_server.core.clock cimport clock_boottime_us
from cachefleet_server.core.command cimport command_find, command_find_sub
from cachefleet_server.core.engine cimport (
    BLOCKED_PAUSE, CLASS_PUBSUB, CLASS_REPLICA, CLIENT_AUTHENTICATED, CLIENT_BLOCKED, CLIENT_DEFERRED_REPLY_ERROR,
    CLIENT_EXECUTING, CLIENT_MONITOR, CLIENT_MULTI, CLIENT_PREVENT_PROPAGATE, CLIENT_REPLY_SKIP, CLIENT_REPLY_SKIP_NEXT,
    CMD_ADMIN, CMD_BLOCKING, CMD_CONTAINER, CMD_DENYOOM, CMD_FAST, CMD_LISTENER, CMD_LOADING, CMD_MAY_REPLICATE,
    CMD_NO_AUTH, CMD_NO_MULTI, CMD_READONLY, CMD_SKIP_MONITOR, CMD_SKIP_SLOWLOG, CMD_STALE, CMD_TRANSACTION, CMD_WRITE,
    COMMANDLOG_LARGE_REPLY, COMMANDLOG_LARGE_REQUEST, COMMANDLOG_SLOW, DUE_PUSHES, DUE_TRACKING, DUE_WAITERS, arg_t)
from cachefleet_server.core.errors cimport (
    ERR_LOADING, ERR_MASTERDOWN, ERR_NOAUTH, ERR_NOREPLICAS, ERR_OOM, ERR_READONLY)
from cachefleet_server.core.latency cimport count_call, duration_ns
from cachefleet_server.core.pause cimport PAUSE_ALL, PAUSE_NOTHING, paused
from cachefleet_server.core.push cimport pushes_append
from cachefleet_server.core.role cimport (
    GATE_AUTH, GATE_DISK, GATE_LOADING, GATE_MEMORY, GATE_PAUSE, GATE_REPLICA, GATE_REPLICAS)
from cachefleet_server.core.reply cimport (
    arg_is, reply_error, reply_error_bytes, reply_protocol_error, reply_skip_advance)
from cachefleet_server.core.request cimport kept_request_t, request_keep
from cachefleet_server.core.wake cimport client_close_asap
from cachefleet_server.ds.intrin cimport cf_cycles, cf_likely, cf_unlikely
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, uint64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree
from cachefleet_server.keyspace.blocked cimport block_client
from cachefleet_server.keyspace.evict cimport EVICT_FAIL, evict_perform
from cachefleet_server.keyspace.following cimport (
    following, following_after, following_before, following_is_stale)
from cachefleet_server.keyspace.held cimport held_mark
from cachefleet_server.keyspace.journal cimport journal_command, journal_raw
from cachefleet_server.keyspace.replicas cimport REPLICAS_NEVER, replicas_good
from cachefleet_server.keyspace.tracking cimport tracking_command_ended, tracking_read, tracking_request_over
from cachefleet_server.keyspace.transaction cimport (
    transaction_all, transaction_flags, transaction_mark_failed, transaction_queue, transaction_refuse)
from cachefleet_server.keyspace.waiting cimport waiting_serve
from cachefleet_server.resp.input cimport input_limits_t, input_next

cdef extern from * nogil:
    """
    #define ERR_MISCONF_RDB \
        "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands " \
        "that may modify the data set are disabled, because this instance is configured to report errors during " \
        "writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Valkey logs for " \
        "details about the RDB error."
    """
    const char* ERR_MISCONF_RDB

cdef extern from * nogil:
    """
    #define ERR_PAUSED "ERR The server is paused, and this request cannot wait"
    """
    const char* ERR_PAUSED

cdef extern from * nogil:
    """
    #define ERR_LEASE "READONLY This primary waits for its replicas: it has not heard from them for a while."
    """
    const char* ERR_LEASE

cdef enum:
    SHOWN_MAX = 128  # bytes of a client's own words in an error

# ---- the RESP protocol -------------------------------------------------------------------------

cdef int _resp_next(client_t* c, request_t* out) noexcept nogil:
    cdef input_limits_t limits
    limits.bulk_max = c.engine.params.proto_max_bulk_len
    limits.authenticated = (c.flags & CLIENT_AUTHENTICATED) != 0
    return input_next(&c.input, &limits, &c.engine.input.arena, out)


cdef protocol_t RESP  # constant after import: the two functions of this protocol
RESP.name = b"resp"
RESP.next_fn = _resp_next
RESP.error_fn = reply_protocol_error


cdef const protocol_t* resp_protocol() noexcept nogil:
    return &RESP

# ---- lookup -------------------------------------------------------------------------------------

cdef command_t* resolve(engine_t* e, const request_t* r) noexcept nogil:
    cdef command_t* cmd = command_find(e, r.argv[0].ptr, r.argv[0].len)
    if cmd != NULL and cmd.flags & CMD_CONTAINER and r.argc > 1:
        return command_find_sub(cmd, r.argv[1].ptr, r.argv[1].len)
    return cmd


cdef bint is_barrier(const engine_t* e, const command_t* cmd) noexcept nogil:
    """EXEC is one, since what it runs may be: CLIENT PAUSE in a transaction."""
    return cmd == NULL or cmd.fn == NULL or cmd.flags & CMD_BLOCKING != 0 or cmd == e.commands.exec


cdef void _reply_unknown(client_t* c) noexcept nogil:
    """"unknown command" or "unknown subcommand", quoting at most SHOWN_MAX bytes of each and of all arguments."""
    cdef char text[1024]
    cdef int n, i
    cdef size_t shown = 0
    cdef size_t take
    cdef arg_t* name = c.argv
    cdef command_t* container = command_find(c.engine, name.ptr, name.len)
    if container != NULL:
        n = snprintf(
            text, sizeof(text), b"ERR unknown subcommand '%.*s'. Try %.*s HELP.",
            <int>min(c.argv[1].len, <size_t>SHOWN_MAX), c.argv[1].ptr, <int>container.name_len, container.name)
        for i in range(n - 6 - container.name_len, n - 6):  # the container's name in capitals
            if b"a"[0] <= text[i] <= b"z"[0]:
                text[i] = text[i] - 32
        reply_error_bytes(c, text, n)
        return
    n = snprintf(
        text, sizeof(text), b"ERR unknown command '%.*s', with args beginning with: ",
        <int>min(name.len, <size_t>SHOWN_MAX), name.ptr)
    for i in range(1, c.argc):
        if shown >= SHOWN_MAX:
            break
        take = min(c.argv[i].len, SHOWN_MAX - shown)
        shown += snprintf(text + n + shown, sizeof(text) - n - shown, b"'%.*s' ", <int>take, c.argv[i].ptr)
    n += <int>shown
    reply_error_bytes(c, text, n)

# ---- checks ---------------------------------------------------------------------------------------

cdef void _refuse(client_t* c, const char* text) noexcept nogil:
    if c.cmd != NULL:
        c.cmd.stats.rejected += 1
        if c.cmd == c.engine.commands.exec:
            transaction_refuse(c, text)
            return
    transaction_mark_failed(c)
    reply_error(c, text)


cdef inline bint _arity_fits(const command_t* cmd, int argc) noexcept nogil:
    return argc == cmd.arity if cmd.arity > 0 else argc >= -cmd.arity


cdef inline bint _from_browser(const request_t* r) noexcept nogil:
    """A page that makes a browser talk to us: what follows such a line must not run (cross-protocol scripting)."""
    return arg_is(&r.argv[0], b"post") or arg_is(&r.argv[0], b"host:")


cdef inline bint _identified(client_t* c) noexcept nogil:
    """Before authentication nothing is said about commands, not even which ones there are."""
    if cf_likely((c.flags & CLIENT_AUTHENTICATED) != 0) or c.cmd != NULL and c.cmd.flags & CMD_NO_AUTH:
        return True
    if not c.role.gates & GATE_AUTH:
        return True
    _refuse(c, ERR_NOAUTH)
    return False


cdef bint _known_and_well_formed(client_t* c) noexcept nogil:
    cdef char text[160]
    if cf_unlikely(c.cmd == NULL):
        transaction_mark_failed(c)
        _reply_unknown(c)
        return False
    if cf_unlikely(not _arity_fits(c.cmd, c.argc)):
        snprintf(text, sizeof(text), b"ERR wrong number of arguments for '%s' command", c.cmd.name)
        _refuse(c, text)
        return False
    return True


cdef inline bint _writes(const client_t* c) noexcept nogil:
    return c.cmd.flags & CMD_WRITE != 0 or c.cmd == c.engine.commands.exec and transaction_flags(c) & CMD_WRITE != 0


cdef inline bint _reads(const client_t* c) noexcept nogil:
    return (c.cmd.flags | (transaction_flags(c) if c.cmd == c.engine.commands.exec else 0)) & CMD_READONLY != 0


cdef inline bint _disk_troubled(const engine_t* e) noexcept nogil:
    return e.persist.aof_write_failed or e.persist.bgsave_failed


cdef bint _disk_allows(client_t* c) noexcept nogil:
    """Writes, and PING as the health check, are refused while the data cannot be made safe."""
    cdef engine_t* e = c.engine
    cdef char text[256]
    if not c.role.gates & GATE_DISK or c.cmd != e.commands.ping and not _writes(c):
        return True
    if e.persist.bgsave_failed and e.persist.save_points and e.params.stop_writes_on_bgsave_error:
        _refuse(c, ERR_MISCONF_RDB)
        return False
    if e.persist.aof_write_failed:
        snprintf(text, sizeof(text), b"MISCONF Errors writing to the AOF file: %s", strerror(e.persist.aof_errno))
        _refuse(c, text)
        return False
    return True


cdef bint _memory_allows(client_t* c) noexcept nogil:
    cdef uint64_t flags = c.cmd.flags
    cdef bint full
    if c.engine.persist.loading or not c.role.gates & GATE_MEMORY:
        return True
    full = evict_perform(c.engine) == EVICT_FAIL
    if c.cmd == c.engine.commands.exec:
        flags |= transaction_flags(c)
    if full and flags & CMD_DENYOOM:
        _refuse(c, ERR_OOM)
        return False
    return True


cdef bint _replicas_allow(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    if not c.role.gates & GATE_REPLICAS or not _writes(c):
        return True
    if e.params.min_replicas_to_write == REPLICAS_NEVER:
        _refuse(c, ERR_LEASE)
        return False
    if e.params.min_replicas_max_lag <= 0:
        return True
    if replicas_good(e) >= e.params.min_replicas_to_write:
        return True
    _refuse(c, ERR_NOREPLICAS)
    return False


cdef bint _replica_allows_writes(client_t* c) noexcept nogil:
    if not following(c.engine).read_only or not c.role.gates & GATE_REPLICA or not _writes(c):
        return True
    _refuse(c, ERR_READONLY)
    return False


cdef bint _fresh_enough(client_t* c) noexcept nogil:
    """Others may have written since. A replica without its link answers what is CMD_STALE alone, as Valkey's does; EXEC
    is as stale as what it runs. A primary whose lease is over refuses only reads: who is to follow it brings the next.
    The clock is looked at before each of them: what runs later finds what was there at this moment."""
    cdef engine_t* e = c.engine
    if e.following == NULL:
        if not c.role.gates & GATE_REPLICAS or not _reads(c) or clock_boottime_us() < e.params.reads_until:
            return True
    elif not following_is_stale(e) or not c.role.gates & GATE_REPLICA:
        return True
    elif c.cmd.flags & CMD_STALE and not (c.cmd == e.commands.exec and not transaction_all(c, CMD_STALE)):
        return True
    _refuse(c, ERR_MASTERDOWN)
    return False


cdef void _refuse_listener(client_t* c) noexcept nogil:
    cdef char text[192]
    snprintf(
        text, sizeof(text), b"ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
        b"allowed in this context", c.cmd.name)
    _refuse(c, text)


cdef bint _allowed(client_t* c) noexcept nogil:
    """What is closed decides whether a gate is looked at: mostly none is."""
    cdef char text[160]
    cdef engine_t* e = c.engine
    cdef uint64_t flags = c.cmd.flags
    if c.flags & CLIENT_MULTI and flags & CMD_NO_MULTI:
        snprintf(text, sizeof(text), b"ERR Command '%s' not allowed inside a transaction", c.cmd.name)
        _refuse(c, text)
        return False
    if e.params.maxmemory and not _memory_allows(c):
        return False
    if cf_unlikely(_disk_troubled(e)) and not _disk_allows(c):
        return False
    if cf_unlikely(e.params.min_replicas_to_write > 0) and not _replicas_allow(c):
        return False
    if cf_unlikely(e.following != NULL) and not _replica_allows_writes(c):
        return False
    if cf_unlikely(c.cls == CLASS_PUBSUB) and not flags & CMD_LISTENER and c.resp == 2 and c.subscriptions != NULL:
        _refuse_listener(c)
        return False
    if cf_unlikely(e.following != NULL or e.params.reads_until != 0) and not _fresh_enough(c):
        return False
    if cf_unlikely(e.persist.loading) and not flags & CMD_LOADING and c.role.gates & GATE_LOADING:
        _refuse(c, ERR_LOADING)
        return False
    if cf_unlikely((c.flags & CLIENT_MONITOR) != 0 or c.cls == CLASS_REPLICA) \
            and flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE):
        _refuse(c, b"ERR Replica can't interact with the keyspace")  # for Valkey a monitor is one
        return False
    return True

# ---- pausing ----------------------------------------------------------------------------------------

cdef bint _held(client_t* c) noexcept nogil:
    """By a pause."""
    cdef engine_t* e = c.engine
    cdef int strength = paused(e)
    if strength == PAUSE_NOTHING or c.cls == CLASS_REPLICA or not c.role.gates & GATE_PAUSE:
        return False
    if strength == PAUSE_ALL:
        return True
    return (c.cmd.flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0 or (
        c.cmd == e.commands.exec and (transaction_flags(c) & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0)


cdef void _pause_over(client_t* c, bint timed_out) noexcept nogil:
    pass  # the parked request is run by the reactor when it resumes the client


cdef void _park(client_t* c) noexcept nogil:
    c.parked = request_keep(c)
    block_client(c, BLOCKED_PAUSE, 0, _pause_over)


cdef void parked_run(client_t* c) noexcept nogil:
    cdef kept_request_t* kept = <kept_request_t*>c.parked
    c.parked = NULL
    c.engine.last_cycles = cf_cycles()  # the wait is no part of the command's time
    dispatch(c, kept.cmd, &kept.request)
    zfree(c.engine.heap, kept)


cdef size_t parked_memory(const client_t* c) noexcept nogil:
    return (<kept_request_t*>c.parked).memory if c.parked != NULL else 0


cdef void parked_free(client_t* c) noexcept nogil:
    zfree(c.engine.heap, c.parked)
    c.parked = NULL

# ---- execution ----------------------------------------------------------------------------------------

cdef enum:  # what becomes of a request
    ADMITTED = 0
    REFUSED = 1  # it has its reply
    PARKED = 2  # until a pause is over


cdef inline int _admit(client_t* c, const request_t* r) noexcept nogil:
    cdef engine_t* e = c.engine
    if cf_unlikely(c.cmd == NULL) and c.fd >= 0 and _from_browser(r):
        e.stats.browsers += 1  # the server's cron logs it
        client_close_asap(c)
        return REFUSED
    if not (_identified(c) and _known_and_well_formed(c) and _allowed(c)):
        return REFUSED
    if cf_unlikely(e.pause.strength != 0) and _held(c):
        if c.role.may_block:
            _park(c)
            return PARKED
        _refuse(c, ERR_PAUSED)
        return REFUSED
    return ADMITTED


cdef void _run(client_t* c, command_t* cmd, const request_t* r) noexcept nogil:
    """Admit, then queue or call. Whose command ran before runs again afterwards."""
    cdef engine_t* e = c.engine
    cdef client_t* outer = e.current
    cdef int outcome
    c.cmd = cmd
    c.argc = r.argc
    c.argv = r.argv
    c.raw = r.raw
    c.raw_len = r.raw_len
    e.current = c
    outcome = _admit(c, r)
    if cf_likely(outcome == ADMITTED):
        if c.flags & CLIENT_MULTI and not cmd.flags & CMD_TRANSACTION:
            transaction_queue(c)
        else:
            call(c)
    if cf_unlikely((c.flags & (CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT)) != 0) and not c.flags & CLIENT_BLOCKED:
        reply_skip_advance(c)
    if cf_unlikely(e.trackers != NULL):
        tracking_request_over(c)
    e.current = outer


cdef void dispatch(client_t* c, command_t* cmd, const request_t* r) noexcept nogil:
    cdef engine_t* e = c.engine
    _run(c, cmd, r)
    if cf_unlikely(e.due != 0) and e.current == NULL:
        command_ended(e)


cdef void dispatch_link(client_t* c, command_t* cmd, const request_t* r) noexcept nogil:
    following_before(c, r)
    if cf_likely(cmd == NULL or cmd.fn != NULL):
        dispatch(c, cmd, r)
    else:  # of what is in Python nothing is part of a stream: SHUTDOWN, REPLICAOF, CONFIG
        c.cmd = cmd
        reply_error(c, b"ERR a primary does not send this command")
    following_after(c, r)


cdef void execute_as(client_t* actor, request_t* r) noexcept nogil:
    if r.argc:
        actor.engine.last_cycles = cf_cycles()
        dispatch(actor, resolve(actor.engine, r), r)

# ---- after a command in its own right -----------------------------------------------------------------

cdef inline void _tell_what_waited(engine_t* e) noexcept nogil:
    """For the end of the command: behind its reply, messages and then what it changed of what its client caches."""
    if e.due & DUE_TRACKING:
        tracking_command_ended(e)
    if e.due & DUE_PUSHES:
        pushes_append(e)


cdef bint _serve(client_t* c, kept_request_t* kept) noexcept nogil:
    """Runs the request of a client whose key is ready; false when a pause holds it back."""
    c.cmd = kept.cmd
    if c.engine.pause.strength != 0 and _held(c):
        return False
    c.engine.last_cycles = cf_cycles()  # the wait is no part of the command's time
    _run(c, kept.cmd, &kept.request)
    _tell_what_waited(c.engine)
    return True


cdef void command_ended(engine_t* e) noexcept nogil:
    _tell_what_waited(e)
    if e.due & DUE_WAITERS and not e.persist.loading:
        waiting_serve(e, _serve)

# ---- calling ------------------------------------------------------------------------------------------

cdef void _log_command(client_t* c, int kind, uint64_t value) noexcept nogil:
    if c.engine.commandlog_fn != NULL:
        c.engine.commandlog_fn(c, kind, value)


cdef void _report_slow(client_t* c, command_t* cmd, uint64_t ns) noexcept nogil:
    """slow_ns is the lower one of two thresholds. In unsigned numbers, the parameter -1 is never reached."""
    cdef engine_t* e = c.engine
    cdef int64_t ms = ns // 1000000
    if ns // 1000 >= <uint64_t>e.params.slowlog_log_slower_than and not cmd.flags & CMD_SKIP_SLOWLOG:
        _log_command(c, COMMANDLOG_SLOW, ns // 1000)
    if e.params.latency_monitor_threshold and ms >= e.params.latency_monitor_threshold:
        if e.latency_fn != NULL:
            e.latency_fn(e, b"fast-command" if cmd.flags & CMD_FAST else b"command", ms)


cdef size_t _canonical_size(client_t* c) noexcept nogil:
    """What the request that runs would be as RESP: it came in another form."""
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t size = 3 + uint64_to_chars(digits, c.argc)
    cdef int i
    for i in range(c.argc):
        size += 5 + uint64_to_chars(digits, c.argv[i].len) + c.argv[i].len
    return size


cdef inline void _check_size(client_t* c, size_t reply_bytes) noexcept nogil:
    """Large requests and replies are logged; -1 is never, as above."""
    cdef engine_t* e = c.engine
    cdef size_t request_bytes = c.raw_len if cf_likely(c.raw != NULL) else _canonical_size(c)
    if cf_unlikely(request_bytes >= <uint64_t>e.params.commandlog_request_larger_than):
        _log_command(c, COMMANDLOG_LARGE_REQUEST, request_bytes)
    if cf_unlikely(reply_bytes >= <uint64_t>e.params.commandlog_reply_larger_than):
        _log_command(c, COMMANDLOG_LARGE_REPLY, reply_bytes)


cdef void _feed_monitors(client_t* c, const command_t* cmd) noexcept nogil:
    """Who waited and is served was shown when the wait began."""
    cdef engine_t* e = c.engine
    if e.monitor_fn != NULL and not cmd.flags & (CMD_SKIP_MONITOR | CMD_ADMIN) and e.clients.served != c:
        e.monitor_fn(c)
        e.last_cycles = cf_cycles()  # the next command does not pay for it


cdef inline void _count_cycles(engine_t* e, command_t* cmd, uint64_t cycles) noexcept nogil:
    cmd.stats.cycles += cycles
    e.stats.command_cycles += cycles


cdef void _record_wait(client_t* c, command_t* cmd, uint64_t cycles) noexcept nogil:
    """It waits: one that is served counts then, others when the wait ends (keyspace/blocked)."""
    cdef engine_t* e = c.engine
    _count_cycles(e, cmd, cycles)
    e.last_cycles += cycles
    if e.clients.monitors != 0:
        _feed_monitors(c, cmd)


cdef inline void _record(client_t* c, command_t* cmd, uint64_t start, size_t pending) noexcept nogil:
    """Statistics, command log and MONITOR, of what began at `start` with `pending` bytes of replies before its own."""
    cdef engine_t* e = c.engine
    cdef uint64_t now = cf_cycles()
    cdef uint64_t ns = duration_ns(e, now - start)
    cdef bint failed = False
    if cf_unlikely((c.flags & (CLIENT_DEFERRED_REPLY_ERROR | CLIENT_BLOCKED)) != 0):
        if c.flags & CLIENT_BLOCKED:
            _record_wait(c, cmd, now - start)
            return
        failed = True
    count_call(c, cmd, ns, failed)
    _count_cycles(e, cmd, now - start)
    if cf_unlikely(ns >= e.slow_ns):
        _report_slow(c, cmd, ns)
    e.last_cycles = now  # one time stamp a command: the end of this one starts the next
    if not cmd.flags & CMD_SKIP_SLOWLOG:
        _check_size(c, c.out.bytes - pending)
    if cf_unlikely(e.clients.monitors != 0):
        _feed_monitors(c, cmd)


cdef void call(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef command_t* cmd = c.cmd
    cdef uint64_t dirty = e.persist.dirty
    cdef uint64_t start = e.last_cycles
    cdef size_t pending = c.out.bytes
    cdef bint nested = (c.flags & CLIENT_EXECUTING) != 0
    c.flags &= ~<uint64_t>(CLIENT_DEFERRED_REPLY_ERROR | CLIENT_PREVENT_PROPAGATE)
    if cf_likely(cmd.fn != NULL):
        cmd.fn(c)
    else:
        e.python_fn(c)
    if cf_unlikely(e.trackers != NULL):
        tracking_read(c)
    if cf_likely(c.role.counts):
        _record(c, cmd, start, pending)
    if e.persist.dirty == dirty or not e.journal.enabled:
        return
    if cmd.flags & (CMD_ADMIN | CMD_WRITE) == CMD_ADMIN or not c.role.journals:
        return  # SAVE counts changes down, DEBUG POPULATE runs commands that are in the journal already
    if cf_unlikely(e.held.conditions != NULL) and not nested:
        held_mark(c, pending)
    if not c.flags & CLIENT_PREVENT_PROPAGATE and cmd != e.commands.exec:
        if c.raw != NULL and not nested:
            journal_raw(e, c.db.id, c.raw, c.raw_len)
        else:
            journal_command(e, c.db.id, c.argc, c.argv)
