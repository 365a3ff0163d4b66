"""The format of AOF files, for those who read them: loader, change capture, tools. The theory is in aof_load.pyx.

A reader_t goes over bytes that lie somewhere, a whole file or a part that begins where a command or a note does.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.resp.input cimport arg_t, request_t

cdef enum:
    READ_OK = 0
    READ_SHORT = 1  # the file ends inside this command
    READ_DAMAGED = 2

cdef struct reader_t:
    const char* base
    uint64_t size
    uint64_t at  # parser's place
    uint64_t damage_at
    uint64_t wrong_at  # the first byte that cannot be, at or behind damage_at
    char id[41]  # of the history; "" = nothing said where the file is in one
    uint64_t tenure
    uint64_t offset  # of the journal at `at`, commands only
    arg_t* argv
    int argv_cap

cdef int aof_note(reader_t* r) noexcept nogil  # one line that begins with "#"; what it says of the position counts
cdef int aof_notes(reader_t* r) noexcept nogil  # all such lines that are next, if any
cdef int aof_command(reader_t* r, request_t* out) noexcept nogil  # the next command; argc 0 at the end
cdef bint aof_zeros_follow(const reader_t* r) noexcept nogil
    # From the first wrong byte to the end: space that a file system gave and whose content a power failure lost.
