"""Channels and their listeners; see channels.pxd.

Ends are told apart by where they lie: what is done to one array is done to the other with the roles exchanged. Small
objects come from the slabs, in steps of 8 bytes.
"""

from libc.string cimport memcpy, memset

from cachefleet_server.core.client_class cimport client_set_class
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport CLASS_NORMAL, CLASS_PUBSUB
from cachefleet_server.core.push cimport push_end, push_room
from cachefleet_server.ds.blob cimport blob_new
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.glob cimport glob_match
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport (
    hashtable_t, ht_clear, ht_find, ht_hash, ht_init, ht_insert, ht_len, ht_memory, ht_remove, ht_scan)
from cachefleet_server.ds.intrin cimport cf_assert, cf_load64, cf_prefetch
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.slab cimport SLAB_MAX
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree, zmalloc, zrealloc, zsmall_alloc, zsmall_free
from cachefleet_server.resp.command cimport command_header, command_word
from cachefleet_server.resp.writer cimport out_bulk_shared, out_push_text, out_t

cdef enum:
    PREFIX_MAX = 256  # bytes of a pattern's literal beginning that are looked at
    WORD = 8
    FETCH_AHEAD = 4  # receivers
    FRAME_KEPT = 65536  # bytes of the buffer that stays

cdef struct pattern_t:  # a row of the patterns' array
    uint64_t word  # the last eight bytes of its literal beginning, zeros before a shorter one
    channel_t* channel
    uint32_t prefix  # bytes of that beginning

cdef struct channels_t:
    hashtable_t names[3]  # LISTEN_KINDS
    pattern_t* patterns
    uint32_t pattern_count
    uint32_t pattern_cap
    buf_t frame  # the message on its way, as the text of a push in RESP2
    channel_totals_t totals


cdef inline channels_t* _channels(const engine_t* e) noexcept nogil:
    return <channels_t*>e.channels


cdef const char* _name_of(const void* element, size_t* n) noexcept nogil:
    cdef channel_t* channel = <channel_t*>element
    n[0] = channel.nk
    return &channel.name[0]


cdef void channels_open(engine_t* e) noexcept nogil:
    cdef channels_t* s = <channels_t*>zcalloc(e.heap, sizeof(channels_t))
    cdef int kind
    for kind in range(LISTEN_KINDS):
        ht_init(&s.names[kind], e.heap, _name_of, &e.seed)
    buf_init(&s.frame, e.heap)
    e.channels = s


cdef void channels_close(engine_t* e) noexcept nogil:
    cdef channels_t* s = _channels(e)
    cdef int kind
    for kind in range(LISTEN_KINDS):
        ht_clear(&s.names[kind], NULL, NULL)
    zfree(e.heap, s.patterns)
    buf_free(&s.frame)
    zfree(e.heap, s)
    e.channels = NULL

# ---- memory of any size ----------------------------------------------------------------------------------

cdef inline void* _alloc(heap_t* h, size_t n) noexcept nogil:
    return zsmall_alloc(h, n) if n <= SLAB_MAX else zmalloc(h, n)


cdef inline void _free(heap_t* h, void* p, size_t n) noexcept nogil:
    if n == 0:
        return
    if n <= SLAB_MAX:
        zsmall_free(h, p)
    else:
        zfree(h, p)


cdef void _resize(heap_t* h, ends_t* ends, uint32_t cap) noexcept nogil:
    cdef size_t before = ends.cap * sizeof(end_t)
    cdef size_t after = cap * sizeof(end_t)
    cdef end_t* at
    if before > SLAB_MAX and after > SLAB_MAX:
        ends.at = <end_t*>zrealloc(h, ends.at, after)
    else:
        at = <end_t*>_alloc(h, after) if after else NULL
        if ends.count:
            memcpy(at, ends.at, ends.count * sizeof(end_t))
        _free(h, ends.at, before)
        ends.at = at
    ends.cap = cap

# ---- both ends -------------------------------------------------------------------------------------------

cdef inline ends_t* _of(const client_t* c, int kind) noexcept nogil:
    return &(<subscriptions_t*>c.subscriptions).of[kind]


cdef inline ends_t* _across(const end_t* end, int kind, bint of_client) noexcept nogil:
    """The array of the other end, of one that lies in a client's array, or in a channel's."""
    return &(<channel_t*>end.other).listeners if of_client else _of(<client_t*>end.other, kind)


cdef inline void _put(heap_t* h, ends_t* ends, void* other, uint32_t place) noexcept nogil:
    if ends.count == ends.cap:
        _resize(h, ends, ends.cap + ends.cap // 4 + 1)
    ends.at[ends.count].other = other
    ends.at[ends.count].place = place
    ends.count += 1


cdef void _take(heap_t* h, ends_t* ends, uint32_t i, int kind, bint of_client) noexcept nogil:
    """The last end takes this one's place, and its other end is told."""
    ends.count -= 1
    if i != ends.count:
        ends.at[i] = ends.at[ends.count]
        _across(&ends.at[i], kind, of_client).at[ends.at[i].place].place = i
    if ends.count < ends.cap // 4 or ends.count == 0:
        _resize(h, ends, ends.count)


cdef int64_t _place(const client_t* c, int kind, const channel_t* channel) noexcept nogil:
    """Where the channel is in the client's array, or -1. The shorter of both arrays has the answer."""
    cdef const ends_t* mine
    cdef const ends_t* theirs = &channel.listeners
    cdef uint32_t i
    if c.subscriptions == NULL:
        return -1
    mine = _of(c, kind)
    if mine.count <= theirs.count:
        for i in range(mine.count):
            if mine.at[i].other == channel:
                return i
    else:
        for i in range(theirs.count):
            if theirs.at[i].other == c:
                return theirs.at[i].place
    return -1

# ---- patterns ----------------------------------------------------------------------------------------------

cdef uint32_t _literal(const channel_t* pattern) noexcept nogil:
    """How many bytes it begins with that stand for themselves, as far as they are looked at."""
    cdef uint32_t i = 0
    cdef char ch
    while i < pattern.nk and i < PREFIX_MAX:
        ch = pattern.name[i]
        if ch == b'*' or ch == b'?' or ch == b'[' or ch == b'\\':
            break
        i += 1
    return i


cdef inline uint64_t _last_word(const char* p, uint32_t n) noexcept nogil:
    """The eight bytes that end at p + n, zeros in front of p."""
    cdef char padded[2 * WORD]
    if n >= WORD:
        return cf_load64(p + n - WORD)
    memset(padded, 0, WORD)
    memcpy(padded + WORD, p, n)
    return cf_load64(padded + n)


cdef void _pattern_add(engine_t* e, channel_t* channel) noexcept nogil:
    cdef channels_t* s = _channels(e)
    cdef pattern_t* row
    if s.pattern_count == s.pattern_cap:
        s.pattern_cap += s.pattern_cap // 4 + 4
        s.patterns = <pattern_t*>zrealloc(e.heap, s.patterns, s.pattern_cap * sizeof(pattern_t))
    row = &s.patterns[s.pattern_count]
    row.channel = channel
    row.prefix = _literal(channel)
    row.word = _last_word(&channel.name[0], row.prefix)
    channel.row = s.pattern_count
    s.pattern_count += 1


cdef void _pattern_remove(engine_t* e, const channel_t* channel) noexcept nogil:
    cdef channels_t* s = _channels(e)
    s.pattern_count -= 1
    s.patterns[channel.row] = s.patterns[s.pattern_count]
    s.patterns[channel.row].channel.row = channel.row
    if s.pattern_count < s.pattern_cap // 4:
        s.pattern_cap = s.pattern_count + 4
        s.patterns = <pattern_t*>zrealloc(e.heap, s.patterns, s.pattern_cap * sizeof(pattern_t))

# ---- joining and leaving -----------------------------------------------------------------------------------

cdef inline channel_t* _find(const engine_t* e, int kind, const char* name, size_t n) noexcept nogil:
    cdef hashtable_t* names = &_channels(e).names[kind]
    return <channel_t*>ht_find(names, name, n, ht_hash(names, name, n)) if ht_len(names) else NULL


cdef channel_t* _new(engine_t* e, int kind, const char* name, size_t n) noexcept nogil:
    cdef channel_t* channel = <channel_t*>_alloc(e.heap, sizeof(channel_t) + n)
    memset(channel, 0, sizeof(channel_t))
    channel.nk = <uint32_t>n
    memcpy(&channel.name[0], name, n)
    ht_insert(&_channels(e).names[kind], channel, hash_bytes(name, n, &e.seed))
    if kind == LISTEN_PATTERN:
        _pattern_add(e, channel)
    return channel


cdef void _end(engine_t* e, int kind, channel_t* channel) noexcept nogil:
    """Nobody listens any more."""
    cdef void* removed
    if kind == LISTEN_PATTERN:
        _pattern_remove(e, channel)
    removed = ht_remove(
        &_channels(e).names[kind], &channel.name[0], channel.nk, hash_bytes(&channel.name[0], channel.nk, &e.seed))
    cf_assert(removed == channel)
    _free(e.heap, channel, sizeof(channel_t) + channel.nk)


cdef bint channel_join(client_t* c, int kind, const char* name, size_t n) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef channel_t* channel = _find(e, kind, name, n)
    cdef ends_t* mine
    if channel == NULL:
        channel = _new(e, kind, name, n)
    elif _place(c, kind, channel) >= 0:
        return False
    if c.subscriptions == NULL:
        c.subscriptions = zsmall_alloc(e.heap, sizeof(subscriptions_t))
        memset(c.subscriptions, 0, sizeof(subscriptions_t))
        if c.cls == CLASS_NORMAL:
            client_set_class(c, CLASS_PUBSUB)
    mine = _of(c, kind)
    _put(e.heap, mine, channel, channel.listeners.count)
    _put(e.heap, &channel.listeners, c, mine.count - 1)
    return True


cdef void _leave(client_t* c, int kind, uint32_t i) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef ends_t* mine = _of(c, kind)
    cdef channel_t* channel = <channel_t*>mine.at[i].other
    cdef uint32_t there = mine.at[i].place
    _take(e.heap, mine, i, kind, True)
    _take(e.heap, &channel.listeners, there, kind, False)
    if channel.listeners.count == 0:
        _end(e, kind, channel)


cdef void _forget_if_none(client_t* c) noexcept nogil:
    if subscriptions(c, LISTEN_CHANNEL) + subscriptions(c, LISTEN_PATTERN) + subscriptions(c, LISTEN_SHARD):
        return
    zsmall_free(c.engine.heap, c.subscriptions)
    c.subscriptions = NULL
    if c.cls == CLASS_PUBSUB:
        client_set_class(c, CLASS_NORMAL)


cdef bint channel_leave(client_t* c, int kind, const char* name, size_t n) noexcept nogil:
    cdef channel_t* channel
    cdef int64_t i
    if c.subscriptions == NULL:
        return False
    channel = _find(c.engine, kind, name, n)
    i = _place(c, kind, channel) if channel != NULL else -1
    if i < 0:
        return False
    _leave(c, kind, <uint32_t>i)
    _forget_if_none(c)
    return True


cdef void channels_leave_all(client_t* c) noexcept nogil:
    cdef int kind
    if c.subscriptions == NULL:
        return
    for kind in range(LISTEN_KINDS):
        while subscriptions(c, kind):
            _leave(c, kind, subscriptions(c, kind) - 1)
    _forget_if_none(c)


cdef size_t subscriptions_memory(const client_t* c) noexcept nogil:
    cdef size_t n = sizeof(subscriptions_t)
    cdef int kind
    if c.subscriptions == NULL:
        return 0
    for kind in range(LISTEN_KINDS):
        n += _of(c, kind).cap * sizeof(end_t)
    return n

# ---- publishing --------------------------------------------------------------------------------------------

cdef struct message_t:
    engine_t* engine
    const char* channel
    size_t nk
    const char* text
    size_t len
    blob_t* blob  # the message, shared; NULL: it is copied


cdef void _frame(const message_t* m, const char* word, size_t nw, const channel_t* pattern) noexcept nogil:
    """The push as text, without a message that is shared."""
    cdef buf_t* frame = &_channels(m.engine).frame
    frame.len = 0
    command_header(frame, b'*', 3 if pattern == NULL else 4)
    command_word(frame, word, nw)
    if pattern != NULL:
        command_word(frame, &pattern.name[0], pattern.nk)
    command_word(frame, m.channel, m.nk)
    if m.blob == NULL:
        command_word(frame, m.text, m.len)


cdef inline void _fetch(const client_t* c) noexcept nogil:
    """What a push touches of its target."""
    cf_prefetch(&c.flags)
    cf_prefetch(&c.out)
    cf_prefetch(&c.pushes)


cdef void _deliver(const message_t* m, const ends_t* to) noexcept nogil:
    cdef channels_t* s = _channels(m.engine)
    cdef const buf_t* frame = &s.frame
    cdef client_t* c
    cdef out_t* out
    cdef uint32_t i
    s.totals.deliveries += to.count
    for i in range(to.count):
        if i + FETCH_AHEAD < to.count:
            _fetch(<client_t*>to.at[i + FETCH_AHEAD].other)
        c = <client_t*>to.at[i].other
        out = push_room(c)
        if out == NULL:
            s.totals.lost += 1
            continue
        out_push_text(out, c.resp, frame.data, frame.len)
        if m.blob != NULL:
            out_bulk_shared(out, m.blob, &m.blob.data[0], m.len)
        push_end(c)


cdef int64_t _publish_to_patterns(message_t* m) noexcept nogil:
    cdef channels_t* s = _channels(m.engine)
    cdef char padded[WORD + PREFIX_MAX]
    cdef size_t n = min(m.nk, <size_t>PREFIX_MAX)
    cdef const pattern_t* row
    cdef int64_t receivers = 0
    cdef uint32_t i
    memset(padded, 0, WORD)
    memcpy(padded + WORD, m.channel, n)
    for i in range(s.pattern_count):
        row = &s.patterns[i]
        if row.prefix > n or cf_load64(padded + row.prefix) != row.word:
            continue
        if glob_match(&row.channel.name[0], row.channel.nk, m.channel, m.nk, False):
            _share_if_long(m)
            _frame(m, b"pmessage", 8, row.channel)
            _deliver(m, &row.channel.listeners)
            receivers += row.channel.listeners.count
    return receivers


cdef inline void _share_if_long(message_t* m) noexcept nogil:
    if m.blob == NULL and m.len >= CHANNELS_SHARE_MIN:
        m.blob = blob_new(m.engine.heap, m.len)
        m.blob.len = m.len
        memcpy(&m.blob.data[0], m.text, m.len)


cdef int64_t channel_publish(
    engine_t* e, int kind, const char* name, size_t nk, const char* message, size_t nm, blob_t* blob
) noexcept nogil:
    cdef channels_t* s = _channels(e)
    cdef channel_t* channel = _find(e, kind, name, nk)
    cdef message_t m
    cdef int64_t receivers = 0
    m.engine = e
    m.channel = name
    m.nk = nk
    m.text = message
    m.len = nm
    m.blob = blob
    if channel != NULL:
        _share_if_long(&m)
        _frame(&m, b"smessage" if kind == LISTEN_SHARD else b"message", 8 if kind == LISTEN_SHARD else 7, NULL)
        _deliver(&m, &channel.listeners)
        receivers = channel.listeners.count
    if kind == LISTEN_CHANNEL and s.pattern_count:
        receivers += _publish_to_patterns(&m)
    if m.blob != blob:
        owner_drop(e.heap, m.blob)
    if s.frame.cap > FRAME_KEPT:  # names have no limit either
        buf_free(&s.frame)
    return receivers

# ---- looking -----------------------------------------------------------------------------------------------

cdef size_t channels_count(const engine_t* e, int kind) noexcept nogil:
    return ht_len(&_channels(e).names[kind])


cdef uint32_t channel_listeners(const engine_t* e, int kind, const char* name, size_t n) noexcept nogil:
    cdef const channel_t* channel = _find(e, kind, name, n)
    return channel.listeners.count if channel != NULL else 0


cdef void channels_each(engine_t* e, int kind, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef hashtable_t* names = &_channels(e).names[kind]
    cdef uint64_t cursor
    if ht_len(names) == 0:
        return
    cursor = ht_scan(names, 0, fn, ctx)
    while cursor:
        cursor = ht_scan(names, cursor, fn, ctx)


cdef channel_totals_t channels_totals(const engine_t* e) noexcept nogil:
    return _channels(e).totals


cdef size_t channels_memory(const engine_t* e) noexcept nogil:
    cdef channels_t* s = _channels(e)
    cdef size_t n = sizeof(channels_t) + s.pattern_cap * sizeof(pattern_t) + s.frame.cap
    cdef int kind
    for kind in range(LISTEN_KINDS):
        n += ht_memory(&s.names[kind]) - sizeof(hashtable_t)
    return n

# ---- checking ----------------------------------------------------------------------------------------------

cdef struct _checked_t:
    engine_t* engine
    int kind
    int error


cdef bint _ends_agree(const ends_t* ends, const void* owner, int kind, bint of_client) noexcept nogil:
    cdef const ends_t* across
    cdef uint32_t i
    for i in range(ends.count):
        across = _across(&ends.at[i], kind, of_client)
        if ends.at[i].place >= across.count:
            return False
        if across.at[ends.at[i].place].other != owner or across.at[ends.at[i].place].place != i:
            return False
    return ends.count <= ends.cap


cdef void _check_channel(void* ctx, void* element) noexcept nogil:
    cdef _checked_t* k = <_checked_t*>ctx
    cdef channel_t* channel = <channel_t*>element
    cdef channels_t* s = _channels(k.engine)
    cdef const pattern_t* row
    if channel.listeners.count == 0:
        k.error = 2
    elif not _ends_agree(&channel.listeners, channel, k.kind, False):
        k.error = 1
    elif k.kind == LISTEN_PATTERN:
        row = &s.patterns[channel.row]
        if channel.row >= s.pattern_count or row.channel != channel or row.prefix != _literal(channel):
            k.error = 4


cdef int channels_check(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    cdef _checked_t k
    k.engine = e
    k.error = 0
    for k.kind in range(LISTEN_KINDS):
        channels_each(e, k.kind, _check_channel, &k)
    if channels_count(e, LISTEN_PATTERN) != _channels(e).pattern_count:
        return 4
    while c != NULL:
        if (c.cls == CLASS_PUBSUB) != (c.subscriptions != NULL):
            return 3
        for k.kind in range(LISTEN_KINDS):
            if c.subscriptions != NULL and not _ends_agree(_of(c, k.kind), c, k.kind, True):
                return 1
        c = client_next(c)
    return k.error
