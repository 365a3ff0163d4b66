"""Fuzzing of all that decodes untrusted bytes, by a native loop; not part of wheels.

    fuzz = Fuzz(engine, "listpack", corpus, shown)
    accepted = fuzz.run(seed, first, count)        inputs first ... first + count - 1 of that seed

Its number and the seed alone decide an input (_testing_inputs.pxd), so sessions go on where others ended, and one input
can be made again. It is handed over in memory of exactly its length, where the address sanitizer sees a byte too many,
and lies in `shown`, a writable buffer (length as 4 bytes, then the bytes), which may be a file's and then survives an
abort.

A target decodes it: REFUSED, or ACCEPTED and then walked, checked, written and read again; a number below zero is what
is wrong. No target may leave memory behind.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from cachefleet_server.core.digest cimport DIGEST_BYTES, entry_digest
from cachefleet_server.core.engine cimport rdb_in_t, rdb_out_t
from cachefleet_server.core.entry cimport entry_check, entry_t
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_VERSION_OWN, RDB_VERSION_REDIS_MAX, RDB_VERSION_VALKEY, rdb_dialect_of, rdb_get_byte,
    rdb_get_entry, rdb_in_init, rdb_out_free, rdb_out_init, rdb_put_length, rdb_put_value)
from cachefleet_server.core.types cimport entry_ops
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.geohash cimport (
    GEO_BOX, GEO_CIRCLE, GEO_TEXT_CHARS, geo_bits, geo_decode, geo_distance, geo_encode, geo_point_t, geo_search,
    geo_search_t, geo_shape_t, geo_text, geo_valid, geo_within)
from cachefleet_server.ds.hyperloglog cimport (
    HLL_DENSE_BYTES, HLL_RANK_MAX, HLL_REGISTERS, HLL_WORK_BYTES, HLL_CHANGE, HLL_CORRUPT, hll_absorb, hll_check,
    hll_commit, hll_count, hll_is, hll_merge_dense, hll_merge_raw, hll_plan, hll_plan_t, hll_to_dense)
from cachefleet_server.ds.intrin cimport cf_load16, cf_load64, cf_store16, cf_store32
from cachefleet_server.ds.intset cimport (
    INTSET_HEADER, intset_at, intset_check, intset_count, intset_find, intset_validate)
from cachefleet_server.ds.listpack cimport (
    LP_EMPTY, LP_END, LP_HEADER, lp_begin, lp_end, lp_finish, lp_item_t, lp_add_int, lp_add_str, lp_len, lp_next,
    lp_prev, lp_seek, lp_validate, lp_writer_t)
from cachefleet_server.ds.lzf cimport lzf_decompress
from cachefleet_server.ds.pack cimport PACK_SET, PACK_ZSET, pack_at_t, pack_first, pack_len, pack_next
from cachefleet_server.ds.pack_building cimport PACK_OK, pack_from_listpack, pack_to_listpack
from cachefleet_server.ds.pack_checking cimport pack_check
from cachefleet_server.ds.seq_checking cimport seq_check
from cachefleet_server.ds.seq_reading cimport seq_done, seq_iter_t, seq_next, seq_seek
from cachefleet_server.ds.sequence cimport seq_append_listpack, seq_len, seq_new, seq_release, seq_t
from cachefleet_server.ds.ziplist cimport (
    ZIPLIST_HEADER, ZIPMAP_HEADER, ziplist_next, ziplist_validate, zipmap_next, zipmap_validate)
from cachefleet_server.ds.zmalloc cimport heap_used
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.lazyfree cimport entry_free
from cachefleet_server.persistence._testing_inputs cimport (
    INPUT_MAX, bytes_t, fix_fn, fuzz_t, input_below, input_draw, input_given)

cdef enum:
    REFUSED = 0
    ACCEPTED = 1
    LEAK = -1  # what every target may return ...
    WALK = -2  # ... the iterators find other elements than were counted
    BACK = -3  # ... or other ones backwards
    AGAIN = -4  # what was read is not read again from what is written of it
    SILENT = -5  # refused without a reason
    BROKEN = -100  # less the number of the invariant

ctypedef int (*target_fn)(fuzz_t* f, const char* p, size_t n) noexcept nogil

# ---- what containers say of themselves ---------------------------------------------------------------

cdef void _fix_listpack(char* p, size_t n) noexcept nogil:
    if n >= LP_EMPTY:
        cf_store32(p, <uint32_t>n)
        cf_store16(p + 4, 65535)
        p[n - 1] = <char>LP_END


cdef void _fix_ziplist(char* p, size_t n) noexcept nogil:
    if n > ZIPLIST_HEADER:
        cf_store32(p, <uint32_t>n)
        p[n - 1] = <char>0xFF


cdef void _fix_zipmap(char* p, size_t n) noexcept nogil:
    p[0] = <char>254
    p[n - 1] = <char>0xFF


cdef void _fix_intset(char* p, size_t n) noexcept nogil:
    cdef uint32_t width = <uint8_t>p[0]
    if n > INTSET_HEADER and width in (2, 4, 8):
        cf_store32(p, width)
        cf_store32(p + 4, <uint32_t>((n - INTSET_HEADER) / width))


cdef void _fix_packed(char* p, size_t n) noexcept nogil:
    """A type byte, and what it needs."""
    cdef int byte = <uint8_t>p[0]
    if byte == 9:
        _fix_zipmap(p + 1, n - 1)
    elif byte == 11:
        _fix_intset(p + 1, n - 1)
    elif byte in (10, 12, 13, 14):
        _fix_ziplist(p + 1, n - 1)
    else:
        _fix_listpack(p + 1, n - 1)

# ---- packed forms ----------------------------------------------------------------------------------

cdef int _again(const char* p, size_t count, buf_t* out) noexcept nogil:
    """The same elements in a new listpack."""
    cdef lp_writer_t w
    cdef lp_item_t item
    cdef size_t at = LP_HEADER
    cdef size_t n
    lp_begin(&w, out)
    while lp_next(p, &at, &item):
        if item.str == NULL:
            lp_add_int(&w, item.num)
        else:
            lp_add_str(&w, item.str, item.len)
    if not lp_finish(&w) or not lp_validate(out.data, out.len, &n) or n != count:
        return AGAIN
    return ACCEPTED


cdef int _listpack(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    cdef size_t count = 0
    cdef size_t back = 0
    cdef size_t at = LP_HEADER
    cdef size_t out
    cdef lp_item_t item
    cdef buf_t buf
    cdef int result
    if not lp_validate(p, n, &out):
        return REFUSED
    while lp_next(p, &at, &item):
        count += 1
    if count != out or count != lp_len(p):
        return WALK
    at = lp_end(p)
    while lp_prev(p, &at, &item):
        back += 1
    if back != count or count and (lp_seek(p, <int64_t>count - 1) != lp_seek(p, -1) or lp_seek(p, count)):
        return BACK
    buf_init(&buf, f.e.heap)
    result = _again(p, count, &buf)
    buf_free(&buf)
    return result


cdef int _ziplist(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    cdef size_t at = ZIPLIST_HEADER
    cdef size_t count = 0
    cdef size_t out
    cdef lp_item_t item
    if not ziplist_validate(p, n, &out):
        return REFUSED
    while ziplist_next(p, &at, &item):
        count += 1
    return ACCEPTED if count == out else WALK


cdef int _zipmap(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    cdef size_t at = ZIPMAP_HEADER
    cdef size_t count = 0
    cdef size_t out
    cdef lp_item_t field, value
    if not zipmap_validate(p, n, &out):
        return REFUSED
    while zipmap_next(p, &at, &field, &value):
        count += 1
    return ACCEPTED if count == out else WALK


cdef int _intset(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    cdef size_t fault
    cdef uint32_t i, at
    cdef int wrong
    if not intset_validate(p, n, &fault):
        return REFUSED if fault <= n else WALK
    wrong = intset_check(p, n)
    if wrong:
        return BROKEN - wrong
    for i in range(intset_count(p)):
        if not intset_find(p, intset_at(p, i), &at) or at != i:
            return WALK
    return ACCEPTED


cdef int _pack_of(fuzz_t* f, const char* p, size_t n, int kind) noexcept nogil:
    cdef buf_t pack, listpack, other
    cdef pack_at_t at
    cdef size_t count = 0
    cdef int result = REFUSED
    cdef bint more
    buf_init(&pack, f.e.heap)
    buf_init(&listpack, f.e.heap)
    buf_init(&other, f.e.heap)
    if pack_from_listpack(p, n, kind, &pack) == PACK_OK:
        result = ACCEPTED
        more = pack_first(pack.data, &at)
        while more:
            count += 1
            more = pack_next(pack.data, &at)
        if pack_check(pack.data, pack.len):
            result = BROKEN - pack_check(pack.data, pack.len)
        elif count != pack_len(pack.data):
            result = WALK
        elif (not pack_to_listpack(pack.data, pack.len, &listpack)
                or pack_from_listpack(listpack.data, listpack.len, kind, &other) != PACK_OK
                or other.len != pack.len or memcmp(other.data, pack.data, pack.len) != 0):
            result = AGAIN
    buf_free(&pack)
    buf_free(&listpack)
    buf_free(&other)
    return result


cdef int _pack(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    """As each of the three kinds; and the same bytes, looked at as a pack themselves."""
    cdef int kind, result
    cdef int best = REFUSED
    pack_check(p, n)
    for kind in range(PACK_SET, PACK_ZSET + 1):
        result = _pack_of(f, p, n, kind)
        if result < 0:
            return result
        best = max(best, result)
    return best


cdef int _sequence(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    cdef seq_t* s = seq_new(f.e.heap, -1 - <int>(n % 3) if n % 2 else <int>(n % 7), <int>(n % 3))
    cdef seq_iter_t it
    cdef lp_item_t item
    cdef size_t count = 0
    cdef int result = REFUSED
    cdef int wrong
    if seq_append_listpack(f.e.heap, s, p, n):
        result = ACCEPTED
        wrong = seq_check(f.e.heap, s)
        seq_seek(&it, f.e.heap, s, 0, False)
        while seq_next(&it, &item):
            count += 1
        seq_done(&it)
        if wrong:
            result = BROKEN - wrong
        elif count != seq_len(s):
            result = WALK
    seq_release(f.e.heap, s)
    return result


cdef int _lzf(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    """The first two bytes are how long the text should be."""
    cdef size_t room = cf_load16(p) if n >= 2 else 0
    cdef char* out
    cdef size_t got
    if n < 2:
        return REFUSED
    out = <char*>malloc(room + (room == 0))
    got = lzf_decompress(p + 2, n - 2, out, room)
    free(out)
    return REFUSED if got == 0 else (ACCEPTED if got <= room else WALK)

# ---- values of files and payloads --------------------------------------------------------------------

cdef int _compare(fuzz_t* f, const entry_t* entry) noexcept nogil:
    """What is written of a value is the same value."""
    cdef rdb_out_t out
    cdef rdb_in_t in_
    cdef entry_t* other
    cdef uint8_t one[DIGEST_BYTES]
    cdef uint8_t two[DIGEST_BYTES]
    cdef int result = AGAIN
    cdef int dialect = rdb_dialect_of(f.e, entry)
    rdb_out_init(&out, f.e.heap, dialect)
    rdb_put_value(&out, f.e, entry)
    rdb_in_init(&in_, f.e.heap, out.buf.data, out.buf.len)
    in_.valkey = True
    in_.version = RDB_VERSION_OWN if dialect == RDB_DIALECT_OWN else RDB_VERSION_VALKEY
    other = rdb_get_entry(&in_, f.e, rdb_get_byte(&in_), b"k", 1, -1)
    if other != NULL:
        memset(one, 0, DIGEST_BYTES)
        memset(two, 0, DIGEST_BYTES)
        entry_digest(f.e, entry, one)
        entry_digest(f.e, other, two)
        if in_.p == in_.end and memcmp(one, two, DIGEST_BYTES) == 0:
            result = ACCEPTED
        entry_free(f.e, other)
    rdb_out_free(&out)
    return result


cdef int _read(fuzz_t* f, int type_byte, const char* p, size_t n, bint valkey) noexcept nogil:
    cdef rdb_in_t in_
    cdef entry_t* entry
    cdef int wrong, result
    rdb_in_init(&in_, f.e.heap, p, n)
    in_.valkey = valkey
    in_.version = RDB_VERSION_OWN if valkey else RDB_VERSION_REDIS_MAX
    entry = rdb_get_entry(&in_, f.e, type_byte, b"k", 1, -1)
    if entry == NULL:
        return REFUSED if in_.error != NULL else SILENT
    wrong = entry_check(entry)
    if wrong == 0 and entry_ops(f.e, entry).check_fn != NULL:
        wrong = entry_ops(f.e, entry).check_fn(f.e, entry)
    result = BROKEN - wrong if wrong else _compare(f, entry)
    entry_ops(f.e, entry).memory_fn(f.e, entry, 5)
    entry_free(f.e, entry)
    return result


cdef int _value(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    """A type byte and its value, as in DUMP, RESTORE and files."""
    return _read(f, <uint8_t>p[0], p + 1, n - 1, input_below(f, 2)) if n else REFUSED


cdef int _packed(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    """A type byte and the bytes of the one packed form it has, whose length codes are right then."""
    cdef int byte = <uint8_t>p[0] if n else 255
    cdef rdb_out_t out
    cdef char* copy
    cdef int result
    if n == 0:
        return REFUSED
    rdb_out_init(&out, f.e.heap, 0)
    if byte == 14 or byte == 18:
        rdb_put_length(&out, 1)
    if byte == 18:
        rdb_put_length(&out, 2)
    rdb_put_length(&out, n - 1)
    copy = <char*>malloc(out.buf.len + n - 1)
    memcpy(copy, out.buf.data, out.buf.len)
    memcpy(copy + out.buf.len, p + 1, n - 1)
    result = _read(f, byte, copy, out.buf.len + n - 1, False)
    free(copy)
    rdb_out_free(&out)
    return result

# ---- HyperLogLogs and places -------------------------------------------------------------------------

cdef int _hll_change(fuzz_t* f, const uint8_t* p, size_t n) noexcept nogil:
    """An element more, in memory of just the room that is asked for."""
    cdef hll_plan_t plan
    cdef uint8_t* copy
    cdef size_t room, after
    cdef int result = ACCEPTED
    cdef int rank = 1 + <int>input_below(f, HLL_RANK_MAX)
    hll_plan(p, n, input_below(f, HLL_REGISTERS), rank, input_below(f, 3000), NULL, &plan)
    if plan.outcome != HLL_CHANGE:
        return ACCEPTED if plan.outcome != HLL_CORRUPT or hll_check(p, n) else WALK
    room = max(plan.room, n)
    copy = <uint8_t*>malloc(room)
    memcpy(copy, p, n)
    after = hll_commit(copy, n, &plan)
    if after > room:
        result = WALK
    elif hll_check(p, n) == 0:
        result = BROKEN - hll_check(copy, after) if hll_check(copy, after) else ACCEPTED
    free(copy)
    return result


cdef int _hll(fuzz_t* f, const char* data, size_t n) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>data
    cdef uint8_t* work
    cdef uint8_t raw[HLL_REGISTERS]
    cdef uint64_t count
    cdef bint whole, counted
    cdef int wrong = 0
    if not hll_is(p, n):
        return REFUSED
    whole = hll_check(p, n) == 0
    counted = hll_count(p, n, &count)
    if whole and not counted:
        return WALK
    memset(raw, 0, HLL_REGISTERS)
    if hll_merge_raw(raw, p, n) != counted:
        return BACK
    work = <uint8_t*>malloc(HLL_WORK_BYTES)
    if hll_to_dense(work, p, n):
        wrong = hll_check(work, HLL_DENSE_BYTES)
        if wrong == 0 and whole:
            hll_merge_dense(work, p, n)
    if whole and n <= HLL_WORK_BYTES and p[4] == 1:
        memcpy(work, p, n)
        hll_absorb(work, n, raw, 3000)
    free(work)
    return BROKEN - wrong if wrong else _hll_change(f, p, n)


cdef int _geo(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    """Scores that are no positions, and centres and lengths that are anything."""
    cdef double numbers[6]
    cdef char text[GEO_TEXT_CHARS]
    cdef geo_point_t at
    cdef geo_shape_t shape
    cdef geo_search_t search
    cdef double distance
    cdef int i
    if n < sizeof(numbers):
        return REFUSED
    memcpy(numbers, p, sizeof(numbers))
    at = geo_decode(geo_bits(numbers[0]))
    geo_text(cf_load64(p), text)
    geo_text(geo_bits(numbers[0]), text)
    if not geo_valid(numbers[1], numbers[2]):
        return REFUSED
    memset(&shape, 0, sizeof(shape))
    shape.kind = GEO_BOX if <uint8_t>p[0] & 1 else GEO_CIRCLE
    shape.centre.lon = numbers[1]
    shape.centre.lat = numbers[2]
    shape.unit_m = 1.0
    shape.radius = fabs(numbers[3])  # commands refuse what is below 0, and NaN
    shape.width = fabs(numbers[4])
    shape.height = fabs(numbers[5])
    for i in range(3, 6):
        if numbers[i] != numbers[i]:
            return REFUSED
    geo_search(&search, &shape)
    if not 0 <= search.count <= 9:
        return WALK
    for i in range(search.count):
        if search.ranges[i].low > search.ranges[i].high:
            return BROKEN
    geo_within(&search, at, &distance)
    geo_distance(at, shape.centre)
    geo_encode(numbers[1], numbers[2])
    return ACCEPTED

# ---- the loop ----------------------------------------------------------------------------------------

cdef struct target_t:
    const char* name
    target_fn decode
    fix_fn fix

cdef enum:
    TARGETS = 11

cdef target_t[TARGETS] _targets  # constant after import


cdef str _target(int i, const char* name, target_fn decode, fix_fn fix):
    _targets[i].name = name
    _targets[i].decode = decode
    _targets[i].fix = fix
    return name.decode()


NAMES = (
    _target(0, b"listpack", _listpack, _fix_listpack), _target(1, b"ziplist", _ziplist, _fix_ziplist),
    _target(2, b"zipmap", _zipmap, _fix_zipmap), _target(3, b"intset", _intset, _fix_intset),
    _target(4, b"pack", _pack, _fix_listpack), _target(5, b"sequence", _sequence, _fix_listpack),
    _target(6, b"lzf", _lzf, NULL), _target(7, b"value", _value, NULL), _target(8, b"packed", _packed, _fix_packed),
    _target(9, b"hll", _hll, NULL), _target(10, b"geo", _geo, NULL),
)


class Found(AssertionError):
    """What is wrong, with the input."""

    def __init__(self, code, data):
        super().__init__(code)
        self.code, self.data = code, data


cdef int _one(fuzz_t* f, const target_t* target) noexcept nogil:
    """The input that was drawn."""
    cdef size_t before = heap_used(f.e.heap)
    cdef char* exact = <char*>malloc(f.n + (f.n == 0))
    cdef int result
    memcpy(exact, f.data, f.n)
    result = target.decode(f, exact, f.n)
    free(exact)
    if result >= 0 and heap_used(f.e.heap) != before:
        return LEAK
    return result


cdef class Fuzz:
    """One target over one corpus."""

    cdef fuzz_t* f
    cdef const target_t* target
    cdef Engine engine
    cdef list corpus
    cdef unsigned char[::1] shown

    def __cinit__(self, Engine engine, str name, list corpus, unsigned char[::1] shown):
        cdef int i = NAMES.index(name)
        if not corpus or shown.shape[0] < 4 + INPUT_MAX:
            raise ValueError(name)
        self.target = &_targets[i]
        self.engine = engine
        self.corpus = corpus
        self.shown = shown
        self.f = <fuzz_t*>malloc(sizeof(fuzz_t))
        self.f.e = engine.ptr
        self.f.corpus = <bytes_t*>malloc(len(corpus) * sizeof(bytes_t))
        self.f.corpus_len = len(corpus)
        for i in range(len(corpus)):
            self.f.corpus[i].p = corpus[i]
            self.f.corpus[i].n = len(corpus[i])

    def __dealloc__(self):
        if self.f != NULL:
            free(self.f.corpus)
        free(self.f)

    cdef int _show(self, uint64_t seed, uint64_t number) noexcept nogil:
        input_draw(self.f, seed, number, self.target.fix)
        memcpy(&self.shown[0], &self.f.n, 4)
        memcpy(&self.shown[4], self.f.data, self.f.n)
        return _one(self.f, self.target)

    def run(self, uint64_t seed, uint64_t first, uint64_t count):
        """How many of these inputs were accepted."""
        cdef uint64_t number
        cdef uint64_t accepted = 0
        cdef int result = REFUSED
        with nogil:
            for number in range(first, first + count):
                result = self._show(seed, number)
                if result < 0:
                    break
                accepted += result
        if result < 0:
            raise Found(result, self.f.data[:self.f.n])
        return accepted

    def decode(self, bytes data):
        """An input from elsewhere: 0 refused, 1 accepted, below 0 wrong."""
        input_given(self.f, data, len(data))
        return _one(self.f, self.target)
