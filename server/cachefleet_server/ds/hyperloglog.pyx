"""HyperLogLog strings: finding and replacing runs, merging, counting.

The count is Ertl's improved estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): it
needs only how many registers hold each value, and no tables of bias. Its sums are taken in the order in which peers
take them, so that results are equal to the last integer.
"""

from libc.math cimport INFINITY, fabs, llround, sqrt
from libc.string cimport memcpy, memmove, memset

from cachefleet_server.ds.vector cimport cf_hll_count, cf_hll_max, cf_hll_merge, cf_hll_pack

cdef extern from *:
    """
    #define HLL_COUNT_MAX 9223372036854775808.0 /* peers show it as -2^63, and never cache it: its top bit is set */
    #define HLL_ALPHA 0.721347520444481703680 /* 1 / (2 ln 2) */
    """
    const double HLL_COUNT_MAX
    const double HLL_ALPHA

cdef enum:
    JOIN_STEPS = 5  # runs that are looked at after a change, from the one before it on
    HISTOGRAM = 64

    SELFTEST_DENSE_ROUNDS = 20
    SELFTEST_ELEMENTS = 200_000


cdef size_t hll_new(uint8_t* data) noexcept nogil:
    memset(data, 0, HLL_EMPTY_BYTES)
    memcpy(data, b"HYLL", 4)
    data[4] = HLL_SPARSE
    _write_zeros(data + HLL_HEADER, HLL_REGISTERS)
    return HLL_EMPTY_BYTES


cdef bint hll_is(const uint8_t* data, size_t len) noexcept nogil:
    return _check_header(data, len) == 0


cdef int _check_header(const uint8_t* data, size_t len) noexcept nogil:
    if len < HLL_HEADER:
        return 1
    if data[0] != c"H" or data[1] != c"Y" or data[2] != c"L" or data[3] != c"L":
        return 2
    if data[4] > HLL_SPARSE:
        return 3
    if data[4] == HLL_DENSE and len != HLL_DENSE_BYTES:
        return 4
    return 0


cdef int hll_check(const uint8_t* data, size_t len) noexcept nogil:
    cdef int error = _check_header(data, len)
    cdef const uint8_t* p = data + HLL_HEADER
    cdef const uint8_t* end = data + len
    cdef uint32_t sum = 0
    cdef hll_run_t run
    if error or data[4] == HLL_DENSE:
        return error
    while p < end:
        if not hll_run(p, end, &run):
            return 5
        sum += run.count
        if sum > HLL_REGISTERS:
            return 6
        p += run.size
    return 0 if sum == HLL_REGISTERS else 7


# ---- changing one register -----------------------------------------------------------------------

cdef inline int _write_zeros(uint8_t* out, uint32_t count) noexcept nogil:
    """Bytes written."""
    count -= 1
    if count < HLL_ZERO_MAX:
        out[0] = count
        return 1
    out[0] = 0x40 | count >> 8
    out[1] = count & 255
    return 2


cdef inline uint8_t _value(int value, int count) noexcept nogil:
    return 0x80 | (value - 1) << 2 | (count - 1)


cdef struct step_t:  # up to eight runs: those before the first XZERO, and that one
    uint32_t count  # registers
    uint32_t last_count  # of the last run
    int size  # bytes
    int last_size


cdef inline void _step(const uint8_t* p, step_t* step) noexcept nogil:
    """From 9 readable bytes."""
    cdef uint64_t low = <uint64_t>0x0101010101010101
    cdef uint64_t pairs = <uint64_t>0x00FF00FF00FF00FF
    cdef uint64_t word = cf_load64(p)
    cdef uint64_t wide = word & ~(word >> 1) & low << 6  # 01xxxxxx: the first is an XZERO's, later ones may not be
    cdef uint64_t counts = (word & (low * 63 ^ (word >> 7 & low) * 60)) + low
    cdef int before
    if wide:
        before = cf_ctz64(wide) >> 3
        step.last_count = ((p[before] & 63) << 8 | p[before + 1]) + 1
        step.last_size = 2
        step.size = before + 2
        step.count = step.last_count
        counts &= (<uint64_t>1 << 8 * before) - 1
    else:
        step.last_count = counts >> 56
        step.last_size = 1
        step.size = 8
        step.count = 0
    counts = (counts & pairs) + (counts >> 8 & pairs)
    step.count += <uint32_t>(counts * (pairs / 255) >> 48)


cdef const uint8_t* _find(
    const uint8_t* data, size_t len, uint32_t index, hll_cursor_t* cursor, hll_run_t* run
) noexcept nogil:
    """The run that holds a register; NULL: broken. The cursor becomes the run before it, or the first itself."""
    cdef const uint8_t* begin = data + HLL_HEADER
    cdef const uint8_t* end = data + len
    cdef const uint8_t* start = begin + cursor.at
    cdef const uint8_t* p = start
    cdef uint32_t first = cursor.first
    cdef uint32_t last_count = 0
    cdef int last_size = 0
    cdef step_t step
    while end - p >= 9:
        _step(p, &step)
        if first + step.count > index:
            break
        p += step.size
        first += step.count
        last_count = step.last_count
        last_size = step.last_size
    while p < end:
        if not hll_run(p, end, run):
            return NULL
        if index < first + run.count:
            break
        p += run.size
        first += run.count
        last_count = run.count
        last_size = run.size
    if p >= end:
        return NULL
    if p == start and cursor.at:  # what comes before a cursor's run is not known
        cursor.at = cursor.first = 0
        return _find(data, len, index, cursor, run)
    cursor.at = p - last_size - begin
    cursor.first = first - last_count
    run.first = first
    return p


cdef inline uint8_t* _write_run(uint8_t* out, int value, uint32_t count) noexcept nogil:
    """So many registers, perhaps none, of one value. Where the next run goes."""
    if count == 0:
        return out
    if value == 0:
        return out + _write_zeros(out, count)
    out[0] = _value(value, count)
    return out + 1


cdef inline void _replace(hll_plan_t* plan, const hll_run_t* run, uint32_t index, int rank) noexcept nogil:
    """The runs that say what `run` said but for one register."""
    cdef uint32_t before = index - run.first
    cdef uint8_t* out = _write_run(plan.code, run.value, before)
    out = _write_run(out, rank, 1)
    out = _write_run(out, run.value, run.count - before - 1)
    plan.new_size = out - plan.code


cdef void hll_plan(
    const uint8_t* data, size_t len, uint32_t index, int rank, size_t sparse_max, hll_cursor_t* cursor, hll_plan_t* plan
) noexcept nogil:
    cdef const uint8_t* p
    cdef hll_cursor_t from_start
    cdef hll_run_t run
    plan.index = index
    plan.rank = rank
    plan.promote = False
    plan.room = len
    if data[4] == HLL_DENSE:
        plan.outcome = HLL_CHANGE if rank > hll_get(data, index) else HLL_SAME
        return
    if rank > HLL_RUN_VALUE_MAX:
        _plan_promotion(data, len, plan)
        return
    if cursor == NULL:
        from_start.at = from_start.first = 0
        cursor = &from_start
    p = _find(data, len, index, cursor, &run)
    if p == NULL:
        plan.outcome = HLL_CORRUPT
        return
    if run.value >= rank:
        plan.outcome = HLL_SAME
        return
    plan.outcome = HLL_CHANGE
    plan.at = p - data
    plan.before = HLL_HEADER + cursor.at
    plan.old_size = run.size
    _replace(plan, &run, index, rank)
    if plan.new_size > plan.old_size:
        plan.room = len + plan.new_size - plan.old_size
        if plan.room > sparse_max:
            _plan_promotion(data, len, plan)


cdef void _plan_promotion(const uint8_t* data, size_t len, hll_plan_t* plan) noexcept nogil:
    plan.promote = True
    plan.room = max(len, <size_t>HLL_DENSE_BYTES)
    plan.outcome = HLL_CORRUPT if hll_check(data, len) else HLL_CHANGE


cdef size_t hll_commit(uint8_t* data, size_t len, const hll_plan_t* plan) noexcept nogil:
    cdef uint8_t* after
    if plan.promote:
        hll_to_dense(data, data, len)
        len = HLL_DENSE_BYTES
    hll_invalidate(data)
    if data[4] == HLL_DENSE:
        hll_put(data, plan.index, plan.rank)
        return len
    after = data + plan.at + plan.old_size
    if plan.new_size != plan.old_size:
        memmove(data + plan.at + plan.new_size, after, data + len - after)
        len = len + plan.new_size - plan.old_size
    memcpy(data + plan.at, plan.code, plan.new_size)
    return _join(data, plan.before, len)


cdef size_t _join(uint8_t* data, size_t at, size_t len) noexcept nogil:
    """Joins VALs of the same value from `at` on; the new length. Each look at a run is one of JOIN_STEPS, also one
    that has just been joined and is looked at again."""
    cdef uint8_t* p = data + at
    cdef uint8_t* end = data + len
    cdef int count, _step
    for _step in range(JOIN_STEPS):
        if p >= end:
            break
        if not p[0] & 0x80:
            p += 2 if p[0] & 0x40 else 1
            continue
        if end - p > 1 and (p[0] ^ p[1]) & 0xFC == 0:
            count = (p[0] & 3) + (p[1] & 3) + 2
            if count <= HLL_RUN_MAX:
                p[1] = (p[1] & 0xFC) | (count - 1)
                memmove(p, p + 1, end - p - 1)
                end -= 1
                continue
        p += 1
    return end - data


# ---- all registers -------------------------------------------------------------------------------

cdef bint hll_merge_raw(uint8_t* raw, const uint8_t* data, size_t len) noexcept nogil:
    cdef const uint8_t* p = data + HLL_HEADER
    cdef const uint8_t* end = data + len
    cdef uint32_t first = 0
    cdef uint32_t i
    cdef hll_run_t run
    if data[4] == HLL_DENSE:
        cf_hll_max(raw, p)
        return True
    while p < end:
        if not hll_run(p, end, &run) or first + run.count > HLL_REGISTERS:
            return False
        if run.value:
            for i in range(run.count):
                raw[first + i] = max(raw[first + i], <uint8_t>run.value)
        p += run.size
        first += run.count
    return first == HLL_REGISTERS


cdef bint hll_to_dense(uint8_t* out, const uint8_t* data, size_t len) noexcept nogil:
    cdef uint8_t raw[HLL_REGISTERS]
    if data[4] == HLL_DENSE:
        memmove(out, data, len)
        return True
    memset(raw, 0, HLL_REGISTERS)
    if not hll_merge_raw(raw, data, len):
        return False
    memmove(out, data, HLL_HEADER)
    out[4] = HLL_DENSE
    cf_hll_pack(out + HLL_HEADER, raw)
    return True


cdef void hll_merge_dense(uint8_t* data, const uint8_t* source, size_t len) noexcept nogil:
    cdef const uint8_t* p = source + HLL_HEADER
    cdef const uint8_t* end = source + len
    cdef uint32_t first = 0
    cdef uint32_t i
    cdef hll_run_t run
    hll_invalidate(data)
    if source[4] == HLL_DENSE:
        cf_hll_merge(data + HLL_HEADER, p)
        return
    while p < end and hll_run(p, end, &run) and first + run.count <= HLL_REGISTERS:
        if run.value:
            for i in range(first, first + run.count):
                if run.value > hll_get(data, i):
                    hll_put(data, i, run.value)
        p += run.size
        first += run.count


cdef size_t hll_absorb(uint8_t* data, size_t len, const uint8_t* raw, size_t sparse_max) noexcept nogil:
    cdef hll_cursor_t cursor
    cdef hll_plan_t plan
    cdef uint32_t index = 0
    cursor.at = cursor.first = 0
    while index < HLL_REGISTERS:
        if index & 7 == 0 and cf_load64(raw + index) == 0:
            index += 8
            continue
        if raw[index]:
            hll_plan(data, len, index, raw[index], sparse_max, &cursor, &plan)
            if plan.outcome == HLL_CORRUPT:
                return 0
            if plan.promote:
                data[4] = HLL_DENSE
                cf_hll_pack(data + HLL_HEADER, raw)
                len = HLL_DENSE_BYTES
                break
            if plan.outcome == HLL_CHANGE:
                len = hll_commit(data, len, &plan)
        index += 1
    hll_invalidate(data)
    return len


# ---- counting ------------------------------------------------------------------------------------

cdef void _histogram(const uint8_t* raw, uint32_t* counts) noexcept nogil:
    """One pass for each four values, but for those above the greatest."""
    cdef uint32_t left = HLL_REGISTERS
    cdef int value = 0
    memset(counts, 0, HISTOGRAM * sizeof(uint32_t))
    while left:
        cf_hll_count(raw, value, &counts[value])
        left -= counts[value] + counts[value + 1] + counts[value + 2] + counts[value + 3]
        value += 4


cdef double _sigma(double x) noexcept nogil:
    """x + sum of x^(2^k) * 2^(k-1), k from 1 on: what registers that are still 0 add. Ertl, section 4.2."""
    cdef double before = -1
    cdef double weight = 1
    cdef double z = x
    if x == 1:
        return INFINITY
    while z != before:
        before = z
        x *= x
        z += x * weight
        weight += weight
    return z


cdef double _tau(double x) noexcept nogil:
    """(1 - x - sum of (1 - x^(2^-k))^2 * 2^-k, k from 1 on) / 3: what registers at the greatest rank add."""
    cdef double before = -1
    cdef double weight = 1
    cdef double z = 1 - x
    if x == 0 or x == 1:
        return 0
    while z != before:
        before = z
        x = sqrt(x)
        weight *= 0.5
        z -= (1 - x) * (1 - x) * weight
    return z / 3


cdef uint64_t _estimate(const uint32_t* counts) noexcept nogil:
    cdef double m = HLL_REGISTERS
    cdef double z = m * _tau((m - counts[HLL_RANK_MAX]) / m)
    cdef double result
    cdef int rank
    for rank in range(HLL_RANK_MAX - 1, 0, -1):
        z = (z + counts[rank]) * 0.5
    z += m * _sigma(counts[0] / m)
    result = HLL_ALPHA * m * m / z
    if result >= HLL_COUNT_MAX:  # registers that no elements can have set
        return <uint64_t>1 << 63
    return llround(result)


cdef uint64_t hll_count_raw(const uint8_t* raw) noexcept nogil:
    cdef uint32_t counts[HISTOGRAM]
    _histogram(raw, counts)
    return _estimate(counts)


cdef bint hll_count(const uint8_t* data, size_t len, uint64_t* out) noexcept nogil:
    cdef uint8_t raw[HLL_REGISTERS]
    cdef uint32_t counts[HISTOGRAM]
    cdef const uint8_t* p = data + HLL_HEADER
    cdef const uint8_t* end = data + len
    cdef uint32_t sum = 0
    cdef hll_run_t run
    if data[4] == HLL_DENSE:
        memset(raw, 0, HLL_REGISTERS)
        cf_hll_max(raw, p)
        out[0] = hll_count_raw(raw)
        return True
    memset(counts, 0, sizeof(counts))
    while p < end:
        if not hll_run(p, end, &run):
            return False
        counts[run.value] += run.count
        sum += run.count
        if sum > HLL_REGISTERS:
            return False
        p += run.size
    out[0] = _estimate(counts)
    return sum == HLL_REGISTERS


# ---- PFSELFTEST ----------------------------------------------------------------------------------

cdef inline uint64_t _next(uint64_t* state) noexcept nogil:
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


cdef int hll_selftest(uint64_t seed) noexcept nogil:
    cdef uint8_t data[HLL_WORK_BYTES]
    cdef uint8_t raw[HLL_REGISTERS]
    cdef uint64_t state = seed | 1
    cdef uint32_t registers = HLL_REGISTERS
    cdef uint32_t i
    cdef int _round
    for _round in range(SELFTEST_DENSE_ROUNDS):  # 1: registers of 6 bits do not touch their neighbours
        memset(data, 0, HLL_DENSE_BYTES)
        for i in range(registers):
            raw[i] = _next(&state) & 63
            hll_put(data, i, raw[i])
        for i in range(registers):
            if hll_get(data, i) != raw[i]:
                return 1
    return _selftest_counts(data, raw, &state)


cdef int _selftest_counts(uint8_t* data, uint8_t* raw, uint64_t* state) noexcept nogil:
    """2: a broken string  3: sparse and dense differ  4: the count is off by more than 4 times the standard error."""
    cdef size_t len = hll_new(data)
    cdef uint64_t element, count, raw_count
    cdef uint64_t checkpoint = 1
    cdef uint32_t index, n
    cdef hll_plan_t plan
    memset(raw, 0, HLL_REGISTERS)
    for n in range(1, SELFTEST_ELEMENTS + 1):
        element = _next(state)
        plan.rank = hll_rank(<const uint8_t*>&element, 8, &index)
        raw[index] = max(raw[index], plan.rank)
        hll_plan(data, len, index, plan.rank, HLL_WORK_BYTES, NULL, &plan)
        if plan.outcome == HLL_CHANGE:
            len = hll_commit(data, len, &plan)
        if n != checkpoint:
            continue
        checkpoint *= 3
        if hll_check(data, len) or not hll_count(data, len, &count):
            return 2
        raw_count = hll_count_raw(raw)
        if raw_count != count:
            return 3
        if fabs(<double>count - n) > 4 * 0.0081 * n + 1:
            return 4
    return 0
