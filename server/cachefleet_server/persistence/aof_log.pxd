"""The append side of the AOF: the journal of each tick to the current file, and its way to the disk.

    engine.journal.buf --(end of tick)--> pending --write(2)--> file --fdatasync(2)--> disk
                                      [aof_offset]                [aof_fsynced_offset]

`aof_log_hand_over` is engine.journal_fn: it runs between execution and replies. Everything in the journal counts as
handed over (aof_offset); normally it is written in the same call. Under

    always     the same call fsyncs: one fdatasync for all commands of a tick, and no reply leaves before it returned;
    everysec   a helper thread fsyncs about once a second. While it does, writing could block, so bytes wait in
               `pending` for at most DELAY_MS_MAX, then are written all the same (counted in `delayed`);
    no         the kernel decides.

Failures. What a write left half done is truncated away, so the file always ends with a whole command; the rest stays
in `pending` and is tried again from cron until the disk has space: nothing that memory holds is missing in the file
once that succeeds. Meanwhile persist.aof_write_failed makes the dispatcher refuse writes. Under `always` no client
whose write is not on disk gets its reply: those with pending replies that wrote in the tick are disconnected. A
failed fsync is final for this file (the kernel may have dropped the pages, and the next fsync would not say so):
`sync_failed` stays, and writes are refused, until the caller has switched to a new file, has a base on disk that
holds everything before it, and calls `heal`.

A file that is left must be whole on disk before the next one gets anything: a power cut may tear the end of the last
file only. Under `always` the switch fsyncs; else the helper does, and what comes meanwhile waits in `pending`. When
that takes longer than DELAY_MS_MAX, `everysec` refuses writes until it is done: it promises more than memory. `no`
goes on writing: it leaves to the kernel what a power cut does.

The helper thread (ds/worker.pxd) works on jobs in order: fsync a descriptor up to an offset, or fsync and close it, or
unlink a path.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.worker cimport work_t, worker_t
from cachefleet_server.engine cimport Engine

cdef enum:
    DELAY_MS_MAX = 1000  # how long a running fsync may hold writes back
    FSYNC_EVERY_MS = 1000
    PENDING_KEEP = 1048576  # bytes of a drained buffer that are kept

    JOB_FSYNC = 0
    JOB_FSYNC_CLOSE = 1
    JOB_UNLINK = 2

cdef struct aof_job_t:
    work_t work
    int kind
    int fd
    uint64_t offset  # persist.aof_offset that is safe when the fsync returns
    char* path  # malloc'd, JOB_UNLINK

cdef struct aof_log_t:
    engine_t* engine
    int fd  # -1: the log is off
    int policy  # FSYNC_*
    uint64_t size  # bytes of the file, whole commands
    uint64_t written_offset  # of persist.aof_offset, what write(2) took
    buf_t pending
    int64_t postponed_since_ms  # monotonic; 0 = nothing waits for an fsync
    int64_t last_fsync_ms  # monotonic, when the last one was asked for
    int64_t last_fsync_us  # how long it took; a plain word that both threads write
    uint64_t delayed
    bint sync_failed  # an fsync failed and no base makes up for it yet ...
    bint file_failed  # ... and it was one of the current file
    bint no_fsync  # no-appendfsync-on-rewrite while a snapshot runs
    bint timestamps  # aof-timestamp-enabled
    int64_t last_timestamp_s
    worker_t helper
    size_t fsyncs  # jobs that fsync, waiting or running; under the helper's lock, as what follows
    size_t closes  # those of them that close a file which was left
    uint64_t fsynced_offset
    int error
    bint error_of_file  # the error is of JOB_FSYNC: perhaps of the current file

cdef class AofLog:
    cdef Engine engine
    cdef aof_log_t log
