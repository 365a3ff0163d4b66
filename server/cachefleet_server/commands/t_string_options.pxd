"""The options that SET, GETEX and MSETEX have in common."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t

cdef enum:  # expiry
    TTL_NONE = 0
    TTL_KEEP = 1
    TTL_PERSIST = 2
    TTL_EX = 3
    TTL_PX = 4
    TTL_EXAT = 5
    TTL_PXAT = 6

cdef struct options_t:
    int condition  # COND_*
    int ttl  # TTL_*
    bint get
    const arg_t* operand  # what an IF condition compares with
    const arg_t* ttl_arg
    int64_t expire_ms  # unix time, -1 = none

cdef bint take_options(client_t* c, int first, options_t* o) noexcept nogil
    # The options from argv[first] to the end; false after replying an error.
cdef int ttl_of(int option) noexcept nogil  # TTL_* of an OPT_*; TTL_NONE when it has nothing to do with expiry
cdef bint take_expiry(client_t* c, const arg_t* a, int unit, int64_t* expire_ms) noexcept nogil
    # A time argument in a TTL_* unit as unix time in ms; false after replying that it is none.
