"""String commands: what the files of the family share.

    t_string.pyx          SET and GET in all their forms, one key or many
    t_string_options.pyx  their options
    t_string_edit.pyx     parts of a string, numbers: APPEND, SETRANGE, INCR ...
    t_string_compare.pyx  conditions on a value: SET IFEQ ..., DELIFEQ, DELEX, DIGEST
    t_string_increx.pyx   INCREX
    t_string_lcs.pyx      LCS

A write ends with `string_changed`, then replies, then says how it is propagated when the client's own words would
not give the same result later: relative times, conditions and increments of floats become plain SETs.
"""

from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE, arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport ENC_INT, entry_blob, entry_bytes, entry_encoding, entry_int, entry_t
from cachefleet_server.core.reply cimport reply_bulk, reply_shared
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.number cimport int64_to_chars
from cachefleet_server.keyspace.db cimport NOTIFY_STRING, key_changed
from cachefleet_server.keyspace.expire cimport deadline_is_past
from cachefleet_server.resp.writer cimport OUT_SHARE_MIN
from libc.stdint cimport int64_t

cdef int register_string(engine_t* e) except -1

cdef inline size_t string_text(const entry_t* entry, char* tmp24, const char** p) noexcept nogil:
    """The bytes of a string of any encoding: in the entry, or in tmp24. Returns their number."""
    cdef size_t n
    if entry_encoding(entry) == ENC_INT:
        p[0] = tmp24
        return int64_to_chars(tmp24, entry_int(entry))
    p[0] = entry_bytes(entry, &n)
    return n

cdef inline void reply_string_part(client_t* c, const entry_t* entry, const char* p, size_t n) noexcept nogil:
    """n bytes at p of the string's text, which string_text gave."""
    if cf_unlikely(n >= OUT_SHARE_MIN):  # more than an entry embeds: it has a blob
        reply_shared(c, entry_blob(entry), p, n)
    else:
        reply_bulk(c, p, n)

cdef inline void reply_string(client_t* c, const entry_t* entry) noexcept nogil:
    cdef char tmp24[24]
    cdef const char* p
    cdef size_t n = string_text(entry, tmp24, &p)
    reply_string_part(c, entry, p, n)

cdef inline void string_changed(client_t* c, const char* event, const arg_t* key) noexcept nogil:
    """The key got a new value. Its hash has been computed by the lookup."""
    key_changed(c, c.db, NOTIFY_STRING, event, key)

cdef inline bint expiry_is_past(const client_t* c, int64_t expire_ms) noexcept nogil:
    return expire_ms != -1 and deadline_is_past(c, expire_ms)

cdef void propagate_set(
    client_t* c, const arg_t* key, const arg_t* value, int64_t expire_ms, bint keep_ttl) noexcept nogil
    # SET key value [PXAT expire_ms | KEEPTTL] instead of the running command; expire_ms -1 = none.
cdef void propagate_key(client_t* c, const char* name, const arg_t* key) noexcept nogil
    # A command with one argument instead of the running one: DEL, PERSIST.
