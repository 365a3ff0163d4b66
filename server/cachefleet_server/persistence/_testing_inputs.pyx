"""Inputs for fuzzing; see _testing_inputs.pxd."""

from libc.string cimport memcpy, memmove

cdef enum:
    MUTATIONS_MAX = 6

cdef uint64_t[24] NUMBERS = [
    0, 1, 2, 10, 11, 63, 64, 127, 128, 252, 253, 254, 255, 256, 16383, 16384, 32767, 32768, 65534, 65535,
    2147483647, 2147483648, 4294967295, 18446744073709551615]


cdef inline uint64_t _random(fuzz_t* f) noexcept nogil:
    f.rng ^= f.rng << 13
    f.rng ^= f.rng >> 7
    f.rng ^= f.rng << 17
    return f.rng


cdef size_t input_below(fuzz_t* f, size_t n) noexcept nogil:
    return (_random(f) >> 16) % n if n else 0


cdef uint64_t _start(uint64_t seed, uint64_t number) noexcept nogil:
    """Of input `number`: never 0."""
    cdef uint64_t z = seed * <uint64_t>0x9E3779B97F4A7C15 + number + 1
    z = (z ^ z >> 30) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ z >> 27) * <uint64_t>0x94D049BB133111EB
    return (z ^ z >> 31) | 1


cdef void _insert(fuzz_t* f, size_t at, const char* p, size_t n) noexcept nogil:
    """Bytes that may be the input's own."""
    cdef char copy[64]
    n = min(min(n, <size_t>64), INPUT_MAX - f.n)
    memcpy(copy, p, n)
    memmove(f.data + at + n, f.data + at, f.n - at)
    memcpy(f.data + at, copy, n)
    f.n += n


cdef void _mutate(fuzz_t* f) noexcept nogil:
    cdef size_t at = input_below(f, f.n)
    cdef size_t n
    cdef uint64_t number
    cdef int kind = input_below(f, 8)
    if f.n == 0:
        kind = 4
    if kind == 0:
        f.data[at] ^= <char>(1 << input_below(f, 8))
    elif kind == 1:
        f.data[at] = <char>_random(f)
    elif kind == 2 or kind == 3:  # a number in 1, 2, 4 or 8 bytes, near one where codes change
        number = NUMBERS[input_below(f, 24)] + input_below(f, 3) - 1
        n = min(<size_t>1 << input_below(f, 4), f.n - at)
        memcpy(f.data + at, &number, n)
    elif kind == 4:
        number = _random(f)
        _insert(f, at, <char*>&number, 1 + input_below(f, 8))
    elif kind == 5:
        n = min(1 + input_below(f, 16), f.n - at)
        memmove(f.data + at, f.data + at + n, f.n - at - n)
        f.n -= n
    elif kind == 6:  # an element again, perhaps
        n = min(1 + input_below(f, 40), f.n - at)
        _insert(f, input_below(f, f.n), f.data + at, n)
    else:
        f.n = at


cdef void input_draw(fuzz_t* f, uint64_t seed, uint64_t number, fix_fn fix) noexcept nogil:
    cdef bytes_t* base
    cdef size_t left, tail
    f.rng = _start(seed, number)
    base = &f.corpus[input_below(f, f.corpus_len)]
    left = input_below(f, MUTATIONS_MAX + 1)
    f.n = min(base.n, <size_t>INPUT_MAX)
    memcpy(f.data, base.p, f.n)
    if input_below(f, 8) == 0:  # the end of another one
        base = &f.corpus[input_below(f, f.corpus_len)]
        f.n = input_below(f, f.n + 1)
        tail = min(input_below(f, base.n + 1), INPUT_MAX - f.n)
        memcpy(f.data + f.n, base.p + base.n - tail, tail)
        f.n += tail
    while left:
        _mutate(f)
        left -= 1
    if fix != NULL and f.n and input_below(f, 2):
        fix(f.data, f.n)


cdef void input_given(fuzz_t* f, const char* p, size_t n) noexcept nogil:
    f.rng = _start(n, 0)
    f.n = min(n, <size_t>INPUT_MAX)
    memcpy(f.data, p, f.n)
