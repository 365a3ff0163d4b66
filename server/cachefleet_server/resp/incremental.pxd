"""The parser for requests that do not lie whole in the buffer, and for all that is wrong; for input.pyx alone."""

from cachefleet_server.resp.input cimport arg_arena_t, request_memory_t, input_limits_t, input_t, request_t

cdef enum:
    CRLF = 0x0A0D  # as a little-endian 16-bit load

cdef int input_next_incremental(
    input_t* in_, const input_limits_t* limits, arg_arena_t* arena, request_t* out) noexcept nogil
cdef void request_memory_free(input_t* in_, request_memory_t** list) noexcept nogil
cdef void partial_free(input_t* in_) noexcept nogil
