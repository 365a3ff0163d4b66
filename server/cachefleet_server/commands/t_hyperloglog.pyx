"""HyperLogLog commands.

A sparse string is changed in a copy on the stack, which takes its place at the end: so a promotion ends in memory
of just its size, and an entry is resized once a command. A dense string is changed where it lies. PFCOUNT of one
key writes the count into the string: that is a change for the journal and for who watches the key, but no event.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset, strlen

from cachefleet_server.commands.t_string cimport propagate_set, string_changed
from cachefleet_server.commands.t_string_edit cimport string_room
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport (
    ENC_INT, ENC_RAW, entry_bytes, entry_encoding, entry_new_raw, entry_set_bytes, entry_set_encoding,
    entry_t)
from cachefleet_server.core.reply cimport (
    arg_is, reply_array, reply_bulk, reply_error, reply_error_quote, reply_int, reply_ok, reply_simple)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.hyperloglog cimport *
from cachefleet_server.ds.intrin cimport cf_store64
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.keyspace.db cimport (
    LOOKUP_NONOTIFY, LOOKUP_NOSTATS, LOOKUP_NOTOUCH, db_insert, db_replace, db_will_change, lookup_flags, lookup_read,
    lookup_write, signal_modified, string_or_reply)
from cachefleet_server.keyspace.journal cimport journal_arg

cdef extern from *:
    """
    #define ERR_NOT_HLL "WRONGTYPE Key is not a valid HyperLogLog string value."
    #define ERR_CORRUPT_HLL "INVALIDOBJ Corrupted HLL object detected"
    """
    const char* ERR_NOT_HLL
    const char* ERR_CORRUPT_HLL

cdef struct hll_t:  # a string: a key's, or one on the stack that is to become it
    uint8_t* data
    size_t len


cdef bint _is_dense(const hll_t* h) noexcept nogil:
    return h.data[4] == HLL_DENSE


cdef bint _hll_or_reply(client_t* c, const entry_t* entry, hll_t* h) noexcept nogil:
    """The bytes of a key's string, which are borrowed; false after replying that it is none of ours."""
    if not string_or_reply(c, <entry_t*>entry):
        return False
    if entry_encoding(entry) != ENC_INT:
        h.data = <uint8_t*>entry_bytes(entry, &h.len)
        if hll_is(h.data, h.len):
            return True
    reply_error(c, ERR_NOT_HLL)
    return False


cdef void _make_raw(entry_t* entry) noexcept nogil:
    """The encoding that Valkey gives a string before it reads or changes it as a HyperLogLog."""
    entry_set_encoding(entry, ENC_RAW)


cdef void _store(client_t* c, const arg_t* key, entry_t* entry, const hll_t* h) noexcept nogil:
    """A string on the stack becomes the key's, which has `entry` or NULL."""
    if entry == NULL:
        entry = entry_new_raw(c.engine.heap, key.ptr, key.len, <const char*>h.data, h.len, -1)
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, entry, entry_set_bytes(c.engine.heap, entry, <const char*>h.data, h.len, ENC_RAW), key.hash)

# ---- PFADD ---------------------------------------------------------------------------------------------

cdef int64_t _add_all(client_t* c, entry_t* entry, hll_t* h, uint8_t* scratch) noexcept nogil:
    """Adds argv[2:]; how many changed a register. With the first of these, h becomes a copy at `scratch` or, if dense,
    the entry's own bytes. -1: its runs are broken."""
    cdef size_t sparse_max = c.engine.params.hll_sparse_max_bytes
    cdef int64_t changed = 0
    cdef hll_plan_t plan
    cdef uint32_t index
    cdef int i, rank
    for i in range(2, c.argc):
        rank = hll_rank(<const uint8_t*>c.argv[i].ptr, c.argv[i].len, &index)
        hll_plan(h.data, h.len, index, rank, sparse_max, NULL, &plan)
        if plan.outcome == HLL_SAME:
            continue
        if plan.outcome == HLL_CORRUPT or plan.room > HLL_WORK_BYTES:  # no sound one needs more
            return -1
        if changed == 0 and h.data != scratch:
            if _is_dense(h):
                h.data = <uint8_t*>string_room(c, &c.argv[1], entry, h.len)
            else:
                memcpy(scratch, h.data, h.len)
                h.data = scratch
        h.len = hll_commit(h.data, h.len, &plan)
        changed += 1
    return changed


cdef void pfadd_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef uint8_t scratch[HLL_WORK_BYTES]
    cdef entry_t* entry = lookup_write(c, key)
    cdef int64_t changed
    cdef arg_t value
    cdef hll_t h
    if entry == NULL:
        h.data = scratch
        h.len = hll_new(scratch)
    elif _hll_or_reply(c, entry, &h):
        _make_raw(entry)
    else:
        return
    changed = _add_all(c, entry, &h, scratch)
    if changed < 0:
        reply_error(c, ERR_CORRUPT_HLL)
        if h.data == scratch:  # elements were added in front of the break, and stay, as in Valkey
            _store(c, key, entry, &h)
            c.engine.persist.dirty += 1
            value = journal_arg(<const char*>scratch, h.len)
            propagate_set(c, key, &value, -1, True)
        return
    if entry == NULL:
        hll_invalidate(scratch)  # though it is right: peers do, without an element, too
        changed += 1
    if h.data == scratch:
        _store(c, key, entry, &h)
    if changed:
        string_changed(c, b"pfadd", key)
        c.engine.persist.dirty += changed - 1
    reply_int(c, changed != 0)

# ---- PFCOUNT -------------------------------------------------------------------------------------------

cdef void _count_one(client_t* c, arg_t* key) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, key)
    cdef uint64_t count
    cdef hll_t h
    if entry == NULL:
        reply_int(c, 0)
        return
    if not _hll_or_reply(c, entry, &h):
        return
    _make_raw(entry)
    if not hll_cached(h.data, &count):
        if not hll_count(h.data, h.len, &count):
            reply_error(c, ERR_CORRUPT_HLL)
            return
        db_will_change(c.db, key.hash)
        cf_store64(string_room(c, key, entry, h.len) + 8, count)
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
        c.engine.persist.dirty += 1
    reply_int(c, <int64_t>count)


cdef void _count_union(client_t* c) noexcept nogil:
    cdef uint8_t raw[HLL_REGISTERS]
    cdef entry_t* entry
    cdef hll_t h
    cdef int i
    memset(raw, 0, HLL_REGISTERS)
    for i in range(1, c.argc):
        entry = lookup_read(c, &c.argv[i])
        if entry == NULL:
            continue
        if not _hll_or_reply(c, entry, &h):
            return
        if not hll_merge_raw(raw, h.data, h.len):
            reply_error(c, ERR_CORRUPT_HLL)
            return
    reply_int(c, <int64_t>hll_count_raw(raw))


cdef void pfcount_command(client_t* c) noexcept nogil:
    if c.argc == 2:
        _count_one(c, &c.argv[1])
    else:
        _count_union(c)

# ---- PFMERGE -------------------------------------------------------------------------------------------

cdef bint _may_merge(client_t* c, bint* dense) noexcept nogil:
    """Are all keys sound, and is one of them dense? False after replying an error."""
    cdef entry_t* entry
    cdef hll_t h
    cdef int i
    dense[0] = False
    for i in range(1, c.argc):
        entry = lookup_read(c, &c.argv[i])
        if entry == NULL:
            continue
        if not _hll_or_reply(c, entry, &h):
            return False
        if hll_check(h.data, h.len):
            reply_error(c, ERR_CORRUPT_HLL)
            return False
        dense[0] |= _is_dense(&h)
    return True


cdef bint _next_source(client_t* c, int* i, hll_t* h) noexcept nogil:
    """The string of the next key from argv[i] on that exists; they have been looked at."""
    cdef entry_t* entry
    while i[0] < c.argc:
        entry = lookup_flags(c, c.db, &c.argv[i[0]], LOOKUP_NOTOUCH | LOOKUP_NOSTATS | LOOKUP_NONOTIFY)
        i[0] += 1
        if entry != NULL:
            h.data = <uint8_t*>entry_bytes(entry, &h.len)
            return True
    return False


cdef void _merge_dense(client_t* c, arg_t* key, entry_t* entry, hll_t* target, uint8_t* scratch) noexcept nogil:
    cdef int i = 2
    cdef hll_t h
    if entry != NULL and _is_dense(target):
        target.data = <uint8_t*>string_room(c, key, entry, target.len)
    else:
        hll_to_dense(scratch, target.data, target.len)
        target.data = scratch
        target.len = HLL_DENSE_BYTES
    hll_invalidate(target.data)
    while _next_source(c, &i, &h):
        hll_merge_dense(target.data, h.data, h.len)


cdef void _merge_sparse(client_t* c, hll_t* target, uint8_t* scratch) noexcept nogil:
    cdef uint8_t raw[HLL_REGISTERS]
    cdef int i = 1
    cdef hll_t h
    memset(raw, 0, HLL_REGISTERS)
    while _next_source(c, &i, &h):
        hll_merge_raw(raw, h.data, h.len)
    memmove(scratch, target.data, target.len)
    target.data = scratch
    target.len = hll_absorb(scratch, target.len, raw, c.engine.params.hll_sparse_max_bytes)


cdef void pfmerge_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef uint8_t scratch[HLL_WORK_BYTES]
    cdef entry_t* entry
    cdef hll_t target
    cdef bint dense
    if not _may_merge(c, &dense):
        return
    entry = lookup_write(c, key)
    if entry == NULL:
        target.data = scratch
        target.len = hll_new(scratch)
    else:
        target.data = <uint8_t*>entry_bytes(entry, &target.len)
    if dense:
        _merge_dense(c, key, entry, &target, scratch)
    else:
        _merge_sparse(c, &target, scratch)
    if target.data == scratch:
        _store(c, key, entry, &target)
    string_changed(c, b"pfadd", key)
    reply_ok(c)

# ---- PFDEBUG and PFSELFTEST ----------------------------------------------------------------------------

cdef bint _promote(client_t* c, const arg_t* key, entry_t* entry, hll_t* h, uint8_t* scratch) noexcept nogil:
    """Makes a sparse string dense; false after replying that it is broken."""
    if not hll_to_dense(scratch, h.data, h.len):
        reply_error(c, ERR_CORRUPT_HLL)
        return False
    h.data = scratch
    h.len = HLL_DENSE_BYTES
    _store(c, key, entry, h)
    c.engine.persist.dirty += 1
    return True


cdef void _put_number(buf_t* out, const char* before, int64_t v) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    buf_put(out, before, strlen(before))
    buf_put(out, digits, int64_to_chars(digits, v))


cdef void _reply_runs(client_t* c, const hll_t* h) noexcept nogil:
    cdef const uint8_t* p = h.data + HLL_HEADER
    cdef const uint8_t* end = h.data + h.len
    cdef hll_run_t run
    cdef buf_t text
    buf_init(&text, c.engine.heap)
    while p < end and hll_run(p, end, &run):
        if text.len:
            buf_put(&text, b" ", 1)
        if run.value:
            _put_number(&text, b"v:", run.value)
            _put_number(&text, b",", run.count)
        else:
            _put_number(&text, b"Z:" if run.size == 2 else b"z:", run.count)
        p += run.size
    if p < end:
        reply_error(c, ERR_CORRUPT_HLL)
    else:
        reply_bulk(c, text.data, text.len)
    buf_free(&text)


cdef void _reply_registers(client_t* c, const hll_t* h) noexcept nogil:
    cdef uint32_t registers = HLL_REGISTERS
    cdef uint32_t i
    reply_array(c, registers)
    for i in range(registers):
        reply_int(c, hll_get(h.data, i))


cdef void pfdebug_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[2]
    cdef arg_t* word = &c.argv[1]
    cdef uint8_t scratch[HLL_DENSE_BYTES]
    cdef entry_t* entry = lookup_write(c, key)
    cdef hll_t h
    cdef bint sparse
    if entry == NULL:
        reply_error(c, b"ERR The specified key does not exist")
        return
    if not _hll_or_reply(c, entry, &h):
        return
    _make_raw(entry)
    sparse = not _is_dense(&h)
    if arg_is(word, b"getreg"):
        if not sparse or _promote(c, key, entry, &h, scratch):
            _reply_registers(c, &h)
    elif arg_is(word, b"decode"):
        if sparse:
            _reply_runs(c, &h)
        else:
            reply_error(c, b"ERR HLL encoding is not sparse")
    elif arg_is(word, b"encoding"):
        reply_simple(c, b"sparse" if sparse else b"dense")
    elif arg_is(word, b"todense"):
        if not sparse or _promote(c, key, entry, &h, scratch):
            reply_int(c, sparse)
    else:
        reply_error_quote(c, b"ERR Unknown PFDEBUG subcommand '%s'", word.ptr, word.len)


cdef void pfselftest_command(client_t* c) noexcept nogil:
    cdef int failed = hll_selftest(c.engine.seed.a)
    if failed == 0:
        reply_ok(c)
    elif failed == 1:
        reply_error(c, b"TESTFAILED A register is not what was put into it")
    elif failed == 2:
        reply_error(c, b"TESTFAILED A sparse string is broken")
    elif failed == 3:
        reply_error(c, b"TESTFAILED Sparse and dense registers do not count the same")
    else:
        reply_error(c, b"TESTFAILED The count is too far from what was added")

# ---- rows ----------------------------------------------------------------------------------------------

cdef int register_hyperloglog(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, pfadd_command, "pfadd", -2, "write denyoom fast", "hyperloglog", "1 RW insert",
                "hyperloglog 2.8.9 O(1) to add every element.",
                "Adds elements to a HyperLogLog, which is created if need be.", "key:key [element:string...]")
    command_row(e, pfcount_command, "pfcount", -2, "readonly may_replicate", "hyperloglog", "1:-1 RW access",
                "hyperloglog 2.8.9 O(1) with a very small average constant time when called with a single key. O(N)"
                " with N being the number of keys, and much bigger constant times, when called with multiple keys.",
                "Estimates how many different elements one or several HyperLogLogs met.", "key:key...")
    command_row(e, pfmerge_command, "pfmerge", -2, "write denyoom", "hyperloglog",
                "1 RW access insert;2:-1 RO access",
                "hyperloglog 2.8.9 O(N) to merge N HyperLogLogs, but with high constant times.",
                "Makes a HyperLogLog one that met what it and others did.", "destkey:key [sourcekey:key...]")
    command_row(e, pfdebug_command, "pfdebug", 3, "write denyoom admin", "hyperloglog", "2 RW access",
                "hyperloglog 2.8.9 N/A; doc_flags syscmd", "Shows how a HyperLogLog is kept.",
                "subcommand:string key:key")
    command_row(e, pfselftest_command, "pfselftest", 1, "admin", "hyperloglog", "",
                "hyperloglog 2.8.9 N/A; doc_flags syscmd", "Tests the functions behind HyperLogLogs.", "")
    return 0
