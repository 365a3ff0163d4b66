"""Signatures of values, equal to Valkey's DEBUG DIGEST for equal data.

A digest is 20 bytes, zero at first. `digest_add` does not depend on the order of what is added, so it is for sets and
the like: SHA-1 of the data, xored in. `digest_mix` does: it adds and then hashes the digest itself. An element of
several parts is mixed into a digest of its own, which is added.
"""

from libc.stdint cimport uint8_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:
    DIGEST_BYTES = 20

cdef void digest_add(uint8_t* digest, const void* p, size_t n) noexcept nogil
cdef void digest_mix(uint8_t* digest, const void* p, size_t n) noexcept nogil
cdef void digest_mix_number(uint8_t* digest, int v) noexcept nogil  # as four bytes, big-endian
cdef void entry_digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil
    # Mixes type, value, and whether it expires; not the key.
