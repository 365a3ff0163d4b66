"""Listpacks, intsets, ziplists, zipmaps and packs as Python classes and functions. Development builds only.

A structure lies in an allocation of exactly its length, so that the address sanitizer sees each byte read or written
outside. `check()` raises AssertionError with the number of the broken invariant.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.ht_sampling cimport rng_next
from cachefleet_server.ds.intrin cimport cf_match16, cf_match16_portable, cf_thread_ns
from cachefleet_server.ds.intset cimport *
from cachefleet_server.ds.listpack cimport *
from cachefleet_server.ds.pack cimport *
from cachefleet_server.ds.pack_building cimport *
from cachefleet_server.ds.pack_checking cimport pack_check
from cachefleet_server.ds.pack_zset cimport *
from cachefleet_server.ds.ziplist cimport *
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used

SET, HASH, ZSET = PACK_SET, PACK_HASH, PACK_ZSET


cdef object _value(const lp_item_t* item):
    return item.num if item.str == NULL else item.str[:item.len]


cdef bytes _text(const char* p):
    cdef lp_item_t item
    cdef char text[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* q
    lp_get(p, &item)
    q = lp_text(&item, text, &n)
    return q[:n]


cdef char* _exactly(bytes data) except NULL:
    """A copy in an allocation of its own; never of 0 bytes, which would have no address."""
    cdef char* p = <char*>malloc(max(len(data), 1))
    memcpy(p, <const char*>data, len(data))
    return p


# ---- listpacks, ziplists, zipmaps ----------------------------------------------------------------------

def listpack(list elements):
    """bytes: an integer if they are one's text; int; (bytes,): a string in any case."""
    cdef heap_t* heap = heap_new()
    cdef buf_t out
    cdef lp_writer_t w
    buf_init(&out, heap)
    lp_begin(&w, &out)
    for element in elements:
        if isinstance(element, tuple):
            lp_add_str(&w, <const char*><bytes>element[0], len(element[0]))
        elif isinstance(element, int):
            lp_add_int(&w, element)
        else:
            lp_add(&w, <const char*><bytes>element, len(element))
    assert lp_finish(&w)
    result = out.data[:out.len]
    buf_free(&out)
    heap_free(heap)
    return result


cdef tuple _verdict(bint good, size_t out):
    return bool(good), out


def listpack_validate(bytes data):
    """(True, count) or (False, offset of the fault)."""
    cdef char* p = _exactly(data)
    cdef size_t out = 0
    good = lp_validate(p, len(data), &out)
    free(p)
    return _verdict(good, out)


def listpack_read(bytes data):
    """(forward, backward, at each index from both ends, length)."""
    cdef char* p = _exactly(data)
    cdef lp_item_t item
    cdef size_t at = LP_HEADER
    forward, backward, indexed = [], [], []
    while lp_next(p, &at, &item):
        forward.append(_value(&item))
    at = lp_end(p)
    while lp_prev(p, &at, &item):
        backward.append(_value(&item))
    for index in range(-len(forward) - 1, len(forward) + 1):
        at = lp_seek(p, index)
        if at:
            lp_get(p + at, &item)
        indexed.append(_value(&item) if at else None)
    n = lp_len(p)
    free(p)
    return forward, backward, indexed, n


def listpack_decode(bytes data):
    """(element, size) of the code in front, or None."""
    cdef char* p = _exactly(data)
    cdef lp_item_t item
    n = lp_code_size(p, p + len(data))
    result = None
    if n:
        assert lp_get(p, &item) == n
        result = _value(&item), n
    free(p)
    return result


def ziplist_read(bytes data):
    """The elements, or the offset of the first fault."""
    cdef char* p = _exactly(data)
    cdef lp_item_t item
    cdef size_t at = ZIPLIST_HEADER
    cdef size_t out = 0
    found = []
    good = ziplist_validate(p, len(data), &out)
    while good and ziplist_next(p, &at, &item):
        found.append(_value(&item))
    free(p)
    assert not good or out == <size_t>len(found)
    return found if good else out


def zipmap_read(bytes data):
    """The pairs, or the offset of the first fault."""
    cdef char* p = _exactly(data)
    cdef lp_item_t field, value
    cdef size_t at = ZIPMAP_HEADER
    cdef size_t out = 0
    found = []
    good = zipmap_validate(p, len(data), &out)
    while good and zipmap_next(p, &at, &field, &value):
        found.append((_value(&field), _value(&value)))
    free(p)
    assert not good or out == <size_t>len(found)
    return found if good else out


def match16(bytes data, uint8_t tag):
    """As this processor does it, and as any does."""
    return cf_match16(<const char*>data, tag), cf_match16_portable(<const char*>data, tag)


# ---- intsets -------------------------------------------------------------------------------------------

@cython.final
cdef class IntSet:
    cdef char* p
    cdef size_t n

    def __cinit__(self):
        self.n = INTSET_HEADER
        self.p = <char*>malloc(self.n)
        intset_init(self.p)

    def __dealloc__(self):
        free(self.p)

    cdef bint _commit(self, size_t n, const intset_edit_t* edit):
        if n == 0:
            return False
        if n > self.n:
            self.p = <char*>realloc(self.p, n)
        intset_commit(self.p, edit)
        if n < self.n:
            self.p = <char*>realloc(self.p, n)
        self.n = n
        return True

    def add(self, int64_t v):
        cdef intset_edit_t edit
        return bool(self._commit(intset_plan_add(self.p, v, &edit), &edit))

    def remove(self, int64_t v):
        cdef intset_edit_t edit
        return bool(self._commit(intset_plan_remove(self.p, v, &edit), &edit))

    def remove_at(self, uint32_t at):
        cdef intset_edit_t edit
        self._commit(intset_plan_remove_at(self.p, at, &edit), &edit)

    def find(self, int64_t v):
        """(is there, index)."""
        cdef uint32_t at
        found = intset_find(self.p, v, &at)
        return bool(found), at

    def items(self):
        return [intset_at(self.p, i) for i in range(intset_count(self.p))]

    def check(self):
        cdef int error = intset_check(self.p, self.n)
        if error:
            raise AssertionError(f"intset invariant {error} is broken")

    @property
    def data(self):
        assert self.n == intset_len(self.p)
        return self.p[:self.n]


def intset_union(IntSet a, IntSet b):
    """The bytes of one with the integers of both, of which there must be some."""
    cdef uint32_t n = intset_count(a.p)
    cdef uint32_t m = intset_count(b.p)
    cdef int64_t* both = <int64_t*>malloc((n + m) * sizeof(int64_t))
    cdef int64_t* merged = <int64_t*>malloc((n + m) * sizeof(int64_t))
    cdef char* p = <char*>malloc(INTSET_HEADER + (n + m) * sizeof(int64_t))
    intset_read(a.p, both)
    intset_read(b.p, both + n)
    size = intset_write(p, merged, integers_merge(both, n, both + n, m, merged))
    data = p[:size]
    free(both)
    free(merged)
    free(p)
    return data


def intset_fault(bytes data):
    """None, or the offset of the first fault."""
    cdef char* p = _exactly(data)
    cdef size_t fault
    good = intset_validate(p, len(data), &fault)
    free(p)
    return None if good else fault


# ---- packs ---------------------------------------------------------------------------------------------

@cython.final
cdef class Pack:
    cdef char* p
    cdef size_t n

    def __cinit__(self, int kind, bytes data=None):
        """Empty, or with these bytes, of which only check() and what it calls may be asked unless they are a pack's."""
        self.n = PACK_HEADER if data is None else len(data)
        if data is None:
            self.p = <char*>malloc(self.n)
            pack_init(self.p, kind)
        else:
            self.p = _exactly(data)

    def __dealloc__(self):
        free(self.p)

    def __len__(self):
        return pack_len(self.p)

    cdef bint _commit(self, size_t n, const pack_edit_t* edit):
        if n == 0:
            return False
        if n > self.n:
            self.p = <char*>realloc(self.p, n)
            memset(self.p + self.n, 0xEE, n - self.n)
        pack_commit(self.p, edit)
        if n < self.n:
            self.p = <char*>realloc(self.p, n)
        self.n = n
        return True

    cdef tuple _pair(self, const pack_at_t* at):
        key = _text(self.p + at.at)
        if pack_kind(self.p) == PACK_SET:
            return key, None
        return key, pack_score(self.p + at.value) if pack_kind(self.p) == PACK_ZSET else _text(self.p + at.value)

    def find(self, bytes key):
        """(index, value) or None."""
        cdef pack_item_t item
        cdef pack_at_t at
        pack_item(&item, key, len(key))
        if not pack_find(self.p, self.n, &item, &at):
            return None
        return at.index, self._pair(&at)[1]

    def put(self, bytes key, bytes value):
        """False: it does not fit. A hash's pair or, with value None, a set's member."""
        cdef pack_item_t item, content
        cdef pack_edit_t edit
        cdef pack_at_t at
        pack_item(&item, key, len(key))
        found = pack_find(self.p, self.n, &item, &at)
        if value is None:
            return found or bool(
                self._commit(pack_plan_put(self.p, self.n, &item, NULL, NULL, &edit), &edit))
        pack_item(&content, value, len(value))
        return bool(self._commit(
            pack_plan_put(self.p, self.n, &item, &at if found else NULL, &content, &edit), &edit))

    def fits(self, bytes key, size_t n):
        """The length with a new key and a value of n > 20 bytes, which do not exist; 0: too long."""
        cdef pack_item_t item, content
        cdef pack_edit_t edit
        pack_item(&item, key, len(key))
        pack_item(&content, b"", n)
        return pack_plan_put(self.p, self.n, &item, NULL, &content, &edit)

    def score(self, bytes member, double score):
        cdef pack_item_t item
        cdef pack_edit_t edit
        cdef pack_at_t at
        pack_item(&item, member, len(member))
        found = pack_find(self.p, self.n, &item, &at)
        return bool(self._commit(
            pack_plan_score(self.p, self.n, &item, &at if found else NULL, score, &edit), &edit))

    def remove(self, bytes key):
        cdef pack_item_t item
        cdef pack_edit_t edit
        cdef pack_at_t at
        pack_item(&item, key, len(key))
        if not pack_find(self.p, self.n, &item, &at):
            return False
        return bool(self._commit(pack_plan_remove(self.p, self.n, &at, &edit), &edit))

    def remove_range(self, uint32_t index, uint32_t n):
        cdef pack_edit_t edit
        assert self._commit(pack_plan_remove_range(self.p, self.n, index, n, &edit), &edit)

    def at(self, uint32_t index):
        cdef pack_at_t at
        pack_seek(self.p, self.n, index, &at)
        return self._pair(&at)

    def items(self):
        cdef pack_at_t at
        cdef bint more = pack_first(self.p, &at)
        found = []
        while more:
            assert at.index == len(found)
            found.append(self._pair(&at))
            more = pack_next(self.p, &at)
        return found

    def back(self, uint32_t index):
        """The pairs from a position on, backward."""
        cdef pack_back_t back
        cdef pack_at_t at
        found = []
        pack_back_begin(&back, index)
        while pack_back_next(self.p, self.n, &back, &at):
            assert at.index == index - len(found)
            found.append(self._pair(&at))
        return found

    def score_bound(self, double score, bint after):
        cdef pack_at_t at
        pack_score_bound(self.p, self.n, score, after, &at)
        assert at.at == pack_offset(self.p, self.n, at.index)
        return at.index

    def lex_bound(self, bytes member, bint after):
        cdef pack_at_t at
        pack_lex_bound(self.p, self.n, member, len(member), after, &at)
        assert at.at == pack_offset(self.p, self.n, at.index)
        return at.index

    @property
    def longest(self):
        return pack_longest(self.p)

    @property
    def data(self):
        return self.p[:self.n]

    def check(self):
        cdef int error = pack_check(self.p, self.n)
        if error:
            raise AssertionError(f"pack invariant {error} is broken")

    def listpack(self):
        cdef heap_t* heap = heap_new()
        cdef buf_t out
        buf_init(&out, heap)
        assert pack_to_listpack(self.p, self.n, &out)
        result = out.data[:out.len]
        buf_free(&out)
        heap_free(heap)
        return result


def pack_of_listpack(bytes data, int kind):
    """A Pack, or the number of the refusal."""
    cdef heap_t* heap = heap_new()
    cdef char* p = _exactly(data)
    cdef buf_t out
    buf_init(&out, heap)
    buf_put(&out, b"mark", 4)
    why = pack_from_listpack(p, len(data), kind, &out)
    free(p)
    assert out.data[:4] == b"mark" and (why == PACK_OK or out.len == 4)
    result = Pack(kind, out.data[4:out.len]) if why == PACK_OK else why
    buf_free(&out)
    assert heap_used(heap) == 0
    heap_free(heap)
    return result


# ---- benchmarks ----------------------------------------------------------------------------------------

@cython.final
cdef class PackBench:
    """A pack of n keys of `key_len` bytes with values of `value_len` (hash), or of random integer scores (zset).

    Each phase returns ns of CPU per operation, on random keys out of all.
    """
    cdef char* p
    cdef size_t n
    cdef uint64_t rng
    cdef uint32_t keys
    cdef size_t key_len
    cdef size_t value_len
    cdef int kind

    def __cinit__(self, int kind, uint32_t keys, size_t key_len, size_t value_len):
        cdef uint32_t i
        self.rng = 1
        self.kind = kind
        self.keys = keys
        self.key_len = key_len
        self.value_len = value_len
        self.p = <char*>malloc(1 << 20)
        self.n = PACK_HEADER
        pack_init(self.p, kind)
        for i in range(keys):
            self._put(i)

    def __dealloc__(self):
        free(self.p)

    cdef void _key(self, char* key, uint32_t i) noexcept nogil:
        """Ends in 4 letters that differ; begins as others do."""
        cdef size_t j
        memset(key, c'k', self.key_len)
        for j in range(4):
            key[self.key_len - 1 - j] = c'a' + i % 26
            i /= 26

    cdef void _put(self, uint32_t i) noexcept nogil:
        cdef char key[256]
        cdef char value[256]
        cdef pack_item_t item, content
        cdef pack_edit_t edit
        cdef pack_at_t at
        cdef bint found
        self._key(key, i)
        pack_item(&item, key, self.key_len)
        found = pack_find(self.p, self.n, &item, &at)
        if self.kind == PACK_ZSET:
            self.n = pack_plan_score(
                self.p, self.n, &item, &at if found else NULL, rng_next(&self.rng) % 10000, &edit)
        else:
            memset(value, c'v', self.value_len)
            pack_item(&content, value, self.value_len)
            self.n = pack_plan_put(
                self.p, self.n, &item, &at if found else NULL, NULL if self.kind == PACK_SET else &content, &edit)
        pack_commit(self.p, &edit)

    def find(self, size_t rounds):
        cdef char key[256]
        cdef pack_item_t item
        cdef pack_at_t at
        cdef size_t wrong = 0
        cdef size_t _round
        cdef int64_t start, now
        with nogil:
            start = cf_thread_ns()
            for _round in range(rounds):
                self._key(key, rng_next(&self.rng) % self.keys)
                pack_item(&item, key, self.key_len)
                wrong += not pack_find(self.p, self.n, &item, &at)
            now = cf_thread_ns()
        assert wrong == 0
        return (now - start) / <double>rounds

    def missing(self, size_t rounds):
        cdef char key[256]
        cdef pack_item_t item
        cdef pack_at_t at
        cdef size_t wrong = 0
        cdef size_t _round
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            self._key(key, self.keys + rng_next(&self.rng) % 1000)
            pack_item(&item, key, self.key_len)
            wrong += pack_find(self.p, self.n, &item, &at)
        assert wrong == 0
        return (cf_thread_ns() - start) / <double>rounds

    def empty(self, size_t rounds):
        """What making the key costs of the others."""
        cdef char key[256]
        cdef pack_item_t item
        cdef size_t sum = 0
        cdef size_t _round
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            self._key(key, rng_next(&self.rng) % self.keys)
            pack_item(&item, key, self.key_len)
            sum += item.head_len
        assert sum
        return (cf_thread_ns() - start) / <double>rounds

    def put(self, size_t rounds):
        """Another value, or another score."""
        cdef size_t _round
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            self._put(rng_next(&self.rng) % self.keys)
        return (cf_thread_ns() - start) / <double>rounds

    def replace(self, size_t rounds):
        """Removes a random key and puts it again: appended, or by its score."""
        cdef char key[256]
        cdef pack_item_t item
        cdef pack_edit_t edit
        cdef pack_at_t at
        cdef size_t _round
        cdef uint32_t i
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            i = rng_next(&self.rng) % self.keys
            self._key(key, i)
            pack_item(&item, key, self.key_len)
            pack_find(self.p, self.n, &item, &at)
            self.n = pack_plan_remove(self.p, self.n, &at, &edit)
            pack_commit(self.p, &edit)
            self._put(i)
        return (cf_thread_ns() - start) / <double>rounds

    def walk(self, size_t rounds):
        """Per key, forward."""
        cdef pack_at_t at
        cdef size_t sum = 0
        cdef size_t _round
        cdef bint more
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            more = pack_first(self.p, &at)
            while more:
                sum += at.value
                more = pack_next(self.p, &at)
        assert sum
        return (cf_thread_ns() - start) / <double>rounds / self.keys

    def walk_back(self, size_t rounds):
        """Per key, backward."""
        cdef pack_back_t back
        cdef pack_at_t at
        cdef size_t sum = 0
        cdef size_t _round
        cdef int64_t start = cf_thread_ns()
        for _round in range(rounds):
            pack_back_begin(&back, self.keys - 1)
            while pack_back_next(self.p, self.n, &back, &at):
                sum += at.value
        assert sum
        return (cf_thread_ns() - start) / <double>rounds / self.keys

    def build(self, size_t rounds):
        """Writes it as a listpack and reads that, per key."""
        cdef heap_t* heap = heap_new()
        cdef buf_t out, again
        cdef size_t _round
        cdef int64_t start = cf_thread_ns()
        buf_init(&out, heap)
        buf_init(&again, heap)
        for _round in range(rounds):
            out.len = 0
            again.len = 0
            pack_to_listpack(self.p, self.n, &out)
            assert pack_from_listpack(out.data, out.len, self.kind, &again) == PACK_OK
        result = (cf_thread_ns() - start) / <double>rounds / self.keys
        assert again.data[:again.len] == self.p[:self.n]
        buf_free(&out)
        buf_free(&again)
        heap_free(heap)
        return result

    @property
    def bytes(self):
        return self.n
