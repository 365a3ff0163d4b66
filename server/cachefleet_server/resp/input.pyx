"""Requests from bytes; see input.pxd for the life of a buffer and of a request.

Two parsers. `parse_whole` is the fast one: a multibulk that lies wholly in the buffer, well-formed and within
the limits, goes to the arena in one pass without any state. Whatever it does not like, it leaves untouched to
`next_slow`, which keeps its progress in a `partial_t` and alone knows the errors. Both accept the same language.
What they accept is canonical: lengths without leading zeros or signs, and CRLF everywhere, as in Valkey; hence
`raw` is set for every multibulk whose bytes are in one piece.

While a request is incomplete, its bytes from `start` on stay in the buffer and its arguments are kept as offsets
from `start`, because the buffer moves; arguments in blobs are pointers, told apart by a hash of IN_BLOB. The bytes
of a blob do not stay in the buffer.

    buf:  [ parsed requests | start ... pos ... len ]      pos: next byte to look at
"""

from libc.stdlib cimport abort
from libc.string cimport memchr, memcpy, memmove, strlen

from cachefleet_server.ds.blob cimport blob_new, blob_release
from cachefleet_server.ds.intrin cimport ENGINE_DEBUG, cf_likely, cf_load16, cf_unlikely
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc, zrealloc
from cachefleet_server.resp.inline cimport inline_split
from cachefleet_server.resp.writer cimport ZERO

cdef enum:
    CRLF = 0x0A0D  # as a little-endian 16-bit load
    LENGTH_MAX = 99999999  # longer lengths are left to the slow parser
    ARGC_MAX = 2147483647
    ARGS_FIRST = 16  # arguments of the first allocation
    IN_BLOB = 1
    UNKNOWN = -1

cdef struct held_t:  # memory of finished requests; freed by input_keep_rest
    held_t* next
    arg_t* argv  # one of these two
    blob_t* blob

cdef struct partial_t:
    held_t* held
    # the incomplete request, while input_t.busy
    size_t start
    size_t scanned  # offset up to which the current line is known not to end
    int argc  # 0 until the count line is complete
    int done  # complete arguments
    arg_t* args
    size_t args_cap
    size_t bytes  # of complete arguments
    int64_t bulk  # length of the argument that is being received, or UNKNOWN
    blob_t* blob  # where it goes if it is big, with its CRLF
    size_t blob_len
    size_t blob_cap
    held_t* blobs  # complete big arguments
    char error_text[32]


cdef void input_init(input_t* in_, heap_t* heap) noexcept nogil:
    in_.heap = heap
    in_.buf = NULL
    in_.len = 0
    in_.pos = 0
    in_.own = NULL
    in_.own_cap = 0
    in_.partial = NULL
    in_.error = NULL
    in_.error_len = 0
    in_.busy = False
    in_.last_arrival = 0


cdef void free_held(input_t* in_, held_t** list) noexcept nogil:
    cdef held_t* node
    while list[0] != NULL:
        node = list[0]
        list[0] = node.next
        zfree(in_.heap, node.argv)
        blob_release(in_.heap, node.blob)
        zfree(in_.heap, node)


cdef void hold(input_t* in_, held_t** list, arg_t* argv, blob_t* blob) noexcept nogil:
    """Takes ownership of argv or blob."""
    cdef held_t* node = <held_t*>zmalloc(in_.heap, sizeof(held_t))
    node.next = list[0]
    node.argv = argv
    node.blob = blob
    list[0] = node


cdef void free_partial(input_t* in_) noexcept nogil:
    cdef partial_t* p = in_.partial
    if p != NULL:
        free_held(in_, &p.held)
        free_held(in_, &p.blobs)
        zfree(in_.heap, p.args)
        blob_release(in_.heap, p.blob)
        zfree(in_.heap, p)
        in_.partial = NULL


cdef void input_free(input_t* in_) noexcept nogil:
    free_partial(in_)
    zfree(in_.heap, in_.own)
    input_init(in_, in_.heap)


# ---- buffers ---------------------------------------------------------------------------------------

cdef inline size_t keep_from(const input_t* in_) noexcept nogil:
    """Offset of the first byte that is still needed."""
    return in_.partial.start if in_.busy else in_.pos


cdef char* blob_space(input_t* in_, size_t* cap) noexcept nogil:
    """The rest of the big argument; its memory grows with what has come, up to its size."""
    cdef partial_t* p = in_.partial
    cdef size_t whole = <size_t>p.bulk + 2
    if p.blob_len == p.blob_cap:
        p.blob_cap = whole if whole - p.blob_cap <= p.blob_cap else 2 * p.blob_cap
        p.blob = <blob_t*>zrealloc(in_.heap, p.blob, sizeof(blob_t) + p.blob_cap)
    cap[0] = p.blob_cap - p.blob_len
    return &p.blob.data[0] + p.blob_len


cdef char* input_read_space(input_t* in_, char* shared, size_t shared_cap, size_t* cap) noexcept nogil:
    cdef size_t left, room
    if in_.buf == NULL:
        cap[0] = shared_cap
        return shared
    if in_.busy and in_.partial.blob != NULL:
        return blob_space(in_, cap)
    left = in_.len - keep_from(in_)
    # Copying to the shared buffer is O(length) in total: no more bytes than a constant or than the last read brought.
    if (left <= INPUT_COPY_MAX or left <= in_.last_arrival) and left <= shared_cap // 2:
        memcpy(shared, in_.buf + keep_from(in_), left)
        cap[0] = shared_cap - left
        return shared + left
    if ENGINE_DEBUG and in_.buf != in_.own:
        abort()  # read again before input_keep_rest
    room = in_.own_cap - in_.len
    if room < INPUT_OWN_ROOM // 4:
        in_.own_cap = max(2 * in_.own_cap, in_.len + INPUT_OWN_ROOM)
        in_.own = <char*>zrealloc(in_.heap, in_.own, in_.own_cap)
        in_.buf = in_.own
        room = in_.own_cap - in_.len
    cap[0] = room
    return in_.own + in_.len


cdef size_t input_arrived(input_t* in_, char* where, size_t n) noexcept nogil:
    cdef partial_t* p = in_.partial
    cdef size_t left, first
    in_.last_arrival = n
    if in_.busy and p.blob != NULL:
        p.blob_len += n
        return 0
    if in_.own != NULL and where == in_.own + in_.len:
        in_.len += n
        return 0
    first = keep_from(in_)
    left = in_.len - first
    in_.buf = where - left
    in_.len = left + n
    in_.pos -= first
    if in_.busy:
        p.start = 0
        p.scanned -= first
    return in_.len


cdef void input_keep_rest(input_t* in_) noexcept nogil:
    cdef partial_t* p = in_.partial
    cdef size_t first = keep_from(in_)
    cdef size_t left = in_.len - first
    if p != NULL:
        free_held(in_, &p.held)
        if not in_.busy:
            free_partial(in_)
    if left == 0:
        zfree(in_.heap, in_.own)
        in_.own = NULL
        in_.own_cap = 0
        in_.buf = NULL
        in_.len = 0
        in_.pos = 0
        return
    if in_.buf != in_.own:
        if in_.own_cap < left or in_.own_cap - left > INPUT_OWN_ROOM:
            zfree(in_.heap, in_.own)
            in_.own = <char*>zmalloc(in_.heap, left)
            in_.own_cap = left
        memcpy(in_.own, in_.buf + first, left)
        in_.buf = in_.own
    elif first:
        memmove(in_.own, in_.own + first, left)
        if left <= first and in_.own_cap - left > INPUT_OWN_ROOM:  # paid for by what was consumed
            in_.own = in_.buf = <char*>zrealloc(in_.heap, in_.own, left)
            in_.own_cap = left
    in_.len = left
    in_.pos -= first
    if in_.busy:
        p.start = 0
        p.scanned -= first


cdef blob_t* input_take_blob(input_t* in_, const arg_t* arg) noexcept nogil:
    cdef held_t* node = in_.partial.held if in_.partial != NULL else NULL
    cdef blob_t* blob
    while node != NULL:
        blob = node.blob
        if blob != NULL and &blob.data[0] == arg.ptr:
            node.blob = NULL
            return blob
        node = node.next
    return NULL


# ---- fast parser -------------------------------------------------------------------------------------

cdef inline const char* read_length(const char* p, const char* end, size_t* v) noexcept nogil:
    """A canonical length and its CRLF; returns the byte behind, or NULL if it is not all there or not so simple."""
    cdef size_t n
    cdef unsigned int digit
    if cf_unlikely(end - p < 3):
        return NULL
    n = <size_t>(<uint8_t>p[0]) - ZERO
    if n > 9:
        return NULL
    p += 1
    if p[0] != b'\r':
        if n == 0:
            return NULL
        while True:
            digit = <unsigned int>(<uint8_t>p[0]) - ZERO
            if digit > 9 or n > LENGTH_MAX // 10 or end - p < 3:
                return NULL
            n = n * 10 + digit
            p += 1
            if p[0] == b'\r':
                break
    v[0] = n
    return p + 2 if p[1] == b'\n' else NULL


cdef inline size_t parse_whole(
        const char* start, const char* end, const input_limits_t* limits, arg_arena_t* arena,
        request_t* out) noexcept nogil:
    """A whole multibulk at start: its length in bytes, with `out` filled; or 0, with nothing changed."""
    cdef size_t argc = 0
    cdef size_t n = 0
    cdef size_t total = 0
    cdef size_t bulk_max = limits.bulk_max
    cdef arg_t* arg = arena.args + arena.used
    cdef arg_t* last
    cdef const char* p = read_length(start + 1, end, &argc)
    if cf_unlikely(p == NULL or argc == 0 or argc > arena.cap - arena.used):
        return 0
    if cf_unlikely(not limits.authenticated):
        if argc > INPUT_PREAUTH_MULTIBULK_MAX:
            return 0
        bulk_max = min(bulk_max, <size_t>INPUT_PREAUTH_BULK_MAX)
    last = arg + argc
    while arg != last:
        if cf_unlikely(p == end or p[0] != b'$'):
            return 0
        p = read_length(p + 1, end, &n)
        if cf_unlikely(p == NULL or n > bulk_max or <size_t>(end - p) < n + 2):
            return 0
        arg.ptr = p
        arg.len = n
        arg.hash = 0
        p += n
        if cf_unlikely(cf_load16(p) != CRLF):
            return 0
        p += 2
        total += n
        arg += 1
    out.argc = <int>argc
    out.argv = arena.args + arena.used
    out.raw = start
    out.raw_len = p - start
    out.bytes = total
    arena.used += argc
    return p - start


cdef int input_next(input_t* in_, const input_limits_t* limits, arg_arena_t* arena, request_t* out) noexcept nogil:
    cdef size_t n
    if cf_likely(not in_.busy):
        if in_.pos == in_.len:
            return INPUT_MORE
        if cf_likely(in_.buf[in_.pos] == b'*'):
            n = parse_whole(in_.buf + in_.pos, in_.buf + in_.len, limits, arena, out)
            if cf_likely(n != 0):
                in_.pos += n
                return INPUT_OK
    return next_slow(in_, limits, arena, out)


# ---- slow parser -------------------------------------------------------------------------------------

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
    cdef held_t* node
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


cdef int next_slow(input_t* in_, const input_limits_t* limits, arg_arena_t* arena, request_t* out) noexcept nogil:
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


# ---- accounting --------------------------------------------------------------------------------------

cdef size_t input_unparsed(const input_t* in_) noexcept nogil:
    cdef size_t n = in_.len - keep_from(in_)
    cdef const held_t* node
    if in_.busy:
        n += in_.partial.done * sizeof(arg_t) + in_.partial.blob_len * (in_.partial.blob != NULL)
        node = in_.partial.blobs
        while node != NULL:
            n += node.blob.len
            node = node.next
    return n


cdef size_t input_memory(const input_t* in_) noexcept nogil:
    cdef const partial_t* p = in_.partial
    cdef size_t n = in_.own_cap
    cdef const held_t* node
    if p != NULL:
        n += sizeof(partial_t) + p.args_cap * sizeof(arg_t) + p.blob_cap * (p.blob != NULL)
        node = p.blobs
        while node != NULL:
            n += sizeof(held_t) + sizeof(blob_t) + node.blob.len
            node = node.next
    return n


cdef int input_check(const input_t* in_) noexcept nogil:
    cdef const partial_t* p = in_.partial
    if in_.pos > in_.len:
        return 1
    if in_.own != NULL and in_.buf == in_.own and in_.len > in_.own_cap:
        return 2
    if (in_.own == NULL) != (in_.own_cap == 0):
        return 3
    if not in_.busy:
        return 0
    if p == NULL:
        return 4
    if p.start > in_.pos or p.scanned < in_.pos or p.scanned > in_.len:
        return 5
    if p.done > p.argc or <size_t>p.done > p.args_cap:
        return 6
    if p.blob != NULL and (p.bulk < 0 or p.blob_len > p.blob_cap or p.blob_cap > <size_t>p.bulk + 2
                           or in_.pos != in_.len):
        return 7
    return 0
