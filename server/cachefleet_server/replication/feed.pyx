"""The backlog and those who are fed from it; the theory is in feed.pxd, the Python side in feed.pyi."""

from collections import namedtuple

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from cachefleet_server.core.client_class cimport client_check_output_limit, client_set_class
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.command cimport command_find
from cachefleet_server.core.engine cimport (
    CLASS_PRIMARY, CLASS_REPLICA, CLIENT_CLOSE_ASAP, CLIENT_PENDING_WRITE, CLIENT_REPLY_OFF, client_t, command_t,
    engine_t, pause_t)
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.core.pause cimport PAUSE_FAILOVER, PAUSE_SHUTDOWN
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_DIALECT_REDIS70, RDB_DIALECT_VALKEY, rdb_dialect_of_all)
from cachefleet_server.core.reply cimport arg_is, reply_client_ready, reply_syntax_error
from cachefleet_server.core.wake cimport client_close_asap, engine_wake
from cachefleet_server.ds.blob cimport blob_new
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.owners cimport is_shared, owner_drop
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc
from cachefleet_server.keyspace.following cimport following_acknowledge
from cachefleet_server.keyspace.journal cimport (
    journal_attach, journal_continue, journal_detach, journal_end, journal_hand_over, journal_verbatim)
from cachefleet_server.keyspace.replicas cimport (
    REPLICA_LOADING, REPLICA_ONLINE, REPLICA_SYNCING, REPLICA_WAITING, replica_t, replicas_first, replicas_good)
from cachefleet_server.resp.writer cimport out_clear, out_init, out_move, out_raw, out_raw_shared, out_t

WAITING = REPLICA_WAITING
SYNCING = REPLICA_SYNCING
LOADING = REPLICA_LOADING
ONLINE = REPLICA_ONLINE
READS_REDIS = RDB_DIALECT_REDIS70
READS_VALKEY = RDB_DIALECT_VALKEY
READS_ALL = RDB_DIALECT_OWN

Replica = namedtuple("Replica", "id state acked silent_s idle_s pending")

cdef extern from "<sys/socket.h>" nogil:
    int shutdown(int fd, int how)
    enum: SHUT_RDWR

cdef const char* UNREADABLE = b"the data hold what it cannot read: members that expire, or producers of streams"


# ---- the backlog -----------------------------------------------------------------------------------------

cdef block_t* _new_block(feed_t* f, uint64_t offset) noexcept nogil:
    cdef block_t* b = <block_t*>zmalloc(f.engine.heap, sizeof(block_t))
    b.cap = max(<size_t>BLOCK_MIN, min(f.size // BLOCKS, <size_t>BLOCK_MAX))
    b.blob = blob_new(f.engine.heap, b.cap)
    b.blob.len = 0
    b.offset = offset
    b.next = NULL
    if f.last == NULL:
        f.first = b
    else:
        f.last.next = b
    f.last = b
    return b


cdef void _drop_first(feed_t* f) noexcept nogil:
    cdef block_t* b = f.first
    f.first = b.next
    if f.first == NULL:
        f.last = NULL
    owner_drop(f.engine.heap, b.blob)
    zfree(f.engine.heap, b)


cdef inline uint64_t _start(const feed_t* f) noexcept nogil:
    return f.first.offset if f.first != NULL else f.consumer.since


cdef inline uint64_t _end(const feed_t* f) noexcept nogil:
    return f.last.offset + f.last.blob.len if f.last != NULL else f.consumer.since


cdef void _trim(feed_t* f) noexcept nogil:
    cdef uint64_t end = _end(f)
    cdef uint64_t held
    while f.first != f.last and end - f.first.next.offset >= f.size and not is_shared(f.first.blob):
        _drop_first(f)
    held = end - _start(f)
    f.engine.replicas.backlog_excess = held - f.size if held > f.size else 0

# ---- feeding ---------------------------------------------------------------------------------------------

cdef inline follower_t* _follower(replica_t* r) noexcept nogil:
    return <follower_t*>r


cdef inline out_t* _room(replica_t* r) noexcept nogil:
    """Where its part of the stream goes; NULL: it gets none."""
    if r.client.flags & CLIENT_CLOSE_ASAP or r.state == REPLICA_WAITING or _follower(r).snapshot_only:
        return NULL
    return &r.client.out if r.state == REPLICA_ONLINE else &r.kept


cdef inline void _make_ready(client_t* c) noexcept nogil:
    if not c.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(c)


cdef void _feed(feed_t* f, block_t* b, const char* p, size_t n) noexcept nogil:
    cdef replica_t* r = replicas_first(f.engine)
    cdef out_t* out
    while r != NULL:
        out = _room(r)
        if out != NULL:
            out_raw_shared(out, b.blob, p, n)
        r = r.next


cdef void _disconnect(follower_t* w, const char* reason) noexcept nogil:
    w.reason = reason
    client_close_asap(w.r.client)


cdef void _look_at_all(feed_t* f) noexcept nogil:
    """After they were fed."""
    cdef replica_t* r = replicas_first(f.engine)
    while r != NULL:
        if _room(r) != NULL:
            client_check_output_limit(r.client, r.kept.bytes)
            if r.state == REPLICA_ONLINE:
                _make_ready(r.client)
        r = r.next


cdef void _let_go_of_unable(feed_t* f) noexcept nogil:
    cdef replica_t* r = replicas_first(f.engine)
    cdef int needed = rdb_dialect_of_all(f.engine)
    while r != NULL:
        if needed > _follower(r).readable and not r.client.flags & CLIENT_CLOSE_ASAP:
            _disconnect(_follower(r), UNREADABLE)
        r = r.next


cdef void _take(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    cdef feed_t* f = <feed_t*>consumer.ctx
    cdef block_t* b
    cdef char* to
    cdef size_t some
    if f.limited:
        _let_go_of_unable(f)
    while n:
        b = f.last
        if b == NULL or b.blob.len == b.cap:
            b = _new_block(f, offset)
        some = min(n, b.cap - b.blob.len)
        to = &b.blob.data[0] + b.blob.len
        memcpy(to, data, some)
        b.blob.len += some
        _feed(f, b, to, some)
        data += some
        offset += some
        n -= some
    if f.engine.replicas.first != NULL:
        _look_at_all(f)
    _trim(f)


cdef void _catch_up(feed_t* f, out_t* out, uint64_t offset) noexcept nogil:
    """Everything in the backlog from there on."""
    cdef block_t* b = f.first
    cdef size_t skip
    while b != NULL:
        skip = offset - b.offset if offset > b.offset else 0
        if skip < b.blob.len:
            out_raw_shared(out, b.blob, &b.blob.data[0] + skip, b.blob.len - skip)
        b = b.next

# ---- confirmations ---------------------------------------------------------------------------------------

cdef void _online(replica_t* r) noexcept nogil:
    r.state = REPLICA_ONLINE
    if r.kept.bytes:
        out_move(&r.client.out, &r.kept)
        _make_ready(r.client)


cdef void _confirm(client_t* c) noexcept nogil:
    """REPLCONF ACK offset [FACK offset]. Nobody confirms more than there is."""
    cdef engine_t* e = c.engine
    cdef replica_t* r = <replica_t*>c.replica
    cdef uint64_t end = journal_end(e)
    cdef int64_t acked, on_disk
    if r == NULL or not chars_to_int64(c.argv[2].ptr, c.argv[2].len, &acked) or acked < 0:
        return
    r.acked = max(r.acked, min(<uint64_t>acked, end))
    if c.argc > 4 and arg_is(&c.argv[3], b"fack") and chars_to_int64(c.argv[4].ptr, c.argv[4].len, &on_disk):
        if on_disk > 0:
            r.acked_aof = max(r.acked_aof, min(<uint64_t>on_disk, end))
    r.acked_ms = e.monotonic_ms
    if r.state == REPLICA_LOADING and not _follower(r).snapshot_only:
        _online(r)
    e.confirmed_fn(e)
    if (<feed_t*>r.owner).tells and (<feed_t*>r.owner).owner != NULL and r.state == REPLICA_ONLINE:
        with gil:
            _tell_confirmed(<Feed><PyObject*>(<feed_t*>r.owner).owner, c.id, r.acked)


cdef void _tell_confirmed(Feed feed, uint64_t id, uint64_t acked) noexcept:
    feed.on_confirmed(id, acked)


cdef bint _introduces_itself(const client_t* c) noexcept nogil:
    """REPLCONF cachefleet epoch disk: the one option with two values."""
    return c.argc == 4 and arg_is(&c.argv[1], b"cachefleet")


cdef void replconf_command(client_t* c) noexcept nogil:
    """ACK is never answered, and GETACK only to a primary, with what was executed before it; the rest is Python's.
    Others that send GETACK: an append only file, and who takes us for a replica of theirs."""
    if c.argc % 2 == 0 and not _introduces_itself(c):
        reply_syntax_error(c)
    elif c.argc > 2 and arg_is(&c.argv[1], b"ack"):
        _confirm(c)
    elif c.argc > 2 and arg_is(&c.argv[1], b"getack"):
        if c.cls == CLASS_PRIMARY:
            following_acknowledge(c.engine)
    else:
        c.engine.python_fn(c)

# ---- replicas come and go --------------------------------------------------------------------------------

cdef void _gone(client_t* c) noexcept nogil:
    """replicas_t.gone_fn"""
    cdef engine_t* e = c.engine
    cdef follower_t* w = <follower_t*>c.replica
    cdef replica_t** at = <replica_t**>&e.replicas.first
    cdef const char* reason = w.reason
    cdef feed_t* f = <feed_t*>w.r.owner
    if w.r.state == REPLICA_SYNCING:
        shutdown(c.fd, SHUT_RDWR)  # the snapshot has the connection, too
    while at[0] != &w.r:
        at = &at[0].next
    at[0] = w.r.next
    f.limited -= w.readable < RDB_DIALECT_OWN
    out_clear(&w.r.kept)
    c.replica = NULL
    zfree(e.heap, w)
    if f.owner != NULL:
        with gil:
            _tell(<Feed><PyObject*>f.owner, c.id, (<bytes>reason).decode() if reason != NULL else "")


cdef void _tell(Feed feed, uint64_t id, str reason) noexcept:
    if feed.on_gone is not None:
        feed.on_gone(id, reason)


cdef class Feed:
    def __cinit__(self, Engine engine not None):
        memset(&self.f, 0, sizeof(feed_t))
        self.engine = engine
        self.f.engine = engine.ptr
        self.f.owner = <void*>self
        self.f.consumer.name = b"replicas"
        self.f.consumer.spreads = True
        self.f.consumer.ctx = &self.f
        self.f.consumer.take_fn = _take
        engine.ptr.replicas.gone_fn = _gone

    def __dealloc__(self):
        self.f.owner = NULL
        if self.engine.ptr != NULL:
            self._close()

    def tell_confirmations(self, on_confirmed not None):
        self.on_confirmed = on_confirmed
        self.f.tells = True

    # -- the stream

    @property
    def opened(self): return bool(self.f.opened)

    @property
    def id(self): return self.f.engine.journal.id.decode()

    @property
    def earlier_id(self): return self.f.engine.journal.earlier_id.decode()

    @property
    def earlier_end(self): return self.f.engine.journal.earlier_end

    @property
    def start(self): return _start(&self.f)

    @property
    def stop(self): return _end(&self.f)

    @property
    def end(self): return journal_end(self.f.engine)

    @property
    def excess(self): return self.f.engine.replicas.backlog_excess

    @property
    def memory(self):
        cdef const block_t* b = self.f.first
        cdef size_t total = 0
        while b != NULL:
            total += sizeof(block_t) + b.cap
            b = b.next
        return total

    @property
    def good(self): return replicas_good(self.f.engine)

    @property
    def still(self):
        cdef const pause_t* pause = &self.f.engine.pause
        return bool(pause.strengths[PAUSE_SHUTDOWN] or pause.strengths[PAUSE_FAILOVER])

    @property
    def needed(self): return max(rdb_dialect_of_all(self.f.engine), <int>RDB_DIALECT_REDIS70)

    def open(self, size_t size):
        if not self.f.opened:
            journal_attach(self.f.engine, &self.f.consumer)
            self.f.opened = True
        self.resize(size)

    def resize(self, size_t size):
        self.f.size = self.f.engine.replicas.backlog_size = size
        if self.f.opened:
            _trim(&self.f)

    def close(self):
        self._close()

    cdef void _close(self) noexcept:
        while self.f.engine.replicas.first != NULL:
            client_close_asap(replicas_first(self.f.engine).client)
            _gone(replicas_first(self.f.engine).client)
        if self.f.opened:
            journal_detach(self.f.engine, &self.f.consumer)
            self.f.opened = False
        while self.f.first != NULL:
            _drop_first(&self.f)
        self.f.engine.replicas.backlog_excess = self.f.engine.replicas.backlog_size = 0

    def go_on(self, str id not None, uint64_t offset, int db):
        cdef bytes name = id.encode()
        assert len(name) == 40
        journal_continue(self.f.engine, name, 0, offset, db)

    def say(self, bytes command not None):
        assert self.f.engine.following == NULL  # its stream is the primary's
        journal_verbatim(self.f.engine, self.f.engine.journal.db, command, len(command))
        engine_wake(self.f.engine)

    # -- replicas

    cdef follower_t* _of(self, uint64_t id) except NULL:
        cdef replica_t* r = replicas_first(self.f.engine)
        while r != NULL and r.client.id != id:
            r = r.next
        if r == NULL:
            raise KeyError(id)
        return _follower(r)

    cdef follower_t* _new(self, uint64_t id, int readable) except NULL:
        cdef engine_t* e = self.f.engine
        cdef client_t* c = client_first(e)
        cdef follower_t* w
        cdef replica_t** at = <replica_t**>&e.replicas.first
        while c != NULL and c.id != id:
            c = client_next(c)
        if c == NULL or c.replica != NULL:
            raise KeyError(id)
        w = <follower_t*>zcalloc(e.heap, sizeof(follower_t))
        w.r.owner = &self.f
        w.r.client = c
        w.r.acked_ms = e.monotonic_ms
        w.readable = readable
        out_init(&w.r.kept, &e.chunks)
        while at[0] != NULL:
            at = &at[0].next
        at[0] = &w.r
        c.replica = &w.r
        c.flags |= CLIENT_REPLY_OFF
        client_set_class(c, CLASS_REPLICA)
        self.f.limited += readable < RDB_DIALECT_OWN
        return w

    def add(self, uint64_t id, int readable, *, bint snapshot_only):
        cdef follower_t* w = self._new(id, readable)
        w.r.state = REPLICA_WAITING
        w.snapshot_only = snapshot_only

    def resume(self, uint64_t id, int readable, bytes greeting not None, uint64_t offset):
        cdef follower_t* w
        if not self.f.opened or not _start(&self.f) <= offset <= _end(&self.f):
            raise ValueError("the offset is not in the backlog")
        w = self._new(id, readable)
        w.r.state = REPLICA_ONLINE
        w.r.acked = offset
        out_raw(&w.r.client.out, <const char*>greeting, len(greeting))
        _catch_up(&self.f, &w.r.client.out, offset)
        _make_ready(w.r.client)
        engine_wake(self.f.engine)

    def begin(self, uint64_t id):
        cdef follower_t* w = self._of(id)
        journal_hand_over(self.f.engine)
        if self.f.engine.following == NULL:  # else the stream is its primary's, and the snapshot says the database
            self.f.engine.journal.db = -1
        w.r.state = REPLICA_SYNCING
        return journal_end(self.f.engine)

    def sent(self, uint64_t id):
        cdef follower_t* w = self._of(id)
        w.r.state = REPLICA_LOADING
        w.r.acked_ms = self.f.engine.monotonic_ms

    def newline(self, uint64_t id):
        cdef follower_t* w = self._of(id)
        out_raw(&w.r.client.out, b"\n", 1)
        _make_ready(w.r.client)
        engine_wake(self.f.engine)

    def disconnect(self, uint64_t id):
        client_close_asap(self._of(id).r.client)

    def replicas(self):
        cdef engine_t* e = self.f.engine
        cdef replica_t* r = replicas_first(e)
        found = []
        while r != NULL:
            if not r.client.flags & CLIENT_CLOSE_ASAP:
                found.append(Replica(
                    r.client.id, r.state, r.acked, (e.monotonic_ms - r.acked_ms) / 1000,
                    (e.now_ms - r.client.last_interaction_ms) / 1000, r.client.out.bytes + r.kept.bytes))
            r = r.next
        return found

    def take_confirmations(self):
        cdef command_t* row = command_find(self.f.engine, b"replconf", 8)
        row.fn = replconf_command
