"""Listpacks: the wire form of small collections in RDB files and DUMP. Packs (pack.pxd) share their codes, and the
blocks of lists (listblock.pxd) their entries.

    +-----------+-----------+-------+-----+-------+------+
    | bytes u32 | count u16 | entry | ... | entry | 0xFF |     entry = code, back-length
    +-----------+-----------+-------+-----+-------+------+

    code          bytes            holds
    0xxxxxxx      1                an integer of 0 to 127
    10xxxxxx      1 + n            a string of n < 64 bytes
    110xxxxx      2                a 13-bit integer, high bits first
    1110xxxx      2 + n            a string of n < 4096 bytes, high bits of n first
    F0            5 + n            a string, n in 32 bits
    F1 F2 F3 F4   3 4 5 9          integers of 16, 24, 32 and 64 bits

Numbers are little-endian where nothing else is said. A count of 0xFFFF says: count yourself. The back-length is the
size of the code, 7 bits a byte, most significant first, to be read from its end: each byte but the first has its high
bit set. Valkey 9.1 writes no more bytes than it needs. Redis 7.0 writes one more, with a zero in front, for sizes of 14
and 21 ones in binary (and, it is assumed, 28). Both are read here, and Valkey's is written.

What is written is always the shortest code, and text that is an integer (chars_to_int64) is one. So equal elements have
equal bytes. What is read may be any code.

`lp_code_size`, `lp_entry_check` and `lp_validate` trust nothing: no byte outside of [p, end) is read. All else
that reads is for bytes that were validated.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.intrin cimport (
    cf_equal, cf_likely, cf_load16, cf_load32, cf_load64, cf_store16, cf_store32, cf_store64)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64, int64_to_chars

cdef enum:
    LP_HEADER = 6
    LP_EMPTY = 7  # bytes of a listpack without entries
    LP_END = 0xFF
    LP_COUNT_UNKNOWN = 0xFFFF
    LP_HEAD_MAX = 9  # of a code, all but the bytes of a string
    LP_STR6 = 0x80
    LP_INT13 = 0xC0
    LP_STR12 = 0xE0
    LP_STR32 = 0xF0
    LP_INT16 = 0xF1
    LP_INT24 = 0xF2
    LP_INT32 = 0xF3
    LP_INT64 = 0xF4

cdef struct lp_item_t:  # an element
    const char* str  # NULL: an integer
    size_t len  # of str; lies where it was found
    int64_t num

# ---- codes -----------------------------------------------------------------------------------------

cdef inline size_t lp_put_int(char* out, int64_t v) noexcept nogil:
    """Writes the code of an integer; its size, at most LP_HEAD_MAX."""
    if 0 <= v <= 127:
        out[0] = <char>v
        return 1
    if -4096 <= v <= 4095:
        out[0] = <char>(LP_INT13 | ((v >> 8) & 0x1F))
        out[1] = <char>(v & 0xFF)
        return 2
    if -0x8000 <= v <= 0x7FFF:
        out[0] = <char>LP_INT16
        cf_store16(out + 1, <uint64_t>v & 0xFFFF)
        return 3
    if -0x800000 <= v <= 0x7FFFFF:
        out[0] = <char>LP_INT24
        cf_store16(out + 1, <uint64_t>v & 0xFFFF)
        out[3] = <char>((<uint64_t>v >> 16) & 0xFF)
        return 4
    if -0x80000000LL <= v <= 0x7FFFFFFFLL:
        out[0] = <char>LP_INT32
        cf_store32(out + 1, <uint64_t>v & <uint64_t>0xFFFFFFFF)
        return 5
    out[0] = <char>LP_INT64
    cf_store64(out + 1, <uint64_t>v)
    return 9

cdef inline size_t lp_put_str_head(char* out, size_t n) noexcept nogil:
    """Writes what stands in front of a string of n < 4 G bytes; its size, at most 5."""
    if n < 64:
        out[0] = <char>(LP_STR6 | n)
        return 1
    if n < 4096:
        out[0] = <char>(LP_STR12 | (n >> 8))
        out[1] = <char>(n & 0xFF)
        return 2
    out[0] = <char>LP_STR32
    cf_store32(out + 1, <uint32_t>n)
    return 5

cdef inline size_t lp_item_size(const lp_item_t* item) noexcept nogil:
    """Size of the element's code."""
    cdef int64_t v = item.num
    if item.str != NULL:
        return item.len + (1 if item.len < 64 else 2 if item.len < 4096 else 5)
    if -4096 <= v <= 4095:
        return 1 if 0 <= v <= 127 else 2
    if -0x8000 <= v <= 0x7FFF:
        return 3
    if -0x800000 <= v <= 0x7FFFFF:
        return 4
    return 5 if v == <int32_t>v else 9

cdef inline size_t lp_skip(const char* p) noexcept nogil:
    """Size of the code at p."""
    cdef uint32_t c = <unsigned char>p[0]
    if cf_likely(c < LP_INT13):
        return 1 + ((c & 63) & (0 - (c >> 7)))  # no branch: small integers and short strings alternate
    if c < LP_STR12:
        return 2
    if c < LP_STR32:
        return 2 + (((c & 15) << 8) | <unsigned char>p[1])
    if c == LP_STR32:
        return 5 + <size_t>cf_load32(p + 1)
    return (0x99543 >> ((c - LP_INT16) * 4)) & 15  # also 0xF5, which packs have

cdef inline int64_t lp_int13(uint32_t c, uint32_t next) noexcept nogil:
    cdef int64_t v = ((c & 0x1F) << 8) | next
    return v - 8192 if v & 4096 else v

cdef inline int64_t lp_int24(const char* p) noexcept nogil:
    return (<int64_t><int8_t>p[2]) * 65536 + cf_load16(p)

cdef inline size_t lp_get(const char* p, lp_item_t* out) noexcept nogil:
    """The element at p, and the size of its code."""
    cdef uint32_t c = <unsigned char>p[0]
    cdef size_t head = 1
    out.str = NULL
    out.len = 0
    out.num = 0
    if c < LP_STR6:
        out.num = c
        return 1
    if c < LP_INT13:
        out.len = c & 63
    elif c < LP_STR12:
        out.num = lp_int13(c, <unsigned char>p[1])
        return 2
    elif c < LP_STR32:
        out.len = ((c & 15) << 8) | <unsigned char>p[1]
        head = 2
    elif c == LP_STR32:
        out.len = cf_load32(p + 1)
        head = 5
    elif c == LP_INT16:
        out.num = <int16_t>cf_load16(p + 1)
        return 3
    elif c == LP_INT24:
        out.num = lp_int24(p + 1)
        return 4
    elif c == LP_INT32:
        out.num = <int32_t>cf_load32(p + 1)
        return 5
    else:
        out.num = <int64_t>cf_load64(p + 1)
        return 9
    out.str = p + head
    return head + out.len

cdef inline size_t lp_code_size(const char* p, const char* end) noexcept nogil:
    """Size of an untrusted code that must end before `end`; 0: it does not, or there is no such code."""
    cdef size_t left = end - p
    cdef size_t size
    cdef uint32_t c
    if p >= end:
        return 0
    c = <unsigned char>p[0]
    if c > LP_INT64 or (c >= LP_STR12 and left < (5 if c == LP_STR32 else 2)):
        return 0
    size = lp_skip(p)
    return size if size <= left else 0

cdef inline void lp_item(const char* p, size_t n, lp_item_t* out) noexcept nogil:
    """The element that bytes are: an integer if they are its text."""
    out.str = NULL
    if n == 0 or n >= INT64_CHARS_MAX or <unsigned char>p[0] > c'9' or not chars_to_int64(p, n, &out.num):
        out.str = p if p != NULL else <const char*>out  # no bytes, of which none is read
        out.len = n

cdef inline bint lp_equal(const lp_item_t* a, const lp_item_t* b) noexcept nogil:
    """Of elements as lp_item makes them, or written from those."""
    if a.str == NULL or b.str == NULL:
        return a.str == b.str and a.num == b.num
    return a.len == b.len and cf_equal(a.str, b.str, a.len)

cdef inline const char* lp_text(const lp_item_t* item, char* buf, size_t* n) noexcept nogil:
    """The bytes of an element; those of an integer are written to buf (INT64_CHARS_MAX)."""
    if item.str != NULL:
        n[0] = item.len
        return item.str
    n[0] = int64_to_chars(buf, item.num)
    return buf

# ---- back-lengths ----------------------------------------------------------------------------------

cdef inline size_t lp_back_size(size_t n) noexcept nogil:
    """Bytes of the back-length behind a code of n bytes."""
    if n <= 127:
        return 1
    if n < 1 << 14:
        return 2
    if n < 1 << 21:
        return 3
    return 4 if n < 1 << 28 else 5

cdef inline size_t lp_back_skip(const char* p, size_t n) noexcept nogil:
    """Bytes of the back-length at p, behind a code of n bytes."""
    cdef size_t size = lp_back_size(n)
    return size + (p[0] == 0 and size > 1)

cdef inline size_t lp_back_put(char* out, size_t n) noexcept nogil:
    cdef size_t size = lp_back_size(n)
    cdef size_t i = size
    while i > 1:
        i -= 1
        out[i] = <char>(0x80 | (n & 127))
        n >>= 7
    out[0] = <char>n
    return size

# ---- entries: a code and its back-length -----------------------------------------------------------

cdef inline size_t lp_entry_size(const lp_item_t* item) noexcept nogil:
    cdef size_t n = lp_item_size(item)
    return n + lp_back_size(n)

cdef inline void lp_entry_put(char* out, const lp_item_t* item) noexcept nogil:
    """Writes lp_entry_size bytes."""
    cdef size_t n
    if item.str == NULL:
        n = lp_put_int(out, item.num)
    else:
        n = lp_put_str_head(out, item.len)
        memcpy(out + n, item.str, item.len)
        n += item.len
    lp_back_put(out + n, n)

cdef inline const char* lp_entry_next(const char* p) noexcept nogil:
    """The entry behind the one at p, whose back-length is as lp_entry_put writes it."""
    cdef uint32_t c = <unsigned char>p[0]
    cdef size_t n
    if LP_STR6 <= c < LP_INT13:  # foreseen, where elements are of one kind, as in most lists: lp_skip takes 0.4 ns more
        return p + 2 + (c & 63)
    n = lp_skip(p)
    return p + n + lp_back_size(n)

cdef inline const char* lp_entry_prev(const char* p) noexcept nogil:
    """The entry that ends at p."""
    cdef const unsigned char* back = <const unsigned char*>p - 1
    cdef size_t n = back[0] & 127
    cdef int shift = 0
    while back[0] & 0x80:
        back -= 1
        shift += 7
        n |= <size_t>(back[0] & 127) << shift
    return <const char*>back - n

cdef size_t lp_entry_check(const char* p, const char* end) noexcept nogil
    # Size of an untrusted entry that must end before `end`; 0: it does not, or is none.
cdef bint lp_entry_is_odd(const char* p, size_t n) noexcept nogil
    # Of a valid entry of n bytes: lp_entry_put would have written its element in another way.

# ---- whole listpacks -------------------------------------------------------------------------------

cdef bint lp_validate(const char* p, size_t n, size_t* out) noexcept nogil
    # Is this a listpack, every entry of it? Then out is the count of its entries; else the offset of the first fault: 0
    # for the length, 4 for the count, or where the entry stands (the end, when no terminator is there).

# Writer: entries behind what the buffer holds already.
cdef struct lp_writer_t:
    buf_t* out
    size_t start  # of the listpack in out
    size_t count

cdef void lp_begin(lp_writer_t* w, buf_t* out) noexcept nogil
cdef void lp_add_code(lp_writer_t* w, const char* code, size_t n) noexcept nogil  # as it is, with its back-length
cdef void lp_add_int(lp_writer_t* w, int64_t v) noexcept nogil
cdef void lp_add_str(lp_writer_t* w, const char* p, size_t n) noexcept nogil  # n < 4 G; never made an integer
cdef void lp_add(lp_writer_t* w, const char* p, size_t n) noexcept nogil  # an integer if it is one's text
cdef bint lp_finish(lp_writer_t* w) noexcept nogil  # header and terminator; false: more than 4 GB, of no use

# Reader of a valid listpack: offsets of entries. LP_HEADER is the first one's.
cdef inline bint lp_next(const char* p, size_t* offset, lp_item_t* out) noexcept nogil:
    """The entry at the offset, which then is that of the next. False at the end."""
    cdef size_t n
    if <unsigned char>p[offset[0]] == LP_END:
        return False
    n = lp_get(p + offset[0], out)
    offset[0] += n
    offset[0] += lp_back_skip(p + offset[0], n)
    return True

cdef inline bint lp_prev(const char* p, size_t* offset, lp_item_t* out) noexcept nogil:
    """The entry in front of the offset, which then is its own. False at the beginning."""
    if offset[0] <= LP_HEADER:
        return False
    offset[0] = lp_entry_prev(p + offset[0]) - p
    lp_get(p + offset[0], out)
    return True

cdef inline size_t lp_end(const char* p) noexcept nogil:
    """The offset of the terminator: where lp_prev begins."""
    return <size_t>cf_load32(p) - 1

cdef size_t lp_len(const char* p) noexcept nogil  # O(1), O(n) from 65 535 entries on
cdef size_t lp_seek(const char* p, int64_t index) noexcept nogil
    # Offset of an entry, O(index); negative from the end. 0: there is none.
