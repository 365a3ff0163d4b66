"""Sorting parts of arrays. The theory is in partsort.pxd."""

from libc.stdint cimport uint64_t

cdef enum:
    INSERTION_MAX = 7  # so many elements and more are divided
    NINTHER_MIN = 40  # more than that: the pivot is a median of medians

cdef struct job_t:
    char* base
    size_t size
    compare_t compare
    size_t first
    size_t last


cdef inline int _compare(const job_t* job, size_t i, size_t j) noexcept nogil:
    return job.compare(job.base + i * job.size, job.base + j * job.size)


cdef inline void _swap(const job_t* job, size_t i, size_t j) noexcept nogil:
    cdef uint64_t* a = <uint64_t*>(job.base + i * job.size)
    cdef uint64_t* b = <uint64_t*>(job.base + j * job.size)
    cdef uint64_t word
    cdef size_t k
    for k in range(job.size // sizeof(uint64_t)):
        word = a[k]
        a[k] = b[k]
        b[k] = word


cdef inline size_t _median(const job_t* job, size_t i, size_t j, size_t k) noexcept nogil:
    if _compare(job, i, j) < 0:
        if _compare(job, j, k) < 0:
            return j
        return k if _compare(job, i, k) < 0 else i
    if _compare(job, j, k) > 0:
        return j
    return i if _compare(job, i, k) < 0 else k


cdef size_t _pivot(const job_t* job, size_t low, size_t n) noexcept nogil:
    cdef size_t a = low
    cdef size_t b = low + n // 2
    cdef size_t c = low + n - 1
    cdef size_t step = n // 8
    if n == INSERTION_MAX:
        return b
    if n > NINTHER_MIN:
        a = _median(job, a, a + step, a + 2 * step)
        b = _median(job, b - step, b, b + step)
        c = _median(job, c - 2 * step, c - step, c)
    return _median(job, a, b, c)


cdef void _insert(const job_t* job, size_t low, size_t n) noexcept nogil:
    cdef size_t i, j
    for i in range(low + 1, low + n):
        j = i
        while j > low and _compare(job, j - 1, j) > 0:
            _swap(job, j - 1, j)
            j -= 1


cdef inline void _swap_runs(const job_t* job, size_t i, size_t j, size_t n) noexcept nogil:
    cdef size_t k
    for k in range(n):
        _swap(job, i + k, j + k)


cdef inline bint _wanted(const job_t* job, size_t low, size_t n) noexcept nogil:
    return n > 1 and low <= job.last and low + n > job.first


cdef void _divide(const job_t* job, size_t low, size_t n, size_t* smaller, size_t* greater) noexcept nogil:
    """How many are less than the pivot, which come first then, and how many are greater, which come last."""
    cdef size_t equal_low = low + 1  # behind the equal ones at the lower end
    cdef size_t up = low + 1
    cdef size_t down = low + n - 1
    cdef size_t equal_high = low + n - 1
    cdef size_t run
    cdef int r
    _swap(job, low, _pivot(job, low, n))
    while True:
        while up <= down:
            r = _compare(job, up, low)
            if r > 0:
                break
            if r == 0:
                _swap(job, equal_low, up)
                equal_low += 1
            up += 1
        while up <= down:
            r = _compare(job, down, low)
            if r < 0:
                break
            if r == 0:
                _swap(job, down, equal_high)
                equal_high -= 1
            down -= 1
        if up > down:
            break
        _swap(job, up, down)
        up += 1
        down -= 1
    smaller[0] = up - equal_low
    greater[0] = equal_high - down
    run = min(equal_low - low, smaller[0])
    _swap_runs(job, low, up - run, run)
    run = min(greater[0], low + n - equal_high - 1)
    _swap_runs(job, up, low + n - run, run)


cdef void _sort(const job_t* job, size_t low, size_t n) noexcept nogil:
    cdef size_t smaller, greater, upper
    while n >= INSERTION_MAX:
        _divide(job, low, n, &smaller, &greater)
        upper = low + n - greater
        if smaller <= greater:
            if _wanted(job, low, smaller):
                _sort(job, low, smaller)
            low = upper
            n = greater
        else:
            if _wanted(job, upper, greater):
                _sort(job, upper, greater)
            n = smaller
        if not _wanted(job, low, n):
            return
    _insert(job, low, n)


cdef void sort_part(void* base, size_t n, size_t size, compare_t compare, size_t first, size_t last) noexcept nogil:
    cdef job_t job
    job.base = <char*>base
    job.size = size
    job.compare = compare
    job.first = first
    job.last = last
    _sort(&job, 0, n)
