"""Signatures of values; see digest.pxd."""

from cachefleet_server.core.entry cimport E_EXPIRE, entry_type
from cachefleet_server.ds.sha1 cimport sha1


cdef void digest_add(uint8_t* digest, const void* p, size_t n) noexcept nogil:
    cdef uint8_t hash[DIGEST_BYTES]
    cdef int i
    sha1(p, n, hash)
    for i in range(DIGEST_BYTES):
        digest[i] ^= hash[i]


cdef void digest_mix(uint8_t* digest, const void* p, size_t n) noexcept nogil:
    digest_add(digest, p, n)
    sha1(digest, DIGEST_BYTES, digest)


cdef void digest_mix_number(uint8_t* digest, int v) noexcept nogil:
    cdef uint8_t bytes[4]
    cdef int i
    for i in range(4):
        bytes[i] = <uint8_t>(v >> (24 - 8 * i))
    digest_mix(digest, bytes, sizeof(bytes))


cdef void entry_digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    digest_mix_number(digest, entry_type(entry))
    e.types[entry_type(entry)].digest_fn(e, entry, digest)
    if entry.flags & E_EXPIRE:
        digest_add(digest, b"!!expire!!", 10)
