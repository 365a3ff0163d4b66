"""BCAST: see broadcast.pxd."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy, memmove

from cachefleet_server.ds.buf cimport buf_free, buf_t
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree, zmalloc, zrealloc
from cachefleet_server.keyspace.tracking cimport TRACK_NOLOOP, change_size, change_t, prefix_t, tracking_tell
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    KEPT = 65536  # bytes of a buffer that stays


cdef inline trackers_t* _trackers(const engine_t* e) noexcept nogil:
    return <trackers_t*>e.trackers


cdef inline void _emptied(buf_t* b) noexcept nogil:
    b.len = 0
    if b.cap > KEPT:
        buf_free(b)

# ---- prefixes --------------------------------------------------------------------------------------------

cdef prefix_t* _prefix(engine_t* e, const char* p, size_t n) noexcept nogil:
    """Found, or made, in its place among the others."""
    cdef trackers_t* s = _trackers(e)
    cdef prefix_t* prefix
    cdef uint32_t i = 0
    cdef int order = 1
    while i < s.prefix_count and order > 0:
        prefix = s.prefixes[i]
        order = bytes_order(p, n, &prefix.text[0], prefix.n)
        if order == 0:
            return prefix
        i += order > 0
    if s.prefix_count == s.prefix_cap:
        s.prefix_cap += s.prefix_cap // 2 + 4
        s.prefixes = <prefix_t**>zrealloc(e.heap, s.prefixes, s.prefix_cap * sizeof(prefix_t*))
    prefix = <prefix_t*>zcalloc(e.heap, sizeof(prefix_t) + n)
    prefix.n = <uint32_t>n
    memcpy(&prefix.text[0], p, n)
    memmove(s.prefixes + i + 1, s.prefixes + i, (s.prefix_count - i) * sizeof(prefix_t*))
    s.prefixes[i] = prefix
    s.prefix_count += 1
    return prefix


cdef void broadcast_join(engine_t* e, tracker_t* t, const char* p, size_t n) noexcept nogil:
    cdef prefix_t* prefix = _prefix(e, p, n)
    cdef uint32_t i
    for i in range(t.prefix_count):
        if t.prefixes[i] == prefix:
            return
    if prefix.count == prefix.cap:
        prefix.cap += prefix.cap // 2 + 2
        prefix.who = <tracker_t**>zrealloc(e.heap, prefix.who, prefix.cap * sizeof(tracker_t*))
    prefix.who[prefix.count] = t
    prefix.count += 1
    t.prefixes = <prefix_t**>zrealloc(e.heap, t.prefixes, (t.prefix_count + 1) * sizeof(prefix_t*))
    t.prefixes[t.prefix_count] = prefix
    t.prefix_count += 1


cdef void _leave_last(engine_t* e, tracker_t* t) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef prefix_t* prefix = t.prefixes[t.prefix_count - 1]
    cdef uint32_t i = 0
    t.prefix_count -= 1
    while prefix.who[i] != t:
        i += 1
    prefix.count -= 1
    prefix.who[i] = prefix.who[prefix.count]
    if prefix.count:
        return
    i = 0
    while s.prefixes[i] != prefix:
        i += 1
    s.prefix_count -= 1
    memmove(s.prefixes + i, s.prefixes + i + 1, (s.prefix_count - i) * sizeof(prefix_t*))
    zfree(e.heap, prefix.who)
    zfree(e.heap, prefix)


cdef void broadcast_leave(engine_t* e, tracker_t* t) noexcept nogil:
    while t.prefix_count:
        _leave_last(e, t)


cdef inline bint _begins(const char* key, size_t nk, const prefix_t* prefix) noexcept nogil:
    return nk >= prefix.n and memcmp(key, &prefix.text[0], prefix.n) == 0


cdef bint is_broadcast(const trackers_t* s, const char* key, size_t nk) noexcept nogil:
    cdef uint32_t i
    for i in range(s.prefix_count):
        if _begins(key, nk, s.prefixes[i]):
            return True
    return False

# ---- the end of a tick ------------------------------------------------------------------------------------

cdef int _by_key(const void* a, const void* b) noexcept nogil:
    """By bytes; of the same key the first change first."""
    cdef const change_t* x = (<const change_t**>a)[0]
    cdef const change_t* y = (<const change_t**>b)[0]
    cdef int order = bytes_order(<const char*>(x + 1), x.n, <const char*>(y + 1), y.n)
    return order if order else (x > y) - (x < y)


cdef inline bint _same_key(const change_t* x, const change_t* y) noexcept nogil:
    return x.n == y.n and memcmp(x + 1, y + 1, x.n) == 0


cdef size_t _sorted(trackers_t* s, heap_t* h, change_t*** changes) noexcept nogil:
    """The changes by key, each key once; their number. The caller frees the array."""
    cdef size_t n = 0
    cdef size_t i
    cdef size_t kept = 0
    cdef size_t at = 0
    while at < s.changed.len:
        at += change_size(<change_t*>(s.changed.data + at))
        n += 1
    changes[0] = <change_t**>zmalloc(h, n * sizeof(change_t*))
    at = 0
    for i in range(n):
        changes[0][i] = <change_t*>(s.changed.data + at)
        at += change_size(changes[0][i])
    qsort(changes[0], n, sizeof(change_t*), _by_key)
    for i in range(n):
        if kept == 0 or not _same_key(changes[0][kept - 1], changes[0][i]):
            changes[0][kept] = changes[0][i]
            kept += 1
    return kept


cdef size_t _first_of(change_t** changes, size_t n, const prefix_t* prefix) noexcept nogil:
    """The first key that is not in front of the prefix."""
    cdef size_t low = 0
    cdef size_t high = n
    cdef size_t middle
    cdef change_t* change
    while low < high:
        middle = (low + high) // 2
        change = changes[middle]
        if bytes_order(<const char*>(change + 1), change.n, &prefix.text[0], prefix.n) < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef bint _keys_text(buf_t* text, change_t** changes, size_t n, const tracker_t* without) noexcept nogil:
    """An array of the keys, but for what that tracker changed itself; false when none is left."""
    cdef size_t i
    cdef size_t count = 0
    for i in range(n):
        count += without == NULL or changes[i].by != without
    text.len = 0
    command_header(text, b'*', <int64_t>count)
    for i in range(n):
        if without == NULL or changes[i].by != without:
            command_word(text, <const char*>(changes[i] + 1), changes[i].n)
    return count != 0


cdef void _broadcast_prefix(trackers_t* s, const prefix_t* prefix, change_t** changes, size_t n) noexcept nogil:
    cdef buf_t* text = &s.keys_text
    cdef size_t first = _first_of(changes, n, prefix)
    cdef size_t end = first
    cdef tracker_t* t
    cdef uint32_t i
    cdef bint all_of_them = False  # `text` has all keys
    while end < n and _begins(<const char*>(changes[end] + 1), changes[end].n, prefix):
        end += 1
    if end == first:
        return
    for i in range(prefix.count):
        t = prefix.who[i]
        if t.modes & TRACK_NOLOOP:
            all_of_them = False
            if _keys_text(text, changes + first, end - first, t):
                tracking_tell(t, text.data, text.len)
            continue
        if not all_of_them:
            _keys_text(text, changes + first, end - first, NULL)
            all_of_them = True
        tracking_tell(t, text.data, text.len)


cdef void broadcast_changes(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef change_t** changes
    cdef size_t n = _sorted(s, e.heap, &changes)
    cdef uint32_t i
    for i in range(s.prefix_count):
        _broadcast_prefix(s, s.prefixes[i], changes, n)
    zfree(e.heap, changes)
    _emptied(&s.changed)
    _emptied(&s.keys_text)
    _emptied(&s.frame)
