"""Glob patterns of KEYS, SCAN MATCH, CONFIG GET: * ? [a-z] [^x] \\x; bytes, not characters.

Bounded: no input makes matching exponential. O(len(pattern) * len(text)) at worst.
"""

cdef bint glob_match(const char* pattern, size_t np, const char* text, size_t nt, bint nocase) noexcept nogil
