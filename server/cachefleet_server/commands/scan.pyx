"""KEYS and SCAN.

SCAN walks the table of keys with the hash table's reverse-binary cursor (ds/hashtable): whatever is there from the
first call to the last is returned, however the table grows or shrinks meanwhile; what comes or goes in between may be
returned or not, and an element may come twice. COUNT is how many elements a call looks at, not how many it returns; the
number of empty buckets that a call may cross is bounded too.

Expired keys are never returned. SCAN deletes those that pass its filters, KEYS leaves all of them to the cycles.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.core.entry cimport entry_key, entry_t, entry_type
from cachefleet_server.core.options cimport (
    OPT_COUNT, OPT_MATCH, OPT_NOVALUES, OPT_TYPE, option_walk_t, options_begin, options_next)
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_array, reply_bulk, reply_error, reply_error_quote, reply_insert, reply_mark,
    reply_syntax_error)
from cachefleet_server.core.types cimport type_named
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.glob cimport glob_match
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_uint64, uint64_to_chars
from cachefleet_server.keyspace.db cimport db_scan
from cachefleet_server.keyspace.expire cimport expire_now, is_expired, may_delete_expired
from cachefleet_server.resp.writer cimport mark_t

cdef enum:
    SCAN_COUNT = 10  # elements a call looks at unless COUNT says otherwise


cdef struct walk_t:
    client_t* client
    db_t* db
    const arg_t* pattern  # NULL: all
    int type  # -1: all
    bint delete_expired
    buf_t* found  # where SCAN keeps the entries until the cursor is known; NULL: reply at once
    int64_t seen
    int64_t count  # that passed


cdef void _visit(void* ctx, void* element) noexcept nogil:
    cdef walk_t* w = <walk_t*>ctx
    cdef entry_t* entry = <entry_t*>element
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    w.seen += 1
    if w.pattern != NULL and not glob_match(w.pattern.ptr, w.pattern.len, key, nk, False):
        return
    if w.type >= 0 and entry_type(entry) != w.type:
        return
    if is_expired(w.client, entry):
        if w.delete_expired:
            expire_now(w.db, entry, hash_bytes(key, nk, &w.db.engine.seed))
        return
    w.count += 1
    if w.found != NULL:
        buf_put(w.found, &entry, sizeof(entry_t*))
    else:
        reply_bulk(w.client, key, nk)


cdef void _walk_init(walk_t* w, client_t* c, const arg_t* pattern, int type) noexcept nogil:
    w.client = c
    w.db = c.db
    w.pattern = scan_pattern(pattern)
    w.type = type
    w.delete_expired = False
    w.found = NULL
    w.seen = 0
    w.count = 0


cdef void keys_command(client_t* c) noexcept nogil:
    cdef walk_t w
    cdef uint64_t cursor = 0
    cdef mark_t m = reply_mark(c)
    _walk_init(&w, c, &c.argv[1], -1)
    while True:
        cursor = db_scan(c.db, cursor, _visit, &w)
        if cursor == 0:
            break
    reply_insert(c, m, b"*", w.count)


# ---- SCAN ---------------------------------------------------------------------------------------------

cdef bint _parse_cursor(const arg_t* a, uint64_t* out) noexcept nogil:
    """As C's strtoul reads an unsigned long, which clients may rely on: blanks and a plus sign may come first, any
    number of zeros too; nothing may follow."""
    cdef const char* p = a.ptr
    cdef size_t n = a.len
    while n and (p[0] == b" " or b"\t" <= p[0] <= b"\r"):
        p += 1
        n -= 1
    if n and p[0] == b"+":
        p += 1
        n -= 1
    while n > 1 and p[0] == b"0":
        p += 1
        n -= 1
    return chars_to_uint64(p, n, out)


cdef bint scan_cursor(client_t* c, const arg_t* a, uint64_t* out) noexcept nogil:
    if _parse_cursor(a, out):
        return True
    reply_error(c, b"ERR invalid cursor")
    return False


cdef bint scan_options(client_t* c, int first, scan_options_t* out) noexcept nogil:
    cdef option_walk_t w
    out.count = SCAN_COUNT
    out.pattern = NULL
    out.type = -1
    out.no_values = False
    out.no_scores = False
    options_begin(&w, c, first)
    while options_next(&w):
        if w.option == OPT_COUNT:
            if not arg_int64(c, w.value, &out.count):
                return False
            if out.count < 1:
                w.failed = True
        elif w.option == OPT_MATCH:
            out.pattern = w.value
        elif w.option == OPT_TYPE:
            out.type = type_named(c.engine, w.value.ptr, w.value.len)
            if out.type < 0:
                reply_error_quote(c, b"ERR unknown type name '%s'", w.value.ptr, w.value.len)
                return False
        elif w.option == OPT_NOVALUES:
            out.no_values = True
        else:
            out.no_scores = True
    if not w.failed:
        return True
    if arg_is(w.word, b"novalues"):
        reply_error(c, b"ERR NOVALUES option can only be used in HSCAN")
    elif arg_is(w.word, b"noscores"):
        reply_error(c, b"ERR NOSCORES option can only be used in ZSCAN")
    else:
        reply_syntax_error(c)
    return False


cdef void _reply_page(client_t* c, uint64_t cursor, entry_t** found, int64_t n) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* key
    cdef size_t nk
    cdef int64_t i
    reply_array(c, 2)
    reply_bulk(c, digits, uint64_to_chars(digits, cursor))
    reply_array(c, n)
    for i in range(n):
        key = entry_key(found[i], &nk)
        reply_bulk(c, key, nk)


cdef void scan_command(client_t* c) noexcept nogil:
    cdef scan_options_t o
    cdef walk_t w
    cdef buf_t found
    cdef int64_t steps = 0
    if not scan_cursor(c, &c.argv[1], &o.cursor) or not scan_options(c, 2, &o):
        return
    buf_init(&found, c.engine.heap)
    _walk_init(&w, c, o.pattern, o.type)
    w.delete_expired = may_delete_expired(c)
    w.found = &found
    while True:
        o.cursor = db_scan(c.db, o.cursor, _visit, &w)
        steps += 1
        if o.cursor == 0 or w.seen >= o.count or steps // SCAN_STEPS >= o.count:
            break
    _reply_page(c, o.cursor, <entry_t**>found.data, w.count)
    buf_free(&found)


cdef int register_scan(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, keys_command, "keys", 2, "readonly", "keyspace dangerous", "",
                "generic 1.0.0 O(N) with N being the number of keys in the database, under the assumption that the key"
                " names in the database and the given pattern have limited length."
                "; tips request_policy:all_shards nondeterministic_output_order",
                "Lists all keys whose names match a pattern.", "pattern:pattern")
    command_row(e, scan_command, "scan", -2, "readonly", "keyspace", "",
                "generic 2.8.0 O(1) for every call. O(N) for a complete iteration, including enough command calls for"
                " the cursor to return back to 0. N is the number of elements inside the collection."
                "; tips nondeterministic_output request_policy:special response_policy:special"
                "; history 6.0.0 Added the `TYPE` subcommand.",
                "Walks over the key names of the database, a page a call.",
                "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type:string@6.0.0]")
    return 0
