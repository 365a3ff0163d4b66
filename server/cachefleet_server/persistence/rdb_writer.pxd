"""The writer thread of a snapshot: takes chunks of serialised records, leaves a finished stream at its target.

The engine's thread fills an `rdb_chunk_t` at a time and pushes it; the thread compresses the marked strings, adds up
the checksum and writes. When the producer says that there is no more, it appends the checksum and lets the target
complete what it has: where that is, and what may go wrong there, is in target.pxd.

    engine's thread  --push-->  queue  --pop-->  writer thread  -->  target
                     <--take---  spare  <--------

Ownership: a chunk belongs to whoever holds it, and with it a share in the blobs that its marks lend: they are written
from where they lie, and released, as a remote free of the engine's heap. The thread keeps a few drained chunks in
`spare` for the producer and frees the others, as a remote free of the producer's heap. What both threads read is under
`lock`. The thread never takes the GIL.

How the producer learns of things: it asks `writer_state` once a slice, and the thread makes `wake_fd` (the engine's
eventfd) readable when the stream is done, when it failed, and when a full queue has drained to half.
Errors: the first one is kept (an errno and what was being done), and the target leaves nothing.

Aside. What writes change of a large value waits for that value's turn in the stream (deliver.pxd), and would cost its
memory until then. So a chunk may have a number: it goes into a file without a name beside the target's, in the form in
which it would have gone there. All that has this number comes into the stream in front of the chunk that recalls it.

A target that takes nothing makes the thread wait (`stalled`), a moment at a time, so that an abort is noticed. Nobody
may wait for such a thread: it does not get on faster for having the core.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport rdb_out_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.pthread cimport pthread_cond_t, pthread_mutex_t, pthread_t
from cachefleet_server.ds.zmalloc cimport heap_t
from cachefleet_server.persistence.target cimport target_t

cdef enum:
    RDB_CHUNK = 65536  # bytes of records after which a chunk is handed over
    RDB_QUEUE_SOFT = 1048576  # bytes queued; above, slices pause

    WRITER_BUSY = 0
    WRITER_DONE = 1  # the stream is in place
    WRITER_FAILED = 2  # `error` and `error_what` say why
    WRITER_ABORTED = 3  # as asked

cdef struct rdb_chunk_t:
    rdb_chunk_t* next
    int aside  # the number under which it is put aside; 0: it is for the stream
    int recall  # what has this number comes in front of it; 0: nothing does
    rdb_out_t out

cdef struct rdb_writer_t:
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t filled  # the thread waits: a chunk, the end, or an abort
    pthread_cond_t changed  # the engine waits: room, or the thread's end
    # under the lock
    rdb_chunk_t* head
    rdb_chunk_t* tail
    rdb_chunk_t* spare  # drained chunks, to be filled again
    int spare_count
    size_t queued  # bytes of records waiting or being written, with those lent
    bint full  # the producer saw a full queue: wake it at half
    bint ended  # no chunk follows
    bint abort
    bint stalled  # the target takes nothing now
    int state  # WRITER_*
    int error  # errno
    const char* error_what
    uint64_t written  # bytes that the target took
    # the engine thread's
    heap_t* heap
    heap_t* blob_heap  # the engine's, where blobs are accounted
    int wake_fd
    # the writer thread's
    target_t* target
    bint footer  # the stream ends with the checksum, or zeros in its place
    bint checksum
    heap_t* own_heap
    buf_t packed  # a chunk after compression
    uint64_t crc
    int putting  # the number under which what is written now is put aside; 0: it is not
    int aside_fd  # -1: nothing was put aside yet
    int64_t aside_size
    buf_t extents  # extent_t: where in that file what lies

cdef rdb_writer_t* writer_new(
        heap_t* heap, heap_t* blob_heap, target_t* target, bint footer, bint checksum, int wake_fd) noexcept nogil
    # Starts the thread, whose the target is until writer_free; NULL when no thread could be started (errno says why).
cdef void writer_free(rdb_writer_t* w) noexcept nogil  # joins the thread, so wait for it to leave WRITER_BUSY first
cdef rdb_chunk_t* writer_chunk(rdb_writer_t* w, const rdb_out_t* like, bint small) noexcept nogil
    # An empty chunk, the caller's, with the settings of `like`. Small: it grows from nothing.
cdef size_t writer_push(rdb_writer_t* w, rdb_chunk_t* chunk) noexcept nogil  # takes the chunk; bytes queued now
cdef void writer_end(rdb_writer_t* w) noexcept nogil  # all chunks were pushed
cdef void writer_abort(rdb_writer_t* w) noexcept nogil  # stop soon, and leave nothing; no-op once done
cdef int writer_state(rdb_writer_t* w, size_t* queued) noexcept nogil
    # WRITER_*. When *queued is at least RDB_QUEUE_SOFT, a wake-up will follow.
cdef void writer_wait(rdb_writer_t* w) noexcept nogil  # until there is room in the queue or the thread has ended
cdef void writer_wait_below(rdb_writer_t* w, size_t bytes, int64_t us) noexcept nogil
    # Until no more is queued, for at most us; not while the target takes nothing.
