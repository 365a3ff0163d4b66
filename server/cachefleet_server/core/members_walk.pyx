"""Walks over members, and random ones; see members_walk.pxd."""

from libc.stdint cimport UINT32_MAX, uint32_t
from libc.string cimport memset

from cachefleet_server.core.bytes_value cimport bytes_view
from cachefleet_server.core.members cimport members_len, members_of, members_t
from cachefleet_server.core.members_expiry cimport expiring_count_due
from cachefleet_server.ds.bucket cimport ht_each_fn
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.hashtable cimport ht_scan
from cachefleet_server.ds.ht_sampling cimport ht_random, rng_below
from cachefleet_server.ds.intrin cimport cf_ctz64
from cachefleet_server.ds.intset cimport intset_at, intset_count
from cachefleet_server.ds.listpack cimport lp_get
from cachefleet_server.ds.pack cimport (
    PACK_HASH, PACK_ZSET, pack_at_t, pack_first, pack_len, pack_next, pack_score, pack_seek)
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc

cdef enum:
    MARK_WORDS = 8  # of 64 members each, that need no memory of their own
    DRAW_SHARE = 3  # a table's members are drawn one by one if less than this part of them is wanted
    DRAW_TRIES = 4  # draws for each member wanted, and ...
    DRAW_TRIES_MORE = 64  # ... some more: if they do not do, most members' time is up, and all are looked at


cdef inline void _see_int(const char* data, uint32_t index, seen_t* out) noexcept nogil:
    out.key.str = NULL
    out.key.num = intset_at(data, index)


cdef inline void _see_pack(const char* data, const pack_at_t* at, int kind, seen_t* out) noexcept nogil:
    lp_get(data + at.at, &out.key)
    if kind == PACK_HASH:
        lp_get(data + at.value, &out.value)
    elif kind == PACK_ZSET:
        out.score = pack_score(data + at.value)


cdef size_t members_count(const entry_t* entry) noexcept nogil:
    cdef size_t n
    cdef const char* data
    if not is_small(entry):
        return members_len(members_of(entry))
    data = bytes_view(entry, &n)
    return intset_count(data) if entry_encoding(entry) == ENC_INTSET else pack_len(data)


cdef size_t members_shown(const entry_t* entry, int64_t now_ms) noexcept nogil:
    cdef size_t n = members_count(entry)
    return n if is_small(entry) else n - expiring_count_due(members_of(entry), now_ms)

# ---- walking -----------------------------------------------------------------------------------------

cdef struct walking_t:
    int form
    int64_t now_ms
    seen_fn fn
    void* ctx


cdef void _visit(void* ctx, void* word) noexcept nogil:
    cdef walking_t* w = <walking_t*>ctx
    cdef seen_t seen
    if not word_is_due(word, w.now_ms):
        see_word(word, w.form, &seen)
        w.fn(w.ctx, &seen)


cdef void _walk_small(const entry_t* entry, seen_fn fn, void* ctx) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef int kind = members_form(entry)
    cdef pack_at_t at
    cdef seen_t seen
    cdef uint32_t i
    cdef bint more
    if entry_encoding(entry) == ENC_INTSET:
        for i in range(intset_count(data)):
            _see_int(data, i, &seen)
            fn(ctx, &seen)
        return
    more = pack_first(data, &at)
    while more:
        _see_pack(data, &at, kind, &seen)
        fn(ctx, &seen)
        more = pack_next(data, &at)


cdef uint64_t members_walk(
    const entry_t* entry, uint64_t cursor, int64_t now_ms, seen_fn fn, void* ctx
) noexcept nogil:
    cdef walking_t w
    if is_small(entry):
        _walk_small(entry, fn, ctx)
        return 0
    w.form = members_form(entry)
    w.now_ms = now_ms
    w.fn = fn
    w.ctx = ctx
    return ht_scan(&members_of(entry).table, cursor, _visit, &w)


cdef void members_walk_all(const entry_t* entry, int64_t now_ms, seen_fn fn, void* ctx) noexcept nogil:
    cdef uint64_t cursor = members_walk(entry, 0, now_ms, fn, ctx)
    while cursor:
        cursor = members_walk(entry, cursor, now_ms, fn, ctx)

# ---- random members ----------------------------------------------------------------------------------

cdef void _see_small(const entry_t* entry, uint32_t index, seen_t* out) noexcept nogil:
    cdef size_t n
    cdef const char* data = bytes_view(entry, &n)
    cdef pack_at_t at
    if entry_encoding(entry) == ENC_INTSET:
        _see_int(data, index, out)
    else:
        pack_seek(data, n, index, &at)
        _see_pack(data, &at, members_form(entry), out)


cdef struct random_t:  # one of all that a scan delivers
    uint64_t* rng
    int64_t now_ms
    uint64_t seen
    void* word


cdef void _take_one(void* ctx, void* word) noexcept nogil:
    cdef random_t* r = <random_t*>ctx
    if not word_is_due(word, r.now_ms):
        r.seen += 1
        if rng_below(r.rng, r.seen) == 0:
            r.word = word


cdef void _scan_all(members_t* m, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef uint64_t cursor = ht_scan(&m.table, 0, fn, ctx)
    while cursor:
        cursor = ht_scan(&m.table, cursor, fn, ctx)


cdef void* _random_word(members_t* m, uint64_t* rng, int64_t now_ms) noexcept nogil:
    cdef int tries = DRAW_TRIES_MORE
    cdef void* word
    cdef random_t r
    while tries:
        tries -= 1
        word = ht_random(&m.table, rng)
        if not word_is_due(word, now_ms):
            return word
    r.rng = rng
    r.now_ms = now_ms
    r.seen = 0
    r.word = NULL
    _scan_all(m, _take_one, &r)
    return r.word


cdef bint members_random(const entry_t* entry, uint64_t* rng, int64_t now_ms, seen_t* out) noexcept nogil:
    cdef void* word
    if is_small(entry):
        _see_small(entry, <uint32_t>rng_below(rng, members_count(entry)), out)
        return True
    word = _random_word(members_of(entry), rng, now_ms)
    if word == NULL:
        return False
    see_word(word, members_form(entry), out)
    return True

# ---- several, all different --------------------------------------------------------------------------

cdef void _mark_some(uint64_t* marks, size_t total, size_t n, uint64_t* rng) noexcept nogil:
    """n of `total` bits, all choices equally likely (Floyd): one draw each, and where that is taken the last that could
    be drawn."""
    cdef size_t i, at
    for i in range(total - n, total):
        at = rng_below(rng, i + 1)
        if marks[at / 64] >> (at % 64) & 1:
            at = i
        marks[at / 64] |= <uint64_t>1 << (at % 64)


cdef void _see_marked(const entry_t* entry, uint64_t* marks, size_t words, seen_fn fn, void* ctx) noexcept nogil:
    cdef size_t len
    cdef const char* data = bytes_view(entry, &len)
    cdef bint integers = entry_encoding(entry) == ENC_INTSET
    cdef int kind = members_form(entry)
    cdef pack_at_t at
    cdef seen_t seen
    cdef uint32_t index
    cdef size_t i
    at.index = UINT32_MAX - 1  # of no member, nor is the next one
    for i in range(words):
        while marks[i]:
            index = <uint32_t>(i * 64) + cf_ctz64(marks[i])
            marks[i] &= marks[i] - 1
            if integers:
                _see_int(data, index, &seen)
            else:
                if index == at.index + 1:
                    pack_next(data, &at)
                else:
                    pack_seek(data, len, index, &at)
                _see_pack(data, &at, kind, &seen)
            fn(ctx, &seen)


cdef void _pick_small(engine_t* e, const entry_t* entry, size_t n, seen_fn fn, void* ctx) noexcept nogil:
    """In order."""
    cdef uint64_t few[MARK_WORDS]
    cdef uint64_t* marks = &few[0]
    cdef size_t total = members_count(entry)
    cdef size_t words = (total + 63) / 64
    if words > MARK_WORDS:
        marks = <uint64_t*>zmalloc(e.heap, words * sizeof(uint64_t))
    memset(marks, 0, words * sizeof(uint64_t))
    _mark_some(marks, total, min(n, total), &e.rng)
    _see_marked(entry, marks, words, fn, ctx)
    if words > MARK_WORDS:
        zfree(e.heap, marks)


cdef struct gathering_t:
    int64_t now_ms
    buf_t words


cdef void _gather(void* ctx, void* word) noexcept nogil:
    cdef gathering_t* g = <gathering_t*>ctx
    if not word_is_due(word, g.now_ms):
        buf_put(&g.words, &word, sizeof(void*))


cdef void _pick_of_all(
    engine_t* e, members_t* m, int form, size_t n, int64_t now_ms, seen_fn fn, void* ctx
) noexcept nogil:
    """Takes all words, and shuffles as many as are wanted to the front."""
    cdef gathering_t g
    cdef void** words
    cdef void* word
    cdef seen_t seen
    cdef size_t i, j, total
    g.now_ms = now_ms
    buf_init(&g.words, e.heap)
    _scan_all(m, _gather, &g)
    words = <void**>g.words.data
    total = g.words.len / sizeof(void*)
    for i in range(min(n, total)):
        j = i + rng_below(&e.rng, total - i)
        word = words[j]
        words[j] = words[i]
        see_word(word, form, &seen)
        fn(ctx, &seen)
    buf_free(&g.words)


cdef bint _add_word(void** drawn, size_t mask, void* word) noexcept nogil:
    """Into a table with open addressing, at most half full. False: it is there."""
    cdef size_t at = <size_t>(<uint64_t>word * <uint64_t>0x9E3779B97F4A7C15 >> 20) & mask
    while drawn[at] != NULL:
        if drawn[at] == word:
            return False
        at = (at + 1) & mask
    drawn[at] = word
    return True


cdef bint _pick_by_draws(
    engine_t* e, members_t* m, int form, size_t n, int64_t now_ms, seen_fn fn, void* ctx
) noexcept nogil:
    """False: nothing was delivered, since too few draws found one that is new and whose time is not up."""
    cdef size_t mask = 1
    cdef size_t tries = n * DRAW_TRIES + DRAW_TRIES_MORE
    cdef size_t found = 0
    cdef size_t i
    cdef void** drawn
    cdef void* word
    cdef seen_t seen
    while mask < 2 * n:
        mask <<= 1
    drawn = <void**>zcalloc(e.heap, mask * sizeof(void*))
    mask -= 1
    while found < n and tries:
        tries -= 1
        word = ht_random(&m.table, &e.rng)
        if not word_is_due(word, now_ms) and _add_word(drawn, mask, word):
            found += 1
    if found == n:
        for i in range(mask + 1):
            if drawn[i] != NULL:
                see_word(drawn[i], form, &seen)
                fn(ctx, &seen)
    zfree(e.heap, drawn)
    return found == n


cdef void members_pick(
    engine_t* e, const entry_t* entry, size_t n, int64_t now_ms, seen_fn fn, void* ctx
) noexcept nogil:
    cdef members_t* m
    cdef int form
    if is_small(entry):
        _pick_small(e, entry, n, fn, ctx)
        return
    m = members_of(entry)
    form = members_form(entry)
    if n >= members_len(m) / DRAW_SHARE or not _pick_by_draws(e, m, form, n, now_ms, fn, ctx):
        _pick_of_all(e, m, form, n, now_ms, fn, ctx)
