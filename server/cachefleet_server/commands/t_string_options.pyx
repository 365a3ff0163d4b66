"""Options of SET, GETEX and MSETEX: conditions and expiry, in any order.

Of a repeated expiry the last one counts; a comparison may not be repeated, anything else only as it is.
"""

from libc.stdint cimport INT64_MAX
from libc.stdio cimport snprintf

from cachefleet_server.commands.t_string_compare cimport (
    COND_IFDEQ, COND_IFDNE, COND_IFEQ, COND_IFNE, COND_NONE, COND_NX, COND_XX)
from cachefleet_server.core.errors cimport ERR_NOT_INTEGER
from cachefleet_server.core.options cimport (
    OPT_EX, OPT_EXAT, OPT_GET, OPT_IFDEQ, OPT_IFEQ, OPT_IFNE, OPT_KEEPTTL, OPT_NX, OPT_PERSIST, OPT_PX, OPT_PXAT,
    OPT_XX, option_walk_t, options_begin, options_end, options_next)
from cachefleet_server.core.reply cimport reply_error
from cachefleet_server.ds.number cimport chars_to_int64

cdef int ttl_of(int option) noexcept nogil:
    if option == OPT_EX:
        return TTL_EX
    if option == OPT_PX:
        return TTL_PX
    if option == OPT_EXAT:
        return TTL_EXAT
    if option == OPT_PXAT:
        return TTL_PXAT
    if option == OPT_KEEPTTL:
        return TTL_KEEP
    return TTL_PERSIST if option == OPT_PERSIST else TTL_NONE


cdef int _condition_of(int option) noexcept nogil:
    if option == OPT_NX:
        return COND_NX
    if option == OPT_XX:
        return COND_XX
    if option == OPT_IFEQ:
        return COND_IFEQ
    if option == OPT_IFNE:
        return COND_IFNE
    return COND_IFDEQ if option == OPT_IFDEQ else COND_IFDNE


cdef bint _take_option(options_t* o, const option_walk_t* w) noexcept nogil:
    """One option into `o`; false when it contradicts another."""
    cdef int which = ttl_of(w.option)
    if which != TTL_NONE:
        if o.ttl != TTL_NONE and o.ttl != which:
            return False
        o.ttl = which
        if which != TTL_KEEP and which != TTL_PERSIST:
            o.ttl_arg = w.value
        return True
    if w.option == OPT_GET:
        o.get = True
        return True
    which = _condition_of(w.option)
    if which == COND_NX or which == COND_XX:
        if o.condition != COND_NONE and o.condition != which:
            return False
    elif o.condition != COND_NONE:
        return False
    o.condition = which
    o.operand = w.value
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


cdef bint take_options(client_t* c, int first, options_t* o) noexcept nogil:
    """The options from argv[first] on; false after replying an error."""
    cdef option_walk_t w
    o.condition = COND_NONE
    o.ttl = TTL_NONE
    o.get = False
    o.operand = NULL
    o.ttl_arg = NULL
    o.expire_ms = -1
    options_begin(&w, c, first)
    while options_next(&w):
        w.failed = not _take_option(o, &w)
    if not options_end(&w):
        return False
    return o.ttl_arg == NULL or take_expiry(c, o.ttl_arg, o.ttl, &o.expire_ms)
