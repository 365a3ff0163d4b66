"""Options of SET, GETEX and MSETEX: conditions and expiry, in any order.

Options are words of at most eight letters; each is folded into an integer and compared as such, so that parsing
"EX 60" costs next to nothing. Of a repeated expiry the last one counts; anything else may be repeated only as it is.
"""

from libc.stdint cimport INT64_MAX, uint64_t
from libc.stdio cimport snprintf

from cachefleet_server.commands.t_string_compare cimport (
    COND_IFDEQ, COND_IFDNE, COND_IFEQ, COND_IFNE, COND_NONE, COND_NX, COND_XX)
from cachefleet_server.core.errors cimport ERR_NOT_INTEGER
from cachefleet_server.core.reply cimport reply_error, reply_syntax_error
from cachefleet_server.ds.number cimport chars_to_int64

cdef extern from * nogil:
    """
    /* An option's letters as an integer, first letter highest. */
    #define W2(a, b) ((uint64_t)(a) << 8 | (uint64_t)(b))
    #define W3(a, b, c) (W2(a, b) << 8 | (uint64_t)(c))
    #define W4(a, b, c, d) (W2(a, b) << 16 | W2(c, d))
    #define W_NX W2('n', 'x')
    #define W_XX W2('x', 'x')
    #define W_EX W2('e', 'x')
    #define W_PX W2('p', 'x')
    #define W_GET W3('g', 'e', 't')
    #define W_EXAT W4('e', 'x', 'a', 't')
    #define W_PXAT W4('p', 'x', 'a', 't')
    #define W_IFEQ W4('i', 'f', 'e', 'q')
    #define W_IFNE W4('i', 'f', 'n', 'e')
    #define W_IFDEQ (W4('i', 'f', 'd', 'e') << 8 | 'q')
    #define W_IFDNE (W4('i', 'f', 'd', 'n') << 8 | 'e')
    #define W_KEEPTTL (W4('k', 'e', 'e', 'p') << 24 | W3('t', 't', 'l'))
    #define W_PERSIST (W4('p', 'e', 'r', 's') << 24 | W3('i', 's', 't'))
    """
    const uint64_t W_NX, W_XX, W_EX, W_PX, W_GET, W_EXAT, W_PXAT, W_IFEQ, W_IFNE, W_IFDEQ, W_IFDNE
    const uint64_t W_KEEPTTL, W_PERSIST


cdef int ttl_of(uint64_t word) noexcept nogil:
    if word == W_EX:
        return TTL_EX
    if word == W_PX:
        return TTL_PX
    if word == W_EXAT:
        return TTL_EXAT
    if word == W_PXAT:
        return TTL_PXAT
    if word == W_KEEPTTL:
        return TTL_KEEP
    return TTL_PERSIST if word == W_PERSIST else TTL_NONE


cdef inline int _compare_of(uint64_t w) noexcept nogil:
    if w == W_IFEQ:
        return COND_IFEQ
    if w == W_IFNE:
        return COND_IFNE
    if w == W_IFDEQ:
        return COND_IFDEQ
    if w == W_IFDNE:
        return COND_IFDNE
    return COND_NONE


cdef bint _take_option(options_t* o, int kind, const arg_t* a, bint last, int* used) noexcept nogil:
    """One option at `a` into `o`; false when it is unknown here, contradicts another, or lacks its value."""
    cdef uint64_t w = option_word(a)
    cdef int which = ttl_of(w)
    used[0] = 1
    if which != TTL_NONE:
        if o.ttl != TTL_NONE and o.ttl != which:
            return False
        o.ttl = which
        if which == TTL_KEEP:
            return kind != FOR_GETEX
        if which == TTL_PERSIST:
            return kind == FOR_GETEX
        o.ttl_arg = a + 1
        used[0] = 2
        return not last
    if w == W_NX or w == W_XX:
        which = COND_NX if w == W_NX else COND_XX
        if kind == FOR_GETEX or (o.condition != COND_NONE and o.condition != which):
            return False
        o.condition = which
        return True
    if kind != FOR_SET:
        return False
    if w == W_GET:
        o.get = True
        return True
    which = _compare_of(w)
    if which == COND_NONE or o.condition != COND_NONE or last:
        return False
    o.condition = which
    o.operand = a + 1
    used[0] = 2
    return True


cdef bint take_expiry(client_t* c, const arg_t* a, int unit, int64_t* expire_ms) noexcept nogil:
    """A time argument as unix time in ms; false after replying that it is none."""
    cdef char text[96]
    cdef int64_t t
    if not chars_to_int64(a.ptr, a.len, &t):
        reply_error(c, ERR_NOT_INTEGER)
        return False
    if t > 0 and (unit == TTL_PX or unit == TTL_PXAT or t <= INT64_MAX // 1000):
        if unit == TTL_EX or unit == TTL_EXAT:
            t *= 1000
        if unit == TTL_EXAT or unit == TTL_PXAT:
            expire_ms[0] = t
            return True
        if t <= INT64_MAX - c.engine.now_ms:
            expire_ms[0] = t + c.engine.now_ms
            return True
    snprintf(text, sizeof(text), b"ERR invalid expire time in '%s' command", c.cmd.name)
    reply_error(c, text)
    return False


cdef bint take_options(client_t* c, int first, int kind, options_t* o) noexcept nogil:
    """The options from argv[first] on; false after replying an error."""
    cdef int i = first
    cdef int used
    o.condition = COND_NONE
    o.ttl = TTL_NONE
    o.get = False
    o.operand = NULL
    o.ttl_arg = NULL
    o.expire_ms = -1
    while i < c.argc:
        if not _take_option(o, kind, &c.argv[i], i + 1 == c.argc, &used):
            reply_syntax_error(c)
            return False
        i += used
    return o.ttl_arg == NULL or take_expiry(c, o.ttl_arg, o.ttl, &o.expire_ms)
