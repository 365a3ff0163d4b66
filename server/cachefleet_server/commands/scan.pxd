"""KEYS and SCAN; the options that SCAN shares with HSCAN, SSCAN and ZSCAN."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef struct scan_options_t:
    uint64_t cursor
    int64_t count  # elements to look at
    const arg_t* pattern  # NULL: all
    int type  # OBJ_*, or -1: all (SCAN only)
    bint no_values  # HSCAN ... NOVALUES
    bint no_scores  # ZSCAN ... NOSCORES

cdef bint scan_parse(client_t* c, int cursor_at, scan_options_t* out) noexcept nogil
    # Cursor at argv[cursor_at], behind it the options that the command's row has. False: the error has been replied.
cdef int register_scan(engine_t* e) except -1
