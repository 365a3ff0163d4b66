/* Loops over byte strings by vectors, where Cython has no words for them: one body, compiled for the machine that
 * every build runs on, and again for what a newer one may have; which of them runs is asked of the processor at each
 * call (a load and a test). Nothing here holds state or allocates. Little-endian, as the rest of the engine.
 *
 * HyperLogLog registers are 6 bits, four in three bytes, the first in the lowest bits. Spread over four bytes they
 * are compared, counted and packed by ordinary vector instructions: three shifts and masks spread or pack eight. */
#ifndef CACHEFLEET_VECTOR_H
#define CACHEFLEET_VECTOR_H

#include "intrin.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define CF_X86 1
#else
#define CF_X86 0
#endif

#define CF_BODY static inline __attribute__((always_inline))
#define CF_LOW16 0x00ff00ff00ff00ffull

typedef uint8_t cf_v32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint64_t cf_v4x64 __attribute__((vector_size(32), aligned(1), may_alias));

enum { CF_HLL_REGISTERS = 16384, CF_HLL_PACKED = 12288 };

/* -- HyperLogLog ------------------------------------------------------------------------------------------------- */

CF_BODY uint64_t cf_spread6(uint64_t x) { /* 48 bits to 8 bytes of 6 */
    x = (x & 0xffffffull) | ((x << 8) & 0x00ffffff00000000ull);
    x = (x & 0x00000fff00000fffull) | ((x << 4) & 0x0fff00000fff0000ull);
    return (x & 0x003f003f003f003full) | ((x << 2) & 0x3f003f003f003f00ull);
}

CF_BODY uint64_t cf_pack6(uint64_t x) { /* and back */
    x = (x & 0x003f003f003f003full) | ((x >> 2) & 0x0fc00fc00fc00fc0ull);
    x = (x & 0x00000fff00000fffull) | ((x >> 4) & 0x00fff00000fff000ull);
    return (x & 0xffffffull) | ((x >> 8) & 0xffffff000000ull);
}

CF_BODY uint64_t cf_max8(uint64_t a, uint64_t b) { /* the greater of each two bytes; all are below 128 */
    const uint64_t high = 0x8080808080808080ull;
    uint64_t mask = ((((a | high) - b) & high) >> 7) * 0xff;
    return (a & mask) | (b & ~mask);
}

static inline void cf_hll_max_any(uint8_t *raw, const uint8_t *packed) {
    for (int i = 0; i < CF_HLL_PACKED; i += 6, raw += 8) {
        int last = i == CF_HLL_PACKED - 6; /* nothing may be read behind it */
        uint64_t x = cf_spread6(cf_load64(packed + i - 2 * last) >> 16 * last);
        cf_store64(raw, cf_max8(cf_load64(raw), x));
    }
}

static inline void cf_hll_pack_any(uint8_t *packed, const uint8_t *raw) {
    for (int i = 0; i < CF_HLL_PACKED; i += 6, raw += 8) {
        uint64_t x = cf_pack6(cf_load64(raw));
        cf_store32(packed + i, (uint32_t)x);
        cf_store16(packed + i + 4, (uint16_t)(x >> 32));
    }
}

static inline void cf_hll_merge_any(uint8_t *packed, const uint8_t *other) {
    for (int i = 0; i < CF_HLL_PACKED; i += 6) {
        int last = i == CF_HLL_PACKED - 6;
        uint64_t a = cf_spread6(cf_load64(packed + i - 2 * last) >> 16 * last);
        uint64_t b = cf_spread6(cf_load64(other + i - 2 * last) >> 16 * last);
        uint64_t x = cf_pack6(cf_max8(a, b));
        cf_store32(packed + i, (uint32_t)x);
        cf_store16(packed + i + 4, (uint16_t)(x >> 32));
    }
}

/* How many of the 16384 bytes are v, v+1, v+2, v+3. Four chains of additions, of which one alone would wait for itself.
 * Each of 4 blocks counts in bytes, at most 128, and is then added in 16 bits. */
CF_BODY void cf_hll_count_body(const uint8_t *raw, uint8_t v, uint32_t *counts) {
    const uint8_t v1 = v + 1, v2 = v + 2, v3 = v + 3;
    cf_v4x64 sums[4] = {{0}, {0}, {0}, {0}};
    for (int block = 0; block < 4; block++, raw += CF_HLL_REGISTERS / 4) {
        cf_v32 a = {0}, b = a, c = a, d = a;
        for (int i = 0; i < CF_HLL_REGISTERS / 4; i += 32) {
            cf_v32 x = *(const cf_v32 *)(raw + i);
            a -= (cf_v32)(x == v);
            b -= (cf_v32)(x == v1);
            c -= (cf_v32)(x == v2);
            d -= (cf_v32)(x == v3);
        }
        sums[0] += ((cf_v4x64)a & CF_LOW16) + (((cf_v4x64)a >> 8) & CF_LOW16);
        sums[1] += ((cf_v4x64)b & CF_LOW16) + (((cf_v4x64)b >> 8) & CF_LOW16);
        sums[2] += ((cf_v4x64)c & CF_LOW16) + (((cf_v4x64)c >> 8) & CF_LOW16);
        sums[3] += ((cf_v4x64)d & CF_LOW16) + (((cf_v4x64)d >> 8) & CF_LOW16);
    }
    for (int k = 0; k < 4; k++)
        counts[k] = (uint32_t)(((sums[k][0] + sums[k][1] + sums[k][2] + sums[k][3]) * 0x0001000100010001ull) >> 48);
}

static inline void cf_hll_count_any(const uint8_t *raw, uint8_t v, uint32_t *counts) {
    cf_hll_count_body(raw, v, counts);
}

#if CF_X86
#define CF_AVX2 __attribute__((target("avx2"))) static inline

CF_AVX2 __m256i cf_unpack_avx2(const uint8_t *packed) { /* 24 bytes to 32 */
    const __m256i gather = _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
                                            4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const __m256i low12 = _mm256_set1_epi32(0x00000fff), high12 = _mm256_set1_epi32(0x0fff0000);
    const __m256i low6 = _mm256_set1_epi32(0x003f003f), high6 = _mm256_set1_epi32(0x3f003f00);
    __m128i a = _mm_loadu_si128((const __m128i *)packed); /* bytes 0-15 and 8-23: none behind is read */
    __m128i b = _mm_loadu_si128((const __m128i *)(packed + 8));
    __m256i x = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1), gather);
    x = _mm256_or_si256(_mm256_and_si256(x, low12), _mm256_and_si256(_mm256_slli_epi32(x, 4), high12));
    return _mm256_or_si256(_mm256_and_si256(x, low6), _mm256_and_si256(_mm256_slli_epi32(x, 2), high6));
}

CF_AVX2 void cf_repack_avx2(uint8_t *packed, __m256i x) { /* 32 bytes to 24 */
    const __m256i by64 = _mm256_set1_epi16(0x4001), by4096 = _mm256_set1_epi32(0x10000001);
    const __m256i gather = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
                                            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    x = _mm256_madd_epi16(_mm256_maddubs_epi16(x, by64), by4096); /* a + 64 b, then those + 4096 of the next */
    x = _mm256_shuffle_epi8(x, gather);
    __m128i b = _mm256_extracti128_si256(x, 1);
    _mm_storeu_si128((__m128i *)packed, _mm256_castsi256_si128(x));
    _mm_storel_epi64((__m128i *)(packed + 12), b);
    cf_store32(packed + 20, (uint32_t)_mm_extract_epi32(b, 2));
}

CF_AVX2 void cf_hll_max_avx2(uint8_t *raw, const uint8_t *packed) {
    for (int i = 0; i < CF_HLL_PACKED; i += 24, raw += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)raw);
        _mm256_storeu_si256((__m256i *)raw, _mm256_max_epu8(x, cf_unpack_avx2(packed + i)));
    }
}

CF_AVX2 void cf_hll_pack_avx2(uint8_t *packed, const uint8_t *raw) {
    for (int i = 0; i < CF_HLL_PACKED; i += 24, raw += 32)
        cf_repack_avx2(packed + i, _mm256_loadu_si256((const __m256i *)raw));
}

CF_AVX2 void cf_hll_merge_avx2(uint8_t *packed, const uint8_t *other) {
    for (int i = 0; i < CF_HLL_PACKED; i += 24)
        cf_repack_avx2(packed + i, _mm256_max_epu8(cf_unpack_avx2(packed + i), cf_unpack_avx2(other + i)));
}

CF_AVX2 void cf_hll_count_avx2(const uint8_t *raw, uint8_t v, uint32_t *counts) { cf_hll_count_body(raw, v, counts); }

#define CF_HLL(name, ...) \
    (__builtin_cpu_supports("avx2") ? cf_hll_##name##_avx2(__VA_ARGS__) : cf_hll_##name##_any(__VA_ARGS__))
#else
#define CF_HLL(name, ...) cf_hll_##name##_any(__VA_ARGS__)
#endif

static inline void cf_hll_max(uint8_t *raw, const uint8_t *packed) { CF_HLL(max, raw, packed); }
static inline void cf_hll_pack(uint8_t *packed, const uint8_t *raw) { CF_HLL(pack, packed, raw); }
static inline void cf_hll_merge(uint8_t *packed, const uint8_t *other) { CF_HLL(merge, packed, other); }
static inline void cf_hll_count(const uint8_t *raw, uint8_t v, uint32_t *counts) { CF_HLL(count, raw, v, counts); }

/* -- bits -------------------------------------------------------------------------------------------------------- */

/* Set bits of n bytes. Without an instruction for it: bits are added within bytes, by vectors, and those in 64 bits
 * before 31 rounds of at most 8 could leave a byte. */
static inline uint64_t cf_bits_count_any(const uint8_t *p, size_t n) {
    uint64_t total = 0;
    while (n >= 32) {
        cf_v4x64 sum = {0, 0, 0, 0};
        for (int i = 0; i < 31 && n >= 32; i++, p += 32, n -= 32) {
            cf_v4x64 x = *(const cf_v4x64 *)p;
            x -= (x >> 1) & 0x5555555555555555ull;
            x = (x & 0x3333333333333333ull) + ((x >> 2) & 0x3333333333333333ull);
            sum += (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
        }
        sum = (sum & CF_LOW16) + ((sum >> 8) & CF_LOW16);
        total += ((sum[0] + sum[1] + sum[2] + sum[3]) * 0x0001000100010001ull) >> 48;
    }
    for (; n >= 8; p += 8, n -= 8) total += (uint64_t)cf_popcount64(cf_load64(p));
    for (; n > 0; p++, n--) total += (uint64_t)cf_popcount64(*p);
    return total;
}

#if CF_X86
__attribute__((target("popcnt"))) static inline uint64_t cf_bits_count_popcnt(const uint8_t *p, size_t n) {
    uint64_t a = 0, b = 0, c = 0, d = 0; /* four chains */
    for (; n >= 32; p += 32, n -= 32) {
        a += (uint64_t)cf_popcount64(cf_load64(p));
        b += (uint64_t)cf_popcount64(cf_load64(p + 8));
        c += (uint64_t)cf_popcount64(cf_load64(p + 16));
        d += (uint64_t)cf_popcount64(cf_load64(p + 24));
    }
    for (; n >= 8; p += 8, n -= 8) a += (uint64_t)cf_popcount64(cf_load64(p));
    for (; n > 0; p++, n--) a += (uint64_t)cf_popcount64(*p);
    return a + b + c + d;
}

__attribute__((target("avx512f,avx512vpopcntdq,popcnt"))) static inline uint64_t cf_bits_count_avx512(
    const uint8_t *p, size_t n) {
    __m512i a = _mm512_setzero_si512(), b = a;
    for (; n >= 128; p += 128, n -= 128) {
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_loadu_si512(p)));
        b = _mm512_add_epi64(b, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 64)));
    }
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(a, b)) + cf_bits_count_popcnt(p, n);
}
#endif

static inline uint64_t cf_bits_count(const uint8_t *p, size_t n) {
#if CF_X86
    if (n >= 1024 && __builtin_cpu_supports("avx512vpopcntdq")) return cf_bits_count_avx512(p, n);
    if (__builtin_cpu_supports("popcnt")) return cf_bits_count_popcnt(p, n);
#endif
    return cf_bits_count_any(p, n);
}

/* out = a OP b, byte by byte; out may be a. Those of a BITOP over many strings. */
#define CF_BITS_FOLD(name, expression)                                                                 \
    static inline void cf_bits_##name(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n) {    \
        for (; n >= 32; out += 32, a += 32, b += 32, n -= 32) {                                        \
            cf_v4x64 x = *(const cf_v4x64 *)a, y = *(const cf_v4x64 *)b;                               \
            *(cf_v4x64 *)out = expression;                                                             \
        }                                                                                              \
        for (; n > 0; out++, a++, b++, n--) {                                                          \
            uint8_t x = *a, y = *b;                                                                    \
            *out = (uint8_t)(expression);                                                              \
        }                                                                                              \
    }
CF_BITS_FOLD(and, x & y)
CF_BITS_FOLD(or, x | y)
CF_BITS_FOLD(xor, x ^ y)
CF_BITS_FOLD(less, x & ~y)   /* what b has not */
CF_BITS_FOLD(beyond, ~x & y) /* what only b has */

static inline void cf_bits_not(uint8_t *out, const uint8_t *p, size_t n) {
    for (; n >= 32; out += 32, p += 32, n -= 32) *(cf_v4x64 *)out = ~*(const cf_v4x64 *)p;
    for (; n > 0; out++, p++, n--) *out = (uint8_t)~*p;
}

/* once, more: bits seen in exactly one string so far, and in several. */
static inline void cf_bits_tally(uint8_t *once, uint8_t *more, const uint8_t *p, size_t n) {
    for (; n >= 32; once += 32, more += 32, p += 32, n -= 32) {
        cf_v4x64 x = *(const cf_v4x64 *)once, m = *(const cf_v4x64 *)more, y = *(const cf_v4x64 *)p;
        m |= x & y;
        *(cf_v4x64 *)more = m;
        *(cf_v4x64 *)once = (x | y) & ~m;
    }
    for (; n > 0; once++, more++, p++, n--) {
        *more |= *once & *p;
        *once = (uint8_t)((*once | *p) & ~*more);
    }
}

#endif
