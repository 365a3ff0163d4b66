"""KEYS and SCAN; the options that SCAN shares with HSCAN, SSCAN and ZSCAN."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef enum:
    SCAN_STEPS = 10  # buckets a call may cross for each element it should look at

cdef struct scan_options_t:
    uint64_t cursor
    int64_t count  # elements to look at
    const arg_t* pattern  # NULL: all
    int type  # OBJ_*, or -1: all (SCAN only)
    bint no_values  # HSCAN ... NOVALUES
    bint no_scores  # ZSCAN ... NOSCORES

cdef bint scan_cursor(client_t* c, const arg_t* a, uint64_t* out) noexcept nogil  # false: the error has been replied
cdef bint scan_options(client_t* c, int first, scan_options_t* out) noexcept nogil
    # From argv[first] on, those that the command's row has; sets all but the cursor. False: the error has been replied.
cdef int register_scan(engine_t* e) except -1

cdef inline const arg_t* scan_pattern(const arg_t* pattern) noexcept nogil:
    """NULL: all. "*" is by far the most frequent pattern."""
    if pattern != NULL and pattern.len == 1 and pattern.ptr[0] == b"*":
        return NULL
    return pattern
