"""Geo commands: sorted sets whose scores are positions (ds/geohash.pxd).

    t_geo.pyx         positions of members: GEOADD, GEOPOS, GEOHASH, GEODIST
    t_geo_search.pyx  what is near: GEOSEARCH, GEOSEARCHSTORE and the GEORADIUS family
    t_geo_query.pyx   the words of a search

A member's position is the middle of the smallest cell that its score names. Any sorted set may be asked: a score that
nobody made of a position has one, too.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.core.zset_value cimport zset_score
from cachefleet_server.ds.geohash cimport geo_bits, geo_decode, geo_point_t

cdef int register_geo(engine_t* e) except -1
cdef bint geo_double_or_reply(client_t* c, const arg_t* a, double* out, const char* text) noexcept nogil
cdef bint geo_point_or_reply(client_t* c, const arg_t* a, geo_point_t* at) noexcept nogil
    # A longitude and, in the next argument, a latitude: a valid position.
cdef bint geo_unit_or_reply(client_t* c, const arg_t* a, double* unit_m) noexcept nogil
cdef void reply_point(client_t* c, geo_point_t at) noexcept nogil
cdef void reply_distance(client_t* c, double distance) noexcept nogil

cdef inline bint geo_point_of(
    const entry_t* entry, const arg_t* member, int64_t now_ms, geo_point_t* at
) noexcept nogil:
    """Where a member of the sorted set is; false: it has none such. NULL has none."""
    cdef double score
    if entry == NULL or not zset_score(entry, member.ptr, member.len, now_ms, &score):
        return False
    at[0] = geo_decode(geo_bits(score))
    return True
