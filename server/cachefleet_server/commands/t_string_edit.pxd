"""Parts of strings, and strings as numbers: what INCR and its kin share with INCREX, SETRANGE with SETBIT."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t

from cachefleet_server.commands.t_string cimport string_text
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport ENC_INT, entry_encoding, entry_int, entry_t
from cachefleet_server.core.errors cimport ERR_NOT_FLOAT, ERR_NOT_INTEGER
from cachefleet_server.core.reply cimport reply_error
from cachefleet_server.ds.number cimport chars_to_int64, chars_to_longdouble

cdef int register_string_edit(engine_t* e) except -1
cdef char* string_room(client_t* c, const arg_t* key, entry_t* entry, size_t n) noexcept nogil
    # The bytes of a raw string of at least n of them, 0 where there were none: `entry`, from lookup_write, or a new one
    # where that is NULL. Nobody shares them.
cdef void store_text(client_t* c, arg_t* key, entry_t* old, const char* text, size_t n) noexcept nogil
    # Stores text that stays text although it may look like an integer; keeps the expiry. `old` from lookup_write.

# Each leaves `out` alone where there is nothing to read, and returns False after replying that it is no number.

cdef inline bint take_int(client_t* c, const arg_t* a, int64_t* out, const char* error) noexcept nogil:
    """An argument that may be NULL: absent."""
    if a == NULL or chars_to_int64(a.ptr, a.len, out):
        return True
    reply_error(c, error)
    return False

cdef inline bint take_float(client_t* c, const arg_t* a, long double* out, const char* error) noexcept nogil:
    if a == NULL or chars_to_longdouble(a.ptr, a.len, out):
        return True
    reply_error(c, error)
    return False

cdef inline bint string_int(client_t* c, const entry_t* entry, int64_t* out) noexcept nogil:
    """The value of a string, or of NULL."""
    cdef arg_t text
    if entry == NULL:
        return True
    if entry_encoding(entry) == ENC_INT:
        out[0] = entry_int(entry)
        return True
    text.len = string_text(entry, NULL, &text.ptr)
    return take_int(c, &text, out, ERR_NOT_INTEGER)

cdef inline bint string_float(client_t* c, const entry_t* entry, long double* out) noexcept nogil:
    cdef char tmp24[24]
    cdef arg_t text
    if entry == NULL:
        return True
    text.len = string_text(entry, tmp24, &text.ptr)
    return take_float(c, &text, out, ERR_NOT_FLOAT)

cdef inline int64_t sum_int(int64_t value, int64_t by, int* beyond) noexcept nogil:
    """value + by; where it leaves the type's range, that limit, and -1 or 1 in `beyond`."""
    beyond[0] = 0
    if by > 0 and value > INT64_MAX - by:
        beyond[0] = 1
        return INT64_MAX
    if by < 0 and value < INT64_MIN - by:
        beyond[0] = -1
        return INT64_MIN
    return value + by
