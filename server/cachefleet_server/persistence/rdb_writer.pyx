"""The writer thread of a snapshot; see rdb_writer.pxd."""

from libc.errno cimport EINTR, EIO, ETIMEDOUT, errno
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset
from posix.unistd cimport close, pread, pwrite, usleep, write

from cachefleet_server.core.engine cimport rdb_mark_t
from cachefleet_server.core.rdb cimport RDB_COMPRESS_ROOM, rdb_compress_string, rdb_out_free, rdb_out_init
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_reserve
from cachefleet_server.ds.checksum cimport crc64
from cachefleet_server.ds.owners cimport owner_drop_remote
from cachefleet_server.ds.pthread cimport (
    cond_init_timed, deadline_after, pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init,
    pthread_cond_signal, pthread_cond_timedwait, pthread_cond_wait, pthread_join, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, thread_in_background,
    thread_start, timespec)
from cachefleet_server.ds.intrin cimport cf_monotonic_us
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, zfree, zfree_remote, zmalloc
from cachefleet_server.persistence.target cimport MARK_BYTES, TARGET_WAIT, target_aside, target_fail, target_t

cdef struct extent_t:
    int number
    int64_t at
    int64_t n

cdef enum:
    CHUNK_KEEP_MAX = 2 * RDB_CHUNK  # bytes; a chunk that one large value made bigger is freed, not reused
    SPARE_MAX = 4  # chunks kept for reuse
    DELAY_STEP_US = 10000  # between two looks at whether to go on
    STALL_STEP_MS = 20  # likewise


# ---- the engine's thread ---------------------------------------------------------------------------

cdef rdb_writer_t* writer_new(
        heap_t* heap, heap_t* blob_heap, target_t* target, bint footer, bint checksum, int wake_fd) noexcept nogil:
    cdef rdb_writer_t* w = <rdb_writer_t*>zmalloc(heap, sizeof(rdb_writer_t))
    memset(w, 0, sizeof(rdb_writer_t))
    w.heap = heap
    w.blob_heap = blob_heap
    w.target = target
    w.footer = footer
    w.checksum = checksum
    w.wake_fd = wake_fd
    w.own_heap = heap_new()
    w.aside_fd = -1
    buf_init(&w.packed, w.own_heap)
    buf_init(&w.extents, w.own_heap)
    pthread_mutex_init(&w.lock, NULL)
    pthread_cond_init(&w.filled, NULL)
    cond_init_timed(&w.changed)
    cdef int error = thread_start(&w.thread, _run, w)
    if error:
        _release(w)
        (&errno)[0] = error
        return NULL
    return w


cdef void _release(rdb_writer_t* w) noexcept nogil:
    """Frees everything; there is no thread any more."""
    pthread_mutex_destroy(&w.lock)
    pthread_cond_destroy(&w.filled)
    pthread_cond_destroy(&w.changed)
    buf_free(&w.packed)
    buf_free(&w.extents)
    heap_free(w.own_heap)
    zfree(w.heap, w)


cdef void writer_free(rdb_writer_t* w) noexcept nogil:
    pthread_join(w.thread, NULL)
    _free_chunks(w, w.head)
    _free_chunks(w, w.spare)
    _release(w)


cdef void _release_blobs(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    cdef const rdb_mark_t* mark = <const rdb_mark_t*>chunk.out.marks.data
    cdef const rdb_mark_t* end = mark + chunk.out.marks.len // sizeof(rdb_mark_t)
    while mark < end:
        owner_drop_remote(w.blob_heap, mark.blob)
        mark += 1
    chunk.out.marks.len = 0


cdef void _free_chunk(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    _release_blobs(w, chunk)
    rdb_out_free(&chunk.out)
    zfree(w.heap, chunk)


cdef void _free_chunks(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    cdef rdb_chunk_t* following
    while chunk != NULL:
        following = chunk.next
        _free_chunk(w, chunk)
        chunk = following


cdef rdb_chunk_t* _spare(rdb_writer_t* w) noexcept nogil:
    cdef rdb_chunk_t* chunk
    pthread_mutex_lock(&w.lock)
    chunk = w.spare
    if chunk != NULL:
        w.spare = chunk.next
        w.spare_count -= 1
    pthread_mutex_unlock(&w.lock)
    return chunk


cdef rdb_chunk_t* writer_chunk(rdb_writer_t* w, const rdb_out_t* like, bint small) noexcept nogil:
    cdef rdb_chunk_t* chunk = NULL if small else _spare(w)
    if chunk == NULL:
        chunk = <rdb_chunk_t*>zmalloc(w.heap, sizeof(rdb_chunk_t))
        rdb_out_init(&chunk.out, w.heap, like.dialect)
    chunk.next = NULL
    chunk.aside = chunk.recall = 0
    chunk.out.buf.len = 0
    chunk.out.lent = 0
    chunk.out.delay_us = 0
    chunk.out.lend_min = like.lend_min
    chunk.out.mark_strings = like.mark_strings
    if not small:
        buf_reserve(&chunk.out.buf, RDB_CHUNK + RDB_CHUNK // 8)
    return chunk


cdef size_t writer_push(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    cdef size_t queued
    pthread_mutex_lock(&w.lock)
    chunk.next = NULL
    if w.tail != NULL:
        w.tail.next = chunk
    else:
        w.head = chunk
    w.tail = chunk
    w.queued += chunk.out.buf.len + chunk.out.lent
    queued = w.queued
    pthread_cond_signal(&w.filled)
    pthread_mutex_unlock(&w.lock)
    return queued


cdef void writer_end(rdb_writer_t* w) noexcept nogil:
    pthread_mutex_lock(&w.lock)
    w.ended = True
    pthread_cond_signal(&w.filled)
    pthread_mutex_unlock(&w.lock)


cdef void writer_abort(rdb_writer_t* w) noexcept nogil:
    pthread_mutex_lock(&w.lock)
    w.abort = True
    pthread_cond_signal(&w.filled)
    pthread_mutex_unlock(&w.lock)


cdef int writer_state(rdb_writer_t* w, size_t* queued) noexcept nogil:
    cdef int state
    pthread_mutex_lock(&w.lock)
    state = w.state
    queued[0] = w.queued
    w.full = w.queued >= RDB_QUEUE_SOFT
    pthread_mutex_unlock(&w.lock)
    return state


cdef void writer_wait(rdb_writer_t* w) noexcept nogil:
    pthread_mutex_lock(&w.lock)
    while w.state == WRITER_BUSY and (w.ended or w.abort or w.queued >= RDB_QUEUE_SOFT):
        pthread_cond_wait(&w.changed, &w.lock)
    pthread_mutex_unlock(&w.lock)


cdef void writer_wait_below(rdb_writer_t* w, size_t bytes, int64_t us) noexcept nogil:
    cdef timespec deadline
    deadline_after(&deadline, us)
    pthread_mutex_lock(&w.lock)
    while w.state == WRITER_BUSY and w.queued > bytes and not w.stalled:
        if pthread_cond_timedwait(&w.changed, &w.lock, &deadline) != 0:
            break
    pthread_mutex_unlock(&w.lock)


# ---- the writer thread -------------------------------------------------------------------------------

cdef void* _run(void* argument) noexcept nogil:
    cdef rdb_writer_t* w = <rdb_writer_t*>argument
    cdef rdb_chunk_t* chunk
    thread_in_background()
    if not w.target.ops.open_fn(w.target):
        _fail(w)
    elif w.target.marked:
        _send(w, b"$EOF:", 5)
        _send(w, w.target.mark, MARK_BYTES)
        _send(w, b"\r\n", 2)
    while True:
        chunk = _pop(w)
        if chunk == NULL:
            break
        if w.error == 0:
            if chunk.recall:
                _recall(w, chunk.recall)
            w.putting = chunk.aside
            _write_chunk(w, chunk)
            w.putting = 0
            _delay(w, chunk.out.delay_us)
        _give_back(w, chunk)
    _finish(w)
    return NULL


cdef void _delay(rdb_writer_t* w, int64_t us) noexcept nogil:
    """rdb-key-save-delay, by which tests make a snapshot last; it ends with an abort."""
    while us > 0 and _wanted(w):
        usleep(<unsigned int>min(us, DELAY_STEP_US))
        us -= DELAY_STEP_US


cdef rdb_chunk_t* _pop(rdb_writer_t* w) noexcept nogil:
    """The next chunk; NULL when there is none left or none is wanted any more."""
    cdef rdb_chunk_t* chunk = NULL
    pthread_mutex_lock(&w.lock)
    while w.head == NULL and not w.ended and not w.abort and w.error == 0:
        pthread_cond_wait(&w.filled, &w.lock)
    if not w.abort and w.error == 0 and w.head != NULL:
        chunk = w.head
        w.head = chunk.next
        if w.head == NULL:
            w.tail = NULL
    pthread_mutex_unlock(&w.lock)
    return chunk


cdef void _give_back(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    cdef bint wake
    cdef size_t done = chunk.out.buf.len + chunk.out.lent
    cdef bint keep = chunk.out.buf.cap <= CHUNK_KEEP_MAX
    _release_blobs(w, chunk)
    pthread_mutex_lock(&w.lock)
    w.queued -= done
    keep = keep and w.spare_count < SPARE_MAX
    if keep:
        chunk.next = w.spare
        w.spare = chunk
        w.spare_count += 1
    wake = w.full and w.queued < RDB_QUEUE_SOFT // 2
    if wake:
        w.full = False
    pthread_cond_broadcast(&w.changed)
    pthread_mutex_unlock(&w.lock)
    if not keep:
        zfree_remote(w.heap, chunk.out.buf.data)
        zfree_remote(w.heap, chunk.out.marks.data)
        zfree_remote(w.heap, chunk)
    if wake:
        _wake(w)


cdef void _wake(rdb_writer_t* w) noexcept nogil:
    cdef uint64_t one = 1
    if w.wake_fd >= 0:
        write(w.wake_fd, &one, sizeof(one))


cdef void _fail(rdb_writer_t* w) noexcept nogil:
    """What the target says is what everybody is told."""
    pthread_mutex_lock(&w.lock)
    w.error = w.target.error
    w.error_what = w.target.what
    pthread_mutex_unlock(&w.lock)


cdef void _write_chunk(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil:
    """The chunk's bytes, each marked string compressed if that makes it shorter, and the lent ones in their places."""
    cdef const char* data = chunk.out.buf.data
    cdef const rdb_mark_t* mark = <const rdb_mark_t*>chunk.out.marks.data
    cdef const rdb_mark_t* end = mark + chunk.out.marks.len // sizeof(rdb_mark_t)
    cdef size_t at = 0
    if mark == end:
        _write(w, data, chunk.out.buf.len)
        return
    while mark < end:
        buf_put(&w.packed, data + at, mark.at - at)
        at = mark.at
        if not mark.compress or not _compress(w, data, mark):
            buf_put(&w.packed, data + at, mark.head)
            if mark.blob != NULL:
                _flush(w)
                _write(w, &mark.blob.data[0], mark.n)
            else:
                buf_put(&w.packed, data + at + mark.head, mark.n)
        at += mark.head + (mark.n if mark.blob == NULL else 0)
        mark += 1
    buf_put(&w.packed, data + at, chunk.out.buf.len - at)
    _flush(w)
    if w.packed.cap > CHUNK_KEEP_MAX:
        buf_free(&w.packed)


cdef bint _compress(rdb_writer_t* w, const char* data, const rdb_mark_t* mark) noexcept nogil:
    """A string and its length code to `packed`; false when that is not shorter."""
    cdef const char* p = data + mark.at + mark.head
    cdef size_t size
    if mark.blob != NULL:
        p = &mark.blob.data[0]
    size = rdb_compress_string(buf_reserve(&w.packed, mark.n + RDB_COMPRESS_ROOM), p, mark.n)
    w.packed.len += size
    return size != 0


cdef void _flush(rdb_writer_t* w) noexcept nogil:
    _write(w, w.packed.data, w.packed.len)
    w.packed.len = 0


cdef void _write(rdb_writer_t* w, const char* p, size_t n) noexcept nogil:
    """Part of the stream, as against what the target puts around it, now or later."""
    if w.putting:
        _put_aside(w, p, n)
        return
    if w.checksum:
        w.crc = crc64(w.crc, p, n)
    _send(w, p, n)


cdef void _put_aside(rdb_writer_t* w, const char* p, size_t n) noexcept nogil:
    cdef extent_t extent
    cdef extent_t* last = <extent_t*>(w.extents.data + w.extents.len - sizeof(extent_t)) if w.extents.len else NULL
    cdef ssize_t done
    if w.aside_fd < 0 and w.error == 0:
        w.aside_fd = target_aside(w.target)
    if last == NULL or last.number != w.putting:
        extent.number = w.putting
        extent.at = w.aside_size
        extent.n = 0
        buf_put(&w.extents, &extent, sizeof(extent_t))
        last = <extent_t*>(w.extents.data + w.extents.len - sizeof(extent_t))
    while n > 0 and w.target.error == 0:
        done = pwrite(w.aside_fd, p, n, w.aside_size)
        if done > 0:
            p += done
            n -= done
            last.n += done
            w.aside_size += done
        elif done == 0 or errno != EINTR:
            target_fail(w.target, errno if done else EIO, b"write aside")
    if w.target.error:
        _fail(w)


cdef void _recall(rdb_writer_t* w, int number) noexcept nogil:
    cdef const extent_t* extent = <const extent_t*>w.extents.data
    cdef const extent_t* end = <const extent_t*>(w.extents.data + w.extents.len)
    cdef int64_t at
    cdef ssize_t done
    while extent < end:
        at = 0
        while extent.number == number and at < extent.n and w.error == 0 and _wanted(w):
            done = pread(w.aside_fd, buf_reserve(&w.packed, RDB_CHUNK), min(extent.n - at, RDB_CHUNK), extent.at + at)
            if done > 0:
                w.packed.len = done
                _flush(w)
                at += done
            elif done == 0 or errno != EINTR:
                target_fail(w.target, errno if done else EIO, b"read what was put aside")
                _fail(w)
        extent += 1


cdef void _send(rdb_writer_t* w, const char* p, size_t n) noexcept nogil:
    """All of it to the target, however long that takes; nothing once there was an error, or after an abort."""
    cdef target_t* t = w.target
    cdef int64_t since_us = 0
    cdef ssize_t done
    while n > 0 and w.error == 0 and _wanted(w):
        done = t.ops.write_fn(t, p, n)
        if done >= 0:
            p += done
            n -= done
            w.written += done
            since_us = 0
            continue
        if done == TARGET_WAIT:
            since_us = since_us if since_us else cf_monotonic_us()
            if t.stall_ms and cf_monotonic_us() - since_us >= t.stall_ms * 1000:
                target_fail(t, ETIMEDOUT, b"the receiver took nothing")
            else:
                _stall(w)
        if t.error:
            _fail(w)


cdef void _stall(rdb_writer_t* w) noexcept nogil:
    pthread_mutex_lock(&w.lock)
    w.stalled = True
    pthread_cond_broadcast(&w.changed)
    pthread_mutex_unlock(&w.lock)
    w.target.ops.wait_fn(w.target, STALL_STEP_MS)
    pthread_mutex_lock(&w.lock)
    w.stalled = False
    pthread_mutex_unlock(&w.lock)


cdef bint _wanted(rdb_writer_t* w) noexcept nogil:
    """False after writer_abort."""
    cdef bint wanted
    pthread_mutex_lock(&w.lock)
    wanted = not w.abort
    pthread_mutex_unlock(&w.lock)
    return wanted


cdef void _finish(rdb_writer_t* w) noexcept nogil:
    """Completes the stream, or leaves nothing of it; then says so. After an abort nothing follows, so that no
    receiver takes what it has for the whole."""
    cdef target_t* t = w.target
    cdef uint8_t footer[8]
    cdef int i
    if w.aside_fd >= 0:
        close(w.aside_fd)
    if w.footer:
        for i in range(8):
            footer[i] = <uint8_t>(w.crc >> (8 * i))
        t.sync_often = False  # the last one follows at once
        _send(w, <char*>footer, sizeof(footer))
    if t.marked:
        _send(w, t.mark, MARK_BYTES)
    cdef bint complete = (
        w.error == 0 and _wanted(w) and t.ops.close_fn(t)
        and _wanted(w)  # that may have taken long
        and t.ops.publish_fn(t))
    if not complete:
        t.ops.abandon_fn(t)
    if t.error:
        _fail(w)
    pthread_mutex_lock(&w.lock)
    w.state = WRITER_FAILED if w.error else (WRITER_DONE if complete else WRITER_ABORTED)
    pthread_cond_broadcast(&w.changed)
    pthread_mutex_unlock(&w.lock)
    _wake(w)
