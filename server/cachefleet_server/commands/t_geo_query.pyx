"""The words of a search; see t_geo_query.pxd.

Where the key does not exist, a member's name cannot be wrong: the search goes on, to find wrong words, and to nothing.
"""

from libc.stdint cimport INT32_MAX, INT32_MIN
from libc.string cimport memset

from cachefleet_server.commands.t_geo cimport (
    geo_double_or_reply, geo_point_of, geo_point_or_reply, geo_unit_or_reply)
from cachefleet_server.commands.t_members cimport members_clock
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_error, reply_error_format, reply_error_quote, reply_syntax_error)
from cachefleet_server.ds.geohash cimport GEO_BOX, GEO_CIRCLE, GEO_POLYGON
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef enum:  # what became of a word
    WORD_TAKEN = 0
    WORD_UNKNOWN = 1
    WORD_FAILED = 2  # an error was replied

    VERTICES_LEAST = 3


cdef void query_end(client_t* c, geo_query_t* q) noexcept nogil:
    if q.vertices != NULL:
        zfree(c.engine.heap, q.vertices)

# ---- parts ---------------------------------------------------------------------------------------------

cdef bint _circle_or_reply(client_t* c, geo_query_t* q, const arg_t* a) noexcept nogil:
    """radius unit"""
    if not geo_double_or_reply(c, a, &q.shape.radius, b"ERR need numeric radius"):
        return False
    if q.shape.radius < 0:
        reply_error(c, b"ERR radius cannot be negative")
        return False
    q.shape.kind = GEO_CIRCLE
    q.has_shape = True
    return geo_unit_or_reply(c, a + 1, &q.shape.unit_m)


cdef bint _box_or_reply(client_t* c, geo_query_t* q, const arg_t* a) noexcept nogil:
    """width height unit"""
    if not geo_double_or_reply(c, a, &q.shape.width, b"ERR need numeric width") \
            or not geo_double_or_reply(c, a + 1, &q.shape.height, b"ERR need numeric height"):
        return False
    if q.shape.width < 0 or q.shape.height < 0:
        reply_error(c, b"ERR height or width cannot be negative")
        return False
    q.shape.kind = GEO_BOX
    q.has_shape = True
    return geo_unit_or_reply(c, a + 2, &q.shape.unit_m)


cdef bint _member_or_reply(client_t* c, geo_query_t* q, const arg_t* member) noexcept nogil:
    q.has_centre = q.by_member = True
    if q.entry == NULL or geo_point_of(q.entry, member, members_clock(c), &q.shape.centre):
        return True
    reply_error_quote(c, b"ERR member %s does not exist", member.ptr, member.len)
    return False


cdef int _polygon(client_t* c, geo_query_t* q, int at) noexcept nogil:
    """n and n positions from argv[at] on: how many arguments, or -1 after replying an error."""
    cdef int64_t count, i
    if not chars_to_int64(c.argv[at].ptr, c.argv[at].len, &count) or not INT32_MIN <= count <= INT32_MAX:
        reply_error(c, b"ERR invalid number of vertices")
        return -1
    if count < VERTICES_LEAST or count > (c.argc - at - 1) // 2:
        reply_error(c, b"ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")
        return -1
    query_end(c, q)
    q.vertices = <geo_point_t*>zmalloc(c.engine.heap, count * sizeof(geo_point_t))
    for i in range(count):
        if not geo_point_or_reply(c, &c.argv[at + 1 + 2 * i], &q.vertices[i]):
            return -1
    q.shape.kind = GEO_POLYGON
    q.shape.unit_m = 1
    q.shape.vertices = q.vertices
    q.shape.vertex_count = count
    q.has_shape = q.has_centre = True
    return <int>(1 + 2 * count)

# ---- options -------------------------------------------------------------------------------------------

cdef int _plain(client_t* c, geo_query_t* q, const arg_t* word) noexcept nogil:
    """Options without a value."""
    if arg_is(word, b"withdist"):
        q.with_distance = True
    elif arg_is(word, b"withhash"):
        q.with_hash = True
    elif arg_is(word, b"withcoord"):
        q.with_point = True
    elif arg_is(word, b"any"):
        q.any = True
    elif arg_is(word, b"asc"):
        q.sort = GEO_NEAREST
    elif arg_is(word, b"desc"):
        q.sort = GEO_FARTHEST
    elif q.command == QUERY_SEARCH | QUERY_STORES and arg_is(word, b"storedist"):
        q.store_distance = True
    else:
        return WORD_UNKNOWN
    return WORD_TAKEN


cdef int _valued(client_t* c, geo_query_t* q, int* at) noexcept nogil:
    """COUNT, STORE and STOREDIST; *at becomes the last argument that was read."""
    cdef const arg_t* word = &c.argv[at[0]]
    if at[0] + 1 >= c.argc:
        return WORD_UNKNOWN
    if arg_is(word, b"count"):
        at[0] += 1
        if not arg_int64(c, &c.argv[at[0]], &q.count):
            return WORD_FAILED
        if q.count <= 0:
            reply_error(c, b"ERR COUNT must be > 0")
            return WORD_FAILED
        return WORD_TAKEN
    if not q.command & QUERY_STORES or q.command & QUERY_SEARCH:
        return WORD_UNKNOWN
    if arg_is(word, b"store"):
        q.store_distance = False
    elif arg_is(word, b"storedist"):
        q.store_distance = True
    else:
        return WORD_UNKNOWN
    at[0] += 1
    q.store = &c.argv[at[0]]
    return WORD_TAKEN


cdef int _where(client_t* c, geo_query_t* q, int* at) noexcept nogil:
    """FROMMEMBER, FROMLONLAT and the shapes; *at becomes the last argument that was read."""
    cdef const arg_t* word = &c.argv[at[0]]
    cdef int behind = c.argc - at[0] - 1
    cdef int kind = q.shape.kind if q.has_shape else -1
    cdef bint fine
    cdef int n
    if behind >= 1 and arg_is(word, b"frommember") and kind != GEO_POLYGON and (q.by_member or not q.has_centre):
        n = 1
        fine = _member_or_reply(c, q, word + 1)
    elif behind >= 2 and arg_is(word, b"fromlonlat") and kind != GEO_POLYGON and not q.by_member:
        n = 2
        q.has_centre = True
        fine = geo_point_or_reply(c, word + 1, &q.shape.centre)
    elif behind >= 2 and arg_is(word, b"byradius") and (kind < 0 or kind == GEO_CIRCLE):
        n = 2
        fine = _circle_or_reply(c, q, word + 1)
    elif behind >= 3 and arg_is(word, b"bybox") and (kind < 0 or kind == GEO_BOX):
        n = 3
        fine = _box_or_reply(c, q, word + 1)
    elif behind >= 1 and arg_is(word, b"bypolygon") and (kind == GEO_POLYGON or (kind < 0 and not q.has_centre)):
        n = _polygon(c, q, at[0] + 1)
        fine = n >= 0
    else:
        return WORD_UNKNOWN
    at[0] += n
    return WORD_TAKEN if fine else WORD_FAILED


cdef bint _options_or_reply(client_t* c, geo_query_t* q, int at) noexcept nogil:
    cdef int word
    while at < c.argc:
        word = _plain(c, q, &c.argv[at])
        if word == WORD_UNKNOWN:
            word = _valued(c, q, &at)
        if word == WORD_UNKNOWN and q.command & QUERY_SEARCH:
            word = _where(c, q, &at)
        if word == WORD_UNKNOWN:
            reply_syntax_error(c)
        if word != WORD_TAKEN:
            return False
        at += 1
    return True


cdef bint _together_or_reply(client_t* c, const geo_query_t* q) noexcept nogil:
    """Do the words make a search?"""
    cdef bint search = q.command & QUERY_SEARCH != 0
    if q.store != NULL and (q.with_distance or q.with_hash or q.with_point):
        reply_error_format(
            c, b"ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            b"GEOSEARCHSTORE" if search else b"STORE option in GEORADIUS", 14 if search else 25)
    elif search and not q.has_centre:
        reply_error_format(
            c, b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %s", c.argv[0].ptr, c.argv[0].len)
    elif search and not q.has_shape:
        reply_error_format(
            c, b"ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for %s",
            c.argv[0].ptr, c.argv[0].len)
    elif q.any and q.count == 0:
        reply_error(c, b"ERR the ANY argument requires COUNT argument")
    else:
        return True
    return False


cdef bint query_or_reply(client_t* c, geo_query_t* q, int first) noexcept nogil:
    memset(&q.shape, 0, sizeof(q.shape))
    q.vertices = NULL
    q.sort = GEO_UNSORTED
    q.count = 0
    q.any = q.with_distance = q.with_hash = q.with_point = q.store_distance = False
    q.has_centre = q.by_member = q.has_shape = False
    if q.command & QUERY_POINT:
        if not geo_point_or_reply(c, &c.argv[first], &q.shape.centre) \
                or not _circle_or_reply(c, q, &c.argv[first + 2]):
            return False
        first += 4
    elif q.command & QUERY_MEMBER:
        if not _member_or_reply(c, q, &c.argv[first]):
            return False
        if q.entry != NULL and not _circle_or_reply(c, q, &c.argv[first + 1]):
            return False
        first += 3
    if not _options_or_reply(c, q, first) or not _together_or_reply(c, q):
        return False
    if q.count and q.sort == GEO_UNSORTED and not q.any:  # the first ones found would mean nothing
        q.sort = GEO_NEAREST
    return True
