"""Splits a line into words as Valkey 9.1 does.

White space separates. Quotes may open and close anywhere in a word. Between double quotes a backslash escapes
(\\n \\r \\t \\b \\a, \\xHH, else the character itself); between single quotes it escapes only the single quote.
A backslash right before the line's last character is taken literally there, for the quote that follows it must close:
`"a\\"` is the word `a\\`. (One difference: Valkey drops bytes 0xFF; here they stay.)
"""


cdef inline bint is_space(char ch) noexcept nogil:
    """Between words; inside one only blank, tab and CR separate."""
    return ch == b' ' or b'\t' <= ch <= b'\r'


cdef inline int hex_digit(char ch) noexcept nogil:
    if b'0' <= ch <= b'9':
        return ch - 48
    if b'a' <= ch <= b'f':
        return ch - 97 + 10
    if b'A' <= ch <= b'F':
        return ch - 65 + 10
    return -1


cdef inline char unescape(char ch) noexcept nogil:
    if ch == b'n':
        return b'\n'
    if ch == b'r':
        return b'\r'
    if ch == b't':
        return b'\t'
    if ch == b'b':
        return b'\b'
    if ch == b'a':
        return b'\a'
    return ch


cdef char* take_quoted(char** at, const char* end, char* to) noexcept nogil:
    """at[0] is behind an opening quote: unquotes to `to` and moves behind the closing one. NULL: there is none."""
    cdef char* p = at[0]
    cdef char quote = (p - 1)[0]
    while p != end:
        if p[0] == quote:
            at[0] = p + 1
            return to
        if p[0] == b'\\' and end - p > 2:
            if quote == b'"':
                p += 1
                if p[0] == b'x' and end - p > 2 and hex_digit(p[1]) >= 0 and hex_digit(p[2]) >= 0:
                    to[0] = <char>(hex_digit(p[1]) * 16 + hex_digit(p[2]))
                    p += 2
                else:
                    to[0] = unescape(p[0])
            elif p[1] == b"'":
                p += 1
                to[0] = b"'"
            else:
                to[0] = b'\\'
        else:
            to[0] = p[0]
        to += 1
        p += 1
    return NULL


cdef int inline_split(char* line, size_t n, arg_t* args, size_t* bytes) noexcept nogil:
    cdef char* p = line
    cdef const char* end = line + n
    cdef char* to
    cdef int count = 0
    bytes[0] = 0
    while True:
        while p != end and is_space(p[0]):
            p += 1
        if p == end:
            return count
        args[count].ptr = to = p
        while p != end and p[0] != b' ' and p[0] != b'\t' and p[0] != b'\r':
            p += 1
            if (p - 1)[0] == b'"' or (p - 1)[0] == b"'":
                to = take_quoted(&p, end, to)
                if to == NULL:
                    return -1
            else:
                to[0] = (p - 1)[0]
                to += 1
        args[count].len = to - args[count].ptr
        args[count].hash = 0
        bytes[0] += args[count].len
        count += 1
