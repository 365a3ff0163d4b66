"""Commands about the time to live of a key, and what those of a hash's fields have in common with them."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef int register_expire(engine_t* e) except -1
cdef bint conditions_or_reply(client_t* c, int first, int end, int* out) noexcept nogil
    # NX, XX, GT, LT of argv[first:end]; false after replying an error.
cdef bint time_or_reply(
    client_t* c, const arg_t* a, int64_t least, int64_t base_ms, int64_t unit_ms, int64_t* when) noexcept nogil
    # A time of at least that as unix time in ms; false after replying an error.
cdef bint conditions_hold(int64_t expire_ms, int conditions, int64_t when) noexcept nogil  # it is -1: never
cdef int64_t ttl_reply(const client_t* c, int64_t expire_ms, bint absolute, bint seconds) noexcept nogil
    # What TTL and its kin say of this time. Seconds are rounded.
