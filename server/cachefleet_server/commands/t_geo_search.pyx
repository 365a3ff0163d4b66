"""What is near a position.

Members of the ranges of scores that a shape touches (ds/geohash.pxd) are judged one by one; those within are collected,
sorted if that is asked for, and replied or stored. Members of one distance stay in the order in which they were
found, but where a limit leaves some out: then they come as in Valkey, which sorts by the same rules (ds/partsort.pxd).
What is collected borrows the members from the sorted set, which stays as it is until they have been used.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport qsort

from cachefleet_server.commands.t_geo cimport reply_distance, reply_point
from cachefleet_server.commands.t_geo_query cimport *
from cachefleet_server.commands.t_zset cimport members_clock, members_purged, reply_member
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport OBJ_ZSET
from cachefleet_server.core.reply cimport reply_array, reply_int
from cachefleet_server.core.zset_hidden cimport hidden_begin, hidden_end, zset_hidden_t
from cachefleet_server.core.zset_value cimport (
    BOUND_SCORE, zset_add, zset_bound_t, zset_iter_t, zset_new, zset_next, zset_range_shown, zset_seek_shown)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.geohash cimport (
    geo_bits, geo_decode, geo_range_t, geo_search, geo_search_t, geo_within)
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.partsort cimport sort_part
from cachefleet_server.keyspace.db cimport NOTIFY_ZSET, key_stored, lookup_read, type_or_reply

cdef struct found_t:
    double distance_m
    double score
    lp_item_t member
    size_t rank  # in the order in which they were found

# ---- searching -----------------------------------------------------------------------------------------

cdef bint _search_range(
    const geo_query_t* q, const zset_hidden_t* hidden, const geo_search_t* search, const geo_range_t* scores,
    buf_t* found, size_t most
) noexcept nogil:
    """Adds what is within; false: that many are found."""
    cdef zset_bound_t low, high
    cdef zset_iter_t it
    cdef found_t one
    cdef size_t first, n
    low.by = high.by = BOUND_SCORE
    low.after = high.after = False
    low.score = <double>scores.low
    high.score = <double>scores.high
    zset_range_shown(q.entry, hidden, &low, &high, &first, &n)
    if n == 0:
        return True
    one.rank = found.len // sizeof(found_t)
    zset_seek_shown(&it, q.entry, hidden, first, n, False)
    while zset_next(&it, &one.member, &one.score):
        if geo_within(search, geo_decode(geo_bits(one.score)), &one.distance_m):
            buf_put(found, &one, sizeof(found_t))
            one.rank += 1
            if one.rank == most:
                return False
    return True


cdef void _search(client_t* c, const geo_query_t* q, buf_t* found) noexcept nogil:
    cdef size_t most = <size_t>q.count if q.any else <size_t>-1
    cdef zset_hidden_t hidden
    cdef geo_search_t search
    cdef int i
    geo_search(&search, &q.shape)
    hidden_begin(&hidden, c.engine, q.entry, members_clock(c))
    for i in range(search.count):
        if not _search_range(q, &hidden, &search, &search.ranges[i], found, most):
            break
    hidden_end(&hidden)


cdef inline int _order(const void* a, const void* b) noexcept nogil:
    cdef double x = (<const found_t*>a).distance_m
    cdef double y = (<const found_t*>b).distance_m
    return 0 if x == y else -1 if x < y else 1


cdef inline int _rank(const void* a, const void* b) noexcept nogil:
    return -1 if (<const found_t*>a).rank < (<const found_t*>b).rank else 1


cdef int _nearer(const void* a, const void* b) noexcept nogil:
    return _order(a, b)


cdef int _farther(const void* a, const void* b) noexcept nogil:
    return _order(b, a)


cdef int _nearer_first(const void* a, const void* b) noexcept nogil:
    return _order(a, b) or _rank(a, b)


cdef int _farther_first(const void* a, const void* b) noexcept nogil:
    return _order(b, a) or _rank(a, b)


cdef void _sort(const geo_query_t* q, void* found, size_t n, size_t wanted) noexcept nogil:
    cdef bint nearest = q.sort == GEO_NEAREST
    if n == 0 or q.sort == GEO_UNSORTED:
        return
    if wanted < n:
        sort_part(found, n, sizeof(found_t), _nearer if nearest else _farther, 0, wanted - 1)
    else:
        qsort(found, n, sizeof(found_t), _nearer_first if nearest else _farther_first)

# ---- results -------------------------------------------------------------------------------------------

cdef void _reply(client_t* c, const geo_query_t* q, const found_t* found, size_t n) noexcept nogil:
    cdef int parts = 1 + q.with_distance + q.with_hash + q.with_point
    cdef size_t i
    reply_array(c, n)
    for i in range(n):
        if parts > 1:
            reply_array(c, parts)
        reply_member(c, &found[i].member)
        if q.with_distance:
            reply_distance(c, found[i].distance_m / q.shape.unit_m)
        if q.with_hash:
            reply_int(c, <int64_t>found[i].score)
        if q.with_point:
            reply_point(c, geo_decode(geo_bits(found[i].score)))


cdef void _store(client_t* c, const geo_query_t* q, const found_t* found, size_t n) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef entry_t* entry = NULL
    cdef double score
    cdef const char* p
    cdef size_t i, size
    cdef size_t longest = 0
    cdef int done
    for i in range(n):
        lp_text(&found[i].member, digits, &size)
        longest = max(longest, size)
    if n:
        entry = zset_new(c.engine, q.store.ptr, q.store.len, n, longest)
    for i in range(n):
        p = lp_text(&found[i].member, digits, &size)
        score = found[i].distance_m / q.shape.unit_m if q.store_distance else found[i].score
        entry = zset_add(c.engine, entry, p, size, &score, 0, &done)
    key_stored(
        c, q.store, NOTIFY_ZSET, b"geosearchstore" if q.command & QUERY_SEARCH else b"georadiusstore", entry)
    if n:
        c.engine.persist.dirty += n - 1
    reply_int(c, n)


cdef void _run(client_t* c, geo_query_t* q) noexcept nogil:
    cdef buf_t found
    cdef size_t n, wanted
    buf_init(&found, c.engine.heap)
    if q.entry != NULL:
        _search(c, q, &found)
    n = found.len // sizeof(found_t)
    wanted = min(n, <size_t>q.count) if q.count else n
    _sort(q, found.data, n, wanted)
    if q.store != NULL:
        _store(c, q, <const found_t*>found.data, wanted)
    else:
        _reply(c, q, <const found_t*>found.data, wanted)
    buf_free(&found)


cdef void _command(client_t* c, int command, arg_t* key, arg_t* store) noexcept nogil:
    cdef geo_query_t q
    q.command = command
    q.store = store
    q.entry = lookup_read(c, key)
    if not type_or_reply(c, <entry_t*>q.entry, OBJ_ZSET):
        return
    if command & QUERY_STORES:
        q.entry = members_purged(c, key, <entry_t*>q.entry)
    if query_or_reply(c, &q, <int>(key - c.argv) + 1):
        _run(c, &q)
    query_end(c, &q)


cdef void geosearch_command(client_t* c) noexcept nogil:
    _command(c, QUERY_SEARCH, &c.argv[1], NULL)


cdef void geosearchstore_command(client_t* c) noexcept nogil:
    _command(c, QUERY_SEARCH | QUERY_STORES, &c.argv[2], &c.argv[1])


cdef void georadius_command(client_t* c) noexcept nogil:
    _command(c, QUERY_POINT | QUERY_STORES, &c.argv[1], NULL)


cdef void georadius_ro_command(client_t* c) noexcept nogil:
    _command(c, QUERY_POINT, &c.argv[1], NULL)


cdef void georadiusbymember_command(client_t* c) noexcept nogil:
    _command(c, QUERY_MEMBER | QUERY_STORES, &c.argv[1], NULL)


cdef void georadiusbymember_ro_command(client_t* c) noexcept nogil:
    _command(c, QUERY_MEMBER, &c.argv[1], NULL)

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_geo_search(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str unit = "unit(M | KM | FT | MI)"
    cdef str within = (" O(N+log(M)) where N is the number of elements inside the bounding box of the circular area"
                       " delimited by center and radius and M is the number of items inside the index.")
    cdef str within_shape = (" O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area"
                             " around the shape provided as the filter and M is the number of items inside the shape")
    cdef str upper = "; history 7.0.0 Added support for uppercase unit names."
    cdef str old = within + "; history 6.2.0 Added the `ANY` option for `COUNT`." + upper
    cdef str new = within_shape + upper + "; history 9.0.0 Added support for the BYPOLYGON option."
    cdef str order = "[order(ASC | DESC)]"
    cdef str shape = (
        "[from(FROMMEMBER member:string | FROMLONLAT fromlonlat{longitude:double latitude:double})]"
        " by(circle{BYRADIUS radius:double " + unit + "} | box{BYBOX width:double height:double " + unit + "} |"
        " polygon{BYPOLYGON num-vertices:integer vertices{longitude:double latitude:double}...}@9.0.0) "
        + order + " [count-block{COUNT count:integer [ANY]}]")
    cdef str parts = " [WITHCOORD] [WITHDIST] [WITHHASH]"
    cdef str options = parts + " [count-block{COUNT count:integer [ANY%s]}] " + order
    cdef str store = " [store(STORE storekey<key>:key | STOREDIST storedistkey<key>:key)]"
    cdef str point = "key:key longitude:double latitude:double radius:double " + unit
    cdef str member = "key:key member:string radius:double " + unit
    cdef str keys = "1 RO access;keyword:STORE:{0}:0:1 OW update variable_flags;" \
        "keyword:STOREDIST:{0}:0:1 OW update variable_flags"
    command_row(e, geosearch_command, "geosearch", -7, "readonly", "geo", "1 RO access", "geo 6.2.0" + new,
                "Finds members in a circle, a box or a polygon.", "key:key " + shape + parts)
    command_row(e, geosearchstore_command, "geosearchstore", -8, "write denyoom", "geo", "1 OW update;2 RO access",
                "geo 6.2.0" + new, "Stores the members in a circle, a box or a polygon.",
                "destination:key source:key " + shape + " [STOREDIST]")
    command_row(e, georadius_command, "georadius", -6, "write denyoom movablekeys", "geo", keys.format(6),
                "geo 3.2.0" + old, "Finds members around a position, or stores them.",
                point + options % "@6.2.0" + store)
    command_row(e, georadius_ro_command, "georadius_ro", -6, "readonly", "geo", "1 RO access", "geo 3.2.10" + old,
                "Finds members around a position.", point + options % "@6.2.0")
    command_row(e, georadiusbymember_command, "georadiusbymember", -5, "write denyoom movablekeys", "geo",
                keys.format(5), "geo 3.2.0" + old, "Finds members around a member, or stores them.",
                member + options % "" + store)
    command_row(e, georadiusbymember_ro_command, "georadiusbymember_ro", -5, "readonly", "geo", "1 RO access",
                "geo 3.2.10" + old, "Finds members around a member.", member + options % "")
    return 0
