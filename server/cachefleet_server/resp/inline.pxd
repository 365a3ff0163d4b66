"""Inline requests: a line of words, as typed into telnet."""

from cachefleet_server.resp.input cimport arg_t

cdef int inline_split(char* line, size_t n, arg_t* args, size_t* bytes) noexcept nogil
    # Words of line[0:n], unquoted in place; args has room for n / 2 + 1. Their number, or -1: unbalanced quotes.
    # The line holds no NUL and no LF.
