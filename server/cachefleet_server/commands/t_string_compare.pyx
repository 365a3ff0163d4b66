"""Compare and act: the conditions of SET, and DELIFEQ, DELEX, DIGEST.

A digest is XXH3-64 of the bytes, written as 16 hexadecimal digits, most significant first. Clients may
send it in either case.

A missing key equals nothing: IFEQ and IFDEQ fail, IFNE and IFDNE hold.

Deletions are propagated as DEL: the comparison has been made.
"""

from libc.string cimport memcmp

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport OBJ_STRING, entry_type
from cachefleet_server.core.reply cimport arg_is, reply_bulk, reply_error, reply_int, reply_null, reply_wrong_arity
from cachefleet_server.commands.t_string cimport propagate_key, string_text
from cachefleet_server.ds.checksum cimport xxh3_64
from cachefleet_server.keyspace.db cimport (
    key_deleted, lookup_read, lookup_write, string_or_reply)
from libc.stdint cimport uint64_t

cdef enum:
    DIGEST_CHARS = 16


cdef void _digest(const entry_t* entry, char* out) noexcept nogil:
    """Fills 16 characters."""
    cdef char tmp24[24]
    cdef const char* p
    cdef size_t n = string_text(entry, tmp24, &p)
    cdef uint64_t h = xxh3_64(p, n)
    cdef int i, nibble
    for i in range(DIGEST_CHARS):
        nibble = (h >> (60 - 4 * i)) & 15
        out[i] = c'0' + nibble if nibble < 10 else c'a' - 10 + nibble


cdef inline bint _bytes_equal(const entry_t* entry, const arg_t* operand) noexcept nogil:
    cdef char tmp24[24]
    cdef const char* p
    cdef size_t n = string_text(entry, tmp24, &p)
    return n == operand.len and memcmp(p, operand.ptr, n) == 0


cdef bint _digest_equals(const entry_t* entry, const arg_t* operand) noexcept nogil:
    cdef char digits[DIGEST_CHARS]
    cdef int i
    _digest(entry, digits)
    for i in range(DIGEST_CHARS):
        # Folding maps some other bytes onto digits, so only letters are folded.
        if operand.ptr[i] != digits[i] and (digits[i] < c'a' or operand.ptr[i] != digits[i] - 32):
            return False
    return True


cdef int _compare(client_t* c, entry_t* entry, int condition, const arg_t* operand) noexcept nogil:
    """One of the IF conditions against a string."""
    if condition == COND_IFEQ:
        return _bytes_equal(entry, operand)
    if condition == COND_IFNE:
        return not _bytes_equal(entry, operand)
    if operand.len != DIGEST_CHARS:
        reply_error(c, b"ERR must be exactly 16 hexadecimal characters")
        return COND_REPLIED
    return _digest_equals(entry, operand) == (condition == COND_IFDEQ)


cdef int condition_check(client_t* c, entry_t* entry, int condition, const arg_t* operand) noexcept nogil:
    if condition == COND_NONE:
        return COND_HOLDS
    if entry == NULL:
        return condition == COND_NX or condition == COND_IFNE or condition == COND_IFDNE
    if condition == COND_NX:
        return COND_FAILS
    if condition == COND_XX:
        return COND_HOLDS
    if not string_or_reply(c, entry):
        return COND_REPLIED
    return _compare(c, entry, condition, operand)


cdef void _delete(client_t* c, arg_t* key) noexcept nogil:
    """Deletes a key that exists, as DEL does, and replies 1."""
    key_deleted(c, key, c.engine.params.lazyfree_lazy_user_del)
    propagate_key(c, b"DEL", key)
    reply_int(c, 1)


cdef void delifeq_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    if entry == NULL:
        reply_int(c, 0)
    elif string_or_reply(c, entry):
        if _bytes_equal(entry, &c.argv[2]):
            _delete(c, key)
        else:
            reply_int(c, 0)


cdef int _delex_condition(const arg_t* word) noexcept nogil:
    if arg_is(word, b"IFEQ"):
        return COND_IFEQ
    if arg_is(word, b"IFNE"):
        return COND_IFNE
    if arg_is(word, b"IFDEQ"):
        return COND_IFDEQ
    if arg_is(word, b"IFDNE"):
        return COND_IFDNE
    return COND_NONE


cdef void delex_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry
    cdef int condition, outcome
    if c.argc != 2 and c.argc != 4:
        reply_wrong_arity(c)
        return
    entry = lookup_write(c, key)
    if entry == NULL:
        reply_int(c, 0)
        return
    if c.argc == 2:
        _delete(c, key)
        return
    if entry_type(entry) != OBJ_STRING:
        reply_error(c, b"ERR Key should be of string type if conditions are specified")
        return
    condition = _delex_condition(&c.argv[2])
    if condition == COND_NONE:
        reply_error(c, b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
        return
    outcome = _compare(c, entry, condition, &c.argv[3])
    if outcome == COND_HOLDS:
        _delete(c, key)
    elif outcome == COND_FAILS:
        reply_int(c, 0)


cdef void digest_command(client_t* c) noexcept nogil:
    cdef char digits[DIGEST_CHARS]
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if entry == NULL:
        reply_null(c)
    elif string_or_reply(c, entry):
        _digest(entry, digits)
        reply_bulk(c, digits, DIGEST_CHARS)


cdef int register_string_compare(engine_t* e) except -1:
    command_row(
        e, digest_command, "digest", 2, "readonly fast", "string", "1 RO access",
        "string 8.4.0 O(N) where N is the length of the string value",
        "Returns the XXH3 hash of a string value as hexadecimal digits.", "key:key")
    command_row(
        e, delifeq_command, "delifeq", 3, "write fast", "string", "1 RM delete",
        "string 9.0.0 O(1)",
        "Deletes a key if it holds the given string.", "key:key value:string")
    command_row(
        e, delex_command, "delex", -2, "write fast", "string", "1 RW delete variable_flags",
        "string 8.4.0 O(1) for IFEQ and IFNE, O(N) for IFDEQ and IFDNE where N is the length of the string value",
        "Deletes a key if its string value or the value's digest compares as asked.",
        "key:key [condition(IFEQ ifeq-value:string | IFNE ifne-value:string | IFDEQ ifdeq-digest:string |"
        " IFDNE ifdne-digest:string)]")
    return 0
