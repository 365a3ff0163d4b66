/* Compiler intrinsics and platform calls that Cython cannot spell. Nothing here holds state. */
#ifndef CACHEFLEET_INTRIN_H
#define CACHEFLEET_INTRIN_H

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifndef ENGINE_DEBUG
#define ENGINE_DEBUG 0
#endif
/* What must be true. Checked in debug builds alone; elsewhere the expression is not evaluated. */
#if ENGINE_DEBUG
#include <stdio.h>
#define cf_assert(x) \
    ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__, #x), abort()))
#else
#define cf_assert(x) ((void)sizeof(x))
#endif

#define cf_likely(x) __builtin_expect(!!(x), 1)
#define cf_unlikely(x) __builtin_expect(!!(x), 0)
#define cf_prefetch(p) __builtin_prefetch((p))
#define cf_ctz64(x) __builtin_ctzll(x)
#define cf_clz64(x) __builtin_clzll(x)
#define cf_popcount64(x) __builtin_popcountll(x)
#define cf_bswap32(x) __builtin_bswap32(x)
#define cf_bswap64(x) __builtin_bswap64(x)
/* Brings a line in by a load whose value is not used. p must be readable. Unlike a prefetch instruction a load is never
 * dropped, as may happen when it needs a page walk too. */
#define cf_fetch(p) ((void)*(const volatile char *)(p))
#define cf_usable_size(p) malloc_usable_size(p)
/* What may not be touched, where the address sanitizer watches. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define cf_poison(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define cf_unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define cf_poison(p, n) ((void)(p), (void)(n))
#define cf_unpoison(p, n) ((void)(p), (void)(n))
#endif

static inline uint64_t cf_mul128_fold(uint64_t a, uint64_t b) {
    __uint128_t r = (__uint128_t)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

/* The upper 64 bits of the product, rounded to nearest. */
static inline uint64_t cf_mul128_high_rounded(uint64_t a, uint64_t b) {
    return (uint64_t)(((__uint128_t)a * b + (1ull << 63)) >> 64);
}

static inline uint64_t cf_load64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t cf_load32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint16_t cf_load16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline void cf_store64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline void cf_store32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void cf_store16(void *p, uint16_t v) { memcpy(p, &v, 2); }

/* Cycle counter: x86 TSC, ARM virtual counter, else the monotonic clock in nanoseconds. */
static inline uint64_t cf_cycles(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#else
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
#endif
}

static inline int64_t cf_realtime_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static inline int64_t cf_monotonic_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* CPU time of the calling thread: for benchmarks on a machine that others use too. */
static inline int64_t cf_thread_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Relaxed atomics: counters that a helper thread bumps and the engine's thread reads. */
static inline void cf_atomic_add(size_t *p, size_t n) { __atomic_fetch_add(p, n, __ATOMIC_RELAXED); }
static inline size_t cf_atomic_get(const size_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

/* A count of owners that two threads may share. Dropping says whether that was the last one, who then sees all that
 * other owners did. An only owner needs no atomic instruction. */
static inline size_t cf_ref_get(const size_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void cf_ref_add(size_t *p) { __atomic_fetch_add(p, 1, __ATOMIC_RELAXED); }
static inline int cf_ref_drop(size_t *p) {
    return cf_ref_get(p) == 1 || __atomic_fetch_sub(p, 1, __ATOMIC_ACQ_REL) == 1;
}

/* Lock-free lists: compare and swap (on failure *old is what was found), swap. */
static inline int cf_cas32(uint32_t *p, uint32_t *old, uint32_t v) {
    return __atomic_compare_exchange_n(p, old, v, 1, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline int cf_cas_ptr(void **p, void **old, void *v) {
    return __atomic_compare_exchange_n(p, old, v, 1, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline uint32_t cf_swap32(uint32_t *p, uint32_t v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }
static inline void *cf_swap_ptr(void **p, void *v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }

/* 0x80 in every byte of `word` that equals `tag`, 0 elsewhere. Exact: no carry crosses a byte, so an
 * empty slot can never pass for a match. */
static inline uint64_t cf_match_bytes(uint64_t word, uint8_t tag) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    uint64_t x = word ^ (0x0101010101010101ull * tag);
    return ~(((x & low) + low) | x | low);
}

/* Of the 16 bytes at p, a bit for each that equals `tag`. */
static inline uint32_t cf_match16_portable(const void *p, uint8_t tag) {
    /* The product gathers the low bits of eight bytes in its top byte. */
    const uint64_t gather = 0x0102040810204080ull;
    uint64_t low = cf_match_bytes(cf_load64(p), tag), high = cf_match_bytes(cf_load64((const char *)p + 8), tag);
    return (uint32_t)((low >> 7) * gather >> 56) | (uint32_t)((high >> 7) * gather >> 56) << 8;
}
static inline uint32_t cf_match16(const void *p, uint8_t tag) {
#ifdef __SSE2__
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)tag)));
#else
    return cf_match16_portable(p, tag);
#endif
}

/* Equality of two byte strings, inline: a call of memcmp costs more than comparing a usual key. */
static inline int cf_equal(const char *a, const char *b, size_t n) {
    if (n >= 8) {
        if (n > 64) return memcmp(a, b, n) == 0;
        const char *last = a + n - 8;
        if (cf_load64(last) != cf_load64(b + n - 8)) return 0;
        for (; a < last; a += 8, b += 8)
            if (cf_load64(a) != cf_load64(b)) return 0;
        return 1;
    }
    if (n >= 4) return cf_load32(a) == cf_load32(b) && cf_load32(a + n - 4) == cf_load32(b + n - 4);
    return n == 0 || (a[0] == b[0] && a[n >> 1] == b[n >> 1] && a[n - 1] == b[n - 1]);
}

/* The bits of v in reverse order. */
static inline uint64_t cf_reverse64(uint64_t v) {
    v = ((v >> 1) & 0x5555555555555555ull) | ((v & 0x5555555555555555ull) << 1);
    v = ((v >> 2) & 0x3333333333333333ull) | ((v & 0x3333333333333333ull) << 2);
    v = ((v >> 4) & 0x0f0f0f0f0f0f0f0full) | ((v & 0x0f0f0f0f0f0f0f0full) << 4);
    return __builtin_bswap64(v);
}

#endif
