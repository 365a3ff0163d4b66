"""Requests from bytes: buffers and the fast parser; see input.pxd for the life of a buffer and of a request.

Two parsers. `parse_whole` in here is the fast one: a multibulk that lies wholly in the buffer, well-formed and within
the limits, goes to the arena in one pass without any state. Whatever it does not like, it leaves untouched to the
incremental parser (incremental.pyx), which keeps its progress and alone knows the errors. Both accept the same
language. What they accept is canonical: lengths without leading zeros or signs, and CRLF everywhere, as in Valkey;
hence `raw` is set for every multibulk whose bytes are in one piece.

    buf:  [ parsed requests | start ... pos ... len ]      pos: next byte to look at; start: of an incomplete request
"""

from libc.stdlib cimport abort
from libc.string cimport memcpy, memmove

from cachefleet_server.ds.intrin cimport ENGINE_DEBUG, cf_likely, cf_load16, cf_unlikely
from cachefleet_server.ds.owners cimport owner_add
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc
from cachefleet_server.resp.incremental cimport CRLF, request_memory_free, input_next_incremental, partial_free
from cachefleet_server.resp.writer cimport ZERO

cdef enum:
    LENGTH_MAX = 99999999  # longer lengths are left to the incremental parser


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


cdef void input_free(input_t* in_) noexcept nogil:
    partial_free(in_)
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
        request_memory_free(in_, &p.held)
        if not in_.busy:
            partial_free(in_)
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


cdef request_memory_t* _memory_of(input_t* in_, const arg_t* arg) noexcept nogil:
    cdef request_memory_t* node = in_.partial.held if in_.partial != NULL else NULL
    while node != NULL and (node.blob == NULL or &node.blob.data[0] != arg.ptr):
        node = node.next
    return node


cdef blob_t* input_take_blob(input_t* in_, const arg_t* arg) noexcept nogil:
    cdef request_memory_t* node = _memory_of(in_, arg)
    cdef blob_t* blob
    if node == NULL:
        return NULL
    blob = node.blob
    node.blob = NULL
    return blob


cdef blob_t* input_lend_blob(input_t* in_, const arg_t* arg) noexcept nogil:
    cdef request_memory_t* node = _memory_of(in_, arg)
    if node == NULL:
        return NULL
    owner_add(node.blob)
    return node.blob


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
    return input_next_incremental(in_, limits, arena, out)


# ---- accounting --------------------------------------------------------------------------------------

cdef size_t input_unparsed(const input_t* in_) noexcept nogil:
    cdef size_t n = in_.len - keep_from(in_)
    cdef const request_memory_t* node
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
    cdef const request_memory_t* node
    if p != NULL:
        n += sizeof(partial_t) + p.args_cap * sizeof(arg_t) + p.blob_cap * (p.blob != NULL)
        node = p.blobs
        while node != NULL:
            n += sizeof(request_memory_t) + sizeof(blob_t) + node.blob.len
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
