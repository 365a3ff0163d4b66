"""Clients that wait: WAIT, WAITAOF, CLIENT PAUSE, Python rows that return an awaitable. Later BLPOP and the like."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport client_t, engine_t

cdef void block_client(client_t* c, int kind, int64_t until_ms, void (*unblock_fn)(client_t* c, bint timed_out) noexcept nogil) noexcept nogil
    # until_ms 0 = for ever; input is not parsed until unblocked.
cdef void unblock_client(client_t* c, bint timed_out) noexcept nogil  # replies through unblock_fn; reading resumes
cdef void blocked_timeouts(engine_t* e) noexcept nogil  # from cron
cdef void block_forget(client_t* c) noexcept nogil  # the client goes away: no reply
