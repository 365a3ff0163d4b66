"""Elements of large hashes, sets and sorted sets: one allocation each, without a header.

    set   [len]bytes                     MEMBER_SET
    hash  [len]field[len]value           MEMBER_HASH
    zset  [score 8][len]bytes            MEMBER_ZSET
    with a time to live  [expiry 8] in front of any of them: form | MEMBER_TTL

A length takes 1 byte below 254, else 254 and a u32, from 4 GiB on 255 and a u64, always the shortest. Nothing in an
element says which form it has: the collection's type knows, and the slot of its table whether there is an expiry (the
low two bits of an address are zero, so the slot can say it there). So an expiry costs nothing where there is none. A
zset element with an expiry is at `address + 8` what one without is at its address: the ordered index (btree.pxd)
needs no case for it.

Which allocator an element is from follows from its size: slabs up to SLAB_MAX bytes, malloc beyond. So the size must
not cross that border in place; member_set_value sees to it. member_free works on any thread with that thread's heap.

A value that is shared with replies and snapshots (a blob) or that is counted (an int64) will be a form of its own.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cachefleet_server.ds.intrin cimport cf_likely, cf_load32, cf_load64, cf_store32, cf_store64
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:  # forms
    MEMBER_SET = 0
    MEMBER_HASH = 1
    MEMBER_ZSET = 2
    MEMBER_TTL = 4  # a flag

    LENGTH_U32 = 254  # first bytes of a length that needs more
    LENGTH_U64 = 255

cdef void* member_new(heap_t* h, int form, const char* key, size_t n, const char* value, size_t value_n) noexcept nogil
    # Score and expiry are the caller's to set. The value counts only for MEMBER_HASH.
cdef void* member_dup(heap_t* h, const void* p, int form) noexcept nogil  # with score and expiry
cdef void member_free(heap_t* h, void* p, int form) noexcept nogil  # on any thread, with that thread's heap
cdef void* member_set_value(heap_t* h, void* p, int form, const char* value, size_t n) noexcept nogil
    # Of MEMBER_HASH. At the same address where the value fits without waste; else another element, and p is freed.
    # The value must not lie in p.
cdef void* member_set_form(heap_t* h, void* p, int form, int new_form) noexcept nogil
    # The element with an expiry, which the caller sets, or without its own: always another one, p is freed.
cdef size_t member_memory(const void* p, int form) noexcept nogil  # bytes, as the allocator rounds them

# Lengths.
cdef inline size_t length_size(size_t n) noexcept nogil:
    return 1 if n < LENGTH_U32 else 5 if n <= <size_t>0xFFFFFFFF else 9

cdef inline const char* length_read(const char* p, size_t* n) noexcept nogil:
    """The bytes behind the length at p."""
    cdef uint8_t first = <uint8_t>p[0]
    if cf_likely(first < LENGTH_U32):
        n[0] = first
        return p + 1
    if first == LENGTH_U32:
        n[0] = cf_load32(p + 1)
        return p + 5
    n[0] = cf_load64(p + 1)
    return p + 9

cdef inline char* length_write(char* p, size_t n) noexcept nogil:
    """Where the bytes go."""
    if cf_likely(n < LENGTH_U32):
        p[0] = <char>n
        return p + 1
    if n <= <size_t>0xFFFFFFFF:
        p[0] = <char>LENGTH_U32
        cf_store32(p + 1, n)
        return p + 5
    p[0] = <char>LENGTH_U64
    cf_store64(p + 1, n)
    return p + 9

# Parts. `form` is usually a constant, and the conditions are gone then.
cdef inline size_t member_words(int form) noexcept nogil:
    """Bytes before the first length."""
    return (8 if form & MEMBER_TTL else 0) + (8 if form & MEMBER_ZSET else 0)

cdef inline const char* member_key(const void* p, int form, size_t* n) noexcept nogil:
    """The member, or the field of a hash."""
    return length_read(<const char*>p + member_words(form), n)

cdef inline const char* member_value(const void* p, int form, size_t* n) noexcept nogil:
    """Of MEMBER_HASH."""
    cdef const char* key = member_key(p, form, n)
    return length_read(key + n[0], n)

cdef inline size_t member_size(const void* p, int form) noexcept nogil:
    """Bytes that the element needs."""
    cdef size_t n
    cdef const char* end = member_key(p, form, &n) + n
    if form & MEMBER_HASH:
        end = length_read(end, &n) + n
    return end - <const char*>p

cdef inline size_t member_size_of(int form, size_t n, size_t value_n) noexcept nogil:
    """The same of one that is to be made."""
    cdef size_t size = member_words(form) + length_size(n) + n
    return size + length_size(value_n) + value_n if form & MEMBER_HASH else size

cdef inline int64_t member_expiry(const void* p) noexcept nogil:
    """Of MEMBER_TTL; ms."""
    return <int64_t>cf_load64(p)

cdef inline void member_set_expiry(void* p, int64_t at_ms) noexcept nogil:
    cf_store64(p, <uint64_t>at_ms)

cdef inline double member_score(const void* p, int form) noexcept nogil:
    """Of MEMBER_ZSET."""
    cdef uint64_t bits = cf_load64(<const char*>p + (8 if form & MEMBER_TTL else 0))
    return (<double*>&bits)[0]

cdef inline void member_set_score(void* p, int form, double score) noexcept nogil:
    """While an ordered index holds the element, only the index may (bt_rescore)."""
    cf_store64(<char*>p + (8 if form & MEMBER_TTL else 0), (<uint64_t*>&score)[0])
