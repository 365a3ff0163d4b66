"""Taking elements out of several kinds of values; see popping.pxd."""

from libc.stdint cimport INT64_MAX
from libc.string cimport strlen

from cachefleet_server.commands.t_members cimport members_purged
from cachefleet_server.core.options cimport option_walk_t, options_begin, options_end, options_next
from cachefleet_server.core.reply cimport (
    arg_int64_from, arg_is, reply_array, reply_bulk, reply_error, reply_null_array, reply_syntax_error)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_longdouble, int64_to_chars
from cachefleet_server.keyspace.db cimport lookup_write, type_or_reply
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite
from cachefleet_server.keyspace.waiting cimport wait_for_keys

cdef extern from "<math.h>" nogil:
    long double ceill(long double v)

cdef struct words_t:  # of LMPOP and the like
    arg_t* keys
    int count  # of keys
    bint front  # the first of the two words that say where
    int64_t most  # elements


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


cdef void nothing_came(client_t* c, bint timed_out) noexcept nogil:
    reply_null_array(c)


cdef bint _words(client_t* c, int first, const popped_t* p, words_t* m) noexcept nogil:
    """From argv[first] on. False after a reply."""
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
    m.front = arg_is(where, p.front)
    if not m.front and not arg_is(where, p.back):
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


cdef bint _first(
    client_t* c, const popped_t* p, arg_t* keys, int count, arg_t** key, entry_t** entry
) noexcept nogil:
    """The first key that exists, or NULL. False: it has another type, which has been replied."""
    cdef int i
    key[0] = NULL
    entry[0] = NULL
    for i in range(count):
        entry[0] = lookup_write(c, &keys[i])
        if not type_or_reply(c, entry[0], p.type):
            return False
        entry[0] = members_purged(c, &keys[i], entry[0])
        if entry[0] != NULL:
            key[0] = &keys[i]
            return True
    return True


cdef void _journal(client_t* c, const popped_t* p, bint front, const arg_t* key, size_t count) noexcept nogil:
    """Instead of the running command; with a count unless that is 0."""
    cdef const char* name = p.front_command if front else p.back_command
    cdef arg_t argv[3]
    cdef char digits[INT64_CHARS_MAX]
    if not c.engine.journal.enabled:
        return
    argv[0] = journal_arg(name, strlen(name))
    argv[1] = key[0]
    if count:
        argv[2] = journal_arg(&digits[0], int64_to_chars(&digits[0], count))
    journal_rewrite(c, 3 if count else 2, argv)


cdef void blocking_pop(client_t* c, const popped_t* p, bint front) noexcept nogil:
    cdef int count = c.argc - 2
    cdef int64_t until_ms
    cdef arg_t* key
    cdef entry_t* entry
    if not timeout_or_reply(c, &c.argv[c.argc - 1], &until_ms):
        return
    if not _first(c, p, &c.argv[1], count, &key, &entry):
        return
    if entry != NULL:
        reply_array(c, p.one_parts)
        reply_bulk(c, key.ptr, key.len)
        p.one_fn(c, key, entry, front)
        _journal(c, p, front, key, 0)
    elif not wait_for_keys(c, &c.argv[1], count, p.type, 0, until_ms, nothing_came):
        reply_null_array(c)


cdef bint _multi_pop(client_t* c, const popped_t* p, const words_t* m) noexcept nogil:
    """False: none of the keys exists."""
    cdef arg_t* key
    cdef entry_t* entry
    cdef size_t count
    if not _first(c, p, m.keys, m.count, &key, &entry):
        return True
    if entry == NULL:
        return False
    count = min(<size_t>m.most, p.len_fn(entry))
    reply_array(c, 2)
    reply_bulk(c, key.ptr, key.len)
    p.several_fn(c, key, entry, m.front, count)
    _journal(c, p, m.front, key, count)
    return True


cdef void multi_pop(client_t* c, const popped_t* p) noexcept nogil:
    cdef words_t m
    if _words(c, 1, p, &m) and not _multi_pop(c, p, &m):
        reply_null_array(c)


cdef void blocking_multi_pop(client_t* c, const popped_t* p) noexcept nogil:
    cdef words_t m
    cdef int64_t until_ms
    if not _words(c, 2, p, &m) or not timeout_or_reply(c, &c.argv[1], &until_ms):
        return
    if not _multi_pop(c, p, &m) and not wait_for_keys(c, m.keys, m.count, p.type, 0, until_ms, nothing_came):
        reply_null_array(c)
