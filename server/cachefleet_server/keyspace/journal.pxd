"""The journal: this tick's writes as RESP commands, for the AOF and for replicas.

After a command changed data (persist.dirty grew), the dispatcher appends it as the client sent it, unless the
command replaced it with a deterministic form: `journal_rewrite` (SET key v PXAT t), or appended its own commands and
set CLIENT_PREVENT_PROPAGATE. The end-of-batch step consumes the buffer.

SELECT is inserted when the database changes. A transaction that wrote two or more commands is wrapped in MULTI and
EXEC; one that wrote a single command is journalled as that command alone, as Valkey does. Keys that expire
while another command runs are separate commands: replaying one without the other changes nothing that is visible.

While `engine.journal.enabled` is false nothing is done at all.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef void journal_command(engine_t* e, int dbid, int argc, const arg_t* argv) noexcept nogil
cdef void journal_raw(engine_t* e, int dbid, const char* raw, size_t n) noexcept nogil  # one command, canonical RESP
cdef void journal_delete(engine_t* e, int dbid, const char* key, size_t nk) noexcept nogil
    # Expiry and eviction, as UNLINK key (or DEL without lazyfree-lazy-expire/-eviction, which is the caller's choice).
cdef void journal_rewrite(client_t* c, int argc, const arg_t* argv) noexcept nogil
    # Propagates this instead of the running command. Arguments are copied into the journal at once.
cdef inline arg_t journal_arg(const char* p, size_t n) noexcept nogil:
    cdef arg_t a
    a.ptr = p
    a.len = n
    a.hash = 0
    return a
cdef void journal_transaction_begin(engine_t* e) noexcept nogil  # may nest: a script inside EXEC
cdef void journal_transaction_end(engine_t* e) noexcept nogil
