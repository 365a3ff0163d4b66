"""Where a snapshot's stream goes: a file, or a descriptor that takes what it can, such as a replica's socket.

    writer thread:  open -> write, wait, write ... -> close -> publish      or, at any point, abandon

The writer thread (rdb_writer.pxd) is the only one that calls these functions, one after the other. A target that
takes nothing now makes it wait, and then its queue fills: slices pause at RDB_QUEUE_SOFT, with the tables frozen as
they are, so the point in time stays. What writes deliver meanwhile cannot wait; where that would pass the limit that
holds for a slow disk, too (snapshot.pxd), the snapshot is given up. A target that fails ends its own snapshot and
nothing else. `stall_ms` bounds how long one may take nothing at all; a trickle is no stall.

A file: written under a temporary name, fsynced as it grows, and renamed when all of it is on disk. Beside it there may
be another one, without a name, for what has to wait (rdb_writer.pxd).

A descriptor is the target's own and closed at its end, so who needs the connection afterwards gives a dup. It should
be non-blocking, or an abort waits for its reader. A receiver that cannot be told a length beforehand gets a mark of
MARK_BYTES instead: `$EOF:<mark>`, CR and LF in front, and `<mark>` behind. That is no part of the checksum; the mark is
chosen at random, so that data will not contain it. TLS would be a third row, whose `wait_fn` knows what it waits for.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MARK_BYTES = 40
    SYNC_EVERY = 4194304  # bytes between two fsyncs under rdb-save-incremental-fsync

    TARGET_WAIT = -1  # it takes nothing now
    TARGET_FAILED = -2  # `error` and `what` say why

cdef struct target_t

cdef struct target_ops_t:
    bint (*open_fn)(target_t* t) noexcept nogil  # false: failed
    ssize_t (*write_fn)(target_t* t, const char* p, size_t n) noexcept nogil  # bytes taken, > 0, or TARGET_*
    void (*wait_fn)(target_t* t, int ms) noexcept nogil  # until it may take more, for at most ms
    bint (*close_fn)(target_t* t) noexcept nogil  # all is written: makes it safe, and closes; false: failed
    bint (*publish_fn)(target_t* t) noexcept nogil  # the last step, with which the stream is there
    void (*abandon_fn)(target_t* t) noexcept nogil  # closes, and leaves nothing; after any of the others

cdef struct target_t:
    const target_ops_t* ops
    int fd  # -1: not open
    int64_t stall_ms  # 0: may take nothing for ever
    char mark[40]  # MARK_BYTES
    bint marked
    # files
    char* temp_path  # created, or emptied
    char* final_path  # the name when all is durable; NULL: it keeps its own
    bint sync_often
    uint64_t unsynced  # bytes since the last fsync
    # the first failure
    int error  # errno; 0 while all is well
    const char* what  # was being done

cdef void target_file(target_t* t, const char* temp_path, const char* final_path, bint sync_often) noexcept nogil
    # Copies the paths; final_path NULL or empty: none.
cdef void target_descriptor(target_t* t, int fd, const char* mark, int64_t stall_ms) noexcept nogil  # mark NULL: none
cdef void target_free(target_t* t) noexcept nogil
cdef void target_fail(target_t* t, int error, const char* what) noexcept nogil  # keeps the first one
cdef int target_aside(target_t* t) noexcept nogil
    # A file without a name beside a file that is the target, to write and to read; -1: failed. The caller closes it.
cdef bint target_is_file(const target_t* t) noexcept nogil
