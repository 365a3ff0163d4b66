"""Inputs for fuzzing; see _testing_fuzz.pyx.

An input is one of a corpus, mutated; `rng` decides it, and what its target chooses at random. After half of the
mutations `fix` puts right what a container says of its own length, so that more inputs reach what is behind.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport engine_t

cdef enum:
    INPUT_MAX = 16384  # bytes of an input

cdef struct bytes_t:
    const char* p
    size_t n

cdef struct fuzz_t:
    engine_t* e
    uint64_t rng
    bytes_t* corpus
    size_t corpus_len
    char data[16384]  # INPUT_MAX: the input
    size_t n

ctypedef void (*fix_fn)(char* p, size_t n) noexcept nogil

cdef size_t input_below(fuzz_t* f, size_t n) noexcept nogil  # a random number
cdef void input_draw(fuzz_t* f, uint64_t seed, uint64_t number, fix_fn fix) noexcept nogil  # fix: NULL, or for n > 0
cdef void input_given(fuzz_t* f, const char* p, size_t n) noexcept nogil
