"""Replies to bytes: chunks, their pool, and the RESP forms that are not inline; see writer.pxd.

Ownership: an out_t owns its chunks, from head to tail. A chunk of CHUNK_SIZE returns to the pool, up to
CHUNK_POOL_MAX of them; others are freed. `cap` and `blob` tell them apart.
"""

from libc.math cimport INFINITY, isnan
from libc.string cimport memmove, strlen

from cachefleet_server.ds.intrin cimport cf_assert
from cachefleet_server.ds.number cimport NUMBER_CHARS_MAX, double_to_chars
from cachefleet_server.ds.owners cimport owner_add, owner_drop
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.resp.command cimport HEADER_MAX, header_len, header_write

cdef enum:
    POOLED_CAP = CHUNK_SIZE - sizeof(chunk_t)
    BETWEEN_CAP = 256 - sizeof(chunk_t)  # of the small chunk behind a shared one
    REFS_MIN = 8  # values in the first chunk of references


# ---- chunks --------------------------------------------------------------------------------------

cdef void chunk_pool_init(chunk_pool_t* p, heap_t* heap) noexcept nogil:
    p.heap = heap
    p.free = NULL
    p.free_count = 0


cdef void keep_free(chunk_pool_t* p, size_t count) noexcept nogil:
    cdef chunk_t* c
    while p.free_count > count:
        c = p.free
        p.free = c.next
        p.free_count -= 1
        zfree(p.heap, c)


cdef void chunk_pool_free(chunk_pool_t* p) noexcept nogil:
    """Frees the pooled chunks; every out_t must be clear by now."""
    keep_free(p, 0)


cdef void chunk_pool_trim(chunk_pool_t* p) noexcept nogil:
    """After a burst the memory goes back in some seconds; under load it costs a few allocations a second."""
    keep_free(p, p.free_count // 2)


cdef chunk_t* chunk_of(chunk_pool_t* p, size_t cap) noexcept nogil:
    """An empty chunk of this capacity, owned by the caller."""
    cdef chunk_t* c = <chunk_t*>zmalloc(p.heap, sizeof(chunk_t) + cap)
    c.next = NULL
    c.len = 0
    c.cap = cap
    c.data = <char*>(c + 1)
    c.blob = NULL
    c.refs = 0
    return c


cdef chunk_t* refs_of(chunk_pool_t* p, uint32_t room) noexcept nogil:
    """An empty chunk of references."""
    cdef chunk_t* c = chunk_of(p, room * sizeof(blob_t*))
    c.cap = 0
    c.refs_cap = room
    return c


cdef chunk_t* chunk_new(chunk_pool_t* p, size_t n) noexcept nogil:
    """An empty chunk with room for n bytes, pooled if they fit one; owned by the caller."""
    cdef chunk_t* c = p.free
    if n > POOLED_CAP or c == NULL:
        return chunk_of(p, n if n > POOLED_CAP else <size_t>POOLED_CAP)
    p.free = c.next
    p.free_count -= 1
    c.next = NULL
    c.len = 0
    return c


cdef void chunk_drop(chunk_pool_t* p, chunk_t* c) noexcept nogil:
    cdef uint32_t i
    if c.refs:
        for i in range(c.refs):
            owner_drop(p.heap, (<blob_t**>c.data)[i])
        zfree(p.heap, c)
    elif c.blob != NULL:
        owner_drop(p.heap, c.blob)
        zfree(p.heap, c)
    elif c.cap == POOLED_CAP and p.free_count < CHUNK_POOL_MAX:
        c.next = p.free
        p.free = c
        p.free_count += 1
    else:
        zfree(p.heap, c)


cdef void out_init(out_t* o, chunk_pool_t* pool) noexcept nogil:
    o.pool = pool
    o.head = NULL
    o.tail = NULL
    o.sent = 0
    o.bytes = 0


cdef void out_clear(out_t* o) noexcept nogil:
    cdef chunk_t* c
    while o.head != NULL:
        c = o.head
        o.head = c.next
        chunk_drop(o.pool, c)
    o.tail = NULL
    o.sent = 0
    o.bytes = 0


cdef void chunk_append(out_t* o, chunk_t* c) noexcept nogil:
    if o.tail == NULL:
        o.head = c
        o.sent = 0
    else:
        o.tail.next = c
    o.tail = c


cdef char* out_grow(out_t* o, size_t n) noexcept nogil:
    """A new tail with room for n bytes. The old tail's room is lost; reserve little and split what is long."""
    cdef chunk_t* c
    if o.tail != NULL and (o.tail.refs or o.tail.blob != NULL) and n <= BETWEEN_CAP:
        c = chunk_of(o.pool, BETWEEN_CAP)
    else:
        c = chunk_new(o.pool, n)
    chunk_append(o, c)
    return c.data


cdef inline size_t reference_len(const blob_t* blob) noexcept nogil:
    """Bytes of a blob as a bulk string."""
    return header_len(blob.len) + blob.len + 2


cdef void refs_sent(out_t* o, chunk_t* c) noexcept nogil:
    """Lets go of what has been sent whole of the head, whose end has not."""
    cdef blob_t* blob = (<blob_t**>c.data)[0]
    cdef size_t n = reference_len(blob)
    while o.sent >= n:
        owner_drop(o.pool.heap, blob)
        c.data += sizeof(blob_t*)
        c.refs -= 1
        c.refs_cap -= 1
        c.len -= n
        c.cap = c.len
        o.sent -= n
        blob = (<blob_t**>c.data)[0]
        n = reference_len(blob)


cdef void out_consume(out_t* o, size_t n) noexcept nogil:
    cdef chunk_t* c
    o.bytes -= n
    while n:
        c = o.head
        if n < c.len - o.sent:
            o.sent += n
            if c.refs:
                refs_sent(o, c)
            return
        n -= c.len - o.sent
        o.sent = 0
        o.head = c.next
        chunk_drop(o.pool, c)
    if o.bytes == 0:  # also drops a tail that was reserved but never written to
        out_clear(o)


cdef void out_raw_split(out_t* o, const void* p, size_t n) noexcept nogil:
    """Fills the tail, then puts the rest into one chunk."""
    cdef size_t part = 0
    if o.tail != NULL:
        part = o.tail.cap - o.tail.len
        if part > n:
            part = n
    if part:
        memcpy(o.tail.data + o.tail.len, p, part)
        out_added(o, part)
    if n > part:
        memcpy(out_grow(o, n - part), <const char*>p + part, n - part)
        out_added(o, n - part)


cdef void out_move(out_t* dst, out_t* src) noexcept nogil:
    cf_assert(src.sent == 0)
    if src.head == NULL:
        return
    if dst.tail == NULL:
        dst.head = src.head
        dst.sent = 0
    else:
        dst.tail.next = src.head
    dst.tail = src.tail
    dst.bytes += src.bytes
    out_init(src, src.pool)


cdef void _grow_in_proportion(out_t* o, size_t n) noexcept nogil:
    """A new tail for n bytes: small at first, twice as large each time."""
    cdef size_t cap = BETWEEN_CAP
    if o.tail != NULL:
        cap = max(cap, min(2 * o.tail.cap, <size_t>POOLED_CAP))
    if n > cap or cap > POOLED_CAP // 2:
        out_grow(o, n)
    else:
        chunk_append(o, chunk_of(o.pool, cap))


cdef void out_push_text(out_t* o, int resp, const char* p, size_t n) noexcept nogil:
    cdef char* q
    if o.tail == NULL or o.tail.cap - o.tail.len < n:
        _grow_in_proportion(o, n)
    q = o.tail.data + o.tail.len
    memcpy(q, p, n)
    if resp == 3:
        q[0] = b'>'
    out_added(o, n)


cdef size_t out_memory(const out_t* o) noexcept nogil:
    cdef const chunk_t* c = o.head
    cdef size_t total = 0
    while c != NULL:
        total += sizeof(chunk_t) + c.cap + (c.refs_cap * sizeof(blob_t*) if c.refs else 0)
        c = c.next
    return total


# ---- RESP ----------------------------------------------------------------------------------------

# ---- pieces ----------------------------------------------------------------------------------------

cdef inline int _piece(iovec* iov, const char* p, size_t n, size_t* skip, size_t* total) noexcept nogil:
    """n bytes less what is skipped of them; 0 when that is nothing."""
    if skip[0] >= n:
        skip[0] -= n
        return 0
    iov.iov_base = <void*>(p + skip[0])
    iov.iov_len = n - skip[0]
    total[0] += n - skip[0]
    skip[0] = 0
    return 1


cdef int out_pieces(const out_t* o, iovec* iov, size_t left, char* headers, size_t* total) noexcept nogil:
    cdef const chunk_t* c = o.head
    cdef const blob_t* blob
    cdef size_t skip = o.sent
    cdef size_t head
    cdef uint32_t i
    cdef int n = 0
    total[0] = 0
    while c != NULL and n + 3 <= OUT_PIECES and total[0] < left:
        if not c.refs:
            n += _piece(&iov[n], c.data, c.len, &skip, total)
        for i in range(c.refs):
            if n + 3 > OUT_PIECES:
                break
            blob = (<const blob_t**>c.data)[i]
            head = header_write(headers, b'$', <int64_t>blob.len) - headers
            n += _piece(&iov[n], headers, head, &skip, total)
            n += _piece(&iov[n], &blob.data[0], blob.len, &skip, total)
            n += _piece(&iov[n], b"\r\n", 2, &skip, total)
            if n:  # else all of it has been sent, and its header is not needed
                headers += head
        c = c.next
    while total[0] > left:  # the last pieces shrink
        if total[0] - left < iov[n - 1].iov_len:
            iov[n - 1].iov_len -= total[0] - left
            total[0] = left
        else:
            n -= 1
            total[0] -= iov[n].iov_len
    return n


cdef void out_text(const out_t* o, char* to) noexcept nogil:
    cdef iovec iov[OUT_PIECES]
    cdef char headers[OUT_HEADERS]
    cdef out_t rest = o[0]
    cdef size_t total = 0
    cdef int i, n
    while rest.bytes:
        n = out_pieces(&rest, iov, rest.bytes, headers, &total)
        for i in range(n):
            memcpy(to, iov[i].iov_base, iov[i].iov_len)
            to += iov[i].iov_len
        rest.bytes -= total
        rest.sent += total
        while rest.head != NULL and rest.sent >= rest.head.len:
            rest.sent -= rest.head.len
            rest.head = rest.head.next


cdef void out_header(out_t* o, char type_byte, int64_t n) noexcept nogil:
    cdef char* q = out_reserve(o, HEADER_MAX)
    out_added(o, header_write(q, type_byte, n) - q)


cdef void out_bulk_long(out_t* o, const void* p, size_t n) noexcept nogil:
    """Bulk string of any size; the payload may be split over chunks."""
    out_header(o, b'$', <int64_t>n)
    out_raw(o, p, n)
    out_raw(o, b"\r\n", 2)


cdef void out_reference(out_t* o, blob_t* blob) noexcept nogil:
    """A blob as a bulk string. A chunk of references is twice as large as the one before it."""
    cdef chunk_t* c = o.tail
    cdef uint32_t room = REFS_MIN
    cdef size_t n = reference_len(blob)
    if c == NULL or not c.refs or c.refs == c.refs_cap:
        if c != NULL and c.refs:
            room = min(2 * c.refs_cap, <uint32_t>REFS_MAX)
        c = refs_of(o.pool, room)
        chunk_append(o, c)
    owner_add(blob)
    (<blob_t**>c.data)[c.refs] = blob
    c.refs += 1
    c.len += n
    c.cap = c.len
    o.bytes += n


cdef void out_bulk_shared(out_t* o, blob_t* blob, const char* p, size_t n) noexcept nogil:
    if p == &blob.data[0] and n == blob.len:
        out_reference(o, blob)
        return
    out_header(o, b'$', <int64_t>n)
    out_raw_shared(o, blob, p, n)
    out_raw(o, b"\r\n", 2)


cdef void out_raw_shared(out_t* o, blob_t* blob, const char* p, size_t n) noexcept nogil:
    cdef chunk_t* c = o.tail
    if c == NULL or c.blob != blob or c.data + c.len != p:
        c = chunk_of(o.pool, 0)
        c.data = <char*>p
        owner_add(blob)
        c.blob = blob
        chunk_append(o, c)
    c.len += n
    c.cap = c.len
    o.bytes += n


cdef void out_simple(out_t* o, const char* text) noexcept nogil:
    cdef size_t n = strlen(text)
    cdef char* q = out_reserve(o, n + 3)
    q[0] = b'+'
    memcpy(q + 1, text, n)
    q[n + 1] = b'\r'
    q[n + 2] = b'\n'
    out_added(o, n + 3)


cdef void out_error(out_t* o, const char* text, size_t n) noexcept nogil:
    cdef char* q = out_reserve(o, n + 3)
    cdef size_t i
    q[0] = b'-'
    for i in range(n):
        q[i + 1] = b' ' if text[i] == b'\r' or text[i] == b'\n' else text[i]
    q[n + 1] = b'\r'
    q[n + 2] = b'\n'
    out_added(o, n + 3)


cdef void out_bool(out_t* o, int resp, bint v) noexcept nogil:
    if resp == 3:
        out_raw(o, b"#t\r\n" if v else b"#f\r\n", 4)
    else:
        out_int(o, v)


cdef void out_double(out_t* o, int resp, double v) noexcept nogil:
    cdef char text[NUMBER_CHARS_MAX]
    cdef int n
    if isnan(v):  # whatever its sign
        memcpy(text, b"nan", 3)
        n = 3
    elif v == INFINITY or v == -INFINITY:
        n = 3 if v > 0 else 4
        memcpy(text, b"inf" if v > 0 else b"-inf", n)
    else:
        n = double_to_chars(text, v)
    if resp == 3:
        out_raw(o, b",", 1)
        out_raw(o, text, n)
        out_raw(o, b"\r\n", 2)
    else:
        out_bulk(o, text, n)


cdef void out_bignum(out_t* o, int resp, const char* p, size_t n) noexcept nogil:
    if resp == 3:
        out_raw(o, b"(", 1)
        out_raw(o, p, n)
        out_raw(o, b"\r\n", 2)
    else:
        out_bulk(o, p, n)


cdef void out_verbatim(out_t* o, int resp, const char* format3, const char* p, size_t n) noexcept nogil:
    if resp == 3:
        out_header(o, b'=', <int64_t>n + 4)
        out_raw(o, format3, 3)
        out_raw(o, b":", 1)
        out_raw(o, p, n)
        out_raw(o, b"\r\n", 2)
    else:
        out_bulk(o, p, n)


cdef void out_array(out_t* o, int64_t n) noexcept nogil:
    out_header(o, b'*', n)


cdef void out_map(out_t* o, int resp, int64_t pairs) noexcept nogil:
    if resp == 3:
        out_header(o, b'%', pairs)
    else:
        out_header(o, b'*', 2 * pairs)


cdef void out_set(out_t* o, int resp, int64_t n) noexcept nogil:
    out_header(o, b'~' if resp == 3 else b'*', n)


cdef void out_push(out_t* o, int resp, int64_t n) noexcept nogil:
    out_header(o, b'>' if resp == 3 else b'*', n)


cdef void out_attribute(out_t* o, int64_t pairs) noexcept nogil:
    out_header(o, b'|', pairs)


# ---- aggregates of unknown length ------------------------------------------------------------------

cdef mark_t out_mark(out_t* o) noexcept nogil:
    cdef mark_t m
    if o.tail != NULL and o.tail.refs:
        out_grow(o, 0)  # the mark lies in a chunk of bytes: references that follow would not be behind it
    m.chunk = o.tail
    m.offset = o.tail.len if o.tail != NULL else 0
    return m


cdef void out_insert(out_t* o, mark_t m, char type_byte, int64_t n) noexcept nogil:
    """Moves what follows the mark in its chunk, at most one chunk's content, behind the header."""
    cdef char header[HEADER_MAX]
    cdef size_t size = header_write(header, type_byte, n) - header
    cdef size_t moved
    cdef chunk_t* c = m.chunk
    cdef chunk_t* added
    cdef char* at
    if c != NULL:
        at = c.data + m.offset
        moved = c.len - m.offset
        if c.cap - c.len >= size:
            memmove(at + size, at, moved)
            memcpy(at, header, size)
            c.len += size
            o.bytes += size
            return
    else:
        at = NULL
        moved = 0
    added = chunk_new(o.pool, size + moved)
    memcpy(added.data, header, size)
    if c != NULL:
        memcpy(added.data + size, at, moved)
        c.len = m.offset
        added.next = c.next
        c.next = added
    else:
        added.next = o.head
        o.head = added
    added.len = size + moved
    o.bytes += size
    if o.tail == c:
        o.tail = added


cdef void out_truncate(out_t* o, mark_t m) noexcept nogil:
    cdef chunk_t* c
    cdef chunk_t* following
    if m.chunk == NULL:
        out_clear(o)
        return
    o.bytes -= m.chunk.len - m.offset
    m.chunk.len = m.offset
    c = m.chunk.next
    while c != NULL:
        following = c.next
        o.bytes -= c.len
        chunk_drop(o.pool, c)
        c = following
    m.chunk.next = NULL
    o.tail = m.chunk


# ---- other words for what is pending -----------------------------------------------------------------

cdef struct replacing_t:
    out_t fresh  # what the output becomes
    const replies_t* run  # the first one that has not ended yet
    const replies_t* last
    const char* text
    size_t len


cdef void _replace_in(replacing_t* r, const char* p, uint64_t at, size_t n) noexcept nogil:
    """n bytes of a chunk, of which the first has the number `at`."""
    cdef uint64_t end = at + n
    cdef uint64_t until, _i
    while at < end:
        if r.run == r.last or at < r.run.at:  # as it was, up to the next run
            until = end if r.run == r.last else min(end, r.run.at)
            out_raw(&r.fresh, p, until - at)
        else:
            until = min(end, r.run.end)
            if at == r.run.at:
                for _i in range(r.run.count):
                    out_error(&r.fresh, r.text, r.len)
            if until == r.run.end:
                r.run += 1
        p += until - at
        at = until


cdef uint64_t out_replace_by_errors(
        out_t* o, uint64_t base, const replies_t* runs, size_t n, const char* text, size_t len) noexcept nogil:
    """Chunks without any of these replies are kept as they are, the others written anew."""
    cdef replacing_t r
    cdef out_t one  # the chunk whose turn it is
    cdef chunk_t* c
    cdef char* flat
    cdef size_t before = o.bytes
    out_init(&r.fresh, o.pool)
    r.run = runs
    r.last = runs + n
    r.text = text
    r.len = len
    while o.head != NULL:
        out_init(&one, o.pool)
        one.head = one.tail = c = o.head
        one.sent = o.sent
        one.bytes = c.len - o.sent
        o.head = c.next
        o.sent = 0
        c.next = NULL
        if r.run == r.last or base + one.bytes <= r.run.at:
            chunk_append(&r.fresh, c)
            r.fresh.bytes += one.bytes
            if c == r.fresh.head:
                r.fresh.sent = one.sent
        else:
            flat = <char*>zmalloc(o.pool.heap, one.bytes)
            out_text(&one, flat)
            _replace_in(&r, flat, base, one.bytes)
            zfree(o.pool.heap, flat)
            chunk_drop(o.pool, c)
        base += one.bytes
    o[0] = r.fresh
    return <uint64_t>o.bytes - before


cdef int out_check(const out_t* o) noexcept nogil:
    cdef const chunk_t* c = o.head
    cdef const chunk_t* last = NULL
    cdef size_t total = 0
    if c != NULL and o.sent > c.len:
        return 1
    while c != NULL:
        if c.len > c.cap or (c.blob != NULL and (c.len < c.cap or c.blob.refs == 0)) or c.refs > REFS_MAX:
            return 2
        total += c.len
        last = c
        c = c.next
    if last != o.tail:
        return 3
    if total - o.sent != o.bytes:
        return 4
    return 0
