"""Packs: small hashes, sets and sorted sets in one run of bytes, in an entry's tail or in a blob.

    +-----------+----------+-------------------------+----------------------+---------------+
    | count u16 | flags u8 | keys, each with a value | offsets of keys 8,16 | a tag per key |
    +-----------+----------+-------------------------+----------------------+---------------+
                                                     '------ from PACK_INDEX_MIN keys ------'

A key is a hash's field or a set's or sorted set's member; its value a hash's value or the score, and a set has none.
Both are listpack codes (listpack.pxd) without back-lengths. The code is always the shortest, so keys are equal if their
codes are. A score is the code of an integer if it is one below 2**62 (-0 becomes 0), as in Valkey's listpacks, else
PACK_DOUBLE and its 8 bytes. Order is that of insertion; of a sorted set (score, bytes of the member).

A key is found by comparing tags, 16 at a time, and then walking over at most 7 keys from the last offset; with
fewer keys, by walking over all of them. A tag is a byte of an unkeyed hash of the whole key: who makes tags equal gets
that walk for each, at most PACK_KEYS_MAX times, and configured limits are far below. Not of the key's ends alone: names
with a number in the middle would all be equal, and up to 16 bytes it costs the same. The index stands at the end, so
that appending a key moves only it. Offsets count from `data` and have 2 bytes, 4 (PACK_WIDE) if the keys end above
64 KB.

Changes. A pack lies in memory of its owner's, who knows its length. What will change is planned, the owner makes
room, and it is committed:

    n = pack_plan_put(data, len, &key, found, &value, &edit)
    if n == 0: the pack cannot hold that (PACK_KEYS_MAX, PACK_BYTES_MAX)
    grow to n bytes, if that is more      # may move the data
    pack_commit(data, &edit)
    shrink to n bytes, if that is less

Until the commit the bytes of the pack and those that the items point to must stay; they must not be the pack's own.
O(bytes behind the change) in one or two memmoves; offsets of groups behind it are renewed by stepping over the keys
that moved into them: nothing for another value, one key a group for a removal, all for an insertion in the middle.

`check` (pack_checking.pxd): 1 too short, or flags unknown; 2 the index does not fit; 3 a code outside of the pack, not
the shortest one, or not of a score; 4 the keys do not end where the index begins; 5 wide or not against its length;
6 an offset; 7 a tag; 8 equal keys; 9 a sorted set's order.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.ds.hash cimport hash_bytes, hash_seed_t
from cachefleet_server.ds.intrin cimport cf_equal, cf_load16, cf_load32, cf_load64, cf_mul128_fold, cf_store64
from cachefleet_server.ds.listpack cimport LP_HEAD_MAX, lp_get, lp_item, lp_item_t, lp_put_int, lp_put_str_head, lp_skip

cdef enum:
    PACK_HEADER = 3  # bytes; an empty pack
    PACK_SET = 0
    PACK_HASH = 1
    PACK_ZSET = 2
    PACK_KIND = 3  # mask of flags
    PACK_WIDE = 4
    PACK_INDEX_MIN = 16  # keys; at least 16, which are compared at once
    PACK_GROUP = 8  # keys an offset
    PACK_NARROW_MAX = 0xFFFF  # end of the keys up to which offsets have 2 bytes
    PACK_KEYS_MAX = 65535
    PACK_BYTES_MAX = 1 << 30
    PACK_DOUBLE = 0xF5

cdef struct pack_item_t:  # an element to look for or to write
    lp_item_t item
    uint32_t head_len
    char head[LP_HEAD_MAX]  # its code, all but the bytes of a string

cdef struct pack_at_t:  # a key and its value; offsets from data
    size_t at
    size_t value  # the same as `next` in a set
    size_t next
    uint32_t index

cdef struct pack_back_t:  # an iteration backward
    uint32_t left  # keys that are still to come
    uint32_t group  # whose offsets are known
    size_t at[PACK_GROUP]

cdef struct pack_edit_t:
    size_t old_len
    size_t len  # afterwards
    size_t old_end  # of the keys
    size_t end
    size_t cut_at  # bytes [cut_at, cut_end) go
    size_t cut_end
    size_t put_at  # where the parts come, before anything moves; not inside of what goes
    uint32_t key_cut  # position of the first key that goes
    uint32_t keys_cut
    uint32_t key_put  # position of the key that comes, after others have gone
    uint32_t keys_put  # 0 or 1
    uint32_t changed  # a key whose value changes, if none comes or goes
    uint32_t count  # afterwards
    uint32_t parts_len
    uint8_t flags  # afterwards
    pack_item_t parts[2]

# ---- elements ----------------------------------------------------------------------------------------

cdef inline void pack_item_head(pack_item_t* i) noexcept nogil:
    if i.item.str == NULL:
        i.item.len = 0
        i.head_len = <uint32_t>lp_put_int(&i.head[0], i.item.num)
    else:
        i.head_len = <uint32_t>lp_put_str_head(&i.head[0], i.item.len)

cdef inline void pack_item(pack_item_t* i, const char* p, size_t n) noexcept nogil:
    """A field, member or value; p is borrowed."""
    lp_item(p, n, &i.item)
    pack_item_head(i)

cdef inline void pack_item_int(pack_item_t* i, int64_t v) noexcept nogil:
    i.item.str = NULL
    i.item.num = v
    pack_item_head(i)

cdef inline void pack_item_score(pack_item_t* i, double score) noexcept nogil:
    """Any but NaN."""
    cdef uint64_t bits
    cdef double limit = <double>(<int64_t>1 << 62)
    if -limit < score < limit and <double><int64_t>score == score:
        pack_item_int(i, <int64_t>score)
        return
    memcpy(&bits, &score, 8)
    i.item.str = NULL
    i.item.len = 0
    i.head_len = 9
    i.head[0] = <char>PACK_DOUBLE
    cf_store64(&i.head[1], bits)

cdef inline uint8_t pack_tag(const lp_item_t* item) noexcept nogil:
    cdef hash_seed_t seed
    seed.a = <uint64_t>0xA0761D6478BD642F
    seed.b = <uint64_t>0xE7037ED1A0B428DB
    if item.str != NULL:
        return hash_bytes(item.str, item.len, &seed) >> 56
    return cf_mul128_fold(<uint64_t>item.num ^ seed.a, seed.b) >> 56

cdef inline double pack_score(const char* p) noexcept nogil:
    """The score whose code is at p."""
    cdef double score
    cdef uint64_t bits
    cdef lp_item_t item
    if <unsigned char>p[0] == PACK_DOUBLE:
        bits = cf_load64(p + 1)
        memcpy(&score, &bits, 8)
        return score
    lp_get(p, &item)
    return <double>item.num

# ---- reading -----------------------------------------------------------------------------------------

cdef inline uint32_t pack_len(const char* data) noexcept nogil:
    """Keys."""
    return cf_load16(data)

cdef inline int pack_kind(const char* data) noexcept nogil:
    return data[2] & PACK_KIND

cdef inline size_t pack_index_bytes(uint32_t count, int flags) noexcept nogil:
    if count < PACK_INDEX_MIN:
        return 0
    return count + <size_t>((count - 1) / PACK_GROUP) * (4 if flags & PACK_WIDE else 2)

cdef inline size_t pack_end(const char* data, size_t len) noexcept nogil:
    """Where the keys end."""
    return len - pack_index_bytes(pack_len(data), data[2])

cdef inline void pack_here(const char* data, size_t offset, uint32_t index, pack_at_t* at) noexcept nogil:
    at.at = offset
    at.index = index
    at.value = offset + lp_skip(data + offset)
    at.next = at.value
    if data[2] & PACK_KIND:
        at.next += lp_skip(data + at.value)

cdef inline bint pack_first(const char* data, pack_at_t* at) noexcept nogil:
    """False: there is none."""
    if pack_len(data) == 0:
        return False
    pack_here(data, PACK_HEADER, 0, at)
    return True

cdef inline bint pack_next(const char* data, pack_at_t* at) noexcept nogil:
    if at.index + 1 >= pack_len(data):
        return False
    pack_here(data, at.next, at.index + 1, at)
    return True

cdef void pack_init(char* data, int kind) noexcept nogil  # an empty one: PACK_HEADER bytes
cdef bint pack_find(const char* data, size_t len, const pack_item_t* key, pack_at_t* at) noexcept nogil
cdef void pack_seek(const char* data, size_t len, uint32_t index, pack_at_t* at) noexcept nogil
    # The key at a position below the count; O(PACK_GROUP). A random position makes it a random one.
cdef size_t pack_offset(const char* data, size_t len, uint32_t index) noexcept nogil  # its offset; count: the end
cdef size_t pack_longest(const char* data) noexcept nogil
    # Bytes of the longest element as text: fields, values and members, not scores. O(n).

cdef inline void pack_back_begin(pack_back_t* back, uint32_t index) noexcept nogil:
    """The key at `index` is the first to come."""
    back.left = index + 1
    back.group = 0xFFFFFFFF

cdef bint pack_back_next(const char* data, size_t len, pack_back_t* back, pack_at_t* at) noexcept nogil  # O(1), mean

# ---- changing ----------------------------------------------------------------------------------------

cdef size_t pack_plan_put(
    const char* data, size_t len, const pack_item_t* key, const pack_at_t* found, const pack_item_t* value,
    pack_edit_t* edit) noexcept nogil
    # Hashes and sets. `found`: what pack_find has found, whose value is replaced (hashes alone); NULL: it found
    # nothing, and the key is appended. `value` is NULL in a set. For sorted sets see pack_zset.pxd.
cdef size_t pack_plan_value(
    const char* data, size_t len, const pack_at_t* found, const pack_item_t* value, pack_edit_t* edit) noexcept nogil
    # Another value for a key; its order must remain.
cdef size_t pack_plan_insert(
    const char* data, size_t len, uint32_t index, size_t offset, const pack_item_t* key, const pack_item_t* value,
    pack_edit_t* edit) noexcept nogil
    # A new key in front of the one at this position and offset; count and pack_end: behind all.
cdef size_t pack_plan_move(
    const char* data, size_t len, const pack_at_t* found, uint32_t index, size_t offset, const pack_item_t* key,
    const pack_item_t* value, pack_edit_t* edit) noexcept nogil
    # A key goes and comes again in front of another position, with another value. Not in front of itself or its next.
cdef size_t pack_plan_remove(
    const char* data, size_t len, const pack_at_t* found, pack_edit_t* edit) noexcept nogil
cdef size_t pack_plan_remove_range(
    const char* data, size_t len, uint32_t index, uint32_t n, pack_edit_t* edit) noexcept nogil
    # n keys from a position on; they must exist.
cdef void pack_commit(char* data, const pack_edit_t* edit) noexcept nogil

# For pack_building and pack_checking.
cdef void pack_index_build(char* data, size_t len) noexcept nogil  # header and keys are there, the index is made
cdef size_t pack_index_offset(const char* data, size_t end, uint32_t group) noexcept nogil  # group > 0

cdef inline bint pack_equals(const char* p, const pack_item_t* key) noexcept nogil:
    """Is this the code at p? The first byte says that the others are there."""
    return (p[0] == key.head[0]
            and (key.head_len == 1 or cf_equal(p + 1, &key.head[1], (key.head_len - 1) & 15))
            and cf_equal(p + key.head_len, key.item.str, key.item.len))
