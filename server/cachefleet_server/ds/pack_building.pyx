"""Packs made at once; see pack_building.pxd."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_reserve
from cachefleet_server.ds.intrin cimport cf_store16
from cachefleet_server.ds.listpack cimport (
    LP_HEADER, lp_add, lp_add_code, lp_begin, lp_finish, lp_get, lp_item, lp_next, lp_skip, lp_text,
    lp_validate, lp_writer_t)
from cachefleet_server.ds.number cimport DOUBLE_CHARS_MAX, INT64_CHARS_MAX, chars_to_double, double_to_chars
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.pack cimport (
    PACK_BYTES_MAX, PACK_DOUBLE, PACK_HEADER, PACK_INDEX_MIN, PACK_KEYS_MAX, PACK_NARROW_MAX, PACK_SET, PACK_WIDE,
    PACK_ZSET, pack_end, pack_index_build, pack_index_bytes, pack_init, pack_item_head, pack_item_score, pack_item_t,
    pack_kind, pack_len, pack_score)
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef struct _ranked_t:
    double score
    const char* code


cdef void pack_build_begin(pack_builder_t* b, buf_t* out, int kind) noexcept nogil:
    b.out = out
    b.start = out.len
    b.count = 0
    b.last = 0
    b.disorder = False
    pack_init(buf_reserve(out, PACK_HEADER), kind)
    out.len += PACK_HEADER


cdef void _add_code(pack_builder_t* b, const pack_item_t* item) noexcept nogil:
    buf_put(b.out, &item.head[0], item.head_len)
    buf_put(b.out, item.item.str, item.item.len)


cdef void _add(pack_builder_t* b, const lp_item_t* item) noexcept nogil:
    cdef pack_item_t code
    code.item = item[0]
    if item.str != NULL:
        lp_item(item.str, item.len, &code.item)
    pack_item_head(&code)
    _add_code(b, &code)


cdef void pack_build_add(pack_builder_t* b, const lp_item_t* key, const lp_item_t* value) noexcept nogil:
    b.count += 1
    _add(b, key)
    if value != NULL:
        _add(b, value)


cdef int _order(const char* a, double a_score, const char* b, double b_score) noexcept nogil:
    """Of two members, whose codes these are."""
    cdef char a_text[INT64_CHARS_MAX]
    cdef char b_text[INT64_CHARS_MAX]
    cdef lp_item_t a_item, b_item
    cdef const char* p
    cdef const char* q
    cdef size_t p_len, q_len
    if a_score != b_score:
        return -1 if a_score < b_score else 1
    lp_get(a, &a_item)
    lp_get(b, &b_item)
    p = lp_text(&a_item, a_text, &p_len)
    q = lp_text(&b_item, b_text, &q_len)
    return bytes_order(p, p_len, q, q_len)


cdef void pack_build_add_score(pack_builder_t* b, const lp_item_t* member, double score) noexcept nogil:
    cdef size_t at = b.out.len - b.start
    cdef pack_item_t code
    cdef const char* data
    cdef const char* last
    b.count += 1
    _add(b, member)
    pack_item_score(&code, score)
    _add_code(b, &code)
    data = b.out.data + b.start
    if b.last and not b.disorder:
        last = data + b.last
        b.disorder = _order(last, pack_score(last + lp_skip(last)), data + at, score) > 0
    b.last = at


# ---- the end -----------------------------------------------------------------------------------------

cdef int _compare_codes(const void* a, const void* b) noexcept nogil:
    cdef const char* p = (<const char**>a)[0]
    cdef const char* q = (<const char**>b)[0]
    return bytes_order(p, lp_skip(p), q, lp_skip(q))


cdef bint _has_duplicate(pack_builder_t* b, bint pairs) noexcept nogil:
    """Few are compared each with each, since sorting so few costs more."""
    cdef const char* few[PACK_INDEX_MIN]
    cdef const char** keys = few
    cdef const char* p = b.out.data + b.start + PACK_HEADER
    cdef bint found = False
    cdef size_t i, j, size
    if b.count >= PACK_INDEX_MIN:
        keys = <const char**>zmalloc(b.out.heap, b.count * sizeof(char*))
    for i in range(b.count):
        keys[i] = p
        size = lp_skip(p)
        p += size
        if pairs:
            p += lp_skip(p)
        if b.count < PACK_INDEX_MIN:
            for j in range(i):
                if lp_skip(keys[j]) == size and memcmp(keys[j], keys[i], size) == 0:
                    return True
    if b.count >= PACK_INDEX_MIN:
        qsort(keys, b.count, sizeof(char*), _compare_codes)
        for i in range(1, b.count):
            if _compare_codes(&keys[i - 1], &keys[i]) == 0:
                found = True
                break
        zfree(b.out.heap, keys)
    return found


cdef int _compare_ranked(const void* a, const void* b) noexcept nogil:
    cdef const _ranked_t* x = <const _ranked_t*>a
    cdef const _ranked_t* y = <const _ranked_t*>b
    return _order(x.code, x.score, y.code, y.score)


cdef void _sort(pack_builder_t* b) noexcept nogil:
    cdef buf_t sorted
    cdef _ranked_t* all = <_ranked_t*>zmalloc(b.out.heap, b.count * sizeof(_ranked_t))
    cdef char* data = b.out.data + b.start + PACK_HEADER
    cdef const char* p = data
    cdef size_t i, n
    for i in range(b.count):
        all[i].code = p
        p += lp_skip(p)
        all[i].score = pack_score(p)
        p += lp_skip(p)
    qsort(all, b.count, sizeof(_ranked_t), _compare_ranked)
    buf_init(&sorted, b.out.heap)
    buf_reserve(&sorted, b.out.len - b.start - PACK_HEADER)
    for i in range(b.count):
        p = all[i].code
        n = lp_skip(p)
        buf_put(&sorted, p, n + lp_skip(p + n))
    memcpy(data, sorted.data, sorted.len)
    buf_free(&sorted)
    zfree(b.out.heap, all)


cdef int _refuse(pack_builder_t* b, int why) noexcept nogil:
    b.out.len = b.start
    return why


cdef int pack_build_end(pack_builder_t* b) noexcept nogil:
    cdef size_t end = b.out.len - b.start
    cdef char* data = b.out.data + b.start
    cdef int kind = pack_kind(data)
    cdef size_t index
    if b.count > PACK_KEYS_MAX or end > PACK_BYTES_MAX:
        return _refuse(b, PACK_TOO_LARGE)
    cf_store16(data, <uint32_t>b.count)
    if b.count >= PACK_INDEX_MIN and end > PACK_NARROW_MAX:
        data[2] = data[2] | PACK_WIDE
    index = pack_index_bytes(<uint32_t>b.count, data[2])
    if end + index > PACK_BYTES_MAX:
        return _refuse(b, PACK_TOO_LARGE)
    if _has_duplicate(b, kind != PACK_SET):
        return _refuse(b, PACK_DUPLICATE)
    if b.disorder:
        _sort(b)
    buf_reserve(b.out, index)
    b.out.len += index
    pack_index_build(b.out.data + b.start, end + index)
    return PACK_OK


# ---- listpacks ---------------------------------------------------------------------------------------

cdef bint pack_read_score(const lp_item_t* item, double* out) noexcept nogil:
    if item.str == NULL:
        out[0] = <double>item.num
        return True
    return chars_to_double(item.str, item.len, out)


cdef int pack_from_listpack(const char* p, size_t n, int kind, buf_t* out) noexcept nogil:
    cdef pack_builder_t b
    cdef lp_item_t key, value
    cdef size_t at = LP_HEADER
    cdef double score
    cdef size_t count
    if not lp_validate(p, n, &count) or (kind != PACK_SET and count & 1):
        return PACK_MALFORMED
    if (count if kind == PACK_SET else count / 2) > PACK_KEYS_MAX:
        return PACK_TOO_LARGE
    pack_build_begin(&b, out, kind)
    while lp_next(p, &at, &key):
        if kind == PACK_SET:
            pack_build_add(&b, &key, NULL)
            continue
        lp_next(p, &at, &value)
        if kind != PACK_ZSET:
            pack_build_add(&b, &key, &value)
        elif pack_read_score(&value, &score):
            pack_build_add_score(&b, &key, score)
        else:
            return _refuse(&b, PACK_MALFORMED)
    return pack_build_end(&b)


cdef bint pack_to_listpack(const char* data, size_t len, buf_t* out) noexcept nogil:
    cdef const char* p = data + PACK_HEADER
    cdef const char* end = data + pack_end(data, len)
    cdef char text[DOUBLE_CHARS_MAX]
    cdef lp_writer_t w
    cdef size_t n
    buf_reserve(out, len + pack_len(data) * <size_t>4)
    lp_begin(&w, out)
    while p < end:
        n = lp_skip(p)
        if <unsigned char>p[0] == PACK_DOUBLE:
            lp_add(&w, text, double_to_chars(text, pack_score(p)))
        else:
            lp_add_code(&w, p, n)
        p += n
    return lp_finish(&w)
