"""The journal: this tick's writes as RESP commands, for the AOF and for replicas.

After a command changed data (persist.dirty grew), the dispatcher appends it as the client sent it, unless the
command replaced it with a deterministic form: `journal_rewrite` (SET key v PXAT t), or appended its own commands and
set CLIENT_PREVENT_PROPAGATE. SELECT is inserted when the database changes; a transaction is wrapped in MULTI/EXEC
when it wrote anything. The end-of-batch step consumes the buffer.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef void journal_command(engine_t* e, int dbid, int argc, const arg_t* argv) noexcept nogil
cdef void journal_raw(engine_t* e, int dbid, const char* raw, size_t n) noexcept nogil
cdef void journal_delete(engine_t* e, int dbid, const char* key, size_t nk) noexcept nogil
    # Expiry and eviction, as UNLINK key (or DEL without lazyfree-lazy-expire/-eviction, which is the caller's choice).
cdef void journal_rewrite(client_t* c, int argc, const arg_t* argv) noexcept nogil
    # Propagates this instead of the running command. Arguments are copied into the journal at once.
cdef arg_t journal_arg(const char* p, size_t n) noexcept nogil
cdef void journal_transaction_begin(engine_t* e) noexcept nogil
cdef void journal_transaction_end(engine_t* e) noexcept nogil
