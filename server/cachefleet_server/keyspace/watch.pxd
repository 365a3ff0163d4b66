"""WATCH: which clients watch which keys. A change of a watched key makes EXEC fail."""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t

cdef void watch_key(client_t* c, arg_t* key) noexcept nogil
cdef void unwatch_all(client_t* c) noexcept nogil
cdef bint watched_key_expired(client_t* c) noexcept nogil  # one of them is past its time although not deleted yet
cdef void watch_touch(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # marks watchers CLIENT_DIRTY_CAS
cdef void watch_touch_db(engine_t* e, int a, int b) noexcept nogil
    # FLUSHDB (b = -1, a = -1 for all) and SWAPDB: keys that exist in either database count as changed.
