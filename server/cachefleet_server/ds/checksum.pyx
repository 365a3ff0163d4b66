"""CRC-64/Jones, SHA-1 and XXH3-64, written from their published descriptions.

CRC: polynomial ad93d23594c935a9, reflected, no initial or final xor. Eight tables let eight bytes be
folded a step (slicing-by-8). An entry is the xor of eight basis values, so the tables are spelled by 64
constants. XXH3: the 64-bit variant with seed 0 and the default secret; inputs up to 240 bytes are mixed
in pairs of words, longer ones in eight 64-bit lanes over stripes of 64 bytes.
Words are loaded little-endian.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.ds.intrin cimport cf_bswap32, cf_bswap64, cf_load32, cf_load64, cf_mul128_fold, cf_store32

cdef extern from *:
    """
    #define CRC64_ENTRY(i, a, b, c, d, e, f, g, h)                                              \\
        (((i) & 1 ? a : 0) ^ ((i) & 2 ? b : 0) ^ ((i) & 4 ? c : 0) ^ ((i) & 8 ? d : 0) ^        \\
         ((i) & 16 ? e : 0) ^ ((i) & 32 ? f : 0) ^ ((i) & 64 ? g : 0) ^ ((i) & 128 ? h : 0))
    #define CRC64_4(i, ...)                                                                     \\
        CRC64_ENTRY(i, __VA_ARGS__), CRC64_ENTRY(i + 1, __VA_ARGS__), CRC64_ENTRY(i + 2, __VA_ARGS__), \\
        CRC64_ENTRY(i + 3, __VA_ARGS__)
    #define CRC64_16(i, ...)                                                                    \\
        CRC64_4(i, __VA_ARGS__), CRC64_4(i + 4, __VA_ARGS__), CRC64_4(i + 8, __VA_ARGS__),      \\
        CRC64_4(i + 12, __VA_ARGS__)
    #define CRC64_64(i, ...)                                                                    \\
        CRC64_16(i, __VA_ARGS__), CRC64_16(i + 16, __VA_ARGS__), CRC64_16(i + 32, __VA_ARGS__), \\
        CRC64_16(i + 48, __VA_ARGS__)
    #define CRC64_TABLE(...)                                                                    \\
        {CRC64_64(0, __VA_ARGS__), CRC64_64(64, __VA_ARGS__), CRC64_64(128, __VA_ARGS__), CRC64_64(192, __VA_ARGS__)}

    static const uint64_t cf_crc64_tables[8][256] = {
    CRC64_TABLE(0x7ad870c830358979u, 0xf5b0e190606b12f2u, 0xc038e5739841b68fu, 0xab28ecb46814fe75u,
                0x7d08ff3b88be6f81u, 0xfa11fe77117cdf02u, 0xdf7adabd7a6e2d6fu, 0x95ac9329ac4bc9b5u),
    CRC64_TABLE(0x89e99ffd73bddf69u, 0x388a19a9bfec2db9u, 0x711433537fd85b72u, 0xe22866a6ffb0b6e4u,
                0xef09eb1ea7f6fea3u, 0xf54af06e177a6e2du, 0xc1ccc68f76634f31u, 0xa8c0ab4db4510d09u),
    CRC64_TABLE(0xf4125129ce4038beu, 0xc37d8400c417e217u, 0xada22e52d0b85745u, 0x701d7af6f9e73de1u,
                0xe03af5edf3ce7bc2u, 0xeb2ccd88bf0b64efu, 0xfd00bd4226815ab5u, 0xd1585cd715952601u),
    CRC64_TABLE(0x8ce168638c796306u, 0x329bf69440655567u, 0x6537ed2880caaaceu, 0xca6fda510195559cu,
                0xbf8692f15bbd3853u, 0x545403b1efede3cdu, 0xa8a80763dfdbc79au, 0x7a092894e7201c5fu),
    CRC64_TABLE(0x3504e58b9ba6dd1eu, 0x6a09cb17374dba3cu, 0xd413962e6e9b7478u, 0x837e0a0f85a17b9bu,
                0x2da5324c53d5645du, 0x5b4a6498a7aac8bau, 0xb694c9314f559174u, 0x4670b431c63cb183u),
    CRC64_TABLE(0xe39d1389931b9354u, 0xec6301407ea0b5c3u, 0xf39f24d3a5d6f8edu, 0xcc676ff4133a62b1u,
                0xb397f9bb7ee35609u, 0x4c76d525a5513f79u, 0x98edaa4b4aa27ef2u, 0x1a8272c5cdd36e8fu),
    CRC64_TABLE(0x62a95de6e302eff2u, 0xc552bbcdc605dfe4u, 0xa1fc51c8d49c2ca3u, 0x68a185c2f1afca2du,
                0xd1430b85e35f945au, 0x89df31589e28bbdfu, 0x38e744e264c6e4d5u, 0x71ce89c4c98dc9aau),
    CRC64_TABLE(0x381d0015c96f4444u, 0x703a002b92de8888u, 0xe074005725bd1110u, 0xebb126fd13edb14bu,
                0xfc3b6ba97f4cf1fdu, 0xd32ff101a60e7091u, 0x8d06c450148b7249u, 0x3154aef3718177f9u),
    };

    static const unsigned char cf_xxh3_secret[192] = {
        0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
        0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
        0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
        0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
        0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
        0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
        0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
        0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
        0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
        0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
        0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
        0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
    };
    """
    const uint64_t (*cf_crc64_tables)[256]
    const char* cf_xxh3_secret


# ---- CRC-64 --------------------------------------------------------------------------------------

cdef uint64_t crc64(uint64_t crc, const void* p, size_t n) noexcept nogil:
    cdef const uint8_t* b = <const uint8_t*>p
    while n >= 8:
        crc ^= cf_load64(b)
        crc = (
            cf_crc64_tables[7][crc & 0xFF] ^ cf_crc64_tables[6][(crc >> 8) & 0xFF]
            ^ cf_crc64_tables[5][(crc >> 16) & 0xFF] ^ cf_crc64_tables[4][(crc >> 24) & 0xFF]
            ^ cf_crc64_tables[3][(crc >> 32) & 0xFF] ^ cf_crc64_tables[2][(crc >> 40) & 0xFF]
            ^ cf_crc64_tables[1][(crc >> 48) & 0xFF] ^ cf_crc64_tables[0][crc >> 56]
        )
        b += 8
        n -= 8
    while n:
        crc = cf_crc64_tables[0][(crc ^ b[0]) & 0xFF] ^ (crc >> 8)
        b += 1
        n -= 1
    return crc


# ---- SHA-1 ---------------------------------------------------------------------------------------

cdef inline uint32_t _rol(uint32_t x, int n) noexcept nogil:
    return (x << n) | (x >> (32 - n))


cdef void _sha1_block(uint32_t* state, const uint8_t* block) noexcept nogil:
    cdef uint32_t w[80]
    cdef uint32_t a = state[0]
    cdef uint32_t b = state[1]
    cdef uint32_t c = state[2]
    cdef uint32_t d = state[3]
    cdef uint32_t e = state[4]
    cdef uint32_t mix, next
    cdef int i
    for i in range(16):
        w[i] = cf_bswap32(cf_load32(block + 4 * i))
    for i in range(16, 80):
        w[i] = _rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1)
    for i in range(80):
        if i < 20:
            mix = (d ^ (b & (c ^ d))) + <uint32_t>0x5A827999
        elif i < 40:
            mix = (b ^ c ^ d) + <uint32_t>0x6ED9EBA1
        elif i < 60:
            mix = ((b & c) | (d & (b | c))) + <uint32_t>0x8F1BBCDC
        else:
            mix = (b ^ c ^ d) + <uint32_t>0xCA62C1D6
        next = _rol(a, 5) + mix + e + w[i]
        e = d
        d = c
        c = _rol(b, 30)
        b = a
        a = next
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e


cdef void sha1_init(sha1_t* s) noexcept nogil:
    s.state[0] = 0x67452301
    s.state[1] = <uint32_t>0xEFCDAB89
    s.state[2] = <uint32_t>0x98BADCFE
    s.state[3] = 0x10325476
    s.state[4] = <uint32_t>0xC3D2E1F0
    s.count = 0


cdef void sha1_update(sha1_t* s, const void* p, size_t n) noexcept nogil:
    cdef const uint8_t* b = <const uint8_t*>p
    cdef size_t held = s.count & 63
    cdef size_t take
    s.count += n
    if held:
        take = 64 - held if n > 64 - held else n
        memcpy(&s.block[held], b, take)
        b += take
        n -= take
        if held + take < 64:
            return
        _sha1_block(s.state, s.block)
    while n >= 64:
        _sha1_block(s.state, b)
        b += 64
        n -= 64
    if n:
        memcpy(s.block, b, n)


cdef void sha1_final(sha1_t* s, uint8_t* digest20) noexcept nogil:
    cdef uint64_t bits = cf_bswap64(8 * s.count)
    cdef uint8_t pad = 0x80
    cdef int i
    sha1_update(s, &pad, 1)
    pad = 0
    while s.count & 63 != 56:
        sha1_update(s, &pad, 1)
    sha1_update(s, &bits, 8)
    for i in range(5):
        cf_store32(digest20 + 4 * i, cf_bswap32(s.state[i]))


# ---- XXH3 ----------------------------------------------------------------------------------------

cdef enum:
    XXH_STRIPE = 64  # bytes
    XXH_SECRET = 192
    XXH_STRIPES_A_BLOCK = (XXH_SECRET - XXH_STRIPE) / 8
    XXH_LAST_STRIPE_SECRET = XXH_SECRET - XXH_STRIPE - 7
    XXH_MERGE_SECRET = 11

cdef extern from *:
    """
    #define XXH_P32_1 0x9E3779B1u
    #define XXH_P32_2 0x85EBCA77u
    #define XXH_P32_3 0xC2B2AE3Du
    #define XXH_P64_1 0x9E3779B185EBCA87ull
    #define XXH_P64_2 0xC2B2AE3D27D4EB4Full
    #define XXH_P64_3 0x165667B19E3779F9ull
    #define XXH_P64_4 0x85EBCA77C2B2AE63ull
    #define XXH_P64_5 0x27D4EB2F165667C5ull
    #define XXH_P_MX1 0x165667919E3779F9ull
    #define XXH_P_MX2 0x9FB21C651E98DF25ull
    """
    const uint64_t XXH_P32_1, XXH_P32_2, XXH_P32_3
    const uint64_t XXH_P64_1, XXH_P64_2, XXH_P64_3, XXH_P64_4, XXH_P64_5, XXH_P_MX1, XXH_P_MX2


cdef inline uint64_t _secret(size_t at) noexcept nogil:
    return cf_load64(cf_xxh3_secret + at)


cdef inline uint64_t _avalanche(uint64_t h) noexcept nogil:
    h = (h ^ (h >> 37)) * XXH_P_MX1
    return h ^ (h >> 32)


cdef inline uint64_t _xxh64_avalanche(uint64_t h) noexcept nogil:
    h = (h ^ (h >> 33)) * XXH_P64_2
    h = (h ^ (h >> 29)) * XXH_P64_3
    return h ^ (h >> 32)


cdef inline uint64_t _mix16(const char* p, size_t secret_at) noexcept nogil:
    return cf_mul128_fold(cf_load64(p) ^ _secret(secret_at), cf_load64(p + 8) ^ _secret(secret_at + 8))


cdef uint64_t _xxh3_upto16(const char* p, size_t n) noexcept nogil:
    cdef uint64_t a, b, h
    if n > 8:
        a = cf_load64(p) ^ _secret(24) ^ _secret(32)
        b = cf_load64(p + n - 8) ^ _secret(40) ^ _secret(48)
        return _avalanche(n + cf_bswap64(a) + b + cf_mul128_fold(a, b))
    if n >= 4:
        a = cf_load32(p + n - 4) + (<uint64_t>cf_load32(p) << 32)
        h = a ^ _secret(8) ^ _secret(16)
        h ^= ((h << 49) | (h >> 15)) ^ ((h << 24) | (h >> 40))
        h *= XXH_P_MX2
        h ^= (h >> 35) + n
        h *= XXH_P_MX2
        return h ^ (h >> 28)
    if n:
        a = (<uint64_t>(<uint8_t>p[0]) << 16) | (<uint64_t>(<uint8_t>p[n >> 1]) << 24) | <uint8_t>p[n - 1] | (n << 8)
        return _xxh64_avalanche(a ^ (cf_load32(cf_xxh3_secret) ^ cf_load32(cf_xxh3_secret + 4)))
    return _xxh64_avalanche(_secret(56) ^ _secret(64))


cdef uint64_t _xxh3_upto128(const char* p, size_t n) noexcept nogil:
    cdef uint64_t h = n * XXH_P64_1
    cdef size_t i = (n - 1) / 32
    while True:
        h += _mix16(p + 16 * i, 32 * i)
        h += _mix16(p + n - 16 * (i + 1), 32 * i + 16)
        if i == 0:
            return _avalanche(h)
        i -= 1


cdef uint64_t _xxh3_upto240(const char* p, size_t n) noexcept nogil:
    cdef uint64_t h = n * XXH_P64_1
    cdef size_t i
    for i in range(8):
        h += _mix16(p + 16 * i, 16 * i)
    h = _avalanche(h)
    for i in range(8, n / 16):
        h += _mix16(p + 16 * i, 16 * (i - 8) + 3)
    h += _mix16(p + n - 16, 136 - 17)
    return _avalanche(h)


cdef inline void _stripe(uint64_t* acc, const char* p, size_t secret_at) noexcept nogil:
    cdef uint64_t data, key
    cdef int i
    for i in range(8):
        data = cf_load64(p + 8 * i)
        key = data ^ _secret(secret_at + 8 * i)
        acc[i ^ 1] += data
        acc[i] += <uint64_t><uint32_t>key * (key >> 32)


cdef uint64_t _xxh3_long(const char* p, size_t n) noexcept nogil:
    cdef uint64_t acc[8]
    cdef uint64_t h
    cdef size_t stripes = (n - 1) / XXH_STRIPE
    cdef size_t i, at
    acc[0] = XXH_P32_3
    acc[1] = XXH_P64_1
    acc[2] = XXH_P64_2
    acc[3] = XXH_P64_3
    acc[4] = XXH_P64_4
    acc[5] = XXH_P32_2
    acc[6] = XXH_P64_5
    acc[7] = XXH_P32_1
    for i in range(stripes):
        at = i % XXH_STRIPES_A_BLOCK
        _stripe(acc, p + XXH_STRIPE * i, 8 * at)
        if at == XXH_STRIPES_A_BLOCK - 1:
            for at in range(8):
                acc[at] = (acc[at] ^ (acc[at] >> 47) ^ _secret(XXH_SECRET - XXH_STRIPE + 8 * at)) * XXH_P32_1
    _stripe(acc, p + n - XXH_STRIPE, XXH_LAST_STRIPE_SECRET)
    h = n * XXH_P64_1
    for i in range(4):
        h += cf_mul128_fold(
            acc[2 * i] ^ _secret(XXH_MERGE_SECRET + 16 * i), acc[2 * i + 1] ^ _secret(XXH_MERGE_SECRET + 16 * i + 8)
        )
    return _avalanche(h)


cdef uint64_t xxh3_64(const void* p, size_t n) noexcept nogil:
    if n <= 16:
        return _xxh3_upto16(<const char*>p, n)
    if n <= 128:
        return _xxh3_upto128(<const char*>p, n)
    if n <= 240:
        return _xxh3_upto240(<const char*>p, n)
    return _xxh3_long(<const char*>p, n)
