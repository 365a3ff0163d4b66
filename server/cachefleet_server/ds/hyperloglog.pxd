"""HyperLogLog in a string, byte for byte as Redis and Valkey keep it: how many different elements it met, to 0.81 %.

    "HYLL" | encoding 1 | zero 3 | cached count 8, little-endian; its top bit: not valid | registers

    dense   16384 registers of 6 bits, from the lowest bit up: 12288 bytes
    sparse  runs that sum to 16384 registers:  00nnnnnn           ZERO   n+1 registers are 0
                                               01nnnnnn nnnnnnnn  XZERO  n+1
                                               1vvvvvnn           VAL    n+1 registers are v+1

An element's 64-bit hash chooses a register by its lowest 14 bits; the position of the lowest bit set in the other 50 is
its rank (1 to 51); a register holds the greatest rank it met. Sparse becomes dense when a rank is above 32, or when the
string would grow beyond `sparse_max` (hll-sparse-max-bytes); never back. Which neighbours are joined after a change,
and that no more are, is part of the format: peers' bytes are compared (DUMP, DEBUG DIGEST).

A string lies wherever its owner keeps it, so nothing here allocates. A change is a plan, room and a commit:

    hll_plan(data, len, index, rank, sparse_max, NULL, &plan)
    if plan.outcome == HLL_CHANGE:  (room for plan.room bytes at data, which may move)
        len = hll_commit(data, len, &plan)

PFMERGE checks all strings. If one is dense, so becomes the target, and each source is merged into it in place; else all
are merged into raw registers, which a copy of the target in a scratch buffer absorbs, one register after the other as a
peer does: so the bytes are equal, and a merge that is refused has changed nothing.

A commit invalidates the cached count. Nothing trusts the bytes: a string may hold anything (SET, SETRANGE, RESTORE).
`hll_is` judges the header and a dense string's length, as commands do before they reply WRONGTYPE; functions that walk
runs say when these are broken (INVALIDOBJ).

Cost: a dense change O(1); a sparse one O(bytes), up to eight runs a step. Merging and counting spread registers to
bytes, "raw": a vector pass for a merge, one for each four values up to the greatest when counting. Measured (ns of CPU,
a busy machine; tests/perf/bench_bits.py), ours / Valkey 9.1's command less its overhead: an element to a dense string
6 / 70, to a sparse one of 689 bytes 190 / 270, of 2709 bytes 360 / 810; PFCOUNT of a dense one 2060 / 8180; PFMERGE of
two dense ones 1120 / 1810, of sparse ones of 1000 and 200 elements 24 000 / 754 000. Steps without branches were slower
(700 for 360): each waits for the one before.

`hll_check` returns 0 or the first rule that is broken:
  1 at least a header  2 the magic  3 a known encoding  4 dense: 12304 bytes  5 sparse: no run is cut off by the end
  6 runs sum to at most 16384 registers  7 and not to fewer
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cachefleet_server.ds.intrin cimport cf_ctz64, cf_load16, cf_load64, cf_store16

cdef enum:
    HLL_HEADER = 16
    HLL_BITS = 14
    HLL_REGISTERS = 1 << HLL_BITS
    HLL_RANK_MAX = 64 - HLL_BITS + 1
    HLL_PACKED = HLL_REGISTERS * 6 / 8
    HLL_DENSE_BYTES = HLL_HEADER + HLL_PACKED
    HLL_EMPTY_BYTES = HLL_HEADER + 2
    HLL_WORK_BYTES = HLL_HEADER + 2 * HLL_REGISTERS  # no sparse string that sums to 16384 is longer

    HLL_DENSE = 0  # encodings
    HLL_SPARSE = 1
    HLL_RUN_VALUE_MAX = 32  # of a VAL
    HLL_RUN_MAX = 4  # registers of a VAL
    HLL_ZERO_MAX = 64

    HLL_SAME = 0  # outcomes
    HLL_CHANGE = 1
    HLL_CORRUPT = 2

cdef struct hll_run_t:
    uint32_t first  # its first register; set by finding, not by hll_run
    int value  # 0: ZERO, or XZERO if size is 2
    uint32_t count  # registers
    int size  # bytes

cdef struct hll_cursor_t:  # finds greater registers without walking from the beginning; zero is the beginning
    size_t at  # offset behind the header: the run before the one that was found
    uint32_t first  # register that the run there begins with

cdef struct hll_plan_t:
    int outcome
    bint promote
    size_t room  # bytes that must be at data before the commit
    size_t at  # offset of the run that is replaced
    size_t before  # and of the one before it, or the same
    int old_size
    int new_size
    uint8_t code[5]
    uint8_t rank
    uint32_t index

cdef size_t hll_new(uint8_t* data) noexcept nogil  # HLL_EMPTY_BYTES; cached count 0
cdef bint hll_is(const uint8_t* data, size_t len) noexcept nogil
cdef int hll_check(const uint8_t* data, size_t len) noexcept nogil  # what follows needs hll_is alone
cdef void hll_plan(
    const uint8_t* data, size_t len, uint32_t index, int rank, size_t sparse_max, hll_cursor_t* cursor, hll_plan_t* plan
) noexcept nogil
    # cursor: NULL, or left by a plan with a smaller index whose commit, if it had one, is the only change since.
cdef size_t hll_commit(uint8_t* data, size_t len, const hll_plan_t* plan) noexcept nogil  # the new length
cdef bint hll_to_dense(uint8_t* out, const uint8_t* data, size_t len) noexcept nogil
    # HLL_DENSE_BYTES at out, which may be data; keeps the cached count. False, and nothing written: runs are broken.
cdef bint hll_merge_raw(uint8_t* raw, const uint8_t* data, size_t len) noexcept nogil
    # raw: HLL_REGISTERS bytes, each becomes the greater of both. False: runs are broken (raw may have changed).
cdef void hll_merge_dense(uint8_t* data, const uint8_t* source, size_t len) noexcept nogil
    # A dense string, in place. The source has passed hll_check.
cdef size_t hll_absorb(uint8_t* data, size_t len, const uint8_t* raw, size_t sparse_max) noexcept nogil
    # A sparse string becomes raw, into which it was merged itself; HLL_WORK_BYTES at data. The new length; 0: broken.
cdef bint hll_count(const uint8_t* data, size_t len, uint64_t* out) noexcept nogil  # without the cache; false: broken
cdef uint64_t hll_count_raw(const uint8_t* raw) noexcept nogil
cdef int hll_selftest(uint64_t seed) noexcept nogil  # PFSELFTEST: 0, or the number of the test that failed

cdef inline bint hll_cached(const uint8_t* data, uint64_t* out) noexcept nogil:
    out[0] = cf_load64(data + 8)
    return not data[15] & 0x80

cdef inline void hll_invalidate(uint8_t* data) noexcept nogil:
    data[15] |= 0x80

cdef inline int hll_get(const uint8_t* data, uint32_t index) noexcept nogil:
    """A register of a dense string. Two registers lie in the 16 bits from the first byte of four, two in those from
    the second: so the last read ends with the string."""
    cdef uint32_t pair = index >> 1 & 1
    return cf_load16(data + HLL_HEADER + (index >> 2) * 3 + pair) >> (6 * (index & 3) - 8 * pair) & 63

cdef inline void hll_put(uint8_t* data, uint32_t index, int rank) noexcept nogil:
    cdef uint32_t pair = index >> 1 & 1
    cdef int shift = 6 * (index & 3) - 8 * pair
    cdef uint8_t* p = data + HLL_HEADER + (index >> 2) * 3 + pair
    cf_store16(p, <uint16_t>((cf_load16(p) & ~(63 << shift)) | (rank << shift)))

cdef inline bint hll_run(const uint8_t* p, const uint8_t* end, hll_run_t* run) noexcept nogil:
    """The run at p < end; false: the end cuts it off."""
    cdef uint8_t code = p[0]
    run.size = 1
    if code & 0x80:
        run.value = (code >> 2 & 31) + 1
        run.count = (code & 3) + 1
        return True
    run.value = 0
    run.count = code + 1
    if code & 0x40:
        run.size = 2
        if end - p < 2:
            return False
        run.count = ((code & 63) << 8 | p[1]) + 1
    return True

cdef inline uint64_t hll_hash(const uint8_t* p, size_t n) noexcept nogil:
    """MurmurHash64A with the format's seed."""
    cdef uint64_t mix = <uint64_t>0xC6A4A7935BD1E995
    cdef uint64_t h = <uint64_t>0xADC83B19 ^ n * mix
    cdef uint64_t word
    cdef size_t left = n
    while left >= 8:
        word = cf_load64(p) * mix
        h = (h ^ (word ^ word >> 47) * mix) * mix
        p += 8
        left -= 8
    if left:
        word = 0
        while left:
            left -= 1
            word = word << 8 | p[left]
        h = (h ^ word) * mix
    h = (h ^ h >> 47) * mix
    return h ^ h >> 47

cdef inline int hll_rank(const uint8_t* p, size_t n, uint32_t* index) noexcept nogil:
    """An element's rank, and its register."""
    cdef uint64_t h = hll_hash(p, n)
    index[0] = h & (HLL_REGISTERS - 1)
    return cf_ctz64(h >> HLL_BITS | <uint64_t>1 << (64 - HLL_BITS)) + 1
