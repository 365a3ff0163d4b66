"""Declarations of vector.h: loops over byte strings by vectors."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "vector.h" nogil:
    # 16384 registers, each in a byte (raw) or in 6 bits (packed, 12288 bytes).
    void cf_hll_max(uint8_t* raw, const uint8_t* packed)  # raw becomes the greater of both
    void cf_hll_pack(uint8_t* packed, const uint8_t* raw)
    void cf_hll_merge(uint8_t* packed, const uint8_t* other)  # packed becomes the greater of both
    void cf_hll_count(const uint8_t* raw, uint8_t v, uint32_t* counts)  # how many are v, v+1, v+2, v+3
    # The same without what only some processors have: for tests.
    void cf_hll_max_any(uint8_t* raw, const uint8_t* packed)
    void cf_hll_pack_any(uint8_t* packed, const uint8_t* raw)
    void cf_hll_merge_any(uint8_t* packed, const uint8_t* other)
    void cf_hll_count_any(const uint8_t* raw, uint8_t v, uint32_t* counts)

    uint64_t cf_bits_count(const uint8_t* p, size_t n)  # set bits
    uint64_t cf_bits_count_any(const uint8_t* p, size_t n)
    # out = a OP b over n bytes; out may be a.
    void cf_bits_and(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n)
    void cf_bits_or(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n)
    void cf_bits_xor(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n)
    void cf_bits_less(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n)  # a and not b
    void cf_bits_beyond(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n)  # b and not a
    void cf_bits_not(uint8_t* out, const uint8_t* p, size_t n)
    void cf_bits_tally(uint8_t* once, uint8_t* more, const uint8_t* p, size_t n)
        # once: bits that exactly one string has had so far; more: those of several.
