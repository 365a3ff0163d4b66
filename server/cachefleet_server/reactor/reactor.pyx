"""The tick, in four phases over the ready clients.

    read + parse   one epoll_wait, one read a client; requests collect in a batch of BATCH_MAX, of any clients.
                   While parsing: row looked up, first keys hashed, their buckets prefetched.
    execute        when the batch is full or the clients are through: entries prefetched, then one by one.
    end of batch   once a tick: journal to AOF and replicas, expiry's fast cycle, one slice of background work.
    write          one write a client.

A client's requests stay in order because a batch is executed in order and is flushed before a client is read again.
Rows that may block, switch something that parsing depends on, or run in Python are barriers: the batch is flushed
after them before that client's input is parsed further.

The shared input buffer: each read takes the place behind the last one. When less than READ_MAX is left, or the tick
ends, the batch is flushed and every client that holds a place keeps its leftover bytes in memory of its own
(`input_keep_rest`).

The epoll set is level-triggered and is itself polled by the outer loop, so a tick need not drain anything: what is
left makes the next tick happen.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.core.client_class cimport client_check_output_limit
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.clock cimport clock_refresh
from cachefleet_server.core.engine cimport (
    BATCH_MAX, CLASS_PRIMARY, CLIENT_BLOCKED, CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, CLIENT_PENDING_WRITE,
    CLIENT_READ_AGAIN, CLIENT_READ_AT_WRITABLE, CLIENT_RESUMED, EVENTS_MAX, READ_MAX, SHARED_INPUT, client_t, command_t,
    db_t, batched_t)
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.core.latency cimport duration_bucket, duration_ns, latency_end, latency_start
from cachefleet_server.core.pause cimport paused
from cachefleet_server.core.reply cimport reply_client_ready
from cachefleet_server.core.types cimport entry_ops
from cachefleet_server.core.wake cimport client_resume, engine_alarm_ms, engine_wake
from cachefleet_server.ds.intrin cimport cf_cycles, cf_likely, cf_monotonic_us, cf_unlikely
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.zmalloc cimport heap_cron, heap_used, zfree, zmalloc
from cachefleet_server.keyspace.blocked cimport blocked_timeouts, unblock_client
from cachefleet_server.keyspace.db cimport arg_hash, db_candidate, db_prefetch
from cachefleet_server.keyspace.evict cimport evict_continue
from cachefleet_server.keyspace.expire cimport expire_fast_cycle, expire_slow_cycle
from cachefleet_server.keyspace.following cimport following_tick
from cachefleet_server.keyspace.held cimport held_decide, held_timeouts
from cachefleet_server.keyspace.journal cimport journal_hand_over
from cachefleet_server.keyspace.keyspace cimport keyspace_cron
from cachefleet_server.keyspace.replicas cimport replicas_ask
from cachefleet_server.keyspace.tracking cimport tracking_tick
from cachefleet_server.keyspace.waiting cimport waiting_look_again
from cachefleet_server.reactor.connection cimport (
    client_account, client_free, client_read, client_write, clients_cron, clients_evict)
from cachefleet_server.reactor.dispatch cimport command_ended, dispatch, dispatch_link, is_barrier, parked_run, resolve
from cachefleet_server.reactor.epoll cimport (
    CLOCK_MONOTONIC, EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT,
    TFD_CLOEXEC, TFD_NONBLOCK, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, eventfd, read, timerfd_create)
from cachefleet_server.resp.input cimport INPUT_ERROR, INPUT_OK, arg_t, input_memory, input_keep_rest
from cachefleet_server.resp.writer cimport chunk_pool_free, chunk_pool_init, chunk_pool_trim

cdef enum:
    ARENA_ARGS = 4096  # arguments of one batch that need no memory of their own
    PREFETCH_KEYS = 16  # keys of one request that are hashed ahead
    RESUME_TURNS = 64  # of clients that were unblocked, in one tick
    VALUES_MAX = 64  # values of one batch that are prefetched
    CLIENTS_CRON_MS = 1000
    OUT_SLICE = 1048576  # bytes of replies after which a pipelining client waits for the next tick
    CALIBRATE_US = 2000


cdef int reactor_open(engine_t* e) noexcept nogil:
    cdef epoll_event ev
    e.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    e.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    e.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    if e.epoll_fd < 0 or e.wake_fd < 0 or e.timer_fd < 0:
        return errno
    ev.events = EPOLLIN
    ev.data.ptr = NULL
    if epoll_ctl(e.epoll_fd, EPOLL_CTL_ADD, e.wake_fd, &ev) != 0:
        return errno
    ev.data.ptr = &e.timer_fd
    if epoll_ctl(e.epoll_fd, EPOLL_CTL_ADD, e.timer_fd, &ev) != 0:
        return errno
    e.input.shared = <char*>zmalloc(e.heap, SHARED_INPUT + 64)
    e.input.arena.heap = e.heap
    e.input.arena.args = <arg_t*>zmalloc(e.heap, ARENA_ARGS * sizeof(arg_t))
    e.input.arena.cap = ARENA_ARGS
    e.input.arena.used = 0
    chunk_pool_init(&e.chunks, e.heap)
    clock_refresh(e)
    _calibrate(e)
    return 0


cdef void _calibrate(engine_t* e) noexcept nogil:
    """Cycles per microsecond, measured against the monotonic clock."""
    cdef int64_t t0 = cf_monotonic_us()
    cdef uint64_t c0 = cf_cycles()
    cdef int64_t t1 = t0
    while t1 - t0 < CALIBRATE_US:
        t1 = cf_monotonic_us()
    e.cycles_per_us = <double>(cf_cycles() - c0) / <double>(t1 - t0)
    e.ns_multiplier = <uint64_t>(1000.0 / e.cycles_per_us * 1048576.0)
    e.last_cycles = cf_cycles()


cdef void reactor_close(engine_t* e) noexcept nogil:
    while client_first(e) != NULL:
        client_free(client_first(e))
    zfree(e.heap, e.input.shared)
    zfree(e.heap, e.input.arena.args)
    chunk_pool_free(&e.chunks)
    if e.epoll_fd >= 0:
        close(e.epoll_fd)
    if e.wake_fd >= 0:
        close(e.wake_fd)
    if e.timer_fd >= 0:
        close(e.timer_fd)
    e.epoll_fd = e.wake_fd = e.timer_fd = -1

# ---- batch -------------------------------------------------------------------------------------------

cdef inline int _last_key(const batched_t* p) noexcept nogil:
    """The argument up to which keys are fetched ahead."""
    cdef const command_t* cmd = p.cmd
    cdef const arg_t* count
    cdef int last = cmd.keys.last
    cdef int64_t n
    if cf_unlikely(cmd.keys.count_at != 0):
        count = &p.request.argv[cmd.keys.count_at]
        if cmd.keys.count_at >= p.request.argc or not chars_to_int64(count.ptr, count.len, &n):
            return 0
        n = max(0, min(n, p.request.argc))
        last = cmd.keys.count_at + <int>n * cmd.keys.step
    elif last < 0:
        last += p.request.argc
    return min(last, p.request.argc - 1)


cdef inline bint _prefetch(batched_t* p, int stage) noexcept nogil:
    """One of the three passes over a request's keys (db_prefetch). True: the next one is needed."""
    cdef command_t* cmd = p.cmd
    cdef db_t* db = p.client.db
    cdef int i = cmd.keys.first
    cdef int last = _last_key(p)
    cdef int left = PREFETCH_KEYS
    cdef arg_t* argv = p.request.argv
    cdef bint more = stage == 0
    while i <= last and left:
        if stage == 0:
            db_prefetch(db, arg_hash(p.client.engine, &argv[i]), 0)
        elif stage == 1:
            more |= db_prefetch(db, argv[i].hash, 1)
        else:
            db_prefetch(db, argv[i].hash, 2)
        i += cmd.keys.step
        left -= 1
    return more


cdef struct ahead_t:  # a value on its way
    batched_t* request
    const entry_t* entry


cdef void _prefetch_values(engine_t* e, batched_t** requests, int n) noexcept nogil:
    """The entries are on their way: now what lies behind them, as their types say, a step of all before the next."""
    cdef ahead_t ahead[VALUES_MAX]
    cdef ahead_t* v
    cdef batched_t* p
    cdef int i, at, last, left
    cdef int count = 0
    cdef int step = 0
    for i in range(n):
        p = requests[i]
        last = _last_key(p)
        at = p.cmd.keys.first
        while at <= last and count < VALUES_MAX:
            v = &ahead[count]
            v.request = p
            v.entry = db_candidate(p.client.db, arg_hash(e, &p.request.argv[at]))
            count += v.entry != NULL and entry_ops(e, v.entry).prefetch_fn != NULL
            at += p.cmd.keys.step
    while count:
        left = 0
        for i in range(count):
            if entry_ops(e, ahead[i].entry).prefetch_fn(e, ahead[i].entry, ahead[i].request, step):
                ahead[left] = ahead[i]
                left += 1
        count = left
        step += 1


cdef void _prefetch_batch(engine_t* e) noexcept nogil:
    """The buckets are on their way since parsing: now the entries, so that their misses overlap."""
    cdef batched_t* again[BATCH_MAX]
    cdef batched_t* deeper[BATCH_MAX]
    cdef batched_t* p
    cdef int i
    cdef int count = 0
    cdef int deep = 0
    for i in range(e.batch_len):
        p = &e.batch[i]
        if p.cmd == NULL or not p.cmd.keys.step:
            continue
        if _prefetch(p, 1):
            again[count] = p
            count += 1
        if p.cmd.on_collections:
            deeper[deep] = p
            deep += 1
    for i in range(count):
        _prefetch(again[i], 2)
    if deep:
        _prefetch_values(e, deeper, deep)


cdef inline void _limit_clients(client_t* c) noexcept nogil:
    """maxmemory-clients acts inside the tick, too: replies pile up faster than ticks end."""
    if cf_unlikely(c.engine.params.maxmemory_clients != 0):
        client_account(c)
        clients_evict(c.engine)


cdef void _execute_batch(engine_t* e) noexcept nogil:
    cdef int i
    cdef batched_t* p
    if e.batch_len == 0:
        return
    if e.batch_len > 1:
        _prefetch_batch(e)
    e.stats.batches += 1
    e.stats.batch_commands += e.batch_len
    e.last_cycles = cf_cycles()
    for i in range(e.batch_len):
        p = &e.batch[i]
        if cf_likely(not p.client.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY)):
            if cf_likely(p.client.cls != CLASS_PRIMARY):
                dispatch(p.client, p.cmd, &p.request)
            else:
                dispatch_link(p.client, p.cmd, &p.request)
            if cf_unlikely(p.client.out.bytes > OUT_SLICE):
                client_check_output_limit(p.client, 0)
                _limit_clients(p.client)
    e.batch_len = 0
    e.input.arena.used = 0


cdef void _finish_batch(engine_t* e) noexcept nogil:
    cdef int i
    cdef client_t* c
    _execute_batch(e)
    for i in range(e.input.holder_count):
        c = e.input.holders[i]
        input_keep_rest(&c.input)
        if cf_unlikely(c.input.own_cap != 0 or c.input.partial != NULL):
            e.stats.largest_input = max(e.stats.largest_input, input_memory(&c.input))
        if cf_unlikely(e.params.maxmemory_clients != 0):
            client_account(c)
    e.input.holder_count = 0
    e.input.used = 0

# ---- read + parse -----------------------------------------------------------------------------------------

cdef void _parse(client_t* c) noexcept nogil:
    """All complete requests of a client into the batch, until it is blocked or goes away.

    One whose replies have grown long waits until the others had their turn: at the end of this tick, then of the next.
    """
    cdef engine_t* e = c.engine
    cdef batched_t* p
    cdef bint barrier
    cdef int status
    while not c.flags & (CLIENT_BLOCKED | CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY):
        p = &e.batch[e.batch_len]
        status = c.protocol.next_fn(c, &p.request)
        if status != INPUT_OK:
            if cf_unlikely(status == INPUT_ERROR):
                _execute_batch(e)  # the replies of what came before the error go first
                if not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY):  # else nobody reads on: QUIT
                    c.protocol.error_fn(c)
            return
        if p.request.argc == 0:
            continue
        p.client = c
        p.cmd = resolve(e, &p.request)
        e.batch_len += 1
        barrier = is_barrier(e, p.cmd)
        if not barrier and p.cmd.keys.step:
            _prefetch(p, 0)
        if barrier or e.batch_len == BATCH_MAX or e.pause.strength:
            _execute_batch(e)
            if cf_unlikely(c.out.bytes > OUT_SLICE):
                client_resume(c)
                return


cdef inline void _hold(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    e.input.holders[e.input.holder_count] = c
    e.input.holder_count += 1


cdef void _read_and_parse(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    if SHARED_INPUT - e.input.used < READ_MAX or e.input.holder_count == EVENTS_MAX:
        _finish_batch(e)
    if client_read(c):
        _hold(c)
        if not c.flags & CLIENT_BLOCKED:
            _parse(c)


cdef bint _resume(engine_t* e, bint again) noexcept nogil:
    """Clients that were unblocked: their parked request first, then the input they had sent meanwhile, then what their
    transport has read ahead. `again` in this tick: those whose replies have grown long wait. False: all do."""
    cdef client_t* c = e.clients.resumed
    cdef client_t* following
    cdef bint some = False
    e.clients.resumed = NULL
    while c != NULL:
        following = c.next_resumed
        c.flags &= ~<uint64_t>CLIENT_RESUMED
        c.next_resumed = NULL
        if again and c.out.bytes > OUT_SLICE:
            client_resume(c)
            c = following
            continue
        some = True
        if not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_BLOCKED):
            if c.parked != NULL:
                parked_run(c)
            if e.input.holder_count == EVENTS_MAX:
                _finish_batch(e)
            _hold(c)
            _parse(c)
            _execute_batch(e)
        if cf_unlikely((c.flags & CLIENT_READ_AGAIN) != 0) and not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_RESUMED):
            c.flags &= ~<uint64_t>CLIENT_READ_AGAIN
            _finish_batch(e)  # a client that holds its input's place is not read into it
            _read_and_parse(c)
        c = following
    return some


cdef void _resume_all(engine_t* e) noexcept nogil:
    """Whoever is resumed may let others go on: two that hand over to each other need no tick for each turn."""
    cdef int turn = 0
    while e.clients.resumed != NULL and turn < RESUME_TURNS and _resume(e, turn > 0):
        turn += 1

# ---- end of batch and write ----------------------------------------------------------------------------------

cdef void end_of_batch(engine_t* e) noexcept nogil:
    """What happens once a tick between execution and writing: replies leave only after the journal is safe."""
    if cf_unlikely(e.trackers != NULL):
        tracking_tick(e)
    if cf_unlikely(e.replicas.ask):
        replicas_ask(e)
    if e.journal.buf.len:
        journal_hand_over(e)
    if cf_unlikely(e.following != NULL):
        following_tick(e)
    if cf_unlikely(e.held.due.len != 0):
        held_decide(e)


cdef void run_slice(engine_t* e) noexcept nogil:
    """Background work comes behind the replies: nobody who was served waits for it."""
    cdef int64_t start
    if e.slice_fn == NULL:
        return
    start = latency_start(e)
    if e.slice_fn(e):
        engine_wake(e)
    latency_end(e, b"snapshot-slice", start)


cdef void _write_replies(engine_t* e) noexcept nogil:
    cdef client_t* c = e.clients.pending_write
    cdef client_t* following
    e.clients.pending_write = NULL
    while c != NULL:
        following = c.next_pending
        c.next_pending = NULL
        c.flags &= ~<uint64_t>CLIENT_PENDING_WRITE
        if not c.flags & CLIENT_CLOSE_ASAP:
            client_write(c)
            if cf_unlikely(e.params.maxmemory_clients != 0):
                client_account(c)
        c = following


cdef void _close_flagged(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    cdef client_t* following
    while c != NULL and e.clients.closing:
        following = client_next(c)
        if c.flags & CLIENT_CLOSE_ASAP:
            client_free(c)
        c = following


cdef inline void _finish(engine_t* e) noexcept nogil:
    end_of_batch(e)
    _write_replies(e)
    run_slice(e)
    if e.clients.closing:
        _close_flagged(e)
    clients_evict(e)  # whom it flags, the next tick closes


cdef void _check_pause(engine_t* e) noexcept nogil:
    """Lets clients go when a pause has ended; what another one holds is parked again. A tick comes at each end."""
    cdef client_t* c = client_first(e)
    if paused(e):
        engine_alarm_ms(e, e.pause.next_end_ms)
    if not e.pause.eased:
        return
    e.pause.eased = False
    waiting_look_again(e)
    if e.due:
        command_ended(e)  # who waited comes before requests that the pause held
    while c != NULL:
        if c.parked != NULL:
            unblock_client(c, False)
        c = client_next(c)


cdef void reactor_tick(engine_t* e) noexcept nogil:
    cdef epoll_event events[EVENTS_MAX]
    cdef uint64_t start = cf_cycles()
    cdef uint64_t drained
    cdef client_t* c
    cdef uint32_t ready
    cdef int i
    cdef int n = epoll_wait(e.epoll_fd, events, EVENTS_MAX, 0)
    clock_refresh(e)
    if cf_unlikely(e.pause.strength or e.pause.eased):
        _check_pause(e)
    if cf_unlikely(e.due != 0):
        command_ended(e)  # what came outside of commands and ticks: a keyspace was taken, a load has ended
    for i in range(n):
        c = <client_t*>events[i].data.ptr
        if c == NULL:
            read(e.wake_fd, &drained, 8)
            e.wake_pending = False
            continue
        if events[i].data.ptr == &e.timer_fd:
            read(e.timer_fd, &drained, 8)
            e.alarm_us = 0
            continue
        ready = events[i].events
        if cf_unlikely((c.flags & CLIENT_READ_AT_WRITABLE) != 0) and ready & EPOLLOUT:
            ready |= EPOLLIN
        if ready & EPOLLOUT and not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_PENDING_WRITE):
            reply_client_ready(c)
        # A client that will be resumed has unparsed input; reading more would only pile it up.
        if (ready & (EPOLLIN | EPOLLERR | EPOLLHUP)
                and not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_RESUMED)):
            _read_and_parse(c)
    if e.clients.resumed != NULL:
        _resume_all(e)
    _finish_batch(e)
    if not e.persist.loading:
        expire_fast_cycle(e)
    evict_continue(e)
    if cf_unlikely(e.due != 0):
        command_ended(e)  # what expired or was evicted
    blocked_timeouts(e)
    if cf_unlikely(e.due != 0):
        command_ended(e)  # who looks again at this time
    _finish(e)
    start = cf_cycles() - start
    e.stats.ticks += 1
    e.stats.tick_cycles += start
    e.tick_histogram[duration_bucket(duration_ns(e, start))] += 1


cdef void reactor_cron(engine_t* e) noexcept nogil:
    clock_refresh(e)
    heap_used(e.heap)  # keeps the peak
    blocked_timeouts(e)
    held_timeouts(e)
    if e.pause.strength or e.pause.eased:
        _check_pause(e)
    if e.monotonic_ms // CLIENTS_CRON_MS != e.clients.cron_ms // CLIENTS_CRON_MS:
        e.clients.cron_ms = e.monotonic_ms
        clients_cron(e)
        chunk_pool_trim(&e.chunks)
    if not e.persist.loading:
        expire_slow_cycle(e)
        evict_continue(e)
        keyspace_cron(e)
        heap_cron(e.heap)
    if e.due:
        command_ended(e)
    _finish(e)
