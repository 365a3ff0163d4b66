"""The journal's room in the engine, and who is attached to it; what it does is in keyspace/journal.pxd."""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.buf cimport buf_t

cdef struct journal_consumer_t:  # who gets the journal; it lies in its owner, linked while it is attached
    const char* name
    void* ctx
    # Once a tick: whole commands and whole transactions, `offset` being that of the first byte. Nothing is left out
    # and nothing comes twice. May detach itself.
    void (*take_fn)(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil
    uint64_t since  # offset of the first byte that is for it
    bint spreads  # what it gets is done elsewhere: messages are journalled for it, which change no data
    journal_consumer_t* next

cdef struct journal_span_t:  # of the journal: [begin, end)
    uint64_t begin
    uint64_t end

cdef struct journal_t:  # commands of this tick as RESP, already rewritten for determinism (keyspace/journal.pxd)
    buf_t buf
    uint64_t offset  # of the first byte of `buf`
    char id[41]  # names the unbroken history that `offset` counts in; "" while nobody is attached
    uint64_t tenure  # of the primary that wrote it; 0 until somebody says who is primary
    char earlier_id[41]  # the history that this one goes on from, or "" ...
    uint64_t earlier_end  # ... and where they part
    int db  # database of the last command, -1 = a SELECT must come first
    bint enabled  # somebody is attached, and it is not muted
    int muted  # > 0: only what is verbatim
    int spreading  # consumers that spread
    buf_t messages  # journal_span_t: where in `buf` they lie, but for those in transactions
    journal_consumer_t* consumers
    int depth  # > 0 inside EXEC or a script: MULTI wraps what is propagated
    bint multi_open
    size_t multi_at  # where the open transaction's MULTI lies
    size_t multi_commands  # commands since
