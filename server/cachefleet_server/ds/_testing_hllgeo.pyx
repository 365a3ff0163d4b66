"""HyperLogLog, geohash and bits as Python functions, for tests and benchmarks. Development builds only."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server.ds.bits cimport *
from cachefleet_server.ds.geohash cimport *
from cachefleet_server.ds.hyperloglog cimport *
from cachefleet_server.ds.intrin cimport cf_thread_ns
from cachefleet_server.ds.partsort cimport sort_part
from cachefleet_server.ds.vector cimport (
    cf_bits_count, cf_bits_count_any, cf_hll_count, cf_hll_count_any, cf_hll_max, cf_hll_max_any, cf_hll_merge,
    cf_hll_merge_any, cf_hll_pack, cf_hll_pack_any)


class Corrupt(Exception):
    """Runs are broken."""


# ---- HyperLogLog ---------------------------------------------------------------------------------

@cython.final
cdef class Hll:
    """A string in memory of just the room that was asked for: the address sanitizer sees each byte too far."""

    cdef uint8_t* data
    cdef size_t len

    def __cinit__(self, bytes data=None):
        if data is None:
            self._room(HLL_EMPTY_BYTES)
            self.len = hll_new(self.data)
        else:
            self._room(len(data))
            self.len = len(data)
            memcpy(self.data, <const char*>data, self.len)

    def __dealloc__(self):
        free(self.data)

    cdef void _room(self, size_t n):
        """Moves to new memory, as a reallocation may."""
        cdef uint8_t* p = <uint8_t*>malloc(max(n, <size_t>1))
        if self.data != NULL:
            memcpy(p, self.data, min(self.len, n))
        free(self.data)
        self.data = p

    def __bytes__(self):
        return self.data[:self.len]

    @property
    def valid_header(self):
        return hll_is(self.data, self.len)

    @property
    def dense(self):
        return self.data[4] == HLL_DENSE

    def check(self):
        return hll_check(self.data, self.len)

    def add(self, bytes element, size_t sparse_max=3000):
        """One step of PFADD: did a register change?"""
        cdef uint32_t index
        cdef int rank = hll_rank(element, len(element), &index)
        return self.set(index, rank, sparse_max)

    def set(self, uint32_t index, int rank, size_t sparse_max=3000):
        cdef hll_plan_t plan
        hll_plan(self.data, self.len, index, rank, sparse_max, NULL, &plan)
        if plan.outcome == HLL_CORRUPT:
            raise Corrupt
        if plan.outcome == HLL_CHANGE:
            self._room(plan.room)
            self.len = hll_commit(self.data, self.len, &plan)
            self._room(self.len)
        return plan.outcome == HLL_CHANGE

    def set_ascending(self, list registers, size_t sparse_max):
        """(index, rank) in ascending order, with one cursor."""
        cdef hll_cursor_t cursor
        cdef hll_plan_t plan
        memset(&cursor, 0, sizeof(cursor))
        for index, rank in registers:
            hll_plan(self.data, self.len, index, rank, sparse_max, &cursor, &plan)
            if plan.outcome == HLL_CORRUPT:
                raise Corrupt
            if plan.outcome == HLL_CHANGE:
                self._room(plan.room)
                self.len = hll_commit(self.data, self.len, &plan)

    def invalidate(self):
        hll_invalidate(self.data)

    def cached(self):
        cdef uint64_t count
        return count if hll_cached(self.data, &count) else None

    def count(self):
        """PFCOUNT: the cached count, or a new one that is cached."""
        cdef uint64_t count
        if hll_cached(self.data, &count):
            return count
        count = self.count_anew()
        memcpy(self.data + 8, &count, 8)
        return count

    def count_anew(self):
        cdef uint64_t count
        if not hll_count(self.data, self.len, &count):
            raise Corrupt
        return count

    def registers(self):
        """All as bytes, by the one function that commands use for the encoding."""
        cdef uint8_t raw[HLL_REGISTERS]
        if self.dense:
            return bytes([hll_get(self.data, i) for i in range(HLL_REGISTERS)])
        memset(raw, 0, HLL_REGISTERS)
        if not hll_merge_raw(raw, self.data, self.len):
            raise Corrupt
        return raw[:HLL_REGISTERS]

    def runs(self):
        """PFDEBUG DECODE's list."""
        cdef hll_run_t run
        cdef const uint8_t* p = self.data + HLL_HEADER
        result = []
        while p < self.data + self.len:
            if not hll_run(p, self.data + self.len, &run):
                raise Corrupt
            if run.value:
                result.append("v:%d,%d" % (run.value, run.count))
            else:
                result.append("%s:%d" % ("Z" if run.size == 2 else "z", run.count))
            p += run.size
        return " ".join(result)

    def to_dense(self):
        cdef bint ok
        cdef Hll dense = Hll()
        dense._room(HLL_DENSE_BYTES)
        ok = hll_to_dense(dense.data, self.data, self.len)
        dense.len = HLL_DENSE_BYTES
        if not ok:
            raise Corrupt
        return dense

    def merge(self, list sources, size_t sparse_max=3000):
        """PFMERGE into this one."""
        cdef uint8_t raw[HLL_REGISTERS]
        cdef Hll source
        if any(one.check() for one in [self, *sources]):
            raise Corrupt
        if any(one.dense for one in [self, *sources]):
            self._room(HLL_DENSE_BYTES)
            hll_to_dense(self.data, self.data, self.len)
            self.len = HLL_DENSE_BYTES
            hll_invalidate(self.data)
            for source in sources:
                hll_merge_dense(self.data, source.data, source.len)
            return
        memset(raw, 0, HLL_REGISTERS)
        for source in [self, *sources]:
            if not hll_merge_raw(raw, source.data, source.len):
                raise Corrupt
        self._room(HLL_WORK_BYTES)
        self.len = hll_absorb(self.data, self.len, raw, sparse_max)
        assert self.len
        self._room(self.len)


def hll_union(list strings):
    """PFCOUNT of several."""
    cdef uint8_t raw[HLL_REGISTERS]
    cdef Hll one
    memset(raw, 0, HLL_REGISTERS)
    for one in strings:
        if not hll_merge_raw(raw, one.data, one.len):
            raise Corrupt
    return hll_count_raw(raw)


def hll_place(bytes element):
    cdef uint32_t index
    cdef int rank = hll_rank(element, len(element), &index)
    return index, rank


def hll_hash_of(bytes element):
    return hll_hash(element, len(element))


def selftest(uint64_t seed):
    return hll_selftest(seed)


def hll_kernels(bytes raw, bytes other):
    """(maximum of both, packed, merged packed, counts of each value) with and without vectors of this processor."""
    cdef uint8_t* both = <uint8_t*>malloc(HLL_REGISTERS)
    cdef uint8_t* packed = <uint8_t*>malloc(HLL_PACKED)
    cdef uint8_t* merged = <uint8_t*>malloc(HLL_PACKED)
    cdef uint32_t counts[64]
    cdef int v
    results = []
    for plain in range(2):
        memcpy(both, <const char*>raw, HLL_REGISTERS)
        if plain:
            cf_hll_pack_any(merged, both)
            cf_hll_pack_any(packed, <const uint8_t*><const char*>other)
            cf_hll_merge_any(merged, packed)
            cf_hll_max_any(both, packed)
        else:
            cf_hll_pack(merged, both)
            cf_hll_pack(packed, <const uint8_t*><const char*>other)
            cf_hll_merge(merged, packed)
            cf_hll_max(both, packed)
        for v in range(0, 64, 4):
            if plain:
                cf_hll_count_any(both, v, &counts[v])
            else:
                cf_hll_count(both, v, &counts[v])
        results.append((both[:HLL_REGISTERS], packed[:HLL_PACKED], merged[:HLL_PACKED], [counts[v] for v in range(64)]))
    free(both)
    free(packed)
    free(merged)
    return results


# ---- geohash -------------------------------------------------------------------------------------

def encode(double lon, double lat):
    return geo_encode(lon, lat) if geo_valid(lon, lat) else None


def decode(uint64_t bits):
    at = geo_decode(bits)
    return at.lon, at.lat


def bits_of_score(double score):
    return geo_bits(score)


def hash_text(uint64_t bits):
    cdef char out[GEO_TEXT_CHARS]
    geo_text(bits, out)
    return out[:GEO_TEXT_CHARS]


def distance(tuple a, tuple b):
    return geo_distance(geo_point_t(a[0], a[1]), geo_point_t(b[0], b[1]))


def distance_text(double metres):
    cdef char out[32]
    return out[:geo_distance_text(out, metres)]


@cython.final
cdef class Search:
    """Round `radius`, a box of `width` and `height`, or a polygon of `vertices`."""

    cdef geo_search_t search
    cdef geo_point_t* vertices

    def __init__(
        self, tuple centre, double unit_m, double radius=-1, double width=0, double height=0, list vertices=None
    ):
        cdef geo_shape_t shape
        cdef size_t i
        vertices = vertices or []
        memset(&shape, 0, sizeof(shape))
        shape.kind = GEO_POLYGON if vertices else GEO_BOX if radius < 0 else GEO_CIRCLE
        shape.centre = geo_point_t(centre[0], centre[1])
        shape.unit_m = unit_m
        shape.radius = radius
        shape.width = width
        shape.height = height
        free(self.vertices)
        self.vertices = <geo_point_t*>malloc((len(vertices) + 1) * sizeof(geo_point_t))
        for i, at in enumerate(vertices):
            self.vertices[i] = geo_point_t(at[0], at[1])
        shape.vertices = self.vertices
        shape.vertex_count = len(vertices)
        geo_search(&self.search, &shape)

    def __dealloc__(self):
        free(self.vertices)

    @property
    def centre(self):
        return self.search.shape.centre.lon, self.search.shape.centre.lat

    @property
    def step(self):
        return self.search.step

    @property
    def ranges(self):
        return [(self.search.ranges[i].low, self.search.ranges[i].high) for i in range(self.search.count)]

    def within(self, uint64_t bits):
        """The distance in metres, or None."""
        cdef double metres
        return metres if geo_within(&self.search, geo_decode(bits), &metres) else None


# ---- bits ----------------------------------------------------------------------------------------

def count_bits(bytes data, int64_t first=0, int64_t last=-1, bint in_bits=False):
    return bitcount(data, len(data), first, last, in_bits)


def count_bits_any(bytes data):
    """With and without what this processor has."""
    return cf_bits_count(data, len(data)), cf_bits_count_any(data, len(data))


def find_bit(bytes data, bint value, int64_t first=0, last=None, bint in_bits=False):
    return bitpos(data, len(data), value, first, -1 if last is None else last, in_bits, last is not None)


def combine(int op, list strings):
    cdef size_t n = max([len(s) for s in strings])
    cdef size_t count = len(strings)
    cdef const uint8_t** sources = <const uint8_t**>malloc(count * sizeof(uint8_t*))
    cdef size_t* lens = <size_t*>malloc(count * sizeof(size_t))
    cdef uint8_t* out = <uint8_t*>malloc(n + 1)
    cdef size_t i
    for i in range(count):
        sources[i] = <const uint8_t*>(<bytes>strings[i])
        lens[i] = len(strings[i])
    memset(out, 0xA5, n)
    bitop(op, out, n, sources, lens, count)
    result = out[:n]
    free(sources)
    free(lens)
    free(out)
    return result


def get_bit(bytes data, uint64_t at):
    return bits_get(data, len(data), at)


def set_bit(bytes data, uint64_t at, bint value):
    """(bit before, string)"""
    copy = bytearray(data)
    before = bits_set(copy, at, value)
    return before, bytes(copy)


def read_integer(bytes data, uint64_t at, int width, bint signed):
    cdef uint64_t value
    cdef uint8_t* copy = <uint8_t*>malloc(max(len(data), 1))  # no terminator behind it
    memcpy(copy, <const char*>data, len(data))
    value = bits_read(copy, len(data), at, width)
    free(copy)
    return bits_extend(value, width) if signed else value


def write_integer(bytes data, uint64_t at, int width, uint64_t value):
    cdef uint8_t* copy = <uint8_t*>malloc(len(data))
    memcpy(copy, <const char*>data, len(data))
    bits_write(copy, at, width, value)
    result = copy[:len(data)]
    free(copy)
    return result


def add_integer(value, int64_t change, int width, bint signed, int overflow):
    """None: it does not fit, and BITS_FAIL."""
    cdef int64_t out
    cdef uint64_t unsigned_out
    if signed:
        return out if bits_add_signed(value, change, width, overflow, &out) else None
    return unsigned_out if bits_add_unsigned(value, change, width, overflow, &unsigned_out) else None


# ---- speed ---------------------------------------------------------------------------------------

def bench_add(list elements, int rounds, bytes start, size_t sparse_max):
    """ns of CPU for adding one element, again and again, to a string that begins as `start`."""
    cdef size_t n = len(elements)
    cdef size_t i
    cdef int _round
    cdef uint8_t* data = <uint8_t*>malloc(HLL_WORK_BYTES + sparse_max)
    cdef const char** texts = <const char**>malloc(n * sizeof(char*))
    cdef size_t* lens = <size_t*>malloc(n * sizeof(size_t))
    cdef size_t length = len(start)
    cdef hll_plan_t plan
    cdef uint32_t index
    cdef int64_t began, ended
    memcpy(data, <const char*>start, length)
    for i in range(n):
        texts[i] = <bytes>elements[i]
        lens[i] = len(elements[i])
    with nogil:
        began = cf_thread_ns()
        for _round in range(rounds):
            for i in range(n):
                plan.rank = hll_rank(<const uint8_t*>texts[i], lens[i], &index)
                hll_plan(data, length, index, plan.rank, sparse_max, NULL, &plan)
                if plan.outcome == HLL_CHANGE:
                    length = hll_commit(data, length, &plan)
        ended = cf_thread_ns()
    free(data)
    free(texts)
    free(lens)
    return (ended - began) / <double>(n * rounds)


def bench_count(bytes string, int rounds):
    cdef const uint8_t* data = string
    cdef size_t n = len(string)
    cdef uint64_t count, sum_ = 0
    cdef int64_t began, ended
    cdef int _round
    with nogil:
        began = cf_thread_ns()
        for _round in range(rounds):
            hll_count(data, n, &count)
            sum_ += count
        ended = cf_thread_ns()
    return (ended - began) / <double>rounds


def bench_merge(Hll target, Hll source, int rounds, size_t sparse_max):
    """As `merge` does it, into a copy of the target each time."""
    cdef uint8_t* raw = <uint8_t*>malloc(HLL_REGISTERS)
    cdef uint8_t* data = <uint8_t*>malloc(HLL_WORK_BYTES)
    cdef bint dense = target.dense
    cdef int64_t began, ended
    cdef int _round
    with nogil:
        began = cf_thread_ns()
        for _round in range(rounds):
            memcpy(data, target.data, target.len)
            if dense:
                hll_check(source.data, source.len)
                hll_merge_dense(data, source.data, source.len)
            else:
                memset(raw, 0, HLL_REGISTERS)
                hll_merge_raw(raw, data, target.len)
                hll_merge_raw(raw, source.data, source.len)
                hll_absorb(data, target.len, raw, sparse_max)
        ended = cf_thread_ns()
    free(raw)
    free(data)
    return (ended - began) / <double>rounds


def bench_bits(bytes string, int rounds, int what):
    """0: BITCOUNT  1: BITPOS of what is not there  2: BITOP AND with itself  3: BITCOUNT by plain instructions"""
    cdef const uint8_t* data = string
    cdef size_t n = len(string)
    cdef const uint8_t* sources[2]
    cdef size_t lens[2]
    cdef uint8_t* out = <uint8_t*>malloc(n)
    cdef uint64_t sum_ = 0
    cdef int64_t began, ended
    cdef int _round
    sources[0] = sources[1] = data
    lens[0] = lens[1] = n
    with nogil:
        began = cf_thread_ns()
        for _round in range(rounds):
            if what == 0:
                sum_ += bitcount(data, n, 0, -1, False)
            elif what == 1:
                sum_ += bitpos(data, n, True, 0, -1, False, True)
            elif what == 2:
                bitop(BITOP_AND, out, n, sources, lens, 2)
            else:
                sum_ += cf_bits_count_any(data, n)
        ended = cf_thread_ns()
    free(out)
    return (ended - began) / <double>rounds, sum_


def bench_within(int rounds, list points, tuple centre, double radius_m):
    """ns for judging one member of a range by its score."""
    cdef Search search = Search(centre, 1, radius_m)
    cdef size_t n = len(points)
    cdef uint64_t* scores = <uint64_t*>malloc(n * sizeof(uint64_t))
    cdef size_t i
    cdef size_t inside = 0
    cdef double metres
    cdef int64_t began, ended
    cdef int _round
    for i in range(n):
        scores[i] = points[i]
    with nogil:
        began = cf_thread_ns()
        for _round in range(rounds):
            for i in range(n):
                inside += geo_within(&search.search, geo_decode(scores[i]), &metres)
        ended = cf_thread_ns()
    free(scores)
    return (ended - began) / <double>(n * rounds), inside / <double>(n * rounds)


# ---- sorting a part --------------------------------------------------------------------------------

cdef struct keyed_t:
    int64_t key
    uint32_t place


cdef int _by_key(const void* a, const void* b) noexcept nogil:
    cdef int64_t x = (<const keyed_t*>a).key
    cdef int64_t y = (<const keyed_t*>b).key
    return 0 if x == y else -1 if x < y else 1


def part_sorted(list keys, size_t first, size_t last):
    """Where the elements were that are now in each place."""
    cdef size_t i
    cdef size_t n = len(keys)
    cdef keyed_t* array = <keyed_t*>malloc(max(n, <size_t>1) * sizeof(keyed_t))
    for i in range(n):
        array[i].key = keys[i]
        array[i].place = i
    sort_part(array, n, sizeof(keyed_t), _by_key, first, last)
    result = [array[i].place for i in range(n)]
    free(array)
    return result


cdef struct adversary_t:
    int64_t* keys  # 0: still open, and less than all that are decided
    int64_t next  # key to give, from the greatest down
    size_t candidate  # the pivot, most likely


cdef struct adverse_t:
    adversary_t* by
    size_t place


cdef int _by_adversary(const void* a, const void* b) noexcept nogil:
    cdef adversary_t* by = (<const adverse_t*>a).by
    cdef size_t x = (<const adverse_t*>a).place
    cdef size_t y = (<const adverse_t*>b).place
    if by.keys[x] == 0 and by.keys[y] == 0:
        by.keys[x if x == by.candidate else y] = by.next
        by.next -= 1
    if by.keys[x] == 0:
        by.candidate = x
    elif by.keys[y] == 0:
        by.candidate = y
    return (by.keys[x] > by.keys[y]) - (by.keys[x] < by.keys[y])


def part_worst(uint32_t n):
    """Keys whose pivots are all among the greatest: decided while they are compared (McIlroy, "A Killer Adversary for
    Quicksort", 1999)."""
    cdef adversary_t by
    cdef adverse_t* array = <adverse_t*>malloc(n * sizeof(adverse_t))
    cdef size_t i
    by.keys = <int64_t*>calloc(n, sizeof(int64_t))
    by.next = n
    by.candidate = 0
    for i in range(n):
        array[i].by = &by
        array[i].place = i
    sort_part(array, n, sizeof(adverse_t), _by_adversary, 0, n - 1)
    result = [by.keys[i] for i in range(n)]
    free(array)
    free(by.keys)
    return result
