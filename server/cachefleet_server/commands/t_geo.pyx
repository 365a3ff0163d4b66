"""Positions of members.

GEOADD is ZADD with scores of its own making, and is propagated as that.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf

from cachefleet_server.commands.t_geo_search cimport register_geo_search
from cachefleet_server.commands.t_zset cimport add_t, members_clock, zset_add_scored
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport OBJ_ZSET
from cachefleet_server.core.errors cimport ERR_NOT_FLOAT
from cachefleet_server.core.options cimport (
    OPT_CH, OPT_NX, OPT_XX, option_walk_t, options_begin, options_next)
from cachefleet_server.core.reply cimport (
    arg_is, reply_array, reply_begin, reply_bulk, reply_error, reply_error_bytes, reply_null, reply_null_array,
    reply_syntax_error)
from cachefleet_server.core.zset_value cimport ZADD_NX, ZADD_XX
from cachefleet_server.ds.geohash cimport (
    GEO_TEXT_CHARS, geo_distance, geo_distance_text, geo_encode, geo_text, geo_valid)
from cachefleet_server.ds.number cimport (
    DOUBLE_CHARS_MAX, INT64_CHARS_MAX, NUMBER_CHARS_MAX, chars_to_double, int64_to_chars, longdouble_to_chars)
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport lookup_read, type_or_reply
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite
from cachefleet_server.resp.writer cimport out_raw

cdef enum:
    PLACE_CHARS = 700  # two doubles, with all their digits, and the words around them

# ---- words and replies ---------------------------------------------------------------------------------

cdef bint geo_double_or_reply(client_t* c, const arg_t* a, double* out, const char* text) noexcept nogil:
    if chars_to_double(a.ptr, a.len, out):
        return True
    reply_error(c, text)
    return False


cdef bint geo_point_or_reply(client_t* c, const arg_t* a, geo_point_t* at) noexcept nogil:
    cdef char text[PLACE_CHARS]
    if (not geo_double_or_reply(c, a, &at.lon, ERR_NOT_FLOAT)
            or not geo_double_or_reply(c, a + 1, &at.lat, ERR_NOT_FLOAT)):
        return False
    if geo_valid(at.lon, at.lat):
        return True
    reply_error_bytes(c, text, snprintf(
        text, PLACE_CHARS, b"ERR invalid longitude,latitude pair %f,%f", at.lon, at.lat))
    return False


cdef bint geo_unit_or_reply(client_t* c, const arg_t* a, double* unit_m) noexcept nogil:
    if arg_is(a, b"m"):
        unit_m[0] = 1
    elif arg_is(a, b"km"):
        unit_m[0] = 1000
    elif arg_is(a, b"ft"):
        unit_m[0] = 0.3048
    elif arg_is(a, b"mi"):
        unit_m[0] = 1609.34
    else:
        reply_error(c, b"ERR unsupported unit provided. please use M, KM, FT, MI")
        return False
    return True


cdef void _reply_coordinate(client_t* c, double v) noexcept nogil:
    """As INCRBYFLOAT prints: more digits than a double has."""
    cdef char text[NUMBER_CHARS_MAX + 3]
    cdef int n = longdouble_to_chars(text + 1, v)
    if c.resp == 2:
        reply_bulk(c, text + 1, n)
    elif reply_begin(c):
        text[0] = c","
        text[n + 1] = c"\r"
        text[n + 2] = c"\n"
        out_raw(&c.out, text, n + 3)


cdef void reply_point(client_t* c, geo_point_t at) noexcept nogil:
    reply_array(c, 2)
    _reply_coordinate(c, at.lon)
    _reply_coordinate(c, at.lat)


cdef void reply_distance(client_t* c, double distance) noexcept nogil:
    cdef char text[DOUBLE_CHARS_MAX]
    reply_bulk(c, text, geo_distance_text(text, distance))

# ---- GEOADD --------------------------------------------------------------------------------------------

cdef bint _take_options(client_t* c, add_t* o) noexcept nogil:
    cdef option_walk_t w
    o.flags = 0
    o.changed = False
    o.step = 3
    options_begin(&w, c, 2)
    while options_next(&w):
        if w.option == OPT_NX:
            o.flags |= ZADD_NX
        elif w.option == OPT_XX:
            o.flags |= ZADD_XX
        elif w.option == OPT_CH:
            o.changed = True
    o.first = w.at
    o.pairs = (c.argc - o.first) // 3
    if o.pairs == 0 or (c.argc - o.first) % 3 or o.flags == (ZADD_NX | ZADD_XX):
        reply_syntax_error(c)
        return False
    return True


cdef void _propagate_zadd(client_t* c, const add_t* o, const double* scores) noexcept nogil:
    """ZADD key [NX | XX] [CH] score member ..."""
    cdef int argc = o.first + 2 * o.pairs
    cdef size_t size = argc * sizeof(arg_t) + o.pairs * INT64_CHARS_MAX
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, size)
    cdef char* digits = <char*>(argv + argc)
    cdef arg_t* a = argv + o.first
    cdef int i
    argv[0] = journal_arg(b"ZADD", 4)
    for i in range(1, o.first):
        argv[i] = c.argv[i]
    for i in range(o.pairs):
        a[0] = journal_arg(digits, int64_to_chars(digits, <int64_t>scores[i]))
        a[1] = c.argv[o.first + 3 * i + 2]
        a += 2
        digits += INT64_CHARS_MAX
    journal_rewrite(c, argc, argv)
    zfree(c.engine.heap, argv)


cdef void geoadd_command(client_t* c) noexcept nogil:
    cdef uint64_t dirty = c.engine.persist.dirty
    cdef double* scores
    cdef geo_point_t at
    cdef add_t o
    cdef int i
    if not _take_options(c, &o):
        return
    scores = <double*>zmalloc(c.engine.heap, o.pairs * sizeof(double))
    for i in range(o.pairs):
        if not geo_point_or_reply(c, &c.argv[o.first + 3 * i], &at):
            break
        scores[i] = <double>geo_encode(at.lon, at.lat)
    else:
        zset_add_scored(c, &o, scores)
        if c.engine.persist.dirty != dirty and c.engine.journal.enabled:
            _propagate_zadd(c, &o, scores)
    zfree(c.engine.heap, scores)

# ---- reading -------------------------------------------------------------------------------------------

cdef bint _zset_or_reply(client_t* c, entry_t** entry) noexcept nogil:
    entry[0] = lookup_read(c, &c.argv[1])
    return type_or_reply(c, entry[0], OBJ_ZSET)


cdef void geopos_command(client_t* c) noexcept nogil:
    cdef entry_t* entry
    cdef geo_point_t at
    cdef int i
    if not _zset_or_reply(c, &entry):
        return
    reply_array(c, c.argc - 2)
    for i in range(2, c.argc):
        if geo_point_of(entry, &c.argv[i], members_clock(c), &at):
            reply_point(c, at)
        else:
            reply_null_array(c)


cdef void geohash_command(client_t* c) noexcept nogil:
    cdef char text[GEO_TEXT_CHARS]
    cdef entry_t* entry
    cdef double score
    cdef int i
    if not _zset_or_reply(c, &entry):
        return
    reply_array(c, c.argc - 2)
    for i in range(2, c.argc):
        if entry != NULL and zset_score(entry, c.argv[i].ptr, c.argv[i].len, members_clock(c), &score):
            geo_text(geo_bits(score), text)
            reply_bulk(c, text, GEO_TEXT_CHARS)
        else:
            reply_null(c)


cdef void geodist_command(client_t* c) noexcept nogil:
    cdef double unit_m = 1
    cdef geo_point_t a, b
    cdef entry_t* entry
    if c.argc > 5:
        reply_syntax_error(c)
        return
    if c.argc == 5 and not geo_unit_or_reply(c, &c.argv[4], &unit_m):
        return
    if not _zset_or_reply(c, &entry):
        return
    if (geo_point_of(entry, &c.argv[2], members_clock(c), &a)
            and geo_point_of(entry, &c.argv[3], members_clock(c), &b)):
        reply_distance(c, geo_distance(a, b) / unit_m)
    else:
        reply_null(c)

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_geo(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, geoadd_command, "geoadd", -5, "write denyoom", "geo", "1 RW update",
                "geo 3.2.0 O(log(N)) for each item added, where N is the number of elements in the sorted set."
                "; history 6.2.0 Added the `CH`, `NX` and `XX` options.",
                "Adds members with their positions to a sorted set, which is created if need be.",
                "key:key [condition(NX | XX)@6.2.0] [change=CH@6.2.0]"
                " data{longitude:double latitude:double member:string}...")
    command_row(e, geopos_command, "geopos", -2, "readonly", "geo", "1 RO access",
                "geo 3.2.0 O(1) for each member requested.", "Returns the positions of members.",
                "key:key [member:string...]")
    command_row(e, geohash_command, "geohash", -2, "readonly", "geo", "1 RO access",
                "geo 3.2.0 O(1) for each member requested.", "Returns the positions of members as geohash texts.",
                "key:key [member:string...]")
    command_row(e, geodist_command, "geodist", -4, "readonly", "geo", "1 RO access", "geo 3.2.0 O(1)",
                "Returns how far two members are from each other.",
                "key:key member1:string member2:string [unit(M | KM | FT | MI)]")
    return register_geo_search(e)
