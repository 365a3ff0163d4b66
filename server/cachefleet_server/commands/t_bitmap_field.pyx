"""BITFIELD and BITFIELD_RO: integers of 1 to 64 bits at any bit of a string, read, set and added to.

A command is walked over twice: first all its words are checked, and how far it will write is found, then it is
executed. So nothing has changed where a word is wrong, and nothing is allocated for what was parsed.
"""

from libc.stdint cimport uint8_t, uint64_t

from cachefleet_server.commands.t_bitmap cimport *
from cachefleet_server.commands.t_string cimport string_changed, string_text
from cachefleet_server.commands.t_string_edit cimport string_room
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport entry_string_len, entry_t
from cachefleet_server.core.reply cimport arg_int64, arg_is, reply_array, reply_int, reply_null, reply_syntax_error
from cachefleet_server.ds.bits cimport (
    BITS_FAIL, BITS_SATURATE, BITS_WRAP, bits_add_signed, bits_add_unsigned, bits_extend, bits_read, bits_write)
from cachefleet_server.keyspace.db cimport lookup_read, lookup_write, string_or_reply

cdef extern from *:
    """
    #define ERR_FIELD_TYPE "ERR Invalid bitfield type. Use something like i16 u8. " \
        "Note that u64 is not supported but i64 is."
    """
    const char* ERR_FIELD_TYPE

cdef enum:
    FIELD_GET = 0
    FIELD_SET = 1
    FIELD_INCRBY = 2

cdef struct field_t:  # a walk over operations, and the one that it has come to
    client_t* client
    int next  # argument
    int overflow  # BITS_*
    bint failed  # an error was replied
    int op  # FIELD_*
    bint signed
    int width
    int64_t at
    int64_t value  # of SET and INCRBY

cdef struct plan_t:
    int64_t count  # operations
    uint64_t bits  # that the string must have for what is written; 0: nothing is


# ---- words ---------------------------------------------------------------------------------------------

cdef inline void _begin(field_t* f, client_t* c) noexcept nogil:
    f.client = c
    f.next = 2
    f.overflow = BITS_WRAP
    f.failed = False


cdef bint _take_type(field_t* f, const arg_t* a) noexcept nogil:
    cdef int64_t width
    f.signed = a.len and a.ptr[0] == c"i"
    if (f.signed or (a.len and a.ptr[0] == c"u")) \
            and chars_to_int64(a.ptr + 1, a.len - 1, &width) and 1 <= width <= 63 + f.signed:
        f.width = width
        return True
    reply_error(f.client, ERR_FIELD_TYPE)
    return False


cdef bint _take_overflow(field_t* f) noexcept nogil:
    cdef const arg_t* word = &f.client.argv[f.next + 1]
    if arg_is(word, b"wrap"):
        f.overflow = BITS_WRAP
    elif arg_is(word, b"sat"):
        f.overflow = BITS_SATURATE
    elif arg_is(word, b"fail"):
        f.overflow = BITS_FAIL
    else:
        reply_error(f.client, b"ERR Invalid OVERFLOW type specified")
        return False
    f.next += 2
    return True


cdef bint _next(field_t* f) noexcept nogil:
    """Comes to the next operation; false at the end, and after replying an error."""
    cdef client_t* c = f.client
    cdef const arg_t* word
    cdef int behind
    while f.next < c.argc:
        word = &c.argv[f.next]
        behind = c.argc - f.next - 1
        if behind >= 1 and arg_is(word, b"overflow"):
            if not _take_overflow(f):
                break
            continue
        if behind >= 2 and arg_is(word, b"get"):
            f.op = FIELD_GET
        elif behind >= 3 and arg_is(word, b"set"):
            f.op = FIELD_SET
        elif behind >= 3 and arg_is(word, b"incrby"):
            f.op = FIELD_INCRBY
        else:
            reply_syntax_error(c)
            break
        f.failed = not (_take_type(f, word + 1) and take_place(c, word + 2, f.width, &f.at)
                        and (f.op == FIELD_GET or arg_int64(c, word + 3, &f.value)))
        f.next += 3 + (f.op != FIELD_GET)
        return not f.failed
    f.failed = f.next < c.argc
    return False


cdef bint _plan(client_t* c, plan_t* plan) noexcept nogil:
    cdef field_t f
    plan.count = 0
    plan.bits = 0
    _begin(&f, c)
    while _next(&f):
        plan.count += 1
        if f.op != FIELD_GET:
            plan.bits = max(plan.bits, <uint64_t>f.at + f.width)
    return not f.failed

# ---- commands ------------------------------------------------------------------------------------------

cdef void _get(client_t* c, const field_t* f, const uint8_t* data, size_t n) noexcept nogil:
    cdef uint64_t value = bits_read(data, n, f.at, f.width)
    reply_int(c, bits_extend(value, f.width) if f.signed else <int64_t>value)


cdef bint _write(client_t* c, const field_t* f, uint8_t* data, size_t n, bint* differs) noexcept nogil:
    """SET or INCRBY, and its reply. False: it was one that may fail, and did."""
    cdef bint sets = f.op == FIELD_SET
    cdef int64_t change = 0 if sets else f.value
    cdef uint64_t old = bits_read(data, n, f.at, f.width)
    cdef uint64_t new
    cdef bint fits
    if f.signed:
        old = <uint64_t>bits_extend(old, f.width)
        fits = bits_add_signed(
            f.value if sets else <int64_t>old, change, f.width, f.overflow, <int64_t*>&new)
    else:
        fits = bits_add_unsigned(<uint64_t>f.value if sets else old, change, f.width, f.overflow, &new)
    if not fits:
        reply_null(c)
        return False
    bits_write(data, f.at, f.width, new)
    reply_int(c, <int64_t>(old if sets else new))
    differs[0] = old != new
    return True


cdef void _read_all(client_t* c, int64_t count) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef char tmp24[24]
    cdef const char* p = NULL
    cdef field_t f
    cdef size_t n
    if not string_or_reply(c, entry):
        return
    n = string_text(entry, tmp24, &p) if entry != NULL else 0
    reply_array(c, count)
    _begin(&f, c)
    while _next(&f):
        _get(c, &f, <const uint8_t*>p, n)


cdef void _write_all(client_t* c, const plan_t* plan) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef size_t n = (plan.bits + 7) >> 3
    cdef size_t before
    cdef uint8_t* data
    cdef int64_t changes = 0
    cdef bint differs
    cdef field_t f
    if not string_or_reply(c, entry):
        return
    before = entry_string_len(entry) if entry != NULL else 0
    data = <uint8_t*>string_room(c, key, entry, n)
    n = max(n, before)
    reply_array(c, plan.count)
    _begin(&f, c)
    while _next(&f):
        if f.op == FIELD_GET:
            _get(c, &f, data, n)
        elif _write(c, &f, data, n, &differs):
            changes += differs or n > before
    if changes:
        string_changed(c, b"setbit", key)
        c.engine.persist.dirty += changes - 1
    elif n > before:  # no event, as in Valkey, but who follows has to have the longer string, too
        c.engine.persist.dirty += 1


cdef void bitfield_command(client_t* c) noexcept nogil:
    cdef plan_t plan
    if not _plan(c, &plan):
        return
    if plan.bits:
        _write_all(c, &plan)
    else:
        _read_all(c, plan.count)


cdef void bitfield_ro_command(client_t* c) noexcept nogil:
    cdef plan_t plan
    if not _plan(c, &plan):
        return
    if plan.bits:
        reply_error(c, b"ERR BITFIELD_RO only supports the GET subcommand")
    else:
        _read_all(c, plan.count)

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_bitmap_field(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str get = "get-block{encoding:string offset:integer}"
    command_row(e, bitfield_command, "bitfield", -2, "write denyoom", "bitmap", "1 RW access update variable_flags",
                "bitmap 3.2.0 O(1) for each subcommand specified",
                "Reads, sets and adds to integers of any width at any bit of a string.",
                "key:key [operation(GET " + get + " | write{[OVERFLOW overflow-block(WRAP | SAT | FAIL)]"
                " write-operation(SET set-block{encoding:string offset:integer value:integer} |"
                " INCRBY incrby-block{encoding:string offset:integer increment:integer})})]...")
    command_row(e, bitfield_ro_command, "bitfield_ro", -2, "readonly fast", "bitmap", "1 RO access",
                "bitmap 6.0.0 O(1) for each subcommand specified",
                "Reads integers of any width at any bit of a string.",
                "key:key [GET " + get + "]...")
    return 0
