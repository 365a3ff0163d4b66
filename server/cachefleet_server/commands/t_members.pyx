"""Scanning collections, and random members of them; see t_members.pxd."""

from libc.stdint cimport uint64_t

from cachefleet_server.commands.scan cimport SCAN_STEPS, scan_cursor, scan_options, scan_options_t, scan_pattern
from cachefleet_server.core.engine cimport CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, arg_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.core.members_walk cimport (
    members_count, members_pick, members_random, members_walk, members_walk_all)
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, mark_t, reply_array, reply_error, reply_insert, reply_mark, reply_null, reply_syntax_error)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.glob cimport glob_match
from cachefleet_server.ds.number cimport uint64_to_chars
from cachefleet_server.keyspace.db cimport lookup_read, type_or_reply

# ---- scanning ----------------------------------------------------------------------------------------

cdef struct scan_t:
    const arg_t* pattern  # NULL: all
    buf_t found  # seen_t
    int64_t looked_at


cdef void _scan_one(void* ctx, const seen_t* seen) noexcept nogil:
    cdef scan_t* s = <scan_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p
    s.looked_at += 1
    if s.pattern != NULL:
        p = lp_text(&seen.key, &digits[0], &n)
        if not glob_match(s.pattern.ptr, s.pattern.len, p, n, False):
            return
    buf_put(&s.found, seen, sizeof(seen_t))


cdef void _reply_page(client_t* c, uint64_t cursor, const buf_t* found, seen_reply_fn value_fn) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const seen_t* seen = <const seen_t*>found.data
    cdef size_t n = found.len / sizeof(seen_t)
    cdef size_t i
    reply_array(c, 2)
    reply_bulk(c, digits, uint64_to_chars(digits, cursor))
    reply_array(c, n if value_fn == NULL else 2 * n)
    for i in range(n):
        reply_member(c, &seen[i].key)
        if value_fn != NULL:
            value_fn(c, &seen[i])


cdef void scan_members(client_t* c, int type, seen_reply_fn value_fn) noexcept nogil:
    cdef scan_options_t o
    cdef scan_t s
    cdef entry_t* entry
    cdef int64_t steps = 0
    if not scan_cursor(c, &c.argv[2], &o.cursor):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, type):
        return
    buf_init(&s.found, c.engine.heap)
    if entry == NULL:
        _reply_page(c, 0, &s.found, NULL)
        return
    if not scan_options(c, 3, &o):
        return
    s.pattern = scan_pattern(o.pattern)
    s.looked_at = 0
    while True:
        o.cursor = members_walk(entry, o.cursor, members_clock(c), _scan_one, &s)
        steps += 1
        if o.cursor == 0 or s.looked_at >= o.count or steps // SCAN_STEPS >= o.count:
            break
    _reply_page(c, o.cursor, &s.found, NULL if o.no_values or o.no_scores else value_fn)
    buf_free(&s.found)

# ---- random members ----------------------------------------------------------------------------------

cdef struct replying_t:
    client_t* client
    seen_reply_fn value_fn  # NULL: members alone
    int64_t count


cdef void _reply_one(void* ctx, const seen_t* seen) noexcept nogil:
    cdef replying_t* r = <replying_t*>ctx
    r.count += 1
    if r.value_fn != NULL and r.client.resp > 2:
        reply_array(r.client, 2)
    reply_member(r.client, &seen.key)
    if r.value_fn != NULL:
        r.value_fn(r.client, seen)


cdef void _reply_draws(replying_t* r, const entry_t* entry, int64_t n) noexcept nogil:
    """n times one of all. A client that is about to go gets no more of them."""
    cdef client_t* c = r.client
    cdef seen_t seen
    while n and not c.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY):
        if not members_random(entry, &c.engine.rng, members_clock(c), &seen):
            return
        _reply_one(r, &seen)
        n -= 1


cdef void _reply_several(client_t* c, const entry_t* entry, int64_t count, seen_reply_fn value_fn) noexcept nogil:
    """Different ones, or, for a negative count, so many that may be the same."""
    cdef mark_t mark = reply_mark(c)
    cdef replying_t r
    r.client = c
    r.value_fn = value_fn
    r.count = 0
    if count < 0:
        _reply_draws(&r, entry, -count)
    elif <size_t>count >= members_count(entry):
        members_walk_all(entry, members_clock(c), _reply_one, &r)
    else:
        members_pick(c.engine, entry, count, members_clock(c), _reply_one, &r)
    reply_insert(c, mark, b"*", r.count * 2 if value_fn != NULL and c.resp == 2 else r.count)


cdef bint _count_or_reply(client_t* c, const char* with_word, int64_t* count) noexcept nogil:
    if not arg_int64(c, &c.argv[2], count):
        return False
    if count[0] < -INT64_MAX:
        reply_error(c, b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
        return False
    if c.argc > 4 or (c.argc == 4 and not arg_is(&c.argv[3], with_word)):
        reply_syntax_error(c)
        return False
    if c.argc == 4 and not -(INT64_MAX // 2) <= count[0] <= INT64_MAX // 2:
        reply_error(c, b"ERR value is out of range")
        return False
    return True


cdef void random_members(client_t* c, int type, const char* with_word, seen_reply_fn value_fn) noexcept nogil:
    cdef int64_t count = 0
    cdef entry_t* entry
    cdef seen_t seen
    if with_word == NULL and c.argc > 3:
        reply_syntax_error(c)
        return
    if c.argc > 2 and not _count_or_reply(c, with_word, &count):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, type):
        return
    if c.argc > 2:
        if entry == NULL or count == 0:
            reply_array(c, 0)
        else:
            _reply_several(c, entry, count, value_fn if c.argc == 4 else NULL)
    elif entry != NULL and members_random(entry, &c.engine.rng, members_clock(c), &seen):
        reply_member(c, &seen.key)
    else:
        reply_null(c)
