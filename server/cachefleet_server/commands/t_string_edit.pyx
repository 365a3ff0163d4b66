"""Parts of strings, and strings as numbers.

An integer is kept as one (ENC_INT) and changed in place. Arithmetic on floats is done in long double and the result
is stored as text, so every server that follows, whatever its long double, is told the result and not the increment.
"""

from libc.math cimport isinf, isnan
from libc.stdint cimport INT64_MIN, uint64_t
from libc.string cimport memcpy

from cachefleet_server.commands.t_string cimport (
    arg_t, client_t, engine_t, entry_t, int64_t, propagate_set, reply_string_part, string_changed, string_text)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport (
    E_EXPIRE, ENC_INT, ENC_RAW, entry_encoding, entry_grow_raw, entry_new_raw, entry_payload,
    entry_set_bytes, entry_set_encoding, entry_string_label, entry_string_len)
from cachefleet_server.core.errors cimport ERR_NOT_FLOAT, ERR_OVERFLOW, ERR_STRING_TOO_LONG
from cachefleet_server.core.reply cimport arg_int64, reply_bulk, reply_error, reply_int
from cachefleet_server.core.role cimport GATE_LENGTH
from cachefleet_server.ds.number cimport NUMBER_CHARS_MAX, longdouble_to_chars
from cachefleet_server.keyspace.db cimport (
    SET_KEEP_TTL, db_insert, db_replace, db_set_int, db_set_string, lookup_read, lookup_write, string_or_reply)
from cachefleet_server.keyspace.journal cimport journal_arg

# ---- parts -----------------------------------------------------------------------------------------

cdef bint _length_allowed(client_t* c, size_t offset, size_t n) noexcept nogil:
    """False after replying that offset + n bytes are more than a string may have."""
    cdef uint64_t limit = c.engine.params.proto_max_bulk_len
    if (offset <= limit and n <= limit - offset) or not c.role.gates & GATE_LENGTH:
        return True
    reply_error(c, ERR_STRING_TOO_LONG)
    return False


cdef char* string_room(client_t* c, const arg_t* key, entry_t* entry, size_t n) noexcept nogil:
    cdef char* data
    cdef entry_t* moved
    if entry == NULL:
        entry = entry_new_raw(c.engine.heap, key.ptr, key.len, NULL, 0, -1)
        entry = entry_grow_raw(c.engine.heap, entry, n, &data)
        db_insert(c.db, entry, key.hash)
        return data
    moved = entry_grow_raw(c.engine.heap, entry, max(n, entry_string_len(entry)), &data)
    db_replace(c.db, entry, moved, key.hash)
    return data


cdef void append_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef arg_t* tail = &c.argv[2]
    cdef entry_t* entry = lookup_write(c, key)
    cdef size_t n = 0
    cdef char* data
    if entry == NULL:
        db_set_string(c.db, key, NULL, tail.ptr, tail.len, -1, 0)
    else:
        if not string_or_reply(c, entry):
            return
        n = entry_string_len(entry)
        if not _length_allowed(c, n, tail.len):
            return
        data = string_room(c, key, entry, n + tail.len)
        memcpy(data + n, tail.ptr, tail.len)
    string_changed(c, b"append", key)
    reply_int(c, n + tail.len)


cdef void setrange_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef arg_t* part = &c.argv[3]
    cdef entry_t* entry
    cdef int64_t offset
    cdef size_t n, end
    if not arg_int64(c, &c.argv[2], &offset):
        return
    if offset < 0:
        reply_error(c, b"ERR offset is out of range")
        return
    entry = lookup_write(c, key)
    if entry != NULL and not string_or_reply(c, entry):
        return
    n = entry_string_len(entry) if entry != NULL else 0
    if part.len == 0:
        reply_int(c, n)
        return
    if not _length_allowed(c, offset, part.len):
        return
    end = <size_t>offset + part.len
    memcpy(string_room(c, key, entry, end) + offset, part.ptr, part.len)
    string_changed(c, b"setrange", key)
    reply_int(c, end if end > n else n)


cdef inline int64_t _from_end(int64_t index, int64_t n) noexcept nogil:
    """A negative index counts from the end; what lies before the start becomes the start."""
    if index < 0:
        index += n
        if index < 0:
            index = 0
    return index


cdef void getrange_command(client_t* c) noexcept nogil:
    cdef entry_t* entry
    cdef int64_t start, end, n
    cdef char tmp24[24]
    cdef const char* p
    if not arg_int64(c, &c.argv[2], &start) or not arg_int64(c, &c.argv[3], &end):
        return
    entry = lookup_read(c, &c.argv[1])
    if entry == NULL:
        reply_bulk(c, b"", 0)
        return
    if not string_or_reply(c, entry):
        return
    n = <int64_t>string_text(entry, tmp24, &p)
    if n == 0 or (start < 0 and end < 0 and start > end):
        reply_bulk(c, b"", 0)
        return
    start = _from_end(start, n)
    end = _from_end(end, n)
    if end >= n:
        end = n - 1
    if start > end:
        reply_bulk(c, b"", 0)
    else:
        reply_string_part(c, entry, p + start, end - start + 1)


cdef void strlen_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if entry == NULL:
        reply_int(c, 0)
    elif string_or_reply(c, entry):
        reply_int(c, entry_string_len(entry))

# ---- numbers ---------------------------------------------------------------------------------------

cdef void _add(client_t* c, int64_t delta) noexcept nogil:
    """INCR and its kin."""
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef int64_t value = 0
    cdef int beyond
    if not string_or_reply(c, entry) or not string_int(c, entry, &value):
        return
    value = sum_int(value, delta, &beyond)
    if beyond:
        reply_error(c, ERR_OVERFLOW)
        return
    if entry != NULL and entry_encoding(entry) == ENC_INT:
        (<int64_t*>entry_payload(entry))[0] = value
    else:
        db_set_int(c.db, key, entry, value, -1, SET_KEEP_TTL)
    string_changed(c, b"incrby", key)
    reply_int(c, value)


cdef void incr_command(client_t* c) noexcept nogil:
    _add(c, 1)


cdef void decr_command(client_t* c) noexcept nogil:
    _add(c, -1)


cdef void incrby_command(client_t* c) noexcept nogil:
    cdef int64_t delta
    if arg_int64(c, &c.argv[2], &delta):
        _add(c, delta)


cdef void decrby_command(client_t* c) noexcept nogil:
    cdef int64_t delta
    if not arg_int64(c, &c.argv[2], &delta):
        return
    if delta != INT64_MIN:
        delta = -delta
    elif not c.role.errors_fatal:  # in an AOF it is of a Redis before 7.0, which added it as it stands
        reply_error(c, b"ERR decrement would overflow")
        return
    _add(c, delta)


cdef void store_text(client_t* c, arg_t* key, entry_t* old, const char* text, size_t n) noexcept nogil:
    cdef entry_t* entry
    if old == NULL:
        entry = entry_new_raw(c.engine.heap, key.ptr, key.len, text, n, -1)
        entry_set_encoding(entry, entry_string_label(key.len, n, False, False))
        db_insert(c.db, entry, key.hash)
        return
    entry = entry_set_bytes(c.engine.heap, old, text, n, ENC_RAW)
    entry_set_encoding(entry, entry_string_label(key.len, n, entry.flags & E_EXPIRE, False))
    if entry != old:
        db_replace(c.db, old, entry, key.hash)


cdef void incrbyfloat_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef char text[NUMBER_CHARS_MAX]
    cdef long double value = 0
    cdef long double delta
    cdef arg_t result
    if not string_or_reply(c, entry) or not string_float(c, entry, &value) \
            or not take_float(c, &c.argv[2], &delta, ERR_NOT_FLOAT):
        return
    value += delta
    if isnan(value) or isinf(value):
        reply_error(c, b"ERR increment would produce NaN or Infinity")
        return
    result = journal_arg(text, longdouble_to_chars(text, value))
    store_text(c, key, entry, text, result.len)
    string_changed(c, b"incrbyfloat", key)
    propagate_set(c, key, &result, -1, True)
    reply_bulk(c, text, result.len)

# ---- table -----------------------------------------------------------------------------------------

cdef int register_string_edit(engine_t* e) except -1:
    command_row(
        e, append_command, "append", 3, "write denyoom fast", "string", "1 RW insert",
        "string 2.0.0 O(N) where N is the length of the appended string, amortized over many appends",
        "Appends a string to the value of a key, which is created if need be.", "key:key value:string")
    command_row(
        e, setrange_command, "setrange", 4, "write denyoom", "string", "1 RW update",
        "string 2.2.0 O(N) where N is the length of the written string, and of the gap before it",
        "Overwrites a part of a string value, which is extended by zero bytes if need be.",
        "key:key offset:integer value:string")
    command_row(
        e, getrange_command, "getrange", 4, "readonly", "string", "1 RO access",
        "string 2.4.0 O(N) where N is the length of the returned string",
        "Returns a part of a string value.", "key:key start:integer end:integer")
    command_row(
        e, getrange_command, "substr", 4, "readonly", "string", "1 RO access",
        "string 1.0.0 O(N) where N is the length of the returned string",
        "Returns a part of a string value.", "key:key start:integer end:integer")
    command_row(
        e, strlen_command, "strlen", 2, "readonly fast", "string", "1 RO",
        "string 2.2.0 O(1)", "Tells how many bytes a string value has.", "key:key")
    command_row(
        e, incr_command, "incr", 2, "write denyoom fast", "string", "1 RW access update",
        "string 1.0.0 O(1)", "Adds one to the integer value of a key.", "key:key")
    command_row(
        e, decr_command, "decr", 2, "write denyoom fast", "string", "1 RW access update",
        "string 1.0.0 O(1)", "Subtracts one from the integer value of a key.", "key:key")
    command_row(
        e, incrby_command, "incrby", 3, "write denyoom fast", "string", "1 RW access update",
        "string 1.0.0 O(1)", "Adds to the integer value of a key.", "key:key increment:integer")
    command_row(
        e, decrby_command, "decrby", 3, "write denyoom fast", "string", "1 RW access update",
        "string 1.0.0 O(1)", "Subtracts from the integer value of a key.", "key:key decrement:integer")
    command_row(
        e, incrbyfloat_command, "incrbyfloat", 3, "write denyoom fast", "string", "1 RW access update",
        "string 2.6.0 O(1)", "Adds to the floating-point value of a key.", "key:key increment:double")
    return 0
