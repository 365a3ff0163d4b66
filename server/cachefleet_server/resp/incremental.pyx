"""The incremental parser: a request that is incomplete, inline, empty or wrong, whose bytes may come one by one.

While a request is incomplete, its bytes from `start` on stay in the buffer and its arguments are kept as offsets
from `start`, because the buffer moves; arguments in blobs are pointers, told apart by a hash of IN_BLOB. The bytes
of a blob do not stay in the buffer.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, strlen

from cachefleet_server.ds.blob cimport blob_new, blob_t
from cachefleet_server.ds.intrin cimport cf_load16
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc, zrealloc
from cachefleet_server.resp.inline cimport inline_split
from cachefleet_server.resp.input cimport (
    INPUT_BIG, INPUT_BIG_AHEAD, INPUT_ERROR, INPUT_INLINE_MAX, INPUT_MORE, INPUT_OK, INPUT_PREAUTH_BULK_MAX,
    INPUT_PREAUTH_MULTIBULK_MAX, arg_t, partial_t)

cdef enum:
    ARGC_MAX = 2147483647
    ARGS_FIRST = 16  # arguments of the first allocation
    IN_BLOB = 1
    UNKNOWN = -1


# ---- memory ------------------------------------------------------------------------------------------

cdef void request_memory_free(input_t* in_, request_memory_t** list) noexcept nogil:
    cdef request_memory_t* node
    while list[0] != NULL:
        node = list[0]
        list[0] = node.next
        zfree(in_.heap, node.argv)
        owner_drop(in_.heap, node.blob)
        zfree(in_.heap, node)


cdef void hold(input_t* in_, request_memory_t** list, arg_t* argv, blob_t* blob) noexcept nogil:
    """Takes ownership of argv or blob."""
    cdef request_memory_t* node = <request_memory_t*>zmalloc(in_.heap, sizeof(request_memory_t))
    node.next = list[0]
    node.argv = argv
    node.blob = blob
    list[0] = node


cdef void partial_free(input_t* in_) noexcept nogil:
    cdef partial_t* p = in_.partial
    if p != NULL:
        request_memory_free(in_, &p.held)
        request_memory_free(in_, &p.blobs)
        zfree(in_.heap, p.args)
        owner_drop(in_.heap, p.blob)
        zfree(in_.heap, p)
        in_.partial = NULL


# ---- parsing -----------------------------------------------------------------------------------------

cdef int fail(input_t* in_, const char* text) noexcept nogil:
    in_.error = text
    in_.error_len = <uint32_t>strlen(text)
    return INPUT_ERROR


cdef int fail_type(input_t* in_, char got) noexcept nogil:
    cdef char* text = &in_.partial.error_text[0]
    memcpy(text, b"expected '$', got '?'", 22)
    text[19] = got
    in_.error = text
    in_.error_len = 21
    return INPUT_ERROR


cdef void begin(input_t* in_) noexcept nogil:
    """An incomplete request starts at pos."""
    cdef partial_t* p = in_.partial
    if p == NULL:
        p = in_.partial = <partial_t*>zcalloc(in_.heap, sizeof(partial_t))
    p.start = in_.pos
    p.scanned = in_.pos
    p.argc = 0
    p.done = 0
    p.bytes = 0
    p.bulk = UNKNOWN
    in_.busy = True


cdef int find_line(input_t* in_, size_t* end, const char* too_big) noexcept nogil:
    """Looks for the CR of the length line at pos, and the byte behind it."""
    cdef partial_t* p = in_.partial
    cdef const char* cr = <const char*>memchr(in_.buf + p.scanned, b'\r', in_.len - p.scanned)
    cdef size_t at = cr - in_.buf if cr != NULL else in_.len
    if at - in_.pos > INPUT_INLINE_MAX:
        return fail(in_, too_big)
    p.scanned = at
    end[0] = at
    return INPUT_OK if at + 2 <= in_.len else INPUT_MORE


cdef int read_count(input_t* in_, const input_limits_t* limits) noexcept nogil:
    """The line "*<count>": sets partial.argc, 0 when there is nothing to execute."""
    cdef size_t end = 0
    cdef int64_t n = 0
    cdef int status = find_line(in_, &end, b"too big mbulk count string")
    if status != INPUT_OK:
        return status
    if in_.buf[end + 1] != b'\n':
        return fail(in_, b"invalid CRLF in request")
    if not chars_to_int64(in_.buf + in_.pos + 1, end - in_.pos - 1, &n) or n > ARGC_MAX:
        return fail(in_, b"invalid multibulk length")
    if n > INPUT_PREAUTH_MULTIBULK_MAX and not limits.authenticated:
        return fail(in_, b"unauthenticated multibulk length")
    in_.pos = in_.partial.scanned = end + 2
    in_.partial.argc = <int>n if n > 0 else 0
    return INPUT_OK


cdef int read_bulk_length(input_t* in_, const input_limits_t* limits) noexcept nogil:
    """The line "$<length>": sets partial.bulk."""
    cdef size_t end = 0
    cdef int64_t n = 0
    cdef int status = find_line(in_, &end, b"too big bulk count string")
    if status != INPUT_OK:
        return status
    if in_.buf[in_.pos] != b'$':
        return fail_type(in_, in_.buf[in_.pos])
    if in_.buf[end + 1] != b'\n':
        return fail(in_, b"invalid CRLF in request")
    if (not chars_to_int64(in_.buf + in_.pos + 1, end - in_.pos - 1, &n) or n < 0
            or <size_t>n > limits.bulk_max):
        return fail(in_, b"invalid bulk length")
    if n > INPUT_PREAUTH_BULK_MAX and not limits.authenticated:
        return fail(in_, b"unauthenticated bulk length")
    in_.pos = in_.partial.scanned = end + 2
    in_.partial.bulk = n
    return INPUT_OK


cdef void add_arg(input_t* in_, const char* ptr, uint64_t where) noexcept nogil:
    """The current argument is complete: ptr is its offset from `start`, or its place in a blob."""
    cdef partial_t* p = in_.partial
    cdef arg_t* arg
    if <size_t>p.done == p.args_cap:
        p.args_cap = min(max(2 * p.args_cap, <size_t>ARGS_FIRST), <size_t>p.argc)
        p.args = <arg_t*>zrealloc(in_.heap, p.args, p.args_cap * sizeof(arg_t))
    arg = &p.args[p.done]
    arg.ptr = ptr
    arg.len = <size_t>p.bulk
    arg.hash = where
    p.done += 1
    p.bytes += <size_t>p.bulk
    p.bulk = UNKNOWN


cdef void begin_blob(input_t* in_) noexcept nogil:
    """The current argument is big and not all here: what is here moves into a blob."""
    cdef partial_t* p = in_.partial
    cdef size_t whole = <size_t>p.bulk + 2
    cdef size_t here = in_.len - in_.pos
    p.blob_cap = min(whole, max(<size_t>INPUT_BIG_AHEAD, here))
    p.blob = blob_new(in_.heap, p.blob_cap)
    p.blob.len = <size_t>p.bulk
    p.blob_len = here
    memcpy(&p.blob.data[0], in_.buf + in_.pos, here)
    in_.len = in_.pos


cdef int read_bulk(input_t* in_) noexcept nogil:
    """The current argument's bytes."""
    cdef partial_t* p = in_.partial
    cdef size_t n = <size_t>p.bulk
    cdef blob_t* blob = p.blob
    if blob != NULL:
        if p.blob_len < n + 2:
            return INPUT_MORE
        if cf_load16(&blob.data[0] + n) != CRLF:
            return fail(in_, b"invalid CRLF in request")
        hold(in_, &p.blobs, NULL, blob)
        p.blob = NULL
        add_arg(in_, &blob.data[0], IN_BLOB)
        return INPUT_OK
    if in_.len - in_.pos < n + 2:
        if n >= INPUT_BIG:
            begin_blob(in_)
        return INPUT_MORE
    if cf_load16(in_.buf + in_.pos + n) != CRLF:
        return fail(in_, b"invalid CRLF in request")
    add_arg(in_, <const char*>(in_.pos - p.start), 0)
    in_.pos = p.scanned = in_.pos + n + 2
    return INPUT_OK


cdef void finish(input_t* in_, arg_arena_t* arena, request_t* out) noexcept nogil:
    """The multibulk is complete: offsets become pointers, its memory is held until input_keep_rest."""
    cdef partial_t* p = in_.partial
    cdef const char* start = in_.buf + p.start
    cdef request_memory_t* node
    cdef int i
    out.argc = p.argc
    out.bytes = p.bytes
    out.raw = start if p.blobs == NULL else NULL
    out.raw_len = in_.pos - p.start if p.blobs == NULL else 0
    if arena.cap - arena.used >= <size_t>p.argc:
        out.argv = arena.args + arena.used
        arena.used += p.argc
        memcpy(out.argv, p.args, p.argc * sizeof(arg_t))
        zfree(in_.heap, p.args)
    else:
        out.argv = p.args
        hold(in_, &p.held, p.args, NULL)
    p.args = NULL
    p.args_cap = 0
    for i in range(p.argc):
        if out.argv[i].hash == IN_BLOB:
            out.argv[i].hash = 0
        else:
            out.argv[i].ptr = start + <size_t>out.argv[i].ptr
    while p.blobs != NULL:
        node = p.blobs
        p.blobs = node.next
        node.next = p.held
        p.held = node
    in_.busy = False


cdef int next_inline(input_t* in_, arg_arena_t* arena, request_t* out) noexcept nogil:
    """One line, split at white space with quotes. As in Valkey a NUL hides the rest: such a line never ends."""
    cdef partial_t* p = in_.partial
    cdef char* line = in_.buf + p.start
    cdef char* from_ = in_.buf + p.scanned
    cdef size_t n = in_.len - p.scanned
    cdef const char* at = <const char*>memchr(from_, 0, n)
    cdef arg_t* args = arena.args + arena.used
    cdef size_t cap = arena.cap - arena.used
    cdef size_t most
    if at != NULL:
        n = at - from_
    at = <const char*>memchr(from_, b'\n', n)
    p.scanned += n if at == NULL else at - from_
    if p.scanned - p.start > INPUT_INLINE_MAX or at == NULL and in_.len - p.start > INPUT_INLINE_MAX:
        return fail(in_, b"too big inline request")
    if at == NULL:
        return INPUT_MORE
    n = at - line
    if n and line[n - 1] == b'\r':
        n -= 1
    most = n // 2 + 1
    if most > cap:
        args = <arg_t*>zmalloc(in_.heap, most * sizeof(arg_t))
        hold(in_, &p.held, args, NULL)
    out.argv = args
    out.raw = NULL
    out.raw_len = 0
    out.argc = inline_split(line, n, args, &out.bytes)
    if out.argc < 0:
        return fail(in_, b"unbalanced quotes in request")
    if most <= cap:
        arena.used += out.argc
    in_.pos = p.scanned + 1
    in_.busy = False
    return INPUT_OK


cdef int input_next_incremental(
    input_t* in_, const input_limits_t* limits, arg_arena_t* arena, request_t* out
) noexcept nogil:
    """input_next for all that is incomplete, inline, empty or wrong."""
    cdef partial_t* p
    cdef int status
    if in_.error != NULL:
        return INPUT_ERROR
    if not in_.busy:
        begin(in_)
    p = in_.partial
    if p.argc == 0:
        if in_.buf[p.start] != b'*':
            return next_inline(in_, arena, out)
        status = read_count(in_, limits)
        if status != INPUT_OK:
            return status
        if p.argc == 0:
            in_.busy = False
            out.argc = 0
            return INPUT_OK
    while p.done < p.argc:
        if p.bulk == UNKNOWN:
            if in_.pos == in_.len:
                return INPUT_MORE
            status = read_bulk_length(in_, limits)
            if status != INPUT_OK:
                return status
        status = read_bulk(in_)
        if status != INPUT_OK:
            return status
    finish(in_, arena, out)
    return INPUT_OK
