"""Point-in-time snapshots; the theory is in snapshot.pxd, the Python side in snapshot.pyi."""

import os
from collections import namedtuple

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen

from cachefleet_server.core.engine cimport engine_t, rdb_out_t
from cachefleet_server.core.entry cimport OBJ_STREAM
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_DIALECT_REDIS, RDB_DIALECT_REDIS70, RDB_DIALECT_VALKEY, RDB_OPCODE_AUX, RDB_OPCODE_EOF,
    RDB_OPCODE_RESIZEDB, RDB_OPCODE_SELECTDB, rdb_dialect_of_all, rdb_dialect_version, rdb_put_length, rdb_put_string)
from cachefleet_server.core.wake cimport engine_wake
from cachefleet_server.ds.buf cimport buf_put, buf_putc
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_len
from cachefleet_server.ds.ht_freezing cimport ht_freeze_end, ht_freeze_step
from cachefleet_server.ds.intrin cimport cf_atomic_get, cf_cycles, cf_monotonic_us
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_used, zfree, zmalloc
from cachefleet_server.keyspace.db cimport db_expiring, db_freeze
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.keyspace.lazyfree cimport lazyfree_table
from cachefleet_server.persistence.deliver cimport (
    SNAPSHOT_GIVEN_UP, SNAPSHOT_IDLE, SNAPSHOT_OVER, SNAPSHOT_RUNNING, SNAPSHOT_WRITER, bytes_copied, deliver_chain,
    deliver_value, drop_held, frozen_t)
from cachefleet_server.persistence.rdb_writer cimport (
    RDB_QUEUE_SOFT, WRITER_ABORTED, WRITER_BUSY, WRITER_DONE, writer_abort, writer_chunk, writer_end, writer_free,
    writer_new, writer_push, writer_state, writer_wait, writer_wait_below)
from cachefleet_server.persistence.target cimport (
    MARK_BYTES, target_descriptor, target_file, target_free, target_is_file, target_t)

cdef enum:
    STEP_CHAINS = 16  # chains between two looks at the clock: about 10 us
    FINISH_US = 100000  # slice of a snapshot that nothing else waits for

DIALECT_REDIS = RDB_DIALECT_REDIS
DIALECT_REDIS70 = RDB_DIALECT_REDIS70
DIALECT_VALKEY = RDB_DIALECT_VALKEY
DIALECT_OWN = RDB_DIALECT_OWN

SnapshotResult = namedtuple("SnapshotResult", "ok aborted error errno bytes keys seconds")


# ---- tables --------------------------------------------------------------------------------------

cdef void _table_done(frozen_t* f) noexcept nogil:
    """The table was delivered or is not wanted any more."""
    if f.done:
        return
    f.done = True
    ht_freeze_end(f.keys)
    if f.adopted:
        lazyfree_table(f.snapshot.engine, f.keys, NULL)


cdef bint _table_flushed(engine_t* e, int dbid, hashtable_t* keys) noexcept nogil:
    """engine_t.table_flushed_fn: true when the snapshot still reads this table and now owns it."""
    cdef snapshot_t* s = <snapshot_t*>e.snapshot_ctx
    cdef int i
    for i in range(s.count):
        if s.tables[i].keys == keys and not s.tables[i].done:
            s.tables[i].adopted = True
            return True
    return False


# ---- running -------------------------------------------------------------------------------------

cdef bint _slice(engine_t* e) noexcept nogil:
    """engine_t.slice_fn."""
    cdef snapshot_t* s = <snapshot_t*>e.snapshot_ctx
    cdef size_t before = bytes_copied(s)
    cdef bint more = _advance(s, s.slice_us)
    if e.snapshot_ctx != <void*>s:  # it is over, and may be gone
        return False
    if s.state == SNAPSHOT_RUNNING:
        _yield_to_writer(s)
    s.slice_copied_max = max(s.slice_copied_max, bytes_copied(s) - before)
    return more


cdef void _yield_to_writer(snapshot_t* s) noexcept nogil:
    """Leaves the core to a writer that writes have put behind: the longer, the further it is."""
    cdef size_t queued
    if writer_state(s.writer, &queued) == WRITER_BUSY and queued > s.pressure:
        writer_wait_below(s.writer, s.pressure, PRESSURE_US * min(queued // s.pressure, <size_t>PRESSURE_TIMES_MAX))


cdef bint _step(snapshot_t* s, size_t chains) noexcept nogil:
    """Chains of the tables, then steps of held values; false when everything is delivered."""
    cdef frozen_t* f
    if s.at == s.count:
        return deliver_value(s)
    f = &s.tables[s.at]
    if not ht_freeze_step(f.keys, &f.position, chains):
        _table_done(f)
        s.at += 1
    return s.at < s.count or s.held.first != NULL


cdef bint _advance(snapshot_t* s, int64_t budget_us) noexcept nogil:
    """Works for at most budget_us; true when there is more to do at once. The writer wakes the engine otherwise."""
    cdef size_t queued, before, chains
    cdef int state = writer_state(s.writer, &queued)
    cdef uint64_t start = cf_cycles()
    cdef uint64_t budget = <uint64_t>(budget_us * s.engine.cycles_per_us)
    cdef bint more = s.at < s.count or s.held.first != NULL or s.current != NULL
    if s.state == SNAPSHOT_RUNNING and (s.behind or state != WRITER_BUSY):
        _give_up(s)
    if s.state == SNAPSHOT_GIVEN_UP and not drop_held(s, start, budget):
        return True
    if state != WRITER_BUSY:
        _complete(s, state)
        return False
    if s.state != SNAPSHOT_RUNNING:
        return False
    while more:
        if queued >= RDB_QUEUE_SOFT:
            return False
        if cf_cycles() - start >= budget:
            return True
        chains = 1 if s.pushed else STEP_CHAINS  # where values are large, one chain may be as much
        s.pushed = False
        before = bytes_copied(s)
        more = _step(s, chains)
        s.step_copied_max = max(s.step_copied_max, bytes_copied(s) - before)
        if s.pushed:
            writer_state(s.writer, &queued)
    _put_end(s)
    return False


cdef void _put_end(snapshot_t* s) noexcept nogil:
    """All records are there: the last chunk goes to the writer, which completes the file."""
    if not s.commands:
        buf_putc(&s.chunk.out.buf, RDB_OPCODE_EOF)
    s.copied += s.chunk.out.buf.len
    writer_push(s.writer, s.chunk)
    s.chunk = NULL
    writer_end(s.writer)
    s.state = SNAPSHOT_WRITER


cdef void _give_up(snapshot_t* s) noexcept nogil:
    """Thaws the tables at once, held values in the slices that follow; tells the writer to stop and to remove what it
    wrote."""
    cdef int i
    if s.state == SNAPSHOT_RUNNING:
        s.state = SNAPSHOT_GIVEN_UP
        for i in range(s.count):
            _table_done(&s.tables[i])
    writer_abort(s.writer)


cdef void _complete(snapshot_t* s, int state) noexcept nogil:
    """The writer has ended: releases everything, then tells the owner."""
    cdef engine_t* e = s.engine
    cdef int error = s.writer.error
    cdef const char* what = s.writer.error_what
    cdef uint64_t written = s.writer.written
    if s.chunk != NULL:
        writer_push(s.writer, s.chunk)  # freed with the writer
        s.chunk = NULL
    writer_free(s.writer)
    s.writer = NULL
    zfree(s.heap, s.tables)
    s.tables = NULL
    heap_free(s.heap)
    s.heap = NULL
    s.state = SNAPSHOT_OVER
    e.slice_fn = NULL
    e.table_flushed_fn = NULL
    e.closing_fn = NULL
    e.snapshot_ctx = NULL
    e.snapshot_alone = 0
    with gil:
        (<Snapshot>s.owner)._over(state, error, what, written)
    engine_wake(e)  # replies that the owner may have made are written by the next tick


cdef void _run_to_end(snapshot_t* s) noexcept nogil:
    """The caller holds a reference to the owner."""
    while s.state != SNAPSHOT_OVER:
        if not _advance(s, FINISH_US) and s.state != SNAPSHOT_OVER:
            writer_wait(s.writer)


cdef void _closing(engine_t* e) noexcept nogil:
    """engine_t.closing_fn: nothing of the engine may be read after this."""
    with gil:
        snapshot = <Snapshot>(<snapshot_t*>e.snapshot_ctx).owner  # which would otherwise be gone at its end
        snapshot.abort()
        snapshot.finish()


cdef void _begin(snapshot_t* s, target_t* target, bint checksum) noexcept nogil:
    """Starts the writer and freezes the tables; s.writer stays NULL when there is no thread to be had."""
    cdef engine_t* e = s.engine
    cdef frozen_t* f
    cdef int i
    s.heap = heap_new()
    s.asides = target_is_file(target)
    s.writer = writer_new(
        s.heap, e.heap, target, not s.commands, checksum and not s.commands, e.wake_fd)
    if s.writer == NULL:
        heap_free(s.heap)
        s.heap = NULL
        return
    s.pressure = PRESSURE_MIN + heap_used(e.heap) // 64
    s.behind_max = heap_used(e.heap) // 8
    if s.behind_max < BEHIND_MIN:
        s.behind_max = BEHIND_MIN
    s.chunk = writer_chunk(s.writer, &s.like, False)
    s.tables = <frozen_t*>zmalloc(s.heap, e.keyspace.opened * sizeof(frozen_t))
    for i in range(e.keyspace.opened):
        f = &s.tables[s.count]
        memset(f, 0, sizeof(frozen_t))
        f.keys = db_freeze(e.keyspace.dbs[i], deliver_chain, f)
        if f.keys == NULL:
            continue
        f.snapshot = s
        f.dbid = e.keyspace.dbs[i].id
        s.count += 1
        s.keys_total += ht_len(f.keys)
    s.state = SNAPSHOT_RUNNING
    e.snapshot_ctx = s
    e.slice_fn = _slice
    e.table_flushed_fn = _table_flushed
    e.closing_fn = _closing


cdef void _put_head(snapshot_t* s, list aux):
    """Magic, AUX pairs, and each database's sizes, so that a loader can make room at once."""
    cdef rdb_out_t* out = &s.chunk.out
    cdef char magic[16]
    cdef bytes word
    cdef frozen_t* f
    cdef int i
    if s.commands:
        return
    if s.like.dialect == RDB_DIALECT_OWN:
        snprintf(magic, sizeof(magic), b"CFLEET%03d", rdb_dialect_version(s.like.dialect) & 0xFF)
    elif s.like.dialect == RDB_DIALECT_VALKEY:
        snprintf(magic, sizeof(magic), b"VALKEY%03d", rdb_dialect_version(s.like.dialect))
    else:
        snprintf(magic, sizeof(magic), b"REDIS%04d", rdb_dialect_version(s.like.dialect))
    buf_put(&out.buf, magic, strlen(magic))
    for pair in aux:
        buf_putc(&out.buf, RDB_OPCODE_AUX)
        for text in pair:
            word = os.fsencode(text)
            rdb_put_string(out, word, len(word))
    for i in range(s.count):
        f = &s.tables[i]
        buf_putc(&out.buf, RDB_OPCODE_SELECTDB)
        rdb_put_length(out, f.dbid)
        buf_putc(&out.buf, RDB_OPCODE_RESIZEDB)
        rdb_put_length(out, ht_len(f.keys))
        rdb_put_length(out, db_expiring(keyspace_db(s.engine.keyspace, f.dbid)))


# ---- the Python side -----------------------------------------------------------------------------

cdef class Snapshot:
    def __cinit__(self):
        memset(&self.s, 0, sizeof(snapshot_t))
        memset(&self.target, 0, sizeof(target_t))

    def __init__(
        self, Engine engine, *, str temp_path="", str final_path="", int fd=-1, bytes mark=b"", int64_t stall_ms=0,
        int dialect=-1, bint commands=False, bint compress=True, bint checksum=True, bint sync_often=True, aux=(),
        on_done=None, int slice_us=SLICE_US,
    ):
        if (fd < 0) == (not temp_path):
            raise ValueError("give either temp_path or fd")
        if mark and len(mark) != MARK_BYTES:
            raise ValueError(f"a mark has {MARK_BYTES} bytes")
        self.engine = engine
        self.s.engine = engine.ptr
        self.s.like.dialect = dialect
        self.s.like.lend_min = LEND_MIN
        self.s.like.mark_strings = compress and not commands
        self.s.commands = commands
        self.s.selected = -1
        self.s.slice_us = slice_us
        self.s.owner = <void*>self
        self.on_done = on_done
        self.aux = list(aux)
        self.checksum = checksum
        if fd < 0:
            target_file(&self.target, os.fsencode(temp_path), os.fsencode(final_path), sync_often)
        else:
            target_descriptor(&self.target, fd, <const char*>mark if mark else NULL, stall_ms)

    def __dealloc__(self):
        # Never while it runs: it holds a reference to itself then.
        target_free(&self.target)

    def start(self):
        cdef engine_t* e = self.s.engine
        if self.engine.ptr == NULL or self.s.state != SNAPSHOT_IDLE:
            raise RuntimeError("a snapshot is started once, on an open engine")
        if e.snapshot_ctx != NULL:
            raise RuntimeError("another snapshot of this engine is running")
        self.started_us = cf_monotonic_us()
        if self.s.like.dialect < 0:
            self.s.like.dialect = rdb_dialect_of_all(e)
        _begin(&self.s, &self.target, self.checksum)
        if self.s.writer == NULL:
            raise OSError("cannot start the snapshot's writer thread")
        Py_INCREF(self)
        _put_head(&self.s, self.aux)
        engine_wake(e)

    def finish(self):
        if self.s.state == SNAPSHOT_IDLE:
            raise RuntimeError("the snapshot was not started")
        with nogil:
            _run_to_end(&self.s)
        return self.result

    def step(self, size_t chains):
        if self.s.state != SNAPSHOT_RUNNING:
            return False
        return _step(&self.s, chains)

    def abort(self):
        if self.running:
            _give_up(&self.s)

    cdef void _over(self, int state, int error, const char* what, uint64_t written):
        cdef str text = ""
        cdef double seconds = (cf_monotonic_us() - self.started_us) / 1e6
        if self.s.behind:  # whatever followed from giving up
            slow = "disk" if target_is_file(&self.target) else "receiver"
            text = (
                f"the {slow} is too slow for the current write load: more than {self.s.behind_max >> 20} MB of the"
                " snapshot were waiting to be written")
        elif error:
            text = f"{what.decode()}: {os.strerror(error)}"
        elif state == WRITER_ABORTED:
            text = "aborted"
        self.result = SnapshotResult(
            state == WRITER_DONE, state == WRITER_ABORTED and not self.s.behind, text, error, written,
            self.s.keys_done, seconds)
        Py_DECREF(self)  # the caller still holds the pointer's own reference
        if self.on_done is not None:
            self.on_done(self.result)

    @property
    def running(self):
        return SNAPSHOT_IDLE < self.s.state < SNAPSHOT_OVER

    @property
    def progress(self):
        return self.s.keys_done, self.s.keys_total

    @property
    def slice_copied_max(self):
        return self.s.slice_copied_max

    @property
    def step_copied_max(self):
        return self.s.step_copied_max

    @property
    def copied(self):
        return bytes_copied(&self.s)

    @property
    def memory(self):
        return heap_used(self.s.heap) if self.s.heap != NULL else 0


def snapshot_running(Engine engine):
    return engine.ptr != NULL and engine.ptr.snapshot_ctx != NULL


# ---- what persistence in Python needs of the engine's counters -------------------------------------

def changes(Engine engine):
    return engine.ptr.persist.dirty


def changes_saved(Engine engine, uint64_t n):
    engine.ptr.persist.dirty -= min(n, engine.ptr.persist.dirty)


def alone_readable(Engine engine):
    cdef size_t n = 0
    cdef int i
    for i in range(engine.ptr.keyspace.opened):
        n += engine.ptr.keyspace.dbs[i].timed_own
    return n, cf_atomic_get(&engine.ptr.types[OBJ_STREAM].newer)


def take_flush_save(Engine engine):
    cdef bint wanted = engine.ptr.persist.flush_save
    engine.ptr.persist.flush_save = False
    return wanted
