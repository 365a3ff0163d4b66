"""The writer thread of a snapshot; see rdb_writer.pxd."""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport rename, snprintf
from libc.stdlib cimport free
from libc.string cimport memset, strrchr
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY, open
from posix.unistd cimport close, fdatasync, fsync, unlink, usleep, write

from cachefleet_server.core.engine cimport rdb_mark_t
from cachefleet_server.core.rdb cimport RDB_COMPRESS_ROOM, rdb_compress_string, rdb_out_free, rdb_out_init
from cachefleet_server.ds.blob cimport blob_release_remote
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_reserve
from cachefleet_server.ds.checksum cimport crc64
from cachefleet_server.ds.pthread cimport (
    cond_init_timed, deadline_after, pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init,
    pthread_cond_signal, pthread_cond_timedwait, pthread_cond_wait, pthread_join, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, thread_in_background,
    thread_start, timespec)
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, zfree, zfree_remote, zmalloc

cdef extern from "<fcntl.h>" nogil:
    int posix_fadvise(int fd, long offset, long n, int advice)
    int POSIX_FADV_DONTNEED

cdef enum:
    CHUNK_KEEP_MAX = 2 * RDB_CHUNK  # bytes; a chunk that one large value made bigger is freed, not reused
    SPARE_MAX = 4  # chunks kept for reuse
    FILE_MODE = 0o644
    DELAY_STEP_US = 10000  # between two looks at whether to go on


# ---- the engine's thread ---------------------------------------------------------------------------

cdef rdb_writer_t* writer_new(heap_t* heap, heap_t* blob_heap, rdb_target_t* target, int wake_fd) noexcept nogil:
    cdef rdb_writer_t* w = <rdb_writer_t*>zmalloc(heap, sizeof(rdb_writer_t))
    memset(w, 0, sizeof(rdb_writer_t))
    w.heap = heap
    w.blob_heap = blob_heap
    w.target = target[0]
    w.wake_fd = wake_fd
    w.fd = -1
    w.own_heap = heap_new()
    buf_init(&w.packed, w.own_heap)
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
    heap_free(w.own_heap)
    free(w.target.temp_path)
    free(w.target.final_path)
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
        blob_release_remote(w.blob_heap, mark.blob)
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
    while w.state == WRITER_BUSY and w.queued > bytes:
        if pthread_cond_timedwait(&w.changed, &w.lock, &deadline) != 0:
            break
    pthread_mutex_unlock(&w.lock)


# ---- the writer thread -------------------------------------------------------------------------------

cdef void* _run(void* argument) noexcept nogil:
    cdef rdb_writer_t* w = <rdb_writer_t*>argument
    cdef rdb_chunk_t* chunk
    thread_in_background()
    if w.target.fd >= 0:
        w.fd = w.target.fd
    else:
        w.fd = open(w.target.temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE)
        if w.fd < 0:
            _fail(w, b"open")
    while True:
        chunk = _pop(w)
        if chunk == NULL:
            break
        if w.error == 0:
            _write_chunk(w, chunk)
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


cdef void _fail(rdb_writer_t* w, const char* what) noexcept nogil:
    """Keeps the first error, which errno holds now."""
    cdef int error = errno
    pthread_mutex_lock(&w.lock)
    if w.error == 0:
        w.error = error
        w.error_what = what
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
    """Writes all of it, adds it to the checksum, and fsyncs when enough has gathered."""
    cdef ssize_t done
    if w.target.checksum:
        w.crc = crc64(w.crc, p, n)
    while n > 0:
        done = write(w.fd, p, n)
        if done < 0 and errno == EINTR:
            continue
        if done < 0:
            _fail(w, b"write")
            return
        p += done
        n -= done
        w.written += done
    if w.target.fd < 0 and w.target.sync_often and w.written - w.synced >= RDB_SYNC_EVERY:
        if fdatasync(w.fd) != 0:
            _fail(w, b"fsync")
        w.synced = w.written


cdef bint _wanted(rdb_writer_t* w) noexcept nogil:
    """False after writer_abort."""
    cdef bint wanted
    pthread_mutex_lock(&w.lock)
    wanted = not w.abort
    pthread_mutex_unlock(&w.lock)
    return wanted


cdef void _finish(rdb_writer_t* w) noexcept nogil:
    """Completes the file, or removes it; then says so."""
    cdef uint8_t footer[8]
    cdef int i
    cdef bint complete = w.error == 0 and _wanted(w)
    if complete and w.target.footer:
        for i in range(8):
            footer[i] = <uint8_t>(w.crc >> (8 * i))
        w.target.sync_often = False  # the last one follows at once
        _write(w, <char*>footer, sizeof(footer))
    if complete and w.target.fd < 0 and w.error == 0:
        if fsync(w.fd) != 0:
            _fail(w, b"fsync")
        # A file that nobody will read soon should not push useful pages out of a container's memory limit.
        posix_fadvise(w.fd, 0, 0, POSIX_FADV_DONTNEED)
    if w.fd >= 0 and close(w.fd) != 0 and w.error == 0:
        _fail(w, b"close")
    complete = complete and _wanted(w)  # the fsync may have taken long
    if complete and w.target.final_path != NULL and w.error == 0:
        if rename(w.target.temp_path, w.target.final_path) != 0:
            _fail(w, b"rename")
        elif not _sync_folder(w.target.final_path):
            _fail(w, b"fsync of the folder")
    if w.target.fd < 0 and (w.error != 0 or not complete):
        unlink(w.target.temp_path)
    pthread_mutex_lock(&w.lock)
    w.state = WRITER_FAILED if w.error else (WRITER_DONE if complete else WRITER_ABORTED)
    pthread_cond_broadcast(&w.changed)
    pthread_mutex_unlock(&w.lock)
    _wake(w)


cdef bint _sync_folder(const char* path) noexcept nogil:
    """Makes a rename durable: fsyncs the folder of `path`."""
    cdef char folder[4096]
    cdef const char* slash = strrchr(path, c'/')
    cdef int fd
    cdef bint ok
    if slash == NULL:
        snprintf(folder, sizeof(folder), b".")
    else:
        snprintf(folder, sizeof(folder), b"%.*s", <int>(slash - path) + 1, path)
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if fd < 0:
        return False
    ok = fsync(fd) == 0
    close(fd)
    return ok
