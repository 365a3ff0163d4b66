"""The words of a search in a sorted set of positions: where, how far, what is wanted.

    q.from_store etc. are set by the command; then query_or_reply reads all words, in Valkey's order of errors
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.geohash cimport geo_point_t, geo_shape_t

cdef enum:  # commands
    QUERY_POINT = 1  # GEORADIUS: a position and a radius come first
    QUERY_MEMBER = 2  # GEORADIUSBYMEMBER
    QUERY_SEARCH = 4  # GEOSEARCH: only options
    QUERY_STORES = 8  # may store: by STORE and STOREDIST, or GEOSEARCHSTORE

    GEO_UNSORTED = 0
    GEO_NEAREST = 1
    GEO_FARTHEST = 2

cdef struct geo_query_t:
    int command  # QUERY_*
    const entry_t* entry  # the sorted set, or NULL
    geo_shape_t shape
    geo_point_t* vertices  # of a polygon; freed by query_end
    int sort  # GEO_*
    int64_t count  # 0: all
    bint any
    bint with_distance
    bint with_hash
    bint with_point
    arg_t* store  # the key, or NULL
    bint store_distance
    bint has_centre
    bint by_member
    bint has_shape

cdef bint query_or_reply(client_t* c, geo_query_t* q, int first) noexcept nogil
    # Reads the words behind the key, from argv[first] on; command, entry and store are set. False after an error.
cdef void query_end(client_t* c, geo_query_t* q) noexcept nogil  # in any case
