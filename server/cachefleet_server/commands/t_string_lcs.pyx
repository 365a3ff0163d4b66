"""LCS: the longest common subsequence of two strings.

Bit-parallel (Hyyrö's form of the recurrence). L(i, j) is the length for the first i bytes of a and j bytes of b. Along
a row it grows by 0 or 1 a step, so a row is a bit vector V, where bit j is clear when L(i, j + 1) = L(i, j) + 1:

    V(0) = all ones;   V(i) = (V + (V & M)) | (V & ~M)   with M = where a[i] occurs in b, + over the whole vector

64 cells a step. Walking back from the end needs only those bits: where a[i] != b[j], the walk goes up if bit j of
row i is clear, for then L(i - 1, j) > L(i, j - 1), else left.

Memory: one vector for each distinct byte of a, and one for each row, or one in all when only the length is asked for:
at most na * nb / 4 bytes, or 8 * na. The limit replied to clients is that of Valkey, whose table has 4 bytes a cell.
Time O(na * nb / 64). It holds the loop, as it does there.
"""

from libc.stdint cimport UINT32_MAX, uint64_t
from libc.string cimport memset

from cachefleet_server.commands.t_string cimport client_t, engine_t, entry_t, int64_t, string_text
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport OBJ_STRING, entry_type
from cachefleet_server.core.options cimport (
    OPT_IDX, OPT_LEN, OPT_WITHMATCHLEN, option_walk_t, options_begin, options_end, options_next)
from cachefleet_server.core.reply cimport (
    arg_int64, mark_t, reply_array, reply_bulk, reply_error, reply_insert, reply_int, reply_map, reply_mark,
    reply_text)
from cachefleet_server.ds.intrin cimport cf_popcount64
from cachefleet_server.ds.zmalloc cimport zfree, ztry_malloc
from cachefleet_server.keyspace.db cimport lookup_read

cdef struct lcs_t:
    const unsigned char* a
    const unsigned char* b
    size_t na
    size_t nb
    size_t words  # of a vector over b
    uint64_t* masks  # vectors of the distinct bytes of a; the start of the allocation
    uint64_t* rows  # vectors V(1) ... V(na), or only the newest
    bint keep_rows
    short mask_of[256]  # index of a byte's vector, -1 = not in a

cdef struct lcs_options_t:
    bint length
    bint indexes
    bint with_lengths
    int64_t min_length

# ---- computing -------------------------------------------------------------------------------------

cdef bint _allocate(client_t* c, lcs_t* t) noexcept nogil:
    cdef size_t i
    cdef size_t distinct = 0
    cdef size_t rows
    memset(t.mask_of, 0xFF, sizeof(t.mask_of))
    for i in range(t.na):
        if t.mask_of[t.a[i]] < 0:
            t.mask_of[t.a[i]] = <short>distinct
            distinct += 1
    t.words = t.nb // 64 + 1
    rows = t.na if t.keep_rows and t.na else 1  # V(0) needs a place even when a is empty
    t.masks = <uint64_t*>ztry_malloc(c.engine.heap, (distinct + rows) * t.words * sizeof(uint64_t))
    if t.masks == NULL:
        return False
    t.rows = t.masks + distinct * t.words
    memset(t.masks, 0, distinct * t.words * sizeof(uint64_t))
    for i in range(t.nb):
        if t.mask_of[t.b[i]] >= 0:
            t.masks[t.mask_of[t.b[i]] * t.words + i // 64] |= <uint64_t>1 << (i % 64)
    return True


cdef void _next_row(const uint64_t* row, const uint64_t* mask, uint64_t* out, size_t words) noexcept nogil:
    """The recurrence; row and out may be the same."""
    cdef uint64_t v, both, total, carried
    cdef uint64_t carry = 0
    cdef size_t w
    for w in range(words):
        v = row[w]
        both = v & mask[w]
        total = v + both
        carried = total + carry
        carry = (total < v) | (carried < total)
        out[w] = carried | (v ^ both)


cdef size_t _compute(lcs_t* t) noexcept nogil:
    """Fills the rows; returns the length."""
    cdef uint64_t* row = t.rows
    cdef uint64_t* out
    cdef size_t i, w
    cdef size_t length = 0
    memset(row, 0xFF, t.words * sizeof(uint64_t))
    for i in range(t.na):
        out = t.rows + i * t.words if t.keep_rows else t.rows
        _next_row(row, t.masks + t.mask_of[t.a[i]] * t.words, out, t.words)
        row = out
    for w in range(t.words):
        length += cf_popcount64(~row[w])
    return length


cdef inline bint _goes_up(const lcs_t* t, size_t i, size_t j) noexcept nogil:
    """Whether the walk back from (i, j), whose bytes differ, drops a byte of a."""
    return not (t.rows[(i - 1) * t.words + (j - 1) // 64] >> ((j - 1) % 64)) & 1

# ---- replying ----------------------------------------------------------------------------------------

cdef void _reply_text(client_t* c, const lcs_t* t, size_t length) noexcept nogil:
    cdef size_t i = t.na
    cdef size_t j = t.nb
    cdef size_t at = length
    cdef char* text = <char*>ztry_malloc(c.engine.heap, length + 1)
    if text == NULL:
        reply_error(c, b"ERR Insufficient memory, failed allocating transient memory for LCS")
        return
    while at:
        if t.a[i - 1] == t.b[j - 1]:
            i -= 1
            j -= 1
            at -= 1
            text[at] = t.a[i]
        elif _goes_up(t, i, j):
            i -= 1
        else:
            j -= 1
    reply_bulk(c, text, length)
    zfree(c.engine.heap, text)


cdef bint _reply_match(client_t* c, size_t i, size_t j, size_t n, const lcs_options_t* o) noexcept nogil:
    """A run of n equal bytes at a[i] and b[j]; false when it is too short to be reported."""
    if n == 0 or <int64_t>n < o.min_length:
        return False
    reply_array(c, 3 if o.with_lengths else 2)
    reply_array(c, 2)
    reply_int(c, i)
    reply_int(c, i + n - 1)
    reply_array(c, 2)
    reply_int(c, j)
    reply_int(c, j + n - 1)
    if o.with_lengths:
        reply_int(c, n)
    return True


cdef void _reply_matches(client_t* c, const lcs_t* t, size_t length, const lcs_options_t* o) noexcept nogil:
    """Runs of matching bytes, the last one first."""
    cdef size_t i = t.na
    cdef size_t j = t.nb
    cdef size_t run = 0
    cdef int64_t count = 0
    cdef mark_t mark
    reply_map(c, 2)
    reply_text(c, b"matches")
    mark = reply_mark(c)
    while i and j:
        if t.a[i - 1] == t.b[j - 1]:
            i -= 1
            j -= 1
            run += 1
            continue
        count += _reply_match(c, i, j, run, o)
        run = 0
        if _goes_up(t, i, j):
            i -= 1
        else:
            j -= 1
    count += _reply_match(c, i, j, run, o)
    reply_insert(c, mark, c'*', count)
    reply_text(c, b"len")
    reply_int(c, length)

# ---- command -----------------------------------------------------------------------------------------

cdef bint _take_options(client_t* c, lcs_options_t* o) noexcept nogil:
    cdef option_walk_t w
    o.length = o.indexes = o.with_lengths = False
    o.min_length = 0
    options_begin(&w, c, 3)
    while options_next(&w):
        if w.option == OPT_IDX:
            o.indexes = True
        elif w.option == OPT_LEN:
            o.length = True
        elif w.option == OPT_WITHMATCHLEN:
            o.with_lengths = True
        elif not arg_int64(c, w.value, &o.min_length):
            return False
    if not options_end(&w):
        return False
    if o.indexes and o.length:
        reply_error(c, b"ERR If you want both the length and indexes, please just use IDX.")
        return False
    return True


cdef bint _size_allowed(client_t* c, size_t na, size_t nb) noexcept nogil:
    if na >= UINT32_MAX - 1 or nb >= UINT32_MAX - 1:
        reply_error(c, b"ERR String too long for LCS")
        return False
    if (na + 1) > <size_t>c.engine.params.proto_max_bulk_len // 4 // (nb + 1):
        reply_error(c, b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
        return False
    return True


cdef void lcs_command(client_t* c) noexcept nogil:
    cdef entry_t* first = lookup_read(c, &c.argv[1])
    cdef entry_t* second = lookup_read(c, &c.argv[2])
    cdef char digits_a[24]
    cdef char digits_b[24]
    cdef const char* a = b""
    cdef const char* b = b""
    cdef lcs_options_t o
    cdef lcs_t t
    cdef size_t length
    if (first != NULL and entry_type(first) != OBJ_STRING) or (second != NULL and entry_type(second) != OBJ_STRING):
        reply_error(c, b"ERR The specified keys must contain string values")
        return
    t.na = string_text(first, digits_a, &a) if first != NULL else 0
    t.nb = string_text(second, digits_b, &b) if second != NULL else 0
    if not _take_options(c, &o) or not _size_allowed(c, t.na, t.nb):
        return
    t.a = <const unsigned char*>a
    t.b = <const unsigned char*>b
    t.keep_rows = not o.length
    if not _allocate(c, &t):
        reply_error(c, b"ERR Insufficient memory, failed allocating transient memory for LCS")
        return
    length = _compute(&t)
    if o.indexes:
        _reply_matches(c, &t, length, &o)
    elif o.length:
        reply_int(c, length)
    else:
        _reply_text(c, &t, length)
    zfree(c.engine.heap, t.masks)


cdef int register_string_lcs(engine_t* e) except -1:
    command_row(
        e, lcs_command, "lcs", -3, "readonly", "string", "1:2 RO access",
        "string 7.0.0 O(N*M) where N and M are the lengths of the two strings",
        "Finds the longest common subsequence of two strings.",
        "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]")
    return 0
