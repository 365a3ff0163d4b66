"""HINCRBY and HINCRBYFLOAT.

As with strings, arithmetic on floats is done in long double, and who follows is told the result, by HSET. A field that
expires keeps its time, and is told as HSETEX; one that was hidden begins anew.
"""

from libc.math cimport isinf, isnan

from cachefleet_server.commands.t_hash cimport (
    HASH_KEEP, OBJ_HASH, arg_t, client_t, engine_t, entry_t, hash_changed, hash_field_t, hash_find, hash_new,
    hash_renewed, hash_stored, hash_write_t, int64_t, lookup_write, lp_text, members_clock, type_or_reply)
from cachefleet_server.commands.t_string_edit cimport sum_int, take_float
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.errors cimport ERR_NOT_FLOAT, ERR_OVERFLOW
from cachefleet_server.core.hash_value cimport hash_write, hash_write_begin, hash_write_end
from cachefleet_server.core.reply cimport arg_int64, reply_bulk, reply_error, reply_int
from cachefleet_server.ds.number cimport (
    INT64_CHARS_MAX, NUMBER_CHARS_MAX, chars_to_int64, chars_to_longdouble, int64_to_chars, longdouble_to_chars)
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite


cdef bint _store(client_t* c, entry_t* old, const char* event, const char* text, size_t n) noexcept nogil:
    """The new value of field argv[2] of key argv[1]. True: the field was hidden."""
    cdef arg_t* key = &c.argv[1]
    cdef hash_write_t w
    cdef arg_t pair[2]
    pair[0] = c.argv[2]
    pair[1] = journal_arg(text, n)
    hash_write_begin(
        &w, c.engine, old if old != NULL else hash_new(c.engine, key.ptr, key.len), pair, 1, members_clock(c),
        HASH_KEEP)
    hash_write(&w, pair[0].ptr, pair[0].len, text, n)
    hash_stored(c, key, old, hash_write_end(&w))
    hash_renewed(c, key, w.renewed)
    hash_changed(c, event, key, 1)
    return w.renewed != 0


cdef void _journal_result(client_t* c, const char* text, size_t n, int64_t expire_ms) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t argv[8]
    argv[1] = c.argv[1]
    if expire_ms < 0:
        argv[0] = journal_arg(b"HSET", 4)
        argv[2] = c.argv[2]
        argv[3] = journal_arg(text, n)
        journal_rewrite(c, 4, argv)
        return
    argv[0] = journal_arg(b"HSETEX", 6)
    argv[2] = journal_arg(b"PXAT", 4)
    argv[3] = journal_arg(digits, int64_to_chars(digits, expire_ms))
    argv[4] = journal_arg(b"FIELDS", 6)
    argv[5] = journal_arg(b"1", 1)
    argv[6] = c.argv[2]
    argv[7] = journal_arg(text, n)
    journal_rewrite(c, 8, argv)


cdef void hincrby_command(client_t* c) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef entry_t* old
    cdef hash_field_t field
    cdef int64_t by
    cdef int64_t value = 0
    cdef int beyond, n
    cdef bint renewed
    field.expire_ms = -1
    if not arg_int64(c, &c.argv[3], &by):
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if old != NULL and hash_find(old, c.argv[2].ptr, c.argv[2].len, members_clock(c), &field):
        if field.value.str == NULL:
            value = field.value.num
        elif not chars_to_int64(field.value.str, field.value.len, &value):
            reply_error(c, b"ERR hash value is not an integer")
            return
    value = sum_int(value, by, &beyond)
    if beyond:
        reply_error(c, ERR_OVERFLOW)
        return
    n = int64_to_chars(digits, value)
    renewed = _store(c, old, b"hincrby", digits, n)
    if renewed or field.expire_ms >= 0:
        _journal_result(c, digits, n, field.expire_ms)
    reply_int(c, value)


cdef void hincrbyfloat_command(client_t* c) noexcept nogil:
    cdef char text[NUMBER_CHARS_MAX]
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    cdef entry_t* old
    cdef hash_field_t field
    cdef long double by
    cdef long double value = 0
    field.expire_ms = -1
    if not take_float(c, &c.argv[3], &by, ERR_NOT_FLOAT):
        return
    if isnan(by) or isinf(by):
        reply_error(c, b"ERR value is NaN or Infinity")
        return
    old = lookup_write(c, &c.argv[1])
    if not type_or_reply(c, old, OBJ_HASH):
        return
    if old != NULL and hash_find(old, c.argv[2].ptr, c.argv[2].len, members_clock(c), &field):
        p = lp_text(&field.value, digits, &n)
        if not chars_to_longdouble(p, n, &value):
            reply_error(c, b"ERR hash value is not a float")
            return
    value += by
    if isnan(value) or isinf(value):
        reply_error(c, b"ERR increment would produce NaN or Infinity")
        return
    n = longdouble_to_chars(text, value)
    _store(c, old, b"hincrbyfloat", text, n)
    _journal_result(c, text, n, field.expire_ms)
    reply_bulk(c, text, n)


cdef int register_hash_number(engine_t* e) except -1:
    command_row(e, hincrby_command, "hincrby", 4, "write denyoom fast", "hash", "1 RW access update",
                "hash 2.0.0 O(1)", "Adds to the integer value of a field, which is created if need be.",
                "key:key field:string increment:integer")
    command_row(e, hincrbyfloat_command, "hincrbyfloat", 4, "write denyoom fast", "hash", "1 RW access update",
                "hash 2.6.0 O(1)", "Adds to the floating-point value of a field, which is created if need be.",
                "key:key field:string increment:double")
    return 0
