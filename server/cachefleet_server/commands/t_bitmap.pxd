"""Bitmap commands: strings read and written as bits (ds/bits.pxd).

    t_bitmap.pyx        single bits, counting, finding, and BITOP, which combines strings
    t_bitmap_field.pyx  BITFIELD: integers of any width at any place

What is written becomes a raw string that reaches at least to the last bit that the command names, whether that is set
or not; a key that grew so has changed. Bits beyond the end of a string read as 0.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.reply cimport reply_error
from cachefleet_server.core.role cimport GATE_LENGTH
from cachefleet_server.ds.number cimport chars_to_int64

cdef extern from *:
    """
    #define ERR_BIT_OFFSET "ERR bit offset is not an integer or out of range"
    """
    const char* ERR_BIT_OFFSET

cdef int register_bitmap(engine_t* e) except -1

cdef inline bint take_place(client_t* c, const arg_t* a, int width, int64_t* out) noexcept nogil:
    """The place of a bit in the longest string that there may be; else the error is replied. With a width it may be
    "#n", the n-th integer of that width; the product wraps, as Valkey's does."""
    cdef bint nth = width and a.len and a.ptr[0] == c"#"
    if chars_to_int64(a.ptr + nth, a.len - nth, out):
        if nth:
            out[0] = <int64_t>(<uint64_t>out[0] * <uint64_t>width)
        if out[0] >= 0 and (out[0] >> 3 < c.engine.params.proto_max_bulk_len or not c.role.gates & GATE_LENGTH):
            return True
    reply_error(c, ERR_BIT_OFFSET)
    return False
