"""The append side of the AOF; see aof_log.pxd."""

import os

from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN, EINTR, EIO, ENOENT, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, strdup
from posix.unistd cimport close, fdatasync, ftruncate, unlink, write

from cachefleet_server.core.engine cimport FSYNC_ALWAYS, FSYNC_EVERYSEC, FSYNC_NO
from cachefleet_server.core.journal cimport journal_span_t, journal_t
from cachefleet_server.core.latency cimport latency_end, latency_start
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.intrin cimport cf_monotonic_us, cf_unlikely
from cachefleet_server.ds.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from cachefleet_server.ds.worker cimport work_t, worker_drain, worker_free, worker_init, worker_stop, worker_submit
from cachefleet_server.ds.zmalloc cimport zfree_remote
from cachefleet_server.keyspace.held cimport held_add, held_confirmed, held_failed, held_remove
from cachefleet_server.keyspace.journal cimport (
    journal_attach, journal_continue, journal_detach, journal_end, journal_hand_over, journal_mute)

POLICIES = {"no": FSYNC_NO, "always": FSYNC_ALWAYS, "everysec": FSYNC_EVERYSEC}

# ---- helper thread ---------------------------------------------------------------------------------------

cdef void _run_job(void* ctx, work_t* work) noexcept nogil:
    cdef aof_log_t* log = <aof_log_t*>ctx
    cdef aof_job_t* job = <aof_job_t*>work
    cdef int error = 0
    cdef int64_t start
    if job.kind == JOB_UNLINK:
        unlink(job.path)  # a file that is gone already, or cannot go, costs space only
        free(job.path)
        return
    if job.kind == JOB_LEAVE:
        _leave(log, job)
        return
    start = cf_monotonic_us()
    if fdatasync(job.fd) != 0:
        error = errno
    log.last_fsync_us = cf_monotonic_us() - start
    if job.kind == JOB_FSYNC_CLOSE:
        close(job.fd)
    pthread_mutex_lock(&log.helper.lock)
    if error:
        log.error = error
        log.error_of_file |= job.kind == JOB_FSYNC
    elif job.offset > log.fsynced_offset:
        log.fsynced_offset = job.offset
    log.fsyncs -= 1
    log.closes -= job.kind == JOB_FSYNC_CLOSE
    pthread_mutex_unlock(&log.helper.lock)


cdef void _leave(aof_log_t* log, aof_job_t* job) noexcept nogil:
    """Nothing depends on it any more: what fails is the torn end of a file that nobody goes on with."""
    cdef size_t done = 0
    cdef ssize_t n
    while done < job.rest_len:
        n = write(job.fd, job.rest + done, job.rest_len - done)
        if n > 0:
            done += n
        elif n == 0 or errno != EINTR:
            break
    fdatasync(job.fd)
    close(job.fd)
    zfree_remote(log.engine.heap, job.rest)


cdef aof_job_t* _job(int kind, int fd, uint64_t offset) noexcept nogil:
    cdef aof_job_t* job = <aof_job_t*>calloc(1, sizeof(aof_job_t))
    if job != NULL:
        job.kind = kind
        job.fd = fd
        job.offset = offset
    return job


cdef bint _submit(aof_log_t* log, aof_job_t* job) noexcept nogil:
    """Hands a job over, or frees it: false when there is no thread to take it."""
    if job == NULL:
        return False
    _count(log, job.kind, 1)
    if worker_submit(&log.helper, &job.work):
        return True
    _count(log, job.kind, -1)
    free(job)
    return False


cdef void _count(aof_log_t* log, int kind, int n) noexcept nogil:
    """Those that may hold a write back."""
    pthread_mutex_lock(&log.helper.lock)
    if kind == JOB_FSYNC or kind == JOB_FSYNC_CLOSE:
        log.fsyncs += n
    if kind == JOB_FSYNC_CLOSE:
        log.closes += n
    pthread_mutex_unlock(&log.helper.lock)


cdef void _collect(aof_log_t* log) noexcept nogil:
    """What the helper has done since the last look."""
    cdef uint64_t offset
    cdef int error
    cdef bint of_file
    pthread_mutex_lock(&log.helper.lock)
    offset = log.fsynced_offset
    error = log.error
    of_file = log.error_of_file
    log.error = 0
    log.error_of_file = False
    pthread_mutex_unlock(&log.helper.lock)
    if error:
        _fail(log, error)
        log.sync_failed = True
        log.file_failed |= of_file
    if not log.sync_failed:
        _fsynced(log, offset)


cdef inline void _fsynced(aof_log_t* log, uint64_t offset) noexcept nogil:
    cdef engine_t* e = log.engine
    if offset > e.persist.aof_fsynced_offset:
        e.persist.aof_fsynced_offset = log.on_disk.confirmed = offset
        held_confirmed(e)
        if e.confirmed_fn != NULL:
            e.confirmed_fn(e)


cdef bint _fsync_running(aof_log_t* log) noexcept nogil:
    cdef bint running
    pthread_mutex_lock(&log.helper.lock)
    running = log.fsyncs > 0
    pthread_mutex_unlock(&log.helper.lock)
    return running


cdef bint _close_running(aof_log_t* log) noexcept nogil:
    """Whether the file before this one may not be whole on disk yet."""
    cdef bint running
    pthread_mutex_lock(&log.helper.lock)
    running = log.closes > 0
    pthread_mutex_unlock(&log.helper.lock)
    return running

# ---- writing -----------------------------------------------------------------------------------------------

cdef void _fail(aof_log_t* log, int error) noexcept nogil:
    log.engine.persist.aof_write_failed = True
    log.engine.persist.aof_errno = error


cdef bint _write_pending(aof_log_t* log) noexcept nogil:
    """All of `pending` to the file. On an error the file keeps whole commands only and the rest stays pending."""
    cdef size_t done = 0
    cdef int64_t start = latency_start(log.engine)
    cdef ssize_t n
    cdef int error
    while done < log.pending.len:
        n = write(log.fd, log.pending.data + done, log.pending.len - done)
        if n > 0:
            done += n
            continue
        if n < 0 and errno == EINTR:
            continue
        error = errno if n < 0 else EIO
        if done and ftruncate(log.fd, log.size) != 0:
            # The part cannot be taken back: it stands, and what is left follows it.
            log.size += done
            memmove(log.pending.data, log.pending.data + done, log.pending.len - done)
            log.pending.len -= done
        _fail(log, error)
        return False
    latency_end(log.engine, b"aof-write", start)
    log.size += done
    log.engine.persist.aof_written_offset = log.taken_offset
    log.header += log.header_pending
    log.header_pending = 0
    log.pending.len = 0
    log.postponed_since_ms = 0
    if log.pending.cap > PENDING_KEEP:
        buf_free(&log.pending)
    if not log.sync_failed:
        log.engine.persist.aof_write_failed = False
    if cf_unlikely(log.listener != NULL):
        _tell(log)
    return True


cdef void _tell(aof_log_t* log) noexcept with gil:
    owner = <AofLog><PyObject*>log.listener
    log.listener = NULL
    owner.on_written()


cdef bint _must_wait(aof_log_t* log) noexcept nogil:
    """Whether a running fsync, of this file or the one before it, holds this write back."""
    cdef int64_t now = log.engine.monotonic_ms
    if log.policy == FSYNC_ALWAYS or not _fsync_running(log):
        return False
    if log.postponed_since_ms == 0:
        log.postponed_since_ms = now
        return True
    if now - log.postponed_since_ms < DELAY_MS_MAX:
        return True
    if log.policy == FSYNC_EVERYSEC and _close_running(log):
        _fail(log, EAGAIN)  # until the write, which cron tries
        return True
    log.delayed += 1
    return False


cdef bint _sync_now(aof_log_t* log) noexcept nogil:
    cdef int64_t start = cf_monotonic_us()
    if log.sync_failed:
        return False  # another try may succeed without the data being there
    if fdatasync(log.fd) != 0:
        _fail(log, errno)
        log.sync_failed = True
        log.file_failed = True
        return False
    log.last_fsync_us = cf_monotonic_us() - start
    latency_end(log.engine, b"aof-fsync-always", start)
    log.last_fsync_ms = log.engine.monotonic_ms
    _fsynced(log, log.engine.persist.aof_written_offset)
    return True


cdef void _sync_later(aof_log_t* log) noexcept nogil:
    cdef engine_t* e = log.engine
    cdef uint64_t written = e.persist.aof_written_offset
    if log.policy != FSYNC_EVERYSEC or log.no_fsync or log.sync_failed or written == e.persist.aof_fsynced_offset:
        return
    if e.monotonic_ms - log.last_fsync_ms >= FSYNC_EVERY_MS and not _fsync_running(log) \
            and _submit(log, _job(JOB_FSYNC, log.fd, written)):
        log.last_fsync_ms = e.monotonic_ms


cdef void _put_timestamp(aof_log_t* log) noexcept nogil:
    cdef char line[32]
    cdef int64_t now_s = log.engine.now_ms // 1000
    cdef int n
    if now_s > log.last_timestamp_s:
        log.last_timestamp_s = now_s
        n = snprintf(line, sizeof(line), b"#TS:%lld\r\n", <long long>now_s)
        buf_put(&log.pending, line, n)


cdef void _put_note_of(aof_log_t* log, const char* id) noexcept nogil:
    cdef unsigned long long tenure = log.engine.journal.tenure, offset = log.taken_offset
    cdef char line[128]
    cdef int n
    n = snprintf(line, sizeof(line), b"#JOURNAL:%s %llu %llu\r\n", id, tenure, offset)
    buf_put(&log.pending, line, n)


cdef void _put_note(aof_log_t* log) noexcept nogil:
    """Where in the history the file is now."""
    _put_note_of(log, log.engine.journal.id)
    log.noted_offset = log.taken_offset
    memcpy(log.noted_id, log.engine.journal.id, sizeof(log.noted_id))


cdef void _put(aof_log_t* log, const char* data, size_t n, uint64_t offset) noexcept nogil:
    """Without long messages."""
    cdef const journal_t* j = &log.engine.journal
    cdef const journal_span_t* span = <journal_span_t*>j.messages.data
    cdef const journal_span_t* end = <journal_span_t*>(j.messages.data + j.messages.len)
    cdef uint64_t at = offset  # up to here it is put
    while span != end:
        if span.begin >= at and span.end - span.begin > NOTE_BYTES:
            buf_put(&log.pending, data + (at - offset), span.begin - at)
            at = log.taken_offset = span.end
            _put_note(log)
        span += 1
    buf_put(&log.pending, data + (at - offset), offset + n - at)


cdef void _take(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    cdef aof_log_t* log = <aof_log_t*>consumer.ctx
    cdef engine_t* e = log.engine
    if log.timestamps:
        _put_timestamp(log)
    if cf_unlikely(memcmp(log.noted_id, e.journal.id, sizeof(log.noted_id)) != 0):
        _put_note(log)
    _put(log, data, n, offset)
    log.taken_offset = offset + n
    if cf_unlikely(log.taken_offset - log.noted_offset >= NOTE_EVERY):
        _put_note(log)
    if _must_wait(log):
        return
    if log.policy == FSYNC_ALWAYS:
        if not _write_pending(log) or not _sync_now(log):
            held_failed(e)
    else:
        _write_pending(log)
        _sync_later(log)


cdef void _hold_replies(aof_log_t* log) noexcept nogil:
    """Whether replies to writes wait for the disk."""
    cdef bint wanted = log.fd >= 0 and log.policy == FSYNC_ALWAYS
    if wanted and not log.holding:
        held_add(log.engine, &log.on_disk)
    elif log.holding and not wanted:
        held_remove(log.engine, &log.on_disk)
    log.holding = wanted


cdef void _use(aof_log_t* log, int fd, uint64_t size) noexcept nogil:
    """What a file begins with goes with the first write."""
    cdef char line[64]
    cdef char digits[16]
    cdef int dbid = log.engine.journal.db
    cdef int n
    log.fd = fd
    log.size = size
    log.file_failed = False
    log.last_timestamp_s = 0
    if dbid >= 0:
        n = snprintf(digits, sizeof(digits), b"%d", dbid)
        n = snprintf(line, sizeof(line), b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", n, digits)
        buf_put(&log.pending, line, n)
    _put_note(log)
    log.header = 0
    log.header_pending = log.pending.len

# ---- for Python ---------------------------------------------------------------------------------------------

cdef class AofLog:
    """See aof_log.pyi."""

    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.log.engine = engine.ptr
        self.log.fd = -1
        self.log.policy = FSYNC_EVERYSEC
        self.log.last_timestamp_s = 0
        self.log.consumer.name = b"aof"
        self.log.on_disk.name = b"on disk"
        self.log.consumer.ctx = &self.log
        self.log.consumer.take_fn = _take
        buf_init(&self.log.pending, engine.ptr.heap)
        worker_init(&self.log.helper, _run_job, &self.log)

    def __dealloc__(self):
        worker_free(&self.log.helper)

    def open(self, int fd, uint64_t size):
        """Appends to this descriptor from now on, which is `size` bytes long. The journal is on."""
        cdef engine_t* e = self.log.engine
        journal_attach(e, &self.log.consumer)
        if self.log.consumer.since < self.log.taken_offset:  # another history: what was fsynced says nothing about it
            self.drain()
            self.log.fsynced_offset = 0
        _collect(&self.log)  # what the helper had left to say of an earlier file is no fault of this one
        self.log.sync_failed = False
        self.log.taken_offset = e.persist.aof_written_offset = self.log.consumer.since
        e.persist.aof_fsynced_offset = self.log.on_disk.confirmed = self.log.consumer.since
        if size == 0 and e.journal.earlier_id[0] and e.journal.earlier_end == self.log.taken_offset:
            _put_note_of(&self.log, e.journal.earlier_id)
        _use(&self.log, fd, size)
        _hold_replies(&self.log)
        e.persist.aof_write_failed = False

    def flush(self, bint sync=False):
        """Writes what is pending now, and fsyncs if asked. False when it failed."""
        if self.log.fd < 0:
            return True
        if self.log.engine.journal.buf.len:
            journal_hand_over(self.log.engine)
        if not _write_pending(&self.log):
            return False
        return _sync_now(&self.log) if sync else True

    def flush_in_order(self):
        """As flush, but nothing is written while the file before this one is not on disk."""
        return _close_running(&self.log) or self.flush()

    def switch(self, int fd):
        """Goes on in a new, empty file. False when what is pending could not be written to the old one, and nothing
        changed; else that one is closed, and on disk before the new one gets anything."""
        cdef int old = self.log.fd
        cdef uint64_t offset
        if old < 0:
            self.open(fd, 0)
            return True
        if not self.flush():
            return False
        if self.log.policy == FSYNC_ALWAYS and not self.log.sync_failed and not _sync_now(&self.log):
            return False
        offset = 0 if self.log.sync_failed else self.log.engine.persist.aof_written_offset
        if not _submit(&self.log, _job(JOB_FSYNC_CLOSE, old, offset)):
            if fdatasync(old) != 0:
                _fail(&self.log, errno)
                self.log.sync_failed = True
            close(old)
        _use(&self.log, fd, 0)
        return True

    def heal(self):
        """A base is on disk that holds all before the current file: an fsync that failed earlier is made up for."""
        if not self.log.sync_failed:
            return
        self.drain()
        if self.log.file_failed:
            return
        self.log.sync_failed = False
        if _write_pending(&self.log):
            _sync_now(&self.log)

    def lose(self, bint current):
        """A file is gone: this one, or one before it. As after a failed fsync, only a new base makes up for it."""
        _fail(&self.log, ENOENT)
        self.log.sync_failed = True
        self.log.file_failed |= current

    def close(self):
        """The log is off: what is pending is written, fsynced, and the file closed. False when something was lost."""
        ok = self.flush(sync=True)
        self.drain()
        if self.log.fd >= 0:
            close(self.log.fd)
        self._is_off()
        return ok

    def leave(self):
        """The log is off, and the helper does the rest. Under `always` what this tick has written is on disk first, as
        its replies need."""
        cdef aof_job_t* job
        cdef buf_t* pending = &self.log.pending
        if self.log.fd < 0:
            self.announce(False)
            return
        if self.log.engine.journal.buf.len:
            journal_hand_over(self.log.engine)
        job = _job(JOB_LEAVE, self.log.fd, 0)
        if job != NULL:
            job.rest = pending.data
            job.rest_len = pending.len
        if not _submit(&self.log, job):
            self.close()
            return
        buf_init(pending, pending.heap)
        self._is_off()

    cdef void _is_off(self) except *:
        cdef engine_t* e = self.log.engine
        self.log.fd = -1
        _hold_replies(&self.log)
        self.log.pending.len = e.persist.aof_written_offset = 0
        self.log.sync_failed = self.log.file_failed = False
        journal_detach(e, &self.log.consumer)
        e.persist.aof_write_failed = False
        if self.log.listener != NULL:
            _tell(&self.log)
        self.announce(False)

    def announce(self, bint enabled, bint starting=False):
        """What WAITAOF may count on; who waits is answered if that decides it."""
        cdef engine_t* e = self.log.engine
        e.persist.aof_enabled = enabled
        e.persist.aof_starting = starting
        if e.confirmed_fn != NULL:
            e.confirmed_fn(e)

    def mute(self, bint on):
        """While on, what is executed leaves no trace: it comes from the files themselves."""
        journal_mute(self.log.engine, on)

    def go_on(self, position, int db):
        """At a start: what was loaded ends at this (id, tenure, offset), in this database."""
        cdef bytes name
        cdef uint64_t tenure, offset
        name, tenure, offset = position
        if len(name) != 40:
            raise ValueError("a history's name has 40 digits")
        journal_continue(self.log.engine, name, tenure, offset, db)

    @property
    def position(self):
        """Of the journal's end: (id, tenure, offset)."""
        cdef journal_t* j = &self.log.engine.journal
        return <bytes>j.id, j.tenure, journal_end(self.log.engine)

    @property
    def db(self):
        """In which the journal is; if nothing says so, the next command will."""
        return max(self.log.engine.journal.db, 0)

    @property
    def written(self):
        return self.log.engine.persist.aof_written_offset

    @property
    def synced(self):
        return self.log.engine.persist.aof_fsynced_offset

    def tell(self, on_written):
        self.on_written = on_written
        self.log.listener = <void*>self

    @property
    def earlier(self):
        """The history that this one goes on from, and where they part: (id, offset)."""
        cdef journal_t* j = &self.log.engine.journal
        return <bytes>j.earlier_id, j.earlier_end

    def stop(self):
        """Ends the helper thread, after its jobs."""
        with nogil:
            worker_stop(&self.log.helper)
        buf_free(&self.log.pending)

    def drain(self):
        """Waits until the helper has done everything, and takes note of it."""
        with nogil:
            worker_drain(&self.log.helper)
        _collect(&self.log)

    def cron(self):
        """Ten times a second: what the helper did, a retry of what failed, the fsync of everysec when idle."""
        if self.log.fd < 0:
            return
        _collect(&self.log)
        if self.log.pending.len and not _must_wait(&self.log):
            if _write_pending(&self.log) and self.log.policy == FSYNC_ALWAYS:
                _sync_now(&self.log)
        if self.log.policy == FSYNC_ALWAYS and self.written > self.synced:
            _sync_now(&self.log)
        _sync_later(&self.log)

    def unlink(self, str path):
        """Removes a file without holding up the engine."""
        cdef bytes name = os.fsencode(path)
        cdef char* copy = strdup(name)
        cdef aof_job_t* job = _job(JOB_UNLINK, -1, 0)
        if job != NULL:
            job.path = copy
        if copy == NULL or not _submit(&self.log, job):
            free(copy)
            os.unlink(path)

    def set_policy(self, str name):
        cdef int before = self.log.policy
        self.log.policy = POLICIES[name]
        if self.log.policy == FSYNC_ALWAYS and before != FSYNC_ALWAYS and self.log.fd >= 0:
            self.drain()
            self.flush(sync=True)
        _hold_replies(&self.log)

    def set_timestamps(self, bint on):
        self.log.timestamps = on

    def set_no_fsync(self, bint on):
        self.log.no_fsync = on

    @property
    def is_open(self):
        return self.log.fd >= 0

    @property
    def fileno(self):
        return self.log.fd

    @property
    def in_transaction(self):
        """Whether the journal is in the middle of a transaction, where no file can begin."""
        return self.log.engine.journal.depth > 0

    @property
    def size(self):
        return self.log.size

    @property
    def header(self):
        return self.log.header

    @property
    def pending(self):
        return self.log.pending.len

    @property
    def last_fsync_us(self):
        return self.log.last_fsync_us

    @property
    def delayed(self):
        return self.log.delayed

    @property
    def sync_failed(self):
        return self.log.sync_failed

    @property
    def fsync_pending(self):
        return _fsync_running(&self.log)
