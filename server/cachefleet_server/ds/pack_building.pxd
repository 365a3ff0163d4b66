"""Packs made at once: from an untrusted listpack, from any other source pair by pair, and written as a listpack.

A builder appends keys to a buffer without looking at them; its end refuses equal keys (by sorting, so that no
choice of names makes it slow), sorts a sorted set that does not come in order, and makes the index. The pack is
out.data[start:out.len]; the caller moves it to where it belongs.
"""

from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.listpack cimport lp_item_t

cdef enum:
    PACK_OK = 0
    PACK_MALFORMED = 1  # not a listpack, an odd number of elements, a score that is none
    PACK_DUPLICATE = 2
    PACK_TOO_LARGE = 3  # PACK_KEYS_MAX, PACK_BYTES_MAX

cdef struct pack_builder_t:
    buf_t* out
    size_t start
    size_t count
    size_t last  # offset of the last key, from start
    bint disorder  # of a sorted set's members

cdef void pack_build_begin(pack_builder_t* b, buf_t* out, int kind) noexcept nogil
cdef void pack_build_add(pack_builder_t* b, const lp_item_t* key, const lp_item_t* value) noexcept nogil
    # A set's value is NULL. An item may be text that is an integer.
cdef void pack_build_add_score(pack_builder_t* b, const lp_item_t* member, double score) noexcept nogil  # not NaN
cdef int pack_build_end(pack_builder_t* b) noexcept nogil
    # PACK_OK, PACK_DUPLICATE or PACK_TOO_LARGE; unless PACK_OK the buffer is as it was at the beginning.
cdef bint pack_read_score(const lp_item_t* item, double* out) noexcept nogil
    # The score that an element of a listpack or ziplist is; false: none, or NaN.

cdef int pack_from_listpack(const char* p, size_t n, int kind, buf_t* out) noexcept nogil
    # Behind what the buffer holds; a PACK_* as above, and nothing is appended unless PACK_OK.
cdef bint pack_to_listpack(const char* data, size_t len, buf_t* out) noexcept nogil
    # The bytes that Valkey writes for the same value. False: more than a listpack can hold.
