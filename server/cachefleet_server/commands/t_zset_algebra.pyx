"""Unions, intersections and differences of sorted sets and sets; members of a set have the score 1.

Sources are taken from the smallest to the largest, as in Valkey: sums of scores depend on the order to the last digit.
A sum or product that is no number is 0. Members whose time is over are passed over, or, where the result is stored,
removed first. The result is gathered as a value that is made as a whole (core/zset_value.pxd): stored in the form that
fits, or replied in order.

    union          O(members of all), and the sorting
    intersection   O(members of the smallest * sources)
    difference     O(members of the first * sources), or of all sources together where that is less
"""

from libc.math cimport isnan
from libc.stdint cimport uint64_t
from libc.stdlib cimport qsort

from cachefleet_server.commands.t_zset cimport *
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport OBJ_SET, entry_type
from cachefleet_server.core.errors cimport ERR_WRONGTYPE
from cachefleet_server.core.members cimport members_hash, members_len
from cachefleet_server.core.members_walk cimport members_count, members_walk, seen_t
from cachefleet_server.core.reply cimport (
    arg_int64, arg_int64_from, arg_is, reply_array, reply_double, reply_error, reply_error_format, reply_int,
    reply_syntax_error)
from cachefleet_server.core.set_value cimport set_has, set_member
from cachefleet_server.core.zset_value cimport (
    zset_build_add, zset_build_begin, zset_build_drop, zset_build_end, zset_build_find, zset_build_sort, zset_build_t,
    zset_score, word_score)
from cachefleet_server.ds.listpack cimport lp_text
from cachefleet_server.ds.member cimport MEMBER_ZSET, member_key, member_score, member_set_score
from cachefleet_server.ds.number cimport chars_to_double
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef enum:
    UNION
    INTERSECTION
    DIFFERENCE

cdef enum:  # what becomes of a member's scores
    AGGREGATE_SUM
    AGGREGATE_MIN
    AGGREGATE_MAX

cdef struct source_t:
    entry_t* entry  # NULL: the key is not there
    size_t members
    int place  # among the arguments
    double weight

cdef struct algebra_t:
    client_t* client
    int op
    bint stores
    bint counts  # ZINTERCARD
    int first  # argument of the number of keys
    int count  # of sources
    source_t* sources
    int aggregate
    bint with_scores
    int64_t limit  # of ZINTERCARD; 0: none
    int at  # the source whose members come
    int64_t found
    int64_t now_ms  # for who is hidden
    zset_build_t result
    zset_build_t others  # DIFFERENCE: what all but the first have, if it was gathered
    bint gathered

# ---- words -------------------------------------------------------------------------------------------

cdef bint _sources_or_reply(client_t* c, algebra_t* a) noexcept nogil:
    """numkeys key ...; a.sources is there afterwards if this is true."""
    cdef int64_t count
    cdef source_t* source
    cdef int i
    if not arg_int64(c, &c.argv[a.first], &count):
        return False
    if count < 1:
        reply_error_format(
            c, b"ERR at least 1 input key is needed for '%s' command", c.cmd.name, c.cmd.name_len)
        return False
    if count > c.argc - a.first - 1:
        reply_syntax_error(c)
        return False
    a.count = <int>count
    a.sources = <source_t*>zmalloc(c.engine.heap, a.count * sizeof(source_t))
    for i in range(a.count):
        source = &a.sources[i]
        source.entry = lookup_read(c, &c.argv[a.first + 1 + i])
        source.place = i
        source.weight = 1
        source.members = 0
        if source.entry == NULL:
            continue
        if entry_type(source.entry) != OBJ_ZSET and entry_type(source.entry) != OBJ_SET:
            reply_error(c, ERR_WRONGTYPE)
            return False
        if a.stores:
            source.entry = members_purged(c, &c.argv[a.first + 1 + i], source.entry)
            if source.entry == NULL:
                continue
        source.members = members_count(source.entry)
    return True


cdef bint _weights_or_reply(client_t* c, algebra_t* a, int first) noexcept nogil:
    cdef const arg_t* word
    cdef int i
    for i in range(a.count):
        word = &c.argv[first + i]
        if not chars_to_double(word.ptr, word.len, &a.sources[i].weight):
            reply_error(c, b"ERR weight value is not a float")
            return False
    return True


cdef bint _aggregate(const arg_t* word, int* out) noexcept nogil:
    if arg_is(word, b"sum"):
        out[0] = AGGREGATE_SUM
    elif arg_is(word, b"min"):
        out[0] = AGGREGATE_MIN
    elif arg_is(word, b"max"):
        out[0] = AGGREGATE_MAX
    else:
        return False
    return True


cdef bint _options_or_reply(client_t* c, algebra_t* a) noexcept nogil:
    cdef bint scored = a.op != DIFFERENCE and not a.counts
    cdef int i = a.first + 1 + a.count
    cdef int left
    cdef const arg_t* word
    while i < c.argc:
        word = &c.argv[i]
        i += 1
        left = c.argc - i
        if scored and left >= a.count and arg_is(word, b"weights"):
            if not _weights_or_reply(c, a, i):
                return False
            i += a.count
        elif scored and left and arg_is(word, b"aggregate") and _aggregate(&c.argv[i], &a.aggregate):
            i += 1
        elif not a.stores and not a.counts and arg_is(word, b"withscores"):
            a.with_scores = True
        elif a.counts and left and arg_is(word, b"limit"):
            if not arg_int64_from(c, &c.argv[i], 0, &a.limit, b"ERR LIMIT can't be negative"):
                return False
            i += 1
        else:
            reply_syntax_error(c)
            return False
    return True

# ---- gathering ---------------------------------------------------------------------------------------

cdef int _compare_sources(const void* x, const void* y) noexcept nogil:
    cdef const source_t* a = <const source_t*>x
    cdef const source_t* b = <const source_t*>y
    if a.members != b.members:
        return -1 if a.members < b.members else 1
    return a.place - b.place


cdef inline double _weighted(double score, double weight) noexcept nogil:
    score *= weight
    return 0 if isnan(score) else score


cdef inline double _together(double score, double other, int aggregate) noexcept nogil:
    if aggregate == AGGREGATE_MIN:
        return other if other < score else score
    if aggregate == AGGREGATE_MAX:
        return other if other > score else score
    score += other
    return 0 if isnan(score) else score


cdef bint _find(const source_t* source, const char* p, size_t n, int64_t now_ms, double* score) noexcept nogil:
    cdef lp_item_t item
    if source.entry == NULL:
        return False
    if entry_type(source.entry) == OBJ_ZSET:
        return zset_score(source.entry, p, n, now_ms, score)
    set_member(&item, p, n)
    score[0] = 1
    return set_has(source.entry, &item, now_ms)


cdef inline double _score_of(const algebra_t* a, const seen_t* seen) noexcept nogil:
    return seen.score if entry_type(a.sources[a.at].entry) == OBJ_ZSET else 1


cdef void _unite(void* ctx, const seen_t* seen) noexcept nogil:
    cdef algebra_t* a = <algebra_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, digits, &n)
    cdef uint64_t hash = members_hash(a.result.members, p, n)
    cdef double score = _weighted(_score_of(a, seen), a.sources[a.at].weight)
    cdef void* there = zset_build_find(&a.result, p, n, hash)
    if there == NULL:
        zset_build_add(&a.result, p, n, hash, score)
    else:
        member_set_score(there, MEMBER_ZSET, _together(word_score(there), score, a.aggregate))


cdef void _intersect(void* ctx, const seen_t* seen) noexcept nogil:
    """Of the smallest source: what all others have, too."""
    cdef algebra_t* a = <algebra_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, digits, &n)
    cdef double score = _weighted(_score_of(a, seen), a.sources[0].weight)
    cdef double other
    cdef int i
    if a.limit and a.found == a.limit:
        return
    for i in range(1, a.count):
        if not _find(&a.sources[i], p, n, a.now_ms, &other):
            return
        score = _together(score, other * a.sources[i].weight, a.aggregate)
    a.found += 1
    if not a.counts:
        zset_build_add(&a.result, p, n, members_hash(a.result.members, p, n), score)


cdef void _gather(void* ctx, const seen_t* seen) noexcept nogil:
    cdef algebra_t* a = <algebra_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, digits, &n)
    cdef uint64_t hash = members_hash(a.others.members, p, n)
    if zset_build_find(&a.others, p, n, hash) == NULL:
        zset_build_add(&a.others, p, n, hash, 0)


cdef void _subtract(void* ctx, const seen_t* seen) noexcept nogil:
    """Of the first source: what no other has."""
    cdef algebra_t* a = <algebra_t*>ctx
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(&seen.key, digits, &n)
    cdef uint64_t hash = members_hash(a.result.members, p, n)
    cdef double other
    cdef int i
    if a.gathered:
        if zset_build_find(&a.others, p, n, hash) != NULL:
            return
    else:
        for i in range(1, a.count):
            if _find(&a.sources[i], p, n, a.now_ms, &other):
                return
    zset_build_add(&a.result, p, n, hash, _score_of(a, seen))


cdef void _walk(algebra_t* a, int at, void (*fn)(void* ctx, const seen_t* seen) noexcept nogil) noexcept nogil:
    cdef const entry_t* entry = a.sources[at].entry
    cdef uint64_t cursor = 0
    a.at = at
    if entry == NULL:
        return
    while True:
        cursor = members_walk(entry, cursor, a.now_ms, fn, a)
        if cursor == 0 or (a.limit and a.found == a.limit):
            return


cdef void _difference(algebra_t* a) noexcept nogil:
    cdef size_t others = 0
    cdef int i
    for i in range(1, a.count):
        others += a.sources[i].members
    a.gathered = a.count > 2 and others < a.sources[0].members * (a.count - 2)
    if a.gathered:
        zset_build_begin(&a.others, a.client.engine, others)
        for i in range(1, a.count):
            _walk(a, i, _gather)
    _walk(a, 0, _subtract)
    if a.gathered:
        zset_build_drop(&a.others)


cdef void _compute(algebra_t* a) noexcept nogil:
    cdef int i
    if a.op == DIFFERENCE:
        _difference(a)
        return
    qsort(a.sources, a.count, sizeof(source_t), _compare_sources)
    if a.op == INTERSECTION:
        _walk(a, 0, _intersect)
        return
    for i in range(a.count):
        _walk(a, i, _unite)

# ---- commands ----------------------------------------------------------------------------------------

cdef void _reply_result(client_t* c, algebra_t* a) noexcept nogil:
    cdef size_t n
    cdef void** elements = zset_build_sort(&a.result, &n)
    cdef bint in_pairs = a.with_scores and c.resp == 3
    cdef const char* p
    cdef size_t size, i
    reply_array(c, 2 * n if a.with_scores and not in_pairs else n)
    for i in range(n):
        if in_pairs:
            reply_array(c, 2)
        p = member_key(elements[i], MEMBER_ZSET, &size)
        reply_bulk(c, p, size)
        if a.with_scores:
            reply_double(c, member_score(elements[i], MEMBER_ZSET))


cdef void _store_result(client_t* c, algebra_t* a, const char* event) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef size_t n = members_len(a.result.members)
    if n:
        key_stored(c, key, NOTIFY_ZSET, event, zset_build_end(&a.result, key.ptr, key.len, -1))
    else:
        zset_build_drop(&a.result)
        key_stored(c, key, NOTIFY_ZSET, event, NULL)
    reply_int(c, n)


cdef void _algebra(client_t* c, int op, const char* store_event, bint counts) noexcept nogil:
    cdef algebra_t a
    a.client = c
    a.op = op
    a.stores = store_event != NULL
    a.counts = counts
    a.first = 2 if a.stores else 1
    a.sources = NULL
    a.aggregate = AGGREGATE_SUM
    a.with_scores = False
    a.limit = 0
    a.found = 0
    a.now_ms = members_clock(c)
    if _sources_or_reply(c, &a) and _options_or_reply(c, &a):
        if not counts:
            zset_build_begin(&a.result, c.engine, 0)
        _compute(&a)
        if a.stores:
            _store_result(c, &a, store_event)
        elif counts:
            reply_int(c, a.found)
        else:
            _reply_result(c, &a)
            zset_build_drop(&a.result)
    zfree(c.engine.heap, a.sources)


cdef void zunion_command(client_t* c) noexcept nogil:
    _algebra(c, UNION, NULL, False)


cdef void zinter_command(client_t* c) noexcept nogil:
    _algebra(c, INTERSECTION, NULL, False)


cdef void zdiff_command(client_t* c) noexcept nogil:
    _algebra(c, DIFFERENCE, NULL, False)


cdef void zunionstore_command(client_t* c) noexcept nogil:
    _algebra(c, UNION, b"zunionstore", False)


cdef void zinterstore_command(client_t* c) noexcept nogil:
    _algebra(c, INTERSECTION, b"zinterstore", False)


cdef void zdiffstore_command(client_t* c) noexcept nogil:
    _algebra(c, DIFFERENCE, b"zdiffstore", False)


cdef void zintercard_command(client_t* c) noexcept nogil:
    _algebra(c, INTERSECTION, NULL, True)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_zset_algebra(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str union_cost = (
        " with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the"
        " resulting sorted set.")
    cdef str inter_cost = (
        " O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted"
        " sets and M being the number of elements in the resulting sorted set.")
    cdef str diff_cost = (
        " O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the"
        " first set, and K is the size of the result set.")
    cdef str keys = "numkeys:integer key:key..."
    cdef str scored = keys + " [WEIGHTS weight:integer...] [AGGREGATE aggregate(SUM | MIN | MAX)]"
    cdef str stored = "1 OW update;numkeys:2 RO access"
    cdef str store_flags = "write denyoom movablekeys"
    command_row(e, zunion_command, "zunion", -3, "readonly movablekeys", "sortedset", "numkeys:1 RO access",
                "sorted-set 6.2.0 O(N)+O(M*log(M))" + union_cost, "Returns the members of any of several sorted sets.",
                scored + " [WITHSCORES]")
    command_row(e, zinter_command, "zinter", -3, "readonly movablekeys", "sortedset", "numkeys:1 RO access",
                "sorted-set 6.2.0" + inter_cost, "Returns the members that several sorted sets have in common.",
                scored + " [WITHSCORES]")
    command_row(e, zdiff_command, "zdiff", -3, "readonly movablekeys", "sortedset", "numkeys:1 RO access",
                "sorted-set 6.2.0" + diff_cost, "Returns the members of a sorted set that no other has.",
                keys + " [WITHSCORES]")
    command_row(e, zunionstore_command, "zunionstore", -4, store_flags, "sortedset", stored,
                "sorted-set 2.0.0 O(N)+O(M log(M))" + union_cost,
                "Makes a sorted set of the members of any of several.", "destination:key " + scored)
    command_row(e, zinterstore_command, "zinterstore", -4, store_flags, "sortedset", stored,
                "sorted-set 2.0.0" + inter_cost, "Makes a sorted set of the members that several have in common.",
                "destination:key " + scored)
    command_row(e, zdiffstore_command, "zdiffstore", -4, store_flags, "sortedset", stored,
                "sorted-set 6.2.0" + diff_cost, "Makes a sorted set of the members of one that no other has.",
                "destination:key " + keys)
    command_row(e, zintercard_command, "zintercard", -3, "readonly movablekeys", "sortedset", "numkeys:1 RO access",
                "sorted-set 7.0.0 O(N*K) worst case with N being the smallest input sorted set, K being the number of"
                " input sorted sets.", "Counts the members that several sorted sets have in common.",
                keys + " [LIMIT limit:integer]")
    return 0
