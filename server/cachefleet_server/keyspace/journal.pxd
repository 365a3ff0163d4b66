"""The journal: what changes the data, as RESP commands with a position, for the AOF, replicas and whoever else follows.

After a command changed data (persist.dirty grew), the dispatcher appends it as the client sent it, unless the
command replaced it with a deterministic form: `journal_rewrite` (SET key v PXAT t), or appended its own commands and
set CLIENT_PREVENT_PROPAGATE. A replica's is muted, and gets what its primary sent, as it came: `journal_verbatim`.

    history:  ......................| this tick's bytes |
                                    offset              journal_end()

Every byte has an offset, counted from the beginning of the history that `id` names; it goes on over restarts. What
waits (WAIT, WAITAOF, held replies) waits for an offset. Consumers are attached and detached at any tick: each gets
every byte from its attachment on, once, at the end of the tick (`journal_hand_over`), and does not notice the others.
A stream that begins in the middle begins in database `journal.db`, which its consumer tells its readers in its own way.
Where nobody is attached nothing is journalled, `journal.enabled` is false and nothing is done at all: the history ends
there, and the next attachment begins one with a new id. So does a restart, since the end of the earlier one may be
lost: it names the earlier id and the offset up to which both agree. A replica's history is its primary's, also after a
restart: it becomes that with the data (`journal_become`), or goes on under another id (`journal_turn`), as that of a
replica which ceases to be one does; then, too, both ids stand for the same bytes up to there.

A message (PUBLISH) changes no data, but who listens at a replica is to hear it: it is journalled while a consumer is
there that spreads what it gets. `journal.messages` says where in the buffer messages lie, so that a consumer may leave
them out (aof_log.pxd), but not that they have offsets. In a transaction they are commands like others.

SELECT is inserted when the database changes. A transaction that wrote two or more commands is wrapped in MULTI and
EXEC; one that wrote a single command is journalled as that command alone, as Valkey does. Keys that expire
while another command runs are separate commands: replaying one without the other changes nothing that is visible.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.ds.buf cimport buf_t

cdef void journal_command(engine_t* e, int dbid, int argc, const arg_t* argv) noexcept nogil
cdef void journal_raw(engine_t* e, int dbid, const char* raw, size_t n) noexcept nogil  # one command, canonical RESP
cdef void journal_put(buf_t* to, int argc, const arg_t* argv) noexcept nogil  # one command, as the journal has it
cdef void journal_verbatim(engine_t* e, int dbid, const char* data, size_t n) noexcept nogil
    # Whole commands and transactions with their own SELECT; `dbid`: the database they end in. Nothing is put in or
    # taken out, so that offsets are those of the primary. Not inside a transaction of ours.
cdef void journal_delete(engine_t* e, int dbid, const char* key, size_t nk) noexcept nogil
    # Expiry and eviction, as UNLINK key (or DEL without lazyfree-lazy-expire/-eviction, which is the caller's choice).
cdef void journal_rewrite(client_t* c, int argc, const arg_t* argv) noexcept nogil
    # Propagates this instead of the running command. Arguments are copied into the journal at once.
cdef void journal_message(client_t* c) noexcept nogil  # the running command, which sends one
cdef inline arg_t journal_arg(const char* p, size_t n) noexcept nogil:
    cdef arg_t a
    a.ptr = p
    a.len = n
    a.hash = 0
    return a
cdef void journal_transaction_begin(engine_t* e) noexcept nogil  # may nest: a script inside EXEC
cdef void journal_transaction_end(engine_t* e) noexcept nogil

cdef inline uint64_t journal_end(const engine_t* e) noexcept nogil:
    """The position behind everything so far."""
    return e.journal.offset + e.journal.buf.len

cdef void journal_hand_over(engine_t* e) noexcept nogil  # to all consumers; of an open transaction nothing
cdef void journal_attach(engine_t* e, journal_consumer_t* consumer) noexcept nogil
    # From the next command on; not inside a transaction. The owner has set `name`, `ctx` and `take_fn`, and keeps it.
cdef void journal_detach(engine_t* e, journal_consumer_t* consumer) noexcept nogil
    # It gets nothing more, also of this tick. Does nothing to one that is not attached.
cdef void journal_mute(engine_t* e, bint on) noexcept nogil
    # While on, what is executed leaves no trace but what is verbatim: it comes from where the journal is kept. Nests.
cdef void journal_continue(
    engine_t* e, const char* id40, uint64_t tenure, uint64_t offset, int dbid) noexcept nogil
    # At a start, before anybody is attached: what was loaded ends there, in this database. Of a replica it is the same
    # history that goes on, not one of its own.
cdef void journal_become(engine_t* e, const char* id40, uint64_t offset, int dbid) noexcept nogil
    # The data have become those of another's history at this offset, where it is in database `dbid`. Whoever is
    # attached has got nothing yet.
cdef void journal_turn(engine_t* e, const char* id40) noexcept nogil
    # The history, if there is one, goes on under another id, NULL: a new one; what it was so far is the earlier one.
