"""Client-side caching; see tracking.pxd.

What is told is RESP of its own: an array of keys, or null. The head in front of it depends on the receiver.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from cachefleet_server.core.engine cimport (
    CLIENT_MULTI, CMD_READONLY, DUE_TRACKING, arg_t)
from cachefleet_server.core.keys cimport KEY_NOT_KEY, command_keys, key_ref_t
from cachefleet_server.core.push cimport push_begin, push_end, push_room
from cachefleet_server.core.wake cimport engine_wake
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.hashtable cimport (
    ht_clear, ht_find, ht_hash, ht_init, ht_insert, ht_len, ht_remove, ht_scan)
from cachefleet_server.ds.ht_sampling cimport ht_random
from cachefleet_server.ds.intrin cimport cf_assert
from cachefleet_server.ds.link cimport link_prepend, link_remove
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc, zrealloc
from cachefleet_server.keyspace.broadcast cimport broadcast_changes, broadcast_leave, is_broadcast
from cachefleet_server.keyspace.db cimport arg_hash
from cachefleet_server.resp.command cimport command_header, command_word
from cachefleet_server.resp.writer cimport out_bulk, out_int, out_push_text, out_t

cdef enum:
    KEYS_AT_ONCE = 64  # of a command, without memory for more
    LIMIT_KEYS = 100  # that go at the end of a tick, at least
    KEPT = 65536  # bytes of a buffer that stays

cdef struct tracked_t:
    tracker_t** who  # by address
    uint32_t count
    uint32_t cap
    uint32_t nk
    char key[0]


cdef inline trackers_t* _trackers(const engine_t* e) noexcept nogil:
    return <trackers_t*>e.trackers


cdef const char* _key_of(const void* element, size_t* n) noexcept nogil:
    n[0] = (<tracked_t*>element).nk
    return &(<tracked_t*>element).key[0]


cdef trackers_t* _open(engine_t* e) noexcept nogil:
    """From the first tracker on, to the end of the engine. Whoever changes a key is to look (keyspace/db)."""
    cdef trackers_t* s = <trackers_t*>zcalloc(e.heap, sizeof(trackers_t))
    ht_init(&s.keys, e.heap, _key_of, &e.seed)
    buf_init(&s.changed, e.heap)
    buf_init(&s.own, e.heap)
    buf_init(&s.keys_text, e.heap)
    buf_init(&s.frame, e.heap)
    e.trackers = s
    e.keyspace.interests += 1
    return s


cdef void tracking_close(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    if s == NULL:
        return
    _forget_keys(e)
    ht_clear(&s.keys, NULL, NULL)
    cf_assert(s.count == 0 and s.prefix_count == 0)
    zfree(e.heap, s.prefixes)
    buf_free(&s.changed)
    buf_free(&s.own)
    buf_free(&s.keys_text)
    buf_free(&s.frame)
    zfree(e.heap, s)
    e.trackers = NULL
    e.keyspace.interests -= 1


cdef inline void _shrink(buf_t* b) noexcept nogil:
    b.len = 0
    if b.cap > KEPT:
        buf_free(b)

# ---- trackers --------------------------------------------------------------------------------------------

cdef inline void _release(engine_t* e, tracker_t* t) noexcept nogil:
    t.refs -= 1
    if t.refs == 0:
        cf_assert(t.client == NULL and t.prefix_count == 0)
        zfree(e.heap, t.prefixes)
        zfree(e.heap, t)


cdef void tracking_on(client_t* c, client_t* target, uint32_t modes) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef trackers_t* s = _trackers(e)
    cdef tracker_t* t = <tracker_t*>c.tracker
    if s == NULL:
        s = _open(e)
    if t == NULL:
        t = <tracker_t*>zcalloc(e.heap, sizeof(tracker_t))
        t.client = c
        t.refs = 1
        c.tracker = t
    if not t.modes & TRACK_ON:
        link_prepend(&s.on, &t.link)
        s.count += 1
    t.modes = modes | TRACK_ON | t.modes & TRACK_CACHING  # what was said of the next request stays
    t.target = target
    t.redirect = target.id if target != NULL else 0


cdef void tracking_off(client_t* c) noexcept nogil:
    cdef trackers_t* s = _trackers(c.engine)
    cdef tracker_t* t = tracker(c)
    if t == NULL:
        return
    broadcast_leave(c.engine, t)
    link_remove(&s.on, &t.link)
    s.count -= 1
    t.modes = 0
    t.target = NULL
    t.redirect = 0


cdef void tracking_forget(client_t* c) noexcept nogil:
    cdef trackers_t* s = _trackers(c.engine)
    cdef tracker_t* t
    if s == NULL:
        return
    tracking_off(c)
    t = <tracker_t*>s.on.first
    while t != NULL:
        if t.target == c:
            t.target = NULL
        t = <tracker_t*>t.link.next
    t = <tracker_t*>c.tracker
    if t != NULL:
        c.tracker = NULL
        t.client = NULL
        _forget_changes(s, t)
        _release(c.engine, t)


cdef void _forget_changes(trackers_t* s, const tracker_t* t) noexcept nogil:
    """Who made them, or was to be told, is gone."""
    cdef buf_t* buffers[2]
    cdef size_t at
    cdef change_t* change
    cdef int i
    buffers[0] = &s.changed
    buffers[1] = &s.own
    for i in range(2):
        at = 0
        while at < buffers[i].len:
            change = <change_t*>(buffers[i].data + at)
            if change.by == t:
                change.by = NULL
            at += change_size(change)

# ---- keys ------------------------------------------------------------------------------------------------

cdef uint32_t _place(const tracked_t* key, const tracker_t* t) noexcept nogil:
    """Where it is, or belongs."""
    cdef uint32_t low = 0
    cdef uint32_t high = key.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if key.who[middle] < t:
            low = middle + 1
        else:
            high = middle
    return low


cdef void _remember(tracker_t* t, arg_t* a) noexcept nogil:
    cdef engine_t* e = t.client.engine
    cdef trackers_t* s = _trackers(e)
    cdef uint64_t hash = arg_hash(e, a)
    cdef tracked_t* key = <tracked_t*>ht_find(&s.keys, a.ptr, a.len, hash) if ht_len(&s.keys) else NULL
    cdef uint32_t at
    if key == NULL:
        key = <tracked_t*>zcalloc(e.heap, sizeof(tracked_t) + a.len)
        key.nk = <uint32_t>a.len
        memcpy(&key.key[0], a.ptr, a.len)
        ht_insert(&s.keys, key, hash)
    at = _place(key, t)
    if at < key.count and key.who[at] == t:
        return
    if key.count == key.cap:
        key.cap += key.cap // 2 + 1
        key.who = <tracker_t**>zrealloc(e.heap, key.who, key.cap * sizeof(tracker_t*))
    memmove(key.who + at + 1, key.who + at, (key.count - at) * sizeof(tracker_t*))
    key.who[at] = t
    key.count += 1
    t.refs += 1
    s.items += 1


cdef void tracking_read(client_t* c) noexcept nogil:
    cdef tracker_t* t = tracker(c)
    cdef key_ref_t room[KEYS_AT_ONCE]
    cdef key_ref_t* refs = room
    cdef bint said
    cdef int i, n
    if t == NULL or not c.cmd.flags & CMD_READONLY or t.modes & TRACK_BCAST:
        return
    said = t.modes & TRACK_CACHING != 0
    if t.modes & TRACK_OPTIN and not said or t.modes & TRACK_OPTOUT and said:
        return
    n = command_keys(c.cmd, c.argc, c.argv, refs, KEYS_AT_ONCE)
    if n > KEYS_AT_ONCE:
        refs = <key_ref_t*>zmalloc(c.engine.heap, n * sizeof(key_ref_t))
        n = command_keys(c.cmd, c.argc, c.argv, refs, n)
    for i in range(n):
        if not refs[i].flags & KEY_NOT_KEY:
            _remember(t, &c.argv[refs[i].at])
    if refs != room:
        zfree(c.engine.heap, refs)


cdef void tracking_request_over(client_t* c) noexcept nogil:
    """MULTI keeps it for the whole transaction. CLIENT's own subcommands do not count."""
    cdef tracker_t* t = tracker(c)
    if t == NULL or not t.modes & TRACK_CACHING or c.flags & CLIENT_MULTI:
        return
    if c.cmd != NULL and c.cmd.parent != NULL and c.cmd.parent.name_len == 6 \
            and memcmp(c.cmd.parent.name, b"client", 6) == 0:
        return
    t.modes &= ~<uint32_t>TRACK_CACHING


cdef void _free_key(engine_t* e, tracked_t* key) noexcept nogil:
    """It is in the table no longer."""
    cdef uint32_t i
    _trackers(e).items -= key.count
    for i in range(key.count):
        _release(e, key.who[i])
    zfree(e.heap, key.who)
    zfree(e.heap, key)


cdef void _free_element(void* ctx, void* element) noexcept nogil:
    _free_key(<engine_t*>ctx, <tracked_t*>element)


cdef void _forget_keys(engine_t* e) noexcept nogil:
    ht_clear(&_trackers(e).keys, _free_element, e)

# ---- telling ---------------------------------------------------------------------------------------------

cdef void _report_broken(tracker_t* t) noexcept nogil:
    cdef out_t* out
    t.modes |= TRACK_BROKEN
    if t.client.resp != 3:
        return
    out = push_begin(t.client, 2)
    if out != NULL:
        out_bulk(out, b"tracking-redir-broken", 21)
        out_int(out, <int64_t>t.redirect)
        push_end(t.client)


cdef void tracking_tell(tracker_t* t, const char* keys, size_t n) noexcept nogil:
    """`keys`: RESP of an array of keys, or null."""
    cdef buf_t* frame = &_trackers(t.client.engine).frame
    cdef client_t* target = t.client
    cdef out_t* out
    frame.len = 0
    if t.redirect:
        if t.target == NULL:
            _report_broken(t)
            return
        target = t.target
    if target.resp == 3:
        command_header(frame, b'*', 2)
        command_word(frame, b"invalidate", 10)
    elif t.redirect and target.subscriptions != NULL:
        command_header(frame, b'*', 3)
        command_word(frame, b"message", 7)
        command_word(frame, b"__redis__:invalidate", 20)
    else:
        return  # it could not tell it from a reply
    buf_put(frame, keys, n)
    out = push_room(target)
    if out != NULL:
        out_push_text(out, target.resp, frame.data, frame.len)
        push_end(target)


cdef void _tell_all_gone(tracker_t* t) noexcept nogil:
    if t.client.resp == 3:
        tracking_tell(t, b"_\r\n", 3)
    else:
        tracking_tell(t, b"$-1\r\n", 5)


cdef void _tell_key(tracker_t* t, const char* key, size_t nk) noexcept nogil:
    cdef buf_t* text = &_trackers(t.client.engine).keys_text
    text.len = 0
    command_header(text, b'*', 1)
    command_word(text, key, nk)
    tracking_tell(t, text.data, text.len)

# ---- changes ---------------------------------------------------------------------------------------------

cdef void _note(buf_t* b, tracker_t* by, const char* key, size_t nk) noexcept nogil:
    cdef change_t change
    cdef char padding[8]
    memset(padding, 0, 8)
    change.by = by
    change.n = nk
    buf_put(b, &change, sizeof(change_t))
    if nk != <size_t>ALL_KEYS:
        buf_put(b, key, nk)
        buf_put(b, padding, (8 - nk % 8) % 8)


cdef inline void _tell_or_note(engine_t* e, tracker_t* t, const char* key, size_t nk) noexcept nogil:
    """ALL_KEYS: all are gone. To whose command runs it is told afterwards."""
    if e.current == t.client:
        _note(&_trackers(e).own, t, key, nk)
        e.due |= DUE_TRACKING
    elif nk == <size_t>ALL_KEYS:
        _tell_all_gone(t)
    else:
        _tell_key(t, key, nk)


cdef void _tell_readers(engine_t* e, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef tracked_t* found
    cdef tracker_t* t
    cdef uint32_t i
    if ht_len(&s.keys) == 0:
        return
    found = <tracked_t*>ht_remove(&s.keys, key, nk, hash)
    if found == NULL:
        return
    for i in range(found.count):
        t = found.who[i]
        if t.client == NULL or not t.modes & TRACK_ON or t.modes & TRACK_BCAST:
            continue
        if t.modes & TRACK_NOLOOP and e.current == t.client:
            continue
        _tell_or_note(e, t, key, nk)
    _free_key(e, found)


cdef void tracking_changed(engine_t* e, const client_t* c, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    if s.prefix_count and is_broadcast(s, key, nk):
        _note(&s.changed, <tracker_t*>c.tracker if c != NULL else NULL, key, nk)
        if e.current == NULL:
            engine_wake(e)
    _tell_readers(e, key, nk, hash)


cdef void tracking_flushed(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef tracker_t* t = <tracker_t*>s.on.first
    while t != NULL:
        _tell_or_note(e, t, NULL, <size_t>ALL_KEYS)
        t = <tracker_t*>t.link.next
    _forget_keys(e)


cdef void tracking_command_ended(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef size_t at = 0
    cdef change_t* change
    e.due &= ~<unsigned int>DUE_TRACKING
    while at < s.own.len:
        change = <change_t*>(s.own.data + at)
        if change.by == NULL or not change.by.modes & TRACK_ON:
            pass  # it has ceased meanwhile
        elif change.n == <size_t>ALL_KEYS:
            _tell_all_gone(change.by)
        else:
            _tell_key(change.by, <const char*>(change + 1), change.n)
        at += change_size(change)
    _shrink(&s.own)

cdef void _limit(engine_t* e) noexcept nogil:
    """More go each tick while that is not enough."""
    cdef trackers_t* s = _trackers(e)
    cdef size_t most = <size_t>e.tracking_max_keys
    cdef size_t left = LIMIT_KEYS * (s.patience + 1)
    cdef tracked_t* key
    while ht_len(&s.keys) > most and left:
        key = <tracked_t*>ht_random(&s.keys, &e.rng)
        _tell_readers(e, &key.key[0], key.nk, ht_hash(&s.keys, &key.key[0], key.nk))
        left -= 1
    if ht_len(&s.keys) <= most:
        s.patience = 0
    else:
        s.patience += 1
        engine_wake(e)


cdef void tracking_tick(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    if s.changed.len:
        broadcast_changes(e)
    if e.tracking_max_keys and ht_len(&s.keys) > <size_t>e.tracking_max_keys:
        _limit(e)

# ---- looking ---------------------------------------------------------------------------------------------

cdef tracking_totals_t tracking_totals(const engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef tracking_totals_t totals
    memset(&totals, 0, sizeof(tracking_totals_t))
    if s != NULL:
        totals.clients = s.count
        totals.keys = ht_len(&s.keys)
        totals.items = s.items
        totals.prefixes = s.prefix_count
    return totals


cdef struct _checked_t:
    size_t items
    int error


cdef void _check_key(void* ctx, void* element) noexcept nogil:
    cdef _checked_t* k = <_checked_t*>ctx
    cdef tracked_t* key = <tracked_t*>element
    cdef uint32_t i
    k.items += key.count
    if key.count == 0 or key.count > key.cap:
        k.error = 1
    for i in range(key.count):
        if i and key.who[i - 1] >= key.who[i]:
            k.error = 1
        if key.who[i].refs == 0:
            k.error = 3


cdef int _check_trackers(const trackers_t* s) noexcept nogil:
    cdef tracker_t* t = <tracker_t*>s.on.first
    cdef size_t clients = 0
    cdef size_t ends = 0
    cdef uint32_t i
    while t != NULL:
        clients += 1
        ends += t.prefix_count
        if t.client == NULL or t.client.tracker != t or not t.modes & TRACK_ON:
            return 4
        if (t.prefix_count != 0) != tracks_bcast(t):
            return 5
        t = <tracker_t*>t.link.next
    for i in range(s.prefix_count):
        ends -= s.prefixes[i].count
        if s.prefixes[i].count == 0:
            return 5
    if clients != s.count:
        return 4
    return 5 if ends else 0


cdef int tracking_check(engine_t* e) noexcept nogil:
    cdef trackers_t* s = _trackers(e)
    cdef _checked_t k
    cdef uint64_t cursor
    k.items = 0
    k.error = 0
    if s == NULL:
        return 0
    if ht_len(&s.keys):
        cursor = ht_scan(&s.keys, 0, _check_key, &k)
        while cursor:
            cursor = ht_scan(&s.keys, cursor, _check_key, &k)
    if k.error:
        return k.error
    return 2 if k.items != s.items else _check_trackers(s)
