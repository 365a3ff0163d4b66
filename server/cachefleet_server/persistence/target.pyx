"""Files and descriptors as targets of a snapshot; see target.pxd."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdio cimport rename, snprintf
from libc.stdlib cimport free
from libc.string cimport memcpy, memset, strdup, strrchr
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, open
from posix.unistd cimport close, fdatasync, fsync, unlink, write

cdef extern from "<fcntl.h>" nogil:
    int posix_fadvise(int fd, long offset, long n, int advice)
    int POSIX_FADV_DONTNEED

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long n, int ms)
    short POLLOUT

cdef enum:
    FILE_MODE = 0o644


cdef void target_fail(target_t* t, int error, const char* what) noexcept nogil:
    if t.error == 0:
        t.error = error
        t.what = what


cdef bint _failed(target_t* t, const char* what) noexcept nogil:
    target_fail(t, errno, what)
    return False


cdef ssize_t _write(target_t* t, const char* p, size_t n) noexcept nogil:
    cdef ssize_t done = write(t.fd, p, n)
    while done < 0 and errno == EINTR:
        done = write(t.fd, p, n)
    if done >= 0:
        return done
    if errno == EAGAIN:
        return TARGET_WAIT
    _failed(t, b"write")
    return TARGET_FAILED


cdef void _wait(target_t* t, int ms) noexcept nogil:
    cdef pollfd one
    one.fd = t.fd
    one.events = POLLOUT
    poll(&one, 1, ms)


cdef bint _close(target_t* t) noexcept nogil:
    cdef int fd = t.fd
    t.fd = -1
    return fd < 0 or close(fd) == 0 or _failed(t, b"close")

# ---- files -----------------------------------------------------------------------------------------

cdef bint _file_open(target_t* t) noexcept nogil:
    t.fd = open(t.temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE)
    return t.fd >= 0 or _failed(t, b"open")


cdef ssize_t _file_write(target_t* t, const char* p, size_t n) noexcept nogil:
    cdef ssize_t done = _write(t, p, n)
    if done > 0 and t.sync_often:
        t.unsynced += done
        if t.unsynced >= SYNC_EVERY:
            t.unsynced = 0
            if fdatasync(t.fd) != 0:
                _failed(t, b"fsync")
                return TARGET_FAILED
    return done


cdef bint _file_close(target_t* t) noexcept nogil:
    if fsync(t.fd) != 0:
        return _failed(t, b"fsync")
    # A file that nobody will read soon should not push useful pages out of a container's memory limit.
    posix_fadvise(t.fd, 0, 0, POSIX_FADV_DONTNEED)
    return _close(t)


cdef bint _file_publish(target_t* t) noexcept nogil:
    if t.final_path == NULL:
        return True
    if rename(t.temp_path, t.final_path) != 0:
        return _failed(t, b"rename")
    return _sync_folder(t.final_path) or _failed(t, b"fsync of the folder")


cdef void _file_abandon(target_t* t) noexcept nogil:
    _close(t)
    unlink(t.temp_path)


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


cdef target_ops_t FILE  # constant after import
FILE.open_fn = _file_open
FILE.write_fn = _file_write
FILE.wait_fn = _wait
FILE.close_fn = _file_close
FILE.publish_fn = _file_publish
FILE.abandon_fn = _file_abandon


cdef void target_file(target_t* t, const char* temp_path, const char* final_path, bint sync_often) noexcept nogil:
    memset(t, 0, sizeof(target_t))
    t.ops = &FILE
    t.fd = -1
    t.temp_path = strdup(temp_path)
    if final_path != NULL and final_path[0]:
        t.final_path = strdup(final_path)
    t.sync_often = sync_often


cdef int target_aside(target_t* t) noexcept nogil:
    cdef char path[4096]
    cdef int fd
    snprintf(path, sizeof(path), b"%s.aside", t.temp_path)
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE)
    if fd < 0:
        _failed(t, b"open a file beside it")
    else:
        unlink(path)
    return fd


cdef bint target_is_file(const target_t* t) noexcept nogil:
    return t.ops == &FILE


cdef void target_free(target_t* t) noexcept nogil:
    free(t.temp_path)
    free(t.final_path)
    t.temp_path = t.final_path = NULL

# ---- descriptors -----------------------------------------------------------------------------------

cdef bint _nothing_to_do(target_t* t) noexcept nogil:
    return True


cdef void _descriptor_abandon(target_t* t) noexcept nogil:
    _close(t)


cdef target_ops_t DESCRIPTOR  # constant after import
DESCRIPTOR.open_fn = _nothing_to_do
DESCRIPTOR.write_fn = _write
DESCRIPTOR.wait_fn = _wait
DESCRIPTOR.close_fn = _close
DESCRIPTOR.publish_fn = _nothing_to_do
DESCRIPTOR.abandon_fn = _descriptor_abandon


cdef void target_descriptor(target_t* t, int fd, const char* mark, int64_t stall_ms) noexcept nogil:
    memset(t, 0, sizeof(target_t))
    t.ops = &DESCRIPTOR
    t.fd = fd
    t.stall_ms = stall_ms
    if mark != NULL:
        memcpy(t.mark, mark, MARK_BYTES)
        t.marked = True
