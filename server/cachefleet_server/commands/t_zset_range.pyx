"""Members of sorted sets between two places: by rank, by score, or by their bytes.

Each command is a row of four: how its places are given, in which direction it goes, where its words begin, and what it
does with the members. A range becomes a rank and a number of members (core/zset_value.pxd) before anything is done.
Members whose time is over are not counted by who reads, and removed before by who removes or stores.

Options are read here and not by the rows' syntax texts: Valkey takes all of them in all commands of the family, and has
texts of its own for some that do not go together.
"""

from cachefleet_server.commands.t_zset cimport *
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_array, reply_double, reply_error, reply_int, reply_syntax_error)
from cachefleet_server.core.zset_hidden cimport hidden_begin, hidden_end, zset_hidden_t
from cachefleet_server.core.zset_value cimport (
    BOUND_END, BOUND_MEMBER, BOUND_SCORE, BOUND_START, zset_add, zset_bound_t, zset_iter_t, zset_new, zset_next,
    zset_range_shown, zset_remove_range, zset_seek, zset_seek_shown)
from cachefleet_server.ds.listpack cimport lp_text
from cachefleet_server.ds.number cimport chars_to_bound

cdef extern from *:
    """
    #define ERR_BY_SCORE "ERR min or max is not a float"
    #define ERR_BY_LEX "ERR min or max not valid string range item"
    """
    const char* ERR_BY_SCORE
    const char* ERR_BY_LEX

cdef enum:  # how places are given
    BY_OPTION  # as an option says; by rank without one
    BY_RANK
    BY_SCORE
    BY_LEX

cdef struct span_t:  # what a command's words say
    int by
    bint back
    bint back_is_option
    bint with_scores
    int64_t offset  # of LIMIT
    int64_t limit  # negative: all
    int64_t start  # BY_RANK
    int64_t stop
    zset_bound_t low
    zset_bound_t high

# ---- words -------------------------------------------------------------------------------------------

cdef bint _score_bound(const arg_t* a, bint is_high, zset_bound_t* out) noexcept nogil:
    """A score; one behind a parenthesis does not belong to the range."""
    cdef bint outside = a.len > 0 and a.ptr[0] == c"("
    out.by = BOUND_SCORE
    out.after = is_high != outside
    return chars_to_bound(a.ptr + outside, a.len - outside, &out.score)


cdef bint _member_bound(const arg_t* a, bint is_high, zset_bound_t* out) noexcept nogil:
    """- or +, or a member behind a parenthesis or a bracket."""
    if a.len == 0:
        return False
    out.member = a.ptr + 1
    out.n = a.len - 1
    if a.ptr[0] == c"-" or a.ptr[0] == c"+":
        out.by = BOUND_START if a.ptr[0] == c"-" else BOUND_END
        return a.len == 1 or a.ptr[1] == 0
    out.by = BOUND_MEMBER
    out.after = is_high != (a.ptr[0] == c"(")
    return a.ptr[0] == c"(" or a.ptr[0] == c"["


cdef bint _places_or_reply(client_t* c, int first, span_t* s) noexcept nogil:
    """The two words from argv[first] on."""
    cdef bint swapped = s.back and s.by != BY_RANK
    cdef const arg_t* low = &c.argv[first + swapped]
    cdef const arg_t* high = &c.argv[first + 1 - swapped]
    if s.by == BY_RANK:
        return arg_int64(c, low, &s.start) and arg_int64(c, high, &s.stop)
    if s.by == BY_SCORE:
        if _score_bound(low, False, &s.low) and _score_bound(high, True, &s.high):
            return True
        reply_error(c, ERR_BY_SCORE)
    else:
        if _member_bound(low, False, &s.low) and _member_bound(high, True, &s.high):
            return True
        reply_error(c, ERR_BY_LEX)
    return False


cdef bint _options_or_reply(client_t* c, int first, bint stores, span_t* s) noexcept nogil:
    cdef bint by_is_option = s.by == BY_OPTION
    cdef const arg_t* a
    cdef int i = first
    s.with_scores = False
    s.offset = 0
    s.limit = -1
    while i < c.argc:
        a = &c.argv[i]
        i += 1
        if not stores and arg_is(a, b"withscores"):
            s.with_scores = True
        elif arg_is(a, b"limit") and i + 1 < c.argc:
            if not arg_int64(c, &c.argv[i], &s.offset) or not arg_int64(c, &c.argv[i + 1], &s.limit):
                return False
            i += 2
        elif s.back_is_option and not s.back and arg_is(a, b"rev"):
            s.back = True
        elif by_is_option and s.by == BY_OPTION and arg_is(a, b"byscore"):
            s.by = BY_SCORE
        elif by_is_option and s.by == BY_OPTION and arg_is(a, b"bylex"):
            s.by = BY_LEX
        else:
            reply_syntax_error(c)
            return False
    if s.by == BY_OPTION:
        s.by = BY_RANK
    if s.limit != -1 and s.by == BY_RANK:
        reply_error(c, b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        return False
    if s.with_scores and s.by == BY_LEX:
        reply_error(c, b"ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        return False
    return True

# ---- ranges ------------------------------------------------------------------------------------------

cdef size_t _clamp(size_t n, int64_t start, int64_t stop, size_t* first) noexcept nogil:
    """Indexes, of which negative ones count from the end, as a place among n members; how many there are from it on."""
    cdef int64_t length = <int64_t>n
    if start < 0:
        start = max(start + length, <int64_t>0)
    if stop < 0:
        stop += length
    first[0] = start
    if start > stop or start >= length:
        return 0
    return min(stop, length - 1) - start + 1


cdef size_t _find(const entry_t* entry, const zset_hidden_t* h, const span_t* s, size_t* first) noexcept nogil:
    """The rank of the first member of the range, in ascending order, and how many there are, of those shown."""
    cdef size_t length = zset_len(entry) - h.count
    cdef size_t n
    if s.by != BY_RANK:
        zset_range_shown(entry, h, &s.low, &s.high, first, &n)
        return n
    n = _clamp(length, s.start, s.stop, first)
    if s.back and n:
        first[0] = length - first[0] - n
    return n


cdef size_t _find_limited(
    const entry_t* entry, const zset_hidden_t* h, const span_t* s, size_t* first
) noexcept nogil:
    """The same, after LIMIT. An offset below 0 leaves nothing, in either form: Valkey's skip list takes some for places
    counted from the end."""
    cdef size_t n = _find(entry, h, s, first)
    cdef size_t left
    if s.by == BY_RANK:
        return n
    if s.offset < 0 or <size_t>s.offset >= n:
        return 0
    left = n - s.offset
    if s.limit >= 0:
        left = min(left, <size_t>s.limit)
    first[0] += n - s.offset - left if s.back else <size_t>s.offset
    return left


cdef void _reply_range(
    client_t* c, const entry_t* entry, const zset_hidden_t* h, const span_t* s, size_t first, size_t n
) noexcept nogil:
    cdef bint pairs = s.with_scores and c.resp == 3
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    reply_array(c, 2 * n if s.with_scores and not pairs else n)
    zset_seek_shown(&it, entry, h, first, n, s.back)
    while zset_next(&it, &item, &score):
        if pairs:
            reply_array(c, 2)
        reply_member(c, &item)
        if s.with_scores:
            reply_double(c, score)


cdef void _range(client_t* c, int by, bint back, bint back_is_option) noexcept nogil:
    cdef entry_t* entry
    cdef size_t first = 0
    cdef size_t n = 0
    cdef zset_hidden_t hidden
    cdef span_t s
    s.by = by
    s.back = back
    s.back_is_option = back_is_option
    if not _options_or_reply(c, 4, False, &s) or not _places_or_reply(c, 2, &s):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    hidden_begin(&hidden, c.engine, entry, members_clock(c))
    if entry != NULL:
        n = _find_limited(entry, &hidden, &s, &first)
    if n:
        _reply_range(c, entry, &hidden, &s, first, n)
    else:
        reply_array(c, 0)
    hidden_end(&hidden)


cdef void zrange_command(client_t* c) noexcept nogil:
    _range(c, BY_OPTION, False, True)


cdef void zrevrange_command(client_t* c) noexcept nogil:
    _range(c, BY_RANK, True, False)


cdef void zrangebyscore_command(client_t* c) noexcept nogil:
    _range(c, BY_SCORE, False, False)


cdef void zrevrangebyscore_command(client_t* c) noexcept nogil:
    _range(c, BY_SCORE, True, False)


cdef void zrangebylex_command(client_t* c) noexcept nogil:
    _range(c, BY_LEX, False, False)


cdef void zrevrangebylex_command(client_t* c) noexcept nogil:
    _range(c, BY_LEX, True, False)

# ---- counts ------------------------------------------------------------------------------------------

cdef void _count(client_t* c, int by) noexcept nogil:
    cdef zset_hidden_t hidden
    cdef entry_t* entry
    cdef size_t first
    cdef span_t s
    s.by = by
    s.back = False
    if not _places_or_reply(c, 2, &s):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    hidden_begin(&hidden, c.engine, entry, members_clock(c))
    reply_int(c, _find(entry, &hidden, &s, &first) if entry != NULL else 0)
    hidden_end(&hidden)


cdef void zcount_command(client_t* c) noexcept nogil:
    _count(c, BY_SCORE)


cdef void zlexcount_command(client_t* c) noexcept nogil:
    _count(c, BY_LEX)

# ---- removing ----------------------------------------------------------------------------------------

cdef void _remove(client_t* c, int by, const char* event) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef size_t n = 0
    cdef size_t first
    cdef zset_hidden_t none
    cdef entry_t* entry
    cdef span_t s
    s.by = by
    s.back = False
    if not _places_or_reply(c, 2, &s):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    entry = members_purged(c, key, entry)
    hidden_begin(&none, c.engine, NULL, -1)
    if entry != NULL:
        n = _find(entry, &none, &s, &first)
    if n:
        zset_removed(c, event, key, entry, zset_remove_range(c.engine, entry, first, n), n)
    reply_int(c, n)


cdef void zremrangebyrank_command(client_t* c) noexcept nogil:
    _remove(c, BY_RANK, b"zremrangebyrank")


cdef void zremrangebyscore_command(client_t* c) noexcept nogil:
    _remove(c, BY_SCORE, b"zremrangebyscore")


cdef void zremrangebylex_command(client_t* c) noexcept nogil:
    _remove(c, BY_LEX, b"zremrangebylex")

# ---- storing -----------------------------------------------------------------------------------------

cdef entry_t* _copy_range(
    client_t* c, const arg_t* key, const entry_t* source, const span_t* s, size_t first, size_t n
) noexcept nogil:
    """Another sorted set of these members, in the form that adding them one by one gives."""
    cdef entry_t* entry = zset_new(c.engine, key.ptr, key.len, n if s.by == BY_RANK else 0, 0)
    cdef char digits[INT64_CHARS_MAX]
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    cdef const char* p
    cdef size_t size
    cdef int done
    zset_seek(&it, source, first, n, s.back)
    while zset_next(&it, &item, &score):
        p = lp_text(&item, digits, &size)
        entry = zset_add(c.engine, entry, p, size, &score, 0, &done)
    return entry


cdef void zrangestore_command(client_t* c) noexcept nogil:
    cdef arg_t* target = &c.argv[1]
    cdef entry_t* source
    cdef entry_t* entry = NULL
    cdef size_t first = 0
    cdef size_t n = 0
    cdef zset_hidden_t none
    cdef span_t s
    s.by = BY_OPTION
    s.back = False
    s.back_is_option = True
    if not _options_or_reply(c, 5, True, &s) or not _places_or_reply(c, 3, &s):
        return
    source = lookup_read(c, &c.argv[2])
    if not type_or_reply(c, source, OBJ_ZSET):
        return
    source = members_purged(c, &c.argv[2], source)
    hidden_begin(&none, c.engine, NULL, -1)
    if source != NULL:
        n = _find_limited(source, &none, &s, &first)
    if n:
        entry = _copy_range(c, target, source, &s, first, n)
    key_stored(c, target, NOTIFY_ZSET, b"zrangestore", entry)
    reply_int(c, n)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_ranges(engine_t* e) except -1:
    cdef str some = (" O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements"
                     " being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you"
                     " can consider it O(log(N)).")
    cdef str all = ("sorted-set 1.2.0 O(log(N)+M) with N being the number of elements in the sorted set and M the"
                    " number of elements returned.")
    cdef str limit = "[LIMIT limit{offset:integer count:integer}]"
    cdef str scores = "[WITHSCORES]"
    command_row(e, zrange_command, "zrange", -4, "readonly", "sortedset", "1 RO access",
                all + "; history 6.2.0 Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.",
                "Returns members between two ranks, scores or names.",
                "key:key start:string stop:string [sortby(BYSCORE | BYLEX)@6.2.0] [REV@6.2.0]"
                " [LIMIT limit{offset:integer count:integer}@6.2.0] " + scores)
    command_row(e, zrevrange_command, "zrevrange", -4, "readonly", "sortedset", "1 RO access", all,
                "Returns members between two ranks, counted from the end.",
                "key:key start:integer stop:integer " + scores)
    command_row(e, zrangebyscore_command, "zrangebyscore", -4, "readonly", "sortedset", "1 RO access",
                "sorted-set 1.0.5" + some + "; history 2.0.0 Added the `WITHSCORES` modifier.",
                "Returns members between two scores.",
                "key:key min:double max:double [WITHSCORES@2.0.0] " + limit)
    command_row(e, zrevrangebyscore_command, "zrevrangebyscore", -4, "readonly", "sortedset", "1 RO access",
                "sorted-set 2.2.0" + some + "; history 2.1.6 `min` and `max` can be exclusive.",
                "Returns members between two scores, in descending order.",
                "key:key max:double min:double " + scores + " " + limit)
    command_row(e, zrangebylex_command, "zrangebylex", -4, "readonly", "sortedset", "1 RO access",
                "sorted-set 2.8.9" + some, "Returns members between two names, where all scores are equal.",
                "key:key min:string max:string " + limit)
    command_row(e, zrevrangebylex_command, "zrevrangebylex", -4, "readonly", "sortedset", "1 RO access",
                "sorted-set 2.8.9" + some,
                "Returns members between two names, where all scores are equal, in descending order.",
                "key:key max:string min:string " + limit)
    return 0


cdef int register_zset_range(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str count = " O(log(N)) with N being the number of elements in the sorted set."
    cdef str removed = (" O(log(N)+M) with N being the number of elements in the sorted set and M the number of"
                        " elements removed by the operation.")
    _register_ranges(e)
    command_row(e, zcount_command, "zcount", 4, "readonly fast", "sortedset", "1 RO access",
                "sorted-set 2.0.0" + count, "Counts members between two scores.", "key:key min:double max:double")
    command_row(e, zlexcount_command, "zlexcount", 4, "readonly fast", "sortedset", "1 RO access",
                "sorted-set 2.8.9" + count, "Counts members between two names, where all scores are equal.",
                "key:key min:string max:string")
    command_row(e, zremrangebyrank_command, "zremrangebyrank", 4, "write", "sortedset", "1 RW delete",
                "sorted-set 2.0.0" + removed, "Removes members between two ranks.",
                "key:key start:integer stop:integer")
    command_row(e, zremrangebyscore_command, "zremrangebyscore", 4, "write", "sortedset", "1 RW delete",
                "sorted-set 1.2.0" + removed, "Removes members between two scores.", "key:key min:double max:double")
    command_row(e, zremrangebylex_command, "zremrangebylex", 4, "write", "sortedset", "1 RW delete",
                "sorted-set 2.8.9" + removed, "Removes members between two names, where all scores are equal.",
                "key:key min:string max:string")
    command_row(e, zrangestore_command, "zrangestore", -5, "write denyoom", "sortedset", "1 OW update;2 RO access",
                "sorted-set 6.2.0 O(log(N)+M) with N being the number of elements in the sorted set and M the number"
                " of elements stored into the destination key.",
                "Makes a sorted set of members between two ranks, scores or names.",
                "dst:key src:key min:string max:string [sortby(BYSCORE | BYLEX)] [REV]"
                " [LIMIT limit{offset:integer count:integer}]")
    return 0
