"""Glob matching as Redis does it, without recursion.

Only the last star matters: what an earlier star took can never need to change once a later one is
reached. So a mismatch steps back to the last star, which takes one more byte; O(pattern * text).

Corner cases that clients see: a class without "]" ends with the pattern; "[^" alone matches any byte; a
backslash at the end of the pattern is a byte like any other; a range may be written backwards, and bytes
from 0x80 on are below 0x00 in it; an empty text matches only an empty pattern.
"""

cdef inline signed char _fold(char c, bint nocase) noexcept nogil:
    return c + 32 if nocase and c"A" <= c <= c"Z" else c


cdef size_t _class(const char* p, size_t n, char c, bint nocase, bint* matched) noexcept nogil:
    """A class at p, behind its "[". Returns its length, the "]" included if there is one."""
    cdef size_t i = 0
    cdef bint negate = n > 0 and p[0] == c"^"
    cdef bint found = False
    cdef signed char low, high
    cdef signed char folded = _fold(c, nocase)
    i += negate
    while i < n and p[i] != c"]":
        if p[i] == c"\\" and i + 1 < n:
            found |= p[i + 1] == c  # case counts here: so it does in Redis
            i += 2
        elif i + 2 < n and p[i + 1] == c"-":
            low = p[i]
            high = p[i + 2]
            if low > high:
                low, high = high, low
            found |= _fold(low, nocase) <= folded <= _fold(high, nocase)
            i += 3
        else:
            found |= _fold(p[i], nocase) == folded
            i += 1
    matched[0] = found != negate
    return i + 1 if i < n else n


cdef bint glob_match(const char* pattern, size_t np, const char* text, size_t nt, bint nocase) noexcept nogil:
    cdef size_t p = 0
    cdef size_t t = 0
    cdef size_t star = 0  # place behind the last star; 0 = none yet
    cdef size_t star_text = 0  # first byte that this star has not taken
    cdef size_t step
    cdef bint matched
    if nt == 0:
        return np == 0
    while t < nt:
        if p < np and pattern[p] == c"*":
            p += 1
            if p == np:
                return True
            star = p
            star_text = t
            continue
        matched = False
        step = 0
        if p < np:
            step = 1
            if pattern[p] == c"?":
                matched = True
            elif pattern[p] == c"[":
                step = 1 + _class(pattern + p + 1, np - p - 1, text[t], nocase, &matched)
            else:
                if pattern[p] == c"\\" and p + 1 < np:
                    p += 1
                matched = _fold(pattern[p], nocase) == _fold(text[t], nocase)
        if matched:
            p += step
            t += 1
        elif star:
            p = star
            star_text += 1
            t = star_text
        else:
            return False
    while p < np and pattern[p] == c"*":
        p += 1
    return p == np


def glob_matches(bytes pattern not None, bytes text not None, bint nocase=False):
    """The same for Python; the engine offers it."""
    return bool(glob_match(pattern, len(pattern), text, len(text), nocase))
