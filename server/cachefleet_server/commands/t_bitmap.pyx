"""Single bits, ranges of them, and BITOP.

BITOP reads all its strings, then makes the result in memory that becomes the value, so that the destination may be one
of them. Its last four operations are those of Redis 8.2, which other servers do not know: they are propagated as
what they stored.
"""

from libc.stdint cimport uint8_t

from cachefleet_server.commands.t_bitmap cimport *
from cachefleet_server.commands.t_bitmap_field cimport register_bitmap_field
from cachefleet_server.commands.t_string cimport propagate_key, propagate_set, string_changed, string_text
from cachefleet_server.commands.t_string_edit cimport string_room
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.entry cimport ENTRY_EMBED_MAX, entry_bytes, entry_string_len, entry_t
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_error_format, reply_int, reply_syntax_error)
from cachefleet_server.ds.bits cimport (
    BITOP_ANDOR, BITOP_DIFF, BITOP_DIFF1, BITOP_NOT, BITOP_ONE, bitcount, bitop, bitpos, bits_get, bits_set)
from cachefleet_server.ds.blob cimport blob_new, blob_t
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport (
    db_set_blob, db_set_raw, key_deleted, lookup_read, lookup_write, string_or_reply)
from cachefleet_server.keyspace.journal cimport journal_arg

cdef enum:
    STACK_SOURCES = 16  # strings of a BITOP that need no allocation

cdef struct range_t:  # as BITCOUNT and BITPOS are given it
    int64_t first
    int64_t last
    bint in_bits
    bint has_last

cdef struct source_t:  # what one string of a BITOP needs; three arrays, one behind the other
    const uint8_t* data
    size_t len
    char digits[INT64_CHARS_MAX]  # of one that is an integer

cdef struct sources_t:
    const uint8_t** data
    size_t* lens
    char* digits
    int count
    size_t longest

# ---- single bits ---------------------------------------------------------------------------------------

cdef void setbit_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef int64_t at, value
    cdef entry_t* entry
    cdef bint grows, before
    if not take_place(c, &c.argv[2], 0, &at):
        return
    if not chars_to_int64(c.argv[3].ptr, c.argv[3].len, &value) or value & ~1:
        reply_error(c, b"ERR bit is not an integer or out of range")
        return
    entry = lookup_write(c, key)
    if not string_or_reply(c, entry):
        return
    grows = entry == NULL or entry_string_len(entry) <= <size_t>(at >> 3)
    before = bits_set(<uint8_t*>string_room(c, key, entry, (at >> 3) + 1), at, value)
    if grows or before != value:
        string_changed(c, b"setbit", key)
    reply_int(c, before)


cdef void getbit_command(client_t* c) noexcept nogil:
    cdef char tmp24[24]
    cdef const char* p = NULL
    cdef entry_t* entry
    cdef int64_t at
    cdef size_t n
    if not take_place(c, &c.argv[2], 0, &at):
        return
    entry = lookup_read(c, &c.argv[1])
    if not string_or_reply(c, entry):
        return
    n = string_text(entry, tmp24, &p) if entry != NULL else 0
    reply_int(c, bits_get(<const uint8_t*>p, n, at))

# ---- ranges --------------------------------------------------------------------------------------------

cdef bint _take_range(client_t* c, int at, range_t* r) noexcept nogil:
    """[start [end [BYTE | BIT]]] from argv[at] on; false after replying an error."""
    r.first = 0
    r.last = -1
    r.in_bits = False
    r.has_last = c.argc > at + 1
    if c.argc > at + 3:
        reply_syntax_error(c)
        return False
    if c.argc > at and not arg_int64(c, &c.argv[at], &r.first):
        return False
    if c.argc > at + 2:
        r.in_bits = arg_is(&c.argv[at + 2], b"bit")
        if not r.in_bits and not arg_is(&c.argv[at + 2], b"byte"):
            reply_syntax_error(c)
            return False
    return not r.has_last or arg_int64(c, &c.argv[at + 1], &r.last)


cdef void bitcount_command(client_t* c) noexcept nogil:
    cdef char tmp24[24]
    cdef const char* p = NULL
    cdef entry_t* entry
    cdef range_t r
    cdef size_t n
    if not _take_range(c, 2, &r):
        return
    entry = lookup_read(c, &c.argv[1])
    if not string_or_reply(c, entry):
        return
    n = string_text(entry, tmp24, &p) if entry != NULL else 0
    reply_int(c, bitcount(<const uint8_t*>p, n, r.first, r.last, r.in_bits))


cdef void bitpos_command(client_t* c) noexcept nogil:
    cdef char tmp24[24]
    cdef const char* p = NULL
    cdef entry_t* entry
    cdef range_t r
    cdef int64_t value
    cdef size_t n
    if not arg_int64(c, &c.argv[2], &value):
        return
    if value & ~1:
        reply_error(c, b"ERR The bit argument must be 1 or 0.")
        return
    if not _take_range(c, 3, &r):
        return
    entry = lookup_read(c, &c.argv[1])
    if not string_or_reply(c, entry):
        return
    if entry == NULL:
        reply_int(c, -1 if value else 0)
        return
    n = string_text(entry, tmp24, &p)
    reply_int(c, bitpos(<const uint8_t*>p, n, value, r.first, r.last, r.in_bits, r.has_last))

# ---- BITOP ---------------------------------------------------------------------------------------------

cdef int _operation(client_t* c) noexcept nogil:
    """BITOP_*; -1 after replying an error."""
    # In the order of their numbers.
    cdef const char** names = [b"AND", b"OR", b"XOR", b"NOT", b"DIFF", b"DIFF1", b"ANDOR", b"ONE"]
    cdef int op
    for op in range(BITOP_ONE + 1):
        if arg_is(&c.argv[1], names[op]):
            break
    else:
        reply_syntax_error(c)
        return -1
    if op == BITOP_NOT and c.argc != 4:
        reply_error(c, b"ERR BITOP NOT must be called with a single source key.")
        return -1
    if op in (BITOP_DIFF, BITOP_DIFF1, BITOP_ANDOR) and c.argc < 5:
        reply_error_format(
            c, b"ERR BITOP %s must be called with at least two source keys.", names[op], c.argv[1].len)
        return -1
    return op


cdef bint _take_sources(client_t* c, sources_t* s) noexcept nogil:
    cdef entry_t* entry
    cdef const char* p = NULL
    cdef int i
    s.longest = 0
    for i in range(s.count):
        s.data[i] = NULL
        s.lens[i] = 0
        entry = lookup_read(c, &c.argv[3 + i])
        if entry == NULL:
            continue
        if not string_or_reply(c, entry):
            return False
        s.lens[i] = string_text(entry, s.digits + i * INT64_CHARS_MAX, &p)
        s.data[i] = <const uint8_t*>p
        s.longest = max(s.longest, s.lens[i])
    return True


cdef entry_t* _store(client_t* c, int op, const sources_t* s) noexcept nogil:
    cdef arg_t* key = &c.argv[2]
    cdef uint8_t small[ENTRY_EMBED_MAX]
    cdef size_t n = s.longest
    cdef blob_t* blob
    if key.len + n <= ENTRY_EMBED_MAX:
        bitop(op, small, n, s.data, s.lens, s.count)
        return db_set_raw(c.db, key, lookup_write(c, key), <const char*>small, n)
    blob = blob_new(c.engine.heap, n)
    blob.len = n
    bitop(op, <uint8_t*>&blob.data[0], n, s.data, s.lens, s.count)
    return db_set_blob(c.db, key, lookup_write(c, key), blob, -1, 0)


cdef void _combine(client_t* c, int op, const sources_t* s) noexcept nogil:
    cdef arg_t* key = &c.argv[2]
    cdef arg_t value
    cdef entry_t* entry
    if s.longest:
        entry = _store(c, op, s)
        string_changed(c, b"set", key)
        if op > BITOP_NOT:
            value = journal_arg(NULL, 0)
            value.ptr = <char*>entry_bytes(entry, &value.len)
            propagate_set(c, key, &value, -1, False)
    elif key_deleted(c, key, c.engine.params.lazyfree_lazy_server_del) and op > BITOP_NOT:
        propagate_key(c, b"DEL", key)
    reply_int(c, s.longest)


cdef void bitop_command(client_t* c) noexcept nogil:
    cdef source_t stack[STACK_SOURCES]
    cdef void* room = &stack[0]
    cdef int op = _operation(c)
    cdef sources_t s
    if op < 0:
        return
    s.count = c.argc - 3
    if s.count > STACK_SOURCES:
        room = zmalloc(c.engine.heap, s.count * sizeof(source_t))
    s.data = <const uint8_t**>room
    s.lens = <size_t*>(s.data + s.count)
    s.digits = <char*>(s.lens + s.count)
    if _take_sources(c, &s):
        _combine(c, op, &s)
    if room != &stack[0]:
        zfree(c.engine.heap, room)

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_bitmap(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str unit = "[unit(BYTE | BIT)@7.0.0]"
    command_row(e, setbit_command, "setbit", 4, "write denyoom", "bitmap", "1 RW access update",
                "bitmap 2.2.0 O(1)",
                "Sets or clears a bit of a string, which is created or extended if need be.",
                "key:key offset:integer value:integer")
    command_row(e, getbit_command, "getbit", 3, "readonly fast", "bitmap", "1 RO access", "bitmap 2.2.0 O(1)",
                "Returns a bit of a string.", "key:key offset:integer")
    command_row(e, bitcount_command, "bitcount", -2, "readonly", "bitmap", "1 RO access",
                "bitmap 2.6.0 O(N); history 7.0.0 Added the `BYTE|BIT` option.; history 8.0.0 `end` made optional; when"
                " called without argument the command reports the last BYTE.",
                "Counts the bits of a string, or of a part of it, that are set.",
                "key:key [range{start:integer [end-unit-block{end:integer " + unit + "}]}]")
    command_row(e, bitpos_command, "bitpos", -3, "readonly", "bitmap", "1 RO access",
                "bitmap 2.8.7 O(N); history 7.0.0 Added the `BYTE|BIT` option.",
                "Finds the first bit of a string, or of a part of it, that is set or clear.",
                "key:key bit:integer [range{start:integer [end-unit-block{end:integer " + unit + "}]}]")
    command_row(e, bitop_command, "bitop", -4, "write denyoom", "bitmap", "2 OW update;3:-1 RO access",
                "bitmap 2.6.0 O(N)", "Combines strings bit by bit and stores the result.",
                "operation(AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 | ONE@8.2.0) destkey:key"
                " key:key...")
    return register_bitmap_field(e)
