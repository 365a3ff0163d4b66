"""Numbers to text and back; see number.pxd for what each function accepts.

Doubles are printed by Grisu2 (F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with
Integers", 2010): scale the number and its rounding interval by a cached power of ten so that 64-bit
integers suffice, then generate digits until the rest is inside the interval. The digits always read back
as the same double; in about one case in a thousand they are not the fewest or nearest possible.
Valkey prints by the same method, so the choice of powers below is part of the wire format.

Doubles are read by the exact short cut (a mantissa below 2^53 and a power of ten up to 22 are both
doubles, and one operation rounds once), else by the C library, which rounds correctly.
"""

from libc cimport errno
from libc.math cimport HUGE_VAL, copysign, isinf, isnan
from libc.stdint cimport INT64_MAX, UINT64_MAX, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtod
from libc.string cimport memcpy, memset

from cachefleet_server.ds.intrin cimport cf_clz64, cf_mul128_high_rounded

cdef extern from *:
    """
    #include <langinfo.h>
    #include <locale.h>
    #include <stdlib.h>

    static const char cf_digit_pairs[201] =
        "0001020304050607080910111213141516171819" "2021222324252627282930313233343536373839"
        "4041424344454647484950515253545556575859" "6061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";

    static const double cf_exact_tens[23] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };

    /* 10^(8 i - 348) as a 64-bit fraction with its top bit set, rounded; the binary exponent is
     * floor(log2(10^k)) - 63. */
    static const uint64_t cf_cached_tens[87] = {
        0xfa8fd5a0081c0288u, 0xbaaee17fa23ebf76u, 0x8b16fb203055ac76u, 0xcf42894a5dce35eau, 0x9a6bb0aa55653b2du,
        0xe61acf033d1a45dfu, 0xab70fe17c79ac6cau, 0xff77b1fcbebcdc4fu, 0xbe5691ef416bd60cu, 0x8dd01fad907ffc3cu,
        0xd3515c2831559a83u, 0x9d71ac8fada6c9b5u, 0xea9c227723ee8bcbu, 0xaecc49914078536du, 0x823c12795db6ce57u,
        0xc21094364dfb5637u, 0x9096ea6f3848984fu, 0xd77485cb25823ac7u, 0xa086cfcd97bf97f4u, 0xef340a98172aace5u,
        0xb23867fb2a35b28eu, 0x84c8d4dfd2c63f3bu, 0xc5dd44271ad3cdbau, 0x936b9fcebb25c996u, 0xdbac6c247d62a584u,
        0xa3ab66580d5fdaf6u, 0xf3e2f893dec3f126u, 0xb5b5ada8aaff80b8u, 0x87625f056c7c4a8bu, 0xc9bcff6034c13053u,
        0x964e858c91ba2655u, 0xdff9772470297ebdu, 0xa6dfbd9fb8e5b88fu, 0xf8a95fcf88747d94u, 0xb94470938fa89bcfu,
        0x8a08f0f8bf0f156bu, 0xcdb02555653131b6u, 0x993fe2c6d07b7facu, 0xe45c10c42a2b3b06u, 0xaa242499697392d3u,
        0xfd87b5f28300ca0eu, 0xbce5086492111aebu, 0x8cbccc096f5088ccu, 0xd1b71758e219652cu, 0x9c40000000000000u,
        0xe8d4a51000000000u, 0xad78ebc5ac620000u, 0x813f3978f8940984u, 0xc097ce7bc90715b3u, 0x8f7e32ce7bea5c70u,
        0xd5d238a4abe98068u, 0x9f4f2726179a2245u, 0xed63a231d4c4fb27u, 0xb0de65388cc8ada8u, 0x83c7088e1aab65dbu,
        0xc45d1df942711d9au, 0x924d692ca61be758u, 0xda01ee641a708deau, 0xa26da3999aef774au, 0xf209787bb47d6b85u,
        0xb454e4a179dd1877u, 0x865b86925b9bc5c2u, 0xc83553c5c8965d3du, 0x952ab45cfa97a0b3u, 0xde469fbd99a05fe3u,
        0xa59bc234db398c25u, 0xf6c69a72a3989f5cu, 0xb7dcbf5354e9beceu, 0x88fcf317f22241e2u, 0xcc20ce9bd35c78a5u,
        0x98165af37b2153dfu, 0xe2a0b5dc971f303au, 0xa8d9d1535ce3b396u, 0xfb9b7cd9a4a7443cu, 0xbb764c4ca7a44410u,
        0x8bab8eefb6409c1au, 0xd01fef10a657842cu, 0x9b10a4e5e9913129u, 0xe7109bfba19c0c9du, 0xac2820d9623bf429u,
        0x80444b5e7aa7cf85u, 0xbf21e44003acdd2du, 0x8e679c2f5e44ff8fu, 0xd433179d9c8cb841u, 0x9e19db92b4e31ba9u,
        0xeb96bf6ebadf77d9u, 0xaf87023b9bf0ee6bu,
    };
    """
    const char* cf_digit_pairs
    const double* cf_exact_tens
    const uint64_t* cf_cached_tens
    long double strtold(const char* p, char** end) nogil

    ctypedef void* locale_t
    int LC_ALL_MASK
    int RADIXCHAR
    char* nl_langinfo(int item) nogil
    locale_t newlocale(int mask, const char* name, locale_t base) nogil
    locale_t uselocale(locale_t locale) nogil
    void freelocale(locale_t locale) nogil

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* p, size_t n)


cdef enum:  # what a text is for _read_double
    FINE = 0
    NO_NUMBER = 1
    OUT_OF_RANGE = 2

cdef enum:
    GRISU_EXPONENT_MIN = -60  # of scaled numbers: the integer part fits 32 bits, the fraction keeps 4 spare bits
    GRISU_EXPONENT_MAX = -32
    GRISU_DIGITS_MAX = 20
    DOUBLE_BITS = 53  # of a double's fraction, the hidden one included
    POWERS = 87
    POWER_FIRST = -348
    POWER_STEP = 8


# ---- integers ------------------------------------------------------------------------------------

cdef int uint64_to_chars(char* out, uint64_t v) noexcept nogil:
    cdef char buf[20]
    cdef int at = 20
    cdef uint64_t q
    while v >= 100:
        q = v / 100
        at -= 2
        memcpy(&buf[at], cf_digit_pairs + 2 * (v - 100 * q), 2)
        v = q
    if v >= 10:
        at -= 2
        memcpy(&buf[at], cf_digit_pairs + 2 * v, 2)
    else:
        at -= 1
        buf[at] = 48 + v
    memcpy(out, &buf[at], 20 - at)
    return 20 - at


cdef int int64_to_chars(char* out, int64_t v) noexcept nogil:
    if v >= 0:
        return uint64_to_chars(out, v)
    out[0] = c"-"
    return 1 + uint64_to_chars(out + 1, 0 - <uint64_t>v)


cdef inline bint _is_digit(char c) noexcept nogil:
    return <uint8_t>(c - 48) < 10


cdef bint _digits(const char* p, size_t n, uint64_t* out) noexcept nogil:
    """n decimal digits, at least one; false on another character or on overflow."""
    cdef uint64_t v = 0
    cdef uint64_t digit
    cdef size_t i
    if n == 0:
        return False
    for i in range(n):
        digit = <uint8_t>(p[i] - 48)
        if digit > 9 or v > UINT64_MAX / 10 or 10 * v > UINT64_MAX - digit:
            return False
        v = 10 * v + digit
    out[0] = v
    return True


cdef bint chars_to_int64(const char* p, size_t n, int64_t* out) noexcept nogil:
    cdef bint negative
    cdef uint64_t v = 0
    cdef size_t i
    if n == 0 or n >= INT64_CHARS_MAX:
        return False
    negative = p[0] == c"-"
    if negative:
        p += 1
        n -= 1
    if n == 0 or not _is_digit(p[0]):
        return False
    if p[0] == c"0":
        out[0] = 0
        return n == 1 and not negative
    if n < 19:  # no overflow is possible
        for i in range(n):
            if not _is_digit(p[i]):
                return False
            v = 10 * v + <uint8_t>(p[i] - 48)
    elif not _digits(p, n, &v) or v > <uint64_t>INT64_MAX + negative:
        return False
    out[0] = <int64_t>(0 - v) if negative else <int64_t>v
    return True


cdef inline bint _is_space(char c) noexcept nogil:
    return c == c" " or 9 <= c <= 13


cdef bint chars_to_uint64(const char* p, size_t n, uint64_t* out) noexcept nogil:
    cdef int64_t plain
    cdef uint64_t v
    cdef size_t i = 0
    cdef size_t end = 0
    cdef bint negative = False
    while end < n and p[end]:
        end += 1
    if chars_to_int64(p, end, &plain):
        out[0] = plain
        return plain >= 0
    while i < end and _is_space(p[i]):
        i += 1
    if i < end and (p[i] == c"-" or p[i] == c"+"):
        negative = p[i] == c"-"
        i += 1
    if not _digits(p + i, end - i, &v):
        return False
    out[0] = 0 - v if negative else v
    return True


# ---- reading -------------------------------------------------------------------------------------

cdef locale_t _radix_point() noexcept nogil:
    """Makes "." this thread's radix character. NULL if it is already, else what _radix_restore takes."""
    if nl_langinfo(RADIXCHAR)[0] == c".":
        return NULL
    return uselocale(newlocale(LC_ALL_MASK, b"C", NULL))


cdef void _radix_restore(locale_t before) noexcept nogil:
    if before != NULL:
        freelocale(uselocale(before))


cdef bint _is_word(const char* p, size_t n, const char* word, size_t len) noexcept nogil:
    cdef size_t i
    if n != len:
        return False
    for i in range(n):
        if p[i] | 0x20 != word[i]:
            return False
    return True


cdef bint _exponent(const char* p, size_t n, int* out) noexcept nogil:
    """[sign] digits, the whole input; clamped far outside every double."""
    cdef size_t i = 0
    cdef int v = 0
    cdef bint negative = False
    if n and (p[0] == c"-" or p[0] == c"+"):
        negative = p[0] == c"-"
        i = 1
    if i == n:
        return False
    while i < n:
        if not _is_digit(p[i]):
            return False
        if v < 100000:
            v = 10 * v + (p[i] - 48)
        i += 1
    out[0] = -v if negative else v
    return True


cdef double _library_double(const char* p, size_t n) noexcept nogil:
    cdef char buf[NUMBER_CHARS_MAX]
    cdef locale_t locale = _radix_point()
    cdef double v
    memcpy(buf, p, n)
    buf[n] = 0
    v = strtod(buf, NULL)
    _radix_restore(locale)
    return v


cdef int _read_double(const char* p, size_t n, double* out) noexcept nogil:
    """NO_NUMBER, or a number: FINE, or OUT_OF_RANGE if it is an infinity or 0 that the text does not say."""
    cdef size_t i = 0
    cdef size_t digits = 0
    cdef int significant = 0  # digits from the first nonzero one on
    cdef int exponent = 0
    cdef int scale = 0
    cdef uint64_t mantissa = 0
    cdef bint negative
    cdef bint point = False
    cdef double v
    if n == 0 or n >= NUMBER_CHARS_MAX:
        return NO_NUMBER
    negative = p[0] == c"-"
    if negative or p[0] == c"+":
        i = 1
    if _is_word(p + i, n - i, b"inf", 3) or _is_word(p + i, n - i, b"infinity", 8):
        out[0] = -HUGE_VAL if negative else HUGE_VAL
        return FINE
    while i < n:
        if _is_digit(p[i]):
            digits += 1
            scale -= point
            if significant or p[i] != c"0":
                significant += 1
                if significant <= 19:
                    mantissa = 10 * mantissa + <uint8_t>(p[i] - 48)
        elif p[i] == c"." and not point:
            point = True
        else:
            break
        i += 1
    if digits == 0:
        return NO_NUMBER
    if i < n and (p[i] | 0x20 != c"e" or not _exponent(p + i + 1, n - i - 1, &exponent)):
        return NO_NUMBER
    scale += exponent
    if significant <= 19 and mantissa >> DOUBLE_BITS == 0 and -22 <= scale <= 22:
        v = <double>mantissa / cf_exact_tens[-scale] if scale < 0 else <double>mantissa * cf_exact_tens[scale]
        out[0] = -v if negative else v
        return FINE
    v = _library_double(p, n)
    out[0] = v
    return OUT_OF_RANGE if isinf(v) or (v == 0 and significant) else FINE


cdef bint chars_to_double(const char* p, size_t n, double* out) noexcept nogil:
    cdef double v
    if _read_double(p, n, &v) != FINE:
        return False
    out[0] = v
    return True


cdef bint chars_to_bound(const char* p, size_t n, double* out) noexcept nogil:
    n = strnlen(p, n)
    out[0] = 0
    return n == 0 or _read_double(p, n, out) != NO_NUMBER


cdef bint chars_to_longdouble(const char* p, size_t n, long double* out) noexcept nogil:
    cdef char buf[NUMBER_CHARS_MAX]
    cdef char* end
    cdef locale_t locale
    cdef long double v
    cdef int error
    if n == 0 or n >= NUMBER_CHARS_MAX or _is_space(p[0]):
        return False
    memcpy(buf, p, n)
    buf[n] = 0
    locale = _radix_point()
    errno.errno = 0
    v = strtold(buf, &end)
    error = errno.errno
    _radix_restore(locale)
    if end != &buf[n] or v != v or (error == errno.ERANGE and (v == 0 or v == HUGE_VAL or v == -HUGE_VAL)):
        return False
    out[0] = v
    return True


# ---- printing ------------------------------------------------------------------------------------

cdef struct scaled_t:  # fraction * 2^exponent
    uint64_t fraction
    int exponent


cdef inline int _power_exponent(int k) noexcept nogil:
    """floor(log2(10^k)) - 63 for |k| <= 348."""
    return ((k * 217706) >> 16) - 63


cdef int _cached_power(int exponent) noexcept nogil:
    """The index of the power that brings a 64-bit number with this exponent into Grisu's window.

    Often two would do. This takes the one nearest to where Valkey begins to look, so that the digits agree.
    """
    cdef int guess = <int>(-(exponent + POWERS) * 0.30102999566398114)
    cdef int i = (guess - POWER_FIRST) / POWER_STEP
    cdef int scaled
    while True:
        scaled = exponent + _power_exponent(POWER_FIRST + POWER_STEP * i) + 64
        if scaled < GRISU_EXPONENT_MIN:
            i += 1
        elif scaled > GRISU_EXPONENT_MAX:
            i -= 1
        else:
            return i


cdef void _round_last(char* last, uint64_t delta, uint64_t rest, uint64_t unit, uint64_t distance) noexcept nogil:
    """Steps the last digit down while that stays inside the interval and comes nearer to the number."""
    while (
        rest < distance and delta - rest >= unit
        and (rest + unit < distance or distance - rest > rest + unit - distance)
    ):
        last[0] -= 1
        rest += unit


cdef int _generate(
    char* digits, scaled_t high, uint64_t delta, uint64_t distance, int* exponent
) noexcept nogil:
    """Digits of the interval that ends at `high` and is `delta` wide; the number lies `distance` below its end."""
    cdef int shift = -high.exponent
    cdef uint64_t one = <uint64_t>1 << shift
    cdef uint64_t whole = high.fraction >> shift
    cdef uint64_t part = high.fraction & (one - 1)
    cdef uint64_t unit = 1
    cdef uint64_t power = 1000000000
    cdef uint64_t digit, rest
    cdef int n = 0
    cdef int kappa = 10
    while kappa > 0:
        digit = whole / power
        if digit or n:
            digits[n] = 48 + digit
            n += 1
        whole -= digit * power
        kappa -= 1
        rest = (whole << shift) + part
        if rest <= delta:
            exponent[0] += kappa
            _round_last(&digits[n - 1], delta, rest, power << shift, distance)
            return n
        power /= 10
    while True:
        part *= 10
        delta *= 10
        unit *= 10
        kappa -= 1
        digit = part >> shift
        if digit or n:
            digits[n] = 48 + digit
            n += 1
        part &= one - 1
        if part < delta:
            exponent[0] += kappa
            _round_last(&digits[n - 1], delta, part, one, distance * unit)
            return n


cdef int _shortest(char* digits, double v, int* exponent) noexcept nogil:
    """Digits of a finite v > 0 without a point; v = digits * 10^exponent."""
    cdef uint64_t bits
    cdef scaled_t w, high, low
    cdef int shift, index
    cdef uint64_t power, hidden = <uint64_t>1 << (DOUBLE_BITS - 1)
    memcpy(&bits, &v, 8)
    w.fraction = bits & (hidden - 1)
    w.exponent = bits >> (DOUBLE_BITS - 1)
    if w.exponent:
        w.fraction += hidden
        w.exponent -= 1075
    else:
        w.exponent = -1074
    # The neighbours' midpoints bound what reads back as v; below a power of two the lower one is half as far.
    high.fraction = 2 * w.fraction + 1
    high.exponent = w.exponent - 1
    shift = cf_clz64(high.fraction)
    high.fraction <<= shift
    high.exponent -= shift
    if w.fraction == hidden:
        low.fraction = 4 * w.fraction - 1
        low.exponent = w.exponent - 2
    else:
        low.fraction = 2 * w.fraction - 1
        low.exponent = w.exponent - 1
    low.fraction <<= low.exponent - high.exponent
    shift = cf_clz64(w.fraction)
    w.fraction <<= shift
    index = _cached_power(high.exponent)
    power = cf_cached_tens[index]
    exponent[0] = -(POWER_FIRST + POWER_STEP * index)
    w.fraction = cf_mul128_high_rounded(w.fraction, power)
    # One unit inside on either side, for the error of the power and of the multiplication.
    low.fraction = cf_mul128_high_rounded(low.fraction, power) + 1
    high.fraction = cf_mul128_high_rounded(high.fraction, power) - 1
    high.exponent += _power_exponent(POWER_FIRST + POWER_STEP * index) + 64
    return _generate(digits, high, high.fraction - low.fraction, high.fraction - w.fraction, exponent)


cdef int _layout(char* out, const char* digits, int n, int exponent, bint negative) noexcept nogil:
    """Fixed form for numbers of moderate size, else d.ddde+x."""
    cdef int magnitude = exponent + n - 1
    cdef int distance = -magnitude if magnitude < 0 else magnitude
    cdef int point, at
    if exponent >= 0 and distance < n + 7:
        memcpy(out, digits, n)
        memset(out + n, 48, exponent)
        return n + exponent
    if exponent < 0 and (exponent > -7 or distance < 4):
        point = n + exponent
        if point > 0:
            memcpy(out, digits, point)
            out[point] = c"."
            memcpy(out + point + 1, digits + point, n - point)
            return n + 1
        memcpy(out, b"0.", 2)
        memset(out + 2, 48, -point)
        memcpy(out + 2 - point, digits, n)
        return 2 - point + n
    if n > 18 - negative:
        n = 18 - negative
    out[0] = digits[0]
    at = 1
    if n > 1:
        out[1] = c"."
        memcpy(out + 2, digits + 1, n - 1)
        at = n + 1
    out[at] = c"e"
    out[at + 1] = c"-" if magnitude < 0 else c"+"
    return at + 2 + uint64_to_chars(out + at + 2, distance)


cdef int double_to_shortest(char* out, double v) noexcept nogil:
    cdef char digits[GRISU_DIGITS_MAX]
    cdef int exponent, n
    cdef int sign = 0
    if isnan(v):
        memcpy(out, b"nan", 3)
        return 3
    if copysign(1, v) < 0:
        out[0] = c"-"
        sign = 1
        v = -v
    if isinf(v):
        memcpy(out + sign, b"inf", 3)
        return sign + 3
    if v == 0:
        out[sign] = c"0"
        return sign + 1
    n = _shortest(digits, v, &exponent)
    return sign + _layout(out + sign, digits, n, exponent, sign)


cdef int double_to_chars(char* out, double v) noexcept nogil:
    # Fast-path. If: an integer up to 2^62. Then: printed as one, beyond 2^53 too.
    if -4611686018427387904.0 <= v <= 4611686018427387904.0 and <double><int64_t>v == v and (v or copysign(1, v) > 0):
        return int64_to_chars(out, <int64_t>v)
    return double_to_shortest(out, v)


cdef int double_to_17_digits(char* out, double v) noexcept nogil:
    cdef locale_t locale = _radix_point()
    cdef int n = snprintf(out, DOUBLE_CHARS_MAX, "%.17g", v)
    _radix_restore(locale)
    return n


cdef int longdouble_to_chars(char* out, long double v) noexcept nogil:
    cdef locale_t locale
    cdef int n
    if v != v:
        memcpy(out, b"nan", 3)
        return 3
    if v == HUGE_VAL or v == -HUGE_VAL:
        memcpy(out, b"-inf" if v < 0 else b"inf", 4)
        return 4 if v < 0 else 3
    locale = _radix_point()
    n = snprintf(out, NUMBER_CHARS_MAX, "%.17Lf", v)
    _radix_restore(locale)
    while out[n - 1] == c"0":
        n -= 1
    if out[n - 1] == c".":
        n -= 1
    if n == 2 and out[0] == c"-" and out[1] == c"0":
        out[0] = c"0"
        return 1
    return n
