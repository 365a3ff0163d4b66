"""The options that SET, GETEX and MSETEX have in common."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t

cdef enum:  # expiry
    TTL_NONE = 0
    TTL_KEEP = 1
    TTL_PERSIST = 2
    TTL_EX = 3
    TTL_PX = 4
    TTL_EXAT = 5
    TTL_PXAT = 6

    FOR_SET = 0
    FOR_GETEX = 1
    FOR_MSETEX = 2

cdef struct options_t:
    int condition  # COND_*
    int ttl  # TTL_*
    bint get
    const arg_t* operand  # what an IF condition compares with
    const arg_t* ttl_arg
    int64_t expire_ms  # unix time, -1 = none

cdef bint take_options(client_t* c, int first, int kind, options_t* o) noexcept nogil
    # The options from argv[first] to the end, for a command of kind FOR_*; false after replying an error.
cdef inline uint64_t option_word(const arg_t* a) noexcept nogil:
    """The letters of an option in lower case, first letter highest; 0 when it is none."""
    cdef uint64_t w = 0
    cdef size_t i
    cdef unsigned char ch
    if a.len > 8:
        return 0
    for i in range(a.len):
        ch = a.ptr[i] | 0x20  # of all bytes, only letters of either case become letters
        if ch < c'a' or ch > c'z':
            return 0
        w = w << 8 | ch
    return w

cdef int ttl_of(uint64_t word) noexcept nogil  # TTL_EX ... TTL_PXAT, TTL_PERSIST, TTL_KEEP, or TTL_NONE
cdef bint take_expiry(client_t* c, const arg_t* a, int unit, int64_t* expire_ms) noexcept nogil
    # A time argument in a TTL_* unit as unix time in ms; false after replying that it is none.
