"""Taking elements out of several kinds of values; see popping.pxd."""

from libc.stdint cimport INT64_MAX
from libc.string cimport strlen

from cachefleet_server.core.options cimport option_walk_t, options_begin, options_end, options_next
from cachefleet_server.core.reply cimport arg_int64_from, arg_is, reply_error, reply_null_array, reply_syntax_error
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_longdouble, int64_to_chars
from cachefleet_server.keyspace.db cimport lookup_write, type_or_reply
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef extern from "<math.h>" nogil:
    long double ceill(long double v)


cdef bint timeout_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil:
    cdef long double v
    cdef int64_t ms
    if not chars_to_longdouble(a.ptr, a.len, &v):
        reply_error(c, b"ERR timeout is not a float or out of range")
        return False
    v *= 1000
    if v > <long double>INT64_MAX:
        reply_error(c, b"ERR timeout is out of range")
        return False
    v = ceill(v)
    if v < 0:
        reply_error(c, b"ERR timeout is negative")
        return False
    ms = <int64_t>v
    if ms > INT64_MAX - c.engine.now_ms:
        reply_error(c, b"ERR timeout is out of range")
        return False
    until_ms[0] = ms + c.engine.now_ms if ms else 0
    return True


cdef bint multi_pop_words(
    client_t* c, int first, const char* front, const char* back, multi_pop_t* m
) noexcept nogil:
    cdef option_walk_t w
    cdef const arg_t* where
    cdef int64_t count
    if not arg_int64_from(c, &c.argv[first], 1, &count, b"ERR numkeys should be greater than 0"):
        return False
    if count >= c.argc - first - 1:
        reply_syntax_error(c)
        return False
    m.keys = &c.argv[first + 1]
    m.count = <int>count
    where = &c.argv[first + 1 + count]
    m.front = arg_is(where, front)
    if not m.front and not arg_is(where, back):
        reply_syntax_error(c)
        return False
    m.most = -1
    options_begin(&w, c, first + 2 + m.count)
    while options_next(&w):
        if m.most != -1:
            w.failed = True
        elif not arg_int64_from(c, w.value, 1, &m.most, b"ERR count should be greater than 0"):
            return False
    m.most = max(m.most, <int64_t>1)
    return options_end(&w)


cdef bint first_of_type(
    client_t* c, arg_t* keys, int count, int type, arg_t** key, entry_t** entry
) noexcept nogil:
    cdef int i
    key[0] = NULL
    entry[0] = NULL
    for i in range(count):
        entry[0] = lookup_write(c, &keys[i])
        if entry[0] != NULL:
            key[0] = &keys[i]
            return type_or_reply(c, entry[0], type)
    return True


cdef void journal_pop(client_t* c, const char* name, const arg_t* key, size_t count) noexcept nogil:
    cdef arg_t argv[3]
    cdef char digits[INT64_CHARS_MAX]
    if not c.engine.journal.enabled:
        return
    argv[0] = journal_arg(name, strlen(name))
    argv[1] = key[0]
    if count:
        argv[2] = journal_arg(&digits[0], int64_to_chars(&digits[0], count))
    journal_rewrite(c, 3 if count else 2, argv)


cdef void nothing_came(client_t* c, bint timed_out) noexcept nogil:
    reply_null_array(c)
