"""DUMP and RESTORE: one value as bytes.

    payload:  type byte, value | RDB version (2 bytes, little-endian) | CRC-64 of all before (8 bytes, little-endian)

DUMP writes version 10 wherever that can hold the value: Redis 7.0 and later and every Valkey accept it, whereas the
versions that newer servers write are refused by all others. A value that needs a newer form gets one; a set or sorted
set with members that expire gets a version of our own, which all others refuse.

RESTORE accepts Redis' versions 1 to 15, Valkey's 80 and our own. Valkey itself refuses Redis 8's (12 and above); here
they are read as long as the value's type is known, so that data can move between the two. The bytes are untrusted.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport strlen

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t, rdb_in_t, rdb_out_t
from cachefleet_server.core.params cimport POLICY_LFU
from cachefleet_server.core.entry cimport LRU_BITS_MASK, entry_set_lru, entry_t
from cachefleet_server.core.errors cimport ERR_BUSYKEY
from cachefleet_server.core.options cimport (
    OPT_ABSTTL, OPT_FREQ, OPT_IDLETIME, OPT_REPLACE, option_walk_t, options_begin, options_end,
    options_next)
from cachefleet_server.core.rdb cimport (
    rdb_dialect_of, rdb_dialect_version, rdb_get_byte, rdb_get_entry, rdb_in_init, rdb_out_free, rdb_out_init,
    rdb_put_value, rdb_type_name, rdb_version_is_known, rdb_version_is_valkey)
from cachefleet_server.core.reply cimport (
    arg_int64, reply_bulk, reply_error, reply_error_format, reply_null, reply_ok)
from cachefleet_server.ds.buf cimport buf_put
from cachefleet_server.ds.checksum cimport crc64
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, arg_hash, db_delete, db_find, db_insert, key_changed, lookup_read, lookup_write)
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite
from cachefleet_server.keyspace.lazyfree cimport entry_free

cdef enum:
    FOOTER_BYTES = 10


cdef void _put_footer(rdb_out_t* out) noexcept nogil:
    cdef uint8_t footer[FOOTER_BYTES]
    cdef int version = rdb_dialect_version(out.dialect)
    cdef uint64_t crc
    cdef int i
    footer[0] = <uint8_t>version
    footer[1] = <uint8_t>(version >> 8)
    buf_put(&out.buf, footer, 2)
    crc = crc64(0, out.buf.data, out.buf.len)
    for i in range(8):
        footer[i] = <uint8_t>(crc >> (8 * i))
    buf_put(&out.buf, footer, 8)


cdef int _payload_version(const char* payload, size_t n) noexcept nogil:
    """The RDB version of a payload with a footer that can be accepted, else 0."""
    cdef const uint8_t* footer = <const uint8_t*>payload + n - FOOTER_BYTES
    cdef uint64_t crc = 0
    cdef int version, i
    if n < FOOTER_BYTES:
        return 0
    version = footer[0] | (<int>footer[1] << 8)
    for i in range(8):
        crc |= <uint64_t>footer[2 + i] << (8 * i)
    if not rdb_version_is_known(version):
        return 0
    return version if crc64(0, payload, n - 8) == crc else 0


cdef void dump_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef rdb_out_t out
    if entry == NULL:
        reply_null(c)
        return
    rdb_out_init(&out, c.engine.heap, rdb_dialect_of(c.engine, entry))
    out.compress = not c.engine.persist.rdb_uncompressed
    rdb_put_value(&out, c.engine, entry)
    _put_footer(&out)
    reply_bulk(c, out.buf.data, out.buf.len)
    rdb_out_free(&out)


cdef struct restore_t:  # RESTORE's options
    bint replace
    bint absolute
    int64_t ttl_ms
    int64_t idle_s  # -1 = not given
    int64_t frequency  # -1 = not given


cdef bint _parse_options(client_t* c, restore_t* o) noexcept nogil:
    """False after replying an error. IDLETIME and FREQ exclude each other."""
    cdef option_walk_t w
    o.replace = o.absolute = False
    o.idle_s = o.frequency = -1
    options_begin(&w, c, 4)
    while options_next(&w):
        if w.option == OPT_REPLACE:
            o.replace = True
        elif w.option == OPT_ABSTTL:
            o.absolute = True
        elif w.option == OPT_IDLETIME and o.frequency < 0:
            if not arg_int64(c, w.value, &o.idle_s):
                return False
            if o.idle_s < 0:
                reply_error(c, b"ERR Invalid IDLETIME value, must be >= 0")
                return False
        elif w.option == OPT_FREQ and o.idle_s < 0:
            if not arg_int64(c, w.value, &o.frequency):
                return False
            if o.frequency < 0 or o.frequency > 255:
                reply_error(c, b"ERR Invalid FREQ value, must be >= 0 and <= 255")
                return False
        else:
            w.failed = True
    return options_end(&w)


cdef entry_t* _read_payload(client_t* c, int64_t expire_ms) noexcept nogil:
    """The entry that argv[3] describes, for the key argv[1]; NULL after replying an error."""
    cdef arg_t* payload = &c.argv[3]
    cdef arg_t* key = &c.argv[1]
    cdef int version = _payload_version(payload.ptr, payload.len)
    cdef rdb_in_t input
    cdef entry_t* entry
    cdef const char* name
    if version == 0:
        reply_error(c, b"ERR DUMP payload version or checksum are wrong")
        return NULL
    rdb_in_init(&input, c.engine.heap, payload.ptr, payload.len - FOOTER_BYTES)
    input.version = version
    input.valkey = rdb_version_is_valkey(version)
    entry = rdb_get_entry(&input, c.engine, rdb_get_byte(&input), key.ptr, key.len, expire_ms)
    if entry == NULL:
        name = rdb_type_name(input.unsupported, input.valkey)
        if name != NULL:
            reply_error_format(
                c, b"ERR Bad data format: values of type %s are not supported by this version", name, strlen(name))
        else:
            reply_error(c, b"ERR Bad data format")
    return entry


cdef void _restore_expired(client_t* c) noexcept nogil:
    """REPLACE removed the old key and the new one would be gone already: the journal gets the removal."""
    cdef arg_t argv[2]
    cdef arg_t* key = &c.argv[1]
    argv[0] = journal_arg(b"UNLINK", 6) if c.engine.params.lazyfree_lazy_server_del else journal_arg(b"DEL", 3)
    argv[1] = key[0]
    journal_rewrite(c, 2, argv)
    key_changed(c, c.db, NOTIFY_GENERIC, b"del", key)


cdef void _journal_absolute(client_t* c, int64_t expire_ms) noexcept nogil:
    """The journal must not depend on when it is replayed: the same command with the time of expiry and ABSTTL."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t* argv = <arg_t*>zmalloc(c.engine.heap, (c.argc + 1) * sizeof(arg_t))
    cdef int i
    for i in range(c.argc):
        argv[i] = c.argv[i]
    argv[2] = journal_arg(digits, int64_to_chars(digits, max(expire_ms, 0)))  # 0: none, as the key has it
    argv[c.argc] = journal_arg(b"ABSTTL", 6)
    journal_rewrite(c, c.argc + 1, argv)
    zfree(c.engine.heap, argv)


cdef void _set_age(engine_t* e, entry_t* entry, const restore_t* o) noexcept nogil:
    """IDLETIME and FREQ count only under a policy that uses them."""
    if e.params.maxmemory_policy & POLICY_LFU:
        if o.frequency >= 0:
            entry_set_lru(entry, ((<unsigned int>(e.now_ms // 60000) & 0xFFFF) << 8) | <unsigned int>o.frequency)
    elif o.idle_s >= 0:
        entry_set_lru(entry, (e.lru_clock - <unsigned int>o.idle_s) & LRU_BITS_MASK)


cdef void restore_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef uint64_t hash = arg_hash(e, key)
    cdef restore_t o
    cdef entry_t* old
    cdef entry_t* entry
    cdef int64_t expire_ms
    if not _parse_options(c, &o):
        return
    # What is replaced is there or not, whatever its time: it does not expire first.
    old = db_find(c.db, key.ptr, key.len, hash) if o.replace else lookup_write(c, key)
    if old != NULL and not o.replace:
        reply_error(c, ERR_BUSYKEY)
        return
    if not arg_int64(c, &c.argv[2], &o.ttl_ms):
        return
    if o.ttl_ms < 0:
        reply_error(c, b"ERR Invalid TTL value, must be >= 0")
        return
    expire_ms = o.ttl_ms if o.absolute or o.ttl_ms == 0 else <int64_t>(<uint64_t>o.ttl_ms + <uint64_t>e.now_ms)
    entry = _read_payload(c, expire_ms if o.ttl_ms and expire_ms >= 0 else -1)
    if entry == NULL:
        return
    if old != NULL:
        db_delete(c.db, key.ptr, key.len, hash, e.params.lazyfree_lazy_server_del)
    if o.ttl_ms and deadline_is_past(c, expire_ms):
        # Also when the sum overflowed, as Valkey decides it.
        entry_free(e, entry)
        if old != NULL:
            _restore_expired(c)
        reply_ok(c)
        return
    db_insert(c.db, entry, hash)
    _set_age(e, entry, &o)
    if o.ttl_ms and not o.absolute:
        _journal_absolute(c, expire_ms)
    key_changed(c, c.db, NOTIFY_GENERIC, b"restore", key)
    reply_ok(c)


cdef int register_dump(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str syntax = (
        "key:key ttl:integer serialized-value:string [REPLACE@3.0.0] [ABSTTL@5.0.0] [IDLETIME seconds:integer@5.0.0]"
        " [FREQ frequency:integer@5.0.0]")
    cdef str size = (
        " where N is the number of objects composing the value and M their average size. For small string values the"
        " time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).")
    cdef str restore_cost = (
        "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value," + size + " However for"
        " sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N))."
        "; history 3.0.0 Added the `REPLACE` modifier.; history 5.0.0 Added the `ABSTTL` modifier."
        "; history 5.0.0 Added the `IDLETIME` and `FREQ` options.")
    command_row(e, dump_command, "dump", 2, "readonly", "keyspace", "1 RO access",
                "generic 2.6.0 O(1) to access the key and additional O(N*M) to serialize it," + size
                + "; tips nondeterministic_output",
                "Returns a serialized representation of the value stored at a key.", "key:key")
    command_row(e, restore_command, "restore", -4, "write denyoom", "keyspace dangerous", "1 OW update",
                "generic 2.6.0 " + restore_cost,
                "Creates a key from the serialized representation of a value.", syntax)
    command_row(e, restore_command, "restore-asking", -4, "write denyoom asking", "keyspace dangerous", "1 OW update",
                "server 3.0.0 " + restore_cost + "; doc_flags syscmd",
                "An internal command for migrating keys in a cluster.", syntax)
    return 0
