"""Ziplists and zipmaps: what RDB files of Redis 3 to 6 (zipmaps: before 2.6) hold. Read only; all is little-endian.

    ziplist   bytes u32, offset of the last entry u32, count u16, entries, 0xFF
    entry     size of the entry before (one byte; from 254 on 0xFE and 4 bytes), code, string or integer
    code      00xxxxxx  string below 64 bytes      01xxxxxx + 1  string, 14 bits, high bits first
              10...... + 4  string, 32 bits, high byte first
              C0 D0 E0 F0 FE  integer of 16, 32, 64, 24, 8 bits behind the code      F1 to FD  0 to 12, in the code

    zipmap    count (one byte; 254: count yourself), pairs, 0xFF
    pair      length, field, length, one byte: how many bytes behind the value are unused, value, unused bytes
    length    one byte; 254: 4 bytes follow

The size of the entry before may take 5 bytes although one would do. `*_validate` trusts nothing; the iterators are for
bytes that were validated.
"""

from cachefleet_server.ds.listpack cimport lp_item_t

cdef enum:
    ZIPLIST_HEADER = 10
    ZIPMAP_HEADER = 1

cdef bint ziplist_validate(const char* p, size_t n, size_t* out) noexcept nogil
    # Is this a ziplist, every entry of it? Then out is the count of its entries; else the offset of the first fault: 0
    # for the length, 4 for the offset of the last entry, 8 for the count, or where the entry stands.
cdef bint ziplist_next(const char* p, size_t* offset, lp_item_t* out) noexcept nogil
    # The entry at the offset (the first: ZIPLIST_HEADER), which then is that of the next. False at the end.
cdef bint zipmap_validate(const char* p, size_t n, size_t* out) noexcept nogil
    # The same of a zipmap; out is the count of its pairs.
cdef bint zipmap_next(const char* p, size_t* offset, lp_item_t* field, lp_item_t* value) noexcept nogil
    # The same; the first is ZIPMAP_HEADER.
