"""Lists in both forms; see list_value.pxd."""

from libc.stdint cimport uint32_t
from libc.string cimport memmove

from cachefleet_server.core.entry cimport (
    ENC_LISTPACK, ENC_QUICKLIST, ENTRY_EMBED_MAX, OBJ_LIST, entry_encoding, entry_has_room, entry_key,
    entry_new_embedded, entry_new_pointer, entry_pointer_to_tail, entry_resize_tail, entry_set_encoding, entry_tail,
    entry_tail_to_pointer)
from cachefleet_server.ds.intrin cimport cf_store16, cf_store32
from cachefleet_server.ds.listblock cimport LB_PLAIN, lb_save, lb_saved_size
from cachefleet_server.ds.listpack cimport (
    LP_EMPTY, LP_END, LP_HEADER, lp_end, lp_entry_check, lp_entry_is_odd, lp_entry_put, lp_entry_size, lp_equal,
    lp_item, lp_next, lp_prev, lp_seek, lp_text, lp_validate)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.seq_checking cimport seq_check
from cachefleet_server.ds.seq_reading cimport seq_done, seq_find, seq_next, seq_seek
from cachefleet_server.ds.sequence cimport (
    seq_append_listpack, seq_blocks, seq_bytes, seq_insert, seq_new, seq_own, seq_pop, seq_push, seq_release,
    seq_remove, seq_set)

cdef enum:
    FILL_MIN = -5
    NODE_BYTES = 4096  # the limit of -1; twice that for -2 ...
    COUNTED_BYTES = 8192  # what a listpack may grow to when elements are counted

# ---- the name --------------------------------------------------------------------------------------

cdef bint _is_within(const engine_t* e, size_t bytes, size_t count, int divisor) noexcept nogil:
    """Is a listpack of this size within the limit, or its half?"""
    cdef int64_t fill = e.params.list_max_listpack_size
    if fill < 0:
        return bytes <= <size_t>(NODE_BYTES << (-max(fill, <int64_t>FILL_MIN) - 1)) // divisor
    return count <= <size_t>max(fill, <int64_t>1) // divisor


cdef bint _may_grow_to(const engine_t* e, size_t bytes, size_t count) noexcept nogil:
    return _is_within(e, bytes, count, 1) and (e.params.list_max_listpack_size < 0 or bytes <= COUNTED_BYTES)


cdef bint _is_one_node(const seq_t* s) noexcept nogil:
    """As in Valkey, where elements are counted: there a text of up to 8 KB is packed, though its entry is longer."""
    return seq_blocks(s) == 1 and (not s.head.form & LB_PLAIN or (s.fill >= 0 and s.head.bytes <= COUNTED_BYTES))


cdef seq_t* _new_sequence(engine_t* e) noexcept nogil:
    return seq_new(e.heap, <int>e.params.list_max_listpack_size, <int>e.params.list_compress_depth)

# ---- from one form to the other --------------------------------------------------------------------

cdef entry_t* _to_sequence(engine_t* e, entry_t* entry) noexcept nogil:
    cdef seq_t* s = _new_sequence(e)
    seq_append_listpack(e.heap, s, list_listpack(entry), entry.vlen)
    return entry_tail_to_pointer(e.heap, entry, s)


cdef entry_t* _to_listpack(engine_t* e, entry_t* entry) noexcept nogil:
    """A sequence of one node that fits the entry."""
    cdef seq_t* s = list_sequence(entry)
    entry = entry_pointer_to_tail(e.heap, entry, NULL, lb_saved_size(s.head))
    lb_save(s.head, entry_tail(entry))
    seq_release(e.heap, s)
    return entry


cdef void _renew(engine_t* e, entry_t* entry) noexcept nogil:
    """The sequence of what becomes a quicklist now: of the parameters as they are."""
    cdef seq_t* old = list_sequence(entry)
    cdef seq_t* s
    cdef seq_iter_t it
    cdef lp_item_t item
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    if old.fill == max(e.params.list_max_listpack_size, <int64_t>FILL_MIN) and (
            old.depth == e.params.list_compress_depth):
        return
    s = _new_sequence(e)
    seq_seek(&it, e.heap, old, 0, False)
    while seq_next(&it, &item):
        p = lp_text(&item, &digits[0], &n)
        seq_push(e.heap, s, False, p, n)
    seq_done(&it)
    entry_payload(entry)[0] = s
    seq_release(e.heap, old)


cdef entry_t* list_prepare(engine_t* e, entry_t* entry, size_t bytes, size_t count) noexcept nogil:
    cdef bint small = entry.flags & E_EMBED
    cdef size_t now
    if entry_encoding(entry) == ENC_QUICKLIST:
        return entry
    now = entry.vlen if small else seq_bytes(list_sequence(entry)) + LP_EMPTY
    if not _may_grow_to(e, now + bytes, list_len(entry) + count):
        if small:
            entry = _to_sequence(e, entry)
        else:
            _renew(e, entry)
        entry_set_encoding(entry, ENC_QUICKLIST)
    elif small and not entry_has_room(entry, now + bytes // 2):  # digits take at least half of it
        entry = _to_sequence(e, entry)
    return entry


cdef entry_t* list_settle(engine_t* e, entry_t* entry) noexcept nogil:
    cdef const seq_t* s
    cdef size_t bytes, nk
    if entry.flags & E_EMBED:
        return entry
    s = list_sequence(entry)
    if not _is_one_node(s):
        return entry
    bytes = lb_saved_size(s.head)
    if entry_encoding(entry) == ENC_QUICKLIST:
        if not _is_within(e, bytes, seq_len(s), 2):
            return entry
        entry_set_encoding(entry, ENC_LISTPACK)
    entry_key(entry, &nk)
    return _to_listpack(e, entry) if nk + bytes <= ENTRY_EMBED_MAX // 2 else entry


cdef entry_t* list_new(engine_t* e, const char* key, size_t nk) noexcept nogil:
    cdef char empty[LP_EMPTY]
    cf_store32(empty, LP_EMPTY)
    cf_store16(empty + 4, 0)
    empty[LP_HEADER] = <char>LP_END
    return entry_new_embedded(e.heap, key, nk, OBJ_LIST, ENC_LISTPACK, empty, LP_EMPTY, -1)


cdef entry_t* list_of_sequence(
    engine_t* e, const char* key, size_t nk, seq_t* s, size_t listpack, int64_t expire_ms
) noexcept nogil:
    cdef entry_t* entry = entry_new_pointer(e.heap, key, nk, OBJ_LIST, ENC_QUICKLIST, s, expire_ms)
    if listpack == 0 or not _is_within(e, listpack, seq_len(s), 1):
        return entry
    entry_set_encoding(entry, ENC_LISTPACK)
    return _to_listpack(e, entry) if seq_blocks(s) == 1 and entry_has_room(entry, listpack) else entry


cdef size_t list_listpack_bytes(const seq_t* s) noexcept nogil:
    return lb_saved_size(s.head) if _is_one_node(s) else 0

# ---- changes ---------------------------------------------------------------------------------------

cdef entry_t* _splice(
    engine_t* e, entry_t* entry, size_t at, size_t cut, const lp_item_t* put, int count
) noexcept nogil:
    """In a listpack: `cut` bytes go, an element may come, and then there are `count` elements more."""
    cdef size_t more = lp_entry_size(put) if put != NULL else 0
    cdef size_t behind = entry.vlen - at - cut
    cdef size_t n = entry.vlen - cut + more
    cdef char* p
    if more > cut:
        entry = entry_resize_tail(e.heap, entry, n)
    p = entry_tail(entry)
    memmove(p + at + more, p + at + cut, behind)
    if put != NULL:
        lp_entry_put(p + at, put)
    cf_store32(p, <uint32_t>n)
    cf_store16(p + 4, <uint32_t>(cf_load16(p + 4) + count))
    return entry_resize_tail(e.heap, entry, n)


cdef bint _fits(const entry_t* entry, size_t cut, const lp_item_t* put) noexcept nogil:
    return entry.flags & E_EMBED and entry_has_room(entry, entry.vlen - cut + lp_entry_size(put))


cdef seq_t* _own(engine_t* e, entry_t** entry) noexcept nogil:
    """The sequence to write to, of any list."""
    cdef seq_t* s
    if entry[0].flags & E_EMBED:
        entry[0] = _to_sequence(e, entry[0])
    s = seq_own(e.heap, list_sequence(entry[0]))
    entry_payload(entry[0])[0] = s
    return s


cdef inline size_t _offset(const entry_t* entry, size_t i) noexcept nogil:
    """Of element i in the listpack; i == len: where the next one would be."""
    cdef const char* p = list_listpack(entry)
    cdef size_t n = list_len(entry)
    if i == n:
        return entry.vlen - 1
    return lp_seek(p, <int64_t>i if i < n // 2 else <int64_t>i - <int64_t>n)


cdef entry_t* list_push(engine_t* e, entry_t* entry, bint front, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t item
    if entry.flags & E_EMBED:
        lp_item(p, n, &item)
        if _fits(entry, 0, &item):
            return _splice(e, entry, LP_HEADER if front else entry.vlen - 1, 0, &item, 1)
    seq_push(e.heap, _own(e, &entry), front, p, n)
    return entry


cdef entry_t* list_insert(
    engine_t* e, entry_t* entry, size_t pivot, bint after, const char* p, size_t n
) noexcept nogil:
    cdef lp_item_t item
    cdef size_t i = pivot + after
    lp_item(p, n, &item)
    if _fits(entry, 0, &item):
        return _splice(e, entry, _offset(entry, i), 0, &item, 1)
    seq_insert(e.heap, _own(e, &entry), i, after, p, n)
    return entry


cdef entry_t* list_set(engine_t* e, entry_t* entry, size_t i, const char* p, size_t n) noexcept nogil:
    cdef lp_item_t item
    cdef size_t at, cut
    if entry.flags & E_EMBED:
        lp_item(p, n, &item)
        at = _offset(entry, i)
        cut = _offset(entry, i + 1) - at
        if _fits(entry, cut, &item):
            return _splice(e, entry, at, cut, &item, 0)
    seq_set(e.heap, _own(e, &entry), i, p, n)
    return entry


cdef entry_t* list_remove(engine_t* e, entry_t* entry, size_t a, size_t b) noexcept nogil:
    cdef seq_t* s
    cdef size_t at
    if a >= b:
        return entry
    if entry.flags & E_EMBED:
        at = _offset(entry, a)
        return _splice(e, entry, at, _offset(entry, b) - at, NULL, -<int>(b - a))
    s = _own(e, &entry)
    if b - a == 1 and (a == 0 or b == seq_len(s)):
        seq_pop(e.heap, s, a == 0)
    else:
        seq_remove(e.heap, s, a, b)
    return entry

# ---- reading ---------------------------------------------------------------------------------------

cdef void list_seek(list_iter_t* it, heap_t* h, const entry_t* entry, size_t i, bint back) noexcept nogil:
    it.back = back
    if not entry.flags & E_EMBED:
        it.listpack = NULL
        seq_seek(&it.seq, h, list_sequence(entry), i, back)
        return
    it.listpack = list_listpack(entry)
    if i >= list_len(entry):
        it.at = LP_HEADER if back else lp_end(it.listpack)
    else:
        it.at = _offset(entry, i + back)


cdef bint list_next(list_iter_t* it, lp_item_t* out) noexcept nogil:
    if it.listpack == NULL:
        return seq_next(&it.seq, out)
    if it.back:
        return lp_prev(it.listpack, &it.at, out)
    return lp_next(it.listpack, &it.at, out)


cdef bint list_find(list_iter_t* it, const lp_item_t* wanted, size_t most, size_t* passed) noexcept nogil:
    cdef lp_item_t item
    if it.listpack == NULL:
        return seq_find(&it.seq, wanted, most, passed)
    passed[0] = 0
    while passed[0] < most and list_next(it, &item):
        if lp_equal(&item, wanted):
            return True
        passed[0] += 1
    return False


cdef void list_done(list_iter_t* it) noexcept nogil:
    if it.listpack == NULL:
        seq_done(&it.seq)

# ---- check -----------------------------------------------------------------------------------------

cdef int list_check(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef const char* p
    cdef size_t at = LP_HEADER
    cdef size_t n, size
    cdef int wrong
    if entry_encoding(entry) != ENC_LISTPACK and (entry.flags & E_EMBED or entry_encoding(entry) != ENC_QUICKLIST):
        return 1
    if not entry.flags & E_EMBED:
        wrong = seq_check(e.heap, list_sequence(entry))
        if wrong:
            return 10 + wrong
        return 2 if seq_len(list_sequence(entry)) == 0 else 0
    p = entry_bytes(entry, &n)
    if not lp_validate(p, n, &size):
        return 3
    if size == 0:
        return 2
    while at < n - 1:
        size = lp_entry_check(p + at, p + n - 1)
        if lp_entry_is_odd(p + at, size):
            return 4
        at += size
    return 0
