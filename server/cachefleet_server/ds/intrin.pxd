"""Declarations of intrin.h: compiler intrinsics, clocks, relaxed atomics."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "intrin.h" nogil:
    const bint ENGINE_DEBUG  # 1 in builds with assertions; `if ENGINE_DEBUG:` compiles away otherwise
    bint cf_likely(bint x)
    bint cf_unlikely(bint x)
    void cf_prefetch(const void* p)
    void cf_fetch(const void* p)
    int cf_ctz64(uint64_t x)
    int cf_clz64(uint64_t x)
    int cf_popcount64(uint64_t x)
    uint32_t cf_bswap32(uint32_t x)
    uint64_t cf_bswap64(uint64_t x)
    size_t cf_usable_size(void* p)
    uint64_t cf_mul128_fold(uint64_t a, uint64_t b)
    uint64_t cf_mul128_high_rounded(uint64_t a, uint64_t b)
    uint64_t cf_load64(const void* p)
    uint32_t cf_load32(const void* p)
    uint16_t cf_load16(const void* p)
    void cf_store64(void* p, uint64_t v)
    void cf_store32(void* p, uint32_t v)
    void cf_store16(void* p, uint16_t v)
    uint64_t cf_cycles()
    int64_t cf_realtime_us()
    int64_t cf_monotonic_us()
    int64_t cf_thread_ns()
    void cf_atomic_add(size_t* p, size_t n)
    size_t cf_atomic_get(const size_t* p)
    uint64_t cf_match_bytes(uint64_t word, uint8_t tag)
    bint cf_equal(const char* a, const char* b, size_t n)
    uint64_t cf_reverse64(uint64_t v)
