"""The append side of the AOF: the journal of each tick to the current file, and its way to the disk.

    journal --(end of tick)--> pending --write(2)--> file --fdatasync(2)--> disk
                             [taken_offset]   [persist.aof_written_offset]   [persist.aof_fsynced_offset]

`_take` is a consumer of the journal (keyspace/journal.pxd) and runs between execution and replies; offsets are the
journal's, and a file's own places are none of its business. Normally what comes is written in the same call. Under

    always     the same call fsyncs: one fdatasync for all commands of a tick, and no reply leaves before it returned;
    everysec   a helper thread fsyncs about once a second. While it does, writing could block, so bytes wait in
               `pending` for at most DELAY_MS_MAX, then are written all the same (counted in `delayed`);
    no         the kernel decides.

Failures. What a write left half done is truncated away, so the file always ends with a whole command; the rest stays
in `pending` and is tried again from cron until the disk has space: nothing that memory holds is missing in the file
once that succeeds. Meanwhile persist.aof_write_failed makes the dispatcher refuse writes. Under `always` no client
whose write is not on disk gets its reply: to be on disk is a condition of held output (keyspace/held.pxd), and who
waits for it when it fails is disconnected. A failed fsync is final for this file (the kernel may have dropped the
pages, and the next fsync would not say so): `sync_failed` stays, and writes are refused, until the caller has switched
to a new file, has a base on disk that holds everything before it, and calls `heal`.

A file that is left must be whole on disk before the next one gets anything: a power cut may tear the end of the last
file only. Under `always` the switch fsyncs; else the helper does, and what comes meanwhile waits in `pending`. When
that takes longer than DELAY_MS_MAX, `everysec` refuses writes until it is done: it promises more than memory. `no`
goes on writing: it leaves to the kernel what a power cut does.

A file begins with what its readers need and the journal does not have, since there it would be in everybody's way: the
SELECT of the database in which the journal is, if it has said so already, and a note of the position:

    #JOURNAL:<id, 40 hexadecimal digits> <tenure> <offset>

which says where in the history the file is at the end of that line. It is repeated every NOTE_EVERY bytes, and when the
history goes on under another id. Messages to subscribers, which are in the journal for replicas, are left out where
such a note, with which the file goes on behind them, is shorter. A history that goes on from an earlier one in a new
file notes that one first, so that files tell that they follow each other. Other servers take lines with "#" for
comments; ours goes on from the position that it finds (aof_load.pyx).

The helper thread (ds/worker.pxd) works on jobs in order: fsync a descriptor up to an offset, or fsync and close it, or
unlink a path. A log that is switched off leaves its end to the helper as well, so that nobody waits for a disk that
does not answer: it writes what was pending, fsyncs and closes.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t, held_condition_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.worker cimport work_t, worker_t
from cachefleet_server.engine cimport Engine

cdef enum:
    DELAY_MS_MAX = 1000  # how long a running fsync may hold writes back
    FSYNC_EVERY_MS = 1000
    PENDING_KEEP = 1048576  # bytes of a drained buffer that are kept
    NOTE_BYTES = 96  # about; one is not longer
    NOTE_EVERY = 16777216  # bytes of the journal between two notes of its position

    JOB_FSYNC = 0
    JOB_FSYNC_CLOSE = 1
    JOB_UNLINK = 2
    JOB_LEAVE = 3

cdef struct aof_job_t:
    work_t work
    int kind
    int fd
    uint64_t offset  # of the journal, safe when the fsync returns
    char* path  # malloc'd, JOB_UNLINK
    char* rest  # of the engine's heap, JOB_LEAVE: to be written first ...
    size_t rest_len  # ... so many bytes

cdef struct aof_log_t:
    engine_t* engine
    journal_consumer_t consumer  # attached while the log is on
    held_condition_t on_disk  # counts while the log is on and the policy is `always`
    bint holding  # it does
    int fd  # -1: the log is off
    int policy  # FSYNC_*
    uint64_t size  # bytes of the file, whole commands
    uint64_t taken_offset  # of the journal, up to here it was put into `pending`
    uint64_t header  # bytes of `size` that only say where the file is; more are ...
    uint64_t header_pending  # ... in `pending`
    uint64_t noted_offset  # of the last note of the position ...
    char noted_id[41]  # ... and the history's id
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
    void* listener  # AofLog, while somebody is to be told of the next write; else NULL
    worker_t helper
    size_t fsyncs  # jobs that fsync, waiting or running; under the helper's lock, as what follows
    size_t closes  # those of them that close a file which was left
    uint64_t fsynced_offset
    int error
    bint error_of_file  # the error is of JOB_FSYNC: perhaps of the current file

cdef class AofLog:
    cdef Engine engine
    cdef aof_log_t log
    cdef object on_written

    cdef void _is_off(self) except *
