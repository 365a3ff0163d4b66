"""Requests from bytes: incremental RESP and inline parsing in place.

An `input_t` is one connection's unparsed bytes and its progress. An idle connection owns no memory:
bytes are read into a buffer shared by all connections and parsed where they lie, so the arguments
of a request are pointers into that buffer. Only when a tick ends with an incomplete request are the
leftover bytes copied into a buffer of the connection's own (`input_keep_rest`).

Large arguments: a bulk of at least INPUT_BIG bytes that is not wholly there yet gets a `blob_t` of
its exact size, and the following reads go straight into it; the argument then points into the blob
and a command may take the blob instead of copying (`input_take_blob`).

Progress is kept across reads, so a request that arrives byte by byte costs O(length) in total.
Memory promised by a client (`*1000000`, `$512mb`) is allocated as bytes arrive, never up front, beyond
INPUT_BIG_AHEAD.

Life of a request: `input_next` returns INPUT_OK and fills request_t; its argv is valid until
`input_keep_rest` or the next `input_next` of the same connection that is called after `input_keep_rest`;
several requests of one connection may be pending at once (batching), each with its own argv in the arena.

A connection's turn: input_read_space, read(2), input_arrived (if n > 0), input_next until it is not INPUT_OK,
execution, input_keep_rest. Reading again before input_keep_rest is not allowed: the buffers may move.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    INPUT_OK = 0
    INPUT_MORE = 1  # nothing complete; read again
    INPUT_ERROR = 2  # protocol error: `error` holds the text after "-ERR Protocol error: "; close after replying
    INPUT_BIG = 32768  # bytes; bulks of this size get memory of their own
    INPUT_BIG_AHEAD = 1048576  # bytes allocated for a promised bulk before its first byte came
    INPUT_INLINE_MAX = 65536  # bytes of an inline request or of a length line
    INPUT_COPY_MAX = 512  # bytes of leftovers that move to the shared buffer before any read
    INPUT_OWN_ROOM = 16384  # bytes of room offered behind larger leftovers
    INPUT_PREAUTH_BULK_MAX = 16384  # bytes, unauthenticated clients
    INPUT_PREAUTH_MULTIBULK_MAX = 10

cdef struct arg_t:
    const char* ptr
    size_t len
    uint64_t hash  # of the bytes under the engine's seed; 0 = not computed yet

cdef struct arg_arena_t:  # argv storage of a batch; reset by the reactor after execution
    heap_t* heap
    arg_t* args
    size_t used
    size_t cap  # fixed while a batch is pending: pointers stay valid; larger requests own their argv

cdef struct request_t:
    int argc  # 0 for an empty inline line or an empty multibulk: skip it
    arg_t* argv
    const char* raw  # the request's own bytes when it came as canonical RESP in one piece, else NULL
    size_t raw_len
    size_t bytes  # argument bytes in total, for large-request logs and client memory

cdef struct input_limits_t:
    size_t bulk_max  # proto-max-bulk-len
    bint authenticated  # false: pre-auth limits

cdef struct request_memory_t:  # memory of finished requests; freed by input_keep_rest
    request_memory_t* next
    arg_t* argv  # one of these two
    blob_t* blob

cdef struct partial_t:  # see incremental.pyx
    request_memory_t* held
    # the incomplete request, while input_t.busy
    size_t start
    size_t scanned  # offset up to which the current line is known not to end
    int argc  # 0 until the count line is complete
    int done  # complete arguments
    arg_t* args
    size_t args_cap
    size_t bytes  # of complete arguments
    int64_t bulk  # length of the argument that is being received; -1: not known yet
    blob_t* blob  # where it goes if it is big, with its CRLF
    size_t blob_len
    size_t blob_cap
    request_memory_t* blobs  # complete big arguments
    char error_text[32]

cdef struct input_t:
    heap_t* heap
    char* buf  # unparsed bytes start at buf[pos]; lies in the shared buffer or in `own`
    size_t len
    size_t pos
    char* own  # NULL while idle
    size_t own_cap
    partial_t* partial  # progress of an incomplete request and memory of pending ones, else NULL
    const char* error  # set with INPUT_ERROR; NUL-terminated, but may also contain a NUL that the client sent
    uint32_t error_len
    bint busy  # buf[pos] is inside an incomplete request, whose start and state are in `partial`
    size_t last_arrival  # bytes of the latest read

cdef void input_init(input_t* in_, heap_t* heap) noexcept nogil
cdef void input_free(input_t* in_) noexcept nogil
cdef char* input_read_space(input_t* in_, char* shared, size_t shared_cap, size_t* cap) noexcept nogil
    # Where the next read should go and how much fits: the rest of a big argument, the tail of the own
    # buffer when there are long leftovers, or `shared`, behind short leftovers that are copied to its front.
cdef size_t input_arrived(input_t* in_, char* where, size_t n) noexcept nogil
    # n > 0 bytes arrived at `where`. Returns how many bytes from `shared` on are in use until input_keep_rest:
    # leftovers and n when the read went there, else 0.
cdef int input_next(input_t* in_, const input_limits_t* limits, arg_arena_t* arena, request_t* out) noexcept nogil
cdef void input_keep_rest(input_t* in_) noexcept nogil
    # No pending request points into the buffers any more: keep leftovers in `own`, drop what is not needed.
cdef blob_t* input_take_blob(input_t* in_, const arg_t* arg) noexcept nogil
    # The blob that holds exactly this argument, now the caller's (owner_drop), or NULL.
cdef blob_t* input_lend_blob(input_t* in_, const arg_t* arg) noexcept nogil
    # The same, of which the caller becomes one more owner: the argument lives as long as it would have.
cdef size_t input_unparsed(const input_t* in_) noexcept nogil
    # Bytes held and not parsed yet, with the bookkeeping of an incomplete request: what the query-buffer limit is for.
cdef size_t input_memory(const input_t* in_) noexcept nogil  # bytes owned by this connection
cdef int input_check(const input_t* in_) noexcept nogil  # 0 when the invariants hold
