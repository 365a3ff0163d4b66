"""INCREX: an increment with bounds and an expiry, as Redis 8.8 has it. For counters that limit rates.

A result outside of the bounds (without bounds: of the type's range) leaves key and expiry alone and is replied as
[old value, 0]; with SATURATE the nearest bound becomes the value. Either way the reply is what the value is now and
by how much it changed. Propagated as SET of the result.
"""

from libc.math cimport isinf
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t

from cachefleet_server.commands.t_string cimport expiry_is_past, propagate_set, string_changed
from cachefleet_server.commands.t_string_edit cimport (
    store_text, string_float, string_int, sum_int, take_float, take_int)
from cachefleet_server.commands.t_string_options cimport (
    TTL_NONE, TTL_PERSIST, take_expiry, ttl_of)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE, arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport E_EXPIRE, entry_t
from cachefleet_server.core.options cimport (
    OPT_BYFLOAT, OPT_BYINT, OPT_ENX, OPT_LBOUND, OPT_SATURATE, OPT_UBOUND, option_walk_t, options_begin, options_end,
    options_next)
from cachefleet_server.core.reply cimport (
    reply_array, reply_begin, reply_bulk, reply_error, reply_int)
from cachefleet_server.ds.number cimport NUMBER_CHARS_MAX, int64_to_chars, longdouble_to_chars
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, SET_KEEP_TTL, db_find, db_set_expire, db_set_int, lookup_write, notify, string_or_reply)
from cachefleet_server.keyspace.expire cimport expire_now
from cachefleet_server.keyspace.journal cimport journal_arg
from cachefleet_server.resp.writer cimport out_raw

cdef extern from * nogil:
    """
    #include <float.h>
    """
    const long double LDBL_MAX

cdef struct increx_t:
    const arg_t* by
    const arg_t* lower
    const arg_t* upper
    const arg_t* ttl_arg
    int ttl  # TTL_*
    bint is_float
    bint saturate
    bint only_without_ttl  # ENX
    int64_t expire_ms  # -1 = none

# ---- options -------------------------------------------------------------------------------------

cdef bint _take_value(const arg_t** slot, const option_walk_t* w) noexcept nogil:
    """The argument behind an option; no option may come twice."""
    if slot[0] != NULL:
        return False
    slot[0] = w.value
    return True


cdef bint _take_option(increx_t* o, const option_walk_t* w) noexcept nogil:
    cdef int which = ttl_of(w.option)
    if which != TTL_NONE:
        if o.ttl != TTL_NONE or (which == TTL_PERSIST and o.only_without_ttl):
            return False
        o.ttl = which
        return which == TTL_PERSIST or _take_value(&o.ttl_arg, w)
    if w.option == OPT_BYINT or w.option == OPT_BYFLOAT:
        o.is_float = w.option == OPT_BYFLOAT
        return _take_value(&o.by, w)
    if w.option == OPT_LBOUND:
        return _take_value(&o.lower, w)
    if w.option == OPT_UBOUND:
        return _take_value(&o.upper, w)
    if w.option == OPT_SATURATE and not o.saturate:
        o.saturate = True
        return True
    if w.option == OPT_ENX and not o.only_without_ttl and o.ttl != TTL_PERSIST:
        o.only_without_ttl = True
        return True
    return False


cdef bint _take_options(client_t* c, increx_t* o) noexcept nogil:
    cdef option_walk_t w
    o.by = o.lower = o.upper = o.ttl_arg = NULL
    o.ttl = TTL_NONE
    o.is_float = o.saturate = o.only_without_ttl = False
    o.expire_ms = -1
    options_begin(&w, c, 2)
    while options_next(&w):
        w.failed = not _take_option(o, &w)
    if not options_end(&w):
        return False
    if o.only_without_ttl and o.ttl_arg == NULL:
        reply_error(c, b"ERR ENX flag requires an expiration")
        return False
    return True


cdef bint _refuse(client_t* c, const char* error) noexcept nogil:
    reply_error(c, error)
    return False

# ---- arithmetic ----------------------------------------------------------------------------------------

cdef bint _int_arguments(client_t* c, increx_t* o, int64_t* by, int64_t* lower, int64_t* upper) noexcept nogil:
    by[0] = 1
    lower[0] = INT64_MIN
    upper[0] = INT64_MAX
    if not take_int(c, o.by, by, b"ERR Increment is not an integer or out of range") \
            or not take_int(c, o.lower, lower, b"ERR LBOUND is not an integer or out of range") \
            or not take_int(c, o.upper, upper, b"ERR UBOUND is not an integer or out of range"):
        return False
    if lower[0] > upper[0]:
        return _refuse(c, b"ERR LBOUND can't be greater than UBOUND")
    return o.ttl_arg == NULL or take_expiry(c, o.ttl_arg, o.ttl, &o.expire_ms)


cdef bint _float_arguments(
    client_t* c, increx_t* o, long double* by, long double* lower, long double* upper
) noexcept nogil:
    lower[0] = -LDBL_MAX
    upper[0] = LDBL_MAX
    if not take_float(c, o.by, by, b"ERR Increment is not a valid float"):
        return False
    if isinf(by[0]):
        return _refuse(c, b"ERR BYFLOAT increment cannot be Infinity")
    if not take_float(c, o.lower, lower, b"ERR LBOUND is not a valid float") \
            or not take_float(c, o.upper, upper, b"ERR UBOUND is not a valid float"):
        return False
    if lower[0] > upper[0]:
        return _refuse(c, b"ERR LBOUND can't be greater than UBOUND")
    return o.ttl_arg == NULL or take_expiry(c, o.ttl_arg, o.ttl, &o.expire_ms)

# ---- storing -------------------------------------------------------------------------------------------

cdef void _finish(client_t* c, arg_t* key, increx_t* o, bint had_ttl, const char* text, size_t n) noexcept nogil:
    """The value has been stored with its old expiry: now the expiry, events and propagation."""
    cdef arg_t result = journal_arg(text, n)
    cdef entry_t* entry = db_find(c.db, key.ptr, key.len, key.hash)
    cdef bint keep = True
    string_changed(c, b"incrbyfloat" if o.is_float else b"incrby", key)
    if o.ttl == TTL_PERSIST:
        if had_ttl:
            keep = False
            db_set_expire(c.db, entry, key.hash, -1)
            notify(c.engine, NOTIFY_GENERIC, b"persist", key.ptr, key.len, c.db.id)
    elif o.expire_ms != -1 and not (o.only_without_ttl and had_ttl):
        keep = False
        db_set_expire(c.db, entry, key.hash, o.expire_ms)
        notify(c.engine, NOTIFY_GENERIC, b"expire", key.ptr, key.len, c.db.id)
    propagate_set(c, key, &result, -1 if keep else o.expire_ms, keep)


cdef bint _is_past(client_t* c, const increx_t* o, bint had_ttl) noexcept nogil:
    return expiry_is_past(c, o.expire_ms) and not (o.only_without_ttl and had_ttl)


cdef void _expire(client_t* c, arg_t* key, entry_t* entry) noexcept nogil:
    if entry != NULL:
        expire_now(c.db, entry, key.hash)
        c.engine.persist.dirty += 1
        c.flags |= CLIENT_PREVENT_PROPAGATE


cdef void _reply_float(client_t* c, long double v) noexcept nogil:
    """The text of INCRBYFLOAT: a bulk string, or a double in RESP3."""
    cdef char text[NUMBER_CHARS_MAX]
    cdef int n = longdouble_to_chars(text, v)
    if c.resp == 2:
        reply_bulk(c, text, n)
    elif reply_begin(c):
        out_raw(&c.out, b",", 1)
        out_raw(&c.out, text, n)
        out_raw(&c.out, b"\r\n", 2)


cdef void _increx_int(client_t* c, arg_t* key, entry_t* entry, increx_t* o) noexcept nogil:
    cdef int64_t by, lower, upper, old, value
    cdef int beyond
    cdef char text[24]
    cdef bint had_ttl = entry != NULL and entry.flags & E_EXPIRE
    old = 0
    if not _int_arguments(c, o, &by, &lower, &upper) or not string_int(c, entry, &old):
        return
    value = sum_int(old, by, &beyond)
    if beyond or value < lower or value > upper:
        if not o.saturate:
            reply_array(c, 2)
            reply_int(c, old)
            reply_int(c, 0)
            return
        value = lower if value < lower else upper if value > upper else value
    if (old < 0 and value > INT64_MAX + old) or (old > 0 and value < INT64_MIN + old):
        reply_error(c, b"ERR applied increment would overflow")
        return
    if _is_past(c, o, had_ttl):
        _expire(c, key, entry)
    else:
        db_set_int(c.db, key, entry, value, -1, SET_KEEP_TTL)
        _finish(c, key, o, had_ttl, text, int64_to_chars(text, value))
    reply_array(c, 2)
    reply_int(c, value)
    reply_int(c, value - old)


cdef void _increx_float(client_t* c, arg_t* key, entry_t* entry, increx_t* o) noexcept nogil:
    cdef long double by, lower, upper, old, value
    cdef char text[NUMBER_CHARS_MAX]
    cdef size_t n
    cdef bint had_ttl = entry != NULL and entry.flags & E_EXPIRE
    old = 0
    if not _float_arguments(c, o, &by, &lower, &upper) or not string_float(c, entry, &old):
        return
    if isinf(old):
        reply_error(c, b"ERR value cannot be Infinity")
        return
    value = old + by
    if value < lower or value > upper or isinf(value):
        if not o.saturate:
            reply_array(c, 2)
            _reply_float(c, old)
            _reply_float(c, 0)
            return
        value = lower if value < lower or value < -LDBL_MAX else upper
        by = value - old
        if isinf(by):
            reply_error(c, b"ERR applied increment would be Infinity")
            return
    if _is_past(c, o, had_ttl):
        _expire(c, key, entry)
    else:
        n = longdouble_to_chars(text, value)
        store_text(c, key, entry, text, n)
        _finish(c, key, o, had_ttl, text, n)
    reply_array(c, 2)
    _reply_float(c, value)
    _reply_float(c, by)


cdef void increx_command(client_t* c) noexcept nogil:
    cdef increx_t o
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry
    if not _take_options(c, &o):
        return
    entry = lookup_write(c, key)
    if not string_or_reply(c, entry):
        return
    if o.is_float:
        _increx_float(c, key, entry, &o)
    else:
        _increx_int(c, key, entry, &o)


cdef int register_string_increx(engine_t* e) except -1:
    command_row(
        e, increx_command, "increx", -2, "write denyoom fast", "string", "1 RW access update",
        "string 8.8.0 O(1)",
        "Adds to the numeric value of a key within bounds, and changes when the key expires.",
        "key:key [increment(BYFLOAT float:double | BYINT integer:integer)] [SATURATE] [LBOUND lowerbound:string]"
        " [UBOUND upperbound:string] [expiration(EX seconds:integer | PX milliseconds:integer |"
        " EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | PERSIST)] [ENX]")
    return 0
